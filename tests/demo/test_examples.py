"""The examples: every field exists and is valid, and each says what it is, what it needs and what to expect."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.demo import push, training
from e2e.demo.demo import PLACEHOLDER
from e2e.scenarios.kube import ROOT
from modelwright.api.fields import ApiModel
from modelwright.api.kinds import API_VERSION, MODEL_KIND, POLICY_KIND
from modelwright.api.model import ModelSpec
from modelwright.api.policy import PolicySpec

FILES = sorted((ROOT / "examples").glob("*.yaml"))
KINDS: dict[str, type[ApiModel]] = {MODEL_KIND: ModelSpec, POLICY_KIND: PolicySpec}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_an_example_has_only_valid_fields(file: Path) -> None:
    found: dict[str, Any] = yaml.safe_load(file.read_text())
    assert found["apiVersion"] == API_VERSION
    assert "namespace" not in found["metadata"]
    understood = KINDS[found["kind"]].model_validate(found["spec"])
    assert understood.model_dump(by_alias=True, exclude_unset=True, mode="json") == found["spec"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_an_example_introduces_itself(file: Path) -> None:
    head = [line for line in file.read_text().splitlines() if line.startswith("#")]
    assert head[0].startswith("# ")
    assert any(line.startswith("# Needs: ") for line in head)
    assert any(line.startswith("# Expect: ") for line in head)


@pytest.mark.parametrize("name", training.MODELS)
def test_what_the_demo_applies_names_what_it_pushes(name: str) -> None:
    spec = yaml.safe_load((ROOT / "examples" / f"{name}.yaml").read_text())["spec"]
    place = f"oci://{PLACEHOLDER}/demo/{name}:{push.TAG}"
    assert spec["model"]["uri"] == place
    assert spec["optimization"]["calibration"]["uri"] == f"{place}-calibration"
    assert spec["optimization"]["evaluation"]["uri"] == f"{place}-evaluation"


def test_the_policy_names_the_triton_that_the_chart_does() -> None:
    chart: dict[str, Any] = yaml.safe_load((ROOT / "charts" / "modelwright" / "values.yaml").read_text())
    policy: dict[str, Any] = yaml.safe_load((ROOT / "examples" / "policy.yaml").read_text())
    assert {pool["image"] for pool in policy["spec"]["pools"]} == {chart["policy"]["cpuPool"]["image"]}

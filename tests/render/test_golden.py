"""Every object as it is sent, beside the code. `MODELWRIGHT_GOLDEN=write` writes the files anew."""

import os
from pathlib import Path

import kubernetes_validate  # pyright: ignore[reportMissingTypeStubs]
import pytest
import yaml

from tests.render import restricted, samples

GOLDEN = Path(__file__).parent / "golden"
BUILT_IN = {"batch/v1", "apps/v1", "v1"}


@pytest.mark.parametrize("name", sorted(samples.OBJECTS))
def test_an_object_is_what_its_golden_file_says(name: str) -> None:
    text = yaml.safe_dump(samples.OBJECTS[name](), sort_keys=False, width=110)
    file = GOLDEN / f"{name}.yaml"
    if os.environ.get("MODELWRIGHT_GOLDEN") == "write":
        file.write_text(text)
    assert text == file.read_text()


def test_no_golden_file_is_left_over() -> None:
    assert {file.stem for file in GOLDEN.iterdir()} == set(samples.OBJECTS)


@pytest.mark.parametrize("version", ["1.30", "1.37"])
@pytest.mark.parametrize("name", sorted(samples.OBJECTS))
def test_an_object_is_valid_in_the_oldest_and_the_newest_kubernetes(name: str, version: str) -> None:
    body = samples.OBJECTS[name]()
    if body["apiVersion"] in BUILT_IN:
        kubernetes_validate.validate(body, version, strict=True)
    else:
        assert body["apiVersion"] == "gateway.networking.k8s.io/v1"


@pytest.mark.parametrize("name", sorted(samples.OBJECTS))
def test_rendering_twice_shares_nothing(name: str) -> None:
    first = samples.OBJECTS[name]()
    first["metadata"]["labels"].clear()
    containers: list[samples.Body] = first.get("spec", {}).get("template", {}).get("spec", {}).get("containers", [])
    for container in containers:
        container["env"].clear()
        container["resources"]["limits"].clear()
    second = samples.OBJECTS[name]()
    assert second["metadata"]["labels"]
    assert yaml.safe_dump(second, sort_keys=False, width=110) == (GOLDEN / f"{name}.yaml").read_text()


@pytest.mark.parametrize("name", sorted(n for n in samples.OBJECTS if "job" in n or "deployment" in n))
def test_pods_are_restricted(name: str) -> None:
    assert restricted.violations(samples.OBJECTS[name]()["spec"]["template"]["spec"]) == []

"""The chart as text: what comes out of which values."""

from typing import Any

import kubernetes_validate  # pyright: ignore[reportMissingTypeStubs]
import pytest
import yaml

from modelwright.api import schema
from modelwright.runtime import settings
from tests.chart.rendering import CHART, VARIANTS, objects, of_kind, refusal, run_helm, template
from tests.render import restricted

Body = dict[str, Any]

FOREIGN = {"CustomResourceDefinition", "ServingPolicy", "ServiceMonitor"}
CRDS = {f"{crd['metadata']['name']}": crd for crd in (schema.model_crd(), schema.policy_crd())}


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_renders_valid_objects_with_names_of_their_own(variant: str) -> None:
    bodies = objects(variant=variant)
    for body in bodies:
        if body["kind"] not in FOREIGN:
            kubernetes_validate.validate(body, "1.37", strict=True)
    names = [(b["kind"], b["metadata"].get("namespace"), b["metadata"]["name"]) for b in bodies]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_passes_lint(variant: str) -> None:
    done = run_helm("lint", "--strict", str(CHART), f"--values={CHART}/ci/{variant}-values.yaml")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_operator_is_restricted_but_for_its_token(variant: str) -> None:
    (deployment,) = of_kind(objects(variant=variant), "Deployment")
    assert restricted.violations(deployment["spec"]["template"]["spec"]) == ["mounts a token"]


def test_the_operator_reads_what_the_chart_tells_it() -> None:
    (deployment,) = of_kind(objects(variant="namespaced"), "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    environment = {e["name"]: e.get("value", "from a field") for e in container["env"]}
    read = settings.load({**environment})
    assert read.namespaces == ("team-a", "team-b")
    assert read.images.operator == container["image"] == "modelwright/operator:0.1.0"
    assert read.images.optimizer == "modelwright/optimizer:0.1.0"
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"metrics": read.metrics_port, "health": read.health_port}
    assert "cpu" not in container["resources"]["limits"]


def test_a_digest_wins_over_a_tag_and_the_registry_comes_first() -> None:
    (deployment,) = of_kind(objects(variant="full"), "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "registry.example.com/modelwright/operator@sha256:" + "0123456789abcdef" * 4


def test_crds_are_those_of_the_code_and_are_kept() -> None:
    found = of_kind(objects(), "CustomResourceDefinition")
    for crd in found:
        assert crd["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
        crd["metadata"].pop("labels")
    assert {crd["metadata"]["name"]: crd for crd in found} == CRDS


def test_crds_can_be_left_to_somebody_else() -> None:
    assert of_kind(objects("--set=crds.enabled=false"), "CustomResourceDefinition") == []
    loose = of_kind(objects("--set=crds.keep=false"), "CustomResourceDefinition")
    assert [crd["metadata"].get("annotations") for crd in loose] == [None, None]


def test_the_policy_always_has_the_pool_cpu_first() -> None:
    (policy,) = of_kind(objects(variant="full"), "ServingPolicy")
    assert [pool["name"] for pool in policy["spec"]["pools"]] == ["cpu", "gpu"]
    (policy,) = of_kind(objects(), "ServingPolicy")
    assert [pool["name"] for pool in policy["spec"]["pools"]] == ["cpu"]
    assert policy["spec"]["pools"][0]["image"].startswith("nvcr.io/nvidia/tritonserver:")


def test_the_policy_is_a_hook_unless_it_is_not_wanted_as_one() -> None:
    (policy,) = of_kind(objects(), "ServingPolicy")
    assert policy["metadata"]["annotations"]["helm.sh/hook"] == "post-install,post-upgrade"
    assert policy["metadata"]["annotations"]["helm.sh/hook-delete-policy"] != "before-hook-creation"
    (policy,) = of_kind(objects("--set=policy.hook=false"), "ServingPolicy")
    assert not [name for name in policy["metadata"]["annotations"] if name.startswith("helm.sh/hook")]


@pytest.mark.parametrize(
    "image", ["triton-cpu", "registry.example.com/modelwright/triton-cpu:1", "x/triton-cpu@sha256:ab"]
)
def test_the_development_image_is_refused_in_every_pool_unless_dev_is_set(image: str) -> None:
    assert "for development only" in refusal(f"--set=policy.cpuPool.image={image}")
    pool = f'--set-json=policy.pools=[{{"name":"b","hardwareClass":"b","image":"{image}"}}]'
    assert "for development only" in refusal(pool)
    assert objects(f"--set=policy.cpuPool.image={image}", "--set=dev=true")


def test_without_a_store_the_chart_says_what_to_set() -> None:
    assert "policy.artifactStore.uri must name" in refusal("--set=policy.artifactStore.uri=")


@pytest.mark.parametrize(
    "setting",
    ["replica=2", "image.repo=x", "policy.cpuPool.imag=x", "crds.install=true", "metrics.port=1", "admission.x=true"],
)
def test_a_misspelt_value_is_refused(setting: str) -> None:
    assert "additional properties" in refusal(f"--set={setting}")


@pytest.mark.parametrize(
    "setting", ["replicas=two", "logging.level=LOUD", "policy.sources.schemes={file}", "watchNamespaces={A_b}", "dev=1"]
)
def test_a_value_of_the_wrong_kind_is_refused(setting: str) -> None:
    assert "don't meet the specifications" in refusal(f"--set={setting}")


def test_two_replicas_get_a_disruption_budget_and_one_gets_none() -> None:
    assert of_kind(objects(variant="full"), "PodDisruptionBudget")
    assert not of_kind(objects(), "PodDisruptionBudget")


def test_almost_everything_can_be_left_out() -> None:
    assert [body["kind"] for body in objects(variant="without")] == ["Deployment"]


def test_notes_name_three_commands() -> None:
    done = template("--dry-run=client", "--show-only=templates/NOTES.txt")
    assert done.returncode != 0, "notes are no template of an object"
    notes = (CHART / "templates" / "NOTES.txt").read_text()
    assert notes.count("   kubectl ") == 3


def test_every_template_is_used_by_some_variant() -> None:
    used: set[str] = set()
    for variant in VARIANTS:
        used |= {line.split("/")[-1] for line in template(variant=variant).stdout.splitlines() if "# Source:" in line}
    files = {path.name for path in (CHART / "templates").glob("*.yaml")}
    assert used == files


def test_chart_metadata_is_complete() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["kubeVersion"] == ">=1.30.0-0"
    assert chart["version"] == chart["appVersion"]

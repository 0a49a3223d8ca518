"""The Deployment of a revision."""

import json
from typing import Any

import pytest

from modelwright import naming
from modelwright.contract import paths
from modelwright.contract.request import FetchRequest
from modelwright.render import deployment, server
from tests.render import samples

Body = dict[str, Any]


def pod_of(body: Body) -> Body:
    return body["spec"]["template"]["spec"]


def triton_of(body: Body) -> Body:
    (container,) = pod_of(body)["containers"]
    return container


def test_replicas_are_never_in_the_body() -> None:
    assert "replicas" not in samples.deployment_of(samples.revision())["spec"]


def test_labels_of_the_owner_are_not_copied_and_selectors_stay_small() -> None:
    body = samples.deployment_of(samples.revision())
    assert all(key.startswith((naming.GROUP, "app.kubernetes.io/")) for key in body["metadata"]["labels"])
    selected = body["spec"]["selector"]["matchLabels"]
    assert set(selected) == {naming.LABEL_MODEL, naming.LABEL_REVISION, naming.LABEL_STAGE}
    assert selected.items() <= body["spec"]["template"]["metadata"]["labels"].items()


def test_digests_are_stamped_so_that_status_can_be_rebuilt() -> None:
    annotations = samples.deployment_of(samples.revision())["metadata"]["annotations"]
    assert annotations[naming.ANNOTATION_ARTIFACT] == samples.ARTIFACT
    assert annotations[naming.ANNOTATION_SOURCE] == samples.SOURCE
    assert annotations[naming.ANNOTATION_MODEL] == "ranker"


def test_the_init_container_reads_its_request_and_the_config_from_one_volume() -> None:
    body = samples.deployment_of(samples.revision())
    annotation = body["spec"]["template"]["metadata"]["annotations"][naming.ANNOTATION_REQUEST]
    assert FetchRequest.model_validate_json(annotation).digest == samples.ARTIFACT
    (fetch,) = pod_of(body)["initContainers"]
    mounted = {mount["mountPath"]: mount["name"] for mount in fetch["volumeMounts"]}
    (volume,) = (v for v in pod_of(body)["volumes"] if v["name"] == mounted["/etc/modelwright"])
    files = {f"/etc/modelwright/{i['path']}" for s in volume["projected"]["sources"] for i in _items(s)}
    assert files == {paths.REQUEST_FILE, f"{paths.CONFIG_DIR}/config.pbtxt"}


def _items(source: Body) -> list[Body]:
    (kind,) = source.values()
    return kind["items"]


def test_triton_can_write_neither_the_model_nor_the_probe_and_sees_no_secret() -> None:
    body = samples.OBJECTS["deployment-store-secret"]()
    mounts = {mount["mountPath"]: mount for mount in triton_of(body)["volumeMounts"]}
    assert set(mounts) == {paths.REPOSITORY_DIR, paths.PROBE_DIR, "/dev/shm", "/tmp"}
    assert mounts[paths.REPOSITORY_DIR]["readOnly"]
    assert mounts[paths.PROBE_DIR]["readOnly"]


def test_a_pod_outlives_its_drain() -> None:
    body = samples.deployment_of(samples.revision(serving={"drainSeconds": 90}))
    assert "--exit-timeout-secs=90" in triton_of(body)["command"]
    stop = triton_of(body)["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod_of(body)["terminationGracePeriodSeconds"] > stop + 90 + 5


def test_a_slow_model_gets_a_patient_start_up_probe_and_deadline() -> None:
    slow = samples.deployment_of(samples.revision(recommendation=samples.recommendation(load_seconds=60.0)))
    probe = triton_of(slow)["startupProbe"]
    patience = probe["periodSeconds"] * probe["failureThreshold"]
    assert patience >= server.STARTUP_FACTOR * 60
    assert slow["spec"]["progressDeadlineSeconds"] > patience


def test_the_admin_key_differs_in_each_pod() -> None:
    container = triton_of(samples.deployment_of(samples.revision()))
    (flag,) = (word for word in container["command"] if word.startswith("--http-restricted-api="))
    assert flag.endswith(f"=$({server.ADMIN_VARIABLE})")
    assert container["env"][0]["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.uid"}}


@pytest.mark.parametrize(
    ("pool", "serving", "requests", "limits"),
    [
        pytest.param({}, {}, {"cpu": "200m", "memory": "256Mi"}, {"memory": "1Gi"}, id="nobody says anything"),
        pytest.param(
            {"requests": {"cpu": "2"}, "limits": {"memory": "8Gi"}},
            {},
            {"cpu": "2"},
            {"memory": "8Gi"},
            id="the pool speaks",
        ),
        pytest.param(
            {"requests": {"cpu": "2"}},
            {"limits": {"memory": "3Gi"}},
            {"cpu": "200m"},
            {"memory": "3Gi"},
            id="the model speaks over the pool",
        ),
        pytest.param(
            {},
            {"requests": {"memory": "4Gi"}},
            {"memory": "4Gi", "cpu": "200m"},
            {"memory": "4Gi"},
            id="memory is always limited",
        ),
        pytest.param(
            {"limits": {"nvidia.com/gpu": 1}},
            {},
            {"nvidia.com/gpu": "1", "cpu": "200m", "memory": "256Mi"},
            {"nvidia.com/gpu": "1", "memory": "1Gi"},
            id="an extended resource is requested as it is limited",
        ),
    ],
)
def test_resources(pool: Body, serving: Body, requests: Body, limits: Body) -> None:
    what = samples.revision({**samples.CPU, "resources": pool}, {"resources": serving})
    assert triton_of(samples.deployment_of(what))["resources"] == {"requests": requests, "limits": limits}


def test_default_memory_grows_with_the_measured_model() -> None:
    measured = samples.recommendation(memory_bytes=3 * 2**30)
    what = samples.revision(serving={"instanceGroup": {"count": 2}}, recommendation=measured)
    resources = triton_of(samples.deployment_of(what))["resources"]
    assert resources["requests"]["memory"] == f"{128 + 6 * 1024}Mi"
    assert resources["limits"]["memory"] == f"{512 + 12 * 1024}Mi"


def test_a_pool_places_its_pods() -> None:
    pod = pod_of(samples.OBJECTS["deployment-gpu"]())
    assert pod["nodeSelector"] == {"modelwright.dev/pool": "gpu"}
    assert pod["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists"}]
    assert pod["runtimeClassName"] == "nvidia"


def test_the_body_depends_on_the_revision_and_the_operator_image_only() -> None:
    first, second = (json.dumps(samples.deployment_of(samples.revision())) for _ in range(2))
    assert first == second
    other = deployment.render_deployment(samples.OWNER, samples.revision(), operator_image="other")
    assert json.dumps(other).replace('"other"', '"modelwright.example.com/operator:1"') == first

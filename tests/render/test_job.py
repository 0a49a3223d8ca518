"""The Jobs."""

from typing import Any

import pytest

from modelwright import naming
from modelwright.api.policy import SecretRef
from modelwright.contract import paths
from modelwright.contract.request import Location, OptimizeRequest, ResolveRequest
from modelwright.errors import InputError
from modelwright.render import job
from tests.render import samples

Body = dict[str, Any]


def pod_of(body: Body) -> Body:
    return body["spec"]["template"]["spec"]


def resolve(uri: str, secret: SecretRef | None = None) -> Body:
    request = ResolveRequest(source=Location(uri=uri))
    return job.render_resolve_job(samples.OWNER, "ranker-resolve-1a2b3c4d", request, image="operator", secret=secret)


def test_the_request_comes_back_from_the_pods_own_annotation() -> None:
    body = samples.optimize_job()
    template = body["spec"]["template"]
    request = OptimizeRequest.model_validate_json(template["metadata"]["annotations"][naming.ANNOTATION_REQUEST])
    assert request.source.uri == "s3://models/ranker/7/"
    (volume,) = (v for v in template["spec"]["volumes"] if "downwardAPI" in v)
    (item,) = volume["downwardAPI"]["items"]
    assert item["fieldRef"]["fieldPath"] == "metadata.annotations['modelwright.dev/request']"
    (mount,) = (m for m in template["spec"]["containers"][0]["volumeMounts"] if m["name"] == volume["name"])
    assert f"{mount['mountPath']}/{item['path']}" == paths.REQUEST_FILE


@pytest.mark.parametrize("body", [samples.resolve_job(), samples.optimize_job()], ids=["resolve", "optimize"])
def test_a_job_is_one_attempt_that_ends(body: Body) -> None:
    spec = body["spec"]
    assert spec["backoffLimit"] == 0
    assert spec["activeDeadlineSeconds"] > 0
    assert spec["ttlSecondsAfterFinished"] >= 600
    assert pod_of(body)["restartPolicy"] == "Never"
    (rule,) = spec["podFailurePolicy"]["rules"]
    assert (rule["action"], rule["onPodConditions"][0]["type"]) == ("Ignore", "DisruptionTarget")
    assert spec["template"]["metadata"]["annotations"]["karpenter.sh/do-not-disrupt"] == "true"


def test_a_claim_is_mounted_once_and_read_only() -> None:
    request = ResolveRequest(
        source=Location(uri="pvc://models/ranker/"), calibration=Location(uri="pvc://models/calibration.npz")
    )
    body = job.render_resolve_job(samples.OWNER, "ranker-resolve-1", request, image="operator")
    (volume,) = (v for v in pod_of(body)["volumes"] if "persistentVolumeClaim" in v)
    assert volume["persistentVolumeClaim"] == {"claimName": "models", "readOnly": True}
    (mount,) = (m for m in pod_of(body)["containers"][0]["volumeMounts"] if m["name"] == volume["name"])
    assert mount == {"name": volume["name"], "mountPath": f"{paths.PVC_DIR}/models", "readOnly": True}


@pytest.mark.parametrize("claim", ["..", "", "UPPER", "a..b", "a_b", "-a", "x:y", "user@a"])
def test_what_names_no_claim_is_refused(claim: str) -> None:
    with pytest.raises(InputError, match="names no PersistentVolumeClaim"):
        resolve(f"pvc://{claim}/model.onnx")


def test_a_missing_secret_does_not_keep_the_pod_from_saying_so() -> None:
    body = resolve("s3://models/ranker/", SecretRef(name="s3-credentials"))
    (volume,) = (v for v in pod_of(body)["volumes"] if "secret" in v)
    assert volume["secret"] == {"secretName": "s3-credentials", "optional": True, "defaultMode": 0o444}


def test_without_a_secret_none_is_mounted() -> None:
    assert not [v for v in pod_of(resolve("s3://models/ranker/"))["volumes"] if "secret" in v]


def test_an_optimize_job_runs_on_its_pool_with_its_own_account() -> None:
    body = samples.optimize_job(samples.GPU, {"serviceAccountName": "model-reader"})
    assert pod_of(body)["runtimeClassName"] == "nvidia"
    assert pod_of(body)["serviceAccountName"] == "model-reader"
    assert pod_of(body)["automountServiceAccountToken"] is False
    resources = pod_of(body)["containers"][0]["resources"]
    assert resources["limits"]["nvidia.com/gpu"] == resources["requests"]["nvidia.com/gpu"] == "1"

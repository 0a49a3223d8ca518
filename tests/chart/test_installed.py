"""The chart on a real API server: Helm installs and upgrades it, and its admission policies judge."""

import copy
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from e2e.cluster import builds
from e2e.cluster.apiserver import LocalApiServer
from e2e.cluster.shell import ClusterError
from modelwright.cluster import permissions
from tests.api.samples import MODEL, changed
from tests.chart.rendering import CHART, NAMESPACE, run_helm
from tests.render import samples

Body = dict[str, Any]
Change = Callable[[Body], None]

pytestmark = pytest.mark.apiserver

ACCOUNT = f"system:serviceaccount:{NAMESPACE}:mw-modelwright"
IMAGES = {
    "modelwright.example.com/operator:1": "modelwright/operator:0.1.0",
    "modelwright.example.com/optimizer:1": "modelwright/optimizer:0.1.0",
}


@pytest.fixture(scope="module")
def server() -> Iterator[LocalApiServer]:
    gateway = builds.module_directory("envoy-gateway", "sigs.k8s.io/gateway-api")
    with LocalApiServer(controllers=True) as server:
        for kind in ("httproutes", "grpcroutes"):
            crd = gateway / f"config/crd/standard/gateway.networking.k8s.io_{kind}.yaml"
            server.kubectl("apply", "--server-side", f"--filename={crd}")
        server.kubectl("create", "namespace", "team")
        helm(server, "install", "--create-namespace", "--description=first")
        helm(server, "upgrade", "--set=policy.priority=7")
        await_admission(server)
        yield server


def helm(server: LocalApiServer, verb: str, *words: str) -> None:
    values = f"--values={CHART}/ci/minimal-values.yaml"
    common = ["mw", str(CHART), f"--namespace={NAMESPACE}", f"--kubeconfig={server.kubeconfig}", values]
    home = {f"HELM_{name}_HOME": str(server.directory / "helm") for name in ("CACHE", "CONFIG", "DATA")}
    done = run_helm(verb, *common, *words, env=home)
    assert done.returncode == 0, done.stderr


def await_admission(server: LocalApiServer) -> None:
    """The API server takes a moment to see new policies."""
    forbidden = changed(MODEL, "spec.model.uri", "http://models/ranker/")
    deadline = time.monotonic() + 20
    while True:
        try:
            apply(server, forbidden)
        except ClusterError:
            return
        assert time.monotonic() < deadline, "a forbidden model is still accepted"
        time.sleep(0.2)


def apply(server: LocalApiServer, body: Body, *, as_operator: bool = False) -> str:
    who = [f"--as={ACCOUNT}"] if as_operator else []
    return server.kubectl(
        "apply",
        "--server-side",
        "--dry-run=server",
        "--field-manager=modelwright",
        "--output=yaml",
        "--filename=-",
        *who,
        stdin=json.dumps(body),
    )


def refusal(server: LocalApiServer, body: Body, *, as_operator: bool = False) -> str:
    with pytest.raises(ClusterError) as refused:
        apply(server, body, as_operator=as_operator)
    return refused.value.cause


def ours(name: str) -> Body:
    """A rendered object with the images that the chart names."""
    text = json.dumps(samples.OBJECTS[name]())
    for there, here in IMAGES.items():
        text = text.replace(there, here)
    return json.loads(text)


def test_an_upgrade_changes_the_policy_in_place(server: LocalApiServer) -> None:
    policy = yaml.safe_load(server.kubectl("get", "sp", "default", "--output=yaml"))
    assert policy["spec"]["priority"] == 7
    assert policy["metadata"]["generation"] == 2


def test_the_policy_outlives_a_change_of_who_makes_it(server: LocalApiServer) -> None:
    before = server.kubectl("get", "sp", "default", "--output=jsonpath={.metadata.uid}")
    helm(server, "upgrade", "--set=policy.hook=false")
    helm(server, "upgrade", "--set=policy.priority=7")
    assert server.kubectl("get", "sp", "default", "--output=jsonpath={.metadata.uid}") == before


def test_models_and_policy_outlive_the_release(server: LocalApiServer) -> None:
    server.kubectl("create", "--filename=-", stdin=json.dumps(changed(MODEL, "metadata.name", "lasting")))
    run_helm("uninstall", "mw", f"--namespace={NAMESPACE}", f"--kubeconfig={server.kubeconfig}")
    assert server.kubectl("get", "om/lasting", "sp/default", "--output=name").split() == [
        "optimizedmodel.modelwright.dev/lasting",
        "servingpolicy.modelwright.dev/default",
    ]
    helm(server, "install")
    await_admission(server)


def test_the_expressions_pass_the_api_servers_type_check(server: LocalApiServer) -> None:
    server.kubectl(
        "wait",
        "--for=jsonpath={.status.observedGeneration}=1",
        "validatingadmissionpolicy",
        "--selector=app.kubernetes.io/instance=mw",
        "--timeout=30s",
    )
    found = json.loads(
        server.kubectl("get", "validatingadmissionpolicy", "--selector=app.kubernetes.io/instance=mw", "--output=json")
    )
    warnings = {p["metadata"]["name"]: p["status"].get("typeChecking", {}) for p in found["items"]}
    assert len(warnings) == 4
    assert not any(warning.get("expressionWarnings") for warning in warnings.values()), warnings


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("spec.model.uri", "http://models/ranker/", "not allowed: http://"),
        ("spec.optimization.evaluation.uri", "http://models/e.npz", "not allowed: http://"),
        ("spec.optimization.calibration.uri", "http://models/c.npz", "not allowed: http://"),
        ("spec.serving.pool", "gpu", "it has no pool gpu"),
        ("spec.optimization.pool", "tpu", "it has no pool tpu"),
    ],
)
def test_a_model_that_the_policy_forbids_is_refused(server: LocalApiServer, path: str, value: str, words: str) -> None:
    assert words in refusal(server, changed(MODEL, path, value))


def test_a_model_that_the_policy_allows_is_accepted(server: LocalApiServer) -> None:
    assert apply(server, changed(MODEL, "spec.serving.pool", "cpu"))


def test_a_stricter_policy_does_not_refuse_an_annotation_on_an_old_model(server: LocalApiServer) -> None:
    old = changed(changed(MODEL, "spec.model.uri", "gs://models/ranker/"), "metadata.name", "old")
    server.kubectl("create", "--filename=-", stdin=json.dumps(old))
    server.kubectl("patch", "sp", "default", "--type=merge", '--patch={"spec":{"sources":{"schemes":["s3"]}}}')
    try:
        server.kubectl("annotate", "om", "old", "modelwright.dev/action=retry@x/1")
        with pytest.raises(ClusterError, match="not allowed: gs://"):
            server.kubectl("patch", "om", "old", "--type=merge", '--patch={"spec":{"replicas":2}}')
    finally:
        schemes = ["https", "s3", "gs", "az", "oci", "pvc"]
        patch = {"spec": {"sources": {"schemes": schemes}}}
        server.kubectl("patch", "sp", "default", "--type=merge", f"--patch={json.dumps(patch)}")


@pytest.mark.parametrize("name", sorted(samples.OBJECTS))
def test_the_operator_may_make_all_that_it_renders(server: LocalApiServer, name: str) -> None:
    assert apply(server, ours(name), as_operator=True)


def pod(body: Body) -> Body:
    return body["spec"]["template"]["spec"]


def container(body: Body) -> Body:
    return pod(body)["containers"][0]


MISDEEDS: list[tuple[str, str, Change, str]] = [
    ("no owner", "deployment", lambda b: b["metadata"].pop("ownerReferences"), "no OptimizedModel owns"),
    ("a token", "deployment", lambda b: pod(b).pop("automountServiceAccountToken"), "must have no token"),
    ("an account", "deployment", lambda b: pod(b).update(serviceAccountName="admin"), "no service account of its own"),
    ("the node's network", "deployment", lambda b: pod(b).update(hostNetwork=True), "namespaces of its node"),
    (
        "the node's disk",
        "deployment",
        lambda b: pod(b)["volumes"].append({"name": "root", "hostPath": {"path": "/"}}),
        "a volume must be",
    ),
    (
        "a token by projection",
        "deployment",
        lambda b: pod(b)["volumes"].append(
            {"name": "token", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}
        ),
        "a volume must be",
    ),
    ("escalation", "deployment", lambda b: container(b).pop("securityContext"), "no privilege"),
    (
        "a capability",
        "resolve-job",
        lambda b: container(b)["securityContext"]["capabilities"].update(add=["SYS_ADMIN"]),
        "no privilege",
    ),
    ("root", "resolve-job", lambda b: container(b)["securityContext"].update(runAsUser=0), "no privilege"),
    (
        "a Secret for Triton",
        "deployment-store-secret",
        lambda b: container(b)["volumeMounts"].append({"name": "store-secret", "mountPath": "/secret"}),
        "neither a Secret nor a claim",
    ),
    (
        "a Secret in the environment",
        "deployment",
        lambda b: container(b)["env"].append({"name": "X", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}),
        "no Secret into its environment",
    ),
    (
        "a whole Secret in the environment",
        "resolve-job",
        lambda b: container(b).update(envFrom=[{"secretRef": {"name": "s"}}]),
        "no Secret into its environment",
    ),
    ("a foreign Job", "resolve-job", lambda b: container(b).update(image="busybox"), "our own images only"),
    (
        "a look-alike image",
        "resolve-job",
        lambda b: container(b).update(image="modelwright/operator-evil:1"),
        "our own images only",
    ),
    (
        "a shell in our image",
        "resolve-job",
        lambda b: container(b).update(command=["sh", "-c", "cat /var/run/modelwright/secret/*"]),
        "must run our own programs",
    ),
    (
        "code by environment",
        "optimize-job",
        lambda b: container(b)["env"].append({"name": "PYTHONPATH", "value": "/mnt"}),
        "must run our own programs",
    ),
    (
        "a hook in our container",
        "deployment",
        lambda b: pod(b)["initContainers"][0].update(args=["--help"]),
        "must run our own programs",
    ),
    (
        "an address outside",
        "client-service",
        lambda b: b["spec"].update(externalIPs=["192.0.2.1"]),
        "inside the cluster only",
    ),
    ("a port on nodes", "client-service", lambda b: b["spec"].update(type="NodePort"), "inside the cluster only"),
]


@pytest.mark.parametrize(("name", "change", "words"), [m[1:] for m in MISDEEDS], ids=[m[0] for m in MISDEEDS])
def test_a_stolen_token_cannot_make(server: LocalApiServer, name: str, change: Change, words: str) -> None:
    body = copy.deepcopy(ours(name))
    change(body)
    assert words in refusal(server, body, as_operator=True)


def test_others_are_not_judged_by_the_operators_rules(server: LocalApiServer) -> None:
    body = ours("deployment")
    body["metadata"].pop("ownerReferences")
    assert apply(server, body)


def may(server: LocalApiServer, user: str, *requests: tuple[str, str, str]) -> list[bool]:
    """Whether RBAC lets `user` do each (verb, group, resource) in the namespace `team`."""
    reviews: list[Body] = []
    for verb, group, resource in requests:
        plural, _, subresource = resource.partition("/")
        attributes = {"namespace": "team", "verb": verb, "group": group, "resource": plural}
        if subresource:
            attributes["subresource"] = subresource
        spec = {"user": user, "resourceAttributes": attributes}
        reviews.append({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec})
    answer = server.kubectl("create", "--output=yaml", "--filename=-", stdin=yaml.safe_dump_all(reviews))
    return [review["status"]["allowed"] for review in yaml.safe_load_all(answer)]


FORBIDDEN = [
    ("get", "", "secrets"),
    ("list", "", "secrets"),
    ("get", "", "pods/log"),
    ("create", "", "pods/exec"),
    ("create", "", "pods"),
    ("delete", "", "pods"),
    ("list", "", "namespaces"),
    ("patch", "modelwright.dev", "optimizedmodels"),
    ("update", "modelwright.dev", "optimizedmodels"),
    ("delete", "modelwright.dev", "optimizedmodels"),
    ("patch", "modelwright.dev", "servingpolicies"),
    ("create", "rbac.authorization.k8s.io", "rolebindings"),
    ("create", "coordination.k8s.io", "leases"),
]


def test_the_operator_may_not(server: LocalApiServer) -> None:
    allowed = may(server, ACCOUNT, *FORBIDDEN)
    assert [request for request, yes in zip(FORBIDDEN, allowed, strict=True) if yes] == []


def test_the_operator_may_do_all_that_its_permissions_say(server: LocalApiServer) -> None:
    granted = [p for p in permissions.PERMISSIONS if p.scope == "models"]
    requests = [(verb, p.group, resource) for p in granted for verb in p.verbs for resource in p.resources]
    allowed = may(server, ACCOUNT, *requests)
    assert [request for request, yes in zip(requests, allowed, strict=True) if not yes] == []


@pytest.mark.parametrize(
    ("role", "verb", "allowed"),
    [("view", "get", True), ("view", "create", False), ("edit", "create", True), ("admin", "delete", True)],
)
def test_users_get_models_with_their_namespaces_role(
    server: LocalApiServer, role: str, verb: str, *, allowed: bool
) -> None:
    user = f"{role}-{verb}"
    binding = ["rolebinding", user, f"--clusterrole={role}", f"--user={user}", "--namespace=team"]
    server.kubectl("create", *binding)
    # The controller that adds our roles to the cluster's own needs a moment.
    deadline = time.monotonic() + 20
    while may(server, user, (verb, "modelwright.dev", "optimizedmodels")) != [allowed]:
        assert time.monotonic() < deadline
        time.sleep(0.2)

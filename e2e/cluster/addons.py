"""What a cluster needs beyond its control plane: names, resource metrics, Prometheus, and the gateway."""

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from string import Template

from e2e.cluster.builds import binary, module_directory
from e2e.cluster.controlplane import kubectl
from e2e.cluster.paths import KUBECONFIG, MANIFESTS
from e2e.cluster.processes import wait_until
from e2e.cluster.shell import ClusterError, run, tail_of
from e2e.cluster.topology import DNS_ADDRESS, REGISTRY

Report = Callable[[str], None]

_GATEWAY_MODULE = "github.com/envoyproxy/gateway"
_GATEWAY_SYSTEM = "envoy-gateway-system"
_DEPLOYMENTS = (
    ("kube-system", "coredns"),
    ("kube-system", "metrics-server"),
    ("modelwright-monitoring", "prometheus"),
    (_GATEWAY_SYSTEM, "envoy-gateway"),
)


def install(report: Report) -> None:
    """Apply everything, then wait for it: the parts start side by side."""
    report("names, metrics")
    _apply("coredns.yaml")
    _apply_metrics_server()
    _apply("prometheus.yaml")
    # The chart runs a Job first, which fails for good if Services do not work yet; CoreDNS is ready once they do.
    _await_deployment("kube-system", "coredns", report)
    report("Envoy Gateway's chart")
    _install_gateway_chart()
    _apply("gateway.yaml")


def await_ready(report: Report) -> None:
    """Wait until all of it works; show what is wrong with the first that does not."""
    for namespace, name in _DEPLOYMENTS:
        _await_deployment(namespace, name, report)
    report("waiting for the gateway")
    if not wait_until(lambda: gateway_address() is not None, timeout=120, pause=0.3):
        raise ClusterError(f"the Gateway is not programmed after 120 s\n{_troubles(_GATEWAY_SYSTEM, 'envoy-gateway')}")
    report("waiting for metrics.k8s.io")
    if not wait_until(_metrics_served, timeout=60, pause=0.3):
        raise ClusterError(f"metrics.k8s.io is not served after 60 s\n{_troubles('kube-system', 'metrics-server')}")


def _await_deployment(namespace: str, name: str, report: Report) -> None:
    report(f"waiting for {name}")
    if not wait_until(lambda: _available(namespace, name), timeout=120, pause=0.3):
        raise ClusterError(f"{namespace}/{name} is not available after 120 s\n{_troubles(namespace, name)}")


def all_ready() -> bool:
    """Whether everything here works at this moment."""
    try:
        return all(_available(*name) for name in _DEPLOYMENTS) and gateway_address() is not None
    except ClusterError:
        return False


def gateway_address() -> str | None:
    """The address of the Gateway once it is programmed."""
    query = ("get", "gateway", "modelwright", "--namespace=modelwright-gateway", "--output=json")
    try:
        status = json.loads(kubectl(*query)).get("status", {})
    except ClusterError:
        return None
    programmed = any(c["type"] == "Programmed" and c["status"] == "True" for c in status.get("conditions", []))
    addresses = status.get("addresses", [])
    return addresses[0]["value"] if programmed and addresses else None


def _apply(manifest: str) -> None:
    kubectl("apply", "--server-side", "--filename=-", stdin=_filled_in(manifest))


def _filled_in(manifest: str) -> str:
    values = {"REGISTRY": REGISTRY, "DNS": DNS_ADDRESS}
    return Template((MANIFESTS / manifest).read_text()).substitute(values)


def _apply_metrics_server() -> None:
    """Take metrics-server's manifests from its module and change what must differ here."""
    module = module_directory("metrics-server", "sigs.k8s.io/metrics-server")
    with tempfile.TemporaryDirectory() as scratch:
        _copy_tree(module / "manifests/base", Path(scratch, "base"))
        Path(scratch, "kustomization.yaml").write_text(_filled_in("metrics-server.yaml"))
        kubectl("apply", "--server-side", "--kustomize", scratch)


def _install_gateway_chart() -> None:
    """Install the chart inside Envoy Gateway's module; it brings the CRDs of the Gateway API."""
    with tempfile.TemporaryDirectory() as scratch:
        chart, values = Path(scratch, "chart"), Path(scratch, "values.yaml")
        _copy_tree(module_directory("envoy-gateway", _GATEWAY_MODULE) / "charts/gateway-helm", chart)
        defaults = Template((chart / "values.tmpl.yaml").read_text())
        # Ours are named in gateway-values.yaml; the template only has to become YAML.
        (chart / "values.yaml").write_text(defaults.safe_substitute(GatewayImage="", GatewayImagePullPolicy=""))
        values.write_text(_filled_in("gateway-values.yaml"))
        run(
            [
                binary("helm"), "upgrade", "--install", "eg", chart, "--values", values, "--kubeconfig", KUBECONFIG,
                "--namespace", _GATEWAY_SYSTEM, "--create-namespace", "--timeout", "3m",
            ],
            env={"HELM_CACHE_HOME": scratch, "HELM_CONFIG_HOME": scratch, "HELM_DATA_HOME": scratch},
        )  # fmt: skip


def _copy_tree(source: Path, target: Path) -> None:
    """Copy out of Go's module cache, where everything is read-only."""
    shutil.copytree(source, target, copy_function=shutil.copyfile)
    for directory in (target, *(path for path in target.rglob("*") if path.is_dir())):
        directory.chmod(0o755)


def _available(namespace: str, name: str) -> bool:
    query = ("get", "deployment", name, f"--namespace={namespace}", "--ignore-not-found", "--output=json")
    found = kubectl(*query).strip()
    return bool(found) and json.loads(found).get("status", {}).get("availableReplicas", 0) > 0


def _metrics_served() -> bool:
    try:
        listed = json.loads(kubectl("get", "--raw", "/apis/metrics.k8s.io/v1beta1/nodes"))
    except ClusterError:
        return False
    return len(listed["items"]) > 0


def _troubles(namespace: str, deployment: str) -> str:
    """The first cause is nearly always in the pods, in the last warnings or in the program's last words."""
    scope = f"--namespace={namespace}"
    found: list[str] = []
    for query in (
        ("get", "pods", scope, "--output=wide"),
        ("get", "events", scope, "--field-selector=type=Warning", "--no-headers"),
        ("logs", f"deployment/{deployment}", scope, "--tail=8"),
    ):
        try:
            found.append(tail_of(kubectl(*query).strip(), 8))
        except ClusterError as error:
            found.append(error.cause)
    return "\n".join(found)

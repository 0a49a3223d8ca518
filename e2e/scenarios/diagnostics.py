"""When a scenario fails: all that tells why, in files, and the first cause on the screen."""

import contextlib
from pathlib import Path

from e2e.scenarios.kube import MODELS, ROOT, Kube, KubectlError
from e2e.scenarios.operators import IN_CLUSTER_SELECTOR, find_deployment

FOLDER = ROOT / ".work" / "diagnostics"
_LOG_LINES = "400"


def collect(kube: Kube, namespaces: list[str], test: str) -> Path:
    """Write resources, descriptions, events and logs into a folder named after the test."""
    folder = FOLDER / test.replace("/", "_").replace("::", ".")
    folder.mkdir(parents=True, exist_ok=True)
    for namespace in namespaces:
        within = f"--namespace={namespace}"
        _write(kube, folder / f"{namespace}-models.yaml", "get", MODELS, within, "-o", "yaml")
        _write(kube, folder / f"{namespace}-models.txt", "describe", MODELS, within)
        _write(kube, folder / f"{namespace}-events.txt", "get", "events", within, "--sort-by=.lastTimestamp")
        _write(
            kube, folder / f"{namespace}-all.txt", "get", "all,configmaps,httproutes,grpcroutes", within, "-o", "wide"
        )
        _write(kube, folder / f"{namespace}-pods.txt", "describe", "pods", within)
        _logs(kube, folder, namespace)
    _operator_log(kube, folder)
    return folder


def first_cause(kube: Kube, namespaces: list[str]) -> str:
    """One line a model that is not ready, from its own status: that is where causes belong."""
    lines: list[str] = []
    with contextlib.suppress(KubectlError):
        for namespace in namespaces:
            for model in kube.list(MODELS, namespace):
                status = model.get("status", {})
                found = [c for c in status.get("conditions", []) if c["type"] == "Ready" and c["status"] != "True"]
                lines += [f"{namespace}/{model['metadata']['name']}: {c['reason']}: {c['message']}" for c in found]
    return "\n".join(lines) or "every model is ready, or none exists"


def _logs(kube: Kube, folder: Path, namespace: str) -> None:
    with contextlib.suppress(KubectlError):
        for pod in kube.list("pods", namespace):
            name = pod["metadata"]["name"]
            words = ("logs", name, f"--namespace={namespace}", "--all-containers", f"--tail={_LOG_LINES}")
            _write(kube, folder / f"{namespace}-log-{name}.txt", *words)


def _operator_log(kube: Kube, folder: Path) -> None:
    with contextlib.suppress(KubectlError):
        deployment = find_deployment(kube)
        if deployment:
            within = f"--namespace={deployment.namespace}"
            selector = f"--selector={IN_CLUSTER_SELECTOR}"
            _write(kube, folder / "operator.log", "logs", within, selector, "--prefix", "--tail=2000")


def _write(kube: Kube, path: Path, *words: str) -> None:
    try:
        text = kube.run(*words)
    except KubectlError as error:
        text = str(error)
    path.write_text(text)

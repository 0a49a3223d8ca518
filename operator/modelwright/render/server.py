"""How Triton is started and asked: hardened flags (all known since Triton 2.51), ports and probes."""

import math

from modelwright import naming
from modelwright.contract import paths
from modelwright.render.meta import Body

PORTS = {"http": naming.PORT_HTTP, "grpc": naming.PORT_GRPC, "metrics": naming.PORT_METRICS}

ADMIN_VARIABLE = "MODELWRIGHT_POD_UID"
ADMIN_APIS = "model-repository,shared-memory,trace,logging"
"""Protocols that change the server or reach into its memory. No client of a model needs them."""

STARTUP_PERIOD_SECONDS = 2
STARTUP_BASE_SECONDS = 60
STARTUP_FACTOR = 20
"""The optimizer measured the load with a whole core; a pod may have a small share of one."""


def command(drain_seconds: int) -> list[str]:
    """Triton's command line.

    The admin protocols want a header whose value is the pod's UID: random, different in each pod, and known
    to those who may read the pod.
    """
    restricted = f"{ADMIN_APIS}:modelwright-admin=$({ADMIN_VARIABLE})"
    return [
        "tritonserver",
        f"--model-repository={paths.REPOSITORY_DIR}",
        # What serves is decided by the Deployment alone: loading at run time can execute code.
        "--model-control-mode=none",
        "--exit-on-error=true",
        "--strict-readiness=true",
        "--disable-auto-complete-config",
        f"--http-port={naming.PORT_HTTP}",
        f"--grpc-port={naming.PORT_GRPC}",
        f"--metrics-port={naming.PORT_METRICS}",
        "--allow-sagemaker=false",
        "--allow-vertex-ai=false",
        f"--http-restricted-api={restricted}",
        f"--grpc-restricted-protocol={restricted}",
        f"--exit-timeout-secs={drain_seconds}",
        # A container's last words are its last 2 KiB: Triton's tables would push out why it refused the model.
        "--log-info=false",
    ]


def admin_environment() -> Body:
    """The variable that `command` refers to."""
    return {"name": ADMIN_VARIABLE, "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}}


def ports() -> list[Body]:
    """Ports of the container, by the names that Services and probes use."""
    return [{"name": name, "containerPort": port, "protocol": "TCP"} for name, port in PORTS.items()]


def startup_seconds(load_seconds: float) -> int:
    """How long a pod may take to answer the golden inference."""
    return STARTUP_BASE_SECONDS + math.ceil(STARTUP_FACTOR * load_seconds)


def probes(model_name: str, load_seconds: float) -> Body:
    """The three probes.

    Start-up replays the golden pair and compares values, for a broken Triton can answer empty tensors with
    status 200. Readiness asks for the model. Liveness asks for the server only: a restart mends no model.
    """
    exec_probe = {"command": ["python3", f"{paths.PROBE_DIR}/probe.py", "startup"]}
    return {
        "startupProbe": {
            "exec": exec_probe,
            "periodSeconds": STARTUP_PERIOD_SECONDS,
            "timeoutSeconds": 15,
            "failureThreshold": math.ceil(startup_seconds(load_seconds) / STARTUP_PERIOD_SECONDS),
        },
        "readinessProbe": _http(f"/v2/models/{model_name}/ready", period=5, timeout=3, failures=3),
        "livenessProbe": _http("/v2/health/live", period=10, timeout=5, failures=6),
    }


def _http(path: str, *, period: int, timeout: int, failures: int) -> Body:
    return {
        "httpGet": {"path": path, "port": "http", "scheme": "HTTP"},
        "periodSeconds": period,
        "timeoutSeconds": timeout,
        "failureThreshold": failures,
    }

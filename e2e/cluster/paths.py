"""Where everything lives: the checkout, the cache that survives `down`, and the state that does not."""

import os
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parent.parent
BUILDS = HERE / "builds"
MANIFESTS = HERE / "manifests"
DOCKERFILES = HERE / "dockerfiles"


def _cache() -> Path:
    if chosen := os.environ.get("MODELWRIGHT_CACHE"):
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "modelwright"


CACHE = _cache()
STATE = Path(os.environ.get("MODELWRIGHT_STATE", "/var/lib/modelwright-cluster"))

LOGS = STATE / "logs"
KUBECONFIG = STATE / "kubeconfig"
AUDIT_LOG = STATE / "audit" / "audit.log"
# Beside the state and not in it: `down` removes the state while it holds this lock.
LOCK = STATE.with_name(STATE.name + ".lock")

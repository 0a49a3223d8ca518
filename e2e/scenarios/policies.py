"""The installed ServingPolicy, widened for the length of a test."""

import copy
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

from e2e.scenarios.kube import POLICIES, Kube, Obj

Pool = dict[str, Any]


def installed(kube: Kube) -> Obj:
    """The policy that picks pools and defaults."""
    found = kube.list(POLICIES)
    assert found, "there is no ServingPolicy: install the chart"
    return min(found, key=lambda policy: (-policy["spec"].get("priority", 0), policy["metadata"]["name"]))


@contextmanager
def widened(kube: Kube, *, schemes: tuple[str, ...] = (), pools: tuple[Pool, ...] = ()) -> Generator[None]:
    """Have the installed policy allow these schemes and pools as well.

    It is changed in place: a second policy could allow nothing that the first one forbids. Other models keep their
    revisions, for what is called and held the same does not change for them.
    """
    spec = installed(kube)["spec"]
    wider = copy.deepcopy(spec)
    wider["sources"]["schemes"] = sorted({*spec["sources"]["schemes"], *schemes})
    fresh = {pool["name"] for pool in pools}
    wider["pools"] = [*(pool for pool in spec["pools"] if pool["name"] not in fresh), *pools]
    rewrite(kube, wider)
    try:
        yield
    finally:
        rewrite(kube, spec)


def rewrite(kube: Kube, spec: Mapping[str, Any]) -> None:
    """Give the installed policy another spec, in the name of whoever applied it.

    A manager of our own would own the fields from then on, and the next `helm upgrade` would end in a conflict.
    """
    policy = kube.get(POLICIES, installed(kube)["metadata"]["name"])
    meta = policy["metadata"]
    applied = [m["manager"] for m in meta["managedFields"] if m["operation"] == "Apply" and "f:spec" in m["fieldsV1"]]
    kept = {key: meta[key] for key in ("name", "labels", "annotations") if key in meta}
    kube.apply_server_side(
        {"apiVersion": policy["apiVersion"], "kind": policy["kind"], "metadata": kept, "spec": dict(spec)},
        manager=applied[0] if applied else "kubectl",
    )


def pool_like(kube: Kube, name: str, first: str = "", **changes: Any) -> Pool:
    """A pool called `name` that is like the installed policy's first one (or the one of that name) but for changes."""
    pools: list[Pool] = installed(kube)["spec"]["pools"]
    model = next(pool for pool in pools if not first or pool["name"] == first)
    return {**copy.deepcopy(model), "name": name, **changes}

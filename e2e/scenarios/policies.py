"""The installed ServingPolicy, widened for the length of a test."""

import copy
from collections.abc import Generator
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
    policy = installed(kube)
    name, spec = policy["metadata"]["name"], policy["spec"]
    wider = copy.deepcopy(spec)
    wider["sources"]["schemes"] = sorted({*spec["sources"]["schemes"], *schemes})
    fresh = {pool["name"] for pool in pools}
    wider["pools"] = [*(pool for pool in spec["pools"] if pool["name"] not in fresh), *pools]
    kube.patch(POLICIES, name, {"spec": wider})
    try:
        yield
    finally:
        kube.patch(POLICIES, name, {"spec": spec})


def pool_like(kube: Kube, name: str, first: str = "", **changes: Any) -> Pool:
    """A pool called `name` that is like the installed policy's first one (or the one of that name) but for changes."""
    pools: list[Pool] = installed(kube)["spec"]["pools"]
    model = next(pool for pool in pools if not first or pool["name"] == first)
    return {**copy.deepcopy(model), "name": name, **changes}

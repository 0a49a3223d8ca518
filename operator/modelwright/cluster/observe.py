"""A Snapshot of one model, from the caches alone."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import cast

from modelwright.cluster import kinds
from modelwright.cluster.cache import Cache
from modelwright.cluster.kinds import Key
from modelwright.cluster.owned import Models, Policies, group_of
from modelwright.cluster.store import Group
from modelwright.core.snapshot import (
    ApplyError,
    Images,
    ObservedDeployment,
    ObservedJob,
    ObservedPod,
    ObservedRoute,
    Snapshot,
)

LAST_WORDS_SECONDS = 5.0
_ENDED = frozenset({"Succeeded", "Failed"})


@dataclass(frozen=True)
class Observer:
    """Reads the caches.

    Attributes:
        models: Our OptimizedModels.
        policies: Our ServingPolicies.
        cache: Children and pods.
        images: What the operator was started with.
        again: Asks for another pass over a key in so many seconds.
        clock: Monotonic.
    """

    models: Models
    policies: Policies
    cache: Cache
    images: Images
    again: Callable[[Key, float], None]
    clock: Callable[[], float] = time.monotonic

    def observe(self, key: Key, apply_errors: tuple[ApplyError, ...] = ()) -> Snapshot | None:
        """Everything known of a model; None if it does not exist."""
        model = self.models.get(key)
        if model is None:
            return None
        group = group_of(key)
        return Snapshot(
            model=model,
            policies=self.policies.all(),
            jobs=self._jobs(key, group),
            deployments=cast("tuple[ObservedDeployment, ...]", self.cache.children(kinds.DEPLOYMENT.name, group)),
            routes=cast(
                "tuple[ObservedRoute, ...]",
                tuple(route for kind in kinds.ROUTES for route in self.cache.children(kind.name, group)),
            ),
            others=tuple(
                child for kind in (kinds.SERVICE, kinds.CONFIG_MAP) for child in self.cache.children(kind.name, group)
            ),
            pods=self._pods(group),
            images=replace(self.images, gateway_api=self.cache.gateway_api),
            apply_errors=apply_errors,
        )

    def _pods(self, group: Group) -> tuple[ObservedPod, ...]:
        return tuple(cast("ObservedPod", entry.facts) for entry in self.cache.of(kinds.POD.name, group))

    def _jobs(self, key: Key, group: Group) -> tuple[ObservedJob, ...]:
        """The Jobs. One that has ended counts as running until its pod's last words are known too.

        Jobs and pods come over different watches: a Job may be seen to end before the pod that holds its answer.
        """
        jobs: list[ObservedJob] = []
        for entry in self.cache.of(kinds.JOB.name, group):
            job = cast("ObservedJob", entry.facts)
            left = entry.since + LAST_WORDS_SECONDS - self.clock()
            if (job.succeeded or job.failed) and left > 0 and not self._heard(job.name, group):
                self.again(key, left)
                job = replace(job, succeeded=False, failed=False, active=1)
            jobs.append(job)
        return tuple(jobs)

    def _heard(self, job: str, group: Group) -> bool:
        pods = [pod for pod in self._pods(group) if pod.job == job]
        return bool(pods) and all(pod.phase in _ENDED for pod in pods)

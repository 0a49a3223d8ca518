"""One replica reconciles: whoever holds the Lease.

A loop of our own over our own client, because the official client's leader election measures with the wall clock,
lets a hanging request outlive the deadline of its renewal, and never gives the Lease back.

Safety rests on two numbers: a holder stops writing `renew_within` after it last *began* a successful renewal, on
its own monotonic clock, and nobody takes a Lease over until it saw it unchanged for the longer `duration`. A holder
that was frozen finds the fence closed before its first write.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from modelwright.cluster.classify import NOT_FOUND
from modelwright.cluster.client import Body, Client
from modelwright.cluster.kinds import LEASE
from modelwright.errors import ClusterError, Conflict, ModelwrightError

log = logging.getLogger(__name__)


class LeaseLost(ModelwrightError):
    """The Lease could not be renewed in time, or is another's."""


@dataclass(frozen=True)
class Terms:
    """How long things take, in seconds.

    Attributes:
        duration: After which others may take an unchanged Lease over.
        renew_within: Within which the holder must renew it, or stop.
        every: Between attempts.
    """

    duration: float = 15.0
    renew_within: float = 10.0
    every: float = 2.0


TERMS = Terms()


class Leader:
    """Competes for a Lease, keeps it, and gives it back."""

    def __init__(  # noqa: PLR0913 - injected
        self,
        client: Client,
        name: str,
        namespace: str,
        identity: str,
        *,
        terms: Terms = TERMS,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._client = client
        self._name = name
        self._namespace = namespace
        self._identity = identity
        self._terms = terms
        self._clock = clock
        self._now = now
        self._lease: Body = {}
        self._seen = ("", "")
        self._seen_at = 0.0
        self._renewed_at = float("-inf")
        self._writing = asyncio.Lock()
        self._given_back = False

    def holds(self) -> bool:
        """Whether the Lease is certainly still ours: the fence of every write."""
        return self._clock() < self._renewed_at + self._terms.renew_within

    async def acquire(self) -> None:
        """Return once the Lease is ours."""
        while True:
            try:
                async with asyncio.timeout(self._terms.renew_within):
                    if await self._try():
                        log.info("%s holds the Lease %s/%s", self._identity, self._namespace, self._name)
                        return
            except (ClusterError, TimeoutError) as error:
                log.debug("Lease %s: %s", self._name, error)
            await asyncio.sleep(self._terms.every)

    async def keep(self) -> None:
        """Renew until it is given back.

        Raises:
            LeaseLost: It could not be renewed for too long, or is another's.
        """
        while True:
            await asyncio.sleep(self._terms.every)
            if self._given_back:
                return
            try:
                async with asyncio.timeout(max(0.0, self._renewed_at + self._terms.renew_within - self._clock())):
                    if not await self._renew():
                        raise LeaseLost(f"the Lease {self._namespace}/{self._name} is {self._holder()}'s now")
            except (ClusterError, TimeoutError) as error:
                log.warning("Lease %s was not renewed: %s", self._name, error or "no answer in time")
            if not self.holds():
                raise LeaseLost(f"the Lease {self._namespace}/{self._name} could not be renewed in time")

    async def release(self) -> None:
        """Give the Lease back, so that a successor need not wait for it to expire."""
        if not self.holds():
            return
        self._given_back = True
        self._renewed_at = float("-inf")
        try:
            # A renewal that is under way ends first: its answer is what is replaced here.
            async with asyncio.timeout(self._terms.every), self._writing:
                free = {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": self._time()}
                await self._put({**self._lease["spec"], **free})
        except (ClusterError, TimeoutError) as error:
            log.warning("the Lease could not be given back: %s", error)

    async def _try(self) -> bool:
        """Take the Lease if it is free, expired or not there."""
        try:
            self._lease = await self._client.request("GET", LEASE.path(self._namespace, self._name), urgent=True)
        except ClusterError as error:
            if error.status != NOT_FOUND:
                raise
            return await self._create()
        spec: dict[str, Any] = self._lease.get("spec") or {}
        if self._holder() == self._identity:
            return await self._renew()
        if self._holder() and not self._expired(spec):
            return False
        return await self._take(spec)

    def _expired(self, spec: dict[str, Any]) -> bool:
        """Whether we saw it unchanged for its whole duration. Clocks of two machines are never compared."""
        seen = (self._holder(), str(spec.get("renewTime")))
        if seen != self._seen:
            self._seen, self._seen_at = seen, self._clock()
        duration = float(spec.get("leaseDurationSeconds") or self._terms.duration)
        return self._clock() > self._seen_at + duration

    async def _create(self) -> bool:
        began = self._clock()
        body = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": self._spec(transitions=0),
        }
        try:
            self._lease = await self._client.request("POST", LEASE.collection(self._namespace), body=body, urgent=True)
        except Conflict:
            return False
        self._renewed_at = began
        return True

    async def _take(self, spec: dict[str, Any]) -> bool:
        began = self._clock()
        try:
            await self._put(self._spec(transitions=int(spec.get("leaseTransitions") or 0) + 1))
        except Conflict:
            return False
        self._renewed_at = began
        return True

    async def _renew(self) -> bool:
        """Write a new time; False if the Lease is another's."""
        async with self._writing:
            return self._given_back or await self._renewed()

    async def _renewed(self) -> bool:
        began = self._clock()
        try:
            await self._put({**self._lease["spec"], "renewTime": self._time()})
        except Conflict:
            self._lease = await self._client.request("GET", LEASE.path(self._namespace, self._name), urgent=True)
            if self._holder() != self._identity:
                self._renewed_at = float("-inf")
                return False
            await self._put({**self._lease["spec"], "renewTime": self._time()})
        if not self._given_back:
            self._renewed_at = began
        return True

    async def _put(self, spec: dict[str, Any]) -> None:
        """Replace the Lease as it was last seen."""
        path = LEASE.path(self._namespace, self._name)
        self._lease = await self._client.request("PUT", path, body={**self._lease, "spec": spec}, urgent=True)

    def _spec(self, transitions: int) -> dict[str, Any]:
        time_now = self._time()
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": round(self._terms.duration),
            "acquireTime": time_now,
            "renewTime": time_now,
            "leaseTransitions": transitions,
        }

    def _holder(self) -> str:
        spec: dict[str, Any] = self._lease.get("spec") or {}
        return spec.get("holderIdentity") or ""

    def _time(self) -> str:
        return self._now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")

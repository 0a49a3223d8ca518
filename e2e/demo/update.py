"""One change of a served model while clients keep asking: a new revision takes over and no request may be lost."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from e2e.demo.story import DemoError, Say, Story
from e2e.load import pod
from e2e.load.pod import Load, Running
from e2e.scenarios.kube import MODELS, Obj

RATE: Final = 20.0
"""Requests a second and protocol: the generator shares the machine with what it measures."""
BEFORE_SECONDS: Final = 5.0
AFTER_SECONDS: Final = 8.0
"""Load after the new revision took over, while the old one drains and goes."""
LONGEST_SECONDS: Final = 300.0
_BATCHES: Final = (24, 32)


@dataclass(frozen=True)
class Account:
    """What became of all requests, by protocol, and how long the change took."""

    results: Mapping[str, Mapping[str, Any]]
    seconds: float
    revision: str

    @property
    def lost(self) -> int:
        """Requests without a right answer."""
        return sum(pod.lost(result) for result in self.results.values())

    def lines(self) -> list[str]:
        """One line a protocol, and one for every kind of failure."""
        lines: list[str] = []
        for protocol, result in self.results.items():
            shares = ", ".join(f"{name} {count}" for name, count in sorted(result["revisions"].items()))
            latency = result["latencyMs"]
            lines.append(
                f"{protocol}: {result['planned']} planned, {result['sent']} sent, {result['ok']} ok, "
                f"{pod.lost(result)} lost; answered by {shares}; p50 {latency['p50']} ms, p99 {latency['p99']} ms"
            )
            lines += [f"  {error} x {count}: {result['examples'][error]}" for error, count in result["failed"].items()]
        return lines


@dataclass(frozen=True)
class Update:
    """A model, and clients of it.

    Attributes:
        payload: What they ask; see `e2e.load.load`.
        image: Of the load generator.
        address: Of the gateway.
    """

    story: Story
    model: Obj
    payload: Mapping[str, Any]
    image: str
    address: str

    def run(self, say: Say) -> Account:
        """Start the clients, change `serving.maxBatchSize`, wait until the new revision serves, stop the clients.

        Raises:
            DemoError: The change made no new revision, or did not get through.
        """
        name, old = self.model["metadata"]["name"], self.model["status"]["stable"]["hash"]
        clients = [pod.start(self.story.kube, load) for load in self._loads()]
        try:
            for client in clients:
                client.wait_started()
            say(f"{name}: {2 * RATE:g} requests a second from two pods, HTTP and gRPC")
            time.sleep(BEFORE_SECONDS)
            size, began = self._change(), time.monotonic()
            say(f"{name}: serving.maxBatchSize is {size} now")
            changed = self.story.until_ready([name], LONGEST_SECONDS - 60)[name]
            seconds, new = time.monotonic() - began, changed["status"]["stable"]["hash"]
            if new == old:
                raise DemoError(f"{name}: the change made no new revision; r{old} still serves")
            say(f"{name}: r{old} → r{new} after {seconds:.1f} s; r{old} drains")
            time.sleep(AFTER_SECONDS)
            return Account({c.load.protocol: self._finish(c) for c in clients}, seconds, new)
        finally:
            for client in clients:
                client.remove()

    def _loads(self) -> list[Load]:
        resolved = self.model["status"]["resolved"]
        hosts = {"http": resolved["hostnames"][0], "grpc": resolved["grpcHostnames"][0]}
        return [
            Load(
                name=f"load-{protocol}",
                namespace=self.story.namespace,
                image=self.image,
                protocol=protocol,
                address=self.address,
                host=host,
                model=resolved["modelName"],
                payload=self.payload,
                rate=RATE,
                seconds=LONGEST_SECONDS,
            )
            for protocol, host in hosts.items()
        ]

    def _change(self) -> int:
        """Set another largest batch than the one that is set."""
        metadata = self.model["metadata"]
        current = self.model["spec"].get("serving", {}).get("maxBatchSize")
        size = next(size for size in _BATCHES if size != current)
        patch = {"spec": {"serving": {"maxBatchSize": size}}}
        self.story.kube.patch(MODELS, metadata["name"], patch, metadata["namespace"])
        return size

    @staticmethod
    def _finish(client: Running) -> dict[str, Any]:
        client.stop()
        return client.result()

"""Sends inference requests at a constant rate and accounts for every one; prints one JSON line at the end.

The rate is open-loop: request i is due at ``start + i / rate``, whether or not earlier ones were answered, and its
latency counts from when it was due. What the schedule holds is either sent or, above ``--in-flight``, left unsent;
what was sent is ok or failed by a named error::

    planned == sent + unsent        sent == ok + sum(failed)

The payload is a KServe v2 request (``{"inputs": [...]}``), or ``{"request": ..., "outputs": {name: [...]}, "atol": x,
"rtol": y}``: then an answer with other values has failed too, for a server can answer 200 with nothing in it.
SIGTERM ends the schedule; what is in flight is still waited for.
"""

import argparse
import asyncio
import json
import signal
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import grpc.aio  # pyright: ignore[reportMissingTypeStubs]
import numpy as np
from tritonclient.grpc import service_pb2  # pyright: ignore[reportMissingTypeStubs]

REVISION_HEADER = "modelwright-revision"
MOST_REQUESTS = 500_000
"""Of one run: each leaves a latency behind."""
_INFER = "/inference.GRPCInferenceService/ModelInfer"
_CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
_TYPES = {"BOOL": "?", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8"} | {
    f"{sign}INT{bits}": f"<{letter}{bits // 8}" for sign, letter in (("", "i"), ("U", "u")) for bits in (8, 16, 32, 64)
}
_messages: Any = service_pb2  # generated code without types


@dataclass(frozen=True)
class Plan:
    """What to send where.

    Attributes:
        address: ``host:port`` to connect to.
        host: Host header or authority; empty for the address.
        rate: Requests a second.
        seconds: Length of the schedule.
        timeout: Seconds after which an unanswered request has failed.
        in_flight: Most requests that wait at a time.
    """

    protocol: str
    address: str
    model: str
    payload: Path
    host: str = ""
    rate: float = 20.0
    seconds: float = 30.0
    timeout: float = 10.0
    in_flight: int = 256


class Failed(Exception):
    """A request that did not get the right answer, under a short name that can be counted."""


@dataclass(frozen=True)
class Payload:
    """A request, and what must be answered if that is known."""

    request: dict[str, Any]
    outputs: dict[str, list[Any]]
    atol: float
    rtol: float

    @staticmethod
    def read(path: Path) -> "Payload":
        """Read either form of the payload file."""
        found = json.loads(path.read_text())
        if "inputs" in found:
            return Payload(found, {}, 0.0, 0.0)
        return Payload(found["request"], found.get("outputs", {}), found.get("atol", 1e-3), found.get("rtol", 1e-3))

    def check(self, answered: dict[str, Any]) -> None:
        """Compare outputs (name to flat values) with what is expected; without expectation they must not be empty."""
        if not answered or any(len(values) == 0 for values in answered.values()):
            raise Failed("EmptyAnswer")
        for name, expected in self.outputs.items():
            values = answered.get(name, [])
            if len(values) != len(expected):
                raise Failed("WrongShape")
            if not np.allclose(np.asarray(values), np.asarray(expected), atol=self.atol, rtol=self.rtol):
                raise Failed("WrongValues")


class Client(Protocol):
    """One way to ask."""

    async def ask(self) -> str:
        """Send the payload once; the revision that answered, or `Failed`."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


class HttpClient:
    """KServe v2 over HTTP, on kept-alive connections."""

    def __init__(self, plan: Plan, payload: Payload) -> None:
        self._url = f"http://{plan.address}/v2/models/{plan.model}/infer"
        self._headers = {"Host": plan.host or plan.address, "Content-Type": "application/json"}
        self._body, self._payload = json.dumps(payload.request).encode(), payload
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=plan.timeout)
        )

    async def ask(self) -> str:
        """POST the payload."""
        try:
            async with self._session.post(self._url, data=self._body, headers=self._headers) as response:
                text = await response.read()
                if response.status != 200:
                    raise Failed(f"HTTP {response.status}")
                revision = response.headers.get(REVISION_HEADER, "unnamed")
        except TimeoutError:
            raise Failed("Timeout") from None
        except aiohttp.ClientError as error:
            raise Failed(type(error).__name__) from error
        self._payload.check({output["name"]: output["data"] for output in json.loads(text)["outputs"]})
        return revision

    async def close(self) -> None:
        """Close the session."""
        await self._session.close()


class GrpcClient:
    """KServe v2 over gRPC, on one channel."""

    def __init__(self, plan: Plan, payload: Payload) -> None:
        options = [("grpc.default_authority", plan.host or plan.address), ("grpc.enable_http_proxy", 0)]
        self._channel: Any = grpc.aio.insecure_channel(plan.address, options=options)
        self._infer = self._channel.unary_unary(_INFER)
        self._body, self._payload, self._timeout = grpc_request(plan.model, payload.request), payload, plan.timeout

    async def ask(self) -> str:
        """Call ModelInfer."""
        call = self._infer(self._body, timeout=self._timeout)
        try:
            answer = _messages.ModelInferResponse.FromString(await call)
        except grpc.RpcError as error:
            raise Failed(error.code().name) from error  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
        metadata: dict[str, str] = dict(await call.initial_metadata())
        self._payload.check(_outputs(answer))
        return metadata.get(REVISION_HEADER, "unnamed")

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()


def grpc_request(model: str, request: dict[str, Any]) -> bytes:
    """The gRPC form of a KServe v2 JSON request."""
    message = _messages.ModelInferRequest(model_name=model)
    for tensor in request["inputs"]:
        made = message.inputs.add(name=tensor["name"], datatype=tensor["datatype"], shape=tensor["shape"])
        values = np.asarray(tensor["data"], dtype=object).reshape(-1).tolist()
        if tensor["datatype"] == "BYTES":
            values = [value.encode() for value in values]
        getattr(made.contents, _CONTENTS[tensor["datatype"]]).extend(values)
    return message.SerializeToString()


def _outputs(answer: Any) -> dict[str, Any]:
    """Flat values by name. Text is left as bytes: only its presence is judged."""
    pairs = zip(answer.outputs, answer.raw_output_contents, strict=True)
    return {
        output.name: np.frombuffer(raw, dtype=_TYPES[output.datatype]) if output.datatype in _TYPES else raw
        for output, raw in pairs
    }


@dataclass
class Account:
    """What became of every request."""

    planned: int = 0
    unsent: int = 0
    ok: int = 0
    failed: Counter[str] = field(default_factory=Counter[str])
    examples: dict[str, str] = field(default_factory=dict[str, str])
    revisions: Counter[str] = field(default_factory=Counter[str])
    first_seen: dict[str, float] = field(default_factory=dict[str, float])
    latencies: list[float] = field(default_factory=list[float])

    def answered(self, revision: str, at: float, latency: float) -> None:
        """Book a right answer; times in seconds, `at` since the start."""
        self.ok += 1
        self.revisions[revision] += 1
        self.first_seen.setdefault(revision, round(at, 3))
        self.latencies.append(latency)

    def lost(self, name: str, why: str, at: float) -> None:
        """Book a request without a right answer."""
        self.failed[name] += 1
        self.examples.setdefault(name, f"after {at:.3f} s: {why}"[:200])

    def to_json(self, plan: Plan, seconds: float) -> str:
        """The closing line."""
        sent = self.ok + sum(self.failed.values())
        assert self.planned == sent + self.unsent, "a request was not accounted for"
        p50, p99, worst = np.percentile(self.latencies, (50, 99, 100)) * 1000 if self.latencies else (0.0, 0.0, 0.0)
        result = {
            "protocol": plan.protocol,
            "model": plan.model,
            "rate": plan.rate,
            "seconds": round(seconds, 3),
            "planned": self.planned,
            "unsent": self.unsent,
            "sent": sent,
            "ok": self.ok,
            "failed": dict(self.failed),
            "examples": self.examples,
            "revisions": dict(self.revisions),
            "firstSeen": self.first_seen,
            "latencyMs": {"p50": round(float(p50), 2), "p99": round(float(p99), 2), "max": round(float(worst), 2)},
        }
        return json.dumps(result, separators=(",", ":"))


async def run(plan: Plan, stop: asyncio.Event, client: Client | None = None) -> str:
    """Send what `plan` says, until it ends or `stop` is set; the account as JSON."""
    asked = client or _client(plan)
    account, waiting = Account(), set[asyncio.Task[None]]()
    start = time.monotonic()
    try:
        for number in range(round(plan.rate * plan.seconds)):
            due = start + number / plan.rate
            if await _stopped(stop, due - time.monotonic()):
                break
            account.planned += 1
            if len(waiting) >= plan.in_flight:
                account.unsent += 1
                continue
            task = asyncio.create_task(_one(asked.ask, account, start, due))
            waiting.add(task)
            task.add_done_callback(waiting.discard)
        seconds = time.monotonic() - start
        if waiting:
            await asyncio.gather(*waiting)
    finally:
        await asked.close()
    return account.to_json(plan, seconds)


async def _one(ask: Callable[[], Awaitable[str]], account: Account, start: float, due: float) -> None:
    try:
        revision = await ask()
    except Failed as failure:
        account.lost(str(failure), str(failure.__cause__ or failure), time.monotonic() - start)
    except Exception as error:  # noqa: BLE001
        # Whatever it was, the request was sent and not answered rightly: it has to be in the account.
        account.lost(type(error).__name__, str(error), time.monotonic() - start)
    else:
        now = time.monotonic()
        account.answered(revision, now - start, now - due)


async def _stopped(stop: asyncio.Event, seconds: float) -> bool:
    """Wait; True as soon as `stop` is set. Always yields, so that a late schedule does not starve its answers."""
    if seconds <= 0:
        await asyncio.sleep(0)
        return stop.is_set()
    try:
        async with asyncio.timeout(seconds):
            return await stop.wait()
    except TimeoutError:
        return False


def _client(plan: Plan) -> Client:
    payload = Payload.read(plan.payload)
    return HttpClient(plan, payload) if plan.protocol == "http" else GrpcClient(plan, payload)


async def _until_signal(plan: Plan) -> str:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return await run(plan, stop)


def main(words: Sequence[str]) -> None:
    """Run the plan of the command line and print the account."""
    plan, result = parse(words)
    line = asyncio.run(_until_signal(plan))
    if result:
        result.write_text(line)
    print(line, flush=True)


def _bounded(low: float, high: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        value = float(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text} is not within {low:g} and {high:g}")
        return value

    return parse


def parse(words: Sequence[str]) -> tuple[Plan, Path | None]:
    """The plan that the command line states, and the file that gets a copy of the closing line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--protocol", choices=("http", "grpc"), required=True)
    parser.add_argument("--address", required=True, help="host:port")
    parser.add_argument("--host", default="", help="Host header or authority")
    parser.add_argument("--model", required=True)
    parser.add_argument("--payload", type=Path, required=True)
    parser.add_argument("--rate", type=_bounded(0.1, 2000), default=20.0, help="requests a second")
    parser.add_argument("--seconds", type=_bounded(0.1, 3600), default=30.0)
    parser.add_argument("--timeout", type=_bounded(0.1, 120), default=10.0, help="seconds for one request")
    parser.add_argument("--in-flight", type=int, default=256, help="most requests that wait at a time")
    parser.add_argument("--result", type=Path, default=None, help="also write the closing line here")
    found = vars(parser.parse_args(words))
    result, plan = found.pop("result"), Plan(**found)
    if plan.rate * plan.seconds > MOST_REQUESTS:
        parser.error(f"rate times seconds is above {MOST_REQUESTS} requests")
    return plan, result


if __name__ == "__main__":
    main(sys.argv[1:])

"""The load generator against a server that fails as it is told: every request must be in the account."""

import asyncio
import importlib
import json
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import web
from tritonclient.grpc import service_pb2  # pyright: ignore[reportMissingTypeStubs]

from e2e.load import load
from e2e.load.load import REVISION_HEADER, Failed, Payload, Plan

_messages: Any = service_pb2
_grpc: Any = importlib.import_module("grpc")
_aio: Any = importlib.import_module("grpc.aio")
REQUEST = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1.0, 2.0]}]}
GOLDEN = {"request": REQUEST, "outputs": {"y": [3.0]}, "atol": 0.01}

Behaviour = Callable[[int], str]
"""From the number of a request to what happens to it: ok, error, wrong, empty, hang or drop."""


@dataclass
class Server:
    """Speaks both protocols; counts what it was asked."""

    behaviour: Behaviour
    asked: int = 0
    hosts: set[str] = field(default_factory=set[str])
    http: str = ""
    grpc: str = ""

    def next(self) -> tuple[str, str]:
        self.asked += 1
        return self.behaviour(self.asked - 1), f"r{1 if self.asked <= 10 else 2}"

    async def post(self, request: web.Request) -> web.StreamResponse:
        self.hosts.add(request.host)
        word, revision = self.next()
        if word == "hang":
            await asyncio.sleep(3600)
        if word == "drop":
            assert request.transport
            request.transport.abort()
        if word == "error":
            return web.Response(status=503)
        outputs = [] if word == "empty" else [{"name": "y", "data": [9.0 if word == "wrong" else 3.0]}]
        return web.json_response({"outputs": outputs}, headers={REVISION_HEADER: revision})

    async def infer(self, body: bytes, context: Any) -> bytes:
        asked = _messages.ModelInferRequest.FromString(body)
        assert list(asked.inputs[0].contents.fp32_contents) == [1.0, 2.0]
        word, revision = self.next()
        if word == "hang":
            await asyncio.sleep(3600)
        if word in {"error", "drop"}:
            await context.abort(_grpc.StatusCode.UNAVAILABLE, "unloading")
        await context.send_initial_metadata(((REVISION_HEADER, revision),))
        answer = _messages.ModelInferResponse(model_name=asked.model_name)
        if word != "empty":
            answer.outputs.add(name="y", datatype="FP32", shape=[1])
            answer.raw_output_contents.append(np.float32(9.0 if word == "wrong" else 3.0).tobytes())
        return answer.SerializeToString()


@asynccontextmanager
async def serving(behaviour: Behaviour) -> AsyncGenerator[Server]:
    server = Server(behaviour)
    application = web.Application()
    application.router.add_post("/v2/models/m/infer", server.post)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    handler = _grpc.method_handlers_generic_handler(
        "inference.GRPCInferenceService", {"ModelInfer": _grpc.unary_unary_rpc_method_handler(server.infer)}
    )
    triton: Any = _aio.server()
    triton.add_generic_rpc_handlers((handler,))
    server.grpc = f"127.0.0.1:{triton.add_insecure_port('127.0.0.1:0')}"
    await triton.start()
    server.http = f"127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await triton.stop(None)
        await runner.cleanup()


@pytest.fixture(params=["http", "grpc"])
def protocol(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def payload(tmp_path: Path) -> Path:
    file = tmp_path / "payload.json"
    file.write_text(json.dumps(GOLDEN))
    return file


@dataclass
class Silent:
    """A client that gets no answer before all requests are due."""

    answer: asyncio.Event = field(default_factory=asyncio.Event)
    due: int = 0

    async def ask(self) -> str:
        await self.answer.wait()
        return "r1"

    async def close(self) -> None:
        pass


async def sent(server: Server, protocol: str, payload: Path, **changes: Any) -> dict[str, Any]:
    plan = Plan(
        protocol, getattr(server, protocol), "m", payload, host="m.models.local", rate=200, seconds=0.1, timeout=5
    )
    return json.loads(await load.run(replace(plan, **changes), asyncio.Event()))


class TestAccount:
    async def test_all_is_well(self, protocol: str, payload: Path) -> None:
        async with serving(lambda _: "ok") as server:
            found = await sent(server, protocol, payload)
        assert (found["planned"], found["sent"], found["ok"], found["failed"]) == (20, 20, 20, {})
        assert server.asked == 20
        assert found["revisions"] == {"r1": 10, "r2": 10}
        assert 0 <= found["firstSeen"]["r1"] <= found["firstSeen"]["r2"]
        assert 0 < found["latencyMs"]["p50"] <= found["latencyMs"]["p99"] <= found["latencyMs"]["max"]

    async def test_every_failure_has_a_name_and_an_example(self, protocol: str, payload: Path) -> None:
        words = {3: "error", 5: "wrong", 8: "wrong", 11: "empty", 12: "drop"}
        async with serving(lambda number: words.get(number, "ok")) as server:
            found = await sent(server, protocol, payload)
        down = {"http": {"HTTP 503": 1, "ServerDisconnectedError": 1}, "grpc": {"UNAVAILABLE": 2}}[protocol]
        assert found["failed"] == {"WrongValues": 2, "EmptyAnswer": 1, **down}
        assert found["ok"] == 15
        assert found["planned"] == found["sent"] == found["ok"] + sum(found["failed"].values())
        assert set(found["examples"]) == set(found["failed"])

    async def test_what_is_never_answered_has_failed(self, protocol: str, payload: Path) -> None:
        async with serving(lambda number: "hang" if number < 2 else "ok") as server:
            found = await sent(server, protocol, payload, timeout=0.5)
        late = found["failed"][{"http": "Timeout", "grpc": "DEADLINE_EXCEEDED"}[protocol]]
        assert late >= 2  # a busy machine may be late with others
        assert found["ok"] == found["planned"] - late

    async def test_above_the_bound_requests_are_planned_but_not_sent(
        self, payload: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        client = Silent()

        async def no_wait(_: asyncio.Event, __: float) -> bool:
            await asyncio.sleep(0)
            client.due += 1
            if client.due == 20:
                client.answer.set()
            return False

        monkeypatch.setattr(load, "_stopped", no_wait)
        plan = Plan("http", "nowhere", "m", payload, rate=200, seconds=0.1, in_flight=4)
        found = json.loads(await load.run(plan, asyncio.Event(), client))
        assert (found["planned"], found["sent"], found["unsent"], found["ok"]) == (20, 4, 16, 4)

    async def test_nobody_listens(self, payload: Path) -> None:
        async with serving(lambda _: "ok") as server:
            pass
        found = await sent(server, "http", payload)
        assert found["ok"] == 0
        assert sum(found["failed"].values()) == found["planned"] == 20

    async def test_host_names_travel(self, payload: Path) -> None:
        async with serving(lambda _: "ok") as server:
            await sent(server, "http", payload)
        assert server.hosts == {"m.models.local"}

    async def test_a_stop_ends_the_schedule_and_waits_for_answers(self, protocol: str, payload: Path) -> None:
        stop = asyncio.Event()

        def behaviour(number: int) -> str:
            if number == 7:
                stop.set()
            return "ok"

        async with serving(behaviour) as server:
            plan = Plan(protocol, getattr(server, protocol), "m", payload, rate=100, seconds=60)
            found = json.loads(await load.run(plan, stop))
        assert 8 <= found["planned"] < 6000
        assert found["ok"] == found["planned"] == server.asked


class TestPayload:
    def test_a_bare_request_only_forbids_empty_answers(self, tmp_path: Path) -> None:
        file = tmp_path / "payload.json"
        file.write_text(json.dumps(REQUEST))
        Payload.read(file).check({"y": [1.0]})
        with pytest.raises(Failed, match="EmptyAnswer"):
            Payload.read(file).check({"y": []})

    @pytest.mark.parametrize(("values", "error"), [([3.0, 3.0], "WrongShape"), ([float("nan")], "WrongValues")])
    def test_a_golden_pair_is_compared(self, payload: Path, values: list[float], error: str) -> None:
        with pytest.raises(Failed, match=error):
            Payload.read(payload).check({"y": values})

    def test_text_and_whole_numbers_become_grpc(self) -> None:
        inputs = [
            {"name": "ids", "shape": [2, 1], "datatype": "INT64", "data": [[1], [2**40]]},
            {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["naïve"]},
        ]
        made = _messages.ModelInferRequest.FromString(load.grpc_request("m", {"inputs": inputs}))
        assert list(made.inputs[0].contents.int64_contents) == [1, 2**40]
        assert made.inputs[1].contents.bytes_contents[0].decode() == "naïve"


class TestCommandLine:
    WORDS = ("--protocol=http", "--address=127.0.0.1:9", "--model=m")

    def test_rate_and_time_are_bounded(self, payload: Path, capsys: pytest.CaptureFixture[str]) -> None:
        for words in (["--rate=100000"], ["--seconds=1e9"], ["--rate=0"], ["--rate=2000", "--seconds=3600"]):
            with pytest.raises(SystemExit):
                load.parse([*self.WORDS, f"--payload={payload}", *words])
        assert "above 500000 requests" in capsys.readouterr().err

    def test_a_signal_ends_it_with_the_closing_line(self, payload: Path, tmp_path: Path) -> None:
        result = tmp_path / "result"
        with socket.create_server(("127.0.0.1", 0)) as server:
            words = [f"--address=127.0.0.1:{server.getsockname()[1]}", "--protocol=http", "--model=m"]
            words += [f"--payload={payload}", "--seconds=60", "--timeout=1", f"--result={result}"]
            process = subprocess.Popen([sys.executable, load.__file__, *words], stdout=subprocess.PIPE, text=True)
            server.accept()[0].close()  # it sends by now
            process.send_signal(signal.SIGTERM)
            output, _ = process.communicate(timeout=50)
        found = json.loads(output)
        assert process.returncode == 0
        assert output.strip() == result.read_text()
        assert 0 < found["planned"] == found["sent"] == sum(found["failed"].values())

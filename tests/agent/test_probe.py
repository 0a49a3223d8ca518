"""The probe: what it accepts, and that it says what differs. Triton itself is asked in tests/images."""

import json
import struct
import subprocess
import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from modelwright.agent import probe

if TYPE_CHECKING:
    from tests.agent.conftest import Web

PROBE = Path(probe.__file__)
GOLDEN: dict[str, Any] = {
    "model": "ranker",
    "request": {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1.0, 2.0]}]},
    "outputs": {"score": [0.5, 0.25], "label": ["a"]},
    "atol": 0.001,
    "rtol": 0.001,
}
SCORE = struct.pack("<2f", 0.5, 0.25)
LABEL = struct.pack("<I", 1) + b"a"


def tensor(name: str, datatype: str, shape: list[int], data: bytes) -> tuple[dict[str, Any], bytes]:
    described = {"name": name, "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": len(data)}}
    return described, data


GOOD = (tensor("score", "FP32", [1, 2], SCORE), tensor("label", "BYTES", [1], LABEL))


@pytest.fixture
def ask(web: "Web", tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> "Ask":
    monkeypatch.setattr(probe, "TERMINATION_LOG", tmp_path / "termination-log")
    (tmp_path / "termination-log").touch()

    def run(golden: dict[str, Any], *outputs: tuple[dict[str, Any], bytes], json_only: bool = False) -> tuple[int, str]:
        def infer(handler: BaseHTTPRequestHandler) -> None:
            web.bodies.append(handler.rfile.read(int(handler.headers["Content-Length"])))
            head = json.dumps({"outputs": [described for described, _ in outputs]}).encode()
            handler.send_response(200)
            if not json_only:
                handler.send_header(probe.HEADER_LENGTH, str(len(head)))
            body = head + b"".join(data for _, data in outputs)
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body)

        web.routes["/v2/models/ranker/infer"] = infer
        (tmp_path / "golden.json").write_text(json.dumps(golden))
        code = probe.main(["startup"], tmp_path, int(web.netloc.rpartition(":")[2]))
        return code, capsys.readouterr().out.strip()

    return run


Ask = Callable[..., tuple[int, str]]


def test_the_values_that_were_measured_pass(ask: Ask, web: "Web", tmp_path: Path) -> None:
    assert ask(GOLDEN, *GOOD) == (0, "")
    assert json.loads(web.bodies[0])["inputs"] == GOLDEN["request"]["inputs"]
    assert (tmp_path / "termination-log").read_text() == ""


def test_plain_json_is_understood_too(ask: Ask) -> None:
    outputs = (
        ({"name": "score", "datatype": "FP32", "shape": [1, 2], "data": [0.5, 0.2501]}, b""),
        ({"name": "label", "datatype": "BYTES", "shape": [1], "data": ["a"]}, b""),
    )
    assert ask(GOLDEN, *outputs, json_only=True) == (0, "")


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        ((GOOD[0],), "output 'label' is missing; there are ['score']"),
        ((tensor("score", "FP32", [1, 2], b""), GOOD[1]), "has the shape [1, 2] but 0 values"),
        ((tensor("score", "FP32", [0, 2], b""), GOOD[1]), "has 0 values instead of 2"),
        ((tensor("score", "FP32", [1, 1], SCORE[:4]), GOOD[1]), "has 1 values instead of 2"),
        (
            (tensor("score", "FP32", [1, 2], struct.pack("<2f", 0.5, 0.26)), GOOD[1]),
            "output 'score'[1] is 0.2599",
        ),
        ((tensor("score", "FP32", [1, 2], struct.pack("<2f", 0.5, float("nan"))), GOOD[1]), "is nan, expected 0.25"),
        ((GOOD[0], tensor("label", "BYTES", [1], struct.pack("<I", 1) + b"b")), "is 'b', expected 'a'"),
    ],
)
def test_what_differs_is_said_and_left_for_the_operator(
    ask: Ask, tmp_path: Path, outputs: tuple[Any, ...], said: str
) -> None:
    code, text = ask(GOLDEN, *outputs)
    assert code == 1
    assert text.startswith("GoldenMismatch: ")
    assert said in text
    assert (tmp_path / "termination-log").read_text() == text


def test_a_later_success_takes_the_mismatch_back(ask: Ask, tmp_path: Path) -> None:
    ask(GOLDEN, GOOD[0])
    assert ask(GOLDEN, *GOOD)[0] == 0
    assert (tmp_path / "termination-log").read_text() == ""


@pytest.mark.parametrize(
    ("datatype", "data", "values"),
    [
        ("FP16", struct.pack("<2e", 0.5, -2.0), [0.5, -2.0]),
        ("BF16", b"\x00\x3f\x00\xc0", [0.5, -2.0]),
        ("FP64", struct.pack("<2d", 0.5, 1e300), [0.5, 1e300]),
        ("INT64", struct.pack("<2q", -1, 2**62), [-1, 2**62]),
        ("UINT8", b"\x00\xff", [0, 255]),
        ("BOOL", b"\x00\x01", [False, True]),
    ],
)
def test_every_type_is_compared(ask: Ask, datatype: str, data: bytes, values: list[Any]) -> None:
    golden = {**GOLDEN, "outputs": {"y": values}}
    assert ask(golden, tensor("y", datatype, [2], data)) == (0, "")
    assert ask({**golden, "outputs": {"y": [values[0], values[0]]}}, tensor("y", datatype, [2], data))[0] == 1


def test_each_output_has_its_own_tolerance_and_0_asks_for_the_very_value(ask: Ask) -> None:
    golden = {**GOLDEN, "outputs": {"score": [1000.0], "id": [1000]}, "rtol": 0.02}
    score = tensor("score", "FP32", [1], struct.pack("<f", 1030.0))
    right, near = (tensor("id", "INT64", [1], struct.pack("<q", value)) for value in (1000, 1001))
    tolerances = {"score": 20.0, "id": 0.0}
    assert ask(golden, score, right)[0] == 1
    assert ask({**golden, "tolerances": tolerances}, score, right) == (0, "")
    assert ask({**golden, "tolerances": tolerances}, score, near)[0] == 1


def test_half_precision_inputs_are_sent_in_binary(ask: Ask, web: "Web") -> None:
    inputs = [
        {"name": "h", "datatype": "FP16", "shape": [1, 2], "data": [[0.5, -2.0]]},
        {"name": "b", "datatype": "BF16", "shape": [1], "data": [0.5]},
        {"name": "s", "datatype": "BYTES", "shape": [1], "data": ["a"]},
    ]
    assert ask({**GOLDEN, "request": {"inputs": inputs}}, *GOOD)[0] == 0
    tail = struct.pack("<2e", 0.5, -2.0) + b"\x00\x3f"
    assert web.bodies[0].endswith(tail)
    sent = json.loads(web.bodies[0].removesuffix(tail))["inputs"]
    assert [item.get("data") for item in sent] == [None, None, ["a"]]
    assert [item.get("parameters") for item in sent] == [{"binary_data_size": 4}, {"binary_data_size": 2}, None]


def test_a_refused_request_is_no_mismatch(
    ask: Ask, web: "Web", tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ask(GOLDEN, *GOOD)
    web.routes.clear()
    assert probe.main(["startup"], tmp_path, int(web.netloc.rpartition(":")[2])) == 1
    assert "Triton answered 404" in capsys.readouterr().out
    assert (tmp_path / "termination-log").read_text() == ""


def test_ready_asks_for_the_model(ask: Ask, web: "Web", tmp_path: Path) -> None:
    ask(GOLDEN, *GOOD)
    port = int(web.netloc.rpartition(":")[2])
    assert probe.main(["ready"], tmp_path, port) == 1
    web.says("/v2/models/other/ready", 200)
    assert probe.main(["ready", "other"], tmp_path, port) == 0


def test_it_runs_alone_and_without_a_termination_log(tmp_path: Path) -> None:
    (tmp_path / "probe.py").write_text(PROBE.read_text())
    (tmp_path / "golden.json").write_text(json.dumps(GOLDEN))
    command = [sys.executable, "-I", "-S", tmp_path / "probe.py"]
    done = subprocess.run([*command, "startup"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("no answer from Triton")
    assert subprocess.run(command, capture_output=True, check=False).returncode == 1


def test_it_uses_nothing_newer_than_python_3_10() -> None:
    import ast  # noqa: PLC0415

    ast.parse(PROBE.read_text(), feature_version=(3, 10))

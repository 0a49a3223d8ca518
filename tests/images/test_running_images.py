"""The built images at work: a real Triton answers values, and the probe sees when they are wrong.

Needs buildah, the right to run it, and the images: out of $REGISTRY, or without it as `images/build.py` left them.
"""

import json
import os
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from modelwright.agent import probe

pytestmark = pytest.mark.cluster

OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
WEIGHTS = np.arange(12, dtype=np.float32).reshape(4, 3) / 10
CONFIG = """\
name: "{name}"
backend: "{backend}"
default_model_filename: "model.onnx"
max_batch_size: 8
input [ {{ name: "x" data_type: TYPE_{kind} dims: [ 4 ] }} ]
output [ {{ name: "y" data_type: TYPE_{kind} dims: [ 3 ] }} ]
dynamic_batching {{ max_queue_delay_microseconds: 200000 }}
instance_group [ {{ count: 1 kind: KIND_CPU }} ]
parameters {{ key: "intra_op_thread_count" value {{ string_value: "1" }} }}
optimization {{ graph {{ level: 1 }} }}
"""


@dataclass(frozen=True)
class Triton:
    """A running server: its HTTP and metrics ports."""

    http: int
    metrics: int

    def infer(self, model: str, data: list[list[float]], **extra: Any) -> tuple[int, dict[str, Any]]:
        flat = [value for row in data for value in row]
        tensor = {"name": "x", "datatype": "FP32", "shape": [len(data), len(data[0])], "data": flat}
        return self.ask(f"/v2/models/{model}/infer", {"inputs": [tensor], **extra})

    def ask(self, path: str, body: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        data = None if body is None else json.dumps(body).encode()
        try:
            with OPENER.open(f"http://127.0.0.1:{self.http}{path}", data, 30) as answer:
                return answer.status, json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"{}")

    def count(self, metric: str, model: str) -> float:
        with OPENER.open(f"http://127.0.0.1:{self.metrics}/metrics", None, 30) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(metric) and f'model="{model}"' in line)


def image(name: str) -> str:
    return f"{os.environ.get('REGISTRY') or 'localhost'}/modelwright/{name}:{os.environ.get('TAG') or 'dev'}"


@contextmanager
def container(name: str) -> Generator[list[str]]:
    """The beginning of a command line that runs something in a container of an image, as its own user."""
    if shutil.which("buildah") is None:
        pytest.fail("these tests need buildah: apt-get install --no-install-recommends buildah")
    plain = ["--tls-verify=false"] if os.environ.get("REGISTRY") else []
    made = subprocess.run(["buildah", "from", *plain, image(name)], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.fail(f"there is no image {image(name)}; build it with `make images`: {made.stderr}")
    identity = made.stdout.strip()
    try:
        yield ["buildah", "run", "--isolation", "chroot", identity]
    finally:
        subprocess.run(["buildah", "rm", identity], capture_output=True, check=True)


def in_container(command: list[str], *words: str, mounts: dict[Path, str] | None = None) -> list[str]:
    volumes = [f"--volume={source}:{target}:ro" for source, target in (mounts or {}).items()]
    return [*command[:-1], *volumes, command[-1], "--", *words]


def affine(kind: int) -> Any:
    nodes = [helper.make_node("MatMul", ["x", "W"], ["m"]), helper.make_node("Relu", ["m"], ["y"])]
    x, y = (helper.make_tensor_value_info(name, kind, ["N", size]) for name, size in (("x", 4), ("y", 3)))
    weights = onnx.numpy_helper.from_array(WEIGHTS.astype(helper.tensor_dtype_to_np_dtype(kind)), "W")
    graph = helper.make_graph(nodes, "affine", [x], [y], [weights])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    for name, backend, kind in (
        ("plain", "onnxruntime", TensorProto.FLOAT),
        ("half", "onnxruntime", TensorProto.FLOAT16),
        ("intel", "openvino", TensorProto.FLOAT),
    ):
        (root / name / "1").mkdir(parents=True)
        onnx.save(affine(kind), root / name / "1" / "model.onnx")  # pyright: ignore[reportUnknownMemberType]
        word = "FP16" if kind == TensorProto.FLOAT16 else "FP32"
        (root / name / "config.pbtxt").write_text(CONFIG.format(name=name, backend=backend, kind=word))
    for path in (root, *root.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    for parent in list(root.parents)[:3]:
        parent.chmod(parent.stat().st_mode | 0o055)
    return root


@pytest.fixture(scope="module")
def triton(repository: Path) -> Iterator[Triton]:
    with ExitStack() as stack:
        server = Triton(*_free_ports(stack, 2))
        stack.close()
        command = stack.enter_context(container("triton-cpu"))
        flags = ["--exit-on-error=true", "--strict-readiness=true", "--disable-auto-complete-config"]
        ports = [f"--http-port={server.http}", f"--metrics-port={server.metrics}", "--allow-grpc=false"]
        words = in_container(
            command,
            "tritonserver",
            "--model-repository=/models",
            *flags,
            *ports,
            "--exit-timeout-secs=5",
            mounts={repository: "/models"},
        )
        log = stack.enter_context((repository.parent / "triton.log").open("w+"))
        process = subprocess.Popen(words, stdout=log, stderr=log)
        stack.callback(_stop, process, server.http)
        _wait_until_ready(server, process, Path(log.name))
        yield server


def _free_ports(stack: ExitStack, count: int) -> list[int]:
    probes = [stack.enter_context(socket.socket()) for _ in range(count)]
    for one in probes:
        one.bind(("127.0.0.1", 0))
    return [one.getsockname()[1] for one in probes]


def _wait_until_ready(server: Triton, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        try:
            if server.ask("/v2/health/ready")[0] == 200:
                return
        except OSError:
            pass
        if process.poll() is not None:
            break
        time.sleep(0.1)
    pytest.fail(f"Triton did not get ready:\n{log.read_text()}")


def _stop(process: subprocess.Popen[bytes], port: int) -> None:
    """End the server itself: buildah does not pass signals on."""
    mark = f"--http-port={port}".encode()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0].endswith(b"tritonserver") and mark in words:
            os.kill(int(entry.name), 15)
    process.wait(30)


def expected(rows: list[list[float]]) -> list[float]:
    return [float(value) for value in (np.array(rows, np.float32) @ WEIGHTS).clip(0).ravel()]


@pytest.mark.parametrize("model", ["plain", "intel"])
def test_both_backends_answer_the_right_values(triton: Triton, model: str) -> None:
    rows = [[1.0, 2.0, 3.0, 4.0], [-1.0, 0.5, 0.0, 2.0]]
    status, answer = triton.infer(model, rows)
    assert status == 200
    assert answer["outputs"][0]["shape"] == [2, 3]
    assert answer["outputs"][0]["data"] == pytest.approx(expected(rows), rel=1e-5)


def test_requests_at_the_same_time_are_one_inference_with_each_its_own_answer(triton: Triton) -> None:
    before = triton.count("nv_inference_exec_count", "plain"), triton.count("nv_inference_count", "plain")
    answers: dict[int, list[float]] = {}

    def ask(number: int) -> None:
        answers[number] = triton.infer("plain", [[float(number), 1.0, 1.0, 1.0]])[1]["outputs"][0]["data"]

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, got in answers.items():
        assert got == pytest.approx(expected([[float(number), 1.0, 1.0, 1.0]]), rel=1e-5)
    after = triton.count("nv_inference_exec_count", "plain"), triton.count("nv_inference_count", "plain")
    assert after[1] - before[1] == 8
    assert after[0] - before[0] < 8


def test_a_wrong_request_is_refused_and_the_server_lives_on(triton: Triton) -> None:
    status, answer = triton.infer("plain", [[1.0, 2.0]])
    assert status == 400
    assert "unexpected shape" in answer["error"]
    assert triton.infer("plain", [[1.0, 2.0, 3.0, 4.0]])[0] == 200


def golden(model: str, datatype: str, **changes: Any) -> dict[str, Any]:
    rows = [[1.0, 2.0, 3.0, 4.0]]
    tensor = {"name": "x", "datatype": datatype, "shape": [1, 4], "data": rows[0]}
    made = {"model": model, "request": {"inputs": [tensor]}, "outputs": {"y": expected(rows)}, "atol": 1e-3}
    return {**made, "rtol": 1e-3, **changes}


@pytest.mark.parametrize(("model", "datatype"), [("plain", "FP32"), ("intel", "FP32"), ("half", "FP16")])
def test_the_probe_accepts_what_was_measured(triton: Triton, tmp_path: Path, model: str, datatype: str) -> None:
    (tmp_path / "golden.json").write_text(json.dumps(golden(model, datatype)))
    assert probe.main(["ready"], tmp_path, triton.http) == 0
    assert probe.main(["startup"], tmp_path, triton.http) == 0


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        ({"y": [6.0, 7.0, 8.1]}, "output 'y'[2] is 8.0"),
        ({"y": []}, "has 3 values instead of 0"),
        ({"z": [6.0, 7.0, 8.0]}, "output 'z' is missing"),
    ],
)
def test_the_probe_refuses_other_values(
    triton: Triton, tmp_path: Path, capsys: pytest.CaptureFixture[str], outputs: dict[str, Any], said: str
) -> None:
    (tmp_path / "golden.json").write_text(json.dumps(golden("plain", "FP32", outputs=outputs)))
    assert probe.main(["startup"], tmp_path, triton.http) == 1
    assert said in capsys.readouterr().out


def test_the_probe_runs_on_the_python_in_tritons_image(triton: Triton, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    shutil.copyfile(probe.__file__, tmp_path / "probe.py")
    (tmp_path / "golden.json").write_text(json.dumps(golden("plain", "FP32")))
    code = f"import probe; raise SystemExit(probe.main(['startup'], port={triton.http}))"
    with container("triton-cpu") as command:
        words = in_container(command, "sh", "-c", f'cd /probe && exec python3 -c "{code}"', mounts={tmp_path: "/probe"})
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "present", "absent"),
    [
        ("operator", ["kopf", "aiohttp", "modelwright.agent.fetch", "modelwright.agent.resolve"], ["onnx", "pip"]),
        ("optimizer", ["onnx", "onnxruntime", "pyarrow.parquet", "modelwright.agent.store"], ["kopf", "pip"]),
    ],
)
def test_an_image_has_what_it_needs_and_no_more(name: str, present: list[str], absent: list[str]) -> None:
    code = (
        f"import importlib, os; [importlib.import_module(m) for m in {present}]; "
        f"print(os.getuid(), [m for m in {absent} if importlib.util.find_spec(m)], os.access('/', os.W_OK))"
    )
    with container(name) as command:
        done = subprocess.run(in_container(command, "python3", "-c", code), capture_output=True, text=True, check=False)
        assert done.stdout.strip() == "65532 [] False", done.stderr


def test_the_operators_image_resolves(tmp_path: Path) -> None:
    request = {"source": {"uri": "file:///request/model.onnx"}, "fetching": {"schemes": ["file"]}}
    (tmp_path / "request.json").write_text(json.dumps(request))
    (tmp_path / "model.onnx").write_bytes(b"weights")
    tmp_path.chmod(0o755)
    code = (
        "from modelwright.contract import paths; paths.REQUEST_FILE = '/request/request.json'; "
        "paths.TERMINATION_LOG = '/tmp/log'; from modelwright.agent import resolve; raise SystemExit(resolve.main())"
    )
    with container("operator") as command:
        words = in_container(command, "python3", "-c", code, mounts={tmp_path: "/request"})
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["sizeBytes"] == 7

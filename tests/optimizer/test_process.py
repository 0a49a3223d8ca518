"""The Job's process as the kubelet sees it: a request file in, a termination message and an exit code out."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelwright.contract.request import Data, Location, OptimizeRequest, Store
from modelwright.contract.result import OptimizeResult
from tests.optimizer import samples
from tests.optimizer.fakes import request_for

RUN = """
import sys
from pathlib import Path
from modelwright.contract import paths
paths.WORK_DIR = sys.argv[3]
from modelwright.optimizer.__main__ import main
code = main([sys.argv[1], "--termination-log", sys.argv[2]])
heavy = {"onnx", "onnxruntime", "numpy", "pyarrow", "sklearn"} & set(sys.modules)
print("heavy:", sorted(heavy))
sys.exit(code)
"""


class Job:
    """A request on disk and the folder it runs in."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        self.folder = folder
        self.log = folder / "termination-log"
        source = folder / "model.onnx"
        if not source.exists():
            samples.write(samples.recommender(tables=4, rows=40), source)
        store = Store(uri=f"file://{folder}/store", namespace="tests")
        schemes = {"fetching": {"schemes": ("file",)}}
        asked = request_for(source, store=store, **{**schemes, **changes})
        self.request = folder / "request.json"
        self.request.write_text(asked.to_json())

    def command(self) -> list[str]:
        return [sys.executable, "-c", RUN, str(self.request), str(self.log), str(self.folder / "work")]

    def run(self) -> tuple[int, OptimizeResult, str]:
        done = subprocess.run(self.command(), capture_output=True, text=True, timeout=120, check=False)
        return done.returncode, self.result(), done.stdout + done.stderr

    def result(self) -> OptimizeResult:
        data = self.log.read_bytes()
        assert len(data) <= 4096
        return OptimizeResult.model_validate_json(data)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Job, int, OptimizeResult, str]:
    job = Job(tmp_path_factory.mktemp("job"))
    return (job, *job.run())


def test_a_run_ends_with_an_artifact_in_the_store(finished: tuple[Job, int, OptimizeResult, str]) -> None:
    job, code, result, output = finished
    assert (code, result.failure) == (0, None), output
    assert result.digest
    manifest = job.folder / "store" / "tests" / "blobs" / "sha256" / result.digest.removeprefix("sha256:")
    titles = [
        layer["annotations"]["org.opencontainers.image.title"] for layer in json.loads(manifest.read_text())["layers"]
    ]
    assert sorted(titles) == ["golden.json", "model/model.onnx", "report.json"]


def test_progress_is_one_line_a_stage_with_numbers(finished: tuple[Job, int, OptimizeResult, str]) -> None:
    output = finished[3]
    for stage in ("intake", "data", "search", "gate", "serving", "package"):
        assert any(line.startswith(stage) for line in output.splitlines()), output


def test_the_same_key_is_answered_without_anything_that_reads_models(
    finished: tuple[Job, int, OptimizeResult, str],
) -> None:
    job, _, first, _ = finished
    code, result, output = job.run()
    assert (code, result.reused, result.digest) == (0, True, first.digest)
    assert "heavy: []" in output


def test_an_unusable_source_ends_with_the_terminal_code(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"\x80\x04pickle")
    code, result, _ = Job(tmp_path).run()
    assert code == 10
    assert result.failure
    assert result.failure.reason == "UnsupportedModel"


def test_an_unreadable_request_is_an_answer_too(tmp_path: Path) -> None:
    job = Job(tmp_path)
    job.request.write_text('{"model": 1}')
    code, result, _ = job.run()
    assert code == 10
    assert result.failure


def test_sigterm_ends_with_the_journal_saved_and_the_next_run_goes_on(tmp_path: Path) -> None:
    model = samples.cnn(8, 2)
    samples.write(model, tmp_path / "model.onnx")
    np.savez(tmp_path / "e.npz", allow_pickle=False, **samples.labelled(model, 1500))
    evaluation = Data(location=Location(uri=f"file://{tmp_path}/e.npz"), max_samples=10_000)
    job = Job(tmp_path, evaluation=evaluation, max_trials=4, batch_sizes=(1,))
    output = tmp_path / "output"
    with output.open("w") as log:
        child = subprocess.Popen(job.command(), stdout=log, stderr=log)
        # Not a wait for a duration: the signal is sent once a candidate is in the journal.
        while "source@basic" not in output.read_text():
            assert child.poll() is None, output.read_text()
            time.sleep(0.02)
        child.send_signal(signal.SIGTERM)
        assert child.wait(timeout=30) == 11
    stopped = job.result()
    assert stopped.failure
    assert stopped.failure.retriable
    assert not _children_of(child.pid)
    code, result, text = job.run()
    assert (code, result.failure) == (0, None), text
    report = json.loads(_report(tmp_path, result))
    assert report["journal"]["reused"] >= 1


def test_the_request_is_read_from_where_the_pod_mounts_it() -> None:
    from modelwright.optimizer.__main__ import parse_arguments  # noqa: PLC0415

    options = parse_arguments([])
    assert str(options.request) == "/etc/modelwright/request.json"
    assert str(options.termination_log) == "/dev/termination-log"
    assert OptimizeRequest.model_fields


def _children_of(pid: int) -> list[str]:
    """Processes of the dead Job's sandbox that are still there."""
    found: list[str] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and os.access(entry / "stat", os.R_OK):
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if fields[1] == str(pid):
                found.append(entry.name)
    return found


def _report(folder: Path, result: OptimizeResult) -> bytes:
    from modelwright.agent.store import open_store  # noqa: PLC0415

    assert result.digest
    store = open_store(Store(uri=f"file://{folder}/store", namespace="tests"))
    return store.read_file(result.digest, "report.json")

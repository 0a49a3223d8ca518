"""The init container: an artifact becomes a model repository, or nothing does."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from modelwright.agent import fetch
from modelwright.agent.store import open_store
from modelwright.contract import paths
from modelwright.contract.artifact import Golden, Recommendation, Signature
from modelwright.contract.request import FetchRequest, Store
from modelwright.contract.result import EXIT_DONE, EXIT_RETRIABLE, EXIT_TERMINAL, Failure
from modelwright.errors import InputError

CPU = "processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: fpu avx2 avx512_vnni sse4_1\n"


class Pod:
    """The mounts of a serving pod below a folder."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.models, self.probe, self.log = root / "models", root / "probe", root / "log"
        self.request = root / "request.json"
        config = root / "config"
        for folder in (self.models, self.probe, config):
            folder.mkdir()
        (config / "config.pbtxt").write_text('name: "ranker"\n')
        mounts = {
            "REPOSITORY_DIR": self.models,
            "PROBE_DIR": self.probe,
            "TERMINATION_LOG": self.log,
            "REQUEST_FILE": self.request,
            "CONFIG_DIR": config,
            "STORE_SECRET_DIR": root / "none",
        }
        for name, path in mounts.items():
            monkeypatch.setattr(paths, name, str(path))
        (root / "cpuinfo").write_text(CPU)
        monkeypatch.setattr(fetch, "CPU_INFO", root / "cpuinfo")
        self.store = Store(uri=f"file://{root}/store", namespace="team-a")

    def push(self, recommendation: Recommendation, files: dict[str, bytes], root: Path) -> str:
        made: dict[str, Path] = {}
        for title, data in files.items():
            made[title] = root / "out" / title
            made[title].parent.mkdir(parents=True, exist_ok=True)
            made[title].write_bytes(data)
        return open_store(self.store).push("k", recommendation.to_json().encode(), made)

    def asks(self, digest: str, model: str = "ranker") -> None:
        self.request.write_text(FetchRequest(model=model, digest=digest, store=self.store).to_json())

    @property
    def failure(self) -> Failure:
        return Failure.model_validate_json(self.log.read_text())


GOLDEN = Golden(request={"inputs": []}, outputs={"y": [1.0]})
FILES = {
    "model/model.onnx": b"graph",
    "model/deep/model.data": b"weights",
    "golden.json": GOLDEN.to_json().encode(),
    "report.json": b"{}",
}


def recommendation(**changes: object) -> Recommendation:
    base = Recommendation(
        backend="onnxruntime",
        files=("model.onnx", "deep/model.data"),
        signature=Signature(inputs=(), outputs=()),
        batching=True,
        max_batch_size=8,
    )
    return base.model_copy(update=changes)


@pytest.fixture
def pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pod:
    return Pod(tmp_path, monkeypatch)


def test_an_artifact_becomes_a_repository(pod: Pod, tmp_path: Path) -> None:
    pod.asks(pod.push(recommendation(), FILES, tmp_path))
    assert fetch.main() == EXIT_DONE
    laid = sorted(str(path.relative_to(pod.models)) for path in pod.models.rglob("*") if path.is_file())
    assert laid == ["ranker/1/deep/model.data", "ranker/1/model.onnx", "ranker/config.pbtxt"]
    assert (pod.models / "ranker/1/deep/model.data").read_bytes() == b"weights"
    golden = json.loads((pod.probe / "golden.json").read_text())
    assert (golden["model"], golden["outputs"]) == ("ranker", {"y": [1.0]})
    assert (pod.probe / "probe.py").is_file()
    assert not pod.log.exists()


def test_everything_is_readable_by_any_user(pod: Pod, tmp_path: Path) -> None:
    pod.asks(pod.push(recommendation(), FILES, tmp_path))
    fetch.main()
    for path in [*pod.models.rglob("*"), *pod.probe.rglob("*")]:
        wanted = 0o755 if path.is_dir() else 0o644
        assert path.stat().st_mode & 0o777 == wanted, path


def test_a_second_run_lays_the_same_down_again(pod: Pod, tmp_path: Path) -> None:
    pod.asks(pod.push(recommendation(), FILES, tmp_path))
    fetch.main()
    (pod.models / "ranker/1/model.onnx").write_bytes(b"changed")
    assert fetch.main() == EXIT_DONE
    assert (pod.models / "ranker/1/model.onnx").read_bytes() == b"graph"


def test_a_node_without_a_feature_is_refused_before_anything_is_pulled(pod: Pod, tmp_path: Path) -> None:
    pod.asks(pod.push(recommendation(isa=("avx2", "amx_int8")), FILES, tmp_path))
    assert fetch.main() == EXIT_TERMINAL
    assert pod.failure.reason == "HardwareMismatch"
    assert "lacks amx_int8" in pod.failure.message
    assert "Some CPU" in pod.failure.message
    assert list(pod.models.iterdir()) == []


def test_features_are_found_however_they_are_written() -> None:
    fetch.check_cpu(("AVX512_VNNI", "sse4.1"), CPU)
    fetch.check_cpu(("asimd",), "Features\t: fp asimd\n")
    with pytest.raises(InputError, match="lacks sve"):
        fetch.check_cpu(("sve",), "Features\t: fp asimd\n")


def test_an_artifact_that_is_gone_is_said_to_be(pod: Pod) -> None:
    pod.asks("sha256:" + "0" * 64)
    assert fetch.main() == EXIT_TERMINAL
    assert pod.failure.reason == "ArtifactFetchFailed"


def test_a_store_that_is_down_may_come_back(pod: Pod) -> None:
    pod.store = Store(uri="oci://127.0.0.1:1/x", namespace="n", insecure=True)
    pod.asks("sha256:" + "0" * 64)
    assert fetch.main() == EXIT_RETRIABLE
    assert (pod.failure.reason, pod.failure.retriable) == ("StoreUnavailable", True)


@pytest.mark.parametrize("model", ["../other", "a/b", "", ".."])
def test_a_model_cannot_name_another_folder(pod: Pod, tmp_path: Path, model: str) -> None:
    pod.asks(pod.push(recommendation(), FILES, tmp_path), model)
    assert fetch.main() == EXIT_TERMINAL


def test_an_artifact_without_its_weights_is_refused(pod: Pod, tmp_path: Path) -> None:
    pod.asks(pod.push(recommendation(files=("other.onnx",)), FILES, tmp_path))
    assert fetch.main() == EXIT_TERMINAL
    assert "other.onnx" in pod.failure.message
    assert list(pod.models.iterdir()) == []


def test_an_unforeseen_failure_is_told_too(pod: Pod) -> None:
    pod.request.write_text("no json")
    assert fetch.main() == EXIT_RETRIABLE
    assert pod.failure.reason == "ArtifactFetchFailed"


def test_it_starts_without_heavy_imports() -> None:
    code = (
        "import sys, modelwright.agent.fetch; print([m for m in sys.modules if m in ('oras', 'requests', 'obstore')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

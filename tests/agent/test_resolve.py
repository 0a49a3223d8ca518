"""The resolve Job: URIs in, digests or one failure out."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from modelwright.agent import resolve
from modelwright.contract import paths
from modelwright.contract.request import Fetching, Location, ResolveRequest
from modelwright.contract.result import EXIT_DONE, EXIT_RETRIABLE, EXIT_TERMINAL, ResolveResult

if TYPE_CHECKING:
    from tests.agent.conftest import Web

RULES = Fetching(schemes=("http", "s3"), timeout_seconds=0.5)
GIVEN = "sha256:" + "1" * 64


def sha(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Job:
    """Runs the program over mounts below a folder."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.log, self.request, self.secret = root / "log", root / "request.json", root / "secret"
        monkeypatch.setattr(paths, "TERMINATION_LOG", str(self.log))
        monkeypatch.setattr(paths, "REQUEST_FILE", str(self.request))
        monkeypatch.setattr(paths, "SECRET_DIR", str(self.secret))

    def run(self, request: ResolveRequest) -> tuple[int, ResolveResult]:
        self.request.write_text(request.to_json())
        code = resolve.main()
        text = self.log.read_text()
        assert len(text.encode()) <= paths.TERMINATION_LIMIT
        return code, ResolveResult.model_validate_json(text)


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    return Job(tmp_path, monkeypatch)


def test_uris_become_digests_and_given_digests_stand(job: Job, web: "Web") -> None:
    web.gives("/model.onnx", b"weights")
    web.gives("/rows.npz", b"rows")
    request = ResolveRequest(
        source=Location(uri=f"{web.url}/model.onnx"),
        calibration=Location(uri=f"{web.url}/rows.npz"),
        evaluation=Location(uri=f"{web.url}/never-asked.npz", digest=GIVEN),
        fetching=RULES,
    )
    code, answer = job.run(request)
    assert code == EXIT_DONE
    assert (answer.source, answer.calibration, answer.evaluation) == (sha(b"weights"), sha(b"rows"), GIVEN)
    assert answer.size_bytes == len(b"weights")


def test_a_failure_is_an_answer(job: Job, web: "Web") -> None:
    code, answer = job.run(ResolveRequest(source=Location(uri=f"{web.url}/absent"), fetching=RULES))
    assert code == EXIT_RETRIABLE
    assert answer.failure is not None
    assert (answer.failure.reason, answer.failure.retriable) == ("SourceNotFound", True)
    code, answer = job.run(ResolveRequest(source=Location(uri="ftp://host/x"), fetching=RULES))
    assert code == EXIT_TERMINAL
    assert answer.failure is not None
    assert answer.failure.reason == "UnsupportedScheme"


def test_a_secret_that_is_named_but_absent_is_missing(job: Job, web: "Web") -> None:
    job.secret.mkdir()
    code, answer = job.run(ResolveRequest(source=Location(uri=f"{web.url}/model.onnx"), fetching=RULES))
    assert code == EXIT_TERMINAL
    assert answer.failure is not None
    assert answer.failure.reason == "SecretMissing"


def test_a_very_long_failure_fits_the_termination_message(job: Job) -> None:
    uri = "ftp://host/" + "€" * 5000
    code, answer = job.run(ResolveRequest(source=Location(uri=uri), fetching=RULES))
    assert code == EXIT_TERMINAL
    assert answer.failure is not None


def test_an_unforeseen_failure_is_an_answer_too(job: Job) -> None:
    job.request.write_text("{}")
    assert resolve.main() == EXIT_RETRIABLE
    answer = ResolveResult.model_validate_json(job.log.read_text())
    assert answer.failure is not None
    assert answer.failure.reason == "ResolveFailed"

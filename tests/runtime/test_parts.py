"""The small parts: settings, logs, metrics, probes, the feed, and kopf's bridle."""

import ast
import inspect
import json
import logging
import sys
from itertools import islice
from typing import Any

import kopf
import pytest

from modelwright.cluster.census import Missed
from modelwright.cluster.credentials import Credentials
from modelwright.cluster.kinds import Key
from modelwright.cluster.owned import Models, Policies
from modelwright.runtime import frame, handlers, health, logs
from modelwright.runtime.feed import Feed
from modelwright.runtime.settings import SettingsError, load
from modelwright.runtime.telemetry import Telemetry
from tests.builders import make_model
from tests.clock import FakeClock

MODEL = make_model().observed()
REQUIRED = {"MODELWRIGHT_OPERATOR_IMAGE": "o", "MODELWRIGHT_OPTIMIZER_IMAGE": "p"}


def test_the_smallest_environment_suffices() -> None:
    settings = load(REQUIRED)
    assert (settings.images.operator, settings.images.optimizer) == ("o", "p")
    assert (settings.namespaces, settings.workers, settings.resync) == ((), 32, 300.0)
    assert settings.identity
    assert settings.leader_election


def test_namespaces_are_a_list() -> None:
    assert load({**REQUIRED, "MODELWRIGHT_NAMESPACES": "a, b,,c "}).namespaces == ("a", "b", "c")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OPERATOR_IMAGE", ""),
        ("WORKERS", "0"),
        ("WORKERS", "many"),
        ("RESYNC_SECONDS", "301"),
        ("LOG_FORMAT", "xml"),
        ("LEADER_ELECTION", "yes"),
        ("METRICS_PORT", "-1"),
    ],
)
def test_a_wrong_variable_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"MODELWRIGHT_{name}"):
        load({**REQUIRED, f"MODELWRIGHT_{name}": value})


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer hidden.hidden",
        "got 'Bearer hiddenhiddenhiddenhidden'",
        "GET https://s3/x?X-Amz-Signature=hidden&X-Amz-Credential=hidden%2Fus",
        "https://blob/x?sv=2020&sig=hidden",
        "https://user:hidden@host/x",
        '{"password": "hidden"}',
        "aws_secret_access_key=hidden",
    ],
)
def test_no_credential_reaches_the_log(text: str) -> None:
    assert "hidden" not in logs.redacted(text)


@pytest.mark.parametrize("text", ["oci://registry/x@sha256:abc", "the bearer of news", "https://host/x?y=z"])
def test_harmless_text_stays_as_it_is(text: str) -> None:
    assert logs.redacted(text) == text


def record(message: str, error: BaseException | None = None) -> logging.LogRecord:
    info = (type(error), error, None) if error else None
    return logging.LogRecord("modelwright.x", logging.INFO, "x.py", 1, message, (), info)


def test_a_log_line_names_the_model() -> None:
    with logs.speaking_of(Key("vision", "ranker")):
        entry = json.loads(logs.JsonFormatter().format(record("hello")))
        assert "[vision/ranker] hello" in logs.TextFormatter().format(record("hello"))
    assert (entry["namespace"], entry["name"], entry["message"], entry["level"]) == (
        "vision",
        "ranker",
        "hello",
        "INFO",
    )
    assert "name" not in json.loads(logs.JsonFormatter().format(record("hello")))


@pytest.mark.parametrize("formatter", [logs.JsonFormatter(), logs.TextFormatter()])
def test_a_traceback_is_redacted_too(formatter: logging.Formatter) -> None:
    line = formatter.format(record("failed", ValueError("https://user:hidden@host/")))
    assert "ValueError" in line
    assert "hidden" not in line


def status(reason: str) -> dict[str, Any]:
    return {"conditions": [{"type": "Ready", "status": "False", "reason": reason}]}


def test_conditions_are_shown_and_their_changes_counted() -> None:
    telemetry = Telemetry()
    telemetry.status(MODEL, status("Resolving"))
    assert "modelwright_transitions_total{" not in telemetry.exposition().decode(), "a start is no transition"
    telemetry.status(MODEL, status("Optimizing"))
    telemetry.status(MODEL, status("Optimizing"))
    text = telemetry.exposition().decode()
    assert 'name="ranker",namespace="vision",reason="Optimizing",status="False",type="Ready"} 1.0' in text
    assert 'reason="Resolving"' not in text
    assert 'modelwright_transitions_total{reason="Optimizing",status="False",type="Ready"} 1.0' in text


def test_the_series_of_a_model_that_is_gone_go() -> None:
    telemetry = Telemetry()
    telemetry.status(MODEL, status("Resolving"))
    telemetry.forget(Key(MODEL.namespace, MODEL.name))
    telemetry.forget(Key(MODEL.namespace, MODEL.name))
    assert "ranker" not in telemetry.exposition().decode()


def test_every_metric_is_ours_or_the_processs() -> None:
    names = {line.split()[2] for line in Telemetry().exposition().decode().splitlines() if line.startswith("# TYPE")}
    assert all(name.startswith(("modelwright_", "process_", "python_")) for name in names)
    assert not any(name.endswith("_created") for name in names)


def test_silence_is_complained_of() -> None:
    assert list(health.stale("sweep", health.STALE_SECONDS)) == []
    assert list(health.stale("sweep", health.STALE_SECONDS + 1)) == ["sweep: no sign of life for 181 s"]


def told(key: Key, *, by_person: bool) -> None:
    """Nobody is told."""


def event(kind: str | None, version: int) -> dict[str, Any]:
    metadata = {"name": "ranker", "namespace": "vision", "uid": "m-1", "generation": 1, "resourceVersion": str(version)}
    return {"type": kind, "object": {"metadata": metadata, "spec": {}}}


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(100.0)


@pytest.fixture
def feed(clock: FakeClock) -> Feed:
    return Feed(Models(told), Policies(lambda: None), clock)


def test_events_go_into_the_caches(feed: Feed) -> None:
    feed.take(feed.models, event(None, 1))
    feed.take(feed.models, event("MODIFIED", 2))
    assert feed.models.versions()[Key("vision", "ranker")].version == 2
    feed.take(feed.models, event("DELETED", 3))
    assert feed.models.versions() == {}


def test_a_feed_that_never_tells_is_overdue(feed: Feed, clock: FakeClock) -> None:
    feed.models.upsert(event(None, 5)["object"])
    feed.expect([Missed("m-1", 5)])
    clock.advance(200)
    feed.expect([Missed("m-1", 5)])
    assert feed.overdue == 200
    feed.take(feed.models, event("MODIFIED", 4))
    assert feed.overdue == 200, "an older version does not count"
    feed.take(feed.models, event("MODIFIED", 6))
    assert feed.overdue == 0


def test_nothing_is_owed_of_what_is_gone(feed: Feed, clock: FakeClock) -> None:
    feed.models.upsert(event(None, 5)["object"])
    feed.expect([Missed("m-1", 5)])
    feed.models.remove(Key("vision", "ranker"), "m-1")
    feed.expect([])
    clock.advance(200)
    assert feed.overdue == 0


def test_handlers_do_one_thing_each() -> None:
    tree = ast.parse(inspect.getsource(handlers))
    build = next(n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == "build_registry")
    inner = [node for node in build.body if isinstance(node, ast.AsyncFunctionDef)]
    assert {len(node.body) for node in inner} == {1}
    source = inspect.getsource(handlers)
    for word in ("on.create", "on.update", "on.delete", "on.resume", "on.field", "timer", "daemon", "index("):
        assert word not in source


def test_only_the_runtime_knows_kopf() -> None:
    before = {name for name in sys.modules if name.startswith("modelwright.cluster")}
    assert before
    for name in before:
        assert "kopf" not in vars(sys.modules[name])


def test_kopf_is_bridled() -> None:
    settings = frame.build_settings()
    assert not settings.posting.enabled
    assert settings.peering.standalone
    assert settings.scanning.disabled
    assert isinstance(settings.persistence.diffbase_storage, kopf.DiffBaseStorage)
    assert isinstance(settings.persistence.progress_storage, kopf.ProgressStorage)


def test_kopf_never_gives_up() -> None:
    backoffs: Any = frame.build_settings().networking.error_backoffs
    for _ in range(2):
        delays: list[float] = list(islice(backoffs, 1000))
        assert delays[0] <= 0.5
        assert max(delays) <= 10
        assert min(delays[10:]) >= 5


async def test_kopf_is_not_given_refused_credentials_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handlers, "LOOK_AGAIN_SECONDS", 0.001)
    monkeypatch.setattr(handlers, "STALE_TOKEN_SECONDS", 0.01)
    found = Credentials("https://api", token="first")
    login = handlers._Login(lambda: found)  # pyright: ignore[reportPrivateUsage]
    assert (await login()).token == "first"
    with pytest.raises(kopf.TemporaryError):
        await login()
    found = Credentials("https://api", token="second")
    assert (await login()).token == "second"

"""Events are told once, within bounds, and never get in the way."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from modelwright.cluster.events import BURST, NOTE_LIMIT, REFILL_SECONDS, REPEAT_SECONDS, EventWriter
from modelwright.core.plan import Event
from tests.builders import make_model
from tests.clock import FakeClock
from tests.cluster.scripted import ScriptedServer

PATH = "/apis/events.k8s.io/v1/namespaces/vision/events"
MODEL = make_model().observed()
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Case:
    def __init__(self, server: ScriptedServer, writer: EventWriter, clock: FakeClock) -> None:
        self.server, self.writer, self.clock = server, writer, clock

    async def tell(self, message: str = "m", reason: str = "Serving") -> None:
        await self.writer.emit(MODEL, (Event("Normal", reason, message),))

    @property
    def notes(self) -> list[Any]:
        return [asked.body["note"] for asked in self.server.asked]


@pytest.fixture
async def case() -> AsyncIterator[Case]:
    async with ScriptedServer() as server, server.client() as client:
        server.on("POST", PATH, 201, {})
        clock = FakeClock(1000.0)
        yield Case(server, EventWriter(client, "replica-1", clock, lambda: NOON), clock)


async def test_an_event_names_the_model_and_who_reports(case: Case) -> None:
    await case.tell("2 of 2 pods serve")
    (asked,) = case.server.asked
    body = asked.body
    assert body["regarding"] == {
        "apiVersion": "modelwright.dev/v1alpha1",
        "kind": "OptimizedModel",
        "namespace": "vision",
        "name": "ranker",
        "uid": "uid-1",
        "resourceVersion": "1",
    }
    assert (body["reason"], body["type"], body["note"]) == ("Serving", "Normal", "2 of 2 pods serve")
    assert (body["eventTime"], body["reportingInstance"]) == ("2026-01-01T12:00:00.000000Z", "replica-1")
    assert "labels" not in body["metadata"]


async def test_the_same_event_is_not_repeated_for_a_while(case: Case) -> None:
    await case.tell("a")
    await case.tell("a")
    await case.tell("b")
    await case.tell("a", reason="Other")
    assert case.notes == ["a", "b", "a"]
    case.clock.advance(REPEAT_SECONDS)
    await case.tell("a")
    assert case.notes == ["a", "b", "a", "a"]


async def test_one_model_cannot_flood_the_server(case: Case) -> None:
    for index in range(100):
        await case.tell(str(index))
    assert len(case.notes) == BURST
    case.clock.advance(REFILL_SECONDS)
    for index in range(100, 200):
        await case.tell(str(index))
    assert len(case.notes) == BURST + 1


async def test_a_failure_to_post_is_only_logged(case: Case, caplog: pytest.LogCaptureFixture) -> None:
    case.server.on("POST", PATH, 403, {"message": "no"})
    await case.tell()
    assert "could not be posted" in caplog.text


@pytest.mark.parametrize("letter", ["x", "é", "漢", "😀"])
async def test_a_long_message_is_cut_between_characters(case: Case, letter: str) -> None:
    await case.tell(letter * 2000)
    (note,) = case.notes
    assert len(note.encode()) <= NOTE_LIMIT
    assert note.endswith("…")
    assert set(note[:-1]) == {letter}

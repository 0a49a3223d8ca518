"""What the demo says while it waits, and when it gives up."""

import json
from pathlib import Path
from typing import Any

import pytest

from e2e.demo.story import DemoError, Story, tell
from e2e.scenarios.kube import Kube


def model(name: str, generation: int, conditions: list[dict[str, Any]], **status: Any) -> dict[str, Any]:
    return {
        "apiVersion": "modelwright.dev/v1alpha1",
        "kind": "OptimizedModel",
        "metadata": {"name": name, "generation": generation},
        "status": {"conditions": conditions, **status},
    }


def ready(status: str, reason: str, message: str = "", generation: int = 1) -> dict[str, Any]:
    return {
        "type": "Ready",
        "status": status,
        "reason": reason,
        "message": message,
        "observedGeneration": generation,
    }


STALLED = {"type": "Stalled", "status": "True", "reason": "QualityGateFailed", "observedGeneration": 1}


def kubectl(folder: Path, watched: list[dict[str, Any]], events: list[dict[str, Any]]) -> Kube:
    """A kubectl that watches what is given and knows some events."""
    folder.joinpath("watch").write_text(
        "".join(json.dumps({"type": "MODIFIED", "object": one}) + "\n" for one in watched)
    )
    folder.joinpath("events").write_text(json.dumps({"items": events}))
    program = folder / "kubectl"
    program.write_text(
        f'#!/bin/sh\ncase "$*" in\n*--watch*) cat {folder}/watch; exec sleep 30;;\n*) cat {folder}/events;;\nesac\n'
    )
    program.chmod(0o755)
    return Kube(kubectl=str(program))


def test_tells_every_transition_once_and_returns_ready_models(tmp_path: Path) -> None:
    seen = [
        model("a", 1, [ready("Unknown", "Pending", "Waiting for the controller.", -1)]),
        model("a", 1, [ready("False", "Optimizing", "The Job runs.")]),
        model("a", 1, [ready("False", "Optimizing", "The Job still runs.")]),
        model("b", 1, [ready("True", "Serving", "1 of 1 pods serve.")]),
        model("a", 1, [ready("True", "Serving", "1 of 1 pods serve.")]),
    ]
    said: list[str] = []
    found = Story(kubectl(tmp_path, seen, []), "demo", said.append).until_ready(["a", "b"], 20)
    assert set(found) == {"a", "b"}
    assert [line.split() for line in said if line.startswith("a ")] == [
        ["a", "Changed", "waiting", "for", "the", "operator", "to", "see", "it"],
        ["a", "Optimizing", "The", "Job", "runs."],
        ["a", "Ready", "1", "of", "1", "pods", "serve."],
    ]


def test_a_stalled_model_ends_it_with_its_cause_and_its_warnings(tmp_path: Path) -> None:
    failure = {"stage": "optimize", "reason": "QualityGateFailed", "message": "ndcg fell", "logTail": "last words"}
    seen = [
        model("a", 1, [ready("False", "Deploying", "Starting.")]),
        model("b", 1, [ready("False", "QualityGateFailed", "ndcg fell by 3 %."), STALLED], failure=failure),
    ]
    event = {
        "lastTimestamp": "2999-01-01T00:00:00Z",
        "type": "Warning",
        "reason": "Evicted",
        "message": "pod b-1 was evicted",
        "involvedObject": {"name": "b", "apiVersion": "modelwright.dev/v1alpha1"},
    }
    old = {**event, "message": "long ago", "lastTimestamp": "2000-01-01T00:00:00Z"}
    with pytest.raises(DemoError) as caught:
        Story(kubectl(tmp_path, seen, [event, old]), "demo", lambda _: None).until_ready(["a", "b"], 20)
    lines = str(caught.value).splitlines()
    assert lines[0] == "b: QualityGateFailed: ndcg fell by 3 %."
    assert "last words" in str(caught.value)
    assert lines[-1] == "  event: Evicted: pod b-1 was evicted"
    assert str(caught.value).count("ndcg fell") == 1


def test_a_model_that_nobody_serves_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match="a: it does not exist"):
        Story(kubectl(tmp_path, [], []), "demo", lambda _: None).until_ready(["a"], 0.5)


def test_a_change_that_nobody_sees_points_at_the_operator(tmp_path: Path) -> None:
    seen = [model("a", 2, [ready("True", "Serving", generation=1)])]
    with pytest.raises(DemoError, match="a: the operator does not see it"):
        Story(kubectl(tmp_path, seen, []), "demo", lambda _: None).until_ready(["a"], 1.0)


def test_what_the_job_found_is_told_once(tmp_path: Path) -> None:
    optimized = {"type": "Optimized", "status": "True", "reason": "Optimized", "message": "2 times less CPU time"}
    seen = [
        model("a", 1, [ready("False", "Deploying"), optimized]),
        model("a", 1, [ready("True", "Serving"), optimized]),
    ]
    said: list[str] = []
    Story(kubectl(tmp_path, seen, []), "demo", said.append).until_ready(["a"], 20)
    assert [line.split(maxsplit=1)[1] for line in said] == ["Optimized  2 times less CPU time", "Deploying", "Ready"]


def test_an_old_generation_is_not_taken_for_the_new_one() -> None:
    assert tell(model("a", 2, [ready("True", "Serving", generation=1)])).startswith("Changed")
    assert tell(model("a", 2, [ready("True", "Serving", generation=2)])) == "Ready"

"""Every output counts, not the first one only."""

from typing import Any

import numpy as np
import pytest

from modelwright.optimizer import likeness, metrics
from modelwright.optimizer.metrics import Truth
from modelwright.optimizer.screening import output_fault
from modelwright.optimizer.tasks import Evaluation

RANDOM = np.random.default_rng(3)
GOOD, OTHER = RANDOM.standard_normal((60, 4)), RANDOM.standard_normal((60, 5))


def against(source: dict[str, Any]) -> Truth:
    return Truth(None, None, source)


@pytest.mark.parametrize("metric", ["cosine", "agreement", "fidelity"])
def test_without_labels_a_broken_second_output_shows(metric: str) -> None:
    source, broken = {"a": GOOD, "b": OTHER}, {"a": GOOD, "b": RANDOM.standard_normal((60, 5))}
    assert metrics.score(metric, source, against(source)).value()[0] == pytest.approx(1.0)
    assert metrics.score(metric, broken, against(source)).value()[0] < 0.7


def test_a_vector_behind_a_number_is_compared_by_angle_and_the_number_by_its_error() -> None:
    source = {"score": GOOD[:, :1], "embedding": OTHER}
    assert metrics.choose(None, against(source)) == "cosine"
    moved = source | {"score": GOOD[:, :1] * 3}
    assert metrics.score("cosine", moved, against(source)).value()[0] < 0.7


def test_with_labels_the_outputs_that_the_metric_does_not_read_are_compared_with_the_source() -> None:
    source = {"label": np.arange(60) % 3, "p": np.abs(GOOD), "embedding": OTHER}
    assert metrics.judged("accuracy", source) == {"label"}
    assert metrics.judged("r2", source) == {"p"}
    name, alike = likeness.unjudged(source | {"embedding": -OTHER}, source, {"label"})
    assert (name, alike) == ("embedding", pytest.approx(-1.0))
    assert likeness.unjudged(source, source, set(source)) == ("", 1.0)


@pytest.mark.parametrize(
    ("found", "word"),
    [
        ({"unjudged": "embedding", "unjudged_alike": 0.9}, "embedding"),
        ({"worst_cosine": 0.2}, "cosine"),
        ({"split_error": 0.5}, "batch"),
    ],
)
def test_a_lossy_candidate_is_thrown_out_by(found: dict[str, Any], word: str) -> None:
    assert word in output_fault(Evaluation(rows=1, metric="accuracy", **found), lossy=True)
    assert not output_fault(Evaluation(rows=1, metric="accuracy"), lossy=True)

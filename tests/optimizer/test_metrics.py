"""Our metrics are scikit-learn's, and safe where ties would make them luck."""

from typing import Any

import numpy as np
import pytest

from modelwright.errors import InputError
from modelwright.optimizer import metrics, ranking, scores
from modelwright.optimizer.graph import untyped
from modelwright.optimizer.metrics import Truth
from modelwright.optimizer.scores import Score

sklearn: Any = untyped("sklearn.metrics")
RANDOM = np.random.default_rng(7)


def truth(labels: Any = None, groups: Any = None, source: Any = None, *, binary: bool = False) -> Truth:
    return Truth(labels, groups, {"y": source if source is not None else np.zeros((1, 1))}, binary)


class TestValues:
    def test_auc(self) -> None:
        labels = RANDOM.integers(0, 2, 500)
        scores = np.round(labels + RANDOM.standard_normal(500), 1)  # rounded, so that there are ties
        value = metrics.score("auc", {"y": scores.reshape(-1, 1)}, truth(labels)).value()[0]
        assert value == pytest.approx(sklearn.roc_auc_score(labels, scores))

    def test_auc_of_weighted_rows(self) -> None:
        labels, scores = RANDOM.integers(0, 2, 200), RANDOM.standard_normal(200)
        weights = RANDOM.integers(0, 4, 200).astype(float)
        score = Score("auc", scores, labels.astype(float), np.arange(200))
        wanted = sklearn.roc_auc_score(labels, scores, sample_weight=weights)
        assert score.value(weights[None, :])[0] == pytest.approx(wanted)

    def test_r2(self) -> None:
        target = RANDOM.standard_normal((300, 1))
        predicted = target + 0.3 * RANDOM.standard_normal((300, 1))
        value = metrics.score("r2", {"y": predicted}, truth(target)).value()[0]
        assert value == pytest.approx(sklearn.r2_score(target, predicted))

    def test_mse(self) -> None:
        target, predicted = RANDOM.standard_normal((50, 3)), RANDOM.standard_normal((50, 3))
        value = metrics.score("mse", {"y": predicted}, truth(target)).value()[0]
        assert value == pytest.approx(sklearn.mean_squared_error(target, predicted))

    def test_ndcg_is_scikit_learn_s_group_by_group(self) -> None:
        gains = RANDOM.integers(0, 3, (40, 20)).astype(float)
        scores = np.round(RANDOM.standard_normal((40, 20)), 1)
        value = ranking.ndcg(scores.ravel(), gains.ravel(), np.repeat(np.arange(40), 20), 10).mean()
        assert value == pytest.approx(sklearn.ndcg_score(gains, scores, k=10))

    def test_ndcg_does_not_reward_the_order_of_ties(self) -> None:
        gains, groups = np.array([1.0, 0, 0, 0]), np.zeros(4, dtype=int)
        one = ranking.ndcg(np.zeros(4), gains, groups, 10)
        other = ranking.ndcg(np.zeros(4), gains[::-1].copy(), groups, 10)
        noisy = ranking.ndcg(1.0 + np.array([0, 1, 2, 3]) * 1e-13, gains, groups, 10)
        assert one == other == pytest.approx(noisy)

    def test_mean_reciprocal_rank(self) -> None:
        scores = np.array([0.9, 0.8, 0.7, 0.1, 0.5, 0.4])
        gains = np.array([0, 1, 0, 0, 0, 1.0])
        values = ranking.mean_reciprocal_rank(scores, gains, np.array([0, 0, 0, 1, 1, 1]), 10)
        assert values.tolist() == pytest.approx([1 / 2, 1 / 2])

    def test_accuracy_of_logits_of_one_number_and_of_named_classes(self) -> None:
        logits = np.array([[0.1, 0.9], [0.8, 0.2]])
        assert metrics.score("accuracy", {"y": logits}, truth(np.array([1, 1]))).value()[0] == 0.5
        one = {"y": np.array([[-2.0], [3.0]])}
        assert metrics.score("accuracy", one, Truth(np.array([0, 1]), None, one)).value()[0] == 1.0
        probability = {"y": np.array([[0.2], [0.7]])}
        assert metrics.score("accuracy", probability, Truth(np.array([0, 1]), None, probability)).value()[0] == 1.0
        named = {"label": np.array(["cat", "dog"]), "p": logits}
        assert metrics.score("accuracy", named, Truth(np.array(["cat", "cat"]), None, named)).value()[0] == 0.5

    def test_against_the_source_the_source_is_perfect(self) -> None:
        outputs = {"y": RANDOM.standard_normal((30, 5))}
        for metric in ("cosine", "agreement", "fidelity"):
            assert metrics.score(metric, outputs, Truth(None, None, outputs)).value()[0] == pytest.approx(1.0)


def test_identical_rows_are_one_unit() -> None:
    outputs = {"y": RANDOM.standard_normal((6, 3))}
    same = np.array([5, 5, 5, 9, 9, 1], dtype=np.uint64)
    score = metrics.score("accuracy", outputs, Truth(np.zeros(6, int), None, outputs, same=same))
    assert score.units == 3
    grouped = Truth(np.zeros(6, int), np.arange(6), outputs, same=same)
    assert metrics.score("accuracy", outputs, grouped).units == 6


class TestChoice:
    def test_without_labels_vectors_are_compared_by_angle_and_numbers_by_fit(self) -> None:
        assert metrics.choose(None, truth(source=np.zeros((4, 3)))) == "cosine"
        assert metrics.choose(None, truth(source=np.zeros((4, 1)))) == "fidelity"

    def test_with_labels_the_kind_of_labels_decides(self) -> None:
        classes, number = np.zeros((4, 3)), np.zeros((4, 1))
        assert metrics.choose(None, truth(np.arange(4), source=classes)) == "accuracy"
        assert metrics.choose(None, truth(np.arange(4) % 2, source=number, binary=True)) == "auc"
        assert metrics.choose(None, truth(np.arange(4) / 3, source=number)) == "r2"
        assert metrics.choose(None, truth(np.arange(4), np.zeros(4), number)) == "ndcg@10"

    @pytest.mark.parametrize(("name", "word"), [("f1", "Unknown"), ("accuracy", "labels"), ("auc", "labels")])
    def test_what_cannot_be_computed_is_refused(self, name: str, word: str) -> None:
        with pytest.raises(InputError, match=word):
            metrics.choose(name, truth())

    @pytest.mark.parametrize(
        ("name", "labels", "word"),
        [("auc", [0, 1, 2], "0 and 1"), ("auc", ["a", "b", "a"], "0 and 1"), ("ndcg@10", [0, -1, 2], "negative")],
    )
    def test_labels_that_a_metric_cannot_read_are_refused(self, name: str, labels: list[Any], word: str) -> None:
        with pytest.raises(InputError, match=word):
            metrics.choose(name, truth(np.array(labels), np.zeros(3)))

    @pytest.mark.parametrize(("metric", "value"), [("auc", 0.52), ("auc", 0.3), ("r2", 0.0), ("r2", -4.0)])
    def test_a_source_that_knows_nothing_is_no_baseline(self, metric: str, value: float) -> None:
        with pytest.raises(InputError, match="chance") as caught:
            metrics.check_baseline(metric, value)
        assert caught.value.reason == "InvalidData"
        metrics.check_baseline(metric, 0.7)

    def test_ranking_needs_groups(self) -> None:
        with pytest.raises(InputError, match="groups"):
            metrics.choose("ndcg@10", truth(np.arange(4)))


def test_the_auc_of_few_groups_of_many_rows_is_resampled_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    labels, values = RANDOM.integers(0, 2, 600).astype(float), RANDOM.standard_normal(600)
    score = Score("auc", values, labels, np.repeat(np.arange(6), 100))
    weights = RANDOM.integers(0, 3, (50, 6)).astype(float)
    whole = score.value(weights)
    seen: list[int] = []
    inner = scores.area

    def watched(one: Any, two: Any, part: Any) -> Any:
        seen.append(part.size)
        return inner(one, two, part)

    monkeypatch.setattr(scores, "area", watched)
    monkeypatch.setattr(scores, "CELLS", 6000)
    assert score.value(weights) == pytest.approx(whole)
    assert max(seen) <= 6000

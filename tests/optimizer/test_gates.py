"""The quality gate lets a worse model through no more often than it says, and says so when it cannot tell."""

import numpy as np
import pytest

from modelwright.contract.request import QualityGate
from modelwright.optimizer import bounds
from modelwright.optimizer.gates import MAX_LOOKS, judge
from modelwright.optimizer.scores import Score

GATE = QualityGate(max_drop=0.01, confidence=0.95)


def accuracy(right: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Score:
    return Score("mean", right, np.zeros(0), np.arange(len(right)))


def pair(rows: int, loss: float, churn: float, seed: int, base: float = 0.9) -> tuple[Score, Score]:
    """Accuracy of two models: `loss` of the rows get worse on balance, `churn` more change both ways."""
    random = np.random.default_rng(seed)
    before = (random.random(rows) < base).astype(np.float64)
    draw = random.random(rows)
    worse = before.astype(bool) & (draw < (loss * base + churn / 2) / base)
    better = ~before.astype(bool) & (draw < (churn / 2) / (1 - base))
    after = before.copy()
    after[worse], after[better] = 0.0, 1.0
    return accuracy(before), accuracy(after)


def pass_rate(rows: int, loss: float, churn: float, runs: int, *, looks: int = 1) -> float:
    verdicts = [judge("accuracy", *pair(rows, loss, churn, seed), GATE, looks=looks, seed=seed) for seed in range(runs)]
    return float(np.mean([judgment.quality.verdict == "Pass" for judgment in verdicts]))


class TestVerdicts:
    def test_the_same_model_passes_on_enough_rows(self) -> None:
        before, _ = pair(2000, 0.0, 0.0, 0)
        judgment = judge("accuracy", before, before, GATE)
        assert judgment.quality.verdict == "Pass"
        assert judgment.method == "betting"

    def test_few_rows_prove_nothing_even_if_none_differs(self) -> None:
        before, _ = pair(50, 0.0, 0.0, 0)
        judgment = judge("accuracy", before, before, GATE)
        assert judgment.quality.verdict == "Inconclusive"
        assert judgment.needed is not None
        assert 300 < judgment.needed < 5000
        assert "rows would decide" in judgment.explain(GATE)

    def test_a_clear_loss_fails(self) -> None:
        assert judge("accuracy", *pair(4000, 0.05, 0.02, 0), GATE).quality.verdict == "Fail"

    def test_a_loss_at_the_bound_is_inconclusive_and_no_rows_would_help(self) -> None:
        before, after = pair(4000, 0.012, 0.01, 0)
        judgment = judge("accuracy", before, after, GATE)
        assert judgment.quality.verdict == "Inconclusive"

    def test_for_errors_smaller_is_better(self) -> None:
        errors = np.random.default_rng(0).random(500)
        before, worse = accuracy(errors), accuracy(errors * 1.2)
        assert judge("mse", before, worse, GATE).quality.verdict == "Fail"
        assert judge("mse", before, worse, GATE).quality.change == pytest.approx(-0.2)
        assert judge("mse", worse, before, GATE).quality.verdict == "Pass"

    def test_a_metric_without_a_betting_bound_needs_thirty_units(self) -> None:
        target = np.random.default_rng(0).random(20)
        score = Score("r2", target, target, np.arange(20))
        assert judge("r2", score, score, GATE).quality.verdict == "Inconclusive"

    def test_few_of_a_class_prove_no_auc(self) -> None:
        random = np.random.default_rng(0)
        for positives, verdict in ((20, "Inconclusive"), (60, "Pass")):
            labels = (np.arange(4000) < positives).astype(np.float64)
            score = Score("auc", labels * 2 + random.standard_normal(4000), labels, np.arange(4000))
            judgment = judge("auc", score, score, GATE)
            assert judgment.quality.verdict == verdict
            if verdict == "Inconclusive":
                assert judgment.needed == 10_000

    def test_few_rows_that_carry_the_variance_prove_no_fit(self) -> None:
        target = np.random.default_rng(0).standard_normal(4000)
        even = Score("r2", target.copy(), target.copy(), np.arange(4000))
        assert judge("r2", even, even, GATE).quality.verdict == "Pass"
        target[:5] = 1e4
        skewed = Score("r2", target, target, np.arange(4000))
        assert judge("r2", skewed, skewed, GATE).quality.verdict == "Inconclusive"

    def test_more_looks_ask_for_more(self) -> None:
        before, after = pair(3000, 0.0, 0.04, 1)
        one = judge("accuracy", before, after, GATE, looks=1)
        many = judge("accuracy", before, after, GATE, looks=MAX_LOOKS)
        assert many.quality.lower < one.quality.lower

    def test_the_same_seed_gives_the_same_numbers(self) -> None:
        before, after = pair(500, 0.0, 0.2, 3)
        assert judge("accuracy", before, after, GATE, seed=5) == judge("accuracy", before, after, GATE, seed=5)


class TestRates:
    """Simulated: the binomial error of 200 runs at 5 % is 1.5 points."""

    @pytest.mark.parametrize("churn", [0.0, 0.01, 0.05])
    @pytest.mark.parametrize("rows", [100, 400, 1500])
    def test_a_model_at_the_bound_passes_at_most_as_often_as_the_confidence_allows(
        self, rows: int, churn: float
    ) -> None:
        # A relative loss of just over 1 %: every Pass is a false one.
        assert pass_rate(rows, 0.0101, churn, 200) <= 0.05 + 3 * 0.0154

    def test_an_equal_model_with_little_churn_passes_nearly_always_on_two_thousand_rows(self) -> None:
        assert pass_rate(2000, 0.0, 0.005, 60, looks=MAX_LOOKS) >= 0.9

    def test_auc_is_resampled_as_a_whole(self) -> None:
        random = np.random.default_rng(0)
        labels = random.integers(0, 2, 1500).astype(np.float64)
        scores = labels + random.standard_normal(1500)
        noisy = scores + 0.02 * random.standard_normal(1500)
        unit = np.arange(1500)
        judgment = judge("auc", Score("auc", scores, labels, unit), Score("auc", noisy, labels, unit), GATE)
        assert judgment.quality.verdict == "Pass"
        assert judgment.method == "bootstrap"

    def test_rows_of_one_group_are_drawn_together(self) -> None:
        random = np.random.default_rng(0)
        group_effect = np.repeat(random.random(30) < 0.5, 50).astype(np.float64)
        before, after = np.ones(1500), 1.0 - 0.02 * group_effect
        by_row = judge("accuracy", accuracy(before), accuracy(after), GATE)
        unit = np.repeat(np.arange(30), 50)
        grouped = [Score("mean", values, np.zeros(0), unit) for values in (before, after)]
        by_group = judge("accuracy", grouped[0], grouped[1], GATE)
        assert by_group.quality.lower < by_row.quality.lower


class TestBettingBound:
    def test_it_covers_the_true_mean(self) -> None:
        missed = 0
        for seed in range(300):
            losses = -(np.random.default_rng(seed).random(300) < 0.02).astype(np.float64)
            lower, upper = bounds.betting(losses, 1.0, 0.05, seed)
            missed += not lower <= -0.02 <= upper
        assert missed / 300 <= 0.1 + 3 * 0.0173

    def test_silence_of_n_rows_allows_a_loss_of_about_four_in_n(self) -> None:
        lower, _ = bounds.betting(np.zeros(1000), 1.0, 0.05, 0)
        assert -0.006 < lower < -0.003

    def test_it_tightens_with_rows(self) -> None:
        widths = [-bounds.betting(np.zeros(count), 1.0, 0.05, 0)[0] for count in (100, 1000, 10000)]
        assert widths[0] > 5 * widths[1] > 25 * widths[2]

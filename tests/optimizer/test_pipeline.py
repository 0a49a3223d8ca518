"""A whole run: real models, tasks in this process, and scripted times so that outcomes do not depend on load."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from modelwright.contract.artifact import Golden, Recommendation
from modelwright.contract.request import OptimizeRequest, PerformanceGate, QualityGate
from modelwright.contract.result import OptimizeResult
from modelwright.errors import StoreError
from modelwright.optimizer import answer, job
from modelwright.optimizer.job import Stopped
from modelwright.optimizer.sandbox import Crash
from tests.optimizer import samples
from tests.optimizer.fakes import QUICK, InProcess, MemoryStore, fetch, ports, request_for, speeds, table_at
from tests.optimizer.samples import floats, model_of

FAST_INT8 = {"@": 0.5, "int8": 2.0}


class Desk:
    """One source with its store; runs requests on it."""

    def __init__(self, model: onnx.ModelProto, folder: Path, rows: int = 1500) -> None:
        self.folder, self.model = folder, model
        self.source = samples.write(model, folder / "model.onnx")
        self.store = MemoryStore()
        self.rows = rows
        self.sandbox = InProcess()
        self.lines: list[str] = []

    def run(self, table: dict[str, float] | None = None, *, aa: float = 1.0, **changes: Any) -> OptimizeResult:
        self.sandbox.scripted["benchmark"] = speeds(table if table is not None else FAST_INT8, aa)
        asked = request_for(self.source, **changes)
        return job.run(asked, self.ports(), lambda event: self.lines.append(event.text), QUICK)

    def ports(self) -> Any:
        self.runs = getattr(self, "runs", 0) + 1
        return ports(self.folder / f"work{self.runs}", self.store, self.sandbox)

    def evaluation(self, **columns: Any) -> Any:
        return table_at(self.folder / "evaluation.npz", **(samples.labelled(self.model, self.rows) | columns))

    def report(self, result: OptimizeResult) -> dict[str, Any]:
        assert result.digest
        return json.loads(self.store.artifacts[result.digest][1]["report.json"])

    def file(self, result: OptimizeResult, title: str) -> bytes:
        assert result.digest
        return self.store.artifacts[result.digest][1][title]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(samples.cnn(8, 2), tmp_path)


@pytest.fixture
def lookups(tmp_path: Path) -> Desk:
    return Desk(samples.recommender(tables=4, rows=40), tmp_path)


class TestOutcomes:
    def test_a_faster_candidate_that_proves_its_quality_wins(self, desk: Desk) -> None:
        result = desk.run(evaluation=desk.evaluation())
        assert result.failure is None
        assert result.outcome == "Optimized"
        assert result.summary
        assert result.summary.speedup == pytest.approx(2.0)
        assert result.summary.quality
        assert result.summary.quality.verdict == "Pass"
        assert "int8" in result.summary.winner

    def test_without_data_only_lossless_candidates_run(self, lookups: Desk) -> None:
        result = lookups.run({"gather-fusion": 1.6, "int8": 9.0})
        assert result.outcome == "OptimizedLossless"
        assert result.summary
        assert result.summary.techniques == ("gather-fusion",)
        assert lookups.report(result)["skipped"]["static-int8"] == "NoCalibrationData"
        assert not any("int8" in call for call in lookups.sandbox.calls)

    def test_nothing_faster_means_no_change(self, desk: Desk) -> None:
        result = desk.run({}, evaluation=desk.evaluation())
        assert result.outcome == "NoImprovement"
        assert result.summary
        assert (result.summary.winner, result.summary.speedup) == ("source", 1.0)
        assert result.note

    def test_a_gain_within_the_noise_means_no_change(self, desk: Desk) -> None:
        assert desk.run({"@": 0.5, "int8": 1.02}, evaluation=desk.evaluation()).outcome == "NoImprovement"

    def test_a_noisy_machine_means_no_change_and_says_so(self, desk: Desk) -> None:
        result = desk.run(FAST_INT8, aa=1.3, evaluation=desk.evaluation())
        assert result.outcome == "NoImprovement"
        assert result.summary
        assert not result.summary.reliable
        assert result.summary.aa_ratio == pytest.approx(1.3)

    def test_a_gain_that_the_baseline_has_over_itself_is_none(self, desk: Desk) -> None:
        table = {"@": 0.5, "int8": 1.06}
        assert desk.run(table, aa=1.046, evaluation=desk.evaluation()).outcome == "NoImprovement"
        assert any("A/A within 4.6%" in line for line in desk.lines)
        assert desk.run(table, aa=1.0, key="key-2", evaluation=desk.evaluation()).outcome == "Optimized"

    def test_noise_is_measured_again_and_no_bound_is_judged_in_it(self, desk: Desk) -> None:
        asked: dict[str, Any] = {
            "evaluation": desk.evaluation(),
            "performance": PerformanceGate(min_speedup=1.5),
            "on_failure": "ServeSource",
        }
        noisy = desk.run(FAST_INT8, aa=1.3, **asked)
        assert noisy.failure
        assert (noisy.failure.reason, answer.exit_code(noisy)) == ("MeasurementUnreliable", 11)
        assert not desk.store.keys
        assert desk.run(FAST_INT8, **asked).outcome == "Optimized"

    def test_skip_packages_the_source_measured_and_with_a_golden_pair(self, desk: Desk) -> None:
        result = desk.run(mode="Skip")
        assert result.outcome == "Skipped"
        assert result.summary
        assert result.summary.before.cpu_us > 0
        assert Golden.model_validate_json(desk.file(result, "golden.json")).outputs

    def test_for_memory_the_smaller_model_wins(self, tmp_path: Path) -> None:
        desk = Desk(samples.cnn(24, 3), tmp_path)
        result = desk.run({"@": 0.5, "int8": 1.0}, target="Memory", evaluation=desk.evaluation())
        assert result.outcome == "Optimized"
        assert result.summary
        assert result.summary.after.size_bytes < result.summary.before.size_bytes

    def test_for_throughput_the_largest_batch_decides(self, desk: Desk) -> None:
        result = desk.run(target="Throughput", evaluation=desk.evaluation())
        assert result.summary
        assert result.summary.before.cpu_us == pytest.approx(8000.0)


class TestGates:
    def test_a_favourite_that_fails_on_the_confirm_rows_is_replaced_by_the_next(self, desk: Desk) -> None:
        from modelwright.optimizer.evaluate import evaluate  # noqa: PLC0415

        judged: list[str] = []

        def fail_the_first(question: Any) -> Any:
            if "confirm" in question.rows and question.reference:
                judged.append(question.model)
                if len(judged) == 1:
                    return Crash("evaluate", "Signal11", "")
            return evaluate(question)

        desk.sandbox.scripted["evaluate"] = fail_the_first
        result = desk.run({"@": 0.5, "minmax": 3.0, "percentile": 2.0}, evaluation=desk.evaluation())
        assert result.summary
        assert result.summary.winner == "static-int8(percentile)"
        fates = {trial["id"]: trial for trial in desk.report(result)["candidates"]}
        assert "Signal11" in fates["static-int8(minmax)"]["why"]

    def test_few_rows_never_let_a_lossy_candidate_through(self, tmp_path: Path) -> None:
        desk = Desk(samples.cnn(8, 2), tmp_path, rows=120)
        result = desk.run(evaluation=desk.evaluation())
        assert result.outcome == "NoImprovement"
        assert "rows would decide" in result.note

    def test_when_only_lossy_techniques_are_asked_for_their_failure_is_the_answer(self, tmp_path: Path) -> None:
        desk = Desk(samples.cnn(8, 2), tmp_path, rows=120)
        result = desk.run(evaluation=desk.evaluation(), techniques=("static-int8",))
        assert result.failure
        assert result.failure.reason == "QualityGateInconclusive"
        assert answer.exit_code(result) == 10

    def test_a_lost_quality_fails_a_demanded_technique(self, desk: Desk) -> None:
        impossible = QualityGate(max_drop=0.0, confidence=0.95)
        noisy = samples.labelled(desk.model, 3000, noise=0.3)
        data = table_at(desk.folder / "e.npz", **noisy)
        result = desk.run(evaluation=data, techniques=("static-int8",), quality=impossible)
        assert result.failure
        assert result.failure.reason.startswith("QualityGate")

    def test_a_missed_speedup_is_a_failure_that_names_the_best(self, desk: Desk) -> None:
        result = desk.run(evaluation=desk.evaluation(), performance=PerformanceGate(min_speedup=3.0))
        assert result.failure
        assert result.failure.reason == "PerformanceGateFailed"
        assert "2.00x" in result.failure.message
        assert not desk.store.keys

    def test_or_the_source_is_served_if_the_user_chose_that(self, desk: Desk) -> None:
        result = desk.run(
            evaluation=desk.evaluation(), performance=PerformanceGate(min_speedup=3.0), on_failure="ServeSource"
        )
        assert result.outcome == "ServingSource"
        assert result.note.startswith("PerformanceGateFailed")
        assert result.digest

    def test_a_reached_speedup_passes(self, desk: Desk) -> None:
        result = desk.run(evaluation=desk.evaluation(), performance=PerformanceGate(min_speedup=1.5))
        assert result.outcome == "Optimized"


class TestFailures:
    def test_a_source_that_answers_nan_on_the_data(self, tmp_path: Path) -> None:
        model = model_of([helper.make_node("Log", ["x"], ["y"])], [floats("x", "n", 4)], [floats("y", "n", 4)])
        desk = Desk(model, tmp_path)
        rows = np.random.default_rng(0).standard_normal((200, 4)).astype(np.float32)
        result = desk.run(evaluation=table_at(tmp_path / "e.npz", x=rows, labels=np.zeros(200, np.int64)))
        assert result.failure
        assert result.failure.reason == "NonFiniteOutput"

    def test_columns_that_do_not_match_name_the_column(self, desk: Desk) -> None:
        result = desk.run(evaluation=table_at(desk.folder / "e.npz", picture=np.zeros((50, 3, 16, 16))))
        assert result.failure
        assert result.failure.reason == "InvalidData"
        assert "'image'" in result.failure.message

    def test_a_wrong_digest_is_found_before_anything_is_parsed(self, desk: Desk) -> None:
        source = request_for(desk.source).source.model_copy(update={"digest": "sha256:" + "0" * 64})
        result = desk.run(source=source)
        assert result.failure
        assert result.failure.reason == "SourceDigestMismatch"
        assert desk.sandbox.calls == []

    def test_an_unknown_technique_lists_the_known_ones(self, desk: Desk) -> None:
        result = desk.run(techniques=("magic",))
        assert result.failure
        assert "static-int8" in result.failure.hint

    @pytest.mark.parametrize(
        ("error", "reason"),
        [("Timeout", "BudgetExhausted"), ("OutOfMemory", "OptimizerOutOfMemory"), ("Signal11", "InvalidModel")],
    )
    def test_a_model_that_breaks_intake(self, error: str, reason: str, desk: Desk) -> None:
        desk.sandbox.scripted["inspect"] = lambda _: Crash("inspect", error, "")
        result = desk.run()
        assert result.failure
        assert result.failure.reason == reason

    def test_a_model_too_slow_for_intake_is_not_told_to_raise_the_budget(self, desk: Desk) -> None:
        desk.sandbox.scripted["inspect"] = lambda _: Crash("inspect", "Timeout", "")
        result = desk.run()
        assert result.failure
        assert "maxDuration" not in result.failure.hint
        assert "CPU" in result.failure.hint

    def test_a_candidate_that_crashes_is_a_line_in_the_report(self, desk: Desk) -> None:
        desk.sandbox.scripted["transform"] = lambda _: Crash("transform", "Signal11", "")
        result = desk.run(evaluation=desk.evaluation())
        assert result.outcome == "NoImprovement"
        assert {trial["status"] for trial in desk.report(result)["candidates"] if trial["steps"]} == {"failed"}

    def test_a_candidate_that_crashes_when_timed_costs_the_others_nothing(self, desk: Desk) -> None:
        evaluation = desk.evaluation()
        answers = speeds({"@": 0.5, "percentile": 2.0})

        def crash_with_minmax(question: Any) -> Any:
            if any("minmax" in contender.id for contender in question.contenders):
                return Crash("benchmark", "Signal11", "")
            return answers(question)

        desk.sandbox.scripted["benchmark"] = crash_with_minmax
        asked = request_for(desk.source, evaluation=evaluation)
        result = job.run(asked, desk.ports(), lambda _: None, QUICK)
        assert result.summary
        assert result.summary.winner == "static-int8(percentile)"

    def test_a_store_that_is_down_is_worth_another_try(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        def down(*_: object) -> str:
            raise StoreError("StoreUnavailable", "no answer", retriable=True)

        monkeypatch.setattr(desk.store, "push", down)
        result = desk.run({}, evaluation=None)
        assert result.failure
        assert (result.failure.reason, answer.exit_code(result)) == ("StoreUnavailable", 11)

    def test_a_journal_that_cannot_be_kept_costs_nothing(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        def down(*_: object) -> None:
            raise StoreError("StoreUnavailable", "no answer", retriable=True)

        monkeypatch.setattr(desk.store, "save_journal", down)
        result = desk.run({})
        assert result.outcome == "NoImprovement"
        assert "no answer" in desk.report(result)["journal"]["fault"]

    def test_a_bug_is_an_answer_with_its_class(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(*_: object) -> None:
            raise KeyError("oops")

        monkeypatch.setattr(desk.store, "find", broken)
        result = desk.run()
        assert result.failure
        assert result.failure.message.startswith("KeyError")


class TestBudget:
    def test_trials_are_counted_and_the_best_so_far_is_the_result(self, desk: Desk) -> None:
        result = desk.run(evaluation=desk.evaluation(), max_trials=2)
        assert result.summary
        assert result.summary.candidates == 2
        assert "2 trials" in desk.report(result)["stopped"]

    def test_time_is_counted_too(self, desk: Desk) -> None:
        result = desk.run(evaluation=desk.evaluation(), max_seconds=0.001)
        assert result.failure is None
        assert result.outcome == "NoImprovement"
        assert "are spent" in desk.report(result)["stopped"]


class TestResuming:
    def kill_at(self, desk: Desk, call: Callable[[str, int], bool], **changes: Any) -> list[str]:
        """Run until `call` says so, then be killed; returns what had run."""
        count = 0

        def before(name: str) -> None:
            nonlocal count
            count += 1
            if call(name, count):
                raise Stopped

        desk.sandbox.before = before
        result = desk.run(**changes)
        assert result.failure
        assert result.failure.retriable
        assert answer.exit_code(result) == 11
        desk.sandbox.before = lambda _: None
        done, desk.sandbox.calls = desk.sandbox.calls, []
        return done

    def test_after_a_kill_no_finished_candidate_runs_again(self, desk: Desk) -> None:
        evaluation = desk.evaluation()
        killed = self.kill_at(desk, lambda name, _: "percentile" in name, evaluation=evaluation)
        assert "transform:static-int8(minmax)" in killed
        result = desk.run(evaluation=evaluation)
        assert result.outcome == "Optimized"
        again = [call for call in desk.sandbox.calls if call.startswith("transform")]
        # Made again only because it won: its weights were lost with the first pod.
        assert again.count("transform:dynamic-int8(tensor)") <= 1
        assert "transform:graph-cleanup" not in again
        assert desk.report(result)["journal"]["reused"] >= 5

    @pytest.mark.parametrize("at", [3, 9, 14, 19])
    def test_a_kill_at_any_point_changes_no_result(self, at: int, desk: Desk) -> None:
        evaluation = desk.evaluation()
        self.kill_at(desk, lambda _, count: count == at, evaluation=evaluation)
        result = desk.run(evaluation=evaluation)
        undisturbed = Desk(desk.model, desk.folder / "undisturbed").run(evaluation=evaluation)
        assert result.summary and undisturbed.summary
        assert result.summary.winner == undisturbed.summary.winner
        assert result.summary.quality == undisturbed.summary.quality

    def test_a_journal_of_another_machine_is_not_continued(self, desk: Desk) -> None:
        self.kill_at(desk, lambda name, _: "minmax" in name, evaluation=desk.evaluation())
        journal = json.loads(desk.store.journals["key-1"])
        journal["identity"]["host"]["cpu"] = "another"
        desk.store.journals["key-1"] = json.dumps(journal).encode()
        result = desk.run(evaluation=desk.evaluation())
        assert desk.report(result)["journal"]["reused"] == 0

    def test_half_a_journal_is_none(self, desk: Desk) -> None:
        desk.store.journals["key-1"] = b'{"identity": {"ver'
        assert desk.run({}).failure is None


class TestArtifact:
    def test_it_holds_what_the_contract_says(self, desk: Desk) -> None:
        result = desk.run(evaluation=desk.evaluation())
        assert result.digest
        config, files = desk.store.artifacts[result.digest]
        assert set(files) == {"model/model.onnx", "golden.json", "report.json"}
        recommendation = Recommendation.model_validate_json(config)
        assert recommendation == result.recommendation
        assert recommendation.files == ("model.onnx",)
        assert recommendation.batching
        assert recommendation.max_batch_size >= 8
        (image,) = recommendation.signature.inputs
        assert (image.name, image.data_type, image.dims) == ("image", "FP32", (3, 16, 16))

    def test_the_golden_pair_is_the_packaged_model_s_own_answer(self, desk: Desk) -> None:
        result = desk.run(evaluation=desk.evaluation())
        golden = Golden.model_validate_json(desk.file(result, "golden.json"))
        (sent,) = golden.request["inputs"]
        feeds = {sent["name"]: np.array(sent["data"], np.float32).reshape(sent["shape"])}
        packaged = onnx.load_model_from_string(desk.file(result, "model/model.onnx"))
        scores = samples.answers(packaged, feeds)["scores"].reshape(-1)
        assert golden.outputs["scores"] == pytest.approx(scores.tolist(), abs=golden.atol, rel=golden.rtol)

    def test_a_finished_key_is_answered_from_the_artifact(self, desk: Desk) -> None:
        first = desk.run(evaluation=desk.evaluation())
        desk.sandbox.calls = []
        again = desk.run(evaluation=desk.evaluation())
        assert again.reused
        assert desk.sandbox.calls == []
        assert again.summary
        assert again.model_copy(update={"reused": False, "summary": None}) == first.model_copy(update={"summary": None})

    def test_a_quantized_winner_names_the_cpu_feature_it_relies_on(self, desk: Desk) -> None:
        from modelwright.optimizer.host import observe_host  # noqa: PLC0415

        result = desk.run(evaluation=desk.evaluation())
        assert result.recommendation
        assert result.recommendation.isa == observe_host().int8_features

    def test_the_report_tells_no_place(self, desk: Desk) -> None:
        result = desk.run(evaluation=desk.evaluation())
        assert str(desk.folder) not in desk.file(result, "report.json").decode()

    def test_the_report_tells_each_candidate_s_fate(self, desk: Desk) -> None:
        result = desk.run(evaluation=desk.evaluation())
        report = desk.report(result)
        assert {"baseline", "candidates", "cost", "data", "host", "model", "serving", "summary"} <= set(report)
        for trial in report["candidates"]:
            assert trial["status"] == "ok" or trial["why"]


def test_progress_has_numbers(desk: Desk) -> None:
    desk.run(evaluation=desk.evaluation())
    assert any("2.00x" in line for line in desk.lines)
    assert any("confirm" in line for line in desk.lines)


def test_the_fake_fetcher_is_what_the_port_asks_for(desk: Desk) -> None:
    request: OptimizeRequest = request_for(desk.source)
    assert fetch(request.source, desk.folder, request.fetching).path == desk.source

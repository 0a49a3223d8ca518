"""The same code without a cluster: YAML in; a store, a Triton repository and a report out."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from modelwright.cli.main import app
from modelwright.cli.request import location_request, optimize_request, read_model
from modelwright.errors import InputError
from tests.optimizer import samples

YAML = """
apiVersion: v1
kind: ConfigMap
metadata: {name: something-else}
---
apiVersion: modelwright.dev/v1alpha1
kind: OptimizedModel
metadata: {name: ranker}
spec:
  model: {uri: model.onnx}
  optimization:
    workload: {batchSizes: [1, 4]}
    budget: {maxTrials: 3, maxDuration: 2m}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    samples.write(samples.recommender(tables=4, rows=40), folder / "model.onnx")
    (folder / "model.yaml").write_text(YAML)
    return folder


@pytest.fixture(scope="module")
def run(place: Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["optimize", str(place / "model.yaml"), "--out", str(place / "out")])
    return result.exit_code, result.output


class TestOptimize:
    def test_it_ends_with_0_and_the_report(self, run: tuple[int, str]) -> None:
        code, output = run
        assert code == 0, output
        assert "candidate" in output
        assert "ranker" in output

    def test_the_triton_repository_is_ready(self, run: tuple[int, str], place: Path) -> None:
        assert run[0] == 0
        repository = place / "out" / "repository" / "ranker"
        assert (repository / "1" / "model.onnx").stat().st_size > 0
        config = (repository / "config.pbtxt").read_text()
        assert 'name: "ranker"' in config
        assert "max_batch_size" in config

    def test_a_second_call_finds_the_first_one_s_artifact(self, run: tuple[int, str], place: Path) -> None:
        assert run[0] == 0
        result = CliRunner().invoke(app, ["optimize", str(place / "model.yaml"), "--out", str(place / "out")])
        assert result.exit_code == 0
        assert "in the store already" in result.output

    def test_report_prints_it_again_from_folder_or_file(self, run: tuple[int, str], place: Path) -> None:
        assert run[0] == 0
        for path in (place / "out", place / "out" / "report.json"):
            result = CliRunner().invoke(app, ["report", str(path)])
            assert result.exit_code == 0
            assert "latency p50" in result.output
            assert "gather-fusion" in result.output

    def test_an_unusable_model_ends_with_10_and_the_remedy(self, tmp_path: Path) -> None:
        (tmp_path / "model.yaml").write_text(YAML)
        (tmp_path / "model.onnx").write_bytes(b"\x80\x04pickle")
        result = CliRunner().invoke(app, ["optimize", str(tmp_path / "model.yaml"), "--out", str(tmp_path / "out")])
        assert result.exit_code == 10
        assert "UnsupportedModel" in result.output
        assert not (tmp_path / "out" / "repository").exists()

    def test_a_missing_model_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "model.yaml").write_text(YAML)
        result = CliRunner().invoke(app, ["optimize", str(tmp_path / "model.yaml"), "--out", str(tmp_path / "out")])
        assert result.exit_code == 10
        assert "SourceNotFound" in result.output


class TestReading:
    def test_relative_paths_are_taken_from_the_yaml_s_folder(self, place: Path) -> None:
        name, spec = read_model(place / "model.yaml")
        assert name == "ranker"
        assert spec.model.uri == f"file://{place}/model.onnx"

    @pytest.mark.parametrize(
        ("text", "word"),
        [
            ("kind: Pod", "no OptimizedModel"),
            ("kind: OptimizedModel\nspec: {model: {uri: 7}}", "spec.model.uri"),
            ("kind: OptimizedModel\nspec: {model: {uri: m.onnx}, optimization: {mode: Fast}}", "mode"),
            ("kind: OptimizedModel\nspec: [", "cannot be read"),
            ("kind: OptimizedModel", "spec.model"),
        ],
    )
    def test_what_is_wrong_is_named(self, text: str, word: str, tmp_path: Path) -> None:
        (tmp_path / "model.yaml").write_text(text)
        with pytest.raises(InputError) as caught:
            read_model(tmp_path / "model.yaml")
        assert word in caught.value.message

    def test_the_key_is_of_what_is_asked_and_not_of_where_it_lies(self, place: Path, tmp_path: Path) -> None:
        _, spec = read_model(place / "model.yaml")
        digests = {"source": "sha256:" + "1" * 64}
        here = optimize_request("ranker", spec, digests, place / "a")
        there = optimize_request("ranker", spec, digests, tmp_path / "b")
        assert here.key == there.key
        other = optimize_request("ranker", spec, {"source": "sha256:" + "2" * 64}, place / "a")
        assert other.key != here.key

    def test_everything_the_spec_says_reaches_the_request(self, tmp_path: Path) -> None:
        (tmp_path / "model.yaml").write_text(
            "kind: OptimizedModel\nmetadata: {name: a}\nspec:\n  model: {uri: m.onnx, name: served}\n"
            "  optimization:\n    target: Cost\n    techniques: [static-int8]\n    onFailure: ServeSource\n"
            "    calibration: {uri: c.npz, maxSamples: 100, seed: 7}\n    evaluation: {uri: e.parquet, metric: auc}\n"
            "    gates: {quality: {maxDrop: 0.02, confidence: 0.9}, performance: {minSpeedup: 1.5}}\n"
        )
        _, spec = read_model(tmp_path / "model.yaml")
        wanted = location_request(spec)
        assert wanted.calibration
        assert wanted.calibration.uri.endswith("/c.npz")
        parts: list[str] = ["source", "calibration", "evaluation"]
        digests = dict.fromkeys(parts, "sha256:" + "1" * 64)
        made = optimize_request("a", spec, digests, tmp_path)
        assert (made.model, made.target, made.techniques, made.on_failure) == (
            "served", "Cost", ("static-int8",), "ServeSource",
        )  # fmt: skip
        assert made.calibration and made.evaluation
        assert (made.calibration.max_samples, made.calibration.seed, made.evaluation.metric) == (100, 7, "auc")
        assert (made.quality.max_drop, made.performance.min_speedup) == (0.02, 1.5)


class TestReport:
    @pytest.mark.parametrize("content", ["not json", "{}", json.dumps({"summary": {}})])
    def test_what_is_no_report_is_said_so(self, content: str, tmp_path: Path) -> None:
        (tmp_path / "report.json").write_text(content)
        result = CliRunner().invoke(app, ["report", str(tmp_path)])
        assert result.exit_code == 2
        assert "no report" in result.output

    def test_an_absent_file_too(self, tmp_path: Path) -> None:
        assert CliRunner().invoke(app, ["report", str(tmp_path / "absent")]).exit_code == 2


def test_the_version_is_printed() -> None:
    from modelwright import __version__  # noqa: PLC0415

    result = CliRunner().invoke(app, ["--version"])
    assert result.output.strip() == __version__

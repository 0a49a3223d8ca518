"""The closing table: what status says, nothing else, and no model breaks it."""

from typing import Any

from e2e.demo import table

BEFORE = {"latencyP50": 84.6, "latencyP99": 1291.2, "cpu": 91.2, "sizeBytes": 10_600_000}
AFTER = {"latencyP50": 35.1, "latencyP99": 128.4, "cpu": 37.4, "sizeBytes": 2_600_000}
QUALITY = {"metric": "ndcg@10", "baseline": 0.6781, "optimized": 0.6778, "lower": -0.0054, "verdict": "Pass"}


def model(name: str, **optimization: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "status": {"optimization": optimization}}


RECOMMENDER = model(
    "recommender",
    before=BEFORE,
    after=AFTER,
    quality=QUALITY,
    speedup=2.45,
    speedupRange="2.35-2.52",
    techniques=["graph-cleanup", "dynamic-int8"],
)


def test_shows_before_and_after_with_units() -> None:
    assert list(table.row(RECOMMENDER)) == [
        "recommender",
        "10.60 MB → 2.60 MB",
        "85 µs → 35 µs",
        "1.29 ms → 128 µs",
        "91 µs → 37 µs",
        "ndcg@10 0.6781 → 0.6778 (proved above -0.54%)",
        "2.45x (2.35-2.52)",
        "graph-cleanup, dynamic-int8",
    ]


def test_says_when_a_measurement_was_noisy_or_nothing_was_lost() -> None:
    cells = table.row(model("m", before=BEFORE, after=AFTER, speedup=1.02, reliable=False, outcome="NoImprovement"))
    assert cells[5:] == ("the same answers", "1.02x noisy", "NoImprovement")


def test_an_unproved_quality_is_not_called_proved() -> None:
    lossless = {**QUALITY, "verdict": "Lossless"}
    assert "proved" not in table.row(model("m", before=BEFORE, after=AFTER, speedup=1.1, quality=lossless))[5]


def test_columns_line_up_and_a_model_without_figures_has_a_row() -> None:
    lines = table.render([RECOMMENDER, model("encoder"), {"metadata": {"name": "new"}}]).splitlines()
    assert len(lines) == 5
    starts = [lines[0].index(head) for head in ("size", "latency p50", "quality", "by")]
    assert [lines[2].index(cell) for cell in ("10.60 MB", "85 µs", "ndcg", "graph")] == starts
    assert lines[4].split() == ["new", *["-"] * 6, "not", "optimized"]

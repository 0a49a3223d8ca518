"""``report.json``: everything a run learned, as plain JSON, and the few numbers of it that status shows."""

import json
from dataclasses import dataclass
from typing import Any, Final

from modelwright.contract.artifact import Recommendation
from modelwright.contract.request import OptimizeRequest
from modelwright.contract.result import Figures, Summary
from modelwright.optimizer.bench import Bench
from modelwright.optimizer.host import Host
from modelwright.optimizer.proof import Proof
from modelwright.optimizer.search import Found, deciding_batch
from modelwright.optimizer.tasks import Timing

SCHEMA: Final = 1
DIGITS: Final = 6


@dataclass(frozen=True)
class Ending:
    """What a run ended with.

    Attributes:
        source_digest: Of the fetched source.
        data_digests: Of the fetched tables, by name.
        seconds: Wall time of the run.
        note: One sentence on why the outcome is not more than it is.
    """

    bench: Bench
    found: Found
    proof: Proof
    host: Host
    source_digest: str
    data_digests: dict[str, str]
    outcome: str
    note: str
    seconds: float

    def summary(self) -> Summary:
        """The few numbers that status shows, at the batch size that decides."""
        batch = deciding_batch(self.bench)
        before, after = self.proof.baseline(batch), self.proof.timing(batch)
        winner = self.proof.winner
        sizes = self.bench.inspection.size_bytes, self.bench.size(winner)
        one = winner.is_source
        return Summary(
            winner=winner.id,
            techniques=winner.techniques,
            speedup=1.0 if one else after.ratio,
            speedup_low=1.0 if one else after.low,
            speedup_high=1.0 if one else after.high,
            aa_ratio=self.proof.benchmark.aa[self._position(batch)],
            reliable=self.proof.benchmark.reliable and not (winner.is_source and self.proof.void),
            before=_figures(before, sizes[0]),
            after=_figures(after, sizes[1]),
            quality=self.proof.quality,
            candidates=len(self.found.trials),
            seconds=self.seconds,
        )

    def _position(self, batch: int) -> int:
        return [timing.batch for timing in self.proof.benchmark.timings["baseline"]].index(batch)


def make_report(ending: Ending, recommendation: Recommendation) -> bytes:
    """The report as indented JSON with sorted keys."""
    request, bench = ending.bench.request, ending.bench
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "key": request.key,
        "outcome": ending.outcome,
        "note": ending.note,
        "summary": _plain(ending.summary()),
        "model": {"name": request.model, "digest": ending.source_digest, **_plain(bench.inspection)},
        "data": {
            "digests": ending.data_digests,
            **_plain(bench.splits, leave_out=("probe", "calibration", "select", "confirm")),
        },
        "host": {**_plain(ending.host), "hardwareClass": request.hardware_class},
        "baseline": {
            "timings": [_plain(timing) for timing in ending.proof.benchmark.timings["baseline"]],
            "aa": list(ending.proof.benchmark.aa),
            "sizeBytes": bench.inspection.size_bytes,
        },
        "candidates": [_candidate(ending, name) for name in ending.found.trials],
        "skipped": ending.found.skipped,
        "stopped": ending.found.stopped,
        "winner": {"id": ending.proof.winner.id, "timings": _winner_timings(ending)},
        "serving": _plain(recommendation),
        "cost": _cost(request, ending),
        "request": _reproduction(request),
        "journal": {"reused": bench.journal.reused, "fault": bench.journal.fault},
    }
    return (json.dumps(_rounded(document), indent=2, sort_keys=True) + "\n").encode()


def _candidate(ending: Ending, name: str) -> dict[str, Any]:
    trial = ending.found.trials[name]
    rejected = ending.proof.rejected.get(name)
    shown = trial.model_copy(update={"status": "rejected", "why": rejected}) if rejected else trial
    confirmed = ending.proof.judged.get(name)
    return {**_plain(shown), **({"confirmed": _plain(confirmed)} if confirmed else {})}


def _winner_timings(ending: Ending) -> list[Any]:
    name = "baseline" if ending.proof.winner.is_source else ending.proof.winner.id
    return [_plain(timing) for timing in ending.proof.benchmark.timings[name]]


def _cost(request: OptimizeRequest, ending: Ending) -> dict[str, Any]:
    """CPU seconds, and money if the pool has a price, for 1000 requests at the batch size that decides."""
    batch = deciding_batch(ending.bench)
    before, after = ending.proof.baseline(batch).cpu_us / 1e3, ending.proof.timing(batch).cpu_us / 1e3
    cost: dict[str, Any] = {
        "cpuSecondsPer1k": {"before": before, "after": after},
        "savingPercent": 100 * (1 - after / before),
    }
    if request.price_per_hour is not None:
        rate = request.price_per_hour / 3600 / max(1, ending.host.cores)
        cost["pricePer1k"] = {"before": before * rate, "after": after * rate}
    return cost


def _reproduction(request: OptimizeRequest) -> dict[str, Any]:
    """The request without its places: URIs name hosts and buckets, which an artifact need not tell."""
    left_out = {"source", "calibration", "evaluation", "store", "fetching"}
    return {key: value for key, value in _plain(request).items() if key not in left_out}


def _figures(timing: Timing, size: int) -> Figures:
    return Figures(
        latency_p50_us=round(timing.wall_p50_us, 1),
        latency_p99_us=round(timing.wall_p99_us, 1),
        cpu_us=round(timing.cpu_us, 1),
        size_bytes=size,
    )


def _plain(message: Any, leave_out: tuple[str, ...] = ()) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(message.to_json())
    return {key: value for key, value in document.items() if key not in leave_out}


def _rounded(value: Any) -> Any:
    """Floats to the digits that mean something."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, list):
        return [_rounded(inner) for inner in value]  # pyright: ignore[reportUnknownVariableType]
    return value

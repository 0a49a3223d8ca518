"""From a spec to the request of an optimize Job: the same translation in a cluster and without one."""

from collections.abc import Mapping
from dataclasses import dataclass

from modelwright.api.fields import seconds
from modelwright.api.model import ModelSpec
from modelwright.contract.request import (
    Data,
    Fetching,
    Location,
    OptimizeRequest,
    PerformanceGate,
    QualityGate,
    Store,
)


@dataclass(frozen=True)
class Place:
    """Where the work is done, which a spec alone does not say.

    Attributes:
        model: Triton's name of the model.
        hardware_class: Of the pool.
        store: Where artifacts live.
        fetching: Rules for opening a URI.
        price_per_hour: Of one replica on the pool.
    """

    model: str
    hardware_class: str
    store: Store
    fetching: Fetching
    price_per_hour: float | None = None


def locations(spec: ModelSpec) -> dict[str, Location]:
    """What the spec names: `source`, and `calibration` and `evaluation` if set."""
    found = {"source": Location(uri=spec.model.uri, digest=spec.model.digest)}
    for name, data in (
        ("calibration", spec.optimization.calibration),
        ("evaluation", spec.optimization.evaluation),
    ):
        if data:
            found[name] = Location(uri=data.uri, digest=data.digest)
    return found


def optimize_request(spec: ModelSpec, place: Place, digests: Mapping[str, str | None], key: str) -> OptimizeRequest:
    """The request.

    Args:
        spec: What the user asks for.
        place: Where it is done.
        digests: Of everything in `locations`, as resolved.
        key: Identity of the work.
    """
    asked = spec.optimization
    found = {name: Location(uri=each.uri, digest=digests.get(name)) for name, each in locations(spec).items()}
    calibration, evaluation = asked.calibration, asked.evaluation
    return OptimizeRequest(
        model=place.model,
        key=key,
        source=found["source"],
        calibration=calibration
        and Data(location=found["calibration"], max_samples=calibration.max_samples, seed=calibration.seed),
        evaluation=evaluation and Data(location=found["evaluation"], metric=evaluation.metric),
        mode=asked.mode,
        target=asked.target,
        techniques=asked.techniques,
        quality=QualityGate(max_drop=asked.gates.quality.max_drop, confidence=asked.gates.quality.confidence),
        performance=PerformanceGate(min_speedup=asked.gates.performance.min_speedup),
        on_failure=asked.on_failure,
        batch_sizes=asked.workload.batch_sizes,
        max_trials=asked.budget.max_trials,
        max_seconds=seconds(asked.budget.max_duration),
        hardware_class=place.hardware_class,
        price_per_hour=place.price_per_hour,
        store=place.store,
        fetching=place.fetching,
    )

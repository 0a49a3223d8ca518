"""From URIs to digests: given ones are taken, others are resolved by a Job; the answer is kept in `status.source`."""

from modelwright import naming
from modelwright.api.conditions import Reason
from modelwright.api.model import ModelSpec
from modelwright.api.status import SourceStatus
from modelwright.contract import digest
from modelwright.contract.asking import locations
from modelwright.contract.request import Fetching, ResolveRequest
from modelwright.contract.result import ResolveResult
from modelwright.core.resolve import Resolved
from modelwright.core.work import Work


def inputs_hash(spec: ModelSpec) -> str:
    """Identity of what is to be resolved: the same URIs and given digests need no new answer."""
    named = {name: location.model_dump(mode="json") for name, location in locations(spec).items()}
    secret = spec.model.storage.secret_ref.name if spec.model.storage and spec.model.storage.secret_ref else ""
    return digest.of_json({"locations": named, "secret": secret})


def given(spec: ModelSpec) -> SourceStatus | None:
    """The source as the spec itself pins it; None if a digest is missing."""
    found = locations(spec)
    if any(location.digest is None for location in found.values()):
        return None
    return _status(spec, {name: location.digest for name, location in found.items()})


def known(spec: ModelSpec, previous: SourceStatus | None) -> SourceStatus | None:
    """The digests if nothing needs to be resolved: pinned by the spec, or resolved before."""
    if previous and previous.inputs_hash == inputs_hash(spec):
        return previous
    return given(spec)


def work(spec: ModelSpec) -> Work:
    """The resolve Job's work."""
    terms = digest.of_json({"account": spec.optimization.job.service_account_name})
    return Work(naming.STAGE_RESOLVE, inputs_hash(spec), Reason.RESOLVE_FAILED, digest.short(terms))


def request(spec: ModelSpec, resolved: Resolved) -> ResolveRequest:
    """What the resolve Job is asked."""
    found = locations(spec)
    return ResolveRequest(
        source=found["source"],
        calibration=found.get("calibration"),
        evaluation=found.get("evaluation"),
        fetching=fetching(resolved),
    )


def fetching(resolved: Resolved) -> Fetching:
    """The policy's rules for opening a URI."""
    sources = resolved.policy.spec.sources
    return Fetching(schemes=sources.schemes, insecure_registries=sources.insecure_registries)


def answered(spec: ModelSpec, result: ResolveResult) -> SourceStatus | None:
    """The source as the Job resolved it; given digests stand."""
    if result.source is None:
        return None
    found = {name: location.digest for name, location in locations(spec).items()}
    found["source"] = found["source"] or result.source
    for name, value in (("calibration", result.calibration), ("evaluation", result.evaluation)):
        if name in found:
            found[name] = found[name] or value
    return _status(spec, found)


def _status(spec: ModelSpec, digests: dict[str, str | None]) -> SourceStatus:
    return SourceStatus(
        uri=spec.model.uri,
        digest=digests["source"] or "",
        calibration=digests.get("calibration"),
        evaluation=digests.get("evaluation"),
        inputs_hash=inputs_hash(spec),
    )

"""Why a spec is not accepted: named checks in the order in which they are asked. Read the list as the specification."""

from collections.abc import Callable

from modelwright import naming
from modelwright.api.conditions import Finding, Reason
from modelwright.api.model import ModelSpec
from modelwright.core.resolve import chosen_policy, find_pool, optimization_pool_name
from modelwright.core.snapshot import ObservedModel, ObservedPolicy, Snapshot

Check = Callable[[ObservedModel, ModelSpec, ObservedPolicy], Finding | None]


def accepted(snapshot: Snapshot) -> Finding | None:
    """The first thing that is wrong with the spec, or None."""
    model = snapshot.model
    if model.invalid or model.spec is None:
        return model.invalid or Finding(Reason.INVALID_SPEC, "the spec cannot be read")
    policy = chosen_policy(snapshot.policies)
    if policy is None:
        return Finding(
            Reason.POLICY_NOT_FOUND,
            "no ServingPolicy exists, so there is no pool and no artifact store.",
            "Install the chart's default policy or apply one.",
            terminal=False,
        )
    found = (check(model, model.spec, policy) for check in CHECKS)
    return next((finding for finding in found if finding), None)


def name_fits(model: ObservedModel, spec: ModelSpec, policy: ObservedPolicy) -> Finding | None:
    """Children carry the name and a suffix, and the client Service carries it as it is."""
    del spec, policy
    limit = naming.MODEL_NAME_LIMIT
    if len(model.name) <= limit and "." not in model.name and model.name[0].isalpha():
        return None
    return Finding(
        Reason.INVALID_SPEC,
        f"metadata.name has {len(model.name)} characters or is no DNS label; the limit is {limit}.",
        "Create the model under a shorter name of lower-case letters, digits and `-` that starts with a letter.",
    )


def pools_exist(model: ObservedModel, spec: ModelSpec, policy: ObservedPolicy) -> Finding | None:
    """Both pools that the spec names are in the policy."""
    del model
    fields = {"spec.serving.pool": spec.serving.pool, "spec.optimization.pool": optimization_pool_name(spec)}
    for path, name in fields.items():
        if find_pool(policy, name) is None:
            known = ", ".join(pool.name for pool in policy.spec.pools)
            return Finding(
                Reason.POOL_NOT_FOUND,
                f"{path} names {name}, which ServingPolicy {policy.name} does not have.",
                f"Use one of: {known}.",
            )
    return None


def schemes_allowed(model: ObservedModel, spec: ModelSpec, policy: ObservedPolicy) -> Finding | None:
    """Every URI has a scheme that the policy allows."""
    del model
    allowed = policy.spec.sources.schemes
    for path, uri in uris(spec).items():
        scheme = uri.partition(":")[0]
        if scheme not in allowed:
            return Finding(
                Reason.UNSUPPORTED_SCHEME,
                f"{path} uses the scheme {scheme}, which ServingPolicy {policy.name} does not allow.",
                f"Use one of: {', '.join(allowed)}.",
            )
    return None


def batching_agrees(model: ObservedModel, spec: ModelSpec, policy: ObservedPolicy) -> Finding | None:
    """A preferred batch size is no larger than the largest batch."""
    del model, policy
    serving = spec.serving
    if serving.max_batch_size is None or serving.dynamic_batching is None:
        return None
    largest = max(serving.dynamic_batching.preferred_batch_sizes, default=0)
    if largest <= serving.max_batch_size:
        return None
    return Finding(
        Reason.INVALID_SPEC,
        f"spec.serving.dynamicBatching.preferredBatchSizes has {largest}, more than "
        f"spec.serving.maxBatchSize {serving.max_batch_size}.",
        "Raise maxBatchSize or drop the preferred size.",
    )


def uris(spec: ModelSpec) -> dict[str, str]:
    """Every URI of the spec by the path of its field."""
    optimization = spec.optimization
    found = {"spec.model.uri": spec.model.uri}
    if optimization.calibration:
        found["spec.optimization.calibration.uri"] = optimization.calibration.uri
    if optimization.evaluation:
        found["spec.optimization.evaluation.uri"] = optimization.evaluation.uri
    return found


CHECKS: tuple[Check, ...] = (name_fits, pools_exist, schemes_allowed, batching_agrees)

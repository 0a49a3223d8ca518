"""Jobs as core asks render for them, stamped."""

from collections.abc import Mapping
from typing import Any

from modelwright.api.model import ModelSpec
from modelwright.api.policy import SecretRef
from modelwright.contract.request import OptimizeRequest
from modelwright.core import source
from modelwright.core.resolve import Resolved
from modelwright.core.snapshot import ObservedModel, Snapshot
from modelwright.render.job import render_optimize_job, render_resolve_job
from modelwright.render.revision import Owner
from modelwright.render.stamp import stamped


def owner(model: ObservedModel) -> Owner:
    """The model as the owner of its children."""
    return Owner(model.namespace, model.name, model.uid)


def resolve_job(snapshot: Snapshot, spec: ModelSpec, resolved: Resolved, name: str) -> Mapping[str, Any]:
    """The Job that turns the spec's URIs into digests."""
    return stamped(
        render_resolve_job(
            owner(snapshot.model),
            name,
            source.request(spec, resolved),
            image=snapshot.images.operator,
            secret=_secret(spec),
            service_account=spec.optimization.job.service_account_name,
        )
    )


def optimize_job(
    snapshot: Snapshot, spec: ModelSpec, resolved: Resolved, request: OptimizeRequest, name: str
) -> Mapping[str, Any]:
    """The Job that turns the source into an artifact."""
    return stamped(
        render_optimize_job(
            owner(snapshot.model),
            name,
            request,
            image=snapshot.images.optimizer,
            pool=resolved.optimization_pool,
            job=spec.optimization.job,
            secret=_secret(spec),
            store_secret=store_secret(resolved),
        )
    )


def store_secret(resolved: Resolved) -> SecretRef | None:
    """The Secret with the artifact store's login."""
    return resolved.policy.spec.optimization.artifact_store.secret_ref


def _secret(spec: ModelSpec) -> SecretRef | None:
    return spec.model.storage.secret_ref if spec.model.storage else None

"""Roles rebuilt from children when status was lost: a restore without status must not look like a first deployment."""

from dataclasses import replace

from modelwright import naming
from modelwright.api.status import RevisionStatus
from modelwright.core.roles import deployment_of
from modelwright.core.snapshot import ObservedModel, Snapshot


def recovered(snapshot: Snapshot) -> Snapshot:
    """The snapshot with stable put back, if children know one and status does not."""
    status = snapshot.model.status
    if status.stable or status.candidate:
        return snapshot
    service = snapshot.child("Service", naming.label_value(snapshot.model.name))
    revision = service.labels.get(naming.LABEL_REVISION, "") if service else ""
    deployment = deployment_of(snapshot, revision) if revision else None
    if deployment is None or deployment.owner_uid != snapshot.model.uid:
        return snapshot
    stable = RevisionStatus(
        hash=revision,
        artifact=deployment.annotations.get(naming.ANNOTATION_ARTIFACT, ""),
        source=deployment.annotations.get(naming.ANNOTATION_SOURCE, ""),
        since=deployment.created,
    )
    model: ObservedModel = replace(snapshot.model, status=status.model_copy(update={"stable": stable}))
    return replace(snapshot, model=model)

"""The one writer of status: the difference as a merge patch, refused by the server if the object changed since."""

from collections.abc import Mapping
from typing import Any, cast

from modelwright import naming
from modelwright.cluster import kinds
from modelwright.cluster.client import MERGE_PATCH, Client
from modelwright.cluster.kinds import Key
from modelwright.cluster.owned import Models
from modelwright.core.snapshot import ObservedModel

Json = Mapping[str, Any]


async def patch_status(client: Client, models: Models, model: ObservedModel, status: Json | None) -> bool:
    """Make the status what it shall be; whether that took a write.

    Raises:
        Conflict: The object changed since it was observed.
    """
    change = difference(model.status_json, status) if status is not None else {}
    if not change:
        return False
    key = Key(model.namespace, model.name)
    answer = await client.request(
        "PATCH",
        kinds.MODEL.path(key.namespace, key.name, "status"),
        params={"fieldManager": naming.FIELD_MANAGER},
        body={"metadata": {"resourceVersion": model.resource_version}, "status": change},
        content_type=MERGE_PATCH,
    )
    models.upsert(answer)
    return True


def difference(old: Json, new: Json) -> dict[str, Any]:
    """The merge patch (RFC 7386) that turns `old` into `new`; empty if they are equal. None counts as absent."""
    change: dict[str, Any] = {key: None for key, value in old.items() if value is not None and new.get(key) is None}
    for key, value in new.items():
        before = old.get(key)
        if value is None or value == before:
            continue
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            inner = difference(cast("Json", before), cast("Json", value))
            if inner:
                change[key] = inner
        else:
            change[key] = _without_nulls(value)
    return change


def _without_nulls(value: Any) -> Any:
    """A new value as the server will store it: in a merge patch a null deletes."""
    if isinstance(value, Mapping):
        return {k: _without_nulls(v) for k, v in cast("Json", value).items() if v is not None}
    return value

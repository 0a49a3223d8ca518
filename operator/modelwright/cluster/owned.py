"""Our own two kinds, as the event feed and the answers to our writes show them.

Objects are parsed when a pass first looks at them, and a spec only once per generation.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from pydantic import ValidationError

from modelwright import naming
from modelwright.api.conditions import Finding, Reason, bounded
from modelwright.api.model import ModelSpec
from modelwright.api.policy import PolicySpec
from modelwright.api.status import ModelStatus
from modelwright.cluster.kinds import Key
from modelwright.cluster.project import Body, part
from modelwright.cluster.store import Group, version_of
from modelwright.contract import digest
from modelwright.core.snapshot import ObservedModel, ObservedPolicy

log = logging.getLogger(__name__)
_OURS = f"{naming.GROUP}/"


class Seen(NamedTuple):
    """What a list says of one object."""

    uid: str
    version: int


class Changed(Protocol):
    """Who is told of a model that came, went or changed."""

    def __call__(self, key: Key, *, by_person: bool) -> None:
        """`by_person`: not by a mere status write."""


@dataclass
class _Entry:
    """One OptimizedModel: its body until it is parsed, the result afterwards."""

    uid: str
    version: int
    cause: tuple[Any, ...]
    body: Body | None
    observed: ObservedModel | None = None


class Models:
    """All OptimizedModels."""

    def __init__(self, changed: Changed) -> None:
        self._changed = changed
        self._entries: dict[Key, _Entry] = {}
        self._groups: dict[Group, Key] = {}
        self._buried: dict[str, Key] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def keys(self) -> tuple[Key, ...]:
        """All of them."""
        return tuple(self._entries)

    def key_of(self, group: Group) -> Key | None:
        """Whose children carry that label."""
        return self._groups.get(group)

    def versions(self) -> dict[Key, Seen]:
        """What is known of each."""
        return {key: Seen(entry.uid, entry.version) for key, entry in self._entries.items()}

    def upsert(self, body: Body) -> None:
        """Take in an object, unless a newer one is known or it is known to be gone."""
        key, uid, version = _key(body), body["metadata"]["uid"], version_of(body)
        known = self._entries.get(key)
        if uid in self._buried or (known and version <= known.version):
            return
        entry = _Entry(uid, version, _cause(body), body)
        if known and known.uid == uid:
            entry.observed = known.observed
        self._entries[key] = entry
        self._groups[group_of(key)] = key
        self._changed(key, by_person=known is None or known.cause != entry.cause)

    def remove(self, key: Key, uid: str) -> None:
        """Take in that an object is gone. It is over for its UID, whatever an old event or answer says."""
        self._buried[uid] = key
        if len(self._buried) > 4096:
            del self._buried[next(iter(self._buried))]
        known = self._entries.get(key)
        if known and known.uid == uid:
            del self._entries[key]
            self._groups.pop(group_of(key), None)
            self._changed(key, by_person=True)

    def get(self, key: Key) -> ObservedModel | None:
        """The model as it is known now."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.body is not None:
            entry.observed, entry.body = _parsed(entry.body, entry.observed), None
        return entry.observed


class Policies:
    """All ServingPolicies. A policy that cannot be parsed is left out, and logged."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._versions: dict[Key, Seen] = {}
        self._policies: dict[str, ObservedPolicy] = {}
        self._sorted: tuple[ObservedPolicy, ...] = ()

    def all(self) -> tuple[ObservedPolicy, ...]:
        """All of them, the one that decides first."""
        return self._sorted

    def versions(self) -> dict[Key, Seen]:
        """What is known of each."""
        return dict(self._versions)

    def upsert(self, body: Body) -> None:
        """Take in a policy, unless a newer one is known."""
        metadata = body["metadata"]
        key, version = Key("", metadata["name"]), version_of(body)
        if key in self._versions and version <= self._versions[key].version:
            return
        self._versions[key] = Seen(metadata["uid"], version)
        self._keep(key.name, _policy(body))

    def remove(self, key: Key, uid: str) -> None:
        """Take in that a policy is gone."""
        if key in self._versions and self._versions[key].uid == uid:
            del self._versions[key]
            self._keep(key.name, None)

    def _keep(self, name: str, policy: ObservedPolicy | None) -> None:
        before = self._policies.pop(name, None)
        if policy:
            self._policies[name] = policy
        self._sorted = tuple(sorted(self._policies.values(), key=lambda p: (-p.spec.priority, p.name)))
        if before != policy:
            self._changed()


def group_of(key: Key) -> Group:
    """Where the children of a model are indexed."""
    return Group(key.namespace, naming.label_value(key.name))


def _key(body: Body) -> Key:
    metadata = body["metadata"]
    return Key(metadata["namespace"], metadata["name"])


def _annotations(metadata: Body) -> dict[str, str]:
    return {k: v for k, v in part(metadata, "annotations").items() if k.startswith(_OURS)}


def _cause(body: Body) -> tuple[Any, ...]:
    """What only people change."""
    metadata = body["metadata"]
    return metadata["uid"], metadata.get("generation"), "deletionTimestamp" in metadata, _annotations(metadata)


def _parsed(body: Body, before: ObservedModel | None) -> ObservedModel:
    metadata = body["metadata"]
    generation = metadata.get("generation", 0)
    if before and before.generation == generation:
        spec, invalid = before.spec, before.invalid
    else:
        spec, invalid = _spec(part(body, "spec"))
    status_json = part(body, "status")
    return ObservedModel(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        generation=generation,
        resource_version=metadata.get("resourceVersion", ""),
        deleting="deletionTimestamp" in metadata,
        annotations=_annotations(metadata),
        spec=spec,
        status=_status(status_json, _key(body)),
        status_json=status_json,
        invalid=invalid,
    )


def _spec(spec: Body) -> tuple[ModelSpec | None, Finding | None]:
    try:
        return ModelSpec.model_validate(spec), None
    except ValidationError as error:
        message = "; ".join(_complaints(error, "spec"))
        return None, Finding(Reason.INVALID_SPEC, bounded(message, 600), "Correct the fields that are named.")


def _status(status: Body, key: Key) -> ModelStatus:
    """A status that somebody spoilt counts as lost: it is rebuilt from the children."""
    try:
        return ModelStatus.model_validate(status)
    except ValidationError as error:
        log.warning("%s: status cannot be read, starting from an empty one: %s", key, list(_complaints(error)))
        return ModelStatus()


def _policy(body: Body) -> ObservedPolicy | None:
    name, spec = body["metadata"]["name"], part(body, "spec")
    try:
        return ObservedPolicy(name, PolicySpec.model_validate(spec), digest.of_json(spec))
    except ValidationError as error:
        log.warning("ServingPolicy %s is ignored: %s", name, "; ".join(_complaints(error, "spec")))
        return None


def _complaints(error: ValidationError, root: str = "status") -> Iterable[str]:
    for problem in error.errors(include_url=False, include_context=False):
        where = ".".join((root, *(str(step) for step in problem["loc"])))
        yield f"`{where}`: {problem['msg']} (found {str(problem['input'])[:80]!r})"


def gone(known: Mapping[Key, Seen], listed: Mapping[Key, Seen], version: int) -> list[Key]:
    """Keys that are known but were not in a list of that version, or were with another UID."""
    return [
        name
        for name, seen in known.items()
        if seen.version <= version and (name not in listed or listed[name].uid != seen.uid)
    ]

"""Carries out a plan's actions: independent of each other, in parallel, each at most one request as a rule.

A child that the caches do not have is applied with a resourceVersion that no object can have: the server then
creates it or answers 409, and never changes an object that somebody else made under that name. A child that is
known is applied with its UID, so that only that very object is changed.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, assert_never

from modelwright import naming
from modelwright.cluster import kinds
from modelwright.cluster.cache import Cache
from modelwright.cluster.classify import NOT_FOUND
from modelwright.cluster.client import APPLY_PATCH, MERGE_PATCH, Client
from modelwright.cluster.project import child
from modelwright.core.plan import Action, Apply, Delete, Scale
from modelwright.core.snapshot import ApplyError, ObservedModel
from modelwright.errors import ClusterError, Conflict, Forbidden, Rejected

PARALLEL = 8
"""Writes of one pass at a time; several passes share the client's pool."""

_NEVER = "1"
"""No object has this resourceVersion: the first thing a new etcd stores is not one of ours."""

_FORCE = {"fieldManager": naming.FIELD_MANAGER, "force": "true"}


@dataclass(frozen=True)
class Outcome:
    """What became of a plan's actions.

    Attributes:
        wrote: Whether anything was changed.
        errors: What the server did not do, the gravest for the caller to raise among them.
        refused: What of it concerns a right or the object itself, for status.
    """

    wrote: bool
    errors: tuple[ClusterError, ...] = ()
    refused: tuple[ApplyError, ...] = ()


@dataclass(frozen=True)
class Applier:
    """Writes children."""

    client: Client
    cache: Cache

    async def carry_out(self, model: ObservedModel, actions: tuple[Action, ...]) -> Outcome:
        """Carry out all actions; one that fails keeps no other from being tried."""
        if not actions:
            return Outcome(wrote=False)
        slots = asyncio.Semaphore(PARALLEL)

        async def one(action: Action) -> ClusterError | None:
            async with slots:
                try:
                    await self._act(model, action)
                except ClusterError as error:
                    return error
                return None

        results = await asyncio.gather(*(one(action) for action in actions))
        failed = [(action, error) for action, error in zip(actions, results, strict=True) if error]
        refusals = (_refusal(action, error) for action, error in failed)
        return Outcome(
            wrote=len(failed) < len(actions),
            errors=tuple(error for _, error in failed),
            refused=tuple(refusal for refusal in refusals if refusal),
        )

    async def _act(self, model: ObservedModel, action: Action) -> None:
        match action:
            case Apply(body):
                await self._apply(model, body)
            case Scale(name, replicas):
                await self._scale(model.namespace, name, replicas)
            case Delete():
                await self._delete(model.namespace, action)
            case _:
                assert_never(action)

    async def _apply(self, model: ObservedModel, body: Mapping[str, Any]) -> None:
        kind, name = kinds.BY_NAME[body["kind"]], body["metadata"]["name"]
        known = self.cache.find(kind.name, model.namespace, name)
        precondition = {"uid": known.uid} if known else {"resourceVersion": _NEVER}
        try:
            await self._send(kind, model.namespace, body, precondition)
        except Rejected as error:
            if known and "metadata.uid" in str(error):
                raise Conflict(f"{kind.name} {name} is another object by now", status=error.status) from error
            raise
        except Conflict:
            if known:
                raise
            uid = await self._ours(kind, model, name)
            await self._send(kind, model.namespace, body, {"uid": uid})

    async def _send(
        self, kind: kinds.Kind, namespace: str, body: Mapping[str, Any], precondition: Mapping[str, str]
    ) -> None:
        metadata = {**body["metadata"], **precondition}
        answer = await self.client.request(
            "PATCH",
            kind.path(namespace, metadata["name"]),
            params=_FORCE,
            body={**body, "metadata": metadata},
            content_type=APPLY_PATCH,
        )
        self.cache.wrote(kind.name, answer)

    async def _ours(self, kind: kinds.Kind, model: ObservedModel, name: str) -> str:
        """UID of an object that exists though the caches do not have it, if this model controls it.

        It may have been made a moment ago, or have lost our labels.
        """
        live = await self.client.request("GET", kind.path(model.namespace, name))
        found = child(kind.name, live)
        if found.owner_uid == model.uid:
            return found.uid
        raise Taken(f"{kind.name} {name} exists and is not controlled by this {naming.MODEL_KIND}", status=409)

    async def _scale(self, namespace: str, name: str, replicas: int) -> None:
        await self.client.request(
            "PATCH",
            kinds.DEPLOYMENT.path(namespace, name, "scale"),
            params={"fieldManager": naming.FIELD_MANAGER},
            body={"spec": {"replicas": replicas}},
            content_type=MERGE_PATCH,
        )
        self.cache.scaled(namespace, name, replicas)

    async def _delete(self, namespace: str, action: Delete) -> None:
        options = {"propagationPolicy": "Background", "preconditions": {"uid": action.uid}}
        path = kinds.BY_NAME[action.kind].path(namespace, action.name)
        try:
            await self.client.request("DELETE", path, body=options)
        except ClusterError as error:
            # Gone already, or another object by now: either way the one that was meant is no more.
            if error.status not in (NOT_FOUND, 409):
                raise
        self.cache.deleted(action.kind, namespace, action.name, action.uid)


class Taken(Rejected):
    """The name belongs to an object of somebody else's."""


def _refusal(action: Action, error: ClusterError) -> ApplyError | None:
    if not isinstance(error, Forbidden | Rejected):
        return None
    match action:
        case Apply(body):
            kind, name = body["kind"], body["metadata"]["name"]
        case Scale(name):
            kind = kinds.DEPLOYMENT.name
        case Delete(kind, name):
            pass
        case _:
            assert_never(action)
    return ApplyError(kind, name, isinstance(error, Forbidden), str(error), foreign=isinstance(error, Taken))

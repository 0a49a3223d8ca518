"""What kopf calls: a login, and for each event of our own kinds one call that hands it to the feed. Nothing else."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import kopf

from modelwright import naming
from modelwright.cluster.credentials import Credentials
from modelwright.runtime.feed import Feed

STALE_TOKEN_SECONDS = 60.0
LOOK_AGAIN_SECONDS = 2.0


def build_registry(feed: Feed, login: Callable[[], Credentials]) -> kopf.OperatorRegistry:
    """What kopf is to call."""
    registry = kopf.OperatorRegistry()
    connect = _Login(login)

    async def log_in(**_: Any) -> kopf.ConnectionInfo:
        return await connect()

    async def on_model(event: kopf.RawEvent, **_: Any) -> None:
        feed.take(feed.models, event)

    async def on_policy(event: kopf.RawEvent, **_: Any) -> None:
        feed.take(feed.policies, event)

    kopf.on.login(registry=registry, errors=kopf.ErrorsMode.TEMPORARY, backoff=LOOK_AGAIN_SECONDS)(log_in)
    kopf.on.event(naming.GROUP, naming.VERSION, naming.MODEL_PLURAL, registry=registry)(on_model)
    kopf.on.event(naming.GROUP, naming.VERSION, naming.POLICY_PLURAL, registry=registry)(on_policy)
    return registry


class _Login:
    """Logs in. kopf ends the process if it is given refused credentials again, so a renewed token is waited for."""

    def __init__(self, load: Callable[[], Credentials]) -> None:
        self._load = load
        self._last: Credentials | None = None

    async def __call__(self) -> kopf.ConnectionInfo:
        looks = round(STALE_TOKEN_SECONDS / LOOK_AGAIN_SECONDS)
        for _ in range(looks):
            found = await asyncio.to_thread(self._load)
            if found != self._last:
                break
            await asyncio.sleep(LOOK_AGAIN_SECONDS * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load
        else:
            message = "the API server refused these credentials, and there are no others yet"
            raise kopf.TemporaryError(message, delay=LOOK_AGAIN_SECONDS)
        self._last = found
        return _connection(found)


def _connection(found: Credentials) -> kopf.ConnectionInfo:
    return kopf.ConnectionInfo(
        server=found.server,
        ca_data=found.ca or None,
        insecure=found.insecure,
        certificate_data=found.certificate or None,
        private_key_data=found.key or None,
        token=found.token or None,
        username=found.username or None,
        password=found.password or None,
        default_namespace=found.namespace,
    )

"""The environment, read once into a frozen Settings. Every variable begins with ``MODELWRIGHT_``."""

import os
import socket
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from modelwright import naming
from modelwright.core.snapshot import Images
from modelwright.errors import ModelwrightError

PREFIX = "MODELWRIGHT_"
LONGEST_RESYNC = 300.0
LogFormat = Literal["json", "text"]


class SettingsError(ModelwrightError):
    """A variable is missing or cannot be read."""


@dataclass(frozen=True)
class Settings:
    """How the operator was started.

    Attributes:
        namespaces: Namespaces it serves; empty for all (``NAMESPACES``, separated by commas).
        images: Its own image and the optimizer's (``OPERATOR_IMAGE``, ``OPTIMIZER_IMAGE``).
        workers: Passes at a time (``WORKERS``).
        leader_election: Whether replicas take turns (``LEADER_ELECTION``).
        lease_name: Name of the Lease (``LEASE_NAME``).
        lease_namespace: Its namespace (``LEASE_NAMESPACE``); empty for the one the operator runs in.
        identity: Who holds it (``IDENTITY``); by default host name and a random part.
        metrics_port: Port of ``/metrics`` (``METRICS_PORT``).
        health_port: Port of ``/healthz`` and ``/readyz`` (``HEALTH_PORT``).
        log_format: ``json`` or ``text`` (``LOG_FORMAT``).
        log_level: Least severe level that is logged (``LOG_LEVEL``).
        resync: Seconds between looks at every model, at most `LONGEST_RESYNC` (``RESYNC_SECONDS``).
    """

    namespaces: tuple[str, ...]
    images: Images
    workers: int
    leader_election: bool
    lease_name: str
    lease_namespace: str
    identity: str
    metrics_port: int
    health_port: int
    log_format: LogFormat
    log_level: str
    resync: float


def load(environ: Mapping[str, str] = os.environ) -> Settings:
    """Settings from the environment."""
    read = _Reader(environ)
    return Settings(
        namespaces=tuple(filter(None, (part.strip() for part in read.text("NAMESPACES").split(",")))),
        images=Images(operator=read.required("OPERATOR_IMAGE"), optimizer=read.required("OPTIMIZER_IMAGE")),
        workers=read.number("WORKERS", 32, 1, 256),
        leader_election=read.flag("LEADER_ELECTION", default=True),
        lease_name=read.text("LEASE_NAME", naming.COMPONENT),
        lease_namespace=read.text("LEASE_NAMESPACE"),
        identity=read.text("IDENTITY") or f"{socket.gethostname()}_{uuid.uuid4().hex[:8]}",
        metrics_port=read.number("METRICS_PORT", 8080, 0, 65535),
        health_port=read.number("HEALTH_PORT", 8081, 0, 65535),
        log_format="text" if read.one_of("LOG_FORMAT", "json", "text") == "text" else "json",
        log_level=read.one_of("LOG_LEVEL", "INFO", "DEBUG", "WARNING", "ERROR"),
        resync=float(read.number("RESYNC_SECONDS", int(LONGEST_RESYNC), 1, int(LONGEST_RESYNC))),
    )


@dataclass(frozen=True)
class _Reader:
    """Reads variables and says which one is wrong."""

    environ: Mapping[str, str]

    def text(self, name: str, default: str = "") -> str:
        return self.environ.get(PREFIX + name, "").strip() or default

    def required(self, name: str) -> str:
        if found := self.text(name):
            return found
        raise SettingsError(f"{PREFIX}{name} must be set")

    def number(self, name: str, default: int, low: int, high: int) -> int:
        text = self.text(name, str(default))
        if not text.isdecimal() or not low <= int(text) <= high:
            raise SettingsError(f"{PREFIX}{name} must be a whole number from {low} to {high}, and is {text!r}")
        return int(text)

    def flag(self, name: str, *, default: bool) -> bool:
        return self.one_of(name, str(default).lower(), "true", "false") == "true"

    def one_of(self, name: str, default: str, *others: str) -> str:
        text = self.text(name, default)
        if text not in (default, *others):
            raise SettingsError(f"{PREFIX}{name} must be one of {', '.join((default, *others))}, and is {text!r}")
        return text

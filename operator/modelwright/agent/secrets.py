"""Credentials: a Secret mounted as a folder, one file a key. Values never reach a message."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelwright.errors import InputError

DOCKER_CONFIG = ".dockerconfigjson"
_FAMILIES = ("AWS_", "GOOGLE_", "AZURE_", "HTTP_")
_HINT = "Create the Secret in the model's namespace under the key names of the docs, or name another one."


@dataclass(frozen=True)
class Secret:
    """Keys and values of a mounted Secret; empty where none was named."""

    folder: Path | None = None
    values: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)

    def some(self, names: tuple[str, ...]) -> dict[str, str]:
        """Those of `names` that the Secret has."""
        return {name: self.values[name] for name in names if name in self.values}

    def require_one_of(self, names: tuple[str, ...], scheme: str) -> None:
        """Refuse a Secret that was named but holds nothing we know.

        One Secret serves a model's source and its data, which may lie in places of different kinds; so keys
        for another kind are fine, and this place is then asked without a login.

        Raises:
            InputError: SecretMissing, naming the keys found and expected.
        """
        known = any(key == DOCKER_CONFIG or key.startswith(_FAMILIES) for key in self.values)
        if self.folder is not None and not known:
            found = ", ".join(sorted(self.values))
            raise InputError(
                "SecretMissing",
                f"The Secret has no key for {scheme}; keys found: {found}.",
                f"Expected one of: {', '.join(names)}.",
            )

    def require_together(self, first: str, second: str) -> None:
        """Refuse one half of a pair of keys.

        Raises:
            InputError: SecretMissing, naming the absent half.
        """
        for present, absent in ((first, second), (second, first)):
            if present in self.values and absent not in self.values:
                raise InputError(
                    "SecretMissing",
                    f"The Secret has the key {present} but not {absent}.",
                    f"Add the key {absent}.",
                )


def read(folder: Path | None) -> Secret:
    """Read a mounted Secret.

    Args:
        folder: Mount point, or None where no Secret was named.

    Raises:
        InputError: SecretMissing, if the folder is absent or empty: the kubelet leaves an optional Secret's
            folder empty when the Secret does not exist.
    """
    if folder is None:
        return Secret()
    if not folder.is_dir():
        raise InputError("SecretMissing", "The Secret named for this source is not mounted.", _HINT)
    # Beside the keys lie the kubelet's `..data` links; a key of our own may begin with one dot.
    keys = [entry for entry in folder.iterdir() if not entry.name.startswith("..") and entry.is_file()]
    if not keys:
        raise InputError("SecretMissing", "The Secret named for this source does not exist or is empty.", _HINT)
    return Secret(folder, {key.name: key.read_text(errors="replace").strip() for key in keys})


def mounted(folder: str) -> Path | None:
    """`folder` if it is mounted. A pod whose model names no Secret has no such mount."""
    path = Path(folder)
    return path if path.is_dir() else None


def docker_login(secret: Secret, host: str) -> tuple[str, str] | None:
    """User and password for a registry from a ``kubernetes.io/dockerconfigjson`` Secret, or None.

    Raises:
        InputError: SecretMissing, if the Secret cannot be read as one.
    """
    text = secret.values.get(DOCKER_CONFIG)
    if text is None:
        return None
    try:
        auths: dict[str, Any] = json.loads(text)["auths"]
        entry = next((auths[key] for key in auths if _registry(key) == host), None)
        return None if entry is None else _login(entry)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(
            "SecretMissing",
            f"The Secret's key {DOCKER_CONFIG} is no Docker configuration.",
            "Make it with `kubectl create secret docker-registry`.",
        ) from None


def _login(entry: Mapping[str, Any]) -> tuple[str, str]:
    if "auth" in entry:
        import base64  # noqa: PLC0415 - only needed with a password

        user, _, password = base64.b64decode(entry["auth"]).decode().partition(":")
        return user, password
    return entry["username"], entry["password"]


def _registry(key: str) -> str:
    """Host of an ``auths`` key, which may be a bare host or a URL."""
    return key.removeprefix("https://").removeprefix("http://").split("/", 1)[0]

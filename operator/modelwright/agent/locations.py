"""A user's URI, taken apart and checked before anything is opened.

| URI | Meaning |
|---|---|
| ``https://host/path`` | one file |
| ``s3://bucket/key``, ``gs://bucket/key``, ``az://container/key`` | an object, or a folder |
| ``oci://host[:port]/repository:tag`` or ``…@sha256:…`` | an artifact |
| ``pvc://claim/path`` | a file or folder of a mounted volume |
| ``file:///path`` | a file or folder of this machine (CLI only) |

A URI that ends in ``/`` names a folder.
"""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import SplitResult, unquote, urlsplit

from modelwright.errors import InputError

_CONTROL = re.compile(r"[\x00-\x20\x7f\\]")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\\]")
_USERINFO = re.compile(r"(?<=://)[^/?#]*@")
_WEB = ("https", "http")


@dataclass(frozen=True)
class Place:
    """A checked URI.

    Attributes:
        scheme: In lower case.
        host: Host with port, bucket, container or claim; empty for ``file``.
        path: Without the leading slash, and without the trailing one of a folder.
        folder: Whether the URI ends in ``/`` or has no path at all.
        uri: As given; for ``https`` it may carry a signed query, so it is never shown.
    """

    scheme: str
    host: str
    path: str
    folder: bool
    uri: str

    @property
    def name(self) -> str:
        """Last segment of the path: the file's name."""
        return PurePosixPath(self.path).name

    def __str__(self) -> str:
        return redacted(self.uri)


def redacted(uri: str) -> str:
    """`uri` without what may be secret: user, password, query and fragment."""
    return _USERINFO.sub("", re.split(r"[?#]", uri, maxsplit=1)[0])


def place(uri: str, schemes: tuple[str, ...]) -> Place:
    """Take `uri` apart.

    Args:
        uri: As the user wrote it.
        schemes: Allowed schemes.

    Raises:
        InputError: UnsupportedScheme or UnsafePath.
    """
    if _CONTROL.search(uri):
        raise unsafe(f"{redacted(_CONTROL.sub('?', uri))} holds a blank, a control character or a backslash.")
    try:
        parts = urlsplit(uri)
        parts.port  # noqa: B018 - a port that is no number is found only when it is asked for
    except ValueError as error:
        raise unsafe(f"{redacted(uri)} is no URI: {error}.") from None
    _check_scheme(parts, uri, schemes)
    _check_parts(parts, uri)
    path = unquote(parts.path) if parts.scheme == "file" else parts.path
    return Place(parts.scheme, parts.netloc, path.strip("/"), path.endswith("/") or not path, uri)


def is_safe_relative(path: str) -> bool:
    """Whether `path` stays below the folder it is relative to, whoever reads it."""
    pure = PurePosixPath(path)
    return bool(path) and not (
        pure.is_absolute() or str(pure) != path or ".." in pure.parts or _UNPRINTABLE.search(path)
    )


def unsafe(message: str) -> InputError:
    """The error for a URI that could reach what it should not."""
    return InputError("UnsafePath", message, "Write scheme://place/path, without user, query or `..`.")


def _check_scheme(parts: SplitResult, uri: str, schemes: tuple[str, ...]) -> None:
    if parts.scheme not in schemes:
        raise InputError(
            "UnsupportedScheme",
            f"{redacted(uri)} has the scheme {parts.scheme or 'none'!r}; allowed are {', '.join(schemes)}.",
            "Use an allowed scheme, or ask whoever owns the ServingPolicy to allow this one.",
        )


def _check_parts(parts: SplitResult, uri: str) -> None:
    if "@" in parts.netloc:
        raise unsafe(f"{redacted(uri)} carries a user or a password; they belong into the Secret.")
    if (parts.query and parts.scheme not in _WEB) or parts.fragment:
        raise unsafe(f"{redacted(uri)} has a query or a fragment, which {parts.scheme} URIs do not know.")
    if not parts.netloc and parts.scheme != "file":
        raise unsafe(f"{redacted(uri)} names no {'host' if parts.scheme in (*_WEB, 'oci') else 'bucket or claim'}.")
    if parts.netloc and parts.scheme == "file":
        raise unsafe(f"{redacted(uri)} names a host; a file URI has three slashes.")
    segments = unquote(parts.path).strip("/").split("/")
    if any(segment in ("..", ".") for segment in segments):
        raise unsafe(f"{redacted(uri)} holds the path segment `..` or `.`.")
    if "" in segments[1:-1]:
        raise unsafe(f"{redacted(uri)} holds an empty path segment.")

"""Fetching what a URI names, and turning a URI into a digest.

Of a folder only these files are taken; whatever else lies there (``model.py``, ``config.pbtxt``, pickles, a
README) is neither copied nor part of the digest:

    .onnx  .onnx_data  .data  .bin  .weights     ONNX models and their external data
    .xml  .bin                                   OpenVINO IR
    .npz  .parquet                               calibration and evaluation data

A single file may have any name: what it holds is for the optimizer's intake to judge, by content. Digests are
those of `modelwright.contract.digest`. Each kind of place is one module: `web`, `buckets`, `packages` (OCI),
`volumes`.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from modelwright.agent import locations, secrets
from modelwright.agent.locations import Place
from modelwright.agent.retry import Silence, retrying
from modelwright.agent.store import new_folder
from modelwright.contract import digest
from modelwright.contract.request import Fetching, Location
from modelwright.errors import InputError, StoreError

MAX_FILES = 1024
"""Most files taken from a folder."""

_WANTED = re.compile(r".*[^/]\.(onnx|onnx_data(_\d+)?|data|bin|weights|xml|npz|parquet)", re.IGNORECASE)


@dataclass(frozen=True)
class Entry:
    """A file of a source.

    Attributes:
        path: Relative to what the URI names, with ``/``.
        size: Bytes, or None if the place does not say before it is read.
        digest: Known before it is read (OCI), or None.
    """

    path: str
    size: int | None = None
    digest: str | None = None


@dataclass(frozen=True)
class Listing:
    """What a URI names.

    Attributes:
        entries: Files, in no order.
        folder: Whether it is a folder, whose digest is one of a tree.
        digest: Of the whole, where the place has a name for it (the manifest's, for OCI).
    """

    entries: Sequence[Entry]
    folder: bool
    digest: str | None = None


class Source(Protocol):
    """A place that was opened."""

    def listing(self) -> Listing:
        """What is there. Raises InputError or StoreError."""
        ...

    def chunks(self, entry: Entry) -> Iterator[bytes]:
        """Content of one file in pieces. Raises InputError or StoreError, also when it ends early."""
        ...


@dataclass(frozen=True)
class Fetched:
    """Files of a source on disk.

    Attributes:
        path: The file if there is just one, else the folder.
        digest: Of the source.
        files: Relative path to ``sha256:<hex>``.
        size_bytes: Sum of the sizes.
    """

    path: Path
    digest: str
    files: Mapping[str, str]
    size_bytes: int


def fetch(location: Location, dest: Path, fetching: Fetching, secret_dir: Path | None = None) -> Fetched:
    """Copy what `location` names into the new folder `dest`: whole and verified, or not at all.

    Args:
        location: URI, and the digest it must have if that is known.
        dest: Must not exist, or be an empty folder.
        fetching: Bounds.
        secret_dir: Mounted Secret of the source, None if none was named.

    Raises:
        InputError: UnsupportedScheme, UnsafePath, SecretMissing, SourceTooLarge, SourceDigestMismatch,
            UnsupportedModel (a folder without a file of a known type).
        StoreError: SourceNotFound, SourceAccessDenied, SourceUnreachable; all retriable.
    """
    source, place = _open(location, fetching, secret_dir)
    with new_folder(dest) as folder:
        listing = _bounded(source.listing(), place, fetching)
        files, size = _take(source, listing, place, fetching, folder)
        found = _digest(listing, files)
        _require(location, found, place)
    only = next(iter(files)) if len(files) == 1 else ""
    return Fetched(dest / only, found, files, size)


def resolve(location: Location, fetching: Fetching, secret_dir: Path | None = None) -> tuple[str, int]:
    """Digest and size in bytes of what `location` names; nothing is written, and no OCI layer is read.

    Raises:
        InputError: As `fetch`.
        StoreError: As `fetch`.
    """
    source, place = _open(location, fetching, secret_dir)
    listing = _bounded(source.listing(), place, fetching)
    if listing.digest is not None:
        found, size = listing.digest, sum(entry.size or 0 for entry in listing.entries)
    else:
        files, size = _take(source, listing, place, fetching, None)
        found = _digest(listing, files)
    _require(location, found, place)
    return found, size


def not_found(what: object) -> StoreError:
    """The error for an absent object. Retriable: the upload may follow."""
    return StoreError(
        "SourceNotFound", f"There is nothing at {what}.", "Check the URI, or upload the file.", retriable=True
    )


def denied(what: object) -> StoreError:
    """The error for a refused login. Retriable: the grant may follow."""
    return StoreError(
        "SourceAccessDenied",
        f"The credentials, or the lack of them, were refused for {what}.",
        "Check spec.model.storage.secretRef and what its user may read.",
        retriable=True,
    )


def unreachable(what: object, why: str) -> StoreError:
    """The error for a place that does not answer as it should."""
    return Silence("SourceUnreachable", f"{what} {why}.", "Check the address; an egress policy may be in the way.")


def _open(location: Location, fetching: Fetching, secret_dir: Path | None) -> tuple[Source, Place]:
    place = locations.place(location.uri, fetching.schemes)
    secret = secrets.read(secret_dir)
    # Imported here: one Job opens one kind of place, and their clients are what takes time to import.
    match place.scheme:
        case "https" | "http":
            from modelwright.agent.web import WebSource  # noqa: PLC0415

            return WebSource(place, fetching, secret), place
        case "s3" | "gs" | "az":
            from modelwright.agent.buckets import BucketSource  # noqa: PLC0415

            return BucketSource(place, fetching, secret), place
        case "oci":
            from modelwright.agent.packages import PackageSource  # noqa: PLC0415

            return PackageSource(place, fetching, secret), place
        case "pvc" | "file":
            from modelwright.agent.volumes import VolumeSource  # noqa: PLC0415

            return VolumeSource(place), place
        case other:
            raise InputError(
                "UnsupportedScheme",
                f"{place} has the scheme {other!r}.",
                "Use s3, gs, az, https, oci or pvc.",
            )


def _bounded(listing: Listing, place: Place, fetching: Fetching) -> Listing:
    """The listing with what is wanted of a folder, within bounds."""
    if not listing.entries:
        raise not_found(place)
    entries = listing.entries
    if listing.folder:
        entries = [entry for entry in entries if _WANTED.fullmatch(entry.path)]
    if not entries:
        names = ", ".join(sorted(entry.path for entry in listing.entries)[:5])
        raise InputError(
            "UnsupportedModel",
            f"The folder {place} has no file of a known type; it has {names}.",
            "Export the model to ONNX or OpenVINO IR, data to Parquet or npz.",
        )
    for entry in entries:
        if not locations.is_safe_relative(entry.path):
            raise locations.unsafe(f"{place} holds the path {entry.path!r}, which leaves its folder.")
    if len(entries) > MAX_FILES:
        raise too_large(place, f"{len(entries)} files", f"{MAX_FILES} files")
    _check_size(place, sum(entry.size or 0 for entry in entries), fetching)
    return Listing(entries, listing.folder, listing.digest)


def _take(
    source: Source, listing: Listing, place: Place, fetching: Fetching, folder: Path | None
) -> tuple[dict[str, str], int]:
    """Read every file, into `folder` if there is one."""
    files: dict[str, str] = {}
    total = 0
    for entry in listing.entries:
        left = fetching.max_bytes - total
        name, size = retrying(lambda entry=entry, left=left: _take_file(source, entry, place, left, folder))
        if size > left:
            raise too_large(place, f"more than {fetching.max_bytes} bytes", f"{fetching.max_bytes} bytes")
        if entry.digest not in (None, name):
            raise _mismatch(f"{entry.path} of {place}", name, str(entry.digest))
        files[entry.path] = name
        total += size
    return files, total


def _take_file(source: Source, entry: Entry, place: Place, left: int, folder: Path | None) -> tuple[str, int]:
    """Digest and size of one file; reading ends as soon as it has more than `left` bytes."""
    seen, size = hashlib.sha256(), 0
    out = None
    if folder is not None:
        target = folder / entry.path
        target.parent.mkdir(parents=True, exist_ok=True)
        out = target.open("wb")
    try:
        for piece in source.chunks(entry):
            size += len(piece)
            if size > left:
                return "", size
            seen.update(piece)
            if out is not None:
                out.write(piece)
    finally:
        if out is not None:
            out.close()
    if entry.size is not None and size != entry.size:
        raise unreachable(place, f"ended after {size} of {entry.size} bytes of {entry.path}")
    return digest.PREFIX + seen.hexdigest(), size


def too_large(place: Place, observed: str, limit: str) -> InputError:
    """The error for a source beyond its bound."""
    return InputError(
        "SourceTooLarge",
        f"{place} has {observed}; the limit is {limit}.",
        "Raise the policy's limit, or serve less.",
    )


def _check_size(place: Place, size: int, fetching: Fetching) -> None:
    if size > fetching.max_bytes:
        raise too_large(place, f"{size} bytes", f"{fetching.max_bytes} bytes")


def _digest(listing: Listing, files: Mapping[str, str]) -> str:
    if listing.digest is not None:
        return listing.digest
    return digest.of_tree(files) if listing.folder else next(iter(files.values()))


def _require(location: Location, found: str, place: Place) -> None:
    if location.digest is not None and location.digest != found:
        raise _mismatch(str(place), found, location.digest)


def _mismatch(what: str, found: str, wanted: str) -> InputError:
    return InputError(
        "SourceDigestMismatch",
        f"{what} has the digest {found}; {wanted} is required.",
        "Name the digest of what is there, or put back what it was.",
    )

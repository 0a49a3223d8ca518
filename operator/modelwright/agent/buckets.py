"""Objects in s3, gs and az, through obstore.

Credentials come from the source's Secret, or from the pod's workload identity where the cluster injects one.
Without either, requests are unsigned (a public bucket): the credentials of the *node*, which a metadata
service would hand out, are not the tenant's, and are asked for only if the Secret says so with
``<CLOUD>_SKIP_SIGNATURE: "false"``.

An endpoint that redirects is followed out of our sight: obstore offers no say in it. What such a server could reach is
bounded by the pod's egress policy alone.
"""

import os
import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import AzureStore, GCSStore, S3Store

from modelwright.agent import transport
from modelwright.agent.locations import Place, unsafe
from modelwright.agent.manifest import CHUNK
from modelwright.agent.secrets import Secret
from modelwright.agent.sources import Entry, Listing, denied, not_found, unreachable
from modelwright.contract.request import Fetching
from modelwright.errors import InputError

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

_STATUS = re.compile(r"status(?: code)?:? (\d{3})")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")
_MAX_LISTED = 16 * 1024


@dataclass(frozen=True)
class Cloud:
    """Keys that a kind of bucket knows.

    Attributes:
        keys: Taken from the Secret; obstore knows them under the same name in lower case.
        identity: Those of them, or of the environment, that prove who we are.
        prefix: Of the keys ``<prefix>_ALLOW_HTTP`` and ``<prefix>_SKIP_SIGNATURE``.
        endpoint: Key that names the server.
    """

    keys: tuple[str, ...]
    identity: tuple[str, ...]
    prefix: str
    endpoint: str


CLOUDS = {
    "s3": Cloud(
        keys=(
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN",
            "AWS_REGION",
            "AWS_ENDPOINT_URL",
            "AWS_VIRTUAL_HOSTED_STYLE_REQUEST",
        ),
        identity=(
            "AWS_ACCESS_KEY_ID",
            "AWS_WEB_IDENTITY_TOKEN_FILE",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        ),
        prefix="AWS",
        endpoint="AWS_ENDPOINT_URL",
    ),
    "gs": Cloud(
        keys=("GOOGLE_SERVICE_ACCOUNT", "GOOGLE_BASE_URL"),
        identity=("GOOGLE_SERVICE_ACCOUNT", "GOOGLE_APPLICATION_CREDENTIALS"),
        prefix="GOOGLE",
        endpoint="GOOGLE_BASE_URL",
    ),
    "az": Cloud(
        keys=(
            "AZURE_STORAGE_ACCOUNT_NAME",
            "AZURE_STORAGE_ACCOUNT_KEY",
            "AZURE_STORAGE_SAS_KEY",
            "AZURE_STORAGE_CLIENT_ID",
            "AZURE_STORAGE_CLIENT_SECRET",
            "AZURE_STORAGE_TENANT_ID",
            "AZURE_STORAGE_ENDPOINT",
        ),
        identity=(
            "AZURE_STORAGE_ACCOUNT_KEY",
            "AZURE_STORAGE_SAS_KEY",
            "AZURE_STORAGE_CLIENT_SECRET",
            "AZURE_FEDERATED_TOKEN_FILE",
        ),
        prefix="AZURE",
        endpoint="AZURE_STORAGE_ENDPOINT",
    ),
}


class BucketSource:
    """An object, or all objects below a prefix."""

    def __init__(self, place: Place, fetching: Fetching, secret: Secret) -> None:
        """Open nothing yet.

        Raises:
            InputError: SecretMissing for a Secret without a key for this kind of bucket, or with half a pair.
        """
        cloud = CLOUDS[place.scheme]
        switches = tuple(f"{cloud.prefix}_{word}" for word in ("ALLOW_HTTP", "SKIP_SIGNATURE"))
        secret.require_one_of((*cloud.keys, *switches), place.scheme)
        secret.require_together("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        self._place = place
        self._timeout = fetching.timeout_seconds
        self._prefix = ""
        self._store = _opened(place, fetching, secret)

    def listing(self) -> Listing:
        """The object; if there is none of that name, what lies below it."""
        with self._failures():
            if not self._place.folder:
                try:
                    found = obstore.head(self._store, self._place.path)
                    self._prefix = self._place.path.removesuffix(self._place.name)
                    return Listing([Entry(self._place.name, found["size"])], folder=False)
                except FileNotFoundError:
                    pass
            self._prefix = f"{self._place.path}/" if self._place.path else ""
            return Listing(list(self._below()), folder=True)

    def chunks(self, entry: Entry) -> Iterator[bytes]:
        """Content of one object."""
        with self._failures():
            found = obstore.get(self._store, self._prefix + entry.path)
            for piece in found.stream(min_chunk_size=CHUNK):
                yield bytes(piece)

    def _below(self) -> Iterator[Entry]:
        seen = 0
        for page in obstore.list(self._store, self._prefix or None, chunk_size=1000):  # pyright: ignore[reportUnknownMemberType]
            for found in page:
                yield Entry(found["path"].removeprefix(self._prefix), found["size"])
            seen += len(page)
            if seen > _MAX_LISTED:
                raise InputError(
                    "SourceTooLarge",
                    f"{self._place} holds more than {_MAX_LISTED} objects.",
                    "Name the model's own folder.",
                )

    @contextmanager
    def _failures(self) -> Generator[None]:
        """Obstore's errors in our words. Its texts quote requests and answers, so they are not passed on."""
        try:
            yield
        except FileNotFoundError:
            raise not_found(self._place) from None
        except (PermissionDeniedError, UnauthenticatedError):
            raise denied(self._place) from None
        except (BaseError, ValueError, OSError) as error:
            raise self._unclear(str(error)) from None
        except BaseException as error:
            # A panic in obstore's Rust is no Exception, and would end the program without an answer.
            if type(error).__name__ != "PanicException":
                raise
            raise unreachable(self._place, "could not be asked at all") from None

    def _unclear(self, text: str) -> Exception:
        status = _STATUS.search(text)
        if status and status[1] in ("401", "403"):
            return denied(self._place)
        if status and status[1] == "404":
            return not_found(self._place)
        if "URL scheme is not allowed" in text or "BadScheme" in text:
            cloud = CLOUDS[self._place.scheme]
            return InputError(
                "UnsupportedScheme",
                f"The endpoint of {self._place} is plain HTTP.",
                f'Use https, or set the Secret\'s key {cloud.prefix}_ALLOW_HTTP to "true".',
            )
        if status:
            return unreachable(self._place, f"answered {status[1]}")
        if "timed out" in text or "TimedOut" in text:
            return unreachable(self._place, f"did not answer within {self._timeout:g} s")
        return unreachable(self._place, "could not be reached, or broke off the connection")


def _opened(place: Place, fetching: Fetching, secret: Secret) -> "ObjectStore":
    """The store, with what is wrong in its settings told by the names of the Secret's keys."""
    cloud = CLOUDS[place.scheme]
    if not _BUCKET.fullmatch(place.host):
        raise unsafe(f"{place} names no bucket: letters, digits, dots and dashes only.")
    if (endpoint := secret.values.get(cloud.endpoint)) is not None:
        parts = urlsplit(endpoint)
        if parts.scheme not in ("https", "http") or not parts.hostname:
            raise _unusable(place, cloud.endpoint)
        transport.check_host(parts.hostname)
    if place.scheme == "az" and "AZURE_STORAGE_ACCOUNT_NAME" not in {*secret.values, *os.environ}:
        raise InputError(
            "SecretMissing",
            f"{place} needs the name of its storage account.",
            "Add the key AZURE_STORAGE_ACCOUNT_NAME to the Secret of spec.model.storage.secretRef.",
        )
    try:
        return _store(place, fetching, secret)
    except (BaseError, ValueError):
        raise _unusable(place, ", ".join(sorted(secret.some(cloud.keys)))) from None


def _unusable(place: Place, keys: str) -> InputError:
    return InputError(
        "SecretMissing", f"What the Secret holds under {keys} is of no use for {place}.", "Check the values' form."
    )


def _store(place: Place, fetching: Fetching, secret: Secret) -> "ObjectStore":
    cloud = CLOUDS[place.scheme]
    config: dict[str, Any] = {key.lower(): value for key, value in secret.some(cloud.keys).items()}
    if "GOOGLE_SERVICE_ACCOUNT" in secret.values and secret.folder is not None:
        config["google_service_account"] = str(secret.folder / "GOOGLE_SERVICE_ACCOUNT")
    known = any(key in secret.values or key in os.environ for key in cloud.identity)
    skip = secret.values.get(f"{cloud.prefix}_SKIP_SIGNATURE", "false" if known else "true")
    options = _client_options(fetching, allow_http=secret.values.get(f"{cloud.prefix}_ALLOW_HTTP", "") == "true")
    retries: RetryConfig = {
        "max_retries": 3,
        "retry_timeout": timedelta(seconds=4 * fetching.timeout_seconds),
        "backoff": {"init_backoff": timedelta(seconds=0.2), "max_backoff": timedelta(seconds=2), "base": 2},
    }
    common: dict[str, Any] = {
        "client_options": options,
        "retry_config": retries,
        "skip_signature": skip == "true",
    }
    match place.scheme:
        case "s3":
            return S3Store(place.host, config=config, **common)  # pyright: ignore[reportArgumentType]
        case "gs":
            return GCSStore(place.host, config=config, **common)  # pyright: ignore[reportArgumentType]
        case _:
            return AzureStore(place.host, config=config, **common)  # pyright: ignore[reportArgumentType]


def _client_options(fetching: Fetching, *, allow_http: bool) -> "ClientConfig":
    bound = timedelta(seconds=fetching.timeout_seconds)
    return {
        "allow_http": allow_http,
        "connect_timeout": bound,
        "read_timeout": bound,
        "timeout": timedelta(days=1),  # of the whole transfer; the Job's own deadline is the shorter one
        "user_agent": "modelwright",
    }

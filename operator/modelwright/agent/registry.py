"""One repository of an OCI registry.

oras pushes and pulls folders of its own making; manifests with an artifact type and streamed, verified blobs
are one layer below that, in its HTTP client (see `login`), which is what this module stands on.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urljoin

import requests

from modelwright.agent import login, secrets, transport
from modelwright.agent.manifest import CHUNK, MAX_BYTES, MEDIA_TYPE, Blob
from modelwright.agent.retry import Silence, retrying
from modelwright.contract import digest
from modelwright.errors import StoreError

_ACCEPT = {"Accept": MEDIA_TYPE}
_MISSING = 404
_REFUSED = (401, 403)
_PASSING = (408, 429)
_LOG = "See the registry's log."


@dataclass(frozen=True)
class Wording:
    """How failures are called: a source and a store use different words of the API.

    Attributes:
        unreachable: Reason when nothing answers.
        denied: Reason when the login is refused.
        corrupt: Reason when content is not what its digest says.
        remedy: What to check after a refused login.
    """

    unreachable: str
    denied: str
    corrupt: str
    remedy: str


STORE_WORDING = Wording(
    unreachable="StoreUnavailable",
    denied="StoreUnavailable",
    corrupt="ArtifactFetchFailed",
    remedy="Check the artifact store's Secret and what its user may do in this repository.",
)


class Repository:
    """A repository, read and written by digest and tag. Every digest is verified here."""

    def __init__(
        self,
        host: str,
        path: str,
        *,
        insecure: bool,
        timeout: float,
        secret: secrets.Secret,
        wording: Wording,
    ) -> None:
        """Open nothing yet.

        Args:
            host: ``host[:port]``.
            path: Repository without tag.
            insecure: Plain HTTP.
            timeout: Seconds for connecting and for each read.
            secret: May hold a Docker configuration; without one, what `docker login` left in the home
                directory is used, else no login.
            wording: Reasons of the errors raised.
        """
        self.name = f"{host}/{path}"
        self._wording = wording
        self._timeout = timeout
        self._client = login.client(host, insecure=insecure, timeout=timeout, secret=secret)
        self._base = f"{'http' if insecure else 'https'}://{host}/v2/{path}"

    def manifest(self, reference: str) -> bytes | None:
        """Bytes of the manifest under a tag or digest, verified against a digest; None if there is none."""
        return retrying(lambda: self._manifest(reference))

    def put_manifest(self, reference: str, data: bytes) -> None:
        """Store a manifest under a tag, replacing what the tag named."""
        retrying(lambda: self._put_manifest(reference, data))

    def put_first(self, reference: str, data: bytes) -> bytes:
        """Store a manifest under a tag that names none; the bytes of the one it names now.

        A registry has no compare-and-set: of two writers within the same moment the later one wins.
        """
        found = self.manifest(reference)
        if found is None:
            self.put_manifest(reference, data)
            found = self.manifest(reference)
        return found or data

    def read(self, blob: Blob) -> bytes:
        """A small blob as a whole."""
        return retrying(lambda: b"".join(self.chunks(blob)))

    def chunks(self, blob: Blob) -> Iterator[bytes]:
        """A blob in pieces; whoever takes them all gets an error if size or digest turn out wrong.

        Raises:
            StoreError: In the words of `Wording`.
        """
        seen, size = hashlib.sha256(), 0
        response = self._ask("GET", f"{self._base}/blobs/{blob.digest}", stream=True)
        try:
            if response.status_code == _MISSING:
                raise self._corrupt(f"the blob {digest.short(blob.digest)} is missing")
            self._require(response, f"the blob {digest.short(blob.digest)}")
            for piece in response.iter_content(CHUNK):
                size += len(piece)
                if size > blob.size:
                    break
                seen.update(piece)
                yield piece
        except transport.NETWORK_ERRORS as error:
            raise self._unreachable(error) from None
        finally:
            response.close()
        if (size, digest.PREFIX + seen.hexdigest()) != (blob.size, blob.digest):
            raise self._corrupt(f"the blob {digest.short(blob.digest)} is not what its digest says")

    def copy(self, blob: Blob, target: Path) -> None:
        """Write a blob to the file `target`."""

        def download() -> None:
            with target.open("wb") as out:
                for piece in self.chunks(blob):
                    out.write(piece)

        retrying(download)

    def put_blob(self, blob: Blob, content: Path | bytes) -> None:
        """Upload content, unless the repository has it."""
        retrying(lambda: self._put_blob(blob, content))

    def _manifest(self, reference: str) -> bytes | None:
        response = self._ask("GET", f"{self._base}/manifests/{reference}", headers=_ACCEPT, stream=True)
        try:
            if response.status_code == _MISSING:
                return None
            self._require(response, f"the manifest {reference}")
            data = _first(response, MAX_BYTES + 1)
        except transport.NETWORK_ERRORS as error:
            raise self._unreachable(error) from None
        finally:
            response.close()
        if len(data) > MAX_BYTES:
            raise self._corrupt(f"the manifest {reference} is larger than {MAX_BYTES} bytes")
        if reference.startswith(digest.PREFIX) and digest.of_bytes(data) != reference:
            raise self._corrupt(f"the manifest {digest.short(reference)} is not what its digest says")
        return data

    def _put_manifest(self, reference: str, data: bytes) -> None:
        headers = {"Content-Type": MEDIA_TYPE}
        response = self._ask("PUT", f"{self._base}/manifests/{reference}", headers=headers, data=data)
        self._require(response, f"writing the manifest {reference}")

    def _put_blob(self, blob: Blob, content: Path | bytes) -> None:
        if self._ask("HEAD", f"{self._base}/blobs/{blob.digest}").ok:
            return
        started = self._ask("POST", f"{self._base}/blobs/uploads/")
        self._require(started, "starting an upload")
        location = urljoin(f"{self._base}/", started.headers.get("Location", ""))
        location += ("&" if "?" in location else "?") + urlencode({"digest": blob.digest})
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(blob.size)}
        body = content if isinstance(content, bytes) else _FileBody(content)
        self._require(self._ask("PUT", location, headers=headers, data=body if blob.size else b""), "a blob")

    def _ask(self, method: str, url: str, **kwargs: Any) -> requests.Response:
        headers = dict(kwargs.pop("headers", {}))  # a copy: oras writes its token into what it is given
        try:
            return self._client.do_request(url, method, headers=headers, **kwargs)
        except transport.NETWORK_ERRORS as error:
            raise self._unreachable(error) from None
        except ValueError:  # oras's word for a challenge that it has no answer to
            raise self._denied() from None

    def _require(self, response: requests.Response, what: str) -> None:
        if response.ok:
            return
        if response.status_code in _REFUSED:
            raise self._denied()
        text = f"The registry answered {response.status_code} for {what} of {self.name}."
        if response.status_code >= 500 or response.status_code in _PASSING:
            raise Silence(self._wording.unreachable, text, _LOG)
        raise StoreError(self._wording.unreachable, text, _LOG)

    def _unreachable(self, error: BaseException) -> StoreError:
        return Silence(
            self._wording.unreachable,
            f"The registry of {self.name} {transport.explain(error, self._timeout)}.",
            "Check the address and that the registry runs; an egress policy may be in the way.",
        )

    def _denied(self) -> StoreError:
        return StoreError(
            self._wording.denied,
            f"The registry refused the login, or the lack of one, for {self.name}.",
            self._wording.remedy,
            retriable=True,
        )

    def _corrupt(self, what: str) -> StoreError:
        return StoreError(self._wording.corrupt, f"In {self.name}, {what}.", "Store it again, or name another digest.")


class _FileBody:
    """A file as a request body that can be sent again after a challenge or a redirect."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __len__(self) -> int:
        return self._path.stat().st_size

    def __iter__(self) -> Iterator[bytes]:
        with self._path.open("rb") as stream:
            while piece := stream.read(CHUNK):
                yield piece


def _first(response: requests.Response, limit: int) -> bytes:
    data = b""
    for piece in response.iter_content(CHUNK):
        data += piece
        if len(data) >= limit:
            break
    return data

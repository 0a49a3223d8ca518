"""Artifacts in OCI registries: one layer a file, titled with its path, as `oras push` and ModelPack do."""

import re
from collections.abc import Iterator

from modelwright.agent import manifest as manifests
from modelwright.agent.locations import Place, unsafe
from modelwright.agent.manifest import Blob
from modelwright.agent.registry import Repository, Wording
from modelwright.agent.secrets import DOCKER_CONFIG, Secret
from modelwright.agent.sources import Entry, Listing, not_found
from modelwright.contract import artifact, digest
from modelwright.contract.request import Fetching
from modelwright.errors import InputError

_TITLES = (artifact.TITLE, "org.cncf.model.filepath")
_REFERENCE = re.compile(
    r"(?P<path>[a-z0-9][a-z0-9._/-]*)(:(?P<tag>\w[\w.-]{0,127}))?(@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_WORDING = Wording(
    unreachable="SourceUnreachable",
    denied="SourceAccessDenied",
    corrupt="SourceDigestMismatch",
    remedy="Check spec.model.storage.secretRef and what its user may read.",
)


class PackageSource:
    """An artifact; its digest is its manifest's."""

    def __init__(self, place: Place, fetching: Fetching, secret: Secret) -> None:
        """Open nothing yet.

        Raises:
            InputError: UnsafePath for what is no reference; SecretMissing for a Secret without a Docker
                configuration.
        """
        found = _REFERENCE.fullmatch(place.path)
        if found is None:
            raise unsafe(f"{place} is no reference of the form oci://host/repository:tag or …@sha256:….")
        secret.require_one_of((DOCKER_CONFIG,), "oci")
        self._place = place
        self._reference = found["digest"] or found["tag"] or "latest"
        self._repository = Repository(
            place.host,
            found["path"],
            insecure=place.host in fetching.insecure_registries,
            timeout=fetching.timeout_seconds,
            secret=secret,
            wording=_WORDING,
        )

    def listing(self) -> Listing:
        """The layers."""
        data = self._repository.manifest(self._reference)
        if data is None:
            raise not_found(self._place)
        try:
            files = manifests.parse(data, _TITLES).files
        except ValueError as error:
            raise InputError(
                "UnsupportedModel",
                f"{self._place} is not an artifact of plain files: {error}.",
                "Push one layer a file, as `oras push` does; container images and archives are not unpacked.",
            ) from None
        entries = [Entry(path, blob.size, blob.digest) for path, blob in files.items()]
        return Listing(entries, folder=True, digest=digest.of_bytes(data))

    def chunks(self, entry: Entry) -> Iterator[bytes]:
        """Content of a layer, verified."""
        return self._repository.chunks(Blob(entry.digest or "", entry.size or 0))

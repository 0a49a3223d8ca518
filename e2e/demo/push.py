"""Puts trained models where the cluster fetches them: OCI artifacts, one layer a file, as `oras push` makes them.

The same files give the same manifest, hence the same digest: a second demo changes nothing in the registry.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from e2e.demo.models import trained
from modelwright.agent import manifest as manifests
from modelwright.agent.registry import STORE_WORDING, Repository
from modelwright.agent.secrets import Secret
from modelwright.contract import digest

TAG: Final = "v1"
SOURCE_TYPE: Final = "application/vnd.modelwright.demo.source.v1"


def push_model(name: str, folder: Path, registry: str, *, insecure: bool) -> dict[str, str]:
    """Push a trained model and its data as three artifacts.

    Returns:
        Tag to digest.
    """
    repository = Repository(
        registry, f"demo/{name}", insecure=insecure, timeout=60, secret=Secret(), wording=STORE_WORDING
    )
    artifacts = {
        TAG: trained.model_files(folder),
        f"{TAG}-calibration": [folder / trained.CALIBRATION],
        f"{TAG}-evaluation": [folder / trained.EVALUATION],
    }
    return {tag: _push(repository, tag, {file.name: file for file in files}) for tag, files in artifacts.items()}


def _push(repository: Repository, tag: str, files: Mapping[str, Path]) -> str:
    config = manifests.describe_bytes(manifests.EMPTY_CONFIG, manifests.EMPTY_MEDIA_TYPE)
    blobs = {title: manifests.describe_file(path) for title, path in files.items()}
    repository.put_blob(config, manifests.EMPTY_CONFIG)
    for title, path in files.items():
        repository.put_blob(blobs[title], path)
    data = manifests.build(config, blobs, SOURCE_TYPE)
    if repository.manifest(tag) != data:
        repository.put_manifest(tag, data)
    return digest.of_bytes(data)

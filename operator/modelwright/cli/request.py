"""From an `OptimizedModel` in YAML to the request of an optimize Job, without a cluster.

Paths may be relative: they are taken from the folder of the YAML file. What a policy would give (pool, price, limits)
has the defaults of the contract.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import quote

import yaml
from pydantic import ValidationError

from modelwright import __version__
from modelwright.api.kinds import MODEL_KIND
from modelwright.api.model import ModelSpec
from modelwright.contract import asking, digest
from modelwright.contract.request import Fetching, OptimizeRequest, ResolveRequest, Store
from modelwright.errors import InputError

NAMESPACE: Final = "local"
SCHEMES: Final = ("file", "https", "s3", "gs", "az", "oci")


def read_model(path: Path) -> tuple[str, ModelSpec]:
    """Name and spec of the first `OptimizedModel` of a YAML file.

    Raises:
        InputError: InvalidSpec, naming the field.
    """
    try:
        documents: list[Any] = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError("InvalidSpec", f"{path} cannot be read: {error}") from error
    found = [_mapping(each) for each in documents if _mapping(each).get("kind") == MODEL_KIND]
    if not found:
        raise InputError("InvalidSpec", f"{path} holds no {MODEL_KIND}.", "Give the YAML that you would apply.")
    name = str(_mapping(found[0].get("metadata")).get("name") or "model")
    try:
        return name, ModelSpec.model_validate(_absolute(_mapping(found[0].get("spec")), path.resolve().parent))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError("InvalidSpec", f"spec.{where}: {first['msg']}.") from error


def location_request(spec: ModelSpec) -> ResolveRequest:
    """What must be resolved to digests before the work has an identity."""
    found = asking.locations(spec)
    return ResolveRequest(
        source=found["source"],
        calibration=found.get("calibration"),
        evaluation=found.get("evaluation"),
        fetching=Fetching(schemes=SCHEMES),
    )


def optimize_request(name: str, spec: ModelSpec, digests: Mapping[str, str], out: Path) -> OptimizeRequest:
    """The request.

    Args:
        name: Of the resource; Triton's name of the model unless the spec has one.
        spec: As read.
        digests: Of ``source``, ``calibration`` and ``evaluation``, as resolved.
        out: Folder of the store.
    """
    place = asking.Place(
        model=spec.model.name or name,
        hardware_class="local",
        store=Store(uri=f"file://{quote(str(out))}", namespace=NAMESPACE),
        fetching=Fetching(schemes=SCHEMES),
    )
    request = asking.optimize_request(spec, place, digests, key="")
    return request.model_copy(update={"key": _key(request)})


def _key(request: OptimizeRequest) -> str:
    """Identity of the work: the request without its places, and who does it."""
    asked = request.model_dump(mode="json", exclude={"key", "store", "fetching"})
    for part in ("source", "calibration", "evaluation"):
        if asked[part]:
            (asked[part].get("location") or asked[part]).pop("uri")
    return digest.of_json({"request": asked, "optimizer": __version__}).removeprefix(digest.PREFIX)


def _absolute(spec: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The spec with local paths as ``file://`` URIs."""
    optimization = _mapping(spec.get("optimization"))
    for part in (spec.get("model"), optimization.get("calibration"), optimization.get("evaluation")):
        uri = _mapping(part).get("uri")
        if isinstance(uri, str) and "://" not in uri:
            ends = "/" if uri.endswith("/") else ""
            _mapping(part)["uri"] = f"file://{quote(str((folder / uri).resolve()))}{ends}"
    return spec


def _mapping(value: Any) -> dict[str, Any]:
    """`value` itself if it is a mapping; what else a user wrote there is for the validation to refuse."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}

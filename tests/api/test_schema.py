"""The CRDs as files: generated, described, bounded."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelwright.api import schema
from modelwright.api.model import ModelSpec, Resources
from modelwright.api.policy import PolicySpec
from modelwright.api.structural import Schema, structural

CRDS = Path(__file__).parents[2] / "crds"
SPECS = {"model": ModelSpec, "policy": PolicySpec}


def parts(node: Schema, path: str = "spec") -> Iterator[tuple[str, Schema]]:
    """Every node of a schema with its path."""
    yield path, node
    for name, inner in node.get("properties", {}).items():
        yield from parts(inner, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if key in node:
            yield from parts(node[key], f"{path}[]")


def openapi(crd: dict[str, Any]) -> Schema:
    (version,) = crd["spec"]["versions"]
    return version["schema"]["openAPIV3Schema"]


def test_the_files_are_what_the_models_make() -> None:
    assert {file.name: file.read_text() for file in CRDS.iterdir()} == schema.files()


def test_main_writes_the_files(tmp_path: Path) -> None:
    schema.main([str(tmp_path)])
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == schema.files()


@pytest.mark.parametrize("kind", SPECS)
def test_everything_a_user_writes_has_a_bound(kind: str) -> None:
    unbounded: list[str] = []
    for path, node in parts(structural(SPECS[kind])):
        bounds = {
            "string": "maxLength" in node or "enum" in node,
            "array": "maxItems" in node,
            "integer": "minimum" in node and "maximum" in node,
            "object": "properties" in node or "maxProperties" in node,
        }
        if not bounds.get(node.get("type", ""), True):
            unbounded.append(path)
    assert unbounded == []


def test_a_model_at_every_bound_fits_into_64_kib() -> None:
    assert largest(structural(ModelSpec)) <= 64 * 1024


def largest(node: Schema) -> int:
    """Bytes of the largest JSON that a schema admits; a key of a map has at most 253 characters."""
    if "properties" in node:
        return sum(len(name) + 4 + largest(inner) for name, inner in node["properties"].items())
    if node.get("type") == "object":
        return node["maxProperties"] * (257 + largest(node["additionalProperties"]))
    if node.get("type") == "array":
        return node["maxItems"] * (1 + largest(node["items"]))
    if "enum" in node:
        return max(len(value) + 2 for value in node["enum"])
    return node.get("maxLength", 24) + 2


@pytest.mark.parametrize("kind", SPECS)
def test_every_field_says_what_it_is_with_an_example(kind: str) -> None:
    crd = {"model": schema.model_crd, "policy": schema.policy_crd}[kind]()
    for path, node in parts(openapi(crd)["properties"]["spec"]):
        for name, inner in node.get("properties", {}).items():
            words = inner["description"]
            assert words.split(".")[0], f"{path}.{name}"
            assert ("Required." in words) is (name in node.get("required", [])), f"{path}.{name}"
            assert "Required." in words or "Default: " in words, f"{path}.{name}"


def test_nothing_is_structural_that_kubernetes_does_not_know() -> None:
    for crd in (schema.model_crd(), schema.policy_crd()):
        for path, node in parts(openapi(crd), ""):
            unknown = set(node) & {"$ref", "$defs", "title", "const", "x-unit", "x-example", "x-fallback"}
            assert not unknown, path


def test_status_has_one_default_only() -> None:
    status = openapi(schema.model_crd())["properties"]["status"]
    assert status["default"]["observedGeneration"] == -1
    assert [path for path, node in parts(status, "status") if "default" in node] == ["status"]


def test_quantities_are_numbers_or_text_with_a_pattern() -> None:
    (_, requests), *_ = [p for p in parts(structural(Resources)) if p[0] == "spec.requests[]"]
    assert requests["x-kubernetes-int-or-string"] is True
    assert requests["pattern"]
    assert Resources.model_validate({"requests": {"cpu": 1}}).requests == {"cpu": "1"}


def test_a_field_of_two_types_is_refused() -> None:
    from modelwright.api.fields import ApiModel, field  # noqa: PLC0415 - made for this test only

    class Odd(ApiModel):
        """Odd."""

        value: int | str = field("Either.", example=1)

    with pytest.raises(ValueError, match="cannot be structural"):
        structural(Odd)


def test_yaml_reads_back_as_what_was_written() -> None:
    assert yaml.safe_load(schema.as_yaml(schema.model_crd())) == schema.model_crd()

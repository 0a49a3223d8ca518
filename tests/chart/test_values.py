"""values.yaml and its schema: documented, closed, and of one mind with the API."""

import json
import re
from collections.abc import Iterator
from typing import Any, cast

import yaml

from modelwright.api.fields import ApiModel
from modelwright.api.policy import ArtifactStore, PolicySpec, Pool, Sources
from tests.chart.rendering import CHART

Body = dict[str, Any]

VALUES = (CHART / "values.yaml").read_text()
SCHEMA: Body = json.loads((CHART / "values.schema.json").read_text())
FREE = {"global", "affinity", "from"}
"""Objects of Kubernetes' own, which its API server judges."""


def aliases(model: type[ApiModel]) -> set[str]:
    return {field.alias or name for name, field in model.model_fields.items()}


def part(path: str) -> Body:
    node = SCHEMA
    for name in path.split("."):
        node = node["properties"][name]
    return node


def closed(node: Body, path: str = "") -> Iterator[str]:
    """Paths of objects that let anything in."""
    if node.get("type") == "object" and node.get("additionalProperties") is not False:
        values: Any = node.get("additionalProperties")
        if not isinstance(values, dict):
            yield path
    for name, inner in node.get("properties", {}).items():
        if name not in FREE:
            yield from closed(inner, f"{path}.{name}")
    if isinstance(node.get("items"), dict):
        yield from closed(node["items"], f"{path}[]")


def test_every_value_is_explained() -> None:
    lines = VALUES.splitlines()
    silent: list[str] = []
    for number, line in enumerate(lines):
        leaf = re.match(r"( *)([A-Za-z]+):( .+)?$", line)
        if not leaf or _inside_example(lines, number) or (not leaf[3] and not _is_leaf(lines, number)):
            continue
        before = lines[number - 1].strip()
        while before.startswith("#") and not before.startswith("# --"):
            number -= 1  # noqa: PLW2901 - climbs over a comment of several lines
            before = lines[number - 1].strip()
        if not before.startswith("# --"):
            silent.append(leaf[2])
    assert silent == []


def _is_leaf(lines: list[str], number: int) -> bool:
    return number + 1 == len(lines) or not lines[number + 1].startswith(" ")


def _inside_example(lines: list[str], number: int) -> bool:
    """Requests and limits of the operator are one value."""
    above = [line for line in lines[:number] if line and not line.startswith((" ", "#"))]
    return bool(above) and above[-1].startswith("resources:") and lines[number].startswith(" ")


def test_every_value_is_in_the_schema_and_the_other_way_round() -> None:
    def compare(values: Body, node: Body, path: str) -> Iterator[str]:
        yield from (f"{path}.{name}" for name in set(values) ^ set(node["properties"]))
        for name, value in values.items():
            inner = node["properties"].get(name, {})
            if isinstance(value, dict) and value and "properties" in inner:
                yield from compare(cast("Body", value), inner, f"{path}.{name}")

    assert sorted(compare(yaml.safe_load(VALUES), SCHEMA, "")) == []


def test_the_schema_is_closed_at_every_level() -> None:
    assert list(closed(SCHEMA)) == []
    assert [name for name, node in SCHEMA["$defs"].items() if list(closed(node))] == []


def test_pools_have_the_fields_of_a_policys_pools() -> None:
    assert set(part("policy.pools")["items"]["properties"]) == aliases(Pool)
    assert set(part("policy.cpuPool")["properties"]) == aliases(Pool) - {"name"}


def test_the_rest_of_the_policy_follows_the_api_too() -> None:
    assert set(part("policy.sources")["properties"]) == aliases(Sources)
    assert set(part("policy.artifactStore")["properties"]) == aliases(ArtifactStore) - {"secretRef"} | {"secretName"}
    assert {"priority", "domain", "pools", "sources"} <= aliases(PolicySpec)

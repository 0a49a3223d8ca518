"""Writes the pages of this folder from the code. ``python docs/reference/generate.py``."""

# ruff: noqa: INP001 - a script beside what it writes, not a package

import ast
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

from modelwright.api import conditions, kinds
from modelwright.api.fields import ApiModel
from modelwright.api.model import ModelSpec
from modelwright.api.policy import PolicySpec
from modelwright.api.status import ModelStatus, PolicyStatus
from modelwright.api.structural import Schema, as_text, default_of, structural
from modelwright.cluster import permissions

HERE = Path(__file__).parent
NOTE = "<!-- Made by docs/reference/generate.py. Change the code it is made from. -->"

SCOPES: dict[permissions.Scope, str] = {
    "models": "In the namespaces of models: all, or those of `watchNamespaces`",
    "cluster": "In the whole cluster",
    "own": "In the operator's own namespace",
}


def pages() -> dict[str, str]:
    """Name and content of every page."""
    return {
        "optimizedmodel.md": _kind_page(kinds.MODEL_KIND, "a model owner", ModelSpec, ModelStatus),
        "servingpolicy.md": _kind_page(kinds.POLICY_KIND, "a platform team", PolicySpec, PolicyStatus),
        "conditions.md": _conditions_page(),
        "permissions.md": _permissions_page(),
    }


def _kind_page(kind: str, who: str, spec: type[ApiModel], status: type[ApiModel]) -> str:
    lines = [
        f"# {kind}",
        NOTE,
        f"`{kinds.API_VERSION}`. What {who} writes is `spec`; what the operator observed is `status`.",
        "`kubectl explain` says the same.",
        "## Spec",
        *_tables(structural(spec), "spec", written=True),
        "## Status",
        *_tables(structural(status, defaults=False), "status", written=False),
    ]
    return "\n\n".join(lines) + "\n"


def _tables(node: Schema, path: str, *, written: bool) -> Iterator[str]:
    """A table for each object, in the order in which a reader meets them."""
    yield f"### `{path}`"
    yield node["description"]
    head = ["Field", "Type", "Default", "What it is"] if written else ["Field", "Type", "What it is"]
    rows = [_row(name, inner, node, written=written) for name, inner in node["properties"].items()]
    yield _table(head, rows)
    if rules := node.get("x-kubernetes-validations"):
        yield "\n".join(f"- {rule['message']}." for rule in rules)
    for name, inner in node["properties"].items():
        item, suffix = (inner["items"], "[]") if "items" in inner else (inner, "")
        if "properties" in item:
            yield from _tables(item, f"{path}.{name}{suffix}", written=written)


def _row(name: str, inner: Schema, parent: Schema, *, written: bool) -> list[str]:
    example = inner.get("x-example")
    words = [
        inner["description"],
        f"Unit: {inner['x-unit']}." if "x-unit" in inner else "",
        f"Example: `{as_text(example)}`." if example not in (None, {}, []) else "",
    ]
    cells = [f"`{name}`", _type(inner), " ".join(filter(None, words))]
    if written:
        required = name in parent.get("required", [])
        default = default_of(inner, required=required).removeprefix("Default: ").removesuffix(".")
        cells.insert(2, f"`{default}`" if "default" in inner else default)
    return cells


def _type(node: Schema) -> str:
    """Type and bounds of a field, in a few words."""
    if "enum" in node:
        return " \\| ".join(f"`{value}`" for value in node["enum"])
    if "anyOf" in node:
        return "quantity"
    kind: str = node["type"]
    if "items" in node:
        return f"list of {_type(node['items'])}" + (f", at most {node['maxItems']}" if "maxItems" in node else "")
    if "additionalProperties" in node:
        return f"map of {_type(node['additionalProperties'])}"
    if kind in ("integer", "number") and "minimum" in node:
        below = "below " if "exclusiveMaximum" in node else ""
        upper = f" to {below}{node['maximum']}" if "maximum" in node else " or more"
        return f"{kind}, {node['minimum']}{upper}"
    return kind


def _conditions_page() -> str:
    types = _table(["Condition", "Meaning"], _members(conditions.ConditionType))
    reasons = _table(["Reason", "Meaning"], _members(conditions.Reason))
    lines = [
        "# Conditions and reasons",
        NOTE,
        "Types and reasons are part of the API: they are never renamed.",
        "A reason names one cause; the message says what was observed and what to do.",
        "## Conditions",
        types,
        "## Reasons",
        reasons,
    ]
    return "\n\n".join(lines) + "\n"


def _members(enum: type) -> list[list[str]]:
    """Value and sentence of each member: the string that stands below it in the source."""
    (definition,) = ast.parse(inspect.getsource(enum)).body
    assert isinstance(definition, ast.ClassDef)
    rows: list[list[str]] = []
    for member, sentence in zip(definition.body, definition.body[1:], strict=False):
        match member, sentence:
            case ast.Assign(value=ast.Constant(value=str(name))), ast.Expr(value=ast.Constant(value=str(text))):
                rows.append([f"`{name}`", text])
            case _:
                pass
    return rows


def _permissions_page() -> str:
    lines = [
        "# Permissions of the operator",
        NOTE,
        "The chart's roles are made from the same data. No wildcard, Secret, log or exec is among them.",
    ]
    for scope, where in SCOPES.items():
        rows = [_right(permission) for permission in permissions.PERMISSIONS if permission.scope == scope]
        lines += [f"## {where}", _table(["Group", "Resources", "Verbs", "What for"], rows)]
    return "\n\n".join(lines) + "\n"


def _right(permission: permissions.Permission) -> list[str]:
    resources = ", ".join(f"`{resource}`" for resource in permission.resources)
    only = f" Only `{', '.join(permission.names)}`." if permission.names else ""
    return [permission.group or "core", resources, ", ".join(permission.verbs), permission.purpose + only]


def _table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows))


def main(directory: Path = HERE) -> None:
    """Write the pages."""
    for name, content in pages().items():
        (directory / name).write_text(content)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))

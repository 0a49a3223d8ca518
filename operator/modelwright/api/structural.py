"""From pydantic to a CRD's structural schema: references inlined, null dropped, every field's words composed.

Two steps, for the reference page wants the second without the first: `structural` keeps what `fields.field` noted
(``x-unit``, ``x-fallback``, ``x-example``), `described` turns that into the sentences of `kubectl explain`.
"""

import json
from typing import Any

from modelwright.api.fields import ApiModel

Schema = dict[str, Any]

NOTES = ("x-unit", "x-fallback", "x-example")
INT_OR_STRING = "x-kubernetes-int-or-string"

LIST_TYPES: dict[str, Schema] = {
    "conditions": {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    "pools": {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    "techniques": {"x-kubernetes-list-type": "set"},
    "hostnames": {"x-kubernetes-list-type": "set"},
    "schemes": {"x-kubernetes-list-type": "set"},
    "insecureRegistries": {"x-kubernetes-list-type": "set"},
}
"""Lists whose items have an identity, by property: the API server refuses doubles and merges item by item."""

_COPIED = (
    "type",
    "description",
    "pattern",
    "enum",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "required",
    "x-kubernetes-validations",
    INT_OR_STRING,
    *NOTES,
)


def structural(model: type[ApiModel], *, defaults: bool = True) -> Schema:
    """The structural schema of `model`, with the notes of its fields.

    Args:
        model: A spec or a status.
        defaults: Whether the API server shall fill in defaults. Never in a status: what was not observed is absent.
    """
    document = model.model_json_schema(by_alias=True)
    return _node(document, document.get("$defs", {}), defaults=defaults)


def described(schema: Schema, *, written: bool = True) -> Schema:
    """`schema` without notes, each property's description saying default, unit and example.

    Args:
        schema: What `structural` made.
        written: Whether users write it (a spec), so that its default matters.
    """
    done = {key: value for key, value in schema.items() if key not in NOTES}
    for name, inner in schema.get("properties", {}).items():
        default = default_of(inner, required=name in schema.get("required", [])) if written else ""
        words = {"description": " ".join(filter(None, (inner["description"], default, *usage(inner))))}
        done["properties"] = done["properties"] | {name: described(inner, written=written) | words}
    for key in ("items", "additionalProperties"):
        if key in schema:
            done[key] = described(schema[key], written=written)
    return done


def usage(schema: Schema) -> list[str]:
    """Unit and example of a field, a sentence each."""
    said: list[str] = []
    if "x-unit" in schema:
        said.append(f"Unit: {schema['x-unit']}.")
    if schema.get("x-example") not in (None, {}, []):
        said.append(f"Example: {as_text(schema['x-example'])}.")
    return said


def default_of(schema: Schema, *, required: bool) -> str:
    """Where the value of an unset field comes from, as a sentence."""
    if required:
        return "Required."
    value = as_text(schema["default"]) if "default" in schema else schema.get("x-fallback", "unset")
    return f"Default: {value}."


def as_text(value: Any) -> str:
    """A JSON value as a user would write it on one line of YAML."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _node(node: Schema, definitions: Schema, *, defaults: bool) -> Schema:
    node = _resolved(node, definitions)
    found: Schema = {key: node[key] for key in _COPIED if key in node}
    if "const" in node:
        found["enum"] = [node["const"]]
    if "exclusiveMaximum" in node:
        found |= {"maximum": node["exclusiveMaximum"], "exclusiveMaximum": True}
    if node.get("type") == "integer":
        found["format"] = "int64" if node.get("maximum", 2**63) > 2**31 - 1 else "int32"
    if node.get(INT_OR_STRING):
        del found["type"]
        found["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    found |= _inner(node, definitions, defaults=defaults)
    if defaults:
        found |= _default(node)
    return found


def _inner(node: Schema, definitions: Schema, *, defaults: bool) -> Schema:
    """Properties, values and items of a node."""
    if "properties" in node:
        inner = {name: _node(value, definitions, defaults=defaults) for name, value in node["properties"].items()}
        for name, marks in LIST_TYPES.items():
            if inner.get(name, {}).get("type") == "array":
                inner[name] |= marks
        return {"properties": inner}
    if node.get("additionalProperties") is True:
        return {"x-kubernetes-preserve-unknown-fields": True}
    return {
        key: _node(node[key], definitions, defaults=defaults)
        for key in ("items", "additionalProperties")
        if key in node
    }


def _default(node: Schema) -> Schema:
    """The default that the API server fills in.

    ``{}`` for a part of the spec, whose fields have their own; none where empty and absent mean the same, so that
    a stored object says no more than it must.
    """
    value = node.get("default")
    if value is None or (value in ([], {}) and "properties" not in node):
        return {}
    return {"default": {} if "properties" in node else value}


def _resolved(node: Schema, definitions: Schema) -> Schema:
    """`node` without references and without null, its own words before those of what it refers to."""
    own = dict(node)
    options = [option for option in own.pop("anyOf", []) if option.get("type") != "null"]
    if len(options) > 1:
        raise ValueError(f"a field of {len(options)} types cannot be structural: {options}")
    reference = own.pop("$ref", None)
    for other in options:
        own = _resolved(other, definitions) | own
    if reference:
        own = _resolved(definitions[reference.rpartition("/")[2]], definitions) | own
    return own

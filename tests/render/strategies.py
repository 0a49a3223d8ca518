"""Values that a structural schema admits, as the API server would let them through."""

from typing import Any

from hypothesis import strategies as st

from modelwright.api.structural import Schema

KEYS = st.from_regex(r"[a-z][a-z0-9./-]{0,30}", fullmatch=True)
MANY = 3


def from_schema(schema: Schema) -> st.SearchStrategy[Any]:
    """Values of `schema`."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "anyOf" in schema:
        return st.integers(0, 10**6) | _texts(schema)
    return _OF_TYPE[schema["type"]](schema)


def _objects(schema: Schema) -> st.SearchStrategy[Any]:
    if "properties" not in schema:
        values = from_schema(schema["additionalProperties"])
        return st.dictionaries(KEYS, values, max_size=min(MANY, schema["maxProperties"]))
    needed = schema.get("required", [])
    parts = {name: from_schema(inner) for name, inner in schema["properties"].items()}
    optional = {name: part for name, part in parts.items() if name not in needed}
    return st.fixed_dictionaries({name: parts[name] for name in needed}, optional=optional)


def _lists(schema: Schema) -> st.SearchStrategy[Any]:
    items = from_schema(schema["items"])
    return st.lists(items, min_size=schema.get("minItems", 0), max_size=min(MANY, schema["maxItems"]))


def _integers(schema: Schema) -> st.SearchStrategy[Any]:
    return st.integers(schema["minimum"], schema["maximum"])


def _numbers(schema: Schema) -> st.SearchStrategy[Any]:
    return st.floats(schema["minimum"], schema.get("maximum", 1e6), exclude_max="exclusiveMaximum" in schema)


def _booleans(_: Schema) -> st.SearchStrategy[Any]:
    return st.booleans()


def _texts(schema: Schema) -> st.SearchStrategy[Any]:
    longest: int = schema["maxLength"]
    if "pattern" not in schema:
        return st.text(min_size=schema.get("minLength", 0), max_size=min(longest, 40))

    def short(text: str) -> bool:
        return len(text) <= longest

    pattern: str = schema["pattern"]
    return st.from_regex(pattern, fullmatch=True).filter(short)


_OF_TYPE = {
    "object": _objects,
    "array": _lists,
    "integer": _integers,
    "number": _numbers,
    "boolean": _booleans,
    "string": _texts,
}

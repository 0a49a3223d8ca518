"""The status writer sends the difference and nothing else."""

from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from modelwright.cluster.status import difference

Json = dict[str, Any]
SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=2)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
)
OBJECTS = st.dictionaries(st.sampled_from("abcd"), VALUES, max_size=4)


def merged(target: Any, patch: Any) -> Any:
    """RFC 7386, as the server does it."""
    if not isinstance(patch, dict):
        return patch
    result: dict[str, Any] = dict(cast("Json", target)) if isinstance(target, dict) else {}
    for key, value in cast("Json", patch).items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def without_nulls(value: Any) -> Any:
    """How the server stores an object."""
    if isinstance(value, dict):
        return {k: without_nulls(v) for k, v in cast("Json", value).items() if v is not None}
    return value


@given(OBJECTS, OBJECTS)
def test_the_patch_leads_from_old_to_new(old: dict[str, Any], new: dict[str, Any]) -> None:
    stored = without_nulls(old)
    assert merged(stored, difference(stored, new)) == without_nulls(new)


@given(OBJECTS)
def test_equal_statuses_need_no_patch(status: dict[str, Any]) -> None:
    stored = without_nulls(status)
    assert difference(stored, status) == {}


def test_only_what_differs_is_sent() -> None:
    old = {"conditions": [1], "source": {"digest": "a", "uri": "u"}, "url": "x"}
    new = {"conditions": [1], "source": {"digest": "b", "uri": "u"}}
    assert difference(old, new) == {"source": {"digest": "b"}, "url": None}

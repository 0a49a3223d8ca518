"""A store ends up true in whatever order it hears of things, and tells only of what changed."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from modelwright import naming
from modelwright.cluster.store import Group, Ident, Store
from tests.cluster.scripted import make_object

GROUP = Group("vision", "ranker")


def make_store() -> tuple[Store, list[Group]]:
    told: list[Group] = []
    return Store("ConfigMap", told.append, lambda uid: None, clock=lambda: 0.0), told


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[str, dict[str, Any]]]:
    """A true history: objects come, change and go, each step at a new version."""
    living: dict[str, str] = {}
    history: list[tuple[str, dict[str, Any]]] = []
    for version in range(1, draw(st.integers(1, 25))):
        name = draw(st.sampled_from("abc"))
        if name in living and draw(st.booleans()):
            history.append(("DELETED", make_object(name, version, living.pop(name))))
        else:
            uid = living.setdefault(name, f"uid-{version}")
            history.append(("MODIFIED", make_object(name, version, uid, data={"v": str(draw(st.integers(0, 2)))})))
    return history


def feed(store: Store, steps: list[tuple[str, dict[str, Any]]]) -> None:
    for kind, body in steps:
        (store.remove if kind == "DELETED" else store.upsert)(body)


def content(store: Store) -> dict[str, int]:
    return {entry.facts.name: entry.version for entry in store.of(GROUP)}


@given(histories(), st.randoms(use_true_random=False))
def test_events_in_any_order_and_twice_lead_to_the_same_end(history: Any, random: Any) -> None:
    ordered, _ = make_store()
    feed(ordered, history)
    shuffled, _ = make_store()
    mixed = [*history, *history]
    random.shuffle(mixed)
    feed(shuffled, mixed)
    assert content(shuffled) == content(ordered)
    assert len(shuffled) == len(ordered)


@given(histories(), st.data())
def test_a_list_makes_up_for_whatever_was_missed(history: Any, data: st.DataObject) -> None:
    true, _ = make_store()
    feed(true, history)
    lossy, _ = make_store()
    feed(lossy, [step for step in history if data.draw(st.booleans())])
    bodies = {body["metadata"]["name"]: body for kind, body in history if kind == "MODIFIED"}
    for name in content(true):
        lossy.upsert(bodies[name])
    lossy.retain([Ident("vision", name) for name in content(true)], len(history))
    assert content(lossy) == content(true)


def test_it_tells_of_changed_facts_only() -> None:
    store, told = make_store()
    store.upsert(make_object("a", 1, "u"))
    store.upsert(make_object("a", 2, "u"))
    assert told == [GROUP]
    store.upsert(make_object("a", 3, "u", data={"x": "y"}))
    assert told == [GROUP, GROUP]


def test_a_list_of_one_namespace_says_nothing_of_others() -> None:
    store, _ = make_store()
    store.upsert(make_object("a", 1, "u"))
    store.retain([], 10, namespace="elsewhere")
    assert content(store) == {"a": 1}
    store.retain([], 10, namespace="vision")
    assert content(store) == {}


def test_what_is_newer_than_a_list_stays() -> None:
    store, _ = make_store()
    store.upsert(make_object("a", 11, "u"))
    store.retain([], 10)
    assert content(store) == {"a": 11}


def test_an_answer_that_comes_after_the_deletion_brings_nothing_back() -> None:
    store, _ = make_store()
    store.upsert(make_object("a", 1, "u"))
    store.remove(make_object("a", 3, "u"))
    store.upsert(make_object("a", 2, "u"))
    assert content(store) == {}


def test_objects_of_no_model_are_not_kept() -> None:
    store, told = make_store()
    body = make_object("a", 1, "u")
    del body["metadata"]["labels"][naming.LABEL_MODEL]
    store.upsert(body)
    assert (len(store), told) == (0, [])


def test_an_object_made_anew_replaces_the_former_one() -> None:
    gone: list[str] = []
    store = Store("ConfigMap", lambda group: None, gone.append)
    store.upsert(make_object("a", 1, "old"))
    store.upsert(make_object("a", 2, "new"))
    assert [entry.uid for entry in store.of(GROUP)] == ["new"]
    assert gone == ["old"]


def test_our_own_deletion_is_known_before_its_event_and_spares_a_successor() -> None:
    store, _ = make_store()
    store.upsert(make_object("a", 1, "u"))
    store.discard(Ident("vision", "a"), "other")
    assert content(store) == {"a": 1}
    store.discard(Ident("vision", "a"), "u")
    assert content(store) == {}
    store.upsert(make_object("a", 2, "v"))
    assert content(store) == {"a": 2}

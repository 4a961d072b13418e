"""Our named tuples do what those of `typing` do; without compiling a constructor each."""

from __future__ import annotations

import copy
import inspect
import pickle
import typing
from typing import Any

import pytest

from viscy_compat import named


class Quick(named.NamedTuple):
    """A shape with a name."""

    name: str
    shape: tuple[int, ...] = ()
    place: int | None = None

    @property
    def rank(self) -> int:
        return len(self.shape)


class Known(typing.NamedTuple):
    """A shape with a name."""

    name: str
    shape: tuple[int, ...] = ()
    place: int | None = None

    @property
    def rank(self) -> int:
        return len(self.shape)


class Empty(named.NamedTuple):
    pass


WAYS: dict[str, Any] = {
    "by place": lambda kind: kind("a", (1, 2), 3),
    "by name": lambda kind: kind(shape=(1,), name="b"),
    "replaced": lambda kind: kind("a")._replace(place=4),
    "made": lambda kind: kind._make(["a", (), None]),
    "copied": lambda kind: copy.deepcopy(kind("a", (5,))),
    "pickled": lambda kind: pickle.loads(pickle.dumps(kind("a", (5,)))),
    "as a dictionary": lambda kind: kind("a")._asdict(),
    "fields": lambda kind: (kind._fields, kind._field_defaults, kind.__match_args__, kind.__doc__),
    "arguments": lambda kind: list(inspect.signature(kind).parameters),
    "a property": lambda kind: kind("a", (1, 2)).rank,
    "unpacked": lambda kind: [*kind("a")],
    "ordered": lambda kind: kind("a") < kind("b") and hash(kind("a")) == hash(("a", (), None)),
    "spelled": lambda kind: repr(kind("a", (1,))).removeprefix(kind.__name__),
    "read only": lambda kind: setattr(kind("a"), "name", "b"),
    "an attribute more": lambda kind: setattr(kind("a"), "other", "b"),
    "too little": lambda kind: kind(),
    "too much": lambda kind: kind("a", (), 1, 2),
    "an unknown name": lambda kind: kind("a", depth=1),
    "an unknown name among as many as there are": lambda kind: kind("a", shape=(), depth=1),
    "twice": lambda kind: kind("a", name="b"),
    "replaced by nothing known": lambda kind: kind("a")._replace(depth=1),
    "made of too little": lambda kind: kind._make(["a"]),
}


def outcome(way: Any, kind: type) -> Any:
    try:
        return way(kind)
    except (TypeError, ValueError, AttributeError) as error:
        return type(error)


@pytest.mark.parametrize("way", WAYS)
def test_it_does_what_that_of_typing_does(way: str) -> None:
    assert outcome(WAYS[way], Quick) == outcome(WAYS[way], Known)


def test_it_is_a_tuple_even_without_fields() -> None:
    assert Empty() == () == tuple(Empty())
    assert isinstance(Quick("a"), tuple)
    assert Quick("a") == ("a", (), None)


def test_a_class_that_cannot_be_is_refused() -> None:
    make: Any = type(Quick)
    with pytest.raises(TypeError, match="follows"):
        make("Odd", (named.NamedTuple,), {"__annotations__": {"a": "int", "b": "int"}, "a": 1})
    with pytest.raises(TypeError, match="_fields"):
        make("Odd", (named.NamedTuple,), {"_fields": ()})


def test_many_are_made_out_of_columns() -> None:
    made = list(named.records_of(Quick, ["a", "b"], [(1,), ()], [None, 2]))
    assert made == [Quick("a", (1,)), Quick("b", (), 2)]
    assert {*map(type, made)} == {Quick}


def test_columns_are_as_many_as_fields_and_of_one_length() -> None:
    with pytest.raises(TypeError, match="Quick has 3 fields, not 2"):
        named.records_of(Quick, ["a"], [()])
    with pytest.raises(ValueError, match="shorter"):
        list(named.records_of(Quick, ["a", "b"], [(), ()], [None]))

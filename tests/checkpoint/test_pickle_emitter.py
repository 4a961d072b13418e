"""A graph that is written decodes to the same graph: values, sharing and loops."""

from __future__ import annotations

import collections
import io
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.graphs import same_graph
from viscy_compat.checkpoint.limits import DEFAULT_LIMITS
from viscy_compat.checkpoint.pickle_emitter import emit_pickle
from viscy_compat.checkpoint.pickle_machine import decode
from viscy_compat.checkpoint.pickle_nodes import Call, Dict, Global, Items, Node, Persistent


def objects(floats: st.SearchStrategy[float]) -> st.SearchStrategy[Any]:
    """Values of every type that a checkpoint holds, nested."""
    leaves = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | floats | st.text() | st.binary(max_size=300)
    return st.recursive(
        leaves | st.just(()),
        lambda inner: (
            st.lists(inner, max_size=5)
            | st.lists(inner, max_size=5).map(tuple)
            | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=4)
            | st.dictionaries(st.text(max_size=5), inner, max_size=4).map(collections.OrderedDict)
            | st.frozensets(st.integers(), max_size=4)
            | st.sets(st.text(max_size=5), max_size=4)
            | st.binary(max_size=20).map(bytearray)
        ),
        max_leaves=12,
    )


def decoded(data: bytes) -> Node:
    return decode(data, DEFAULT_LIMITS).root


def comes_back(root: Node) -> bool:
    return same_graph(decoded(emit_pickle(root).data), root)


@given(objects(st.floats()), st.integers(0, 5))
def test_what_python_pickled_comes_back(value: Any, protocol: int) -> None:
    root = decoded(pickle.dumps([value, value], protocol))
    assert comes_back(root)


@given(objects(st.floats(allow_nan=False)))
def test_python_reads_what_was_written(value: Any) -> None:
    root = decoded(pickle.dumps(value, 4))
    assert pickle.loads(emit_pickle(root).data) == value


def looped_list() -> Node:
    items: list[Node] = [1]
    items.append(items)
    return items


def looped_tuple() -> Node:
    inner: list[Node] = []
    pair = (inner, 2)
    inner.append(pair)
    return pair


def looped_long_tuple() -> Node:
    inner: list[Node] = []
    row = (inner, 1, 2, 3)
    inner.append(row)
    return row


def looped_call() -> Node:
    inner: list[Node] = []
    call = Call(Global("m", "f"), (inner,))
    inner.append(call)
    return call


def looped_state() -> Node:
    call = Call(Global("m", "C"), (), "newobj")
    call.states = [Dict(["self", call])]
    return call


def call_with_everything() -> Node:
    call = Call(Global("m", "C"), (1,), "reduce")
    call.items, call.entries, call.states = [1, "a"], ["k", 2], [Dict(["x", 1]), (None, Dict([]))]
    return call


LOOPS: dict[str, Callable[[], object]] = {
    "list": looped_list,
    "tuple": looped_tuple,
    "tuple of four": looped_long_tuple,
    "call through its arguments": looped_call,
    "object through its state": looped_state,
    "call with items, entries and states": call_with_everything,
    "newobj_ex": lambda: Call(Global("m", "C"), (1,), "newobj_ex", Dict(["a", 1])),
    "inst": lambda: Call(Global("m", "C"), (1, "x"), "inst"),
    "obj": lambda: Call(Global("m", "C"), (1, "x"), "obj"),
    "dotted global": lambda: Global("m", "C.D"),
    "global of a strange name": lambda: Global("m", "a\nb"),
    "a computed function": lambda: Call(Call(Global("m", "f"), ()), (1,)),
    "shared persistent": lambda: [one := Persistent(("storage", "0")), one],
    "frozenset": lambda: Items("frozenset", [1, "a"]),
    "bytearray": lambda: Items("bytearray", [b"abc"]),
    "lone surrogate": lambda: "a\ud800",
    "repeated keys": lambda: Dict(["a", 1, "a", 2]),
    "long list": lambda: list(range(3000)),
    "large numbers": lambda: [2**31, -(2**31) - 1, 2**4000, -(2**4000), 255, 256, 65535, 65536, True],
}


@pytest.mark.parametrize("case", LOOPS)
def test_loops_and_rare_nodes_come_back(case: str) -> None:
    assert comes_back(LOOPS[case]())


def test_a_graph_deeper_than_the_stack_comes_back() -> None:
    root: Node = []
    for _ in range(9_000):
        root = [root]
    assert comes_back(root)


def test_sharing_is_not_walked_twice() -> None:
    root: Node = [1]
    for _ in range(200):
        root = [root, root]
    assert len(emit_pickle(root).data) < 3_000
    assert comes_back(root)


def test_a_replaced_node_is_replaced_wherever_it_is_shared() -> None:
    old, new = [1], [2]
    found = decoded(emit_pickle([old, (old,)], replacements={id(old): new}).data)
    assert found == [[2], ([2],)]
    assert found[0] is found[1][0]


def test_protocol_2_is_written_where_that_suffices() -> None:
    assert emit_pickle([1, "a", Global("torch", "FloatStorage")]).data[:2] == b"\x80\x02"
    assert emit_pickle(Items("set", [1])).data[:2] == b"\x80\x04"


def test_persistent_nodes_are_listed_in_order() -> None:
    first, second = Persistent("a"), Persistent("b")
    assert emit_pickle([first, second, first]).persistents == (first, second)


def test_pythons_own_pickler_agrees_about_persistent_ids() -> None:
    class Reader(pickle.Unpickler):
        def persistent_load(self, id: Any) -> Any:
            return ("loaded", id)

    data = emit_pickle([Persistent(("storage", 3))]).data
    assert Reader(io.BytesIO(data)).load() == [("loaded", ("storage", 3))]

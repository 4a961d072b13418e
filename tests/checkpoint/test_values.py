"""Hyper-parameters are read as people write them, to the exact value, without numpy or OmegaConf, and never executed."""

from __future__ import annotations

import argparse
import dataclasses
import enum
import sys
import types
from collections import OrderedDict, defaultdict
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from support.assembly import lightning, list_of, mapping, number, zipped
from viscy_compat.checkpoint import open_checkpoint
from viscy_compat.checkpoint.limits import DEFAULT_LIMITS
from viscy_compat.checkpoint.pickle_machine import decode
from viscy_compat.checkpoint.pickle_nodes import Call, Dict, Global, Items, Node, Unread
from viscy_compat.checkpoint.values import value_of

np = pytest.importorskip("numpy")


@dataclasses.dataclass
class Config:
    stride: tuple[int, ...] = (5, 4, 4)


@dataclasses.dataclass(slots=True)
class Slotted:
    depth: int = 15


class Attributes(dict[str, Any]):
    """A dictionary whose entries are attributes too, as Lightning's AttributeDict is."""


class Colour(enum.Enum):
    RED = "red"


def read(value: Any, protocol: int) -> Any:
    """What is read of a value that Python pickled."""
    import pickle

    return value_of(decode(pickle.dumps(value, protocol), DEFAULT_LIMITS, where="here").root)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.int64(-3), -3),
        (np.uint8(200), 200),
        (np.float32(0.5), 0.5),
        (np.float16(0.25), 0.25),
        (np.bool_(True), True),
        (np.str_("hé"), "hé"),
        (np.array([2, 4, 4]), [2, 4, 4]),
        (np.array([[1, 2], [3, 4]], dtype=">i4"), [[1, 2], [3, 4]]),
        (np.asfortranarray([1.5, 2.5]), [1.5, 2.5]),
        (np.array(7), 7),
        (np.array([1, None], dtype=object), [1, None]),
        ((np.int64(2), [np.int32(4)]), [2, [4]]),
        (argparse.Namespace(stride=(5, 4, 4), pool=True), {"stride": [5, 4, 4], "pool": True}),
        (types.SimpleNamespace(a={"b": None}), {"a": {"b": None}}),
        (Config(), {"stride": [5, 4, 4]}),
        (Slotted(), {"depth": 15}),
        (Attributes(a=1), {"a": 1}),
        (OrderedDict(a=1), {"a": 1}),
        (defaultdict(int, a=2), {"a": 2}),
        (PurePosixPath("/a/b"), "/a/b"),
        ({1: "kept out", "a": "kept"}, {"a": "kept"}),
    ],
    ids=repr,
)
def test_a_value_is_read_exactly(value: Any, expected: Any, protocol: int) -> None:
    found = read(value, protocol)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize(
    "value",
    [Colour.RED, {1, 2}, 1 + 2j, np.longdouble(1), np.datetime64("2020-01-01"), np.dtype("f4"), Config, 1 << 70, b"ab"],
    ids=repr,
)
def test_what_has_no_exact_value_is_called_unread(value: Any, protocol: int) -> None:
    found = read({"a": value, "b": 1}, protocol)
    assert isinstance(found["a"], Unread)
    assert found["b"] == 1


def test_an_array_in_another_order_or_too_large_is_not_guessed_at() -> None:
    assert isinstance(read(np.asfortranarray([[1, 2], [3, 4]]), 2), Unread)
    assert isinstance(read(np.zeros(5000), 2), Unread)


def numpy_scalar(dtype: Node, data: Node) -> Call:
    return Call(Global("numpy.core.multiarray", "scalar"), (dtype, data))


@pytest.mark.parametrize(
    "node",
    [
        numpy_scalar(Call(Global("numpy", "dtype"), ("i8", False, True)), b"\x01"),
        numpy_scalar(Call(Global("numpy", "dtype"), 3), b"\x01" * 8),
        numpy_scalar(None, b"\x01" * 8),
        Call(Global("numpy.core.multiarray", "scalar"), 7),
        Call(Global("numpy.core.multiarray", "_reconstruct"), ()),
        Call(Global("os", "mkdir"), ("x",)),
        Call(Call(Global("a", "b"), ()), ()),
        Global("torch.nn", "ReLU"),
        Items("set", [1]),
    ],
)
def test_a_node_that_no_writer_makes_is_unread_and_nothing_is_called(node: Node) -> None:
    assert isinstance(value_of(node), Unread)
    assert not Path("x").exists()


def test_structures_that_share_or_loop_without_end_are_bounded() -> None:
    shared: Node = (1,)
    for _ in range(60):
        shared = (shared, shared)
    value_of(shared)
    loop: list[Node] = []
    loop.append(loop)
    assert value_of(loop) == [Unread("a structure without an end")]
    deep: Node = 1
    for _ in range(sys.getrecursionlimit()):
        deep = [deep]
    value_of(deep)


@pytest.mark.parametrize("kind", ["listconfig.ListConfig", "dictconfig.DictConfig"])
def test_containers_of_omegaconf_hold_what_they_hold_and_interpolations_stay_open(kind: str) -> None:
    omegaconf = pytest.importorskip("omegaconf")
    make = omegaconf.OmegaConf.create
    value: Any = {"a": [1, {"b": None}], "c": "${a}", "d": "???", "e": True, "f": 0.5}
    found = read(make(value if kind.startswith("dict") else [value]), 2)
    if kind.startswith("list"):
        (found,) = found
    assert found == {
        "a": [1, {"b": None}],
        "c": Unread("the interpolation ${a}"),
        "d": Unread("a missing value of OmegaConf"),
        "e": True,
        "f": 0.5,
    }


def test_a_pickled_module_is_no_dictionary_of_arguments() -> None:
    node = Call(Global("torch.nn", "Module"), (), "newobj")
    node.states = [Dict(["_modules", Dict(), "_parameters", Dict(), "in_stack_depth", 5])]
    assert isinstance(value_of(node), Unread)


def test_the_hparams_of_old_lightning_are_the_hyper_parameters(tmp_path: Path) -> None:
    path = tmp_path / "old.ckpt"
    path.write_bytes(zipped(lightning(hparams=mapping({"stride": list_of(number(5), number(4))}))))
    assert value_of(open_checkpoint(str(path)).hyper_parameters) == {"stride": [5, 4]}

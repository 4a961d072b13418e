"""Small entries as JSON values, and paths that a file carries, whatever the graph looks like."""

from __future__ import annotations

import json
import pickle
from argparse import Namespace
from collections import OrderedDict, defaultdict
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

import pytest

from viscy_compat.checkpoint.limits import DEFAULT_LIMITS
from viscy_compat.checkpoint.pickle_machine import decode
from viscy_compat.checkpoint.pickle_nodes import Call, Dict, Global, Items, Persistent
from viscy_compat.checkpoint.plain import absolute_paths, is_absolute, plain


def decoded(value: Any, protocol: int = 2) -> Any:
    return decode(pickle.dumps(value, protocol), DEFAULT_LIMITS).root


class AttributeDict(dict[str, Any]):
    """What Lightning stores hyper-parameters in."""


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"lr": 0.1, "dims": (96, 192), "a": ["a"], "n": None}, {"lr": 0.1, "dims": [96, 192], "a": ["a"], "n": None}),
        (OrderedDict(a=1), {"a": 1}),
        (defaultdict(list, a=[1]), {"a": [1]}),
        (AttributeDict(a=1), {"a": 1}),
        ({1: 2, (3, 4): 5}, {"1": 2, "[3, 4]": 5}),
        ({3}, [3]),
        (frozenset({3}), [3]),
        (PurePosixPath("/a/b.c"), "/a/b.c"),
        (PurePosixPath("a/b.c"), "a/b.c"),
        (b"abc", "<3 bytes>"),
        (10**700, "<a huge integer>"),
    ],
)  # fmt: skip
def test_values_become_what_json_can_say(protocol: int, value: Any, expected: Any) -> None:
    if isinstance(value, bytes) and protocol < 3:
        pytest.skip("bytes are texts of Python 2 here")
    found = plain(decoded(value, protocol))
    assert found == expected
    json.dumps(found)


def test_objects_become_what_they_hold() -> None:
    found = plain(decoded(Namespace(lr=1, nested=Namespace(a=2))))
    assert found == {"class": "argparse.Namespace", "lr": 1, "nested": {"class": "argparse.Namespace", "a": 2}}


def test_windows_paths_become_texts() -> None:
    assert plain(decoded(PureWindowsPath("C:\\runs\\3"))) == "C:/runs/3"


def test_names_tensors_and_storages_are_said_and_not_made() -> None:
    tensor = Call(Global("torch._utils", "_rebuild_tensor_v2"), ())
    assert plain(
        [tensor, Global("torch.nn", "GELU"), Persistent(("storage",)), Call(Global("os", "system"), ("x", "y"))]
    ) == [
        "<tensor>",
        "<torch.nn.GELU>",
        "<storage>",
        "<os.system>",
    ]
    assert plain(Items("bytearray", [b"abc"])) == "<3 bytes>"


def test_endless_graphs_end() -> None:
    loop: list[Any] = []
    loop += [loop, loop]
    assert json.dumps(plain(loop, most=1000)).count("...") > 0
    assert absolute_paths({"a": loop}) == ()


def test_wide_graphs_are_cut() -> None:
    assert len(json.dumps(plain(Dict(["a", list(range(10**6))]), most=100))) < 2_000


@pytest.mark.parametrize(
    "path", ["/hpc/projects/x", "/home/ada/a b.ckpt", "C:\\Users\\ada", "D:/data/x", "\\\\server\\share\\x"]
)
def test_absolute_paths_are_found_wherever_they_are(path: str) -> None:
    assert is_absolute(path)
    graph = decoded({"callbacks": {path: [{"x": (path, "other")}]}})
    assert absolute_paths({"top": graph}) == (path,)


@pytest.mark.parametrize(
    "text", ["/", "//", "a/b", "1/2", "/ 2", "C:", "http://a/b", "", "/\n/", "/*/ x", "model.0.weight"]
)
def test_other_texts_are_no_paths(text: str) -> None:
    assert not is_absolute(text)


def test_pickled_paths_are_found() -> None:
    assert absolute_paths({"a": decoded(PurePosixPath("/hpc/x/y"))}) == ("/hpc/x/y",)

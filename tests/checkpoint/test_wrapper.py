"""Wrapper prefixes come off the front and out of the middle of names, never where that would lose or merge a tensor."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from viscy_compat.checkpoint import wrapper as module
from viscy_compat.checkpoint.facts import Checkpoint, FileFacts, Storage, StoredTensor, View, Wrapper
from viscy_compat.checkpoint.wrapper import (
    common_prefixes,
    default_prefix,
    is_recognised,
    layout_of,
    names_without_wrappers,
    view_below,
    views_of,
)
from viscy_compat.layout import TensorSpec

# a view looks at names only
HELD: Any = None
PARTS = st.sampled_from(["model", "module", "_orig_mod", "encoder", "stem", "_fsdp_wrapped_module"])
KEYS = st.lists(
    st.lists(PARTS, min_size=1, max_size=5).map(".".join).map("{}.w".format), min_size=1, max_size=6, unique=True
)


def views(keys: list[str], prefix: str = "") -> list[tuple[str, dict[str, str], tuple[str, ...], tuple[str, ...]]]:
    """Every view of a checkpoint with these keys, as plain values."""
    checkpoint = Checkpoint(
        path="a.pt", format="torch-zip", files=(), tensors=dict.fromkeys(keys, HELD), wrapper=Wrapper("plain", prefix)
    )
    return [(view.prefix, dict(view.keys), view.outside, view.inner) for view in views_of(checkpoint)]


def test_the_usual_prefix_comes_first_then_the_others_from_short_to_long() -> None:
    keys = ["model.module.w", "model.module.b"]
    prefixes = [prefix for prefix, _, _, inner in views(keys, "model.") if not inner]
    assert prefixes == ["model.", "", "model.module."]
    assert [prefix for prefix, *_ in views(["model.w", "model.b"], "model.")] == ["model.", ""]


def test_keys_without_the_prefix_are_outside_of_its_view_in_their_order() -> None:
    keys = ["z", "module.w", "a", "module.b"]
    assert views([*keys, "module.c"], "module.")[0] == (
        "module.",
        {"w": "module.w", "b": "module.b", "c": "module.c"},
        ("z", "a"),
        (),
    )


@pytest.mark.parametrize("word", ["module", "_orig_mod"])
def test_an_only_child_in_the_middle_is_taken_out_first_and_left_second(word: str) -> None:
    keys = [f"encoder.{word}.stem.w", f"encoder.{word}.head.w", "decoder.w"]
    unwrapped, plain = views(keys)
    names = dict(zip(["encoder.stem.w", "encoder.head.w", "decoder.w"], keys, strict=True))
    assert unwrapped == ("", names, (), (f"encoder.{word}.",))
    assert plain == ("", {key: key for key in keys}, (), ())


@pytest.mark.parametrize("word", ["module", "_orig_mod"])
def test_an_inner_wrapper_with_siblings_stays(word: str) -> None:
    """A class may have a child of that name: only what has nothing beside it is a wrapper."""
    keys = [f"encoder.{word}.w", "encoder.stem.w"]
    assert views(keys) == [("", {key: key for key in keys}, (), ())]


def test_a_name_that_only_begins_like_the_parent_is_no_sibling() -> None:
    keys = ["encoder.module.w", "encoder2.stem.w"]
    assert views(keys)[0][3] == ("encoder.module.",)


def test_only_the_children_of_the_nearest_parent_are_siblings() -> None:
    keys = ["net.encoder.module.w", "net.stem.w"]
    _, names, _, inner = views(keys)[0]
    assert (list(names), inner) == (["net.encoder.w", "net.stem.w"], ("net.encoder.module.",))


def test_two_wrappers_around_each_other_both_go() -> None:
    keys = ["encoder._orig_mod.module.w", "encoder._orig_mod.module.b"]
    _, names, _, inner = views(keys)[0]
    assert list(names) == ["encoder.w", "encoder.b"]
    assert inner == ("encoder._orig_mod.", "encoder._orig_mod.module.")


def test_a_parameter_called_module_is_no_wrapper() -> None:
    assert views(["encoder.module"]) == [("", {"encoder.module": "encoder.module"}, (), ())]


def test_a_wrapper_whose_removal_would_merge_two_names_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_is_only_child", lambda inner, names: True)
    keys = ["encoder.module.w", "encoder.w"]
    assert views(keys) == [("", {key: key for key in keys}, (), ())]


def test_inner_wrappers_are_not_looked_for_beyond_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = ["encoder.module.w", "decoder.module.w"]
    monkeypatch.setattr(module, "_COMPARISONS", 4)
    assert views(keys)[0][3] == ("encoder.module.", "decoder.module.")
    monkeypatch.setattr(module, "_COMPARISONS", 3)
    assert views(keys) == [("", {key: key for key in keys}, (), ())]


@given(KEYS)
def test_every_view_accounts_for_every_key_once(keys: list[str]) -> None:
    for _, names, outside, _ in views(keys):
        assert sorted([*names.values(), *outside]) == sorted(keys)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (["w"], [""]),
        (["model.w"], ["", "model."]),
        (["module.w", "b"], [""]),
        (["module.w", "module.b", "c"], ["", "module."]),
        (["_orig_mod.module.w"], ["", "_orig_mod.", "_orig_mod.module."]),
        ([], [""]),
        (["w\nmodule.a", "module.b\nmodule.c", "x"], [""]),
        (["w\nmodule.a", "module.b", "module.c"], ["", "module."]),
        (["model." * 12 + "w"], ["model." * depth for depth in range(9)]),
    ],
)
def test_a_prefix_is_common_where_more_than_half_have_it(keys: list[str], expected: list[str]) -> None:
    assert common_prefixes(keys) == expected


@pytest.mark.parametrize(
    ("kind", "keys", "expected"),
    [
        ("lightning", ["model.w"], "model."),
        ("lightning", ["model.model.w"], "model."),
        ("plain", ["model.w"], ""),
        ("plain", ["module.w"], "module."),
        ("plain", ["module.model.w"], "module."),
        ("lightning", ["module.model._orig_mod.w"], "module.model._orig_mod."),
        ("lightning", ["w"], ""),
    ],
)
def test_the_default_prefix_takes_one_model_from_lightning_and_none_from_others(
    kind: str, keys: list[str], expected: str
) -> None:
    assert default_prefix(keys, kind) == expected


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        (View("", {}), True),
        (View("model.module._orig_mod.", {}), True),
        (View("", {}, inner=("encoder.module.",)), True),
        (View("model.", {}, inner=("encoder._orig_mod.", "decoder.module.")), True),
        (View("net.", {}), False),
        (View("model.net.", {}), False),
        (View("_forward_module.", {}), False),
        (View("", {}, inner=("encoder._fsdp_wrapped_module.",)), False),
        (View("", {}, lacks="model."), False),
    ],
)
def test_only_the_wrappers_of_the_contract_are_recognised(view: View, expected: bool) -> None:
    assert is_recognised(view) is expected


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("w", "w"),
        ("encoder.module", "encoder.module"),
        ("_fsdp_wrapped_module.encoder._checkpoint_wrapped_module.w", "encoder.w"),
        ("_forward_module.module._orig_mod.w", "w"),
        ("encoder._orig_mod.w", "encoder.w"),
        ("modules.w", "modules.w"),
        ("my_module.w", "my_module.w"),
    ],
)
def test_names_lose_the_wrappers_of_frameworks_wherever_they_stand(key: str, name: str) -> None:
    assert names_without_wrappers([key]) == {name: key}


def test_names_that_would_become_one_are_left_as_they_are() -> None:
    keys = ["encoder.module.w", "encoder.w", "stem.module.w"]
    assert names_without_wrappers(keys) == {key: key for key in keys}


def test_a_class_may_have_the_name_of_a_wrapper_in_its_own_prefix() -> None:
    view = view_below({"net.module.w": "net.module.w"}, "net.module.")
    assert (view.prefix, view.keys) == ("net.module.", {"w": "net.module.w"})


def test_a_view_below_a_prefix_says_what_it_took_off_and_what_is_outside() -> None:
    raw = ["_forward_module.net.encoder._checkpoint_wrapped_module.w", "_forward_module.net.b", "other"]
    view = view_below(names_without_wrappers(raw), "net.", raw=raw)
    assert view == View(
        "_forward_module.net.",
        keys={"encoder.w": raw[0], "b": raw[1]},
        outside=("other",),
        inner=("encoder._checkpoint_wrapped_module.",),
    )
    assert view_below(names_without_wrappers(raw), "net.").outside == ()


@pytest.mark.parametrize("prefix", [".", "..", "a..", "net."])
def test_a_prefix_may_have_empty_parts(prefix: str) -> None:
    names = {f"{prefix}a.w": f"{prefix}a.w", f"{prefix}b": f"{prefix}b"}
    view = view_below(names, prefix)
    assert (view.prefix, view.keys) == (prefix, {"a.w": f"{prefix}a.w", "b": f"{prefix}b"})
    assert not is_recognised(view)


def test_what_a_view_lacks_stands_in_front_of_its_names() -> None:
    assert view_below({"w": "w"}, "", lacks="model.") == View("", keys={"model.w": "w"}, lacks="model.")


def test_a_witness_keeps_out_what_has_other_wrappers_in_front() -> None:
    names = names_without_wrappers(["module.net.w", "net.b", "module.net.c"])
    assert list(view_below(names, "net.").keys) == ["w", "b", "c"]
    view = view_below(names, "net.", witness="net.w", raw=names.values())
    assert (view.prefix, list(view.keys), view.outside) == ("module.net.", ["w", "c"], ("net.b",))


def test_each_checkpoint_has_its_own_layout_of_a_view() -> None:
    facts = FileFacts("a.pt", size=8, device=0, inode=0, modified_ns=0)
    specs = {"model.a": TensorSpec((2,)), "model.b": TensorSpec((3,), "int64")}
    tensors = {
        key: StoredTensor(key, spec, Storage(key, facts, start=0, size=8), stride=(1,)) for key, spec in specs.items()
    }
    whole = Checkpoint(path="a.pt", format="torch-zip", files=(facts,), tensors=tensors)
    view, other = View("model.", {"a": "model.a", "b": "model.b"}), View("model.", {"a": "model.a"})
    assert layout_of(whole, view) == {"a": specs["model.a"], "b": specs["model.b"]}
    assert layout_of(whole, view) is layout_of(whole, view)
    assert layout_of(whole, other) == {"a": specs["model.a"]}
    # a copy that lacks a tensor, or has another one of that name
    lean = whole.without(["model.b"])
    lean.tensors = {"model.a": tensors["model.b"]}
    assert layout_of(lean, other) == {"a": specs["model.b"]}
    assert layout_of(whole, other) == {"a": specs["model.a"]}

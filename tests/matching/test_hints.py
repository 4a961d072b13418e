"""Hints are whole paths with placeholders: what they fit, where they send it, and what cannot be meant."""

from __future__ import annotations

import pytest

from viscy_compat.errors import UsageError
from viscy_compat.matching.hints import destination, dropped_by, parse_hint, place


@pytest.mark.parametrize(
    ("hint", "path", "target"),
    [
        ("a.b=c", "a.b", "c"),
        ("a.b=c", "a.b.weight", None),
        ("a.b=c", "x.a.b", None),
        ("a.b=c", "axb", None),
        ("block_{i}.norm=blocks.{i}.ln", "block_12.norm", "blocks.12.ln"),
        ("block_{i}.norm=blocks.{i}.ln", "block_x.norm", None),
        ("block_{i}=b.{i-1}", "block_3", "b.2"),
        ("block_{i}=b.{i+10}", "block_3", "b.13"),
        ("a.{i}.{i}=b.{i}", "a.4.4", "b.4"),
        ("a.{i}.{i}=b.{i}", "a.4.5", None),
        ("a.{i}.{j}=b.{j}.{i}", "a.4.5", "b.5.4"),
        ("a.*.c=b.*", "a.x1.c", "b.x1"),
        ("a.*.c=b.*", "a.x.y.c", None),
        ("*.{i}.*=*.*.{i}", "q.7.r", "q.r.7"),
        ("a_*=b.*", "a_long_name", "b.long_name"),
        ("a.(b)+=c", "a.(b)+", "c"),
        ("a.{i}=b.{i}", "a.0012", "b.0012"),
        ("a.{i}=b.{i+1}", "a.0012", "b.13"),
        ("a.{i}=b.{i}", "a.1234567890", None),
        ("a=", "a", ""),
    ],
)
def test_a_hint_is_about_whole_paths(hint: str, path: str, target: str | None) -> None:
    assert destination(parse_hint(hint), path) == target


@pytest.mark.parametrize(
    ("hint", "message", "fix"),
    [
        ("a.b", "a hint is OLD=NEW", "OLD= drops what carries no weights"),
        ("=b", "a hint is OLD=NEW", "OLD= drops what carries no weights"),
        ("a.{=b", "braces hold one name, as {i}", "{i+1} only in NEW"),
        ("a.}=b", "braces hold one name, as {i}", "{i+1} only in NEW"),
        ("a.{1..3}=b", "braces hold one name, as {i}", "{i+1} only in NEW"),
        ("a.{i+1}=b.{i}", "braces hold one name, as {i}", "{i+1} only in NEW"),
        ("a=b.{i}", "NEW has a placeholder that OLD lacks", ""),
        ("a.{i}=b.{j}", "NEW has a placeholder that OLD lacks", ""),
        ("a.*=b.*.*", "NEW has a placeholder that OLD lacks", ""),
    ],
)
def test_what_is_no_hint_is_refused_with_its_text(hint: str, message: str, fix: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_hint(hint)
    assert (caught.value.message, caught.value.where, caught.value.fix) == (message, f"--hint {hint}", fix)


def test_a_hint_keeps_its_text_and_may_have_a_sign_in_its_new_name() -> None:
    hint = parse_hint("a=b=c")
    assert (hint.text, hint.new) == ("a=b=c", "b=c")


def test_modules_and_tensors_are_dropped_from_their_start() -> None:
    names = ["head.weight", "head.bias", "header.weight", "x.head.weight", "aux"]
    assert dropped_by(["head=", "aux=", "x=y"], names) == {"head.weight", "head.bias", "aux"}
    assert dropped_by([], names) == set()
    deep = ["a.b.c.weight", "a.b.weight", "b.c.weight"]
    assert dropped_by(["a.b.c="], deep) == {"a.b.c.weight"}


def test_every_path_that_a_hint_fits_is_moved() -> None:
    paths = ["a", "a.0", "a.1", "b", "c.a.0"]
    moves = place(["a.{i}=n.{i+1}", "b="], paths, frozenset({"n.1", "n.2", "n"})).moves
    assert dict(moves) == {"a.0": "n.1", "a.1": "n.2", "b": None}


@pytest.mark.parametrize(
    ("hints", "message", "where", "fix"),
    [
        (
            ["z=n.1"],
            "no tensor or module of the file has this name",
            "--hint z=n.1",
            "hints are anchored: whole paths",
        ),
        (["a.0=n.9"], "the target has no n.9", "--hint a.0=n.9", "hints are anchored: whole paths"),
        (["a.0=n.1", "a.{i}=n.2"], "another hint sends a.0 elsewhere", "--hint a.{i}=n.2", ""),
        (["a.0=n.1", "a.0="], "another hint sends a.0 elsewhere", "--hint a.0=", ""),
        (["a.0=n.1", "a.1=n.1"], "two tensors or modules would become n.1", "--hint", ""),
        (["a.{i}=n.2", "a=n.1", "b=n.1"], "two tensors or modules would become n.1", "--hint", ""),
    ],
)
def test_hints_that_cannot_all_hold_are_refused(hints: list[str], message: str, where: str, fix: str) -> None:
    with pytest.raises(UsageError) as caught:
        place(hints, ["a", "a.0", "a.1", "b"], frozenset({"n.1", "n.2"}))
    assert (caught.value.message, caught.value.where, caught.value.fix) == (message, where, fix)


def test_the_same_hint_twice_is_one_hint_and_two_drops_are_no_collision() -> None:
    assert dict(place(["a=n", "a=n"], ["a"], frozenset({"n"})).moves) == {"a": "n"}
    assert dict(place(["a=", "b="], ["a", "b"], frozenset()).moves) == {"a": None, "b": None}

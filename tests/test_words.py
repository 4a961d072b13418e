"""Plain words are read as argparse reads them, for every command; what is not plain is left to argparse."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.assembly import archive, mapping, pickled, records, storage, tensor
from support.layouts import layout_of
from viscy_compat.commands import COMMANDS, declare_arguments
from viscy_compat.layout import packed_strides
from viscy_compat.parser import CommandParser
from viscy_compat.words import NOT_IN_THE_HELP, PlainWords

PLAIN = {
    "check": ["a.ckpt", "b c.ckpt", "--set", "n=1", "--set=m=", "--strict", "-q", "--color", "never"],
    "remap": ["a.ckpt", "-o", "b.ckpt", "--hint", "a=b", "--weights-only"],
    "inspect": ["--format=json", "a.ckpt"],
    "verify": [],
    "explain": ["VC444"],
    "explore": ["BetaVaeMonai", "--law", "inference", "--law", "build"],
}
ODD = [
    ["--help"], ["--version"], ["a", "-q", "b"], ["a", "--set"], ["a", "--set", "-1"], ["a", "-qv"], ["a", "--colour"],
    ["a", "--", "b"], ["a", "--color", "blue"], ["a", "--strict=yes"], ["--strict"], ["a", "-"], ["a", "--st"],
]  # fmt: skip


def parsers(command: str) -> tuple[PlainWords, CommandParser]:
    """The two that read a command's words, told the same arguments."""
    module = import_module(f"viscy_compat.commands.{command}")
    plain, parser = PlainWords(), CommandParser(prog=f"viscy-compat {command}", description="")
    for each in (plain, parser):
        declare_arguments(each, module)
    return plain, parser


READERS = {command: parsers(command) for command in COMMANDS}
OTHERS = ("a.ckpt", "b c", "", "n=1", "3", "-1", "--", "-")


def words_of(parser: CommandParser) -> list[str]:
    """Every option of a command, what may stand behind one, and what may stand anywhere."""
    choices = {str(choice) for action in parser._actions for choice in action.choices or ()}
    return sorted({*parser._option_string_actions, *choices, *OTHERS})


WORDS = {command: words_of(parser) for command, (_, parser) in READERS.items()}


def by_argparse(parser: CommandParser, words: list[str]) -> dict[str, Any] | None:
    """The values; None where argparse prints something and leaves."""
    try:
        return vars(parser.parse_args(words))
    except SystemExit:
        return None


@pytest.mark.parametrize("command", PLAIN)
def test_the_usual_words_need_no_argparse(command: str) -> None:
    plain, parser = READERS[command]
    values = plain.read(PLAIN[command])
    assert values is not None
    assert vars(values) == by_argparse(parser, PLAIN[command])


def test_check_imports_nothing_that_costs_as_much_as_it_does(tmp_path: Path) -> None:
    config = {"in_shape": (1, 16, 16), "latent_size": 2, "channels": (2, 3), "strides": (1, 2), "out_channels": 1}
    layout = layout_of("BetaVaeMonai", spatial_dims=2, **config)
    keys = {name: str(place) for place, name in enumerate(layout)}
    tensors = {
        name: tensor(spec.shape, packed_strides(spec.shape), of=storage(keys[name], elements=spec.elements))
        for name, spec in layout.items()
    }
    path = tmp_path / "a.ckpt"
    data = {keys[name]: b"\1\2\3\4" * spec.elements for name, spec in layout.items()}
    path.write_bytes(archive(records(pickled(mapping(tensors)), data)))
    program = (
        "import sys; before = {*sys.modules}; from viscy_compat.cli import main; main(['check', sys.argv[1]]); "
        "print(*{*sys.modules} - before, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    assert not {*done.stderr.split()} & {
        "argparse", "contextlib", "enum", "functools", "importlib", "re", "signal", "typing",
    }  # fmt: skip


@pytest.mark.parametrize("words", ODD, ids=" ".join)
def test_help_and_mistakes_are_left_to_argparse(words: list[str]) -> None:
    assert READERS["check"][0].read(words) is None


def test_of_rivals_only_one_is_plain() -> None:
    plain, _ = READERS["remap"]
    assert plain.read(["a.ckpt", "--in-place"]) is not None
    assert plain.read(["a.ckpt", "-o", "b.ckpt", "-o", "c.ckpt"]) is not None
    assert plain.read(["a.ckpt", "-o", "b.ckpt", "--in-place"]) is None


@given(st.data())
def test_what_is_read_is_what_argparse_reads(data: st.DataObject) -> None:
    command = data.draw(st.sampled_from(sorted(COMMANDS)))
    words = data.draw(st.lists(st.sampled_from(WORDS[command]), max_size=7))
    plain, parser = READERS[command]
    values = plain.read(words)
    if values is not None:
        assert vars(values) == by_argparse(parser, words)


def test_values_of_one_reading_are_not_those_of_the_next() -> None:
    plain, _ = READERS["check"]
    first = plain.read(["a", "--set", "n=1"])
    second = plain.read(["a", "--set", "m=1"])
    assert first is not None
    assert second is not None
    assert (first.set, second.set) == (["n=1"], ["m=1"])


def test_the_mark_of_hidden_arguments_is_that_of_argparse() -> None:
    import argparse

    assert NOT_IN_THE_HELP == argparse.SUPPRESS

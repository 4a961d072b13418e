"""What argparse does for a command: help that fits a terminal and lists what can be typed."""

from __future__ import annotations

import os

import pytest

from viscy_compat.cli import main
from viscy_compat.commands import COMMANDS
from viscy_compat.report import columns_of_the_terminal


def help_of(command: str, columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """Return what a command's ``--help`` prints on a terminal of that many columns."""
    monkeypatch.setattr("viscy_compat.parser.columns_of_the_terminal", lambda: columns)
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("columns", [80, 100])
@pytest.mark.parametrize("command", COMMANDS)
def test_no_line_of_a_help_is_broken_by_the_terminal(
    command: str, columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = help_of(command, columns, monkeypatch, capsys).splitlines()
    assert lines[0].startswith(f"usage: viscy-compat {command} [-h]")
    assert [line for line in lines if len(line) >= columns] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_a_help_names_formats_and_no_argument_without_a_word_about_it(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = help_of(command, 100, monkeypatch, capsys)
    assert "  --format FORMAT       how the report on stdout is written: text, json" in text
    assert "SUPPRESS" not in text


def test_a_second_file_of_remap_is_read_to_be_refused_and_not_offered(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = help_of("remap", 80, monkeypatch, capsys).splitlines()
    assert [line for line in lines if line.split()[:1] in (["FILE"], ["[FILE]"])] == [
        " " * 26 + "[FILE]",
        "  FILE                  the checkpoint; never changed without --in-place",
    ]


def test_a_description_is_broken_between_words_and_paragraphs_stay_apart(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = help_of("completion", 80, monkeypatch, capsys)
    assert (
        "\n\nbash: viscy-compat completion bash >\n~/.local/share/bash-completion/completions/viscy-compat\n\nzsh:"
        in text
    )


def test_a_terminal_is_asked_how_wide_it_is_and_a_pipe_is_not_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> os.terminal_size:
        raise OSError(25, "Inappropriate ioctl for device")

    monkeypatch.setattr(os, "get_terminal_size", refuse)
    assert columns_of_the_terminal() == 100
    monkeypatch.setattr(os, "get_terminal_size", lambda _: os.terminal_size((63, 20)))
    assert columns_of_the_terminal() == 63

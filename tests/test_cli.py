"""The command line: one line and exit code 2 for what cannot be meant, and help that lists every command."""

from __future__ import annotations

import gc
import sys
from pathlib import Path

import pytest

from viscy_compat import __version__
from viscy_compat.cli import main
from viscy_compat.commands import COMMANDS


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert [name for name in COMMANDS if f"\n  {name} " not in out] == []
    assert [line for line in out.splitlines() if len(line) > 80] == []


def test_no_words_print_the_help_and_exit_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert capsys.readouterr().out.startswith("usage: viscy-compat COMMAND")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"viscy-compat {__version__}\n"


def test_an_unknown_command_gets_one_line_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explian"]) == 2
    assert capsys.readouterr().err == "viscy-compat: there is no command 'explian'; did you mean 'explain'?\n"


def test_an_unknown_flag_gets_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["explain", "--frobnicate"])
    assert stopped.value.code == 2
    line = "viscy-compat: unrecognized arguments: --frobnicate; see 'viscy-compat explain --help'\n"
    assert capsys.readouterr().err == line


@pytest.mark.parametrize("words", [["-x.ckpt"], ["a.ckpt", "-x.ckpt"], ["a.ckpt", "--config", "-x.ckpt"]])
def test_a_file_that_begins_with_a_dash_gets_the_way_to_write_it(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(["check", *words])
    assert "./" not in capsys.readouterr().err  # there is no such file: it is an option that is not known
    Path("-x.ckpt").write_bytes(b"")
    with pytest.raises(SystemExit) as stopped:
        main(["check", *words])
    assert stopped.value.code == 2
    assert "; a file that begins with a dash is written ./-x.ckpt; see 'viscy-compat check" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        "audit . --ledger",
        "audit . --on",
        "audit . --allow",
        "check . --as",
        "remap a.ckpt --class-path",
        "remap a.ckpt --repo",
        "verify --rev",
        "verify --wheel",
        "verify --candidate-python",
        "verify --save-evidence",
        "gate --waivers",
        "gate --references",
    ],
)
@pytest.mark.parametrize("is_one_word", [True, False])
def test_an_option_of_an_unset_variable_is_refused(
    words: str, is_one_word: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    *before, option = words.split()
    assert main([*before, *([f"{option}="] if is_one_word else [option, ""])]) == 2
    assert capsys.readouterr().err == f"viscy-compat: {option} names nothing; is a variable of the shell unset?\n"


@pytest.mark.parametrize(("argv", "frozen"), [(["explain", "VC101"], False), (None, True)])
def test_only_a_process_that_ends_leaves_what_it_loaded_out_of_the_search_for_circles(
    argv: list[str] | None, frozen: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["viscy-compat", "explain", "VC101"])
    calls: list[None] = []
    monkeypatch.setattr(gc, "freeze", lambda: calls.append(None))
    assert main(argv) == 0
    assert "VC101" in capsys.readouterr().out
    assert bool(calls) is frozen


@pytest.mark.parametrize("words", [["check", "a.ckpt", "--config", "a.yml"], ["gate", "--static", "--recorded"]])
def test_a_folder_that_is_gone_is_said_in_one_line(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lost = tmp_path / "lost"
    lost.mkdir()
    monkeypatch.chdir(lost)
    lost.rmdir()
    assert main(words) == 2
    said = capsys.readouterr()
    line = "viscy-compat: the current folder is gone: it was deleted or moved; cd to one that exists\n"
    assert (said.out, said.err) == ("", line)

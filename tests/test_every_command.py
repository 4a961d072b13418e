"""Formats, outputs, quietness, pipes and relative paths behave the same in every command, as a user runs it.

A table of commands against a table of flags; no pair imports torch. What becomes of a process (its pipes, its encoding, a disc
that is full, what it leaves when nobody reads) is asked of one of its own; what is only printed and written is asked of `main`,
at 0.03 CPU seconds a command instead of 0.13. What they run is counted under one flag.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree.ElementTree import fromstring

import pytest

from support.schema import assert_described
from support.stand_in import stand_in
from viscy_compat.architectures import find
from viscy_compat.architectures.architecture import complete
from viscy_compat.cli import main
from viscy_compat.commands import COMMANDS
from viscy_compat.gating.check import hollow
from viscy_compat.report import FORMATS

PROGRAM = (sys.executable, "-m", "viscy_compat")


class Row(NamedTuple):
    """A command as it is typed in a folder with `old.safetensors`, `new.safetensors` and `bin/python`; its exit code."""

    words: str
    code: int

    @property
    def command(self) -> str:
        return self.words.split()[0]


ROWS = (
    Row("check new.safetensors old.safetensors", 1),
    Row("audit new.safetensors old.safetensors --ledger ledger.jsonl", 1),
    Row("remap old.safetensors", 0),
    Row("remap old.safetensors -o written.safetensors --force", 0),
    Row("inspect ./new.safetensors", 0),
    Row("diff old.safetensors new.safetensors", 1),
    Row("check new.safetensors --against old.safetensors --ignore VC302", 1),
    Row("zoo", 0),
    Row("explain", 0),
    Row("explain VC201 vc202", 0),
    Row("doctor --quick", 0),
    Row("completion fish", 0),
    Row("explore BetaVae25D --ask backbone=resnet50", 0),
    Row("explore BetaVae25D --plot map.html", 0),
    Row("explore BetaVaeMonai --law inference --examples 2", 0),
    Row("verify BetaVaeMonai --recorded --candidate . --candidate-python bin/python", 1),
    Row("gate BetaVaeMonai --static --recorded --candidate . --candidate-python bin/python", 1),
    Row("record BetaVaeMonai --candidate . --generation v9 --candidate-python bin/python --to refs --check", 1),
)
NAMES = [row.words for row in ROWS]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the commands are typed."""
    folder = tmp_path_factory.mktemp("a folder with spaces")
    monai = find("ContrastiveEncoder")
    for name, generation in (("old", monai.generations[0]), ("new", monai.generations[-1])):
        case = (generation.cases or monai.cases)[0]
        hollow(str(folder / f"{name}.safetensors"), generation.layout(complete(monai, case.config)))
    (folder / "bin").mkdir()
    (folder / "viscy_models").mkdir()
    (folder / "viscy_models" / "__init__.py").touch()
    stand_in(folder / "bin" / "python", file=folder / "viscy_models" / "__init__.py")
    return folder


def typed(place: Path, words: str, *flags: str, **how: object) -> subprocess.CompletedProcess[str]:
    environment = {name: text for name, text in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    run = {"capture_output": True, "text": True, "cwd": place, "env": {**environment, "GITHUB_STEP_SUMMARY": ""}, **how}
    return subprocess.run([*PROGRAM, *words.split(), *flags], **run)  # type: ignore[call-overload,no-any-return]


class Printed(NamedTuple):
    """What a command that ran in this process came to."""

    returncode: int
    stdout: str
    stderr: str


class Here:
    """Types commands in the folder, in this process."""

    def __init__(self, place: Path, capsys: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch) -> None:
        self.capsys = capsys
        patch.chdir(place)
        patch.setenv("GITHUB_STEP_SUMMARY", "")

    def typed(self, words: str, *flags: str) -> Printed:
        code = main([*words.split(), *flags])
        return Printed(code, *self.capsys.readouterr())


@pytest.fixture
def here(place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Here:
    return Here(place, capsys, monkeypatch)


def lines_of(text: str) -> list[str]:
    """A document without what a report says of the time at which it was made."""
    return [re.sub(r'timestamp="[^"]*"', "", line) for line in text.splitlines()]


def test_the_table_has_every_command() -> None:
    assert {row.command for row in ROWS} == set(COMMANDS)


@pytest.mark.uncounted
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_what_is_printed_is_what_is_written_to_a_relative_path(place: Path, here: Here, row: Row, format: str) -> None:
    name = f"report of {ROWS.index(row)}.{format}"
    done = here.typed(row.words, "--format", format, "--output", f"{format}:{name}", "-v", "--color", "never")
    assert (done.returncode, "Traceback" in done.stderr) == (row.code, False), done.stderr
    written = (place / name).read_text()
    assert lines_of(written.rstrip("\n")) == lines_of(done.stdout.rstrip("\n"))
    assert written.strip() or (format == "sarif" and row.code == 0)
    read(format, written)


def read(format: str, text: str) -> None:
    """Take a document for what it says that it is."""
    if format in ("json", "sarif"):
        assert isinstance(json.loads(text), dict)
    if format == "json":
        assert_described(json.loads(text))
    if format == "jsonl":
        assert [type(json.loads(line)) for line in text.splitlines()] == [dict] * len(text.splitlines())
    if format == "junit":
        assert fromstring(text).tag == "testsuites"
    if format == "html":
        assert text.lower().startswith("<!doctype html>")


@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_quiet_prints_no_progress_and_no_more_than_the_whole_report(place: Path, row: Row) -> None:
    loud, quiet = typed(place, row.words), typed(place, row.words, "-q")
    assert (loud.returncode, quiet.returncode, quiet.stderr) == (row.code, row.code, "")
    assert len(quiet.stdout) <= len(loud.stdout)
    assert "\x1b" not in loud.stdout + loud.stderr
    assert quiet.stdout.strip() or row.code == 0


@pytest.mark.uncounted
@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_colours_change_nothing_but_colours(here: Here, row: Row) -> None:
    coloured = here.typed(row.words, "--color", "always")
    assert coloured.returncode == row.code
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured.stdout) == here.typed(row.words).stdout


@pytest.mark.uncounted
@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_a_reader_that_has_left_changes_neither_the_exit_code_nor_the_files(place: Path, row: Row) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = typed(
            place, row.words, "-q", "--output", "json:left.json", capture_output=False, stdout=writer, stderr=writer
        )
    finally:
        os.close(writer)
    assert done.returncode == row.code
    assert json.loads((place / "left.json").read_text())["schema"] == 1
    (place / "left.json").unlink()


@pytest.mark.uncounted
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_a_disc_that_is_full_is_one_line(place: Path, row: Row) -> None:
    with open("/dev/full", "w") as full:
        done = typed(place, row.words, capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 2
    said = "viscy-compat: stdout: No space left on device; write the report elsewhere"
    assert done.stderr.splitlines()[-1] == said
    assert "Traceback" not in done.stderr


@pytest.mark.uncounted
@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_an_output_that_cannot_be_is_refused_before_any_work(here: Here, row: Row) -> None:
    for output, said in (
        ("report.json", "is not FORMAT:PATH"),
        ("json:no/x", "no such folder"),
        ("json:bin", "a folder"),
    ):
        done = here.typed(row.words, "--output", output)
        assert (done.returncode, done.stdout) == (2, "")
        assert said in done.stderr
        assert len(done.stderr.splitlines()) == 1


@pytest.mark.uncounted
@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_stdout_that_is_closed_or_knows_ascii_alone_is_no_error(place: Path, row: Row) -> None:
    shell = 'exec "$@" >&-'
    words = ["sh", "-c", shell, "sh", *PROGRAM, *row.words.split(), "-q"]
    done = subprocess.run(words, cwd=place, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (row.code, "")
    poor = typed(place, row.words, "-q", env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    assert (poor.returncode, poor.stderr) == (row.code, "")


@pytest.mark.uncounted
def test_head_always_gives_the_exit_code_of_the_check(place: Path) -> None:
    """What ``check FILE | head -1`` ends with does not depend on which of the two is quicker."""
    for wait in ("", "sleep 1; "):
        for name, code in (("new", 0), ("old", 1)):
            line = f'{{ {wait}"$0" -m viscy_compat check {name}.safetensors; echo "code $?" >&2; }} | head -1'
            shell = shutil.which("sh") or "/bin/sh"
            done = subprocess.run([shell, "-c", line, sys.executable], cwd=place, capture_output=True, text=True)
            assert done.stderr == f"code {code}\n"


INTERPRETERS: Sequence[str] = (
    "verify BetaVaeMonai --recorded --candidate .",
    "record BetaVaeMonai --candidate . --generation v9 --to refs --check",
)


@pytest.mark.uncounted
@pytest.mark.parametrize("words", INTERPRETERS)
def test_an_interpreter_is_found_by_a_relative_path_by_its_name_and_under_home(place: Path, words: str) -> None:
    environment = {**os.environ, "PATH": f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}", "HOME": str(place)}
    shutil.copy(place / "bin" / "python", place / "bin" / "their-python")
    for python in ("bin/python", "./bin/../bin/python", "their-python", "~/bin/python", str(place / "bin" / "python")):
        done = typed(place, words, "--candidate-python", python, env=environment)
        assert (done.returncode, "cannot be started" in done.stderr) == (1, False), done.stderr


@pytest.mark.uncounted
def test_an_interpreter_that_is_not_there_is_one_line(place: Path) -> None:
    done = typed(place, INTERPRETERS[0], "--candidate-python", "no/python", "-q")
    assert done.returncode == 2
    assert done.stderr == (
        f"viscy-compat: the candidate worker: cannot be started with {place / 'no' / 'python'}: "
        "No such file or directory [VC603]\n"
    )

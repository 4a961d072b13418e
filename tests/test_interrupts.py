"""Ctrl-C and the other signals to end: at once, with what is known, nothing left behind. No torch is imported."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from support.stand_in import STUCK, stand_in, stuck
from viscy_compat import cli
from viscy_compat import interrupts as interrupts_module
from viscy_compat.architectures import find
from viscy_compat.errors import Interrupted
from viscy_compat.findings import Report
from viscy_compat.gating.engine import gate
from viscy_compat.gating.stage import Setting, Stage, StageResult, Workshop
from viscy_compat.interrupts import Interrupts
from viscy_compat.workers.candidate import Candidate

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals as Unix has them")

PROGRAM = """
import sys
from viscy_compat import interrupts
from viscy_compat.cli import main
from viscy_compat.workers import pipes, worker
interrupts._ECHO = worker._PATIENCE = pipes._PATIENCE = 3600
sys.exit(main())
"""
"""The command on a machine however slow; an end that waits for the end of a patience takes an hour instead of seconds."""
HANG = 600
CASES = len(find("BetaVaeMonai").cases)
OLD = "--wheel made_up-9.9.9-py3-none-any.whl"
"""A made-up release: what its class does is said by a stand-in."""


class Place(SimpleNamespace):
    """A folder with interpreters that answer at first, and then no more."""

    folder: Path
    marker: Path
    temporary: Path


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "viscy_models").mkdir()
    (tmp_path / "viscy_models" / "__init__.py").touch()
    (tmp_path / "tmp").mkdir()
    mine = tmp_path / "viscy_models" / "__init__.py"
    stand_in(tmp_path / "quick", file=mine)
    escaped = 'subprocess.Popen(["sleep", "600"], start_new_session=True)'
    marker = tmp_path / "marker"
    # the very case of a strange child: it has a session of its own, and holds the pipes of the answers
    extra = f"        {escaped} if runs == 1 else None\n" + STUCK.format(runs=CASES + 3, marker=str(marker))
    stand_in(tmp_path / "stuck", extra, file=mine)
    stuck(tmp_path / "stuck-at-once", marker)
    with zipfile.ZipFile(tmp_path / "made_up-9.9.9-py3-none-any.whl", "w") as archive:
        archive.writestr("viscy/representation/vae.py", "class BetaVaeMonai: ...\nclass BetaVae25D: ...\n")
        archive.writestr("viscy/representation/contrastive.py", "class ResNet3dEncoder: ...\n")
    return Place(folder=tmp_path, marker=marker, temporary=tmp_path / "tmp")


def started(place: Place, words: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "TMPDIR": str(place.temporary), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-c", PROGRAM, *words.split()]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=place.folder, env=environment, stdout=pipe, stderr=pipe, text=True)


def wait_until_stuck(place: Place, process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + HANG
    while not place.marker.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.02)


def ended_by(place: Place, words: str, number: int) -> tuple[int, str, str]:
    """Start a command, send it a signal once a worker is stuck, and return what it left."""
    process = started(place, words)
    try:
        wait_until_stuck(place, process)
        process.send_signal(number)
        out, err = process.communicate(timeout=HANG)
    finally:
        process.kill()
    assert "Traceback" not in err
    assert err.splitlines()[-1] == "viscy-compat: interrupted"
    assert list(place.temporary.iterdir()) == []
    return process.returncode, out, err


RECORDED = "--recorded --candidate . --candidate-python stuck"
SIDES = f"{OLD} --candidate . --candidate-python quick --legacy-python stuck"
AT_ONCE = f"{OLD} --candidate . --candidate-python quick --legacy-python stuck-at-once"
COMMANDS = {
    "verify against the references": (f"verify BetaVaeMonai ResNet3dEncoder {RECORDED}", ["BetaVaeMonai"]),
    "verify from a source": (f"verify BetaVaeMonai ResNet3dEncoder {SIDES}", ["BetaVaeMonai"]),
    "verify on two pairs": (f"verify BetaVaeMonai ResNet3dEncoder {AT_ONCE} --jobs 4", []),
    "verify at once": (f"verify BetaVaeMonai {AT_ONCE}", []),
    "explore": (f"explore BetaVaeMonai --law old-equals-new {AT_ONCE}", []),
    "record": (
        "record BetaVaeMonai ResNet3dEncoder --generation v9 --to refs --candidate . --candidate-python stuck",
        ["BetaVaeMonai"],
    ),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_ctrl_c_ends_a_command_at_once_with_what_is_known(place: Place, name: str) -> None:
    words, known = COMMANDS[name]
    code, out, _ = ended_by(place, f"{words} --format json --output json:known.json", signal.SIGINT)
    assert code == 130
    told = json.loads(out)
    assert told["interrupted"] is True
    assert {row["class"] for row in told["results"]} >= set(known)
    assert json.loads((place.folder / "known.json").read_text()) == told


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_end_it_as_well(place: Place, number: int) -> None:
    code, out, _ = ended_by(place, COMMANDS["verify from a source"][0], number)
    assert code == 128 + number
    assert out.startswith("interrupted, and this is what was known by then:\n\n")
    assert "undecided: 1 class compared before the interrupt" in out


def test_the_gate_says_of_what_it_has_not_come_to_that_it_is_undecided(place: Place) -> None:
    words = f"gate BetaVaeMonai ResNet3dEncoder --numeric {SIDES} --format json"
    code, out, _ = ended_by(place, words, signal.SIGINT)
    assert code == 130
    rows = {(row["stage"], row["class"]): row for row in json.loads(out)["results"]}
    assert rows["verify", "BetaVaeMonai"]["configurations"] > 0
    for missing in (("verify", "ResNet3dEncoder"), ("explore", "BetaVaeMonai"), ("explore", "ResNet3dEncoder")):
        assert rows[missing]["verdict"] == "undecided"
        assert "interrupted before" in rows[missing]["findings"][0]["message"]


def test_two_signals_of_one_key_are_one(place: Place) -> None:
    """A terminal sends Ctrl-C to a whole group, and a wrapper may pass it on once more."""
    process = started(place, COMMANDS["verify from a source"][0])
    wait_until_stuck(place, process)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=HANG)
    assert (process.returncode, "known by then" in out, "Traceback" in err) == (130, True, False)


class TestInterrupts:
    """The handler itself."""

    def test_the_first_signal_raises_and_is_remembered(self, monkeypatch: pytest.MonkeyPatch) -> None:
        now = iter([100.0, 100.5])
        monkeypatch.setattr(interrupts_module, "time", SimpleNamespace(monotonic=lambda: next(now)))
        with Interrupts() as interrupts:
            assert interrupts.exit_code == 130
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGTERM)
            assert interrupts.exit_code == 143
            os.kill(os.getpid(), signal.SIGTERM)
        assert list(now) == []

    def test_a_signal_that_comes_later_ends_the_process(self, monkeypatch: pytest.MonkeyPatch) -> None:
        now, ends = iter([100.0, 100.6]), list[int]()
        monkeypatch.setattr(interrupts_module, "time", SimpleNamespace(monotonic=lambda: next(now)))
        monkeypatch.setattr(os, "_exit", ends.append)
        with Interrupts():
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
        assert ends == [130]

    def test_what_was_set_before_is_set_again_and_what_is_ignored_stays_so(self) -> None:
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            names = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
            handlers = [signal.getsignal(name) for name in names]
            with Interrupts():
                os.kill(os.getpid(), signal.SIGHUP)
                assert signal.getsignal(signal.SIGTERM) is not handlers[1]
            assert [signal.getsignal(name) for name in names] == handlers
        finally:
            signal.signal(signal.SIGHUP, before)


def results(*names: str) -> Iterator[Any]:
    yield from (StageResult("made-up", name) for name in names)
    raise KeyboardInterrupt


class TestReports:
    """What is known is a report of its own, and never a pass."""

    def test_results_that_come_one_by_one(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        seen = iter([StageResult("", "one"), StageResult("", "two")])

        def inspection(path: str, **how: object) -> StageResult:
            found = next(seen, None)
            if found is None:
                raise KeyboardInterrupt
            return found

        monkeypatch.setattr("viscy_compat.commands.inspect.inspection_of", inspection)
        for format, count in (("json", 1), ("jsonl", 2)):
            seen = iter([StageResult("", "one"), StageResult("", "two")])
            assert cli.main(["inspect", "a", "b", "c", "--format", format]) == 130
            out, err = capsys.readouterr()
            assert err == "viscy-compat: interrupted\n"
            told: list[Mapping[str, Any]] = [json.loads(out)] if count == 1 else [*map(json.loads, out.splitlines())]
            found = told[0]["results"] if count == 1 else told
            assert [row["class"] for row in found] == ["one", "two"]

    def test_the_gate(self) -> None:
        setting = Setting((find("BetaVaeMonai"), find("ResNet3dEncoder")), Candidate())

        def run(workshop: Workshop) -> Iterator[StageResult]:
            yield from results("BetaVaeMonai")

        with pytest.raises(Interrupted) as stopped:
            gate(setting, [Stage("made-up", "static", "made up", run)])
        report: Report[Any] = stopped.value.report
        assert (report.exit_code, bool(report), report.interrupted) == (2, False, True)
        assert [(row.title, row.exit_code) for row in report.results] == [
            ("made-up: BetaVaeMonai", 0),
            ("made-up: ResNet3dEncoder", 2),
        ]
        assert report.exhibits is not None
        assert report.exhibits.tables[0].rows == (("BetaVaeMonai", "holds"), ("ResNet3dEncoder", "undecided"))


INTERRUPTED_IMPORT = """
import os, signal, sys

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "viscy_compat.cli":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
from viscy_compat.__main__ import main
sys.argv = ["viscy-compat", "--version"]
sys.exit(main())
"""


@pytest.mark.parametrize(
    ("before", "code", "out", "err"),
    [
        ("", 130, "", "viscy-compat: interrupted\n"),
        ("import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)", 0, "viscy-compat ", ""),
    ],
)
def test_ctrl_c_while_modules_are_imported_is_one_line_and_130(before: str, code: int, out: str, err: str) -> None:
    done = subprocess.run([sys.executable, "-c", before + INTERRUPTED_IMPORT], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (code, err)
    assert done.stdout.startswith(out)


def test_a_signal_before_the_command_has_begun_is_one_line_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def come(*_: object) -> int:
        signal.raise_signal(signal.SIGINT)
        return 0

    monkeypatch.setattr(cli, "_ended", come)
    assert cli.main(["check", "a.ckpt"]) == 130
    assert capsys.readouterr() == ("", "viscy-compat: interrupted\n")

"""Every hostile file gets its exact code, quickly; its honest twin stays readable."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from hostile.generator import Hostile, all_cases
from support.pace import slowness
from viscy_compat.checkpoint import open_checkpoint
from viscy_compat.checkpoint.inspection import inspect_checkpoint
from viscy_compat.errors import UnreadableCheckpoint
from viscy_compat.findings import CATALOGUE, Report
from viscy_compat.report import render
from viscy_compat.report.terminal import Style

CASES = all_cases()
LONG = 300_000
"""Bytes of a pickle or header that runs the same few lines a million times: to count each of them says no more."""


def says_enough(error: UnreadableCheckpoint, path: Path) -> None:
    """An error names the file and what to do, on one line."""
    assert str(path) in str(error)
    assert error.fix
    assert "\n" not in str(error)


def errors_of(path: Path) -> tuple[set[str], set[str]]:
    """What stops the reading, and what is found about a file that is read and shown in full."""
    try:
        checkpoint = open_checkpoint(str(path))
    except UnreadableCheckpoint as error:
        says_enough(error, path)
        return {error.code}, set()
    report = Report("inspect", [inspect_checkpoint(checkpoint, every_byte=True)])
    for format in ("text", "json"):
        assert render(report, format, Style(verbose=True))
    return set(), {finding.code for finding in checkpoint.findings}


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case.name, marks=[pytest.mark.uncounted] if len(case.content) > LONG else [])
        for case in CASES
    ],
)
def test_a_hostile_file_gets_its_code(tmp_path: Path, case: Hostile) -> None:
    path = tmp_path / f"hostile{case.ending}"
    path.write_bytes(case.content)
    started = time.process_time()
    stopped, found = errors_of(path)
    took = time.process_time() - started
    # The law is two seconds of the real command (test_command.py); here each line that runs is counted, too.
    assert took < 12 or took < 12 * slowness()
    if case.found:
        assert case.code in found
        assert not stopped
    else:
        assert stopped == ({case.code} if case.code else set())


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_its_honest_twin_stays_readable(tmp_path: Path, case: Hostile) -> None:
    path = tmp_path / f"honest{case.ending}"
    path.write_bytes(case.twin)
    stopped, found = errors_of(path)
    assert not stopped
    assert not [code for code in found if CATALOGUE[code].severity == "error"]


def test_there_are_at_least_120_hostile_files_of_distinct_names() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 120


def test_every_code_of_the_reader_has_a_file_that_makes_it_fire() -> None:
    elsewhere = {"VC401", "VC402", "VC446", "VC460", "VC461", "VC462", "VC463", "VC465", "VC466"}
    reader = {code for code in CATALOGUE if code.startswith("VC4") and code < "VC470"}
    assert reader - {case.code for case in CASES} == elsewhere

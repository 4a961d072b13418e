"""What `doctor` says would stop a command is what would stop it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from support.packages import installed
from viscy_compat.commands import COMMANDS
from viscy_compat.errors import UsageError
from viscy_compat.readiness import EXTRAS, PARTS, Readiness, Requirement, examine, requirements_of
from viscy_compat.report import render
from viscy_compat.report.terminal import Style

NEW, OLD = {"broken-thing": "2.10.0+cu132"}, {"broken-thing": "2.9.1"}


def row_of(command: str, *wanted: str) -> Readiness:
    report = examine(tuple(COMMANDS), wanted)
    found: Readiness = next(row for row in report.results if row.title == command)
    return found


def test_what_is_there_is_ready(tmp_path: Path) -> None:
    with installed(tmp_path, NEW):
        row = row_of("verify")
    assert (row.reasons, row.fix, row.exit_code) == ((), "", 0)
    assert [tuple(found) for found in row.requirements] == [("broken-thing", "2.10", "2.10.0+cu132")]


def test_what_is_missing_is_a_finding_only_where_it_is_asked_for(tmp_path: Path) -> None:
    with installed(tmp_path, {}):
        by_the_way, asked = row_of("verify"), row_of("verify", "verify")
    assert by_the_way.reasons == asked.reasons == ("broken-thing is not installed",)
    assert by_the_way.fix == asked.fix == "pip install 'viscy-compat[models]'"
    assert (by_the_way.exit_code, asked.exit_code) == (0, 1)
    assert [finding.code for finding in asked.findings] == ["VC395"]


def test_an_extra_brings_those_that_it_names(tmp_path: Path) -> None:
    with installed(tmp_path, {}):
        assert row_of("explore").reasons == ("broken-thing is not installed",)
        assert row_of("check --config").reasons == ("pyyaml is not installed",)
        assert row_of("check").reasons == ()


def test_what_is_too_old_is_a_finding_in_any_case(tmp_path: Path) -> None:
    with installed(tmp_path, OLD):
        row = row_of("verify")
    assert row.reasons == ("broken-thing is 2.9.1, and 2.10 or newer is needed",)
    assert ([finding.code for finding in row.findings], row.exit_code) == (["VC396"], 1)


def test_an_extra_that_nobody_has_installed_is_not_broken(tmp_path: Path) -> None:
    """A fresh environment has an old pip, which is a part of an extra; nothing of it is broken."""
    with installed(tmp_path, OLD, more="other-thing>=1"):
        by_the_way, asked = row_of("verify"), row_of("verify", "verify")
    assert by_the_way.reasons == ("other-thing is not installed",)
    assert by_the_way.findings == ()
    assert [finding.code for finding in asked.findings] == ["VC395", "VC396"]
    assert asked.reasons == ("other-thing is not installed", "broken-thing is 2.9.1, and 2.10 or newer is needed")


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("raise ImportError('libcudart.so.13 is missing')", "ImportError: libcudart.so.13 is missing"),
        ("import os; os._exit(7)", "ends Python with code 7"),
        ("print('hello')\nraise SystemExit('no')", "SystemExit: no"),
    ],
    ids=["raises", "ends Python", "wants to leave"],
)
def test_what_cannot_be_imported_is_found_by_importing_it(code: str, says: str, tmp_path: Path) -> None:
    with installed(tmp_path, NEW, code=code):
        row = row_of("verify")
        quick = examine(tuple(COMMANDS), quick=True)
    assert row.reasons == (f"broken-thing 2.10.0+cu132 cannot be imported: {says}",)
    assert [finding.code for finding in row.findings] == ["VC397"]
    assert quick.exit_code == 0


def test_a_cache_that_cannot_be_made_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("VISCY_COMPAT_CACHE", str(tmp_path / "file" / "cache"))
    report = examine(("check",), quick=True)
    assert [finding.code for finding in report.findings] == ["VC398"]
    assert report.findings[0].message.endswith(f"{tmp_path / 'file'} is not a folder")
    assert not (tmp_path / "file").is_dir()


def test_a_command_that_does_not_exist_is_usage() -> None:
    with pytest.raises(UsageError, match="there is no command 'chek'"):
        examine(tuple(COMMANDS), ("chek",))


def test_every_extra_of_the_table_is_one_of_this_distribution() -> None:
    assert set(EXTRAS) <= set(COMMANDS)
    for extra in {extra for extras in [*EXTRAS.values(), *PARTS.values()] for extra in extras}:
        assert requirements_of(extra), extra
    assert "torch" in [row.package for row in requirements_of("explore")]


def test_commands_that_need_the_same_are_said_in_one_line(tmp_path: Path) -> None:
    with installed(tmp_path, {}):
        text = render(examine(tuple(COMMANDS), quick=True), "text")
    stopped = [line for line in text.splitlines() if line.startswith("stopped")]
    needs_models = "verify, record, remap --prove, gate --static, load_model"
    assert stopped == [
        f"stopped   {needs_models}: broken-thing is not installed",
        "stopped   explore, gate: broken-thing is not installed",
        "stopped   check --config: pyyaml is not installed",
    ]
    assert render(examine(("verify",), ("verify",), quick=True), "text", Style(quiet=True)) == ""


def test_nothing_is_made_by_looking(tmp_path: Path) -> None:
    with installed(tmp_path, NEW):
        examine(("check",), quick=True)
        assert not os.path.exists(os.environ["VISCY_COMPAT_CACHE"])


def test_a_release_is_not_older_than_the_same_one_spelled_with_more_zeros() -> None:
    assert not Requirement("torch", "2.0.0", "2.0").outdated
    assert not Requirement("torch", "2.0", "2.0.0+cu130").outdated
    assert Requirement("torch", "2.10", "2.9.1").outdated

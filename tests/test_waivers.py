"""Accepted differences are rows with a reason and an expiry; anything else is refused, and an old row counts no more."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from viscy_compat import waivers
from viscy_compat.commands.sources import refuse_strange
from viscy_compat.errors import UsageError
from viscy_compat.exploring.laws import LAWS
from viscy_compat.waivers import Waiver, read_configuration, read_waivers, version_numbers

ROW = 'class = "BetaVae25D"\ncode = "VC501"\nreason = "because"\nexpires = 2027-01-31\n'
DAY = date(2026, 12, 1)


def written(folder: Path, text: str, name: str = "viscy-compat.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_row_is_read_with_everything_that_it_says(tmp_path: Path) -> None:
    (row,) = read_waivers(written(tmp_path, f"[accepted.eps]\n{ROW}"), today=DAY)
    assert row == Waiver("eps", "BetaVae25D", "VC501", "because", date(2027, 1, 31), expired=False)
    assert str(row) == "eps (BetaVae25D VC501, until 2027-01-31): because"


@pytest.mark.parametrize(("day", "expired"), [("2027-01-30", False), ("2027-01-31", True), ("2030-01-01", True)])
def test_a_date_expires_on_its_day(tmp_path: Path, day: str, expired: bool) -> None:
    path = written(tmp_path, f"[accepted.eps]\n{ROW}")
    assert read_waivers(path, today=date.fromisoformat(day))[0].expired is expired


def test_the_day_can_be_stated_for_reproducible_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, f"[accepted.eps]\n{ROW}")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    assert read_waivers(path)[0].expired is False
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1900000000")
    assert read_waivers(path)[0].expired is True
    # no day that can be: the clock is asked
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "999999999999")
    assert len(read_waivers(path)) == 1


@pytest.mark.parametrize(
    ("version", "expired"),
    [("1.1.9", False), ("1.2.0", True), ("1.2", True), ("1.2.0rc1", True), ("1.10", True), ("0.9", False)],
)
def test_a_version_expires_when_the_project_reaches_it(tmp_path: Path, version: str, expired: bool) -> None:
    row = ROW.replace("2027-01-31", '"1.2.0"')
    text = f'[project]\nversion = "{version}"\n[tool.viscy-compat.accepted.eps]\n{row}'
    assert read_waivers(written(tmp_path, text, "pyproject.toml"))[0].expired is expired


def test_a_version_without_a_known_project_version_is_refused(tmp_path: Path) -> None:
    row = ROW.replace("2027-01-31", '"1.2.0"')
    text = f'[project]\ndynamic = ["version"]\n[tool.viscy-compat.accepted.eps]\n{row}'
    with pytest.raises(UsageError, match="give a date"):
        read_waivers(written(tmp_path, text, "pyproject.toml"))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("reason", "note"), "has no field note"),
        (('reason = "because"\n', ""), "lacks reason"),
        (('"because"', '""'), "lacks reason"),
        (("expires = 2027-01-31\n", ""), "lacks expires"),
        (('code = "VC501"\n', ""), "needs either code or law"),
        (("code", 'law = "layout"\ncode'), "needs either code or law"),
        (('"BetaVae25D"', "3"), "lacks class"),
        (("2027-01-31", '"some day"'), "neither a date nor a version"),
    ],
)
def test_a_row_that_is_none_is_refused(tmp_path: Path, change: tuple[str, str], complaint: str) -> None:
    text = f"[accepted.eps]\n{ROW}".replace(*change)
    with pytest.raises(UsageError, match=complaint) as refused:
        read_waivers(written(tmp_path, text))
    assert "accepted.eps" in str(refused.value)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("accepted = 3", r"'accepted' holds no rows; write each row as a table \[accepted\.ID\]$"),
        ("[[accepted]]\na=1", "'accepted' holds no rows"),
        ("[accepted]\neps = 1", "accepted.eps: is no table; a row has class, code"),
        ("nonsense", "is no TOML"),
    ],
)
def test_a_file_without_proper_rows_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        read_waivers(written(tmp_path, text))


def test_rows_of_a_project_are_asked_for_where_a_project_has_them(tmp_path: Path) -> None:
    path = written(tmp_path, "[tool.viscy-compat]\naccepted = 3", "pyproject.toml")
    with pytest.raises(UsageError, match=r"as a table \[tool\.viscy-compat\.accepted\.ID\]$"):
        read_waivers(path)


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        read_waivers(tmp_path / "absent.toml")


def test_the_files_of_the_current_folder_are_looked_at_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_waivers() == ()
    written(tmp_path, f'[project]\nname = "x"\n[tool.viscy-compat.accepted.second]\n{ROW}', "pyproject.toml")
    assert [row.id for row in read_waivers(today=DAY)] == ["second"]
    written(tmp_path, f"[accepted.first]\n{ROW}")
    assert [row.id for row in read_waivers(today=DAY)] == ["first"]


def test_versions_are_compared_by_their_numbers() -> None:
    assert version_numbers("1.10") > version_numbers("1.9.9")
    assert version_numbers("1.0") == version_numbers("1")


# --- what means nothing is said to ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        (f"[acepted.eps]\n{ROW}", "viscy-compat.toml", "did you mean accepted"),
        (f"[tool.viscy-compat.acceptd.eps]\n{ROW}", "pyproject.toml", "did you mean accepted"),
        (f"[tool.viscy_compat.accepted.eps]\n{ROW}", "pyproject.toml", r"\[tool.viscy-compat\]"),
        (f"[tool.viscycompat.accepted.eps]\n{ROW}", "pyproject.toml", r"\[tool.viscy-compat\]"),
        (f"[accepted.eps]\n{ROW}".replace("VC501", "VC999"), "viscy-compat.toml", "no such code"),
        (f"[accepted.eps]\n{ROW}".replace('code = "VC501"', 'law = "shape-rul"'), "viscy-compat.toml", "shape-rule"),
        ('names = "one"', "viscy-compat.toml", "no list of names"),
    ],
)
def test_what_means_nothing_is_refused(tmp_path: Path, text: str, name: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as refused:
        read_configuration(written(tmp_path, text, name))
    assert name in str(refused.value)


@pytest.mark.parametrize("other", ["viscy-models", "ruff", "viscy"])
def test_the_tables_of_other_tools_are_left_alone(tmp_path: Path, other: str) -> None:
    path = written(tmp_path, f"[tool.{other}]\naccepted = 3\n[tool.viscy-compat.accepted.eps]\n{ROW}", "pyproject.toml")
    assert [row.id for row in read_waivers(path, today=DAY)] == ["eps"]


def test_a_class_that_nobody_knows_is_refused() -> None:
    row = Waiver("eps", "BetaVea25D", "VC501", "because", DAY)
    refuse_strange([row._replace(class_name="*"), row._replace(class_name="BetaVae25D")])
    with pytest.raises(UsageError, match="is about BetaVea25D"):
        refuse_strange([row])


def test_the_names_of_laws_are_those_of_explore() -> None:
    assert tuple(law.id for law in LAWS) == waivers.LAWS


def test_the_configuration_is_looked_for_upwards_from_the_candidate_and_then_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, source = tmp_path / "here", tmp_path / "clone" / "packages" / "models" / "src"
    here.mkdir()
    source.mkdir(parents=True)
    (tmp_path / "clone" / ".git").mkdir()
    monkeypatch.chdir(here)
    near = [str(source), "."]
    written(tmp_path, f"[accepted.outside]\n{ROW}")
    assert [row.id for row in read_configuration(near=[str(source)], today=DAY).waivers] == []
    assert [row.id for row in read_configuration(near=near, today=DAY).waivers] == ["outside"]
    written(tmp_path / "clone", 'classes = ["BetaVae25D"]\nnames = ["viscy_models:MLP"]')
    found = read_configuration(near=near, today=DAY)
    assert (found.waivers, found.classes, found.names) == ((), ("BetaVae25D",), ("viscy_models:MLP",))
    written(source.parent, f"[tool.viscy-compat.accepted.nearest]\n{ROW}", "pyproject.toml")
    assert [row.id for row in read_configuration(near=near, today=DAY).waivers] == ["nearest"]

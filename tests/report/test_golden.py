"""What every command prints, whole, at 80 and 120 columns, in Markdown and as a page: a golden file that is not used fails.

``pytest tests/report/test_golden.py --snapshot-update`` writes them again; look at the difference before you commit it.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

from support.results import REPORTS
from support.typed import COMMANDS, NAMES, furnish, printed
from viscy_compat.report.terminal import Style
from viscy_compat.version import __version__

PAGES = sorted(
    {*NAMES} - {"ask impossible", "check expect", "check folder", "hunt", "remap written", "verify by record"}
)
"""Commands whose page is kept: one of each kind."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the commands are typed."""
    place = tmp_path_factory.mktemp("golden")
    furnish(place)
    return place


@pytest.fixture(autouse=True)
def _there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def constant(text: str) -> str:
    """Leave out what is another one tomorrow, or the same in every page."""
    text = re.sub(r"<style>.*?</style>", "<style/>", text, flags=re.DOTALL)
    text = re.sub(r"<script>.*?</script>", "<script/>", text, flags=re.DOTALL)
    text = re.sub(r"sha256-[^']*", "sha256-", text)
    return text.replace(f"viscy-compat {__version__}", "viscy-compat VERSION")


@pytest.mark.uncounted
@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("name", NAMES)
def test_the_text(
    name: str,
    width: int,
    snapshot: SnapshotAssertion,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    style = Style(width=width, terminal=True)
    text = printed(name, capsys, monkeypatch, format="text", style=style, change=constant)
    assert [line for line in text.splitlines() if len(line) > width and not one_word_is_too_long(line, width)] == []
    assert text == snapshot


def one_word_is_too_long(line: str, width: int) -> bool:
    """A path or an address is never broken, and stays beside its label."""
    label, word = line[:12].strip(), line[12:].strip()
    return len(line.split()) == 1 or (" " not in label and len(word.split()) == 1 and len(word) > width - 12)


@pytest.mark.parametrize("name", sorted({*COMMANDS, *REPORTS} - {"completion"}))
def test_the_text_in_full_is_never_wider_than_the_terminal(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = printed(name, capsys, monkeypatch, format="text", style=Style(width=80, terminal=True, verbose=True))
    assert [line for line in text.splitlines() if len(line) > 80 and not one_word_is_too_long(line, 80)] == []


@pytest.mark.uncounted
@pytest.mark.parametrize("name", NAMES)
def test_the_markdown(
    name: str, snapshot: SnapshotAssertion, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert printed(name, capsys, monkeypatch, format="markdown", style=Style(), change=constant) == snapshot


@pytest.mark.parametrize("name", PAGES)
def test_the_page(
    name: str, snapshot: SnapshotAssertion, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert printed(name, capsys, monkeypatch, format="html", style=Style(), change=constant) == snapshot

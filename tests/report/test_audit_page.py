"""The page of an audit in a real browser: ten thousand rows, a filter, a phone, and names that would like to be markup."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from viscy_compat.fleet.outcome import AuditOutcome, Policy
from viscy_compat.fleet.row import AuditRow
from viscy_compat.fleet.tally import Tally
from viscy_compat.report.audit_files import pieces
from viscy_compat.report.terminal import Style

CHECK = Path(__file__).parents[2] / "tools" / "page_check.py"
HOSTILE = '</script><script>window.marker=1</script><img src=x onerror="window.marker=2">.ckpt'
KINDS = ("compatible", "remappable", "unknown")


def outcome(count: int) -> AuditOutcome:
    """An audit of `count` files, one of which has a name that is markup."""
    rows = [
        AuditRow(
            f"/data/run {number % 7}/epoch={number}.ckpt",
            KINDS[number % 3],  # type: ignore[arg-type]
            size=1_000 * number,
            format="torch-zip",
            tensors=2,
            bytes=900 * number,
            needs=("stem_stride",),
            message="a sentence that is longer than a window is wide: " * 5,
            class_name="FullyConvolutionalMAE",
            generation="v0.4",
            codes={"VC105": 1} if number % 3 else {},
            next=f"viscy-compat remap epoch={number}.ckpt",
        )
        for number in range(count)
    ]
    rows.append(AuditRow(HOSTILE, "unreadable", message=HOSTILE, codes={"VC401": 1}))
    tally = Tally()
    for row in rows:
        tally.add(row)
    return AuditOutcome(lambda: iter(rows), tally, Policy(), 2)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "audit.html"
    path.write_text("".join(pieces(outcome(10_000), "html", Style())))
    return path


def seen(page: Path, width: int, text: str) -> dict[str, Any]:
    words = [sys.executable, str(CHECK), str(page), "--width", str(width), "--text", text]
    done = subprocess.run(words, capture_output=True, text=True, timeout=1200)
    if done.returncode == 2 and "no browser here" in done.stderr:
        pytest.skip("no browser here")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def test_ten_thousand_rows_stand_there_and_filter(page: Path) -> None:
    found = seen(page, 1200, "epoch=77 remappable")
    assert found["count"] == "10,001 of 10,001"
    # only what is in view are elements, and scrolling brings more
    assert found["rows"] == 100
    assert found["after_scrolling"] > 100
    # ten thousand rows on paper took a browser more than two minutes
    printed, said = found["printed"]
    assert printed == 1_000
    assert said.startswith("The first 1,000 of 10,001 files follow, in the order of the page; 9,001 are not printed.")
    matching = [number for number in range(10_000) if f"epoch={number}".startswith("epoch=77") and number % 3 == 1]
    assert found["filtered"] == f"{len(matching)} of 10,001"
    assert f"epoch={matching[0]}.ckpt torch-zip, 2 tensors, {900 * matching[0] / 1000:.1f} kB\n" in found["first"]
    assert found["broken"] == []
    assert not found["wider_than_the_window"]
    assert found["said"] == []


def test_a_phone_shows_the_same_without_scrolling_sideways(page: Path) -> None:
    found = seen(page, 360, "nothing has this name")
    assert (found["width"], found["wider_than_the_window"]) == (360, False)
    assert found["filtered"] == "0 of 10,001"


def test_a_name_is_never_markup(page: Path) -> None:
    found = seen(page, 1200, "window.marker")
    assert found["filtered"] == "1 of 10,001"
    assert found["marker"] is None
    assert HOSTILE in found["first"]


def test_the_page_asks_for_nothing_and_holds_the_summary(page: Path) -> None:
    text = page.read_text()
    assert "default-src 'none'" in text
    assert "http" not in text.replace("http-equiv", "")
    assert "<td>remappable</td><td>3,333</td>" in text
    assert "<td>VC105<small>the layout is that of an older generation</small></td><td>6,666</td>" in text
    assert text.count("<script") == 2


def test_a_short_list_is_printed_whole_and_nothing_is_said_to_be_left_out(tmp_path: Path) -> None:
    path = tmp_path / "audit.html"
    path.write_text("".join(pieces(outcome(150), "html", Style())))
    assert seen(path, 1200, "")["printed"] == [151, ""]

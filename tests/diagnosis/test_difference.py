"""`diff`: the same tensors in any format are equal, and one changed bit is not."""

from __future__ import annotations

import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.assembly import mapping, storage, tensor, zipped
from support.layouts import hollow
from viscy_compat.checkpoint import open_checkpoint
from viscy_compat.checkpoint.tensor_bytes import TensorReader
from viscy_compat.cli import main
from viscy_compat.diagnosis import difference
from viscy_compat.diagnosis.difference import diff
from viscy_compat.errors import UnreadableCheckpoint
from viscy_compat.layout import TensorSpec
from viscy_compat.rewrite.remapping import remap

LAYOUT = {"a.weight": TensorSpec((300, 500)), "a.bias": TensorSpec((300,)), "b.weight": TensorSpec((2, 2), "int64")}


@pytest.mark.parametrize("name", ["same.safetensors", "same.ckpt"])
def test_a_file_equals_itself_in_another_format(tmp_path: Path, name: str) -> None:
    file = hollow(tmp_path / "a.safetensors", LAYOUT)
    remap(file, tmp_path / name, against=file)
    report = diff(file, tmp_path / name)
    assert (bool(report), report.findings, report.results[0].tensors) == (True, (), 3)
    assert report.to_dict()["results"][0]["equal"] is True


def test_one_bit_is_named(tmp_path: Path) -> None:
    files = [hollow(tmp_path / name, LAYOUT) for name in ("a.safetensors", "b.safetensors")]
    whole = bytearray(files[1].read_bytes())
    whole[-100] ^= 1
    files[1].write_bytes(whole)
    result = diff(*files).results[0]
    assert (result.numbers, result.exit_code) == (("a.bias",), 1)


def test_everything_that_differs_is_listed_and_order_is_no_difference(tmp_path: Path) -> None:
    file = hollow(tmp_path / "a.safetensors", LAYOUT)
    other = {"c": TensorSpec((1,)), "b.weight": TensorSpec((2, 2)), "a.bias": TensorSpec((301,))}
    row = diff(file, hollow(tmp_path / "b.safetensors", other)).to_dict()["results"][0]
    assert (row["missing"], row["unexpected"], row["tensors"]) == (["c"], ["a.weight"], 0)
    assert row["reshaped"] == [{"name": "a.bias", "here": "(300,) float32", "there": "(301,) float32"}]
    assert row["retyped"] == [{"name": "b.weight", "here": "(2, 2) int64", "there": "(2, 2) float32"}]
    turned = diff(file, hollow(tmp_path / "c.safetensors", dict(reversed(LAYOUT.items())))).results[0]
    assert (turned.exit_code, turned.to_dict()["reordered"]) == (0, True)


def test_a_file_that_cannot_be_read_is_one_line_and_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "page.ckpt").write_text("<html>")
    file = hollow(tmp_path / "a.safetensors", LAYOUT)
    with pytest.raises(UnreadableCheckpoint):
        diff(file, tmp_path / "page.ckpt")
    assert main(["diff", str(tmp_path / "page.ckpt"), str(file)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@given(st.data())
def test_tensors_that_overlap_differ_where_their_own_bytes_do(data: st.DataObject) -> None:
    """Whatever the storages, the views and the length of a stretch, as if each tensor were compared by itself."""
    sides = [bytearray(64), bytearray(64)]
    for place in data.draw(st.lists(st.integers(0, 63), max_size=4)):
        sides[1][place] = 1
    views: dict[str, bytes] = {}
    for number in range(6):
        offset, step = data.draw(st.integers(0, 15)), data.draw(st.integers(1, 3))
        size = data.draw(st.integers(0, (15 - offset) // step + 1))
        views[str(number)] = tensor((size,), (step,), offset, of=storage("0", elements=16))
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(difference, "_STRETCH", data.draw(st.sampled_from([1, 5, 16, 64])))
        for name, raw in zip("ab", sides, strict=True):
            Path(folder, name).write_bytes(zipped(mapping(views), {"0": bytes(raw)}))
        files = [open_checkpoint(os.path.join(folder, name)) for name in "ab"]
        with TensorReader(files[0]) as mine, TensorReader(files[1]) as theirs:
            wanted = [
                name
                for name in files[0].tensors
                if mine.digest(files[0].tensors[name]) != theirs.digest(files[1].tensors[name])
            ]
        (pair,) = diff(os.path.join(folder, "a"), os.path.join(folder, "b")).results
    assert list(pair.numbers) == wanted


def test_check_against_asks_for_the_layout_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = hollow(tmp_path / "wanted.safetensors", LAYOUT)
    renamed = {f"net.{name.replace('a.', 'x.').replace('b.', 'y.')}": spec for name, spec in LAYOUT.items()}
    cases = {
        "same": (LAYOUT, "compatible", 0),
        "renamed": (renamed, "remappable", 1),
        "other": ({**LAYOUT, "a.bias": TensorSpec((2,))}, "incompatible", 1),
    }
    for name, (layout, verdict, code) in cases.items():
        file = hollow(tmp_path / f"{name}.safetensors", layout)
        assert main(["check", str(file), "--against", str(wanted), "--format", "json"]) == code
        row = json.loads(capsys.readouterr().out)["results"][0]
        assert (row["verdict"], row["against"]) == (verdict, str(wanted))
        following = {"same": "", "renamed": "remap", "other": "diff"}[name]
        assert row["next"].startswith(f"viscy-compat {following}" if following else "")
        if name == "renamed":
            words = row["next"].replace("OUT", str(tmp_path / "OUT")).split()
            assert main([*words[1:], "-q"]) == 0
            assert main(["check", str(tmp_path / "OUT.safetensors"), "--against", str(wanted), "-q"]) == 0
            capsys.readouterr()


def test_findings_are_selected_and_verdicts_stay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = hollow(tmp_path / "wanted.safetensors", LAYOUT)
    file = hollow(tmp_path / "a.safetensors", {**LAYOUT, "c": TensorSpec((1,))})
    words = ["check", str(file), "--against", str(wanted), "--format", "json"]
    for flags, shown, ignored in (
        (["--ignore", "vc39"], [], ["VC390"]),
        (["--select", "VC1,VC390"], ["VC390"], None),
        (["--select", "VC4"], [], ["VC390"]),
    ):
        assert main([*words, *flags]) == 1
        row = json.loads(capsys.readouterr().out)["results"][0]
        assert (row["verdict"], [finding["code"] for finding in row["findings"]], row.get("ignored")) == (
            "incompatible",
            shown,
            ignored,
        )
    assert main([*words, "--select", "VC9"]) == 2
    assert "no finding code begins with 'VC9'" in capsys.readouterr().err

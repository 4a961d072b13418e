"""An address means one set of weights, or is refused with the addresses that there are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support.assembly import zipped
from support.files import several_state_dicts
from support.layouts import hollow, layout_of
from viscy_compat.checkpoint import open_checkpoint
from viscy_compat.checkpoint.address import Address, resolve_address, select_set
from viscy_compat.cli import main
from viscy_compat.errors import UnreadableCheckpoint
from viscy_compat.layout import TensorSpec, printable

NAMES = {
    "state_dict": ["model.w", "ema.model.w", "ema.model.b"],
    "ckpt.ema": ["w"],
    "other": ["teacher.w", "student.w"],
    "odd:path.": ["w"],
}


def meant(text: str) -> str:
    return str(resolve_address(text, list(NAMES), lambda path: NAMES[path], "file"))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("state_dict", "state_dict"),
        ("state_dict:ema.model.", "state_dict:ema.model."),
        ("state_dict:ema.model", "state_dict:ema.model."),
        ("state_dict.ema.model", "state_dict:ema.model."),
        ("state_dict:", "state_dict:"),
        ("teacher", "other:teacher."),
        ("teacher.", "other:teacher."),
        ("other.student", "other:student."),
        ("odd:path.", "odd:path."),
    ],
)
def test_what_can_mean_one_set_means_it(text: str, address: str) -> None:
    assert meant(text) == address
    assert meant(address) == address


@pytest.mark.parametrize("text", ["ema", "nothing", "state_dict:teacher.", "state_dict.mod", "", "."])
def test_what_could_mean_several_or_none_is_refused(text: str) -> None:
    with pytest.raises(UnreadableCheckpoint) as caught:
        meant(text)
    assert caught.value.code == "VC446"
    listed = ("'ckpt.ema', 'state_dict:ema.'", "'state_dict:ema.', 'ckpt.ema'")
    assert text != "ema" or any(each in caught.value.fix for each in listed)


def test_the_top_of_a_file_is_an_empty_path() -> None:
    assert str(resolve_address("", [""], lambda _: ["w"], "f")) == ""
    assert str(Address("", "")) == ":"


ODD_NAMES = [
    "",
    ".",
    "..",
    " ",
    "#",
    "#2",
    ":",
    "a:",
    "a.",
    ".a",
    "a..b",
    "a#2",
    "a\nb",
    "\t",
    "-x",
    "state_dict.",
    "'",
]


def found_in(path: Path, *flags: str, command: str = "check", capsys: pytest.CaptureFixture[str]) -> tuple[int, Any]:
    code = main([command, str(path), *flags, "--format", "json"])
    (result,) = json.loads(capsys.readouterr().out)["results"]
    return code, result


@pytest.mark.parametrize("name", ODD_NAMES)
def test_every_entry_has_an_address_that_means_it_in_every_command(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    layout = layout_of("Unet2d", num_blocks=1, num_filters=(2, 2))
    other = {"w": TensorSpec((7,)), "b": TensorSpec((7,))}
    path = tmp_path / "a.ckpt"
    path.write_bytes(zipped(*several_state_dicts({name: layout, "other": other})))
    code, both = found_in(path, capsys=capsys)
    addresses = [row["state_dict"] for row in both["sets"]]
    assert (code, len(set(addresses))) == (2 if both["verdict"] == "unknown" else 0, 2)
    assert "" not in addresses, "the top is no state dict"
    (address,) = (address for address in addresses if address != "other")
    for text in (address, printable(address)):
        code, found = found_in(path, f"--state-dict={text}", capsys=capsys)
        assert (code, found["verdict"], found["tensors"]) == (0, "compatible", len(layout))
        code, found = found_in(path, f"--state-dict={text}", command="inspect", capsys=capsys)
        assert (code, len(found["tensors"])) == (0, len(layout))
        assert main(["diff", str(path), str(path), f"--state-dict={text}", "-q"]) == 0
    new = tmp_path / "new.ckpt"
    assert main(["remap", str(path), f"--state-dict={address}", "-o", str(new), "-q"]) == 0
    capsys.readouterr()
    code, found = found_in(new, capsys=capsys)
    assert (code, found["verdict"], found["tensors"]) == (0, "compatible", len(layout))


@pytest.mark.parametrize("more", [(), ("--weights-only",)])
@pytest.mark.parametrize("name", ODD_NAMES)
def test_the_only_entry_keeps_its_name_when_it_is_written(
    tmp_path: Path, name: str, more: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    layout = layout_of("Unet2d", num_blocks=1, num_filters=(2, 2))
    path, new = tmp_path / "a.ckpt", tmp_path / "new.ckpt"
    path.write_bytes(zipped(*several_state_dicts({name: layout})))
    assert main(["remap", str(path), "-o", str(new), "-q", *more]) == 0
    site = open_checkpoint(str(path)).site
    assert open_checkpoint(str(new)).site == site
    assert open_checkpoint(str(path)).entries == {}


def test_an_empty_name_is_not_the_top(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    path.write_bytes(zipped(*several_state_dicts({"": {"w": TensorSpec((3,))}})))
    assert open_checkpoint(str(path)).site == open_checkpoint(str(path), state_dict="").site == "."


@pytest.mark.parametrize("name", ["a.safetensors", "a:b.safetensors"])
def test_an_address_behind_the_name_of_a_file_is_answered_with_the_option(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    hollow(tmp_path / name, {"student.w": TensorSpec((2,)), "teacher.w": TensorSpec((3,))})
    assert main(["check", f"{name}::teacher."]) == 2
    assert f"fix: {name} --state-dict :teacher." in capsys.readouterr().out
    assert main(["check", "b.safetensors::teacher."]) == 2
    assert "--state-dict" not in capsys.readouterr().out
    hollow(tmp_path / "x:y", {"w": TensorSpec((2,))})
    assert main(["check", "x:y"]) == 2
    assert "no such file" not in capsys.readouterr().out


def test_a_safetensors_file_has_sets_below_prefixes(tmp_path: Path) -> None:
    path = str(hollow(tmp_path / "a.safetensors", {"student.w": TensorSpec((2,)), "teacher.w": TensorSpec((3,))}))
    found = open_checkpoint(path, state_dict="teacher")
    assert (found.address, list(found.tensors)) == (":teacher.", ["teacher.w"])
    assert select_set(found, "student").address == ":student."
    assert list(select_set(found, "").tensors) == ["student.w", "teacher.w"]

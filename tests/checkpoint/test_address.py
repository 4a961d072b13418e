"""An address means one set of weights, or is refused with the addresses that there are."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.layouts import hollow
from viscy_compat.checkpoint import open_checkpoint
from viscy_compat.checkpoint.address import Address, resolve_address, select_set
from viscy_compat.errors import UnreadableCheckpoint
from viscy_compat.layout import TensorSpec

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


def test_a_safetensors_file_has_sets_below_prefixes(tmp_path: Path) -> None:
    path = str(hollow(tmp_path / "a.safetensors", {"student.w": TensorSpec((2,)), "teacher.w": TensorSpec((3,))}))
    found = open_checkpoint(path, state_dict="teacher")
    assert (found.address, list(found.tensors)) == (":teacher.", ["teacher.w"])
    assert select_set(found, "student").address == ":student."
    assert list(select_set(found, "").tensors) == ["student.w", "teacher.w"]

"""The module versions that torch notes decide whether a batch norm insists on its counter."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.assembly import NUMBERS, mapping, module, number, ordered, safetensors, tensor, text, zipped
from support.assembly import row as tensor_row
from viscy_compat.checkpoint import Checkpoint, open_checkpoint
from viscy_compat.checkpoint.module_versions import insists_on_counters, module_versions


def opened(path: Path, versions: dict[str, bytes] | None) -> Checkpoint:
    attributes = {} if versions is None else {"_metadata": ordered(versions)}
    path.write_bytes(zipped(ordered({"w": tensor()}, **attributes), {"0": NUMBERS}))
    return open_checkpoint(str(path))


def of_version(version: int) -> bytes:
    return mapping({"version": number(version)})


def test_the_version_of_each_module_is_read(tmp_path: Path) -> None:
    odd = {"text": mapping({"version": text("2")}), "none": mapping({}), "no mapping": number(2)}
    checkpoint = opened(tmp_path / "a.pt", {"": of_version(1), "a.norm": of_version(2), **odd})
    assert module_versions(checkpoint) == {"": 1, "a.norm": 2}


def test_a_state_dict_without_versions_names_none(tmp_path: Path) -> None:
    assert module_versions(opened(tmp_path / "a.pt", None)) == {}
    (tmp_path / "b.pt").write_bytes(zipped(mapping({"w": tensor()}), {"0": NUMBERS}))
    assert module_versions(open_checkpoint(str(tmp_path / "b.pt"))) == {}
    (tmp_path / "c.safetensors").write_bytes(safetensors({"w": tensor_row()}))
    assert module_versions(open_checkpoint(str(tmp_path / "c.safetensors"))) == {}


@pytest.mark.parametrize(
    ("modules", "insists"),
    [
        ([("new",)], True),
        ([("old",)], False),
        ([("absent",)], False),
        ([("absent", "new")], True),
        ([("old",), ("new",)], True),
        ([], False),
    ],
)
def test_a_batch_norm_insists_from_version_2_on(tmp_path: Path, modules: list[tuple[str, ...]], insists: bool) -> None:
    checkpoint = opened(tmp_path / "a.pt", {"old": of_version(1), "new": of_version(2)})
    assert insists_on_counters(checkpoint, modules) is insists


def test_a_pickled_module_insists_whatever_its_versions_are(tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(zipped(module({"w": tensor()}), {"0": NUMBERS}))
    assert insists_on_counters(open_checkpoint(str(tmp_path / "a.pt")), [])

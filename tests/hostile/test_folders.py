"""No index hides a file from a folder's report, and none is read beyond the limits of any other file."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from hostile.generator import HONEST_SAFETENSORS
from viscy_compat.diagnosis.folders import checkpoint_files

INDEX = "model.safetensors.index.json"


def listed(folder: Path) -> list[str]:
    return [os.path.basename(found.path) for found in checkpoint_files([str(folder)])]


def index(folder: Path, shards: dict[str, object], name: str = INDEX) -> None:
    (folder / name).write_text(json.dumps({"weight_map": shards}))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.safetensors").write_bytes(HONEST_SAFETENSORS)
    (tmp_path / "b.safetensors").write_bytes(b"no checkpoint")
    return tmp_path


def test_an_honest_index_stands_for_its_shards(folder: Path) -> None:
    index(folder, {"w": "a.safetensors"})
    assert listed(folder) == ["b.safetensors", INDEX]


def test_an_index_that_names_itself_or_another_is_looked_at(folder: Path) -> None:
    index(folder, {"w": INDEX, "v": "other.bin.index.json"})
    index(folder, {"w": INDEX}, "other.bin.index.json")
    assert listed(folder) == ["a.safetensors", "b.safetensors", INDEX, "other.bin.index.json"]


def test_an_index_that_is_not_looked_at_hides_nothing(folder: Path) -> None:
    index(folder, {"w": "b.safetensors"}, "anything.index.json")
    assert listed(folder) == ["a.safetensors", "b.safetensors"]


@pytest.mark.parametrize(
    "words", [b"{", b"[]", b"[" * 300_000, b'{"weight_map": 3}', b"\xff", b'{"weight_map": {"w": 1}}']
)
def test_an_index_that_is_none_hides_nothing(folder: Path, words: bytes) -> None:
    (folder / INDEX).write_bytes(words)
    assert listed(folder) == ["a.safetensors", "b.safetensors", INDEX]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no fifos here")
def test_an_index_that_is_a_fifo_does_not_wait(folder: Path) -> None:
    os.mkfifo(folder / INDEX)
    assert listed(folder) == ["a.safetensors", "b.safetensors", INDEX]


def test_an_index_of_three_gigabytes_is_not_read(folder: Path) -> None:
    with (folder / INDEX).open("wb") as file:
        file.truncate(3 << 30)
    assert listed(folder) == ["a.safetensors", "b.safetensors", INDEX]

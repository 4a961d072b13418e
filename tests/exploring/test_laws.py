"""What the laws are made of: which places a derivative leaves in doubt, and files of noise that are compared to the byte."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from viscy_compat.checkpoint import open_checkpoint
from viscy_compat.exploring import laws
from viscy_compat.exploring.laws import _hold_the_same, _without_slope, _write_layout
from viscy_compat.layout import Layout, TensorSpec
from viscy_compat.workers import arrays

LAYOUT: Layout = {
    "a": TensorSpec((3, 5)),
    "large": TensorSpec((9, 70_000)),
    "n": TensorSpec((), "int64"),
    "none": TensorSpec((0, 4)),
}


@pytest.mark.parametrize(
    ("slopes", "doubtful"),
    [
        ((1.0, 0.0, 0.5), [1]),
        ((1.0, 1e-4, 2e-3), [1]),
        ((0.0, 0.0), [0, 1]),
        ((float("nan"), 1.0), [0, 1]),
        ((), []),
    ],
)
def test_a_place_without_a_clear_derivative_is_in_doubt(slopes: tuple[float, ...], doubtful: list[int]) -> None:
    assert _without_slope(slopes) == doubtful


def test_a_file_of_a_layout_is_noise_from_block_to_block_that_starts_elsewhere_for_each_tensor(tmp_path: Path) -> None:
    path = tmp_path / "noise.safetensors"
    _write_layout(path, LAYOUT)
    data, tensors = path.read_bytes(), open_checkpoint(str(path)).tensors
    assert {name: tensor.spec for name, tensor in tensors.items()} == LAYOUT
    pool = bytes(memoryview(arrays.noise(1 << 16, 7)).cast("B"))
    whole = {name: data[row.storage.start : row.storage.start + row.storage.size] for name, row in tensors.items()}
    assert len(whole["large"]) == 4 * 9 * 70_000 > laws._BLOCK
    starts = {name: (pool * 2).index(whole[name][:60]) for name in ("a", "large")}
    assert len({*starts.values()}) == 2
    for name, start in starts.items():
        piece = pool[start:] + pool[:start]
        assert whole[name] == (piece * 20)[: len(whole[name])]
    assert whole["n"] == bytes(8)


def _unlike(change: Callable[[bytearray, int], None]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        _write_layout(path, LAYOUT)
        data = bytearray(path.read_bytes())
        change(data, open_checkpoint(str(path)).tensors["large"].storage.start)
        path.write_bytes(data)

    return write


def _flip(place: int) -> Callable[[bytearray, int], None]:
    def change(data: bytearray, start: int) -> None:
        data[start + place] ^= 1

    return change


@pytest.mark.parametrize(
    "write",
    [
        *(_unlike(_flip(place)) for place in (0, laws._BLOCK - 1, laws._BLOCK, 4 * 9 * 70_000 - 1)),
        lambda path: _write_layout(path, {name: spec for name, spec in LAYOUT.items() if name != "none"}),
        lambda path: _write_layout(path, {**LAYOUT, "more": TensorSpec((0,))}),
        lambda path: _write_layout(path, {**LAYOUT, "a": TensorSpec((5, 3))}),
        lambda path: _write_layout(path, {"b" if name == "a" else name: spec for name, spec in LAYOUT.items()}),
    ],
)
def test_another_byte_name_or_shape_is_another_file(write: Callable[[Path], None], tmp_path: Path) -> None:
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    _write_layout(first, LAYOUT)
    _write_layout(second, LAYOUT)
    assert _hold_the_same(first, second)
    write(second)
    assert not _hold_the_same(first, second)
    assert not _hold_the_same(second, first)

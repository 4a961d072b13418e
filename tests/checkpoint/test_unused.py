"""In a stream without checksums, damage that gives other values is refused, seen in what is left over, or in the numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.assembly import NUMBERS, ordered, stream, tensor, zipped
from viscy_compat.checkpoint import Checkpoint, open_checkpoint
from viscy_compat.checkpoint.tensor_bytes import TensorReader
from viscy_compat.errors import UnreadableCheckpoint


def values(checkpoint: Checkpoint) -> dict[str, tuple[str, bytes]]:
    with TensorReader(checkpoint) as reader:
        return {key: (str(tensor.spec), b"".join(reader.chunks(tensor))) for key, tensor in checkpoint.tensors.items()}


def codes(path: Path) -> list[str]:
    return [finding.code for finding in open_checkpoint(str(path)).findings]


def test_no_flipped_bit_gives_other_values_under_the_same_names_and_shapes_without_a_word(tmp_path: Path) -> None:
    content = stream(ordered({"weight": tensor()}))
    path = tmp_path / "old.pth"
    path.write_bytes(content)
    honest = values(open_checkpoint(str(path)))
    assert codes(path) == []
    seen = 0
    for place in range(8 * (len(content) - len(NUMBERS))):
        damaged = bytearray(content)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        try:
            checkpoint = open_checkpoint(str(path))
            found = values(checkpoint)
        except UnreadableCheckpoint:
            continue
        same_layout = {key: spec for key, (spec, _) in found.items()} == {
            key: spec for key, (spec, _) in honest.items()
        }
        if same_layout and found != honest:
            seen += 1
            assert "VC491" in [finding.code for finding in checkpoint.findings], place
    assert seen


@pytest.mark.parametrize(
    ("kind", "tensors", "gap"),
    [
        ("whole", {"a": tensor()}, False),
        ("transposed", {"a": tensor((3, 2), (1, 3))}, False),
        ("tied", {"a": tensor(), "b": tensor()}, False),
        ("in two parts", {"a": tensor((1, 3)), "b": tensor((1, 3), offset=3)}, False),
        ("every other one", {"a": tensor((3,), (2,)), "b": tensor((3,), (2,), 1)}, False),
        ("repeated", {"a": tensor((4, 6), (0, 1))}, False),
        ("a slice", {"a": tensor((1, 3))}, True),
        ("rows that overlap", {"a": tensor((2, 3), (2, 1))}, True),
        ("one column", {"a": tensor((2, 1), (3, 1))}, True),
        ("repeated in place of the rest", {"a": tensor((2, 3), (0, 1))}, True),
        ("a tied slice", {"a": tensor((1, 3)), "b": tensor((1, 3))}, True),
        ("nothing of it", {"a": tensor((0, 3), (3, 1)), "b": tensor((1, 3))}, True),
    ],
)
def test_what_is_left_over_is_seen_where_no_checksum_would_tell(
    tmp_path: Path, kind: str, tensors: dict[str, bytes], gap: bool
) -> None:
    path = tmp_path / "old.pth"
    path.write_bytes(stream(ordered(tensors)))
    assert ("VC491" in codes(path)) is gap
    path.write_bytes(zipped(ordered(tensors)))
    assert "VC491" not in codes(path)

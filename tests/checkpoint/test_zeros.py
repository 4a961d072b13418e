"""Files of the right layout that hold zeros are told from real ones by little of what they hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from viscy_compat.checkpoint import byte_source, open_checkpoint
from viscy_compat.checkpoint.zeros import absence_of_weights
from viscy_compat.gating.check import hollow
from viscy_compat.layout import TensorSpec

LAYOUT = {f"t{place}": TensorSpec((1000, 1000 + place)) for place in range(3)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    hollow(str(tmp_path / "a.safetensors"), LAYOUT)
    return tmp_path / "a.safetensors"


def test_less_than_four_megabytes_are_read_of_zeros(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = byte_source._read_at
    amounts: list[int] = []

    def counted(descriptor: int, length: int, start: int) -> bytes:
        amounts.append(length)
        return bytes(read(descriptor, length, start))

    monkeypatch.setattr(byte_source, "_read_at", counted)
    assert absence_of_weights(open_checkpoint(str(path))) == "zeros"
    assert sum(amounts) < 4_000_000


def test_one_number_in_the_largest_tensor_is_seen(path: Path) -> None:
    """The two before it are larger than what is looked at as a whole."""
    with path.open("r+b") as file:
        start = 8 + int.from_bytes(file.read(8), "little")
        file.seek(start + sum(4 * spec.elements for spec in list(LAYOUT.values())[:2]) + 40)
        file.write(b"\x01")
    assert absence_of_weights(open_checkpoint(str(path))) == "none"

"""Cut files, flipped bits, insertions and deletions: reported, or nothing changed.

Only torch zip files have checksums. Of a stream or a safetensors file whose tensor bytes or names were changed nobody
can tell; there the law is that the reader answers, and that every cut is reported.
"""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from hostile.generator import HONEST, HONEST_LIGHTNING, HONEST_SAFETENSORS, HONEST_STREAM
from viscy_compat.checkpoint import open_checkpoint
from viscy_compat.checkpoint.facts import Checkpoint
from viscy_compat.checkpoint.inspection import inspect_checkpoint
from viscy_compat.checkpoint.tensor_bytes import TensorReader
from viscy_compat.errors import UnreadableCheckpoint
from viscy_compat.findings import CATALOGUE

FILES = {
    "zip": HONEST,
    "lightning": HONEST_LIGHTNING,
    "stream": HONEST_STREAM,
    "safetensors": HONEST_SAFETENSORS,
}


def seen(checkpoint: Checkpoint) -> dict[str, tuple[object, ...]]:
    """Everything that counts about the tensors, their bytes included."""
    with TensorReader(checkpoint) as reader:
        return {
            key: (tensor.spec, tensor.stride, tensor.requires_grad, reader.digest(tensor))
            for key, tensor in checkpoint.tensors.items()
        }


def read(path: Path, content: bytes) -> dict[str, tuple[object, ...]] | None:
    """What is seen of a file; None where something is reported."""
    path.write_bytes(content)
    try:
        checkpoint = open_checkpoint(str(path))
        findings = inspect_checkpoint(checkpoint, every_byte=True).findings
        facts = seen(checkpoint)
    except UnreadableCheckpoint:
        return None
    reported = any(CATALOGUE[finding.code].severity != "note" for finding in findings)
    return None if reported else facts


@pytest.mark.parametrize("kind", FILES)
def test_a_cut_at_any_byte_is_reported(tmp_path: Path, kind: str) -> None:
    content = FILES[kind]
    for length in range(len(content)):
        assert read(tmp_path / "cut", content[:length]) is None, length


@pytest.mark.parametrize("kind", ["zip", "lightning"])
def test_a_flipped_bit_in_an_archive_is_reported_or_changes_nothing(tmp_path: Path, kind: str) -> None:
    honest = read(tmp_path / "honest", FILES[kind])
    assert honest
    assert flipped_readings(tmp_path / "flipped", FILES[kind]) == [honest]


@pytest.mark.torch
def test_a_flipped_bit_in_a_file_of_torch_is_reported_or_changes_nothing(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    buffer = io.BytesIO()
    torch.save({"w": torch.arange(6.0).reshape(2, 3).t(), "b": torch.arange(3)}, buffer)
    honest = read(tmp_path / "honest", buffer.getvalue())
    assert honest
    assert flipped_readings(tmp_path / "flipped", buffer.getvalue()) == [honest]


@pytest.mark.parametrize("kind", ["stream", "safetensors"])
def test_a_flipped_bit_without_checksums_is_answered(tmp_path: Path, kind: str) -> None:
    assert flipped_readings(tmp_path / "flipped", FILES[kind])


def flipped_readings(path: Path, content: bytes) -> list[dict[str, tuple[object, ...]]]:
    """The distinct things that are seen, without a report, with one bit flipped at each byte; a bit a byte in turn."""
    readings: list[dict[str, tuple[object, ...]]] = []
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 1 << (place * 5 % 8)
        facts = read(path, bytes(damaged))
        if facts is not None and facts not in readings:
            readings.append(facts)
    return readings


@pytest.mark.parametrize("change", ["a byte less", "a byte more", "a byte again"])
@pytest.mark.parametrize("kind", FILES)
def test_a_byte_more_or_less_is_reported_or_changes_nothing(tmp_path: Path, kind: str, change: str) -> None:
    """Without checksums too: what follows moves, and the parts no longer fit each other."""
    content = FILES[kind]
    honest = read(tmp_path / "honest", content)
    for place in range(len(content)):
        more = {
            "a byte less": b"",
            "a byte more": bytes([content[place], 0x30]),
            "a byte again": content[place : place + 1] * 2,
        }
        facts = read(tmp_path / "damaged", content[:place] + more[change] + content[place + 1 :])
        assert facts in (None, honest), place

"""Tensors out of a checkpoint, read or mapped: the same numbers, what is verified, and what a map does and does not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.assembly import mapping, storage, tensor, zipped
from support.files import floats, torch_file
from viscy_compat import remap
from viscy_compat.checkpoint import open_checkpoint
from viscy_compat.checkpoint.tensor_bytes import TensorReader
from viscy_compat.errors import UnreadableCheckpoint
from viscy_compat.layout import TensorSpec
from viscy_compat.operations import Operation, Rename, Transpose
from viscy_compat.plans.plan import PlanEnd, plan_of
from viscy_compat.plans.plan_file import dumps
from viscy_compat.plans.streams import target_tensors

if TYPE_CHECKING:
    import torch

pytestmark = pytest.mark.torch

SIZES = [70_000, 3, 0, 300_000]


def tensors_of(path: Path, *, mapped: bool, rows: list[Operation] | None = None) -> dict[str, torch.Tensor]:
    from viscy_compat.tensors import read_tensors

    checkpoint = open_checkpoint(str(path))
    here = {name: stored.spec for name, stored in checkpoint.tensors.items()}
    there = {f"v{name[1:]}": spec for name, spec in here.items()}
    if rows is not None:
        there = {row.target: TensorSpec(here[row.source].shape[::-1]) for row in rows}  # type: ignore[union-attr]
    plan = plan_of(PlanEnd(here), PlanEnd(there), rows or [Rename(name, f"v{name[1:]}") for name in here])
    with TensorReader(checkpoint) as reader:
        return read_tensors(target_tensors(plan, checkpoint.tensors), reader, maps_file=mapped)


def bytes_of(value: torch.Tensor) -> bytes:
    return value.numpy().tobytes()


def aligned(raw: Path) -> Path:
    """Write a file again, as torch aligns its records; those of files that are put together by hand are not."""
    here = {name: stored.spec for name, stored in open_checkpoint(str(raw)).tensors.items()}
    there = {f"u{name[1:]}": spec for name, spec in here.items()}
    plan, out = raw.with_name("plan.json"), raw.with_name("old.ckpt")
    plan.write_text(dumps(plan_of(PlanEnd(here), PlanEnd(there), map(Rename, here, there))))
    assert remap(raw, out, plan=plan)
    return out


@pytest.fixture
def path(tmp_path: Path) -> Path:
    torch_file(tmp_path / "raw.ckpt", SIZES)
    return aligned(tmp_path / "raw.ckpt")


@pytest.mark.parametrize("threads", ["one", "two"])
@pytest.mark.parametrize("mapped", [False, True])
def test_the_numbers_are_those_of_the_file(
    path: Path, monkeypatch: pytest.MonkeyPatch, mapped: bool, threads: str
) -> None:
    from viscy_compat import tensors

    monkeypatch.setattr(tensors, "WORTHWHILE", 0 if threads == "two" else 1 << 30)
    monkeypatch.setattr(tensors, "BLOCK", 4096)
    found = tensors_of(path, mapped=mapped)
    assert [bytes_of(one) for one in found.values()] == [floats(seed, size) for seed, size in enumerate(SIZES)]
    assert all(one.is_contiguous() and not one.requires_grad for one in found.values())


@pytest.mark.parametrize("mapped", [False, True])
def test_a_flipped_bit_is_found_before_anything_is_returned(path: Path, mapped: bool) -> None:
    data = bytearray(path.read_bytes())
    data[data.index(floats(3, 300)) + 1_000_000] ^= 1
    path.write_bytes(data)
    with pytest.raises(UnreadableCheckpoint, match="data/3 is damaged") as caught:
        tensors_of(path, mapped=mapped)
    assert caught.value.code == "VC414"


def test_what_was_read_is_its_own_and_what_is_mapped_shows_what_becomes_of_the_file(path: Path) -> None:
    """What is changed in the file is seen through a map only: that is what a map is."""
    read, mapped = tensors_of(path, mapped=False), tensors_of(path, mapped=True)
    place = path.read_bytes().index(floats(3, 300))
    with path.open("r+b") as file:
        file.seek(place)
        file.write(floats(9, 1))
    assert float(read["v.3"][0]) == 3000.0
    assert float(mapped["v.3"][0]) == 9000.0


@pytest.mark.parametrize("mapped", [False, True])
def test_writing_to_a_tensor_reaches_no_file_and_no_other_tensor(path: Path, mapped: bool) -> None:
    before = path.read_bytes()
    path.chmod(0o444)
    found, other = tensors_of(path, mapped=mapped), tensors_of(path, mapped=mapped)
    for one in found.values():
        one.fill_(-1.0)
    assert path.read_bytes() == before
    assert float(other["v.0"][5]) == 5.0


@pytest.mark.parametrize("mapped", [False, True])
def test_names_that_share_bytes_get_memory_of_their_own(tmp_path: Path, mapped: bool) -> None:
    shared = storage("0", elements=8)
    entries = {"t.a": tensor((8,), (1,), of=shared), "t.b": tensor((2, 4), (4, 1), of=shared)}
    entries["t.c"] = tensor((4,), (1,), 4, of=shared)
    (tmp_path / "tied.pt").write_bytes(zipped(mapping(entries), {"0": floats(1, 8)}))
    found = tensors_of(aligned(tmp_path / "tied.pt"), mapped=mapped)
    assert [bytes_of(one) for one in found.values()] == [floats(1, 8), floats(1, 8), floats(1, 8)[16:]]
    found["v.a"].zero_()
    assert bytes_of(found["v.b"]) == floats(1, 8)
    assert bytes_of(found["v.c"]) == floats(1, 8)[16:]


def test_what_is_no_run_of_bytes_is_put_together_with_a_map_too(tmp_path: Path) -> None:
    entries = {"t.a": tensor((2, 3), (3, 1), of=storage("0", elements=6))}
    (tmp_path / "a.pt").write_bytes(zipped(mapping(entries), {"0": floats(0, 6)}))
    found = tensors_of(tmp_path / "a.pt", mapped=True, rows=[Transpose("t.a", "v.a", (1, 0))])
    assert found["v.a"].tolist() == [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]


def test_misaligned_bytes_are_copied(path: Path) -> None:
    """Of files that others put together: what is mapped there is what the processor reads at its own pace, or not at all."""
    raw = path.with_name("raw.ckpt")
    place = raw.read_bytes().index(floats(3, 300))
    assert place % 4
    found = tensors_of(raw, mapped=True)
    with raw.open("r+b") as file:
        file.seek(place)
        file.write(floats(9, 1))
    assert float(found["v.3"][0]) == 3000.0


def test_memory_of_its_own_has_the_alignment_of_torch(path: Path) -> None:
    """Kernels may add in another order where memory is aligned otherwise."""
    assert {one.data_ptr() % 64 for one in tensors_of(path, mapped=False).values()} == {0}


CUT = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_tensors import tensors_of
found = tensors_of(Path(sys.argv[1]), mapped=sys.argv[3] == "mapped")
os.truncate(sys.argv[1], 4096)
print(float(found["v.3"].sum()))
"""


@pytest.mark.uncounted
@pytest.mark.skipif(sys.platform != "linux", reason="what a cut map does is a matter of the system")
def test_where_a_mapped_file_is_cut_the_system_ends_the_process_and_what_was_read_stays(path: Path) -> None:
    """The documentation says so: this is why mapping is asked for, and never done by default."""
    whole = path.read_bytes()
    codes = {}
    for how in ("mapped", "read"):
        path.write_bytes(whole)
        words = [sys.executable, "-c", CUT, str(path), str(Path(__file__).parent), how]
        codes[how] = subprocess.run(
            words, capture_output=True, env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
        )
    assert codes["read"].returncode == 0
    assert codes["mapped"].returncode == -signal.SIGBUS

"""What is written has reached the disc before it takes its place, and is compared with the source, byte for byte, after."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from support.assembly import mapping, storage, tensor, zipped
from support.files import floats, renaming_plan, torch_file
from viscy_compat.errors import CompatError, UnreadableCheckpoint
from viscy_compat.layout import TensorSpec
from viscy_compat.operations import Rename
from viscy_compat.plans.plan import PlanEnd, plan_of
from viscy_compat.plans.plan_file import dumps
from viscy_compat.rewrite.output import Output
from viscy_compat.rewrite.remapping import remap

ELEMENTS = 100
HALF = ELEMENTS // 2


@pytest.fixture
def halved(tmp_path: Path) -> Path:
    """A file with one storage of a hundred floats whose only tensor is the first half, and the plan that renames it."""
    source = tmp_path / "old.ckpt"
    node = tensor((HALF,), (1,), of=storage("0", elements=ELEMENTS))
    source.write_bytes(zipped(mapping({"t.0": node}), {"0": floats(7, ELEMENTS)}))
    here, there = {"t.0": TensorSpec((HALF,))}, {"u.0": TensorSpec((HALF,))}
    (tmp_path / "plan.json").write_text(dumps(plan_of(PlanEnd(here), PlanEnd(there), [Rename("t.0", "u.0")])))
    return source


def write_new(source: Path, ending: str) -> Path:
    out = source.with_name(f"new{ending}")
    remap(str(source), str(out), plan=str(source.with_name("plan.json")))
    return out


def flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("ending", [".safetensors", ".ckpt"])
@pytest.mark.parametrize("element", [3, HALF + 3], ids=["in the tensor", "beside the tensor"])
def test_damage_in_a_storage_that_is_partly_read_is_found(halved: Path, ending: str, element: int) -> None:
    """No tensor is the whole of the storage, so that its CRC is nobody's by the way."""
    write_new(halved, ending).unlink()
    flip(halved, halved.read_bytes().index(floats(7, ELEMENTS)) + 4 * element)
    with pytest.raises(CompatError) as caught:
        write_new(halved, ending)
    assert caught.value.code == "VC414"
    assert {path.name for path in halved.parent.iterdir()} == {"old.ckpt", "plan.json"}


def test_a_byte_of_a_record_that_the_disc_returns_otherwise_is_found(
    halved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stands in the second half of the storage, which no tensor of the new file looks at."""
    flipped = []

    def sync_and_flip(output: Output) -> None:
        written = Path(output.temporary)
        flipped.append(written.read_bytes().index(floats(7, ELEMENTS)) + 4 * (HALF + 3))
        flip(written, flipped[0])

    monkeypatch.setattr(Output, "sync", sync_and_flip)
    with pytest.raises(UnreadableCheckpoint, match=r"is not what was written \(archive/data/0\); it was removed"):
        write_new(halved, ".ckpt")
    assert flipped
    assert {path.name for path in halved.parent.iterdir()} == {"old.ckpt", "plan.json"}


@pytest.mark.parametrize("ending", [".safetensors", ".ckpt"])
@pytest.mark.parametrize("in_place", [False, True])
def test_the_file_reaches_the_disc_before_its_name_and_the_name_before_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, in_place: bool
) -> None:
    source, out = tmp_path / "old.ckpt", tmp_path / "out" / f"new{ending}"
    out.parent.mkdir()
    torch_file(source, [70_000, 5])
    renaming_plan(tmp_path / "plan.json", [70_000, 5])
    events = watch_the_disc(monkeypatch)
    remap(str(source), None if in_place else str(out), in_place=in_place, plan=str(tmp_path / "plan.json"))
    place = source if in_place else out
    order = [event for event in events if event[1] in (place.stat().st_ino, place.parent.stat().st_ino)]
    assert order[-1] == ("settle", place.parent.stat().st_ino)
    named = max(index for index, event in enumerate(order) if event == ("name", place.stat().st_ino))
    assert order[named - 1] == ("settle", place.stat().st_ino)
    assert ("write", place.stat().st_ino) not in order[named - 1 :]


def watch_the_disc(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Note which file (by inode) is written to, settled on the disc, and given a name, in their order."""
    events: list[tuple[str, int]] = []
    write, fsync, link, replace = os.write, os.fsync, os.link, os.replace

    def note_write(descriptor: int, data: bytes) -> int:
        events.append(("write", os.fstat(descriptor).st_ino))
        return write(descriptor, data)

    def note_fsync(descriptor: int) -> None:
        fsync(descriptor)
        events.append(("settle", os.fstat(descriptor).st_ino))

    def note_link(source: str, target: str) -> None:
        events.append(("name", os.stat(source).st_ino))
        link(source, target)

    def note_replace(source: str, target: str) -> None:
        events.append(("name", os.stat(source).st_ino))
        replace(source, target)

    for name, call in {"write": note_write, "fsync": note_fsync, "link": note_link, "replace": note_replace}.items():
        monkeypatch.setattr(os, name, call)
    return events

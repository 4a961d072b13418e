"""What is written has reached the disc before it takes its place, and is compared with the source, byte for byte, after."""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from support.assembly import (
    NUMBERS,
    Record,
    archive,
    call,
    lightning,
    mapping,
    module,
    name,
    number,
    ordered,
    pickled,
    records,
    row,
    safetensors,
    storage,
    stream,
    tensor,
    zipped,
)
from support.files import floats, renaming_plan, torch_file
from viscy_compat.checkpoint import Checkpoint, open_checkpoint
from viscy_compat.checkpoint.address import select_set
from viscy_compat.checkpoint.pickle_nodes import mapping_of
from viscy_compat.checkpoint.plain import plain
from viscy_compat.checkpoint.tensor_bytes import TensorReader
from viscy_compat.errors import CompatError, OutputRefused, UnreadableCheckpoint
from viscy_compat.layout import TensorSpec
from viscy_compat.operations import Drop, Fill, Operation, Rename, Reshape
from viscy_compat.plans.plan import Plan, PlanEnd, plan_of
from viscy_compat.plans.plan_file import dumps
from viscy_compat.rewrite import copies
from viscy_compat.rewrite import write as writing
from viscy_compat.rewrite.output import Output
from viscy_compat.rewrite.remapping import remap
from viscy_compat.rewrite.write import (
    PROVENANCE,
    Job,
    OutputFormat,
    OutputSet,
    WrittenFile,
    becomes_plain,
    plain_output,
    write,
)

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


@pytest.mark.parametrize("ending", [".ckpt", ".pt", ".safetensors"])
def test_the_name_of_the_output_is_not_in_it(halved: Path, ending: str) -> None:
    """torch.save writes the name of its file into the file, and safetensors orders its metadata anew in each process."""
    first, second = (halved.with_name(f"{name}{ending}") for name in ("best", "last"))
    for out in (first, second):
        remap(str(halved), str(out), plan=str(halved.with_name("plan.json")))
    assert first.read_bytes() == second.read_bytes()


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
    write, fsync, link, replace = os.pwrite, os.fsync, os.link, os.replace

    def note_write(descriptor: int, data: bytes, position: int) -> int:
        events.append(("write", os.fstat(descriptor).st_ino))
        return write(descriptor, data, position)

    def note_fsync(descriptor: int) -> None:
        fsync(descriptor)
        events.append(("settle", os.fstat(descriptor).st_ino))

    def note_link(source: str, target: str) -> None:
        events.append(("name", os.stat(source).st_ino))
        link(source, target)

    def note_replace(source: str, target: str) -> None:
        events.append(("name", os.stat(source).st_ino))
        replace(source, target)

    noted = {"pwrite": note_write, "fsync": note_fsync, "link": note_link, "replace": note_replace}
    for function, stand_in in noted.items():
        monkeypatch.setattr(os, function, stand_in)
    return events


def entries(sizes: Mapping[str, int], *, first: int = 0) -> dict[str, bytes]:
    """Nodes of float vectors, each over a storage of its own, the keys of which count from ``first``."""
    return {
        name: tensor((size,), (1,), of=storage(str(place), elements=size))
        for place, (name, size) in enumerate(sizes.items(), first)
    }


def numbered(*sizes: int) -> dict[str, bytes]:
    return {str(place): floats(place, size) for place, size in enumerate(sizes)}


def opened(path: Path, root: bytes, data: Mapping[str, bytes], *more: Record, site: str | None = None) -> Checkpoint:
    """A torch zip file with these contents and more records, opened."""
    listed = records(pickled(root), data)
    path.write_bytes(archive([*listed[:-1], *more, listed[-1]]))
    return open_checkpoint(str(path), state_dict=site)


def renaming(names: Mapping[str, str], sizes: Mapping[str, int], *drops: str) -> Plan:
    """The plan that renames the tensors of one set, and drops others."""
    here = {name: TensorSpec((size,)) for name, size in sizes.items()}
    there = {new: here[old] for old, new in names.items()}
    rows: list[Operation] = [
        *(Rename(old, new) for old, new in names.items()),
        *(Drop(name, "no place") for name in drops),
    ]
    return plan_of(PlanEnd(here), PlanEnd(there), rows)


def out_of(job: Job) -> tuple[WrittenFile, dict[str, bytes]]:
    """Write a job; return what was written, and every record of it by its name, in their order."""
    seen: list[str] = []
    written = write(job, seen.append)
    assert seen
    assert not Path(seen[0]).exists()
    with ZipFile(job.out) as held:
        return written, {name: held.read(name) for name in held.namelist()}


TWO = {"t.0": 3, "t.1": 5}
EXTRA = Record("archive/extra/notes.txt", b"a record that nobody knows")
LEAN = Record("archive/.format_version", b"1")


def lightning_job(folder: Path, **fields: Any) -> Job:
    """A Lightning file of two tensors in which the first is renamed and the second dropped."""
    state = mapping(entries({f"model.{name}": size for name, size in TWO.items()}))
    root = lightning(state_dict=state, callbacks=mapping({"a": number(1)}), hyper_parameters=mapping({"b": number(2)}))
    checkpoint = opened(folder / "old.ckpt", root, numbered(3, 5), EXTRA, LEAN)
    plan = renaming({"t.0": "u.x"}, TWO, "t.1")
    keys = {name: f"model.{name}" for name in TWO}
    weights = OutputSet(checkpoint, keys=keys, plan=plan, prefix="model.", source_prefix="model.", site=checkpoint.site)
    return Job(weights, out=str(folder / "new.ckpt"), format="torch", **fields)


def test_a_file_with_a_graph_keeps_its_records_but_for_storages_that_nothing_refers_to(tmp_path: Path) -> None:
    written, held = out_of(lightning_job(tmp_path, metadata={"by": "us", "why": "two"}))
    assert list(held) == [
        "archive/data.pkl",
        "archive/byteorder",
        "archive/data/0",
        EXTRA.name,
        LEAN.name,
        "archive/version",
        f"archive/{PROVENANCE}",
    ]
    assert held["archive/data/0"] == floats(0, 3)
    assert (held[EXTRA.name], held["archive/version"], held["archive/byteorder"]) == (EXTRA.data, b"3\n", b"little")
    assert held[f"archive/{PROVENANCE}"] == b'{\n "by": "us",\n "why": "two"\n}'
    new = open_checkpoint(written.path)
    assert list(new.tensors) == ["model.u.x"]
    assert {*new.entries} >= {"epoch", "pytorch-lightning_version", "callbacks", "hyper_parameters"}
    assert (written.path, written.size, written.tensors) == (
        str(tmp_path / "new.ckpt"),
        (tmp_path / "new.ckpt").stat().st_size,
        1,
    )
    assert (written.tied, written.admission.omissions) == ({}, ())


def test_the_weights_alone_leave_the_other_records_and_entries_out(tmp_path: Path) -> None:
    _, held = out_of(lightning_job(tmp_path, weights_only=True))
    assert list(held) == ["archive/data.pkl", "archive/byteorder", "archive/data/0", LEAN.name, "archive/version"]
    new = open_checkpoint(str(tmp_path / "new.ckpt"))
    assert {*new.entries} == {"epoch", "pytorch-lightning_version", "hyper_parameters"}


def test_a_record_of_ours_is_renewed_and_without_anything_new_kept(tmp_path: Path) -> None:
    job = lightning_job(tmp_path, metadata={"by": "us"})
    out_of(job)
    again = open_checkpoint(job.out)
    plan = renaming({"u.x": "v.x"}, {"u.x": 3})
    weights = job.weights._replace(checkpoint=again, keys={"u.x": "model.u.x"}, plan=plan)
    _, renewed = out_of(job._replace(weights=weights, out=str(tmp_path / "newer.ckpt"), metadata={"by": "them"}))
    assert list(renewed)[-1] == f"archive/{PROVENANCE}"
    assert renewed[f"archive/{PROVENANCE}"] == b'{\n "by": "them"\n}'
    _, kept = out_of(job._replace(weights=weights, out=str(tmp_path / "newest.ckpt"), metadata={}))
    assert kept[f"archive/{PROVENANCE}"] == b'{\n "by": "us"\n}'


@pytest.mark.parametrize("source", ["stream", "safetensors"])
def test_a_file_without_a_graph_becomes_a_plain_state_dict(tmp_path: Path, source: str) -> None:
    path = tmp_path / f"old.{source}"
    content = stream(mapping({"w": tensor()})) if source == "stream" else safetensors({"w": row()})
    path.write_bytes(content)
    plan = plan_of(
        PlanEnd({"w": TensorSpec((2, 3))}), PlanEnd({"model.x": TensorSpec((2, 3))}), [Rename("w", "model.x")]
    )
    job = Job(OutputSet(open_checkpoint(str(path)), {"w": "w"}, plan), str(tmp_path / "new.pt"), "torch")
    assert plain_output(job)
    written, held = out_of(job._replace(metadata={"by": "us"}))
    assert list(held) == [
        "archive/data.pkl",
        "archive/byteorder",
        "archive/data/0",
        "archive/version",
        f"archive/{PROVENANCE}",
    ]
    assert (held["archive/byteorder"], held["archive/version"]) == (b"little", b"3\n")
    assert held["archive/data/0"] == NUMBERS
    new = open_checkpoint(written.path)
    assert [(name, one.spec.shape) for name, one in new.tensors.items()] == [("model.x", (2, 3))]


def test_a_torch_file_keeps_its_graph_and_a_pickled_module_does_not(tmp_path: Path) -> None:
    job = lightning_job(tmp_path)
    assert not plain_output(job)
    assert plain_output(job._replace(format="safetensors"))
    root = module({"w": tensor()})
    assert becomes_plain(opened(tmp_path / "module.pt", root, {"0": NUMBERS}))


def test_a_big_endian_file_becomes_a_plain_one_whose_bytes_are_turned(tmp_path: Path) -> None:
    listed = records(pickled(mapping(entries({"t.0": 3}))), {"0": struct.pack(">3f", 1, 2, 3)})
    big = [each._replace(data=b"big") if each.name.endswith("byteorder") else each for each in listed]
    (tmp_path / "old.pt").write_bytes(archive(big))
    checkpoint = open_checkpoint(str(tmp_path / "old.pt"))
    assert becomes_plain(checkpoint)
    plan = renaming({"t.0": "u.0"}, {"t.0": 3})
    _, held = out_of(Job(OutputSet(checkpoint, {"t.0": "t.0"}, plan), str(tmp_path / "new.pt"), "torch"))
    assert (held["archive/byteorder"], held["archive/data/0"]) == (b"little", struct.pack("<3f", 1, 2, 3))


def test_siblings_are_written_to_their_own_place_and_others_are_removed(tmp_path: Path) -> None:
    root = lightning(
        state_dict=mapping(entries({"model.t.0": 3})),
        ema=mapping(entries({"t.0": 3}, first=1)),
        junk=mapping({"q": number(1)}),
        more=mapping({"deep": mapping({"r": number(2)}), "stays": number(3)}),
    )
    checkpoint = opened(tmp_path / "old.ckpt", root, numbered(3, 3))
    plan = renaming({"t.0": "u.x"}, {"t.0": 3})
    weights = OutputSet(
        checkpoint, {"t.0": "model.t.0"}, plan, prefix="model.", source_prefix="model.", site="state_dict"
    )
    sibling = OutputSet(select_set(checkpoint, "ema"), {"t.0": "t.0"}, plan, site="ema")
    job = Job(
        weights,
        str(tmp_path / "new.ckpt"),
        "torch",
        siblings=(sibling,),
        removed=("junk", "more.deep"),
    )
    _, held = out_of(job)
    assert (held["archive/data/0"], held["archive/data/1"]) == (floats(0, 3), floats(1, 3))
    assert list(open_checkpoint(job.out, state_dict="state_dict").tensors) == ["model.u.x"]
    assert list(open_checkpoint(job.out, state_dict="ema").tensors) == ["u.x"]
    new = open_checkpoint(job.out, state_dict="state_dict")
    assert "junk" not in new.entries
    assert plain(mapping_of(new.root)["more"]) == {"stays": 3}  # type: ignore[index]


def test_two_sets_of_one_state_dict_stand_one_after_the_other(tmp_path: Path) -> None:
    root = mapping(entries({"one.t.0": 3, "two.t.0": 3}))
    checkpoint = opened(tmp_path / "old.pt", root, numbered(3, 3))
    plan = renaming({"t.0": "u.x"}, {"t.0": 3})
    first, second = (
        OutputSet(checkpoint, {"t.0": f"{side}.t.0"}, plan, prefix=f"{side}.", source_prefix=f"{side}.")
        for side in ("one", "two")
    )
    job = Job(first, str(tmp_path / "new.pt"), "torch", siblings=(second,))
    out_of(job)
    assert list(open_checkpoint(job.out).tensors) == ["one.u.x", "two.u.x"]


def test_a_set_is_written_to_a_place_that_is_new(tmp_path: Path) -> None:
    root = mapping({"weights": mapping(entries({"t.0": 3})), "epoch": number(1)})
    checkpoint = opened(tmp_path / "old.pt", root, numbered(3))
    plan = renaming({"t.0": "u.x"}, {"t.0": 3})
    job = Job(OutputSet(checkpoint, {"t.0": "t.0"}, plan, site="state_dict"), str(tmp_path / "new.pt"), "torch")
    out_of(job._replace(removed=("weights",)))
    assert [known.path for known in open_checkpoint(job.out).sites] == ["state_dict"]
    assert list(open_checkpoint(job.out, state_dict="state_dict").tensors) == ["u.x"]


METADATA = {"": 1, "net": 2, "net.norm": 3, "head": 4, "other": 5}


def versions(path: str, **stated: Any) -> dict[str, int]:
    """The module versions that a state dict holds, by module path."""
    node = open_checkpoint(path, **stated).state_node
    (attributes,) = (plain(each) for each in node.states)
    return {name: facts["version"] for name, facts in attributes["_metadata"].items()}


def test_module_versions_move_with_their_modules(tmp_path: Path) -> None:
    facts = {path: mapping({"version": number(version)}) for path, version in METADATA.items()}
    sizes = {"net.norm.w": 3, "net.w": 3, "head.w": 3}
    state = ordered(entries(sizes), _metadata=ordered(facts))
    checkpoint = opened(tmp_path / "old.pt", state, numbered(3, 3, 3))
    plan = renaming({"net.norm.w": "net.ln.w", "net.w": "net.w", "head.w": "top.w"}, sizes)
    job = Job(OutputSet(checkpoint, {name: name for name in sizes}, plan), str(tmp_path / "new.pt"), "torch")
    out_of(job)
    assert versions(job.out) == {"": 1, "net": 2, "net.ln": 3, "top": 4, "other": 5}


def test_module_versions_move_below_another_prefix(tmp_path: Path) -> None:
    # the outermost last: where `model` takes its place, its own version is gone
    paths = {"model": 2, "model.net": 3, "loss": 4, "": 1}
    facts = {path: mapping({"version": number(version)}) for path, version in paths.items()}
    state = ordered(entries({"model.net.w": 3}), _metadata=ordered(facts))
    checkpoint = opened(tmp_path / "old.pt", state, numbered(3))
    plan = renaming({"net.w": "core.w"}, {"net.w": 3})
    for prefix, expected in (
        ("", {"": 2, "core": 3}),
        ("module.", {"": 1, "module": 2, "module.core": 3}),
        ("model.", {"": 1, "model": 2, "model.core": 3}),
    ):
        out = str(tmp_path / f"new{prefix}.pt")
        weights = OutputSet(checkpoint, {"net.w": "model.net.w"}, plan, prefix=prefix, source_prefix="model.")
        out_of(Job(weights, out, "torch"))
        assert versions(out) == expected


def test_tensors_over_the_same_bytes_are_tied(tmp_path: Path) -> None:
    held = storage("0", elements=6)
    root = mapping(
        {
            "a": tensor((6,), (1,), of=held),
            "b": tensor((6,), (1,), of=held),
            "c": tensor((3,), (1,), offset=3, of=held),
            "none": tensor((0,), (1,), of=held),
            "nothing": tensor((0,), (1,), of=held),
        }
    )
    checkpoint = opened(tmp_path / "old.pt", root, numbered(6))
    sizes = {"a": 6, "b": 6, "c": 3, "none": 0, "nothing": 0}
    plan = renaming({name: f"x.{name}" for name in sizes}, sizes)
    job = Job(OutputSet(checkpoint, {name: name for name in sizes}, plan), str(tmp_path / "new.pt"), "torch")
    written, held_records = out_of(job)
    assert written.tied == {"x.b": "x.a"}
    assert [name for name in held_records if name.startswith("archive/data/")] == ["archive/data/0"]
    out = str(tmp_path / "new.safetensors")
    write(job._replace(out=out, format="safetensors", metadata={"by": "us"}), lambda path: None)
    new = open_checkpoint(out)
    assert new.metadata == {"by": "us", "viscy_compat.tied": '{"x.b": "x.a"}'}
    with TensorReader(new) as reader:
        assert {name: b"".join(reader.chunks(one, size=8)) for name, one in new.tensors.items()} == {
            "x.a": floats(0, 6),
            "x.b": floats(0, 6),
            "x.c": floats(0, 6)[12:],
            "x.none": b"",
            "x.nothing": b"",
        }


@pytest.mark.parametrize("ending", ["safetensors", "ckpt"])
def test_what_the_recheck_refuses_is_not_put_in_its_place(tmp_path: Path, ending: str) -> None:
    format: Any = "safetensors" if ending == "safetensors" else "torch"
    job = lightning_job(tmp_path)._replace(out=str(tmp_path / f"new.{ending}"), format=format)

    def refuse(path: str) -> None:
        assert list(open_checkpoint(path).tensors) == (["model.u.x"])
        raise OutputRefused("not as it should be")

    with pytest.raises(OutputRefused, match="not as it should be"):
        write(job, refuse)
    assert [path.name for path in tmp_path.iterdir()] == ["old.ckpt"]


@pytest.mark.parametrize("format", ["safetensors", "torch"])
def test_a_disc_that_is_too_small_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: OutputFormat
) -> None:
    job = lightning_job(tmp_path)._replace(out=str(tmp_path / "new"), format=format)
    monkeypatch.setattr(Output, "free_bytes", lambda self: 11)
    with pytest.raises(OutputRefused) as caught:
        write(job, lambda path: pytest.fail("written"))
    needed = int(caught.value.message.split()[0])
    assert caught.value.message == f"{needed} bytes are needed, and the disc has 11 left; nothing was written"
    assert (caught.value.where, caught.value.fix) == (job.out, "make room, or choose another disc")
    monkeypatch.setattr(Output, "free_bytes", lambda self: needed)
    size = write(job, lambda path: None).size
    # the headers of a zip archive are not counted beforehand
    assert needed == size if format == "safetensors" else 12 < needed < size


def test_a_disc_that_does_not_tell_is_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Output, "free_bytes", lambda self: None)
    assert write(lightning_job(tmp_path), lambda path: None).tensors == 1


@pytest.mark.parametrize("damage", ["value", "name", "shape"])
@pytest.mark.parametrize("ending", ["safetensors", "pt"])
def test_a_new_file_that_is_not_what_was_written_is_removed(tmp_path: Path, damage: str, ending: str) -> None:
    """The recheck is where the test puts another file into the place of the one that was written."""
    checkpoint = opened(tmp_path / "old.pt", mapping(entries(TWO)), numbered(3, 5))
    plan = renaming({"t.0": "u.0", "t.1": "u.1"}, TWO)
    format: Any = "safetensors" if ending == "safetensors" else "torch"
    job = Job(OutputSet(checkpoint, {name: name for name in TWO}, plan), str(tmp_path / f"new.{ending}"), format)

    def exchange(path: str) -> None:
        sizes = {"u.0": 3, "u.1" if damage != "name" else "v.1": 5 if damage != "shape" else 4}
        values = {name: floats(place, size) for place, (name, size) in enumerate(sizes.items())}
        if damage == "value":
            values["u.1"] = values["u.1"][:-1] + b"\x00"
        if format == "torch":
            Path(path).write_bytes(zipped(mapping(entries(sizes)), dict(zip("01", values.values(), strict=True))))
            return
        header, place = {}, 0
        for key, data in values.items():
            header[key] = row((len(data) // 4,), place, place + len(data))
            place += len(data)
        Path(path).write_bytes(safetensors(header, b"".join(values.values())))

    what = {"value": "u.1", "name": "its tensors have other names", "shape": "u.1"}[damage]
    with pytest.raises(UnreadableCheckpoint) as caught:
        write(job, exchange)
    assert caught.value.message == f"the new file, read again, is not what was written ({what}); it was removed"
    assert caught.value.where == job.out
    assert caught.value.fix == "check the disc and try again; if it happens twice, report it as a defect"
    assert [path.name for path in tmp_path.iterdir()] == ["old.pt"]


def test_large_tensors_are_compared_in_slices_by_two_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "WORTHWHILE", 64)
    monkeypatch.setattr(copies, "SLICE", 64)
    sizes = {"t.0": 100, "t.1": 16, "t.2": 17}
    checkpoint = opened(tmp_path / "old.pt", mapping(entries(sizes)), numbered(100, 16, 17))
    plan = renaming({name: f"u{name[1:]}" for name in sizes}, sizes)
    job = Job(OutputSet(checkpoint, {name: name for name in sizes}, plan), str(tmp_path / "new.pt"), "torch")
    _, held = out_of(job)
    assert [held[f"archive/data/{place}"] for place in range(3)] == [floats(0, 100), floats(1, 16), floats(2, 17)]
    for element in (0, 15, 16, 99):
        out = str(tmp_path / f"new{element}.pt")
        with pytest.raises(UnreadableCheckpoint, match=r"\(u\.0\)"):
            write(job._replace(out=out), partial(flip_element, floats(0, 100), element))


def flip_element(content: bytes, element: int, path: str) -> None:
    flip(Path(path), Path(path).read_bytes().index(content) + 4 * element)


LOST = call(name("types", "SimpleNamespace"))


def test_what_no_entry_holds_is_refused_unless_classes_are_kept(tmp_path: Path) -> None:
    own = ordered({"state_dict": mapping(entries({"t.0": 3}))})[: -len(mapping({}) + b"b")] + LOST + b"b"
    checkpoint = opened(tmp_path / "old.pt", own, numbered(3))
    plan = renaming({"t.0": "u.x"}, {"t.0": 3})
    weights = OutputSet(checkpoint, {"t.0": "t.0"}, plan, site=checkpoint.site)
    job = Job(weights, str(tmp_path / "new.pt"), "torch")
    with pytest.raises(OutputRefused) as caught:
        write(job, lambda path: pytest.fail("written"))
    assert caught.value.message == "torch.load's default refuses the whole of such a file: types.SimpleNamespace"
    assert caught.value.where == job.out
    assert caught.value.fix == "--weights-only writes the weights alone; --keep-classes writes the rest too"
    written, _ = out_of(job._replace(keep_classes=True))
    assert written.admission.root == ("types.SimpleNamespace",)
    assert list(open_checkpoint(job.out).tensors) == ["u.x"]


def test_an_entry_that_torchs_default_refuses_is_left_out_or_kept(tmp_path: Path) -> None:
    root = mapping({"state_dict": mapping(entries({"t.0": 3})), "mine": LOST, "epoch": number(4)})
    checkpoint = opened(tmp_path / "old.pt", root, numbered(3))
    plan = renaming({"t.0": "u.x"}, {"t.0": 3})
    job = Job(OutputSet(checkpoint, {"t.0": "t.0"}, plan, site="state_dict"), str(tmp_path / "lean.pt"), "torch")
    written, _ = out_of(job)
    assert [row.place for row in written.admission.omissions] == ["mine"]
    assert {*open_checkpoint(job.out).entries} == {"epoch"}
    kept = job._replace(out=str(tmp_path / "kept.pt"), keep_classes=True)
    out_of(kept)
    assert {*open_checkpoint(kept.out).entries} == {"mine", "epoch"}


def test_a_tensor_that_is_made_anew_has_a_record_of_its_own(tmp_path: Path) -> None:
    """The source's own records keep their keys, and the new ones have others."""
    root = mapping({"state_dict": mapping(entries({"t.0": 3, "t.1": 4}))})
    checkpoint = opened(tmp_path / "old.pt", root, numbered(3, 4))
    here = {"t.0": TensorSpec((3,)), "t.1": TensorSpec((4,))}
    there = {"u.0": TensorSpec((3,)), "u.new": TensorSpec((2,)), "u.1": TensorSpec((2, 2))}
    rows: list[Operation] = [
        Rename("t.0", "u.0"),
        Fill("u.new", (2,), "float32", 0.5, "why"),
        Reshape("t.1", "u.1", (2, 2)),
    ]
    plan = plan_of(PlanEnd(here), PlanEnd(there), rows)
    weights = OutputSet(checkpoint, {key: key for key in here}, plan, site="state_dict")
    _, held = out_of(Job(weights, str(tmp_path / "new.pt"), "torch"))
    storages = {key: data for key, data in held.items() if key.startswith("archive/data/")}
    assert storages == {
        "archive/data/0": floats(0, 3),
        "archive/data/2": struct.pack("<2f", 0.5, 0.5),
        "archive/data/3": floats(1, 4),
    }
    new = open_checkpoint(str(tmp_path / "new.pt"))
    assert {key: one.spec for key, one in new.tensors.items()} == there


def test_a_set_is_moved_to_the_place_of_another(tmp_path: Path) -> None:
    """The average takes the place that loaders take; what stood there is gone."""
    average = ordered(entries({"t.0": 3}, first=1), _metadata=ordered({"": mapping({"version": number(7)})}))
    root = mapping({"state_dict": mapping(entries({"t.0": 3})), "ema": average})
    checkpoint = opened(tmp_path / "old.pt", root, numbered(3, 3), site="ema")
    assert checkpoint.site == "ema"
    plan = renaming({"t.0": "u.x"}, {"t.0": 3})
    weights = OutputSet(checkpoint, {"t.0": "t.0"}, plan, site="state_dict")
    job = Job(weights, str(tmp_path / "new.pt"), "torch", removed=("ema",))
    _, held = out_of(job)
    assert [(key, data) for key, data in held.items() if key.startswith("archive/data/")] == [
        ("archive/data/1", floats(1, 3))
    ]
    new = open_checkpoint(job.out)
    assert ([known.path for known in new.sites], list(new.tensors)) == (["state_dict"], ["u.x"])
    assert versions(job.out) == {"": 7}


def test_module_versions_of_two_sets_are_each_moved_by_their_own_renames(tmp_path: Path) -> None:
    facts = {path: mapping({"version": number(version)}) for version, path in enumerate(("", "one.a", "two.a"))}
    state = ordered(entries({"one.a.w": 3, "two.a.w": 3}), _metadata=ordered(facts))
    checkpoint = opened(tmp_path / "old.pt", state, numbered(3, 3))
    first, second = (
        OutputSet(
            checkpoint,
            {"a.w": f"{side}.a.w"},
            renaming({"a.w": f"{new}.w"}, {"a.w": 3}),
            prefix=f"{side}.",
            source_prefix=f"{side}.",
        )
        for side, new in (("one", "b"), ("two", "c"))
    )
    job = Job(first, str(tmp_path / "new.pt"), "torch", siblings=(second,))
    out_of(job)
    assert versions(job.out) == {"": 0, "one.b": 1, "two.c": 2}


def test_a_module_whose_place_another_one_takes_is_gone(tmp_path: Path) -> None:
    """`b` holds no tensor, and `a` becomes `b`: only the version of `a` goes there."""
    facts = {path: mapping({"version": number(version)}) for version, path in enumerate(("", "a", "b"))}
    state = ordered(entries({"a.w": 3, "c.w": 3}), _metadata=ordered(facts))
    checkpoint = opened(tmp_path / "old.pt", state, numbered(3, 3))
    plan = renaming({"a.w": "b.w", "c.w": "c.w"}, {"a.w": 3, "c.w": 3})
    job = Job(OutputSet(checkpoint, {"a.w": "a.w", "c.w": "c.w"}, plan), str(tmp_path / "new.pt"), "torch")
    out_of(job)
    assert versions(job.out) == {"": 0, "b": 1}


def test_a_name_that_safetensors_has_for_itself_is_refused_with_the_file(tmp_path: Path) -> None:
    checkpoint = opened(tmp_path / "old.pt", mapping(entries({"t.0": 3})), numbered(3))
    plan = renaming({"t.0": "__metadata__"}, {"t.0": 3})
    job = Job(OutputSet(checkpoint, {"t.0": "t.0"}, plan), str(tmp_path / "new.safetensors"), "safetensors")
    with pytest.raises(OutputRefused) as caught:
        write(job, lambda path: pytest.fail("written"))
    assert caught.value.where == job.out
    assert [path.name for path in tmp_path.iterdir()] == ["old.pt"]


def test_a_storage_that_is_read_in_part_is_verified_whole_beside_one_that_is_read_whole(tmp_path: Path) -> None:
    """Either storage by itself: that one is whole says nothing of the other."""
    root = mapping(
        {
            "whole": tensor((4,), (1,), of=storage("0", elements=4)),
            "part": tensor((4,), (1,), of=storage("1", elements=8)),
            "piece": tensor((4,), (1,), of=storage("2", elements=8)),
        }
    )
    path = tmp_path / "old.pt"
    opened(path, root, numbered(4, 8, 8))
    sizes = {"whole": 4, "part": 4, "piece": 4}
    plan = renaming({key: f"x.{key}" for key in sizes}, sizes)
    for place in (1, 2):
        opened(path, root, numbered(4, 8, 8))
        flip(path, path.read_bytes().index(floats(place, 8)) + 4 * 7)
        weights = OutputSet(open_checkpoint(str(path)), {key: key for key in sizes}, plan)
        with pytest.raises(CompatError) as caught:
            write(Job(weights, str(tmp_path / "new.safetensors"), "safetensors"), lambda path: None)
        assert caught.value.code == "VC414"

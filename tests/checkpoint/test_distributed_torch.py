"""Folders of torch.distributed.checkpoint that were put together by hand: what is read, and what is refused."""

from __future__ import annotations

import json
import os
import struct
from itertools import product
from pathlib import Path

import pytest

from support.assembly import call, lightning, list_of, mapping, name, number, safetensors, text, tuple_of, zipped
from support.folders import Block, Entry, distributed, whole
from viscy_compat.checkpoint import Checkpoint, open_checkpoint
from viscy_compat.checkpoint.inspection import optimizers_of as optimizer_facts_of
from viscy_compat.checkpoint.pickle_nodes import Dict, mapping_of
from viscy_compat.checkpoint.tensor_bytes import TensorReader
from viscy_compat.errors import UnreadableCheckpoint
from viscy_compat.plans.optimizer import mapping_of_positions, optimizers_of

NUMBERS = tuple(float(value) for value in range(24))


def values(checkpoint: Checkpoint, key: str) -> tuple[float, ...]:
    with TensorReader(checkpoint) as reader:
        data = b"".join(reader.chunks(checkpoint.tensors[key]))
    return struct.unpack(f"<{len(data) // 4}f", data)


def block(shape: tuple[int, ...], offsets: tuple[int, ...], size: tuple[int, ...], file: str = "__0_0.distcp") -> Block:
    """The block of the tensor of that shape whose values are 0, 1, 2... in row-major order."""
    held = []
    for index in product(*(range(start, start + length) for start, length in zip(offsets, size, strict=True))):
        place = 0
        for at, length in zip(index, shape, strict=True):
            place = place * length + at
        held.append(float(place))
    return Block(offsets, size, tuple(held), file)


CUTS = {
    "rows": [((0, 0, 0), (1, 3, 4)), ((1, 0, 0), (1, 3, 4))],
    "rows in any order": [((1, 0, 0), (1, 3, 4)), ((0, 0, 0), (1, 3, 4))],
    "columns": [((0, 0, 0), (2, 3, 3)), ((0, 0, 3), (2, 3, 1))],
    "the middle": [((0, 0, 0), (2, 1, 4)), ((0, 1, 0), (2, 2, 4))],
    "quarters": [((row, 0, column), (1, 3, 2)) for row in (0, 1) for column in (0, 2)],
    "an empty part": [((0, 0, 0), (2, 3, 4)), ((2, 0, 0), (0, 3, 4))],
}


@pytest.mark.parametrize("cut", CUTS)
def test_chunks_are_put_together(tmp_path: Path, cut: str) -> None:
    blocks = [block((2, 3, 4), offsets, size, f"__{place}_0.distcp") for place, (offsets, size) in enumerate(CUTS[cut])]
    entries = {"state_dict.a.w": Entry((2, 3, 4), tuple(blocks)), "state_dict.b": whole((2,), (5.0, 6.0))}
    checkpoint = open_checkpoint(str(distributed(tmp_path / "d.ckpt", entries)))
    assert (checkpoint.format, checkpoint.site, list(checkpoint.tensors)) == (
        "distributed-torch",
        "state_dict",
        ["a.w", "b"],
    )
    assert checkpoint.tensors["a.w"].spec.shape == (2, 3, 4)
    assert values(checkpoint, "a.w") == NUMBERS
    assert values(checkpoint, "b") == (5.0, 6.0)
    assert {os.path.basename(file.path) for file in checkpoint.files} == {".metadata", *(row.file for row in blocks)}


def test_a_damaged_part_is_found_when_it_is_read_or_verified(tmp_path: Path) -> None:
    blocks = tuple(block((2, 4), (0, start), (2, 2), f"__{start}_0.distcp") for start in (0, 2))
    folder = distributed(tmp_path / "d", {"state_dict.w": Entry((2, 4), blocks)})
    part = folder / "__2_0.distcp"
    part.write_bytes(part.read_bytes().replace(struct.pack("<f", 6.0), struct.pack("<f", 6.5)))
    checkpoint = open_checkpoint(str(folder))
    with pytest.raises(UnreadableCheckpoint) as caught:
        values(checkpoint, "w")
    assert caught.value.code == "VC414"
    with TensorReader(checkpoint) as reader:
        damaged = [key for key, storage in checkpoint.storages.items() if not _sound(reader, storage)]
    assert damaged == ["__2_0.distcp/state_dict.w@(0, 2)"]


def _sound(reader: TensorReader, storage: object) -> bool:
    try:
        reader.verify(storage)  # type: ignore[arg-type]
    except UnreadableCheckpoint:
        return False
    return True


def test_what_lightning_saves_beside_the_tensors_is_read_with_them(tmp_path: Path) -> None:
    folder = distributed(tmp_path / "run.ckpt", {"state_dict.model.w": whole((2,), (1.0, 2.0))})
    record = lightning(hyper_parameters=text("told"))
    (folder / "meta.pt").write_bytes(zipped(record))
    checkpoint = open_checkpoint(str(folder))
    assert (checkpoint.wrapper.kind, checkpoint.wrapper.prefix, checkpoint.wrapper.version) == (
        "lightning",
        "model.",
        "2.5.0",
    )
    assert checkpoint.hyper_parameters == "told"
    assert values(checkpoint, "model.w") == (1.0, 2.0)
    (folder / "meta.pt").write_bytes(zipped(mapping({"pytorch-lightning_version": text("2.5.0"), "loops": b"}"})))
    with pytest.raises(UnreadableCheckpoint, match=f"give the folder: viscy-compat check {folder}"):
        open_checkpoint(str(folder / "meta.pt"))


def test_entries_without_a_place_of_their_own_lie_below_state_dict(tmp_path: Path) -> None:
    folder = distributed(tmp_path / "d", {"state_dict.w": whole((1,), (3.0,))}, planner=b"N")
    assert values(open_checkpoint(str(folder)), "w") == (3.0,)


def place_of(*path: str | int) -> bytes:
    return tuple_of(*(text(part) if isinstance(part, str) else number(part) for part in path))


def test_the_positions_of_an_optimizer_are_numbers_again(tmp_path: Path) -> None:
    """Torch writes all keys of dictionaries as texts, places in lists as numbers, and no empty dictionary at all."""
    moments: list[tuple[str | int, ...]] = [("optimizers", 0, "state", str(at), "exp_avg") for at in (1, 0)]
    groups: list[tuple[str | int, ...]] = [("optimizers", at, "param_groups", 0, "params") for at in (1, 0)]
    paths = {".".join(map(str, path)): place_of(*path) for path in (*moments, *groups)}
    folder = distributed(
        tmp_path / "d",
        {key: whole((1,), (3.0,)) for key in list(paths)[:2]} | {"state_dict.w": whole((1,), (3.0,))},
        objects={key: list_of(number(0), number(1)) for key in list(paths)[2:]},
        planner=mapping(paths | {"state_dict.w": place_of("state_dict", "w")}),
    )
    first, second = optimizers_of(open_checkpoint(str(folder)))
    assert list(mapping_of_positions(first["state"]) or {}) == [1, 0]
    assert mapping_of_positions(second["state"]) == {}
    assert [mapping_of(group) for group in second["param_groups"]] == [{"params": [0, 1]}]


def test_names_of_an_optimizer_stay_names_and_a_list_with_gaps_a_dictionary(tmp_path: Path) -> None:
    paths: list[tuple[str | int, ...]] = [
        ("o", "state", "0", "m"),
        ("o", "param_groups", 0, "params"),
        ("gaps", 1, "x"),
    ]
    planner = {".".join(map(str, path)): place_of(*path) for path in (*paths, ("state_dict", "w"))}
    keys = list(planner)
    folder = distributed(
        tmp_path / "d",
        {key: whole((1,), (3.0,)) for key in (keys[0], keys[2], keys[3])},
        objects={keys[1]: list_of(text("0"))},
        planner=mapping(planner),
    )
    checkpoint = open_checkpoint(str(folder))
    (optimizer,) = optimizers_of(checkpoint)
    assert list(mapping_of(optimizer["state"]) or {}) == ["0"]
    gaps = checkpoint.entries["gaps"]
    assert type(gaps) is Dict
    assert gaps.entries[0] == 1


RUNS = call(name("os", "system"), text("true"))


def test_what_the_metadata_or_the_record_would_run_is_told(tmp_path: Path) -> None:
    entries = {"state_dict.w": whole((1,), (3.0,))}
    honest = distributed(tmp_path / "honest", entries)
    evil = distributed(tmp_path / "evil", entries, more=text("x") + RUNS)
    beside = distributed(tmp_path / "beside", entries)
    (beside / "meta.pt").write_bytes(zipped(lightning(x=RUNS)))
    for folder, told in ((honest, False), (evil, True), (beside, True)):
        codes = {finding.code for finding in open_checkpoint(str(folder)).findings}
        assert ("VC430" in codes) is told
        assert "VC431" not in codes


W = "state_dict.w"
HALVES = (block((4,), (0,), (2,)), block((4,), (2,), (2,)))
LIES = {
    "a gap": ("VC471", Entry((5,), HALVES)),
    "an overlap": ("VC471", Entry((4,), (HALVES[0], HALVES[1]._replace(offsets=(1,))))),
    "a part beyond the tensor": ("VC471", Entry((4,), (HALVES[0], HALVES[1]._replace(offsets=(3,))))),
    "an overlap of columns": (
        "VC471",
        Entry((2, 2), (block((2, 2), (0, 0), (2, 1)), Block((0, 0), (2, 1), (1.0, 3.0)))),
    ),
    "another shape": ("VC471", Entry((4,), (HALVES[0], HALVES[1]._replace(said_shape=(1,))))),
    "another shape of the whole": ("VC471", whole((4,), (1.0, 2.0, 3.0, 4.0))._replace(shape=(2, 2))),
    "another dtype": ("VC471", Entry((4,), HALVES, dtype="int32")),
    "other axes": ("VC471", Entry((2, 2), HALVES)),
    "an unknown dtype": ("VC471", Entry((4,), HALVES, dtype="float1")),
    "a part without a file": ("VC470", Entry((4,), (HALVES[0], HALVES[1]._replace(more={"relative_path": b"N"})))),
    "a negative place": ("VC470", Entry((4,), (HALVES[0], HALVES[1]._replace(more={"offset": b"J\xff\xff\xff\xff"})))),
    "a place beyond the file": ("VC471", Entry((4,), (HALVES[0], HALVES[1]._replace(more={"offset": b"M\xff\xff"})))),
    "a place within another part": ("VC471", Entry((4,), (HALVES[0], HALVES[1]._replace(more={"offset": b"K\x07"})))),
    "an extension": ("VC470", Entry((4,), (HALVES[0], HALVES[1]._replace(more={"transform_descriptors": b"](Ne"})))),
    "a path that climbs": ("VC461", Entry((4,), (HALVES[0], HALVES[1]._replace(more={"relative_path": text("../x")})))),
    "an absolute path": (
        "VC461",
        Entry((4,), (HALVES[0], HALVES[1]._replace(more={"relative_path": text("/etc/passwd")}))),
    ),
    "a file that is not there": (
        "VC462",
        Entry((4,), (HALVES[0], HALVES[1]._replace(more={"relative_path": text("x")}))),
    ),
}


def refusal(folder: Path) -> str:
    with pytest.raises(UnreadableCheckpoint) as caught:
        open_checkpoint(str(folder))
    assert caught.value.fix
    assert str(folder) in str(caught.value)
    return caught.value.code


@pytest.mark.parametrize("lie", LIES)
def test_a_folder_that_lies_is_refused(tmp_path: Path, lie: str) -> None:
    code, entry = LIES[lie]
    assert refusal(distributed(tmp_path / "d", {W: entry})) == code
    honest = open_checkpoint(str(distributed(tmp_path / "honest", {W: Entry((4,), HALVES)})))
    assert values(honest, "w") == (0.0, 1.0, 2.0, 3.0)


@pytest.mark.parametrize(
    ("name", "what"), [(".metadata", "the table of contents"), ("__0_0.distcp", "one rank's part")]
)
def test_a_file_of_the_folder_given_for_itself_names_the_folder(tmp_path: Path, name: str, what: str) -> None:
    for blocks in (HALVES, (block((4,), (0,), (4,)),)):
        folder = distributed(tmp_path / f"{len(blocks)}", {W: Entry((4,), blocks)})
        with pytest.raises(UnreadableCheckpoint, match=f"this is {what} of a distributed checkpoint") as caught:
            open_checkpoint(str(folder / name))
        assert (caught.value.code, caught.value.fix) == ("VC473", f"give the folder: viscy-compat check {folder}")


def test_a_part_that_is_a_link_is_refused(tmp_path: Path) -> None:
    folder = distributed(tmp_path / "d", {W: Entry((4,), HALVES)})
    (folder / "__0_0.distcp").rename(tmp_path / "elsewhere")
    (folder / "__0_0.distcp").symlink_to(tmp_path / "elsewhere")
    assert refusal(folder) == "VC461"


@pytest.mark.parametrize("content", [b"", b"no pickle", b"\x80\x04N.", b"\x80\x04}."])
def test_a_broken_table_of_contents_is_refused(tmp_path: Path, content: bytes) -> None:
    folder = distributed(tmp_path / "d", {W: Entry((4,), HALVES)})
    (folder / ".metadata").write_bytes(content)
    assert refusal(folder) in ("VC420", "VC470")


def test_parts_that_are_safetensors_are_called_by_their_name(tmp_path: Path) -> None:
    """Torch writes them (``serialization_format=SAFETENSORS``) with the same place for all, and fails to read them."""
    folder = distributed(tmp_path / "d", {W: Entry((4,), HALVES)})
    (folder / "__0_0.distcp").write_bytes(safetensors({"w": {"dtype": "F32", "shape": [6], "data_offsets": [0, 24]}}))
    with pytest.raises(UnreadableCheckpoint, match="its parts are safetensors") as caught:
        open_checkpoint(str(folder))
    assert caught.value.code == "VC470"


def test_an_entry_below_a_tensor_is_refused(tmp_path: Path) -> None:
    one = whole((1,), (1.0,))
    planner = b"}(" + text("a") + b"(" + text("x") + b"t" + text("b") + b"(" + text("x") + text("y") + b"tu"
    assert refusal(distributed(tmp_path / "d", {"a": one, "b": one}, planner=planner)) == "VC470"


# Hugging Face's writer ---------------------------------------------------------------------------------------------------


def part(rank: int, offsets: list[int], shape: list[int], numbers: list[float], **told: object) -> tuple[str, bytes]:
    info = {"w": {"saved_offsets": offsets}, **told}
    row = {"dtype": "F32", "shape": shape, "data_offsets": [0, 4 * len(numbers)]}
    metadata = {"DCP_VERSION": "1.0", "DCP_SHARDING_INFO": json.dumps(info)}
    content = safetensors({"__metadata__": metadata, "w": row}, struct.pack(f"<{len(numbers)}f", *numbers))
    return f"shard-{rank:05}-model-00001-of-00001.safetensors", content


def parts(folder: Path, *files: tuple[str, bytes]) -> Path:
    folder.mkdir()
    for file, content in files:
        (folder / file).write_bytes(content)
    return folder


FIRST = part(1, [0, 0], [2, 1], [0.0, 2.0])


def test_the_parts_of_safetensors_are_put_together(tmp_path: Path) -> None:
    folder = parts(tmp_path / "d", FIRST, part(2, [0, 1], [2, 1], [1.0, 3.0]))
    checkpoint = open_checkpoint(str(folder))
    assert (checkpoint.format, checkpoint.tensors["w"].spec.shape) == ("distributed-safetensors", (2, 2))
    assert values(checkpoint, "w") == (0.0, 1.0, 2.0, 3.0)


@pytest.mark.parametrize(
    ("second", "code"),
    [
        (part(2, [0, 2], [2, 1], [1.0, 3.0]), "VC471"),
        (part(2, [0, 0], [2, 1], [1.0, 3.0]), "VC471"),
        (part(2, [0], [2, 1], [1.0, 3.0]), "VC471"),
        (part(2, [0, 1], [2], [1.0, 3.0]), "VC471"),
        (part(2, [0, -1], [2, 1], [1.0, 3.0]), "VC470"),
        (part(2, [0, 1], [2, 1], [1.0, 3.0], v="nothing"), "VC470"),
    ],
)
def test_parts_of_safetensors_that_lie_are_refused(tmp_path: Path, second: tuple[str, bytes], code: str) -> None:
    assert refusal(parts(tmp_path / "d", FIRST, second)) == code


def test_one_part_for_itself_names_the_folder(tmp_path: Path) -> None:
    folder = parts(tmp_path / "d", FIRST, part(2, [0, 1], [2, 1], [1.0, 3.0]))
    for file, _ in (FIRST, part(2, [0, 1], [2, 1], [1.0, 3.0])):
        with pytest.raises(UnreadableCheckpoint, match=f"viscy-compat check {folder}") as caught:
            open_checkpoint(str(folder / file))
        assert caught.value.code == "VC473"
    alone = parts(tmp_path / "alone", FIRST)
    assert values(open_checkpoint(str(alone / FIRST[0])), "w") == (0.0, 2.0)


MILESTONES = b"ccollections\nCounter\n}(K\x02K\x01K\x03K\x01u\x85R"
"""What `MultiStepLR` keeps: a Counter."""


@pytest.mark.parametrize("form", ["an object", "flat", "in meta.pt"])
def test_the_milestones_of_a_scheduler_keep_no_weights_from_being_read(tmp_path: Path, form: str) -> None:
    """Distributed checkpoints hold them as an object or number by number, Lightning's in `meta.pt`; a remap names them."""
    entry = "lr_schedulers.0.milestones"
    objects = {"an object": {entry: MILESTONES}, "flat": {f"{entry}.2": number(1)}}.get(form, {})
    folder = distributed(tmp_path / "c", {"state_dict.w": whole((2, 3), NUMBERS[:6])}, objects=objects)
    if form == "in meta.pt":
        record = mapping({"lr_schedulers": list_of(mapping({"milestones": MILESTONES})), "epoch": number(3)})
        (folder / "meta.pt").write_bytes(zipped(record))
    found = open_checkpoint(str(folder))
    assert (values(found, "w"), found.findings) == (NUMBERS[:6], ())
    assert any(name.startswith("lr_schedulers") for name in found.entries)


def test_the_bytes_of_an_optimizer_are_those_of_all_its_tensors(tmp_path: Path) -> None:
    """Each has a pickle of its own there, in which its storage is called 0."""
    moments = {f"optimizer.state.{place}.exp_avg": whole((2, 3), NUMBERS[:6]) for place in range(3)}
    state = {"state_dict.w": whole((2, 3), NUMBERS[:6])}
    planner = mapping(
        {key: tuple_of(*map(text, key.split("."))) for key in moments}
        | {"state_dict.w": tuple_of(text("state_dict"), text("w"))}
    )
    folder = distributed(tmp_path / "c", {**state, **moments}, planner=planner)
    (facts,) = optimizer_facts_of(open_checkpoint(str(folder)))
    assert (facts.parameters, facts.slots, facts.nbytes) == (3, ("exp_avg",), 3 * 24)

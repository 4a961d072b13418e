"""The tensors behind the objects that torch's Hugging Face storage writer puts in front of them are read as they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hostile.generator import HONEST_SAFETENSORS
from support.assembly import NUMBERS, End, archive, number, pickled, records, row, safetensors, text, zipped
from support.layouts import hollow, layout_of
from viscy_compat.checkpoint import open_checkpoint
from viscy_compat.checkpoint.facts import Checkpoint
from viscy_compat.checkpoint.limits import Limits
from viscy_compat.checkpoint.objects_in_front import _FIRST_LOOK, _MOST
from viscy_compat.checkpoint.tensor_bytes import TensorReader
from viscy_compat.diagnosis import diagnose
from viscy_compat.errors import UnreadableCheckpoint
from viscy_compat.rewrite.remapping import remap

EPOCH = zipped(number(3), {})
NAME = zipped(text("contrastive"), {})
PART = {"__metadata__": {"DCP_SHARDING_INFO": json.dumps({"w": {"saved_offsets": [0, 0]}})}, "w": row()}


def written(path: Path, *pieces: bytes) -> str:
    path.write_bytes(b"".join(pieces))
    return str(path)


def bytes_of(checkpoint: Checkpoint) -> dict[str, bytes]:
    with TensorReader(checkpoint) as reader:
        return {key: b"".join(reader.chunks(tensor)) for key, tensor in checkpoint.tensors.items()}


@pytest.mark.parametrize("objects", [(EPOCH,), (EPOCH, NAME), (EPOCH, zipped(text("a" * 20_000), {}), NAME)])
@pytest.mark.parametrize("name", ["a.safetensors", "a.ckpt"])
def test_the_tensors_are_those_of_the_file_without_the_objects(
    tmp_path: Path, objects: tuple[bytes, ...], name: str
) -> None:
    plain = open_checkpoint(written(tmp_path / "plain.safetensors", HONEST_SAFETENSORS))
    found = open_checkpoint(written(tmp_path / name, *objects, HONEST_SAFETENSORS))
    assert (found.format, found.objects_in_front) == ("safetensors", len(objects))
    assert found.tensors.keys() == plain.tensors.keys()
    assert bytes_of(found) == bytes_of(plain)
    stand = (
        "1 object that is no tensor stands"
        if len(objects) == 1
        else f"{len(objects)} objects that are no tensors stand"
    )
    assert [finding.message[: len(stand)] for finding in found.findings] == [stand]


@pytest.mark.parametrize(
    ("pieces", "code"),
    [
        ((EPOCH, b"\x00" * 40), "VC410"),
        ((EPOCH, HONEST_SAFETENSORS[:-1]), "VC403"),
        ((EPOCH[:-30], HONEST_SAFETENSORS), "VC403"),
        # a reader of zip archives would take another tensor than a reader of safetensors
        ((zipped(number(3), {"0": NUMBERS}), HONEST_SAFETENSORS), "VC410"),
        ((archive(records(pickled(number(3)), {}), End(comment=b"of the end")), HONEST_SAFETENSORS), "VC410"),
        # fewer bytes behind it than an archive, or a header, begins with
        ((EPOCH, b"PK"), "VC410"),
        ((EPOCH, b"\x02\x00\x00"), "VC410"),
        # something between its directory and its end record
        (
            (
                archive(records(pickled(number(3)), {})).replace(b"PK\x05\x06", b"?" * 9 + b"PK\x05\x06"),
                HONEST_SAFETENSORS,
            ),
            "VC410",
        ),
        # what the tensors hold is an archive of its own
        ((EPOCH, safetensors({"w": row((len(NAME),), 0, len(NAME), "U8")}, NAME)), "VC410"),
    ],
)
def test_what_only_looks_like_it_is_refused(tmp_path: Path, pieces: tuple[bytes, ...], code: str) -> None:
    with pytest.raises(UnreadableCheckpoint) as caught:
        open_checkpoint(written(tmp_path / "a.safetensors", *pieces))
    assert caught.value.code == code


def sized(length: int) -> bytes:
    """An object of this many bytes."""
    return zipped(text("a" * (length - len(zipped(text(""), {})))), {})


@pytest.mark.parametrize("length", [_FIRST_LOOK - 1, _FIRST_LOOK, *range(_FIRST_LOOK + 1, _FIRST_LOOK + 23), _MOST])
def test_an_object_is_read_wherever_its_end_lies(length: int, tmp_path: Path) -> None:
    assert len(sized(length)) == length
    found = open_checkpoint(written(tmp_path / "a.safetensors", sized(length), HONEST_SAFETENSORS))
    assert (found.objects_in_front, list(found.tensors)) == (1, ["w"])


def test_a_larger_object_is_not_looked_for(tmp_path: Path) -> None:
    with pytest.raises(UnreadableCheckpoint, match="bytes follow the end of the archive"):
        open_checkpoint(written(tmp_path / "a.safetensors", sized(_MOST + 1), HONEST_SAFETENSORS))


@pytest.mark.parametrize(
    "archive_of_a_number",
    [
        archive(records(pickled(number(3)), {}), End(zip64=False)),
        # in what it holds: the signature of an end record, twice, and the folder of storages
        zipped(text("PK\x05\x06" * 2 + "PK\x05\x06and so on, as long as an end record is"), {}),
        zipped(text("of /data/models"), {}),
    ],
)
def test_what_an_object_holds_is_not_taken_for_its_end(archive_of_a_number: bytes, tmp_path: Path) -> None:
    tensors = safetensors({"__metadata__": {"from": "/data/models"}, "w": row()})
    found = open_checkpoint(written(tmp_path / "a.safetensors", archive_of_a_number, EPOCH, tensors))
    assert (found.objects_in_front, bytes_of(found)) == (2, {"w": NUMBERS})


def test_what_is_said_of_the_tensors_is_said_too(tmp_path: Path) -> None:
    header = {"w": row(), "q": row((2,), 24, 25, "F4")}
    found = open_checkpoint(written(tmp_path / "a.safetensors", EPOCH, safetensors(header, NUMBERS + b"\0")))
    plain = open_checkpoint(written(tmp_path / "b.safetensors", safetensors(header, NUMBERS + b"\0")))
    assert found.findings[:-1] == plain.findings
    assert [finding.code for finding in found.findings] == ["VC452", "VC370"]


def test_more_objects_than_a_pickle_may_have_bytes_are_not_looked_through(tmp_path: Path) -> None:
    path = written(tmp_path / "a.safetensors", *[EPOCH] * 3, HONEST_SAFETENSORS)
    assert open_checkpoint(path, limits=Limits(pickle_bytes=3 * len(EPOCH))).objects_in_front == 3
    with pytest.raises(UnreadableCheckpoint, match="bytes follow the end of the archive"):
        open_checkpoint(path, limits=Limits(pickle_bytes=3 * len(EPOCH) - 1))


def indexed(folder: Path, *objects: str) -> str:
    """An index of one shard with an object in front of its tensors, which lists these names beside theirs."""
    shard = written(folder / "model-1.safetensors", EPOCH, HONEST_SAFETENSORS)
    path = folder / "model.safetensors.index.json"
    path.write_text(
        json.dumps({"weight_map": dict.fromkeys([*objects, *open_checkpoint(shard).tensors], "model-1.safetensors")})
    )
    return str(path)


@pytest.mark.parametrize("objects", [(), ("epoch",)])
def test_an_index_may_list_the_objects(tmp_path: Path, objects: tuple[str, ...]) -> None:
    found = open_checkpoint(indexed(tmp_path, *objects))
    assert bytes_of(found) == bytes_of(open_checkpoint(str(tmp_path / "model-1.safetensors")))
    assert [finding.code for finding in found.findings] == ["VC370"]


def test_an_index_lists_no_more_than_there_are(tmp_path: Path) -> None:
    with pytest.raises(UnreadableCheckpoint, match="'epoch' is in 'no shard'"):
        open_checkpoint(indexed(tmp_path, "epoch", "step"))


def test_one_part_of_a_folder_may_have_objects(tmp_path: Path) -> None:
    written(tmp_path / "shard-00001-model-00001-of-00001.safetensors", EPOCH, safetensors(PART))
    found = open_checkpoint(str(tmp_path))
    assert (found.format, bytes_of(found)) == ("distributed-safetensors", {"w": NUMBERS})
    assert [finding.code for finding in found.findings] == ["VC370"]


def test_a_model_in_such_a_file_is_remappable_and_the_new_file_is_clean(tmp_path: Path) -> None:
    layout = layout_of("Unet2d", num_blocks=1, num_filters=(2, 2))
    plain = hollow(tmp_path / "plain.safetensors", layout).read_bytes()
    path = written(tmp_path / "a.safetensors", EPOCH, plain)
    seen, out = diagnose(path).result, tmp_path / "new.safetensors"
    assert seen.verdict == "remappable"
    assert diagnose(str(tmp_path / "plain.safetensors")).result.verdict == "compatible"
    remap(path, out)
    clean = open_checkpoint(str(out))
    assert (clean.objects_in_front, clean.findings) == (0, ())
    assert bytes_of(clean) == bytes_of(open_checkpoint(path))


@pytest.mark.torch
def test_what_torch_itself_writes_is_read(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    dcp: Any = pytest.importorskip("torch.distributed.checkpoint")
    state: dict[str, Any] = {"model": {"w": torch.arange(6.0).reshape(2, 3)}, "epoch": 3, "name": "contrastive"}
    dcp.save(state, storage_writer=dcp.HuggingFaceStorageWriter(str(tmp_path / "a")), no_dist=True)
    found = open_checkpoint(str(tmp_path / "a" / "model.safetensors.index.json"))
    assert bytes_of(found) == {"model.w": state["model"]["w"].numpy().tobytes()}
    assert [finding.code for finding in found.findings] == ["VC370"]

"""A refusal names the limit that bites, and its advice, followed, reads the file: for every limit there is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from support.assembly import (
    lightning,
    mapping,
    module,
    pickled,
    row,
    safetensors,
    state,
    stream,
    tensor,
    zipped,
)
from support.folders import Block, Entry, distributed, whole
from viscy_compat.checkpoint import open_checkpoint
from viscy_compat.checkpoint.limits import DEFAULT_LIMITS, Limits, with_limits
from viscy_compat.errors import UnreadableCheckpoint

Make = Callable[[Path], Path]


def file(content: bytes, name: str = "a.ckpt") -> Make:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return make


def shards(count: int) -> Make:
    """An index and that many shards."""

    def make(folder: Path) -> Path:
        names = {f"t.{place}": f"model-{place:05}.safetensors" for place in range(count)}
        for key, name in names.items():
            (folder / name).write_bytes(safetensors({key: row()}))
        index = folder / "model.safetensors.index.json"
        index.write_text(json.dumps({"metadata": {}, "weight_map": names}))
        return index

    return make


def ranks(count: int) -> Make:
    """A folder of torch.distributed.checkpoint, one file for each rank."""
    blocks = tuple(Block((place,), (1,), (float(place),), f"__{place}_0.distcp") for place in range(count))
    return lambda folder: distributed(folder / "d", {"state_dict.w": Entry((count,), blocks)})


def parts(count: int) -> Make:
    """A folder of torch's Hugging Face writer."""

    def make(folder: Path) -> Path:
        for place in range(count):
            info = json.dumps({"w": {"saved_offsets": [2 * place, 0]}})
            content = safetensors({"__metadata__": {"DCP_SHARDING_INFO": info}, "w": row()})
            (folder / f"shard-{place:05}-model-00001-of-00001.safetensors").write_bytes(content)
        return folder

    return make


def unpacked(folder: Path) -> Path:
    (folder / "data").mkdir()
    (folder / "data" / "0").write_bytes(bytes(24))
    (folder / "data.pkl").write_bytes(pickled(state()))
    return folder


TWO = safetensors({"a": row((3,), 0, 12), "b": row((3,), 12, 24)})
DEEP = tensor((1, 1, 2, 3), (6, 6, 3, 1))
LONG = mapping({"a" * 50: tensor()})
ONE = {"state_dict.w": whole((1,), (3.0,)), "state_dict.v": whole((1,), (3.0,))}
MODULE = module({"w": tensor()}, {"inner" * 10: module({"w": tensor()})})
WIDE = module({}, {f"m{place}": module({"w": tensor()}) for place in range(40)})

TIGHT: dict[str, tuple[str, Limits, Make]] = {
    "opcodes": ("opcodes", Limits(opcodes=20), file(zipped(state()))),
    "opcodes of a stream": ("opcodes", Limits(opcodes=20), file(stream(state()))),
    "opcodes of all parts": ("opcodes", Limits(opcodes=60), lambda folder: distributed(folder / "d", ONE)),
    "pickle": ("pickle_bytes", Limits(pickle_bytes=50), file(zipped(state()))),
    "pickle of a folder": ("pickle_bytes", Limits(pickle_bytes=50), lambda folder: distributed(folder / "d", ONE)),
    "pickle of an unpacked file": ("pickle_bytes", Limits(pickle_bytes=50), unpacked),
    "pickle of a stream": (
        "pickle_bytes",
        Limits(pickle_bytes=9_000),
        file(stream(lightning(x=b"]" + b"Na" * 20_000))),
    ),
    "memo": ("memo", Limits(memo=1), file(zipped(lightning(x=b"}q\x01q\x02q\x03")))),
    "depth": ("depth", Limits(depth=3), file(zipped(lightning(x=b"((((NtNtNtNt")))),
    "string": ("string", Limits(string=40), file(zipped(lightning(x=b"X\x3c\x00\x00\x00" + b"a" * 60)))),
    "long integer": ("integer", Limits(integer=8), file(zipped(lightning(x=b"\x8b\x14\x00\x00\x00" + b"\x07" * 20)))),
    "decimal integer": ("integer", Limits(), file(zipped(lightning(x=b"L" + b"9" * 5000 + b"L\n")))),
    "entries": ("entries", Limits(entries=2), file(zipped(state()))),
    "entries of an unpacked file": ("entries", Limits(entries=0), unpacked),
    "directory": ("directory_bytes", Limits(directory_bytes=60), file(zipped(state()))),
    "header": ("header_bytes", Limits(header_bytes=40), file(TWO)),
    "index": ("header_bytes", Limits(header_bytes=120), shards(20)),
    "shards, as they are": ("shards", DEFAULT_LIMITS, shards(250)),
    "ranks": ("shards", Limits(shards=2), ranks(5)),
    "parts": ("shards", Limits(shards=2), parts(5)),
    "rank": ("rank", Limits(rank=3), file(zipped(state(a=DEEP)))),
    "rank of safetensors": ("rank", Limits(rank=1), file(safetensors({"w": row()}))),
    "tensors": ("tensors", Limits(tensors=1), file(zipped(state(a=tensor())))),
    "tensors of safetensors": ("tensors", Limits(tensors=0), file(TWO)),
    "tensors of an index": ("tensors", Limits(tensors=2), shards(5)),
    "tensors of a folder": ("tensors", Limits(tensors=1), lambda folder: distributed(folder / "d", ONE)),
    "modules": ("tensors", Limits(tensors=20), file(zipped(WIDE))),
    "key": ("key", Limits(key=20), file(zipped(LONG))),
    "key of safetensors": ("key", Limits(key=20), file(safetensors({"a" * 50: row()}))),
    "key of a module": ("key", Limits(key=20), file(zipped(MODULE))),
    "expansion": ("expansion", Limits(expansion=8), file(zipped(state(a=tensor((4, 6), (0, 1)))))),
}


def test_every_limit_has_a_file_that_triggers_it() -> None:
    assert {name for name, _, _ in TIGHT.values()} == set(Limits._fields)


def refusals(path: Path, limits: Limits) -> list[str]:
    """Read, and follow the advice of each refusal; the limits that bit, until the file is read."""
    bitten: list[str] = []
    while True:
        advice = advice_of(path, limits)
        if not advice:
            return bitten
        raised = with_limits([word for word in advice.split() if word != "--limit"])
        bitten += [name for name in Limits._fields if getattr(raised, name) > getattr(limits, name)]
        assert raised != limits, "the advice changes nothing"
        limits = raised


def advice_of(path: Path, limits: Limits) -> str:
    """The flags that a refusal advises, whether it is about the file or about a tensor; nothing where all is read."""
    code, message = "", ""
    try:
        checkpoint = open_checkpoint(str(path), limits=limits)
    except UnreadableCheckpoint as error:
        code, message = error.code, f"{error.message}; {error.fix}"
    else:
        for tensor in checkpoint.unreadable:
            code, message = tensor.code, tensor.reason
    assert code in ("", "VC404"), message
    said, _, advice = message.partition("; if you trust the file: ")
    assert not message or advice, message
    if message:
        assert any(f"the limit of {name} is {getattr(limits, name)}" in said for name in Limits._fields), message
    return advice


@pytest.mark.parametrize("kind", TIGHT)
def test_the_advice_is_followed_and_the_file_is_read(tmp_path: Path, kind: str) -> None:
    name, limits, make = TIGHT[kind]
    bitten = refusals(make(tmp_path), limits)
    assert bitten[0] == name
    assert len(bitten) < 5


def test_the_sentence_for_250_shards_is_the_one_that_a_user_sees(tmp_path: Path) -> None:
    path = shards(250)(tmp_path)
    with pytest.raises(UnreadableCheckpoint) as caught:
        open_checkpoint(str(path))
    assert str(caught.value) == (
        f"{path}: 250 files, and the limit of shards is 200; if you trust the file: --limit shards=250"
    )
    assert len(open_checkpoint(str(path), limits=with_limits(["shards=250"])).tensors) == 250

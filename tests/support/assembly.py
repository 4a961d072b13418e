"""Checkpoints put together by hand, byte by byte, so that each part of them can lie. Nothing here needs torch."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

# Pickles --------------------------------------------------------------------------------------------------------------


def text(value: str) -> bytes:
    raw = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(raw)) + raw


def number(value: int) -> bytes:
    if 0 <= value < 256:
        return b"K" + bytes([value])
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return (b"\x8a" + bytes([len(raw)]) if len(raw) < 256 else b"\x8b" + struct.pack("<I", len(raw))) + raw


def name(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


def tuple_of(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def numbers(*values: int) -> bytes:
    return tuple_of(*(number(value) for value in values))


def list_of(*items: bytes) -> bytes:
    return b"](" + b"".join(items) + b"e"


def mapping(entries: Mapping[str, bytes]) -> bytes:
    return b"}(" + b"".join(text(key) + value for key, value in entries.items()) + b"u"


def ordered(entries: Mapping[str, bytes], **attributes: bytes) -> bytes:
    """An OrderedDict with these entries and attributes."""
    return call(name("collections", "OrderedDict")) + mapping(entries)[1:] + mapping(attributes) + b"b"


def call(function: bytes, *args: bytes) -> bytes:
    return function + tuple_of(*args) + b"R"


def built(kind: bytes, state: bytes) -> bytes:
    """An object made with ``cls.__new__`` and its state."""
    return kind + b")\x81" + state + b"b"


def put(index: int) -> bytes:
    return b"r" + struct.pack("<I", index)


def get(index: int) -> bytes:
    return b"j" + struct.pack("<I", index)


ORDERED = call(name("collections", "OrderedDict"))
FLOATS = name("torch", "FloatStorage")
LONGS = name("torch", "LongStorage")


def storage(key: str = "0", kind: bytes = FLOATS, elements: int = 6, *more: bytes) -> bytes:
    return tuple_of(text("storage"), kind, text(key), text("cpu"), number(elements), *more) + b"Q"


def tensor(
    shape: tuple[int, ...] = (2, 3),
    stride: tuple[int, ...] = (3, 1),
    offset: int = 0,
    *,
    of: bytes | None = None,
    extra: tuple[bytes, ...] = (),
) -> bytes:
    """``_rebuild_tensor_v2`` over storage 0, which has six floats."""
    held = storage() if of is None else of
    function = name("torch._utils", "_rebuild_tensor_v2")
    return call(function, held, number(offset), numbers(*shape), numbers(*stride), b"\x89", ORDERED, *extra)


def module(entries: Mapping[str, bytes], children: Mapping[str, bytes] | None = None, hidden: bytes = b"") -> bytes:
    """A pickled nn.Module with these parameters and children."""
    state = {
        "training": b"\x88",
        "_parameters": mapping(entries),
        "_buffers": b"}",
        "_non_persistent_buffers_set": hidden or call(name("__builtin__", "set"), b"]"),
        "_modules": mapping(children or {}),
    }
    return built(name("torch.nn.modules.module", "Module"), mapping(state))


def pickled(root: bytes, protocol: int = 2) -> bytes:
    return b"\x80" + bytes([protocol]) + root + b"."


def state(**entries: bytes) -> bytes:
    """A state dict with one honest tensor, and more."""
    return mapping({"w": tensor(), **entries})


def lightning(**entries: bytes) -> bytes:
    """A Lightning checkpoint with one honest tensor, and more at its top."""
    top = {"epoch": number(3), "pytorch-lightning_version": text("2.5.0"), "state_dict": mapping({"model.w": tensor()})}
    return mapping({**top, **entries})


# Zip archives ---------------------------------------------------------------------------------------------------------

FLAGS = 0x0808
NUMBERS = struct.pack("<6f", *range(6))


class Record(NamedTuple):
    """One entry, and what each of its two headers says; None stands for the truth."""

    name: str
    data: bytes
    method: int = 0
    flags: int = FLAGS
    crc: int | None = None
    size: int | None = None
    nbytes: int | None = None
    header: int | None = None
    central_name: bytes | None = None
    central_extra: bytes = b""
    local_name: bytes | None = None
    local_extra: bytes = b""
    local_method: int | None = None
    local_flags: int | None = None
    local_sizes: tuple[int, int, int] = (0, 0, 0)
    disk: int = 0


def records(pickle: bytes, data: Mapping[str, bytes] | None = None, root: str = "archive") -> list[Record]:
    """The records of an honest file with one storage."""
    held = {"0": NUMBERS} if data is None else data
    return [
        Record(f"{root}/data.pkl", pickle),
        Record(f"{root}/byteorder", b"little"),
        *(Record(f"{root}/data/{key}", raw) for key, raw in held.items()),
        Record(f"{root}/version", b"3\n"),
    ]


@dataclass(frozen=True)
class End:
    """What the end records say besides the truth: changes to their fields."""

    count: int = 0
    size: int = 0
    start: int = 0
    comment: bytes = b""
    after: bytes = b""
    zip64: bool = True
    disk: int = 0
    place: int = 0
    classic: tuple[int, int, int] | None = None


def archive(entries: list[Record], end: End = End()) -> bytes:
    # bytes would be copied with each of ten thousands of records
    body, central = bytearray(), bytearray()
    for entry in entries:
        place = len(body)
        stored = deflated(entry.data) if entry.method == 8 else entry.data
        local_name = entry.name.encode() if entry.local_name is None else entry.local_name
        local_flags = entry.flags if entry.local_flags is None else entry.local_flags
        local_method = entry.method if entry.local_method is None else entry.local_method
        fields = (20, local_flags, local_method, 0, 0, *entry.local_sizes, len(local_name), len(entry.local_extra))
        body += struct.pack("<4sHHHHHIIIHH", b"PK\x03\x04", *fields) + local_name + entry.local_extra + stored
        central += _central(entry, place, stored)
    start, size, count = len(body) + end.start, len(central) + end.size, len(entries) + end.count
    body += central
    if end.zip64:
        place = len(body) + end.place
        body += struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 20, 45, 0, 0, count, count, size, start)
        body += struct.pack("<4sIQI", b"PK\x06\x07", 0, place, 1)
    said = (min(count, 0xFFFF), min(size, 0xFFFFFFFF), min(start, 0xFFFFFFFF)) if end.classic is None else end.classic
    closing = (end.disk, end.disk, said[0], said[0], said[1], said[2], len(end.comment))
    return bytes(body) + struct.pack("<4sHHHHIIH", b"PK\x05\x06", *closing) + end.comment + end.after


def _central(entry: Record, place: int, stored: bytes) -> bytes:
    raw = entry.name.encode() if entry.central_name is None else entry.central_name
    crc = zlib.crc32(entry.data) if entry.crc is None else entry.crc
    size = len(stored) if entry.size is None else entry.size
    nbytes = len(entry.data) if entry.nbytes is None else entry.nbytes
    header = place if entry.header is None else entry.header
    fields = (20, 20, entry.flags, entry.method, 0, 0, crc, size, nbytes, len(raw), len(entry.central_extra))
    row = struct.pack("<4sHHHHHHIIIHHHHHII", b"PK\x01\x02", *fields, 0, entry.disk, 0, 0, header)
    return row + raw + entry.central_extra


def deflated(data: bytes) -> bytes:
    # the quickest way: the best one takes forty times as long for a bomb of 30 MB
    packer = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def zipped(root: bytes, data: Mapping[str, bytes] | None = None) -> bytes:
    """An honest torch file with this object in it."""
    return archive(records(pickled(root), data))


def changed(change: Callable[[list[Record]], list[Record]], end: End = End()) -> bytes:
    """An honest torch file but for what is changed about its records."""
    return archive(change(records(pickled(state()))), end)


# Streams from before 1.6 ----------------------------------------------------------------------------------------------

MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
PROTOCOL = pickled(b"M\xe9\x03")
MACHINE = pickled(mapping({"protocol_version": b"M\xe9\x03", "little_endian": b"\x88"}))


def stream(
    root: bytes,
    *,
    magic: bytes = MAGIC,
    protocol: bytes = PROTOCOL,
    machine: bytes = MACHINE,
    keys: bytes | None = None,
    elements: int = 6,
    data: bytes = NUMBERS,
) -> bytes:
    """An honest pre-1.6 file with this object in it, but for the parts that are given."""
    listed = pickled(list_of(text("0"))) if keys is None else keys
    return magic + protocol + machine + pickled(root) + listed + struct.pack("<q", elements) + data


# safetensors ----------------------------------------------------------------------------------------------------------


def safetensors(header: Any, data: bytes = NUMBERS, *, raw: bytes | None = None, length: int | None = None) -> bytes:
    body = json.dumps(header).encode() if raw is None else raw
    return struct.pack("<Q", len(body) if length is None else length) + body + data


def row(shape: tuple[int, ...] = (2, 3), begin: int = 0, end: int = 24, dtype: str = "F32", **more: Any) -> Any:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end], **more}

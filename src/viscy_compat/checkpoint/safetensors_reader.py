"""safetensors files, held to the format's own README, which is stricter than its library.

Eight bytes of header length, a JSON header that begins with ``{`` and may end with spaces, then the tensors' bytes,
without holes and without overlaps.
"""

from __future__ import annotations

from viscy_compat.annotations import Any, Callable, Final, NoReturn
from viscy_compat.checkpoint.byte_source import ByteSource
from viscy_compat.checkpoint.dtypes import ITEMSIZES, SAFETENSORS_DTYPES
from viscy_compat.checkpoint.facts import (
    Checkpoint,
    StateDictSite,
    Storage,
    StoredTensor,
    UnreadableTensor,
    Wrapper,
    unreadable_findings,
)
from viscy_compat.checkpoint.limits import Limits, beyond
from viscy_compat.checkpoint.rebuild import BOUND
from viscy_compat.checkpoint.wrapper import default_prefix
from viscy_compat.errors import UnreadableCheckpoint
from viscy_compat.layout import TensorSpec, packed_strides
from viscy_compat.named import NamedTuple

SHARDING_INFO: Final = "DCP_SHARDING_INFO"
"""What torch's Hugging Face storage writer adds to the metadata of one rank's part."""


class _Header(NamedTuple):
    """What a header says, once it is known to be sound."""

    metadata: dict[str, str]
    rows: tuple[_HeaderRow, ...]
    unreadable: tuple[UnreadableTensor, ...]


class _HeaderRow(NamedTuple):
    """A tensor: where its bytes begin behind the header, and how many they are."""

    key: str
    spec: TensorSpec
    stride: tuple[int, ...]
    begin: int
    nbytes: int


RememberHeader = Callable[[tuple[bytes, int, Limits], Callable[[], _Header]], _Header]
"""Answers what a header says, given its bytes, those behind it and the limits, and how to find it out."""

headers_in_use: Final[list[RememberHeader]] = []
"""Who remembers headers while files are judged in a row: those of one architecture are the same. The last one counts."""

_LONGEST_KEPT: Final = 100_000
"""Bytes of a header that is remembered: a thousand tensors."""


def read_safetensors(source: ByteSource, limits: Limits, *, begin: int = 0) -> Checkpoint:
    """Read a safetensors file, or what is one from byte `begin`; see `viscy_compat.checkpoint.open_checkpoint`."""
    path = source.path
    start, raw = _raw_header(source, limits, begin)

    def find() -> _Header:
        return _sound_header(path, raw, source.size - start, limits)

    is_remembered = headers_in_use and len(raw) <= _LONGEST_KEPT
    header = headers_in_use[-1]((raw, source.size - start, limits), find) if is_remembered else find()
    facts = source.facts
    tensors = {
        key: StoredTensor(
            key, spec, Storage(key, facts, start=start + place, size=nbytes), stride=stride, nbytes=nbytes
        )
        for key, spec, stride, place, nbytes in header.rows
    }
    return Checkpoint(
        path=path,
        format="safetensors",
        files=(facts,),
        tensors=tensors,
        unreadable=header.unreadable,
        wrapper=Wrapper("plain", default_prefix(tensors, "plain")),
        sites=(StateDictSite("", len(tensors)),),
        metadata=dict(header.metadata),
        plain_storages=True,
        find_storages=lambda: {tensor.storage.name: tensor.storage for tensor in tensors.values()},
        findings=tuple(unreadable_findings(header.unreadable)),
    )


def _raw_header(source: ByteSource, limits: Limits, begin: int) -> tuple[int, bytes]:
    """Return where the tensors' bytes start, and the bytes of the header."""
    path = source.path
    length = int.from_bytes(source.read(begin, 8), "little")
    if begin + 8 + length > source.size:
        raise UnreadableCheckpoint(
            f"the header states {length} bytes, and the file has {source.size - begin}",
            where=path,
            fix="the download was probably cut: fetch it again",
            code="VC403",
        )
    if length > limits.header_bytes:
        raise beyond(limits, "header_bytes", length, f"the header has {length} bytes", where=path)
    raw = source.read(begin + 8, length)
    if raw[:1] != b"{":
        _refuse_header(path, "the header does not begin with '{'")
    names = raw.count(b":")
    if names > max(2 * _BRACKETS, 6 * limits.tensors):
        # counted before it is parsed, which takes a hundred bytes of memory for each; an honest tensor has four
        raise beyond(limits, "tensors", names, f"the header has about {names} entries", where=path)
    return begin + 8 + length, raw


def _sound_header(path: str, raw: bytes, size: int, limits: Limits) -> _Header:
    """Return what a header says of as many bytes behind it."""
    header = parse_json(raw, path, most=max(_BRACKETS, 4 * limits.tensors))
    if len(header) > limits.tensors + 1:
        raise beyond(limits, "tensors", len(header), f"{len(header)} tensors", where=path)
    metadata = _metadata(path, header.pop("__metadata__", {}))
    rows, unreadable = _rows(path, header, size, limits)
    if not header:
        raise UnreadableCheckpoint("the file holds no tensor", where=path, fix="save model.state_dict()", code="VC444")
    return _Header(metadata, rows, unreadable)


_BRACKETS: Final = 200_000
"""Brackets of a JSON text at most, where not more tensors are allowed: each takes three."""


def parse_json(raw: bytes, path: str, code: str = "VC450", *, most: int = _BRACKETS) -> dict[str, Any]:
    """Return a JSON object from bytes of a stranger: UTF-8, no name twice, no endless nesting.

    Raises
    ------
    UnreadableCheckpoint
        With the given code.

    Examples
    --------
    >>> parse_json(b'{"a": 1} ', "x")
    {'a': 1}
    """
    # nothing stands more often in a text than it has bytes
    if len(raw) > most and raw.count(b"[") + raw.count(b"{") > most:
        _refuse_header(path, "it nests or repeats without end", code)
    if len(raw) > most and (raw.count(b":") > 2 * most or raw.count(b",") > 8 * most):
        _refuse_header(path, "it repeats without end", code)
    try:
        text = str(raw, "utf-8")
        value = _loads(text)
        # The parser keeps the last of two equal names. A name stands before each colon of an object, so as many names
        # as colons right behind a quote mean that there are none; only where the counts differ, objects are built pair
        # by pair, which takes twice as long.
        colons, rows = raw.count(b":"), value.values() if type(value) is dict else ()
        names = len(rows) + sum(map(len, [row for row in rows if type(row) is dict]))
        if colons != raw.count(b'":') or colons != names:
            from json import loads

            value = loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        what = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)[:200]
        raise UnreadableCheckpoint(
            f"the header is no JSON: {ascii(what)[1:-1]}", where=path, fix="fetch the file again", code=code
        ) from error
    if type(value) is not dict:
        _refuse_header(path, "the header is no JSON object", code)
    return value


def _loads(text: str) -> Any:
    """Return what `json.loads` returns: importing it, with `re` for it, is a seventh of the whole of `check`."""
    try:
        from _json import make_scanner

        value, end = make_scanner(_Scanning)(text, 0)  # type: ignore[arg-type]
        if not text[end:].strip(" \t\n\r"):
            return value
    except (ImportError, AttributeError, StopIteration, ValueError, SystemError):
        # a Python that has no such scanner, or a text that is no JSON: `json` says why it is none (the scanner of Python 3.11
        # fails without an exception, which is a SystemError, where `json.decoder` has not been imported)
        pass
    from json import loads

    return loads(text, parse_constant=_refuse_constant)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        raise ValueError("a name stands twice")
    return mapping


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


class _Scanning:
    """What `json` hands to its scanner in C, which reads all that it reads."""

    strict = True
    object_hook = object_pairs_hook = None
    parse_float, parse_int, parse_constant = float, int, staticmethod(_refuse_constant)


def _metadata(path: str, value: Any) -> dict[str, str]:
    # The library of the format reads null as nothing (safetensors 0.8).
    value = {} if value is None else value
    if type(value) is not dict or any(type(text) is not str for text in value.values()):
        _refuse_header(path, "__metadata__ does not map texts to texts")
    return dict(value)


def _rows(
    path: str, header: dict[str, Any], size: int, limits: Limits
) -> tuple[tuple[_HeaderRow, ...], tuple[UnreadableTensor, ...]]:
    rows: list[_HeaderRow] = []
    unreadable: list[UnreadableTensor] = []
    ranges: list[tuple[int, int]] = []
    # most tensors of a model have the dtype and the shape of another one
    known: dict[tuple[str, tuple[int, ...]], tuple[TensorSpec, int, tuple[int, ...]]] = {}
    for key, row in header.items():
        name, shape, begin, end = _parse_row(path, key, row, limits)
        ranges.append((begin, end))
        dtype = SAFETENSORS_DTYPES.get(name)
        if dtype is None:
            unreadable.append(UnreadableTensor(key, "VC452", f"an unknown dtype ({ascii(name[:40])[1:-1]})"))
            continue
        facts = known.get((dtype, shape))
        if facts is None:
            spec = TensorSpec(shape, dtype)
            facts = known[dtype, shape] = spec, spec.elements * ITEMSIZES[dtype], packed_strides(shape)
        spec, needed, stride = facts
        if needed != end - begin:
            raise UnreadableCheckpoint(
                f"{key[:80]!a}: {spec} needs {needed} bytes, and its offsets give it {end - begin}",
                where=path,
                fix="fetch the file again; no writer of checkpoints makes such a file",
                code="VC451",
            )
        rows.append(_HeaderRow._make((key, spec, stride, begin, needed)))
    _refuse_holes(path, ranges, size)
    return tuple(rows), tuple(unreadable)


def _parse_row(path: str, key: str, row: Any, limits: Limits) -> tuple[str, tuple[int, ...], int, int]:
    """Return dtype, shape and byte range of one entry of the header, whose fields must be these and no others."""
    fields = row if type(row) is dict and len(row) == 3 else {}
    name: Any = fields.get("dtype")
    shape: Any = fields.get("shape")
    offsets: Any = fields.get("data_offsets")
    if type(name) is not str or not _counts(shape) or not _counts(offsets) or len(offsets) != 2:
        _refuse_header(
            path, f"the entry {key[:80]!a} does not state a dtype, a shape and two offsets (each below 2^63)"
        )
    if len(shape) > limits.rank:
        raise beyond(limits, "rank", len(shape), f"{key[:80]!a} has {len(shape)} dimensions", where=path)
    if len(key) > limits.key:
        raise beyond(limits, "key", len(key), f"{key[:80]!a} has {len(key)} characters in its name", where=path)
    return name, tuple(shape), offsets[0], offsets[1]


def _counts(value: Any) -> bool:
    if type(value) is not list:
        return False
    for item in value:  # noqa: SIM110 (a generator for each takes three times as long, and each tensor has two)
        if type(item) is not int or not 0 <= item < BOUND:
            return False
    return True


def _refuse_holes(path: str, ranges: list[tuple[int, int]], size: int) -> None:
    position = 0
    for begin, end in sorted(ranges):
        if begin != position or end < begin:
            _lie(path, f"bytes {min(begin, position)} to {max(begin, position)} belong to no tensor or to two")
        position = end
    if position > size:
        raise UnreadableCheckpoint(
            f"the tensors need {position} bytes, and the file has {size} of them",
            where=path,
            fix="the download was probably cut: fetch it again",
            code="VC403",
        )
    if position != size:
        _lie(path, f"{size - position} bytes at the end belong to no tensor")


def _refuse_header(path: str, what: str, code: str = "VC450") -> NoReturn:
    raise UnreadableCheckpoint(f"broken header: {what}", where=path, fix="fetch the file again", code=code)


def _lie(path: str, what: str) -> NoReturn:
    raise UnreadableCheckpoint(
        f"the header does not describe the file: {what}",
        where=path,
        fix="fetch the file again; no writer of checkpoints makes such a file",
        code="VC451",
    )

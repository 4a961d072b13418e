"""What unpickling a file would call, where the file is no checkpoint: that it cannot be read is not all there is to say."""

from __future__ import annotations

from viscy_compat.annotations import Final, Iterator
from viscy_compat.checkpoint.byte_source import ByteSource
from viscy_compat.checkpoint.facts import GlobalUse
from viscy_compat.checkpoint.limits import Limits
from viscy_compat.checkpoint.pickle_machine import names_until_it_fails
from viscy_compat.checkpoint.roles import uses_of
from viscy_compat.errors import UnreadableCheckpoint

_NO_CHECKPOINT: Final = frozenset({"VC406", "VC407", "VC415", "VC416", "VC420", "VC444", "VC445", "VC464"})
"""Codes of files that could be read as a pickle or an archive by others, and that are no checkpoint to us."""

_LOOK: Final = Limits(opcodes=200_000, memo=100_000, depth=1_000, pickle_bytes=4_000_000)
"""Only the names that would be called are looked for, in a file that is no checkpoint: less is worth reading than
of one."""

# pickles in a row (torch's old streams have five) and records of an archive that are looked into; names in one message
_PICKLES, _RECORDS, _SHOWN = 16, 64, 4


def name_calls(error: UnreadableCheckpoint, source: ByteSource) -> None:
    """Add to the message of an error what unpickling the file would call, or else import; nothing where nothing.

    Parameters
    ----------
    error : UnreadableCheckpoint
        Why the file is no checkpoint.
    source : ByteSource
        The file.
    """
    if error.code not in _NO_CHECKPOINT:
        return
    uses = [use for data in _pickles(source) for use in _uses_in(data)]
    # what torch.save wrote may well import a class or two
    roles = {"call": "would call"} if error.code == "VC444" else {"call": "would call", "class": "would import"}
    for role, verb in roles.items():
        paths = list(dict.fromkeys(ascii(use.path)[1:-1] for use in uses if use.role == role))
        if paths:
            more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
            message = f"{error.message}, and unpickling it {verb} {', '.join(paths[:_SHOWN])}{more}"
            # the same error, for its class may say more
            UnreadableCheckpoint.__init__(error, message, where=error.where, fix=error.fix, code=error.code)
            return


def _uses_in(data: bytes) -> Iterator[GlobalUse]:
    """Yield what the pickles that lie one after the other at the start of some bytes would do.

    Text may look like an opcode that imports; only what it also calls is taken for a pickle of protocol 0.
    """
    start = 0
    for _ in range(_PICKLES):
        pickle = names_until_it_fails(data, _LOOK, start=start)
        binary = data[start : start + 1] == b"\x80"
        names = [name for name in pickle.globals if all(map(str.isidentifier, name.module.split(".")))]
        yield from uses_of(tuple(name for name in names if binary or name.use == "called"), pickle.computed)
        if not pickle.end or pickle.end >= len(data):
            return
        start = pickle.end


def _pickles(source: ByteSource) -> Iterator[bytes]:
    """Yield what may be pickles in a file: the file itself, or the records of an archive."""
    if source.read(0, min(4, source.size)) != b"PK\x03\x04":
        yield _without_array_header(source.read(0, min(source.size, _LOOK.pickle_bytes)))
        return
    from viscy_compat.checkpoint.zip_archive import ZipArchive

    budget = _LOOK.pickle_bytes
    try:
        archive = ZipArchive(source, _LOOK)
        for name in list(archive.entries)[:_RECORDS]:
            budget -= archive.entries[name].nbytes
            if budget < 0:
                return
            yield _without_array_header(archive.read(name, _LOOK.pickle_bytes))
    except UnreadableCheckpoint:
        # the file is refused already; what an archive that lies would call, nobody can say
        return


def _without_array_header(data: bytes) -> bytes:
    """Return what follows the header of a numpy file: a pickle, where it is an array of objects."""
    if not data.startswith(b"\x93NUMPY") or len(data) < 12:
        return data
    width = 2 if data[6] == 1 else 4
    return data[8 + width + int.from_bytes(data[8 : 8 + width], "little") :]

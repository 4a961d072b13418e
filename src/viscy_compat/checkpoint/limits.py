"""The limits of the reader, in one place: beyond them a file is refused before anything is allocated."""

from __future__ import annotations

from viscy_compat.errors import UnreadableCheckpoint, UsageError
from viscy_compat.layout import printable
from viscy_compat.named import NamedTuple


class Limits(NamedTuple):
    """What a file may ask for. ``str(limits)`` prints them all; ``--limit NAME=VALUE`` raises one.

    Parameters
    ----------
    opcodes : int
        Steps of the pickle machine (about 35 a tensor).
    pickle_bytes : int
        Size of one pickle.
    memo : int
        Entries of the pickle memo, and the highest index in it.
    depth : int
        Open marks of the pickle machine, and nesting of JSON.
    string : int
        Bytes of one string, bytes object or persistent id in a pickle.
    integer : int
        Bytes of one long integer.
    entries : int
        Entries of a zip archive.
    directory_bytes : int
        Size of a zip central directory.
    header_bytes : int
        Size of a safetensors header or of a sharded index.
    shards : int
        Files of a sharded checkpoint.
    rank : int
        Dimensions of a tensor.
    tensors : int
        Tensors of a checkpoint, and modules of a pickled one.
    key : int
        Characters of one key.
    expansion : int
        Bytes by which a tensor may be larger than its storage (zero strides repeat elements).
    """

    opcodes: int = 1_500_000
    pickle_bytes: int = 24_000_000
    memo: int = 500_000
    depth: int = 10_000
    string: int = 4_000_000
    integer: int = 4_096
    entries: int = 200_000
    directory_bytes: int = 24_000_000
    header_bytes: int = 16_000_000
    shards: int = 200
    rank: int = 64
    tensors: int = 60_000
    key: int = 4_096
    expansion: int = 1 << 30

    def __str__(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self._asdict().items())


DEFAULT_LIMITS = Limits()


def beyond(limits: Limits, name: str, enough: int, what: str, *, where: str) -> UnreadableCheckpoint:
    """Return the error for a file that goes beyond a limit; every sentence about limits is made here.

    Parameters
    ----------
    limits : Limits
        Those in force.
    name : str
        The one that bites.
    enough : int
        A value with which this file is no longer refused on its account.
    what : str
        What the file asks for.
    where : str
        The file.

    Examples
    --------
    >>> print(beyond(Limits(depth=9), "shards", 250, "250 files", where="a.json"))
    a.json: 250 files, and the limit of shards is 200; if you trust the file: --limit depth=9 --limit shards=250
    """
    pairs = zip(limits._replace(**{name: enough})._asdict().items(), DEFAULT_LIMITS, strict=True)
    # those that were raised before stay raised
    flags = " ".join(f"--limit {key}={value}" for (key, value), usual in pairs if value != usual)
    return UnreadableCheckpoint(
        f"{what}, and the limit of {name} is {getattr(limits, name)}",
        where=where,
        fix=f"if you trust the file: {flags}",
        code="VC404",
    )


def with_limits(settings: list[str], limits: Limits = DEFAULT_LIMITS) -> Limits:
    """Return limits with some of them set from ``NAME=VALUE`` texts (a bare number sets ``opcodes``).

    Raises
    ------
    UsageError
        For an unknown name or a value that is no positive integer.

    Examples
    --------
    >>> with_limits(["opcodes=3000000", "rank=8"]).rank
    8
    """
    for setting in settings:
        name, _, value = setting.rpartition("=")
        name = name or "opcodes"
        sound = value.isascii() and value.isdigit() and len(value) < 19 and int(value)
        if name not in limits._fields or not sound:
            raise UsageError(
                f"--limit {printable(setting[:80])} is no limit", fix=f"write NAME=NUMBER, with one of: {limits}"
            )
        limits = limits._replace(**{name: int(value)})
    return limits

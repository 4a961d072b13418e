"""Where the bytes of a file come from: this machine, or an address."""

from __future__ import annotations

from viscy_compat.checkpoint.byte_source import Access, ByteSource
from viscy_compat.checkpoint.facts import FileFacts
from viscy_compat.checkpoint.locations import is_address


class ReadTrace:
    """Notes, while it is entered, what is read of which file: what an answer rests on.

    Attributes
    ----------
    reads : list[tuple[str, int, bytes]]
        Path, first byte and bytes of each read, in order.
    """

    def __init__(self) -> None:
        self.reads: list[tuple[str, int, bytes]] = []

    def __enter__(self) -> ReadTrace:
        _traces.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        _traces.remove(self)


_traces: list[ReadTrace] = []


class _TracedSource(ByteSource):
    """A file of which every read is noted."""

    __slots__ = ()

    def _read_some(self, start: int, length: int) -> bytes:
        part = super()._read_some(start, length)
        for trace in _traces:
            trace.reads.append((self.path, start, part))
        return part

    def _read_some_into(self, memory: memoryview, start: int) -> int:
        count = super()._read_some_into(memory, start)
        for trace in _traces:
            trace.reads.append((self.path, start, bytes(memory[:count])))
        return count


def open_source(path: str, *, same_as: FileFacts | None = None, access: Access = "running") -> ByteSource:
    """Open a file of this machine, or one behind an address; as `ByteSource`."""
    if is_address(path):
        from viscy_compat.checkpoint.remote import RemoteSource

        return RemoteSource(path, same_as=same_as, access=access)
    kind = _TracedSource if _traces else ByteSource
    return kind(path, same_as=same_as, access=access)

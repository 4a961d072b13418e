"""Files behind addresses, read by ranges: https, the Hugging Face hub, S3; through fsspec, which has the credentials.

Nothing is believed: each answer must be the range that was asked for, of the same version as the first one.
"""

from __future__ import annotations

from typing import Final

from viscy_compat.checkpoint.byte_source import CHUNK, Access, ByteSource, changed_file
from viscy_compat.checkpoint.facts import FileFacts
from viscy_compat.checkpoint.locations import full_address, public_name
from viscy_compat.checkpoint.transports import Piece, Transport, transport_for
from viscy_compat.errors import UnreadableCheckpoint

_FIRST: Final = 16 << 10
"""Bytes of the first request: it tells the size and the version too, and holds a small file as a whole."""
_AHEAD: Final = 8 * CHUNK
"""Bytes of one request where a file is read from one end to the other: each costs a trip."""


class RemoteSource(ByteSource):
    """One file behind an address; it is read like one of this machine.

    Parameters
    ----------
    address : str
        As given, or without its secrets where it was opened before.
    same_as : FileFacts, optional
        What the file was when it was first read; anything else is refused.
    access : {"running", "scattered"}, optional
        How it is going to be read.

    Raises
    ------
    UnreadableCheckpoint
        VC361 to VC365: nobody answers, the server refuses, gives no ranges, is too slow, or answers with something
        else than was asked for. VC401: its extra is not installed. VC402: the file changed.
    """

    __slots__ = ("_ahead", "_transport")

    most_at_once = _AHEAD

    def __init__(self, address: str, *, same_as: FileFacts | None = None, access: Access = "running") -> None:
        self.path = public_name(address)
        self.bytes_read, self._descriptor = 0, -1
        self._kept: list[tuple[int, bytes]] = []
        self._ahead = _AHEAD if access == "running" else 0
        self._transport: Transport = transport_for(full_address(self.path), self.path)
        if same_as is not None:
            # its size and version are known: the first bytes are not asked for again, and each answer is held against both
            self.facts, self.size = same_as, same_as.size
            return
        first = self._transport.piece(0, _FIRST, "")
        self.facts = FileFacts(
            path=self.path, size=first.total, device=-1, inode=-1, modified_ns=0, version=first.version
        )
        self.size = first.total
        self._take(first, 0, min(_FIRST, first.total))
        self._kept.append((0, first.data))

    def _look(self) -> FileFacts:
        """Each answer was compared with the first one."""
        return self.facts

    def _read_some(self, start: int, length: int) -> bytes:
        if not self._ahead:
            return self._take(self._transport.piece(start, length, self.facts.version), start, length)
        wanted = min(max(length, self._ahead), self.size - start)
        data = self._take(self._transport.piece(start, wanted, self.facts.version), start, wanted)
        self._kept = [(start, data)]
        return data[:length]

    def read_into(self, memory: memoryview, start: int) -> None:
        """Fill memory as `ByteSource.read_into`."""
        memory[:] = self.read(start, len(memory))

    def _take(self, piece: Piece, start: int, length: int) -> bytes:
        """Return the bytes of an answer, which must be those that were asked for, of the file as it was at first."""
        if piece.version != self.facts.version or piece.total != self.facts.size:
            raise changed_file(self.path)
        if piece.start != start or len(piece.data) != length:
            raise UnreadableCheckpoint(
                f"the server was asked for {length} bytes from {start}, and gave {len(piece.data)} from {piece.start}",
                where=self.path,
                fix="fetch the file first, and compare its size and digest with what its owner states",
                code="VC365",
            )
        self.bytes_read += length
        return piece.data

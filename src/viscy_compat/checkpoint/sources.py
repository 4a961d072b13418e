"""Where the bytes of a file come from: this machine, or an address."""

from __future__ import annotations

from viscy_compat.checkpoint.byte_source import Access, ByteSource
from viscy_compat.checkpoint.facts import FileFacts
from viscy_compat.checkpoint.locations import is_address


def open_source(path: str, *, same_as: FileFacts | None = None, access: Access = "running") -> ByteSource:
    """Open a file of this machine, or one behind an address; as `ByteSource`."""
    if is_address(path):
        from viscy_compat.checkpoint.remote import RemoteSource

        return RemoteSource(path, same_as=same_as, access=access)
    return ByteSource(path, same_as=same_as, access=access)

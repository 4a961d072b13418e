"""Safetensors files in which objects stand in front of the tensors.

torch's Hugging Face storage writer is for tensors and takes anything: what is none (an epoch, the settings of an
optimizer) comes first in the same file, an archive of ``torch.save`` for each, and the safetensors behind them
(measured on torch 2.15.0). Readers of safetensors, torch's own too, look for the length of the header in the first eight bytes
and give up. The tensors are whole.
"""

from __future__ import annotations

from viscy_compat.annotations import Final
from viscy_compat.checkpoint.byte_source import ByteSource
from viscy_compat.checkpoint.facts import Checkpoint
from viscy_compat.checkpoint.limits import Limits
from viscy_compat.checkpoint.safetensors_reader import read_safetensors
from viscy_compat.checkpoint.two_formats import ends_like_a_zip
from viscy_compat.checkpoint.zip_archive import END, END64, LOCATOR
from viscy_compat.findings import Finding
from viscy_compat.layout import spell_count

_ARCHIVE: Final = b"PK\x03\x04"
_FIRST_LOOK: Final = 4096
"""Bytes in which the archive of a number ends: torch 2.15.0 writes 1,261."""
_MOST: Final = 1 << 18
"""Bytes of one object at most: what a training loop keeps beside its tensors is numbers and names."""


def read_behind_objects(source: ByteSource, limits: Limits) -> Checkpoint | None:
    """Read the tensors of such a file; None for a file that is none.

    Parameters
    ----------
    source : ByteSource
        An open file.
    limits : Limits
        ``pickle_bytes`` bounds all objects together.

    Raises
    ------
    UnreadableCheckpoint
        What `viscy_compat.checkpoint.safetensors_reader.read_safetensors` raises on the tensors.
    """
    place = count = 0
    # where it ends like an archive, readers of those would take that one
    if source.read(0, min(4, source.size)) != _ARCHIVE or ends_like_a_zip(source):
        return None
    while source.read(place, min(4, source.size - place)) == _ARCHIVE:
        place = _end_of_archive(source, place)
        count += 1
        if not place or place > limits.pickle_bytes:
            return None
    # the length of the header, and the brace that it begins with
    if source.read(place, min(9, source.size - place))[8:] != b"{":
        return None
    checkpoint = read_safetensors(source, limits, begin=place)
    checkpoint.objects_in_front = count
    stand = spell_count(count, "object", "that is no tensor stands", "that are no tensors stand")
    checkpoint.findings += (
        Finding("VC370", f"{stand} in front of the tensors, where the length of the header should be"),
    )
    return checkpoint


def _end_of_archive(source: ByteSource, start: int) -> int:
    """Return where the archive ends that begins there; 0 where none does, or where it has storages of tensors."""
    most = min(_MOST, source.size - start)
    length = min(_FIRST_LOOK, most)
    while True:
        window = source.read(start, length)
        place = window.find(b"PK\x05\x06")
        while 0 <= place <= length - END.size:
            *_, size, first, comment = END.unpack_from(window, place)
            # between directory and end record torch writes those of zip64, other programs nothing
            fits = place - first - size in (0, END64.size + LOCATOR.size) and not comment
            # four bytes before the whole directory: a file may be full of what looks like an end
            if fits and window.startswith(b"PK\x01\x02", first):
                return 0 if window.find(b"/data/", first, first + size) >= 0 else start + place + END.size
            place = window.find(b"PK\x05\x06", place + 1)
        if length == most:
            return 0
        length = min(4 * length, most)

"""safetensors files: a JSON header and the packed bytes of every tensor.

Format: the README of safetensors. Tensors lie without holes; those with larger elements come first, so that each
element is aligned, and the header is padded so that the first one starts at a multiple of 64 bytes.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence

from viscy_compat.checkpoint.facts import ITEMSIZES
from viscy_compat.checkpoint.safetensors_file import DTYPES
from viscy_compat.errors import OutputRefused
from viscy_compat.rewrite.streams import TargetTensor

ALIGNMENT = 64

_NAMES = {dtype: name for name, dtype in DTYPES.items()}


def laid_out(tensors: Sequence[TargetTensor]) -> list[TargetTensor]:
    """Return tensors in the order of their bytes in the file."""
    return sorted(tensors, key=lambda tensor: -ITEMSIZES[tensor.spec.dtype])


def header_of(tensors: Sequence[TargetTensor], metadata: Mapping[str, str], *, where: str) -> bytes:
    """Return the length and the header, padded with spaces.

    Raises
    ------
    OutputRefused
        For a dtype that safetensors does not have, or a tensor with the name of its metadata.
    """
    places: dict[str, tuple[int, int]] = {}
    place = 0
    for tensor in laid_out(tensors):
        if tensor.spec.dtype not in _NAMES or tensor.name == "__metadata__":
            raise OutputRefused(
                f"safetensors cannot hold {tensor.name!a} ({tensor.spec.dtype})", where=where, fix="write a .ckpt"
            )
        places[tensor.name] = (place, place + tensor.nbytes)
        place += tensor.nbytes
    fields = {
        tensor.name: {
            "dtype": _NAMES[tensor.spec.dtype],
            "shape": tensor.spec.shape,
            "data_offsets": places[tensor.name],
        }
        for tensor in tensors
    }
    text = json.dumps({"__metadata__": dict(metadata), **fields}, separators=(",", ":"), ensure_ascii=True).encode()
    text += b" " * (-(8 + len(text)) % ALIGNMENT)
    return struct.pack("<Q", len(text)) + text

"""safetensors files: a JSON header and the packed bytes of every tensor.

Format: the README of safetensors. Tensors lie without holes; those with larger elements come first, so that each
element is aligned, and the header is padded so that the first one starts at a multiple of 64 bytes.
"""

from __future__ import annotations

import json
import struct

from viscy_compat.annotations import Mapping
from viscy_compat.checkpoint.dtypes import ITEMSIZES, SAFETENSORS_DTYPES
from viscy_compat.errors import OutputRefused
from viscy_compat.layout import Layout

ALIGNMENT = 64
"""What torch aligns storages to: such a file can be mapped as well."""

_NAMES = {dtype: name for name, dtype in SAFETENSORS_DTYPES.items()}


def order_of_bytes(layout: Layout) -> list[str]:
    """Return the names of tensors in the order of their bytes in the file.

    Examples
    --------
    >>> from viscy_compat.layout import TensorSpec
    >>> order_of_bytes({"steps": TensorSpec((), "uint8"), "w": TensorSpec((2,)), "n": TensorSpec((), "int64")})
    ['n', 'w', 'steps']
    """
    return sorted(layout, key=lambda name: -ITEMSIZES[layout[name].dtype])


def header_of(layout: Layout, metadata: Mapping[str, str], *, where: str) -> bytes:
    """Return the length and the header, padded with spaces.

    Raises
    ------
    OutputRefused
        For a dtype that safetensors does not have, or a tensor with the name of its metadata.
    """
    offsets: dict[str, tuple[int, int]] = {}
    start = 0
    for name in order_of_bytes(layout):
        spec = layout[name]
        if spec.dtype not in _NAMES or name == "__metadata__":
            raise OutputRefused(f"safetensors cannot hold {name!a} ({spec.dtype})", where=where, fix="write a .ckpt")
        end = start + spec.elements * ITEMSIZES[spec.dtype]
        offsets[name] = (start, end)
        start = end
    rows = {
        name: {"dtype": _NAMES[spec.dtype], "shape": spec.shape, "data_offsets": offsets[name]}
        for name, spec in layout.items()
    }
    text = json.dumps({"__metadata__": dict(metadata), **rows}, separators=(",", ":"), ensure_ascii=True).encode()
    text += b" " * (-(8 + len(text)) % ALIGNMENT)
    return struct.pack("<Q", len(text)) + text

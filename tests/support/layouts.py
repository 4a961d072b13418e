"""Checkpoints without weights: a layout becomes a safetensors file whose bytes are a hole, so that it costs nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from viscy_compat.architectures import find
from viscy_compat.architectures.architecture import complete
from viscy_compat.checkpoint.dtypes import ITEMSIZES
from viscy_compat.layout import Layout, TensorSpec

DTYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "float64": "F64", "int64": "I64", "int32": "I32"}


def layout_of(class_name: str, **config: Any) -> Layout:
    """The layout of a migrated class."""
    architecture = find(class_name)
    return architecture.layout(complete(architecture, config))


def hollow(path: Path, layout: Mapping[str, TensorSpec]) -> Path:
    """Write a safetensors file with these tensors, all zero but for the first byte of each weight."""
    header: dict[str, dict[str, Any]] = {}
    place = 0
    for name, spec in layout.items():
        end = place + spec.elements * ITEMSIZES[spec.dtype]
        header[name] = {"dtype": DTYPES[spec.dtype], "shape": list(spec.shape), "data_offsets": [place, end]}
        place = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + place)
        for row in header.values():
            if len(row["shape"]) > 1 and row["data_offsets"][0] < row["data_offsets"][1]:
                file.seek(8 + len(text) + row["data_offsets"][0])
                file.write(b"\x01")
    return path

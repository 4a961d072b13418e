"""Tensors of float32 as files, for workers, without numpy: the few lines of safetensors that inputs and outputs need."""

from __future__ import annotations

import json
import random
from array import array
from collections.abc import Mapping
from math import prod
from pathlib import Path

from viscy_compat.checkpoint.safetensors_writer import header_of
from viscy_compat.errors import WorkerFailed
from viscy_compat.layout import TensorSpec

Arrays = dict[str, "tuple[tuple[int, ...], array[float]]"]


def noise(count: int, seed: int) -> array[float]:
    """Return that many numbers between -1 and 1.

    Examples
    --------
    >>> noise(2, 0) == noise(2, 0), len(noise(5, 1))
    (True, 5)
    """
    drawn = random.Random(seed).randbytes(2 * count)
    return array("f", (value / 32768.0 for value in memoryview(drawn).cast("h")))


def write_arrays(path: Path, tensors: Mapping[str, tuple[tuple[int, ...], array[float]]]) -> None:
    """Write float32 tensors as safetensors."""
    layout = {name: TensorSpec(shape) for name, (shape, _) in tensors.items()}
    assert [spec.elements for spec in layout.values()] == [len(numbers) for _, numbers in tensors.values()]
    with path.open("wb") as file:
        file.write(header_of(layout, {}, where=str(path)))
        for _, numbers in tensors.values():
            numbers.tofile(file)


def read_arrays(path: Path, *, prefix: str = "") -> Arrays:
    """Read the float32 tensors of a safetensors file that a worker wrote, those alone whose names begin like this.

    Raises
    ------
    WorkerFailed
        It is none.
    """
    found: Arrays = {}
    try:
        data = path.read_bytes()
        size = int.from_bytes(data[:8], "little")
        for name, row in json.loads(data[8 : 8 + size]).items():
            if name != "__metadata__" and name.startswith(prefix) and row["dtype"] == "F32":
                first, last = row["data_offsets"]
                numbers = array("f", data[8 + size + first : 8 + size + last])
                # strange code ran in the worker: what it saved may lie about itself
                if first < 0 or len(numbers) != prod(row["shape"]):
                    raise ValueError
                found[name] = (tuple(row["shape"]), numbers)
    except (OSError, LookupError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise WorkerFailed("did not save what it was to save", where="a worker", code="VC603") from error
    return found

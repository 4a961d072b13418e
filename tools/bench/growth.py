"""How the cost of a command grows with the number of tensors: python tools/bench/growth.py [--sizes N,N,...]

Each size is run three times and the smallest processor time counts, less that of the smallest file, which is start-up.
The exponent is the slope between neighbouring sizes on logarithmic scales: 1 is linear, 2 is quadratic.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

LEAVES = ("attn.qkv.weight", "attn.proj.weight", "norm.weight", "norm.bias", "mlp.fc1.weight", "mlp.fc2.weight")
RENAMED = ("mixer.qkv.weight", "mixer.out.weight", "ln.weight", "ln.bias", "ffn.fc1.weight", "ffn.fc2.weight")
SHAPES = ((6, 2), (2, 3), (2,), (2,), (8, 2), (2, 8))
BLOCKS = 10
"""In one stage. Names have two numbers, and one of them becomes part of a word (`stages.3` is `stage_3`, as in timm), so
that the rows of a plan fold stage by stage."""


def names(count: int, leaves: tuple[str, ...], stem: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield so many names, with their shapes."""
    for place in range(count):
        layer, leaf = divmod(place, len(leaves))
        yield f"{stem}{layer // BLOCKS}.{layer % BLOCKS}.{leaves[leaf]}", SHAPES[leaf]


def write(path: Path, tensors: Iterator[tuple[str, tuple[int, ...]]]) -> None:
    """Write a safetensors file of zeros."""
    header, end = {}, 0
    for name, shape in tensors:
        begin, end = end, end + 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(end))


def seconds(command: list[str]) -> float:
    """Run a command, and return the processor time that it took."""
    before = os.times()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def remap_against(folder: Path, count: int) -> float:
    """Return the least processor time of a remap onto renamed tensors, plan file included."""
    old, new, plan = folder / "old.safetensors", folder / "new.safetensors", folder / "plan.json"
    write(old, names(count, LEAVES, "stages."))
    write(new, names(count, RENAMED, "stage_"))
    command = [sys.executable, "-m", "viscy_compat", "remap", str(old), "--against", str(new)]
    return min(seconds([*command, "--write-plan", str(plan), "--force"]) for _ in range(3))


def main() -> int:
    """Print the seconds and the exponents."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="5000,10000,20000,40000", help="numbers of tensors")
    sizes = [int(size) for size in parser.parse_args().sizes.split(",")]
    with tempfile.TemporaryDirectory() as folder:
        start = remap_against(Path(folder), len(LEAVES))
        rows = [(size, remap_against(Path(folder), size) - start) for size in sizes]
    print(f"remap --against: {start:.2f} s of it is start-up")
    for size, spent in rows:
        print(f"  {size:6} tensors {spent:7.2f} s")
    for (small, before), (large, after) in pairwise(rows):
        print(f"  {small} to {large}: exponent {math.log(after / before) / math.log(large / small):.2f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

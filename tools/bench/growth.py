"""How the cost of a command grows: python tools/bench/growth.py [--sizes N,N,...] [--files N,N,...] [--formats F,F,...]

With the number of tensors in a file (`check` of a safetensors and of a torch file of no known class, which our own remap
writes, and `remap --against`; 45,000 are nearly all that the limits of the reader allow in a torch file), and with the
number of files in a folder (`check`, and with ``--audit`` also `audit`), in processor time and in peak memory, for each
format. Each size is run five times and the smallest processor time counts, less that of the smallest input; memory is that
above it, too, and sizes count from it. The exponent is the slope between neighbouring sizes on logarithmic scales: 1 is
linear, 2 is quadratic.

Two things tell work that grows from a machine that gets slower. Beside the exponent of time stands that of calls: all that
Python counts of functions, its own included, in one more run; it has no noise. And objects that no longer fit into the
caches of a processor, and memory that the system has to give, take longer whatever is done with them: how much that is on a
machine is printed first, of a loop that makes a few objects for each of so many names, and looks at each once more.
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
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from typing import NamedTuple

from viscy_compat.architectures import find
from viscy_compat.architectures.architecture import complete
from viscy_compat.checkpoint.dtypes import ITEMSIZES
from viscy_compat.report.audit_files import AUDIT_FORMATS

LEAVES = ("attn.qkv.weight", "attn.proj.weight", "norm.weight", "norm.bias", "mlp.fc1.weight", "mlp.fc2.weight")
RENAMED = ("mixer.qkv.weight", "mixer.out.weight", "ln.weight", "ln.bias", "ffn.fc1.weight", "ffn.fc2.weight")
SHAPES = ((6, 2), (2, 3), (2,), (2,), (8, 2), (2, 8))
BLOCKS = 10
"""In one stage. Names have two numbers, and one of them becomes part of a word (`stages.3` is `stage_3`, as in timm), so
that the rows of a plan fold stage by stage."""
DTYPES = {"float32": "F32", "int64": "I64"}
PEAK = "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')), file=sys.stderr)"
SMALLEST = 2_500
"""Tensors of the input that is taken for start-up. The shapes of up to 2,048 tensors are compared with every class, which takes
ten milliseconds that larger files are spared: taken off those, they made the first step look steep (1.25 instead of 1.0)."""
VISCY = [sys.executable, "-c", f"import sys; from viscy_compat.cli import main; main(); {PEAK}"]
"""The command, which says at its end how much memory it took: what the system says of a child counts its parent, too."""

COUNTED = """
import sys
from viscy_compat.cli import main
calls = 0
def count(frame, event, argument):
    global calls
    calls += event in ("call", "c_call")
sys.setprofile(count)
main()
sys.setprofile(None)
print(calls, file=sys.stderr)
"""
"""The command, which says at its end how many functions it called."""

OBJECTS = """
import gc, sys
gc.disable()
names = [f"stages.{i // 10}.{i % 10}.attn.qkv.weight" for i in range(int(sys.argv[1]))]
first = {name: [name, (i, i + 1), [i]] for i, name in enumerate(names)}
second = {name: (name, {name: row}) for name, row in first.items()}
third = [second[name][1][name] for name in names]
"""
"""Makes as many objects for each name as the reader of a safetensors file makes for a tensor."""

Tensors = Iterator[tuple[str, tuple[int, ...], str]]


def names(count: int, leaves: tuple[str, ...], stem: str) -> Tensors:
    """Yield so many names, with their shapes."""
    for place in range(count):
        layer, leaf = divmod(place, len(leaves))
        yield f"{stem}{layer // BLOCKS}.{layer % BLOCKS}.{leaves[leaf]}", SHAPES[leaf], "float32"


def encoder() -> Tensors:
    """Yield the tensors of a file of v0.2, 190 of them, that a plan renames and fills."""
    architecture = find("ContrastiveEncoder")
    config = {"backbone": "convnext_tiny", "in_channels": 2, "in_stack_depth": 15, "embedding_dim": 384}
    layout = architecture.generations[0].layout(complete(architecture, config))
    yield from ((f"model.{name}", spec.shape, spec.dtype) for name, spec in layout.items())


def write(path: Path, tensors: Tensors) -> None:
    """Write a safetensors file of zeros but for its first tensors: it takes no room on the disc.

    Weights that are all zero are looked at one by one, up to two megabytes of them, which honest files are not.
    """
    header, end = {}, 0
    for name, shape, dtype in tensors:
        begin, end = end, end + ITEMSIZES[dtype] * math.prod(shape)
        header[name] = {"dtype": DTYPES[dtype], "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.write(b"\x3f" * min(end, 1024))
        file.truncate(8 + len(text) + end)


class Run(NamedTuple):
    """Seconds of processor time, megabytes of memory at most, and calls of functions, where they were counted."""

    cpu: float
    memory: float
    calls: int = 0


def once(command: list[str]) -> Run:
    """Run a command."""
    # to the microsecond; `os.times` counts hundredths of a second, which is as much as a small input takes
    before = getrusage(RUSAGE_CHILDREN)
    done = subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    after = getrusage(RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(cpu, int(done.stderr.split()[-1]) / 1024)


def least(command: list[str]) -> Run:
    """Run a command five times, and return the run that took the least processor time."""
    return min(once(command) for _ in range(5))


def with_calls(words: list[str]) -> Run:
    """Run our command as `least`, and once more to count its calls."""
    done = subprocess.run(
        [sys.executable, "-c", COUNTED, *words],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    return least([*VISCY, *words])._replace(calls=int(done.stderr.split()[-1]))


def remap_against(folder: Path, count: int) -> Run:
    """Remap onto renamed tensors, plan file included."""
    old, new, plan = folder / "old.safetensors", folder / "new.safetensors", folder / "plan.json"
    write(old, names(count, LEAVES, "stages."))
    write(new, names(count, RENAMED, "stage_"))
    return with_calls(["remap", str(old), "--against", str(new), "--write-plan", str(plan), "--force"])


def check_file(folder: Path, ending: str, count: int) -> Run:
    """Check a file of so many tensors."""
    old, torch_file = folder / "old.safetensors", folder / "old.ckpt"
    write(old, names(count, LEAVES, "stages."))
    if ending == ".ckpt":
        once([*VISCY, "remap", str(old), "--against", str(old), "-o", str(torch_file), "--force"])
    return with_calls(["check", str(old.with_suffix(ending))])


def make_objects(count: int) -> Run:
    """Run the loop that is linear, whatever its exponent turns out to be."""
    return least([sys.executable, "-c", OBJECTS + PEAK, str(count)])


def of_folder(folder: Path, words: list[str], count: int) -> Run:
    """Run a command on a folder of so many links to one file."""
    place = folder / str(count)
    if not place.exists():
        place.mkdir()
        write(folder / "one.safetensors", encoder())
        for number in range(count):
            os.link(folder / "one.safetensors", place / f"{number}.safetensors")
    return least([*VISCY, words[0], str(place), *words[1:]])


def show(title: str, unit: str, sizes: list[int], smallest: int, run: Callable[[int], Run]) -> None:
    """Measure and print."""
    start = run(smallest)
    rows = [(size, run(size)) for size in sizes]
    print(f"{title}: {start.cpu:.3f} s and {start.memory:.0f} MB of it are those of {smallest} {unit}")
    for size, spent in rows:
        print(f"  {size:6} {unit} {spent.cpu - start.cpu:7.3f} s {spent.memory - start.memory:7.1f} MB")
    for (small, before), (large, after) in pairwise(rows):
        ratio = math.log((large - smallest) / (small - smallest))
        time = math.log((after.cpu - start.cpu) / (before.cpu - start.cpu)) / ratio
        counted = before.calls > start.calls
        calls = math.log((after.calls - start.calls) / (before.calls - start.calls)) / ratio if counted else math.nan
        of_calls = f", of calls {calls:.2f}" if counted else ""
        each = 1e3 * (after.memory - before.memory) / (large - small)
        print(f"  {small} to {large}: exponent of time {time:.2f}{of_calls}, {each:.1f} kB for each further one")


def main() -> int:
    """Print seconds, megabytes and exponents."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="5000,10000,20000,45000", help="numbers of tensors; empty leaves them out")
    parser.add_argument("--files", default="", help="numbers of files in a folder")
    parser.add_argument(
        "--formats", default="jsonl,text,json,html,markdown,sarif,junit,github", help="of a folder's report"
    )
    parser.add_argument("--audit", action="store_true", help="audit too, in its formats but parquet")
    asked = parser.parse_args()
    sizes, files = ([int(size) for size in text.split(",") if size] for text in (asked.sizes, asked.files))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if sizes:
            show("a linear loop", "names", sizes, SMALLEST, make_objects)
            for ending in (".safetensors", ".ckpt"):
                show(f"check FILE{ending}", "tensors", sizes, SMALLEST, partial(check_file, folder, ending))
            show("remap --against", "tensors", sizes, SMALLEST, partial(remap_against, folder))
        commands = [["check", "--format", form] for form in asked.formats.split(",")]
        if asked.audit:
            more = ["--jobs", "1", "--fresh", "--ledger", str(folder / "ledger")]
            commands += [["audit", *more, "--format", form] for form in AUDIT_FORMATS if form != "parquet"]
        for words in commands if files else ():
            title = f"{words[0]} FOLDER --format {words[-1]}"
            show(title, "files", files, 1, partial(of_folder, folder, words))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

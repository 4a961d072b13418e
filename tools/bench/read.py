"""The reader alone, in alternation: python tools/bench/read.py [--rounds N]

Opcodes a second of the inert pickle machine, then commands at 200, 2,000 and 20,000 tensors: bare Python, opening the
checkpoint, `inspect`, picklescan (where it is installed) and torch.load on the meta device. Ratios are to bare Python.
"""

from __future__ import annotations

import argparse
import pickletools
import sys
import tempfile
import time
import zipfile
from pathlib import Path

from alternation import Contender, alternate, apart, table

HERE = Path(sys.executable).parent
OPEN = "import sys; from viscy_compat.checkpoint import open_checkpoint; open_checkpoint(sys.argv[1])"
META = "import sys, torch; torch.load(sys.argv[1], map_location='meta', weights_only=True)"


def make(folder: Path, count: int) -> Path:
    """Write a checkpoint of many small tensors with torch."""
    import torch

    path = folder / f"{count}.pt"
    torch.save(
        {f"stages.{index // 100}.blocks.{index % 100}.weight": torch.zeros(3, 4) for index in range(count)}, path
    )
    return path


def opcodes_a_second(path: Path) -> tuple[int, float]:
    """Return how many opcodes the pickle has, and how many the machine interprets in a second of CPU (best of five)."""
    from viscy_compat.checkpoint.limits import DEFAULT_LIMITS
    from viscy_compat.checkpoint.pickle_machine import decode

    data = zipfile.ZipFile(path).read(f"{path.stem}/data.pkl")
    opcodes = sum(1 for _ in pickletools.genops(data))
    seconds = []
    for _ in range(5):
        started = time.process_time()
        decode(data, DEFAULT_LIMITS)
        seconds.append(time.process_time() - started)
    return opcodes, opcodes / min(seconds)


def contenders(path: Path) -> list[Contender]:
    """List who takes part; what takes seconds runs fewer rounds."""
    rivals = [
        Contender("bare Python", [sys.executable, "-c", "pass"]),
        Contender("open_checkpoint", [sys.executable, "-c", OPEN, str(path)]),
        Contender("viscy-compat inspect", [str(HERE / "viscy-compat"), "inspect", str(path)]),
        Contender("torch.load(meta)", [sys.executable, "-c", META, str(path)], rounds=3),
    ]
    if (HERE / "picklescan").exists():
        rivals.insert(3, Contender("picklescan", [str(HERE / "picklescan"), "-p", str(path)], rounds=3))
    return rivals


def main() -> int:
    """Measure and print a table for each number of tensors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for count in (200, 2_000, 20_000):
            path = apart(make, Path(folder), count)
            opcodes, rate = apart(opcodes_a_second, path)
            rivals = contenders(path)
            alternate(rivals, arguments.rounds)
            print(f"{count:,} tensors: {opcodes:,} opcodes, {rate / 1e6:.1f} million a second\n")
            print(table(f"{count:,} tensors", rivals), end="\n\n", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The reader alone, in alternation: python tools/bench/read.py [--rounds N] [--loading] [--against CLONE]

With `--loading`, and nothing else then: `load_state_dict` against `torch.load(mmap=True)` and one CRC-32 pass over the same
bytes, and `load_model` against what takes its place (build the class, `torch.load`, `load_state_dict`), at 114 MB. All of
them are calls in one process that has torch, in turns; `--against CLONE` runs the same in another clone (an older commit).

Opcodes a second of the inert pickle machine, then commands at 200, 2,000 and 20,000 tensors: bare Python, opening the
checkpoint, `inspect`, picklescan (where it is installed) and torch.load on the meta device. Ratios are to bare Python.
"""

from __future__ import annotations

import argparse
import os
import pickletools
import subprocess
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


LOADING = """
import statistics, sys, time, warnings, zlib
import torch, viscy_compat as vc
from viscy_models import ContrastiveEncoder
path, rounds = sys.argv[1], int(sys.argv[2])
warnings.simplefilter("ignore")

def build():
    return ContrastiveEncoder("convnext_tiny", 2, 15, embedding_dim=768, projection_dim=128)

def crc():
    with open(path, "rb") as file:
        total = 0
        while block := file.read(1 << 18):
            total = zlib.crc32(block, total)

def by_hand():
    model = build()
    stored = torch.load(path, weights_only=True)["state_dict"]
    model.load_state_dict({name.removeprefix("model."): one for name, one in stored.items()}, strict=True)
    return model.eval()

def mapped():
    torch.load(path, weights_only=True, mmap=True)
    crc()

calls = {
    "torch.load(mmap) + one CRC-32 pass": mapped,
    "load_state_dict": lambda: vc.load_state_dict(path),
    "load_state_dict(mmap)": lambda: vc.load_state_dict(path, mmap=True),
    "class + torch.load + load_state_dict": by_hand,
    "load_model": lambda: vc.load_model(path, config={"stem_stride": (5, 4, 4)}),
}
try:
    calls["load_state_dict(mmap)"]()
except TypeError:  # an older commit
    del calls["load_state_dict(mmap)"]
found = {name: [] for name in calls}
for number in range(rounds + 1):
    for name, call in calls.items():
        wall, cpu = time.perf_counter(), time.process_time()
        call()
        if number:
            found[name].append((time.perf_counter() - wall, time.process_time() - cpu))
for name, runs in found.items():
    if name in ("torch.load(mmap) + one CRC-32 pass", "class + torch.load + load_state_dict"):
        base = [statistics.median(one) for one in zip(*runs)]
    wall, cpu = (statistics.median(one) / floor for one, floor in zip(zip(*runs), base))
    print(f"| {name} | {wall:.2f} x | {cpu:.2f} x | {len(runs)} |")
"""


def compare_loading(folder: Path, rounds: int, clones: list[Path]) -> None:
    """Print how long loading takes in each clone; ratios are to the rival just above."""
    path = apart(make_trained, folder)
    for clone in clones:
        print(f"| {clone.name}, 114 MB | wall | CPU | runs |\n|---|---|---|---|", flush=True)
        python = clone / ".venv" / "bin" / "python"
        subprocess.run([str(python), "-c", LOADING, str(path), str(rounds)], check=True)
        print(f"\nload {os.getloadavg()[0]:.1f} at the end, {os.cpu_count()} cores\n", flush=True)


def make_trained(folder: Path) -> Path:
    """Write a Lightning-like checkpoint of 114 MB with the migrated class."""
    import torch

    from viscy_models import ContrastiveEncoder

    model = ContrastiveEncoder("convnext_tiny", 2, 15, embedding_dim=768, projection_dim=128)
    state = {f"model.{name}": one for name, one in model.state_dict().items()}
    path = folder / "114.ckpt"
    torch.save({"epoch": 1, "global_step": 1, "pytorch-lightning_version": "2.5.0", "state_dict": state}, path)
    return path


def main() -> int:
    """Measure and print a table for each number of tensors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--loading", action="store_true", help="measure load_state_dict and load_model")
    parser.add_argument("--against", metavar="CLONE", help="another clone, with its .venv, where --loading runs too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.loading:
            older = [Path(arguments.against)] if arguments.against else []
            compare_loading(Path(folder), arguments.rounds, [Path(__file__).parents[2], *older])
            return 0
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

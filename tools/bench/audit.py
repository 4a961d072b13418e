"""Files in a row against what people do today, in turns: python tools/bench/audit.py [--rounds N] [--growth] [--race]

CPU time a file, once everything is imported: each contender is one process that reads the same file again and again and
prints milliseconds of CPU for each reading. Files of a temporary folder: 342 MB trained, 114 MB of weights, the same as
safetensors, and a tiny one. Rivals: torch.load(mmap, meta, weights_only), picklescan, safetensors' safe_open.

--growth audits 1,000, 10,000 and 100,000 hard links of the trained file with `viscy-compat audit`, and prints the time a
file. --race compares 10,000 of them on all cores with torch.load of 500 in one process, its import not counted. Links share
their bytes: the disc is not measured, and all but the first are copies of a file that was judged, which measures remembering.
So the same is run where copies are not remembered, as if each were another run of one architecture, and where nothing is
(`unremembered.py`): neither copies nor what a layout stands for, nor spans of pickles.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from alternation import apart

READINGS = 15
COPY = "viscy-compat, a copy of a file that was judged"
ALONE = "viscy-compat, nothing remembered"
UNREMEMBERED = Path(__file__).with_name("unremembered.py")
TORCH = "torch.load(mmap, meta, weights_only)"

HEAD = """
import sys, time
path, count = sys.argv[1], int(sys.argv[2])
def measure(read):
    for _ in range(3): read()
    begin, start = time.perf_counter(), time.process_time()
    for _ in range(count): read()
    print(1000 * (time.process_time() - start) / count, time.perf_counter() - begin)
"""
OURS = (
    "from viscy_compat.fleet.judging import AuditQuestion, judge_target\n"
    "from viscy_compat.fleet.row import line_of\n"
    "from viscy_compat.fleet.target import target_of\n"
    "measure(lambda: line_of(judge_target(AuditQuestion(), target_of(path, named=True), '')))"
)
PROGRAMS = {
    "viscy-compat": OURS,
    ALONE: f"sys.path.insert(0, {str(UNREMEMBERED.parent)!r})\nimport unremembered\n{OURS}",
    COPY: "from viscy_compat.fleet.judging import AuditQuestion, judge_shard\n"
    "from viscy_compat.fleet.target import target_of\n"
    "measure(lambda: judge_shard(AuditQuestion(), [target_of(path, named=True)]))",
    TORCH: "import torch\nmeasure(lambda: torch.load(path, mmap=True, map_location='meta', weights_only=True))",
    "picklescan": "from picklescan.scanner import scan_file_path\nmeasure(lambda: scan_file_path(path))",
    "safe_open": "from safetensors import safe_open\n"
    "def read():\n    with safe_open(path, 'numpy') as file: return {k: file.get_slice(k).get_shape() for k in file.keys()}\n"
    "measure(read)",
}
RIVALS = {
    "342 MB trained": (
        "viscy-compat",
        ALONE,
        COPY,
        "torch.load(mmap, meta, weights_only)",
        "picklescan",
    ),
    "114 MB weights": (
        "viscy-compat",
        ALONE,
        COPY,
        "torch.load(mmap, meta, weights_only)",
        "picklescan",
    ),
    "114 MB safetensors": ("viscy-compat", ALONE, COPY, "safe_open"),
    "tiny": (
        "viscy-compat",
        ALONE,
        COPY,
        "torch.load(mmap, meta, weights_only)",
        "picklescan",
    ),
}


def make_files(folder: Path) -> dict[str, Path]:
    """Write the files with torch and safetensors."""
    import torch
    from safetensors.torch import save_file

    from viscy_models import ContrastiveEncoder

    model = ContrastiveEncoder("convnext_tiny", 2, 15)
    state = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    moments = {
        number: {"step": torch.tensor(1.0), "exp_avg": torch.rand_like(one), "exp_avg_sq": torch.rand_like(one)}
        for number, one in enumerate(model.parameters())
    }
    lightning = {"epoch": 1, "global_step": 1, "pytorch-lightning_version": "2.5.0", "state_dict": state}
    files = {name: folder / f"{name.replace(' ', '-')}.ckpt" for name in RIVALS}
    files["114 MB safetensors"] = folder / "weights.safetensors"
    torch.save({**lightning, "optimizer_states": [{"state": moments, "param_groups": []}]}, files["342 MB trained"])
    torch.save(lightning, files["114 MB weights"])
    save_file({name: one.contiguous() for name, one in model.state_dict().items()}, files["114 MB safetensors"])
    torch.save({"a.weight": torch.rand(3, 3)}, files["tiny"])
    return files


def once(name: str, path: Path, count: int) -> tuple[float, float]:
    """Return milliseconds of CPU a file for one contender, in a process of its own, and seconds for all files."""
    words = [sys.executable, "-c", HEAD + PROGRAMS[name], str(path), str(count)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    printed = subprocess.run(words, capture_output=True, text=True, check=True, env=environment).stdout
    each, wall = map(float, printed.split())
    return each, wall


def compare(title: str, path: Path, rounds: int) -> str:
    """Measure the contenders of a file in turns, and return a table of medians, and of medians of ratios by round."""
    names = RIVALS[title]
    figures: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            figures[name].append(once(name, path, READINGS)[0])
    ours = figures[names[0]]
    rows = [f"| {title} | ms of CPU a file | viscy-compat is | rounds |", "|---|---|---|---|"]
    for name in names:
        ratios = [other / own for other, own in zip(figures[name], ours, strict=True)]
        ratio = statistics.median(ratios)
        said = (
            ""
            if name.startswith("viscy")
            else f"{ratio:.1f} x as quick"
            if ratio >= 1
            else f"{1 / ratio:.1f} x as slow"
        )
        rows.append(f"| {name} | {statistics.median(figures[name]):.2f} | {said} | {rounds} |")
    return "\n".join(rows)


def links(folder: Path, source: Path, count: int) -> Path:
    """Make `count` names of one file; a file has at most 65,000, so that copies share the rest."""
    folder.mkdir()
    own = source
    for number in range(count):
        if number % 60_000 == 0:
            own = folder / f"run{number}-0.ckpt"
            own.write_bytes(source.read_bytes())
        else:
            os.link(own, folder / f"run-epoch={number}.ckpt")
    return folder


PROGRAM = (str(Path(sys.executable).parent / "viscy-compat"),)


def audit(folder: Path, place: Path, program: tuple[str, ...] = PROGRAM, forget: str = "") -> tuple[float, float]:
    """Audit a folder with a new ledger on all cores; return seconds and seconds of CPU."""
    before, start = os.times(), time.perf_counter()
    words = [*program, "audit", str(folder), "--ledger", str(place), "--fresh", "-q"]
    environment = {**os.environ, "VISCY_COMPAT_FORGET": forget}
    subprocess.run(words, stdout=subprocess.DEVNULL, check=False, env=environment)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - start, cpu


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--growth", action="store_true")
    parser.add_argument("--most", type=int, default=100_000, help="files of --growth")
    parser.add_argument("--race", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        files = apart(make_files, folder)
        for title, path in files.items():
            print(compare(title, path, arguments.rounds), end="\n\n", flush=True)
        for count in (1_000, 10_000, 100_000) if arguments.growth else ():
            if count <= arguments.most:
                wall, cpu = audit(links(folder / str(count), files["342 MB trained"], count), folder / f"{count}.jsonl")
                print(f"{count:>7,} files: {wall:.1f} s, {1000 * cpu / count:.2f} ms of CPU a file", flush=True)
        if arguments.race:
            print(race(files["342 MB trained"], folder))
    return 0


def race(source: Path, folder: Path) -> str:
    """Audit 10,000 links with all, some and no memory, let torch read 500 in one process, and return a table of seconds."""
    many = links(folder / "race", source, 10_000)
    each, wall = once(TORCH, source, 500)
    alone = (sys.executable, str(UNREMEMBERED))
    runs = {
        f"500 with {TORCH}, one process": (wall, each * 500 / 1000),
        "10,000 links, audit on all cores": audit(many, folder / "race.jsonl"),
        "the same, copies not remembered": audit(many, folder / "alike.jsonl", alone, "copies"),
        "the same, nothing remembered": audit(many, folder / "alone.jsonl", alone),
    }
    rows = [f"| {name} | {wall:.1f} s | {cpu:.1f} s |" for name, (wall, cpu) in runs.items()]
    return "\n".join(["| race | wall | CPU |", "|---|---|---|", *rows])


if __name__ == "__main__":
    sys.exit(main())

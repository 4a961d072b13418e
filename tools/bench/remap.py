"""`remap` against its floor and what people do today: python tools/bench/remap.py [--rounds N] [--record]

Files are made in a temporary folder with the migrated class: 114 MB of weights, 342 MB and 1 GB (wide heads), each to
.safetensors and to .ckpt; one with optimizer state (342 MB), one without stored CRCs.

The floor does the least of what `remap` promises, with the tools of the system: it copies the output (`cp`), waits until
the disc has the copy (`sync` of that one file) and compares every byte (`cmp`). Both sides find their input in the page
cache, and compare what `fsync` has returned for through it: to drop the cache takes root and would empty it for
everything else on the machine. `--against CLONE` measures `remap` of another clone (an older commit) in the same turns.
Rivals load with torch (plain, or mapped) and save with safetensors or torch; they neither wait nor compare.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from alternation import Contender, alternate, once, record, table

RESULTS = Path(__file__).with_name("remap.json")
COMMAND = Path(sys.executable).parent / "viscy-compat"

TO_SAFETENSORS = """
import sys, torch
from safetensors.torch import save_file
stored = torch.load(sys.argv[1], weights_only=True, mmap=sys.argv[3] == "mapped")
save_file({name.removeprefix("model."): tensor for name, tensor in stored["state_dict"].items()}, sys.argv[2])
"""

TO_TORCH = """
import sys, torch
stored = torch.load(sys.argv[1], weights_only=True, mmap=sys.argv[3] == "mapped")
torch.save(stored, sys.argv[2])
"""

WIDTHS = {"114 MB": (768, 128), "342 MB": (8192, 6200), "1 GB": (32768, 6000)}
"""Widths of the head that make up each size."""

KINDS = {"weights": WIDTHS, "without CRCs": ("1 GB",), "trained": ("114 MB",)}
"""What is in a file, and at which sizes of the weights."""

ROWS = {
    **{f"{size} weights": (".safetensors", ".ckpt") for size in WIDTHS},
    "1 GB without CRCs": (".safetensors",),
    "342 MB trained": (".ckpt",),
}
"""Each source, and what it is written to: 114 MB of weights with two moments are 342 MB."""


def path_of(folder: Path, size: str, kind: str) -> Path:
    """Return where a file is made."""
    name = f"{'342 MB' if kind == 'trained' else size} {kind}"
    return folder / f"{name.replace(' ', '-')}.ckpt"


def make_files(folder: Path) -> None:
    """Write Lightning-like checkpoints with torch: weights alone, without CRCs, and with two moments."""
    import torch

    from viscy_models import ContrastiveEncoder

    for size, (hidden, width) in WIDTHS.items():
        model = ContrastiveEncoder("convnext_tiny", 2, 15, embedding_dim=hidden, projection_dim=width)
        state = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
        moments = {
            number: {"step": torch.tensor(1.0), "exp_avg": torch.zeros_like(one), "exp_avg_sq": torch.zeros_like(one)}
            for number, one in enumerate(model.parameters())
        }
        lightning = {"epoch": 1, "global_step": 1, "pytorch-lightning_version": "2.5.0", "state_dict": state}
        groups = [{"lr": 1e-4, "params": list(range(len(moments)))}]
        trained = {**lightning, "optimizer_states": [{"state": moments, "param_groups": groups}]}
        for kind in [kind for kind, sizes in KINDS.items() if size in sizes]:
            torch.serialization.set_crc32_options(kind != "without CRCs")
            torch.save(trained if kind == "trained" else lightning, path_of(folder, size, kind))


def afresh(out: Path, *words: str) -> list[str]:
    """A command that writes a file which is not there yet."""
    return ["sh", "-c", f"rm -f {shlex.quote(str(out))}; exec {shlex.join(words)}"]


def contenders(path: Path, ending: str, slow: int, against: str | None) -> list[Contender]:
    """List who takes part for one source and one format of the output, the floor first."""
    out, copy = path.with_name(f"out{ending}"), path.with_name(f"copy{ending}")
    program = TO_SAFETENSORS if ending == ".safetensors" else TO_TORCH
    saver = "save_file" if ending == ".safetensors" else "torch.save"
    ours, theirs = shlex.quote(str(out)), shlex.quote(str(copy))
    floor = f"rm -f {theirs} && cp {ours} {theirs} && sync {theirs} && cmp {ours} {theirs}"
    older = [
        Contender(
            "remap of the other clone",
            afresh(copy, f"{against}/.venv/bin/viscy-compat", "remap", str(path), "-o", str(copy)),
        )
    ]
    return [
        Contender("cp, sync and cmp", ["sh", "-c", floor]),
        Contender("viscy-compat remap", afresh(out, str(COMMAND), "remap", str(path), "-o", str(out))),
        *(older if against else []),
        *(
            Contender(
                f"{name} + {saver}",
                afresh(copy, sys.executable, "-c", program, str(path), str(copy), how),
                rounds=slow,
            )
            for name, how in (("torch.load", "read"), ("torch.load(mmap)", "mapped"))
            if slow
        ),
    ]


def measure(title: str, rivals: list[Contender], arguments: argparse.Namespace) -> None:
    """Measure one row in turns; our output must be there before anybody copies it."""
    once(rivals[1].command)
    alternate(rivals, arguments.rounds)
    print(table(title, rivals, digits=2))
    print(f"\nload {os.getloadavg()[0]:.1f} at the end, {os.cpu_count()} cores\n", flush=True)
    if arguments.record:
        record(RESULTS, title, rivals)


def main() -> int:
    """Measure and print a table for each source and format."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--slow", type=int, default=3, help="rounds of what imports torch; 0 leaves it out")
    parser.add_argument(
        "--against", metavar="CLONE", help="another clone, with its .venv, to measure in the same turns"
    )
    parser.add_argument("--only", default="", help="rows whose title holds this")
    parser.add_argument("--folder", help="where the files are made (another disc, a tmpfs)")
    parser.add_argument(
        "--record", action="store_true", help="write the medians to remap.json, which the README quotes"
    )
    parser.add_argument("--make-in", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        # The files are made by another process: what a process is started from counts in the peak memory of both.
        if arguments.make_in:
            make_files(Path(arguments.make_in))
            return 0
        subprocess.run([sys.executable, __file__, "--make-in", folder], check=True)
        for name, endings in ROWS.items():
            for title, ending in [(f"{name} to {ending}", ending) for ending in endings]:
                if arguments.only in title:
                    path = Path(folder) / f"{name.replace(' ', '-')}.ckpt"
                    measure(title, contenders(path, ending, arguments.slow, arguments.against), arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main())

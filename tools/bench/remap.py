"""`remap` against a copy of its output and what people do today: python tools/bench/remap.py [--rounds N] [--record]

Files are made in a temporary folder with the migrated class: 114 MB of weights, 1 GB (a wide head), both with optimizer
state where a .ckpt is written, with and without stored CRCs. The floor is `cp` of the output; `cp` with `sync` is the
floor of a program that, as `remap` does, waits until the disc has the file. Rivals load with torch (plain, or mapped)
and save with safetensors or torch.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from alternation import Contender, alternate, record, table

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

WIDTHS = {"114 MB": (768, 128), "1 GB": (32768, 6000)}


KINDS = ("weights", "without CRCs", "trained")


def paths_in(folder: Path) -> dict[str, Path]:
    """Name every file and say where it is."""
    names = [f"{size} {kind}" for size in WIDTHS for kind in KINDS]
    return {name: folder / f"{name.replace(' ', '-')}.ckpt" for name in names}


def make_files(folder: Path) -> None:
    """Write Lightning-like checkpoints with torch: weights alone, without CRCs, and with two moments."""
    import torch

    from viscy_models import ContrastiveEncoder

    files = paths_in(folder)
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
        for kind, content in zip(KINDS, (lightning, lightning, trained), strict=True):
            torch.serialization.set_crc32_options(kind != "without CRCs")
            torch.save(content, files[f"{size} {kind}"])


def afresh(out: Path, *words: str) -> list[str]:
    """A command that writes a file which is not there yet."""
    return ["sh", "-c", f"rm -f {shlex.quote(str(out))}; exec {shlex.join(words)}"]


def contenders(path: Path, ending: str, slow: int) -> list[Contender]:
    """List who takes part for one source and one format of the output."""
    out, copy = path.with_name(f"out{ending}"), path.with_name(f"copy{ending}")
    program = TO_SAFETENSORS if ending == ".safetensors" else TO_TORCH
    saver = "save_file" if ending == ".safetensors" else "torch.save"
    synced = f"rm -f {shlex.quote(str(copy))}; cp {shlex.quote(str(out))} {shlex.quote(str(copy))}; sync {shlex.quote(str(copy))}"
    return [
        Contender("cp of the output", afresh(copy, "cp", str(out), str(copy))),
        Contender("cp and sync", ["sh", "-c", synced]),
        Contender("viscy-compat remap", afresh(out, str(COMMAND), "remap", str(path), "-o", str(out))),
        Contender(
            f"torch.load + {saver}",
            afresh(copy, sys.executable, "-c", program, str(path), str(copy), "read"),
            rounds=slow,
        ),
        Contender(
            f"torch.load(mmap) + {saver}",
            afresh(copy, sys.executable, "-c", program, str(path), str(copy), "mapped"),
            rounds=slow,
        ),
    ]


def main() -> int:
    """Measure and print a table for each source and format."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--slow", type=int, default=3, help="rounds of what imports torch")
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
        for name, path in paths_in(Path(folder)).items():
            ending = ".ckpt" if name.endswith("trained") else ".safetensors"
            rivals = contenders(path, ending, arguments.slow)
            alternate([rivals[2], *rivals[:2], *rivals[3:]], arguments.rounds)
            title = f"{name} to {ending}"
            print(table(title, rivals), end="\n\n", flush=True)
            if arguments.record:
                record(RESULTS, title, rivals)
    return 0


if __name__ == "__main__":
    sys.exit(main())

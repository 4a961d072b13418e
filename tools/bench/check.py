"""`check` against what people do today, in alternation: python tools/bench/check.py [--rounds N] [--record]

Files are made in a temporary folder with the migrated class: 114 MB of weights, the same with optimizer state (342 MB),
3 GB, and 20,000 small tensors. Rivals: bare Python, torch.load on the meta device with a comparison of keys, torch.load
with a strict load into the model, picklescan where it is installed. Ratios are to bare Python.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from alternation import Contender, alternate, apart, record, table

RESULTS = Path(__file__).with_name("check.json")
HERE = Path(sys.executable).parent

META = """
import sys, torch
from viscy_compat.architectures import find
from viscy_compat.architectures.architecture import complete
state = torch.load(sys.argv[1], map_location="meta", weights_only=True)
state = {name.removeprefix("model."): tensor for name, tensor in state.get("state_dict", state).items()}
architecture = find("ContrastiveEncoder")
config = complete(architecture, {"backbone": "convnext_tiny", "in_channels": 2, "in_stack_depth": 15})
print(set(state) == set(architecture.layout(config)))
"""

STRICT = """
import sys, torch
from viscy_models import ContrastiveEncoder
state = torch.load(sys.argv[1], weights_only=True)["state_dict"]
model = ContrastiveEncoder("convnext_tiny", 2, 15)
model.load_state_dict({name.removeprefix("model."): tensor for name, tensor in state.items()})
"""


def make_files(folder: Path) -> dict[str, Path]:
    """Write the four files with torch."""
    import torch

    from viscy_models import ContrastiveEncoder

    model = ContrastiveEncoder("convnext_tiny", 2, 15)
    state = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    moments = {
        number: {"step": torch.tensor(1.0), "exp_avg": torch.zeros_like(one), "exp_avg_sq": torch.zeros_like(one)}
        for number, one in enumerate(model.parameters())
    }
    lightning = {"epoch": 1, "global_step": 1, "pytorch-lightning_version": "2.5.0", "state_dict": state}
    trained = {**lightning, "optimizer_states": [{"state": moments, "param_groups": []}]}
    ballast = {**trained, "callbacks": {"ballast": torch.zeros(660_000_000)}}
    many = {f"layers.{number}.weight": torch.zeros(4) for number in range(20_000)}
    contents = {"114 MB": lightning, "342 MB": trained, "3 GB": ballast, "20,000 tensors": many}
    files = {}
    for name, content in contents.items():
        files[name] = folder / f"{name.replace(' ', '-')}.ckpt"
        torch.save(content, files[name])
    return files


def contenders(name: str, path: Path) -> list[Contender]:
    """List who takes part for one file; what takes seconds runs fewer rounds."""
    rivals = [
        Contender("bare Python", [sys.executable, "-c", "pass"]),
        Contender("viscy-compat check", [str(HERE / "viscy-compat"), "check", str(path)]),
        Contender("torch.load(meta) + keys", [sys.executable, "-c", META, str(path)], rounds=3),
    ]
    if name in ("114 MB", "342 MB"):
        rivals.append(Contender("torch.load + strict load", [sys.executable, "-c", STRICT, str(path)], rounds=3))
    if (HERE / "picklescan").exists() and name != "3 GB":
        rivals.append(Contender("picklescan", [str(HERE / "picklescan"), "-p", str(path)], rounds=3))
    return rivals


def main() -> int:
    """Measure and print a table for each file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument(
        "--record", action="store_true", help="write the medians to check.json, which the README quotes"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name, path in apart(make_files, Path(folder)).items():
            rivals = contenders(name, path)
            if name == "20,000 tensors":
                rivals[1].name = "viscy-compat check (unknown class)"
            alternate(rivals, arguments.rounds)
            print(table(name, rivals), end="\n\n", flush=True)
            if arguments.record:
                record(RESULTS, name, rivals)
    return 0


if __name__ == "__main__":
    sys.exit(main())

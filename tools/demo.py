"""The main job on a real old model: take the old class, save as Lightning saves, load strictly, compare the outputs.

Run it as ``python3 tools/dev.py demo``; it leaves old.ckpt and its siblings in the folder where it is run.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WHEEL = "0.4.0"
CONFIG = {"backbone": "convnext_tiny", "in_channels": 2, "in_stack_depth": 15}


def say(line: str) -> None:
    """Print one line of progress."""
    print(f"[demo] {line}", file=sys.stderr, flush=True)


def make_old_checkpoint(out: str) -> None:
    """Train one step with the old ContrastiveEncoder of a released wheel, and save with Lightning's Trainer."""
    cache = ROOT / ".cache" / "wheels"
    options = ["-q", "--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "-d", str(cache)]
    if not list(cache.glob(f"viscy-{WHEEL}-*.whl")):
        subprocess.run([sys.executable, "-m", "pip", "download", *options, f"viscy=={WHEEL}"], check=True)
    job = {"class": "ContrastiveEncoder", "config": CONFIG, "out": out, "io": [2, 2, 15, 64, 64]}
    jobs = Path(out).with_suffix(".jobs.json")
    jobs.write_text(json.dumps([job]))
    wheel = next(cache.glob(f"viscy-{WHEEL}-*.whl"))
    subprocess.run([sys.executable, str(ROOT / "tools" / "old_checkpoint.py"), str(wheel), str(jobs)], check=True)
    jobs.unlink()


def largest_difference(path: str) -> float:
    """Load the checkpoint strictly into the migrated class and compare with what the old class gave."""
    import torch
    from safetensors.torch import load_file

    from viscy_models import ContrastiveEncoder

    torch.set_num_threads(1)
    stored = torch.load(path, weights_only=True)["state_dict"]
    model = ContrastiveEncoder(**CONFIG).eval()
    model.load_state_dict({name.removeprefix("model."): tensor for name, tensor in stored.items()}, strict=True)
    expected = load_file(f"{path}.io.safetensors")
    torch.manual_seed(0)
    with torch.inference_mode():
        embedding, projection = model(expected["input"])
    pairs = ((embedding, expected["embedding"]), (projection, expected["projection"]))
    return max(float((new - old).abs().max()) for new, old in pairs)


def main() -> int:
    """Run the demo; exit code 0 if old and new outputs are equal."""
    say(f"training one step of the old ContrastiveEncoder of viscy {WHEEL}, saved by Lightning as old.ckpt")
    make_old_checkpoint("old.ckpt")
    say("loading old.ckpt strictly into viscy_models.ContrastiveEncoder")
    difference = largest_difference("old.ckpt")
    print(f"largest difference between the outputs of the old and the migrated class: {difference}")
    return 0 if difference == 0.0 else 1


if __name__ == "__main__":
    sys.exit(main())

"""Measure what a GPU's outputs are beside those of this CPU: python tools/measure_gpu.py [--write FOLDER] [CLASS...]

Runs the models of `tests/support/gpu_outputs.py` in five modes on the GPU, emulates each mode on the CPU, and prints for each
the relative L2 distance of the GPU's outputs from the CPU's, that of the emulated ones, their ratio and their cosine: the
figures that the bounds of `viscy_compat.outputs.precision` rest on. ``--write`` keeps the outputs as ``CLASS.safetensors``,
as they lie in ``tests/gpu_outputs/``. On a machine without a GPU it is one line, exit 2.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from support.gpu_outputs import CASES, MODES, seeded_input, seeded_model  # noqa: E402

HALVES = {"16-mixed": "float16", "bf16-mixed": "bfloat16"}


@contextmanager
def set_up(mode: str) -> Iterator[None]:
    """Set TF32 and autocast as a mode has them; TF32 in convolutions alone is torch's default."""
    import torch

    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32, cudnn.allow_tf32 = mode == "high", mode != "fp32"
    half = torch.autocast("cuda", dtype=getattr(torch, HALVES[mode])) if mode in HALVES else nullcontext()
    try:
        with torch.no_grad(), half:
            yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before


def outputs_on_gpu(name: str) -> dict[str, dict[str, Any]]:
    """Return what the GPU gives, by mode and output, as float32 on the CPU."""
    from viscy_compat.architectures import find
    from viscy_compat.workers.program.digests import tensors_in

    model, x = seeded_model(name).cuda(), seeded_input(name).cuda()
    found = {}
    for mode in MODES:
        with set_up(mode):
            tensors = [tensor.float().cpu().contiguous() for _, tensor in tensors_in(model(x))]
        found[mode] = dict(zip(find(name).outputs, tensors, strict=False))
    return found


def measure(name: str, folder: Path) -> Iterator[tuple[str, float, float, float]]:
    """Yield mode, distance of the GPU, distance of what is emulated, and the cosine between the two."""
    from safetensors.torch import save_file

    from viscy_compat.architectures import find
    from viscy_compat.outputs.differences import Discrepancies
    from viscy_compat.workers.program.digests import tensors_in
    from viscy_compat.workers.program.emulation import Gallery
    from viscy_compat.workers.program.values import set_seed

    given = outputs_on_gpu(name)
    model, gallery = seeded_model(name), Gallery(tensors_in, set_seed)
    save_file(model.state_dict(), folder / "weights.safetensors")
    save_file({"input": seeded_input(name)}, folder / "input.safetensors")
    files = {"weights": str(folder / "weights.safetensors"), "inputs": str(folder / "input.safetensors")}
    for precision in ("", *MODES.values()):
        gallery.run(model, {**files, "label": precision, "precision": precision, "names": list(find(name).outputs)})
    for mode, outputs in given.items():
        save_file(outputs, folder / "expected.safetensors")
        asked = {"expected": str(folder / "expected.safetensors"), "names": list(outputs), "labels": ["", MODES[mode]]}
        rows = gallery.compare(asked)["outputs"]
        found = Discrepancies((MODES[mode],), {output: row["pieces"] for output, row in rows.items()})
        yield mode, found.length(), found.length(MODES[mode]), found.likeness(MODES[mode])
    save_file({f"{mode}/{key}": value for mode, row in given.items() for key, value in row.items()}, folder / "kept")


def main() -> int:
    """Measure the classes that are asked for, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("classes", metavar="CLASS", nargs="*", help=f"any of {', '.join(CASES)}; all by default")
    parser.add_argument("--write", metavar="FOLDER", type=Path, help="keep the GPU's outputs there")
    arguments = parser.parse_args()
    import torch

    if not torch.cuda.is_available():
        print("measure_gpu: torch sees no GPU here", file=sys.stderr)
        return 2
    torch.set_num_threads(1)
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}")
    print(f"{'class':24}{'mode':12}{'GPU':>10}{'emulated':>10}{'ratio':>8}{'cosine':>8}")
    for name in arguments.classes or CASES:
        with tempfile.TemporaryDirectory() as folder:
            for mode, actual, emulated, likeness in measure(name, Path(folder)):
                ratio = actual / emulated if emulated else float("inf")
                print(f"{name:24}{mode:12}{actual:10.2g}{emulated:10.2g}{ratio:8.2f}{likeness:8.2f}")
            if arguments.write:
                arguments.write.mkdir(parents=True, exist_ok=True)
                (arguments.write / f"{name}.safetensors").write_bytes((Path(folder) / "kept").read_bytes())
    return 0


if __name__ == "__main__":
    sys.exit(main())

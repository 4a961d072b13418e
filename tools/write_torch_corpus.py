"""Write the small files with which the reader is held to an older torch; run it with that torch's interpreter.

``OLD/bin/python tools/write_torch_corpus.py tests/checkpoint/torch_1_13`` made the committed ones, in an environment of
torch 1.13.1 (the oldest that installs on Python 3.11). Whole modules are written as zip files only: a stream would carry
torch's own source text.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch

DTYPES = [
    "float64",
    "float16",
    "bfloat16",
    "int64",
    "int32",
    "int16",
    "int8",
    "uint8",
    "bool",
    "complex64",
    "complex128",
]


def state_dict() -> OrderedDict[str, torch.Tensor]:
    """Every dtype that has a storage class, odd strides, and tensors that share their bytes."""
    base = torch.randn(6, 5, 4)
    state = OrderedDict(
        t=base.transpose(0, 2),
        s=base[1:4, ::2],
        e=torch.randn(3, 1).expand(3, 5),
        z=torch.tensor(2.5),
        n=torch.zeros(0, 3),
    )
    state.update((name, torch.arange(12).reshape(3, 4).to(getattr(torch, name))) for name in DTYPES)
    weight = torch.randn(4, 4)
    state.update({"tied.a": weight, "tied.b": weight, "view": weight.view(16)[3:]})
    return state


def digest(tensor: torch.Tensor) -> str:
    """SHA-256 of the packed elements; numpy has no bfloat16, so its bits travel as integers."""
    flat = tensor.detach().contiguous().reshape(-1)
    flat = flat.view(torch.int16) if flat.dtype == torch.bfloat16 else flat
    return hashlib.sha256(flat.numpy().tobytes()).hexdigest()


def main(folder: Path) -> None:
    """Write every file, and what is in them."""
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3), torch.nn.Linear(3, 2))
    weights = OrderedDict((f"model.{key}", value) for key, value in module.state_dict().items())
    trainer = {"state_dict": weights, "pytorch-lightning_version": "1.9.0", "hyper_parameters": {"a": 1}}
    plain = state_dict()
    jobs: list[tuple[str, Any, dict[str, Any]]] = [
        ("plain.zip", plain, plain),
        ("plain.stream", plain, plain),
        ("light.zip", trainer, weights),
    ]
    jobs += [("light.stream", trainer, weights), ("module.zip", module, module.state_dict())]
    facts = {}
    for name, content, state in jobs:
        torch.save(content, folder / f"{name}.pt", _use_new_zipfile_serialization=name.endswith("zip"))
        facts[f"{name}.pt"] = {
            key: [list(value.shape), str(value.dtype)[6:], list(value.stride()), digest(value)]
            for key, value in state.items()
        }
    (folder / "facts.json").write_text(json.dumps({"torch": torch.__version__, "files": facts}, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

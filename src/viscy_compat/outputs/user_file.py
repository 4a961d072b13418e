"""The file in which a user saved an input and what a model made of it, with what its metadata says of the making."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from viscy_compat.agreement import PRECISIONS
from viscy_compat.checkpoint import open_checkpoint
from viscy_compat.errors import UsageError
from viscy_compat.layout import TensorSpec, printable

INPUT: Final = "input"
INNER: Final = "modules/"
"""What stands before the name of a module whose output was saved, too."""

STATEABLE: Final = tuple(name for name in PRECISIONS if name != "bytes")

FLOATS: Final = ("float32", "float64", "float16", "bfloat16")
"""What an output may be saved in: a model of ours gives floats, and float8 keeps too few digits to tell two models apart."""

_REAL: Final = (*FLOATS, "bool", "uint8", "int8", "int16", "int32", "int64")
"""What an input and outputs of modules may be saved in: masks, counts and images of a camera are inputs too."""

_MAKING: Final = ("device", "seed", "torch", "timm", "monai", "cudnn")
_LONGEST: Final = 100
"""Characters of a metadata value that a report quotes: versions are shorter, and a stranger's text need not be quoted whole."""

_SPELLINGS: Final[Mapping[str, str]] = {
    "fp32": "float32",
    "32": "float32",
    "32-true": "float32",
    "high": "tf32-all",
    "fp16": "float16",
    "16-mixed": "float16",
    "bf16": "bfloat16",
    "bf16-mixed": "bfloat16",
    "16-true": "float16-model",
    "bf16-true": "bfloat16-model",
}
"""Other names of precisions: those of Lightning, and short ones."""


@dataclass(frozen=True)
class UserOutputs:
    """An input with outputs, and how they were made, as far as the file or the user says so.

    Parameters
    ----------
    path : str
        The file.
    input_shape : tuple[int, ...]
        The shape of the input.
    tensors : Mapping[str, TensorSpec]
        Everything else in it.
    precision, device : str
        As stated; empty where nobody says.
    seed : int, optional
        What was set right before the forward pass.
    made : Mapping[str, str]
        What the metadata says of the making, for a report: device, seed and versions.
    """

    path: str
    input_shape: tuple[int, ...]
    tensors: Mapping[str, TensorSpec]
    precision: str = ""
    device: str = ""
    seed: int | None = None
    made: Mapping[str, str] = field(default_factory=dict)

    @property
    def inner(self) -> tuple[str, ...]:
        """Names of modules whose outputs were saved."""
        return tuple(name.removeprefix(INNER) for name in self.tensors if name.startswith(INNER))


def read_user_outputs(path: str, *, precision: str = "") -> UserOutputs:
    """Read what a user saved.

    Parameters
    ----------
    path : str
        A safetensors file with the tensor ``input`` and at least one output. Its metadata may have ``precision``,
        ``device`` and ``seed``.
    precision : str, optional
        What the user states; it outweighs the metadata.

    Raises
    ------
    UsageError
        Where the input or an output is missing, or something stated is not understood.
    UnreadableCheckpoint
        Where the file cannot be read.
    """
    found = open_checkpoint(path)
    # the worker reads nothing else
    if found.format != "safetensors":
        raise UsageError("is no safetensors file", where=path, fix="save an input and outputs with save_file")
    specs = {name: tensor.spec for name, tensor in found.tensors.items()}
    if INPUT not in specs or len(specs) < 2:
        raise UsageError(f"needs the tensor {INPUT!r} and an output", where=path, fix="save both with save_file")
    # nothing equals nothing: that would pass for a proof
    empty = next((name for name, spec in specs.items() if not spec.elements), None)
    if empty is not None:
        raise UsageError(f"{printable(empty)} holds no numbers", where=path, fix="save an input and outputs with some")
    _refuse_unreal(specs, path)
    metadata = found.metadata or {}
    return UserOutputs(
        path=os.path.abspath(path),
        input_shape=specs.pop(INPUT).shape,
        tensors=specs,
        precision=read_precision(precision, "--expect-precision")
        or read_precision(metadata.get("precision", ""), path),
        device=metadata.get("device", ""),
        seed=_seed(metadata.get("seed", ""), path),
        made={name: printable(metadata[name][:_LONGEST]) for name in _MAKING if metadata.get(name)},
    )


def _refuse_unreal(specs: Mapping[str, TensorSpec], path: str) -> None:
    for name, spec in specs.items():
        if spec.dtype not in _REAL and (name == INPUT or name.startswith(INNER)):
            raise UsageError(
                f"{printable(name)} is {spec.dtype}, and no model here takes or gives that",
                where=path,
                fix=f"save it as one of {', '.join(FLOATS)}",
            )


def refuse_unfit(user: UserOutputs, names: Iterable[str]) -> None:
    """Refuse outputs that no model can have given for the input, whatever its configuration.

    Raises
    ------
    UsageError
        Where one is not of floats, has no axes, or is of another batch than the input.
    """
    for name in names:
        spec, batch = user.tensors[name], user.input_shape[:1]
        if spec.dtype not in FLOATS:
            said, fix = f"is {spec.dtype}", f"save what the model gave, as one of {', '.join(FLOATS)}"
        elif not spec.shape:
            said, fix = "is one number without axes", "save the whole tensor that the model gave"
        elif batch and spec.shape[:1] != batch:
            said = f"holds a batch of {spec.shape[0]}, and the input one of {batch[0]}"
            fix = "save the input and the outputs of one forward pass"
        else:
            continue
        raise UsageError(f"{printable(name)} {said}", where=user.path, fix=fix)


def read_precision(text: str, where: str) -> str:
    """Return the name of a precision, however it is spelled; empty for none.

    Raises
    ------
    UsageError
        Where there is no such precision.

    Examples
    --------
    >>> read_precision("16-mixed", ""), read_precision("TF32", ""), read_precision("", "")
    ('float16', 'tf32', '')
    """
    plain = text.strip().lower()
    found = _SPELLINGS.get(plain, plain)
    if found and found not in STATEABLE:
        raise UsageError(
            f"no precision is called {printable(text)!r}", where=where, fix=f"one of {', '.join(STATEABLE)}"
        )
    return found


def _seed(text: str, path: str) -> int | None:
    if not text:
        return None
    # torch.manual_seed takes 64 bits; 18 digits are always fewer
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise UsageError(f"its metadata gives the seed {printable(text[:40])!r}", where=path, fix="save a whole number")
    return int(text)

"""How outputs that a user saved agree with those of the migrated class: records, filled by `viscy_compat.outputs`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from viscy_compat.named import NamedTuple

PRECISIONS: Final[Mapping[str, str]] = {
    "bytes": "the same bytes",
    "float32": "float32, as another machine, another order of sums or a GPU without TF32 gives it",
    "tf32": "convolutions in TF32, as torch's defaults on a GPU give it",
    "tf32-all": 'convolutions and matrix products in TF32, as set_float32_matmul_precision("high") on a GPU gives it',
    "float16": "float16, as autocast (16-mixed) gives it",
    "bfloat16": "bfloat16, as autocast (bf16-mixed) gives it",
    "float16-model": "a model of float16, as model.half() (16-true) makes it",
    "bfloat16-model": "a model of bfloat16, as model.bfloat16() (bf16-true) makes it",
}
"""What outputs can have been made in, and how a report says it."""

Exclusion = Literal["excluded", "undecided", "fits", "no effect"]


class OutputAgreement(NamedTuple):
    """One output of the user's file.

    ``largest`` is the largest difference, ``scale`` the largest expected value, ``distance`` the relative L2 distance;
    ``left_out`` says why it was not compared.
    """

    name: str
    equal: bool = False
    largest: float = 0.0
    scale: float = 0.0
    distance: float = 0.0
    left_out: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the row as JSON has it."""
        if self.left_out:
            return {"compared": False, "why": self.left_out}
        numbers = {"largest": self.largest, "scale": self.scale, "distance": self.distance}
        return {"compared": True, "equal": self.equal, **numbers}


class Alternative(NamedTuple):
    """Something else that the model could be, and whether the outputs exclude it.

    ``coefficient`` is how much of the way from ours to it the outputs went: 0 is ours, 1 is the alternative. ``spread``
    is how far it can be trusted; ``size`` the distance between ours and the alternative, in the unit of
    `Agreement.distance`.
    """

    what: str
    answer: Exclusion
    coefficient: float = 0.0
    spread: float = 0.0
    size: float = 0.0
    why: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the row as JSON has it."""
        numbers = {"coefficient": self.coefficient, "spread": self.spread, "size": self.size}
        return {"what": self.what, "answer": self.answer, **numbers, **({"why": self.why} if self.why else {})}


class Precision(NamedTuple):
    """What outputs were made in, by emulation.

    Parameters
    ----------
    name : str
        A key of `PRECISIONS`; the nearest one where none explains the outputs.
    stated : bool
        Whether the user, or the metadata of the file, said so.
    ratio, bound : float
        The distance of the outputs from ours, in units of the emulated noise of this precision, and how much is allowed.
    likeness : float
        The cosine between that difference and the emulated one: real noise shares a part of its pattern.
    noise : float
        The emulated noise, as a relative L2 distance.
    others : tuple[str, ...]
        Further precisions that would explain the outputs.
    """

    name: str
    stated: bool = False
    ratio: float = 0.0
    bound: float = 0.0
    likeness: float = 1.0
    noise: float = 0.0
    others: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the row as JSON has it."""
        numbers = {"ratio": self.ratio, "bound": self.bound, "likeness": self.likeness, "noise": self.noise}
        return {"name": self.name, "stated": self.stated, **numbers, "others": list(self.others)}


class Agreement(NamedTuple):
    """How the outputs of one file of a user agree with one checkpoint.

    Parameters
    ----------
    file : str
        The user's file.
    precision : Precision
        What they were made in.
    distance : float
        The relative L2 distance over all outputs that were compared, each in units of its own norm.
    outputs : tuple[OutputAgreement, ...]
        Every output of the class that is in the file.
    missing, extra : tuple[str, ...]
        Outputs of the class that are not in the file; tensors of the file that are no output.
    settled : Mapping[str, Any]
        Arguments that the weights do not tell and the outputs do.
    candidates : tuple[Alternative, ...]
        What became of each configuration that the weights leave open.
    left_open : Mapping[str, tuple[Any, ...]]
        Arguments that the outputs leave open too, with the values that are left.
    alterations : tuple[Alternative, ...]
        Small changes that migrations make, and whether these outputs exclude them.
    begins : str
        The module where a difference begins that no precision explains, where inner outputs were saved.
    refusal : str
        Why the outputs are not those of this model; empty where they may be.
    code : str
        The finding code of the refusal.
    passes : int
        How many forward passes it took.
    made : Mapping[str, str]
        What the file's metadata says of the making: device, seed, versions.
    """

    file: str
    precision: Precision
    distance: float = 0.0
    outputs: tuple[OutputAgreement, ...] = ()
    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    settled: Mapping[str, Any] = {}
    candidates: tuple[Alternative, ...] = ()
    left_open: Mapping[str, tuple[Any, ...]] = {}
    alterations: tuple[Alternative, ...] = ()
    begins: str = ""
    refusal: str = ""
    code: str = ""
    passes: int = 0
    made: Mapping[str, str] = {}

    @property
    def resolution(self) -> float:
        """The distance that rounding may hide: a change of the model that moves outputs by less is not seen as such."""
        return self.precision.bound * self.precision.noise

    @property
    def undecided(self) -> tuple[Alternative, ...]:
        """Alterations that these outputs do not exclude, those among them that do not move them at all."""
        return tuple(row for row in self.alterations if row.answer in ("undecided", "no effect"))

    def to_dict(self) -> dict[str, Any]:
        """Return the ``expect`` object of the JSON."""
        return {
            "file": self.file,
            "agrees": not self.refusal,
            "why": self.refusal,
            "precision": self.precision.to_dict(),
            "distance": self.distance,
            "resolution": self.resolution,
            "outputs": {row.name: row.to_dict() for row in self.outputs},
            "missing": list(self.missing),
            "extra": list(self.extra),
            "settled": dict(self.settled),
            "candidates": [row.to_dict() for row in self.candidates],
            "left_open": {name: list(values) for name, values in self.left_open.items()},
            "alterations": [row.to_dict() for row in self.alterations],
            "begins": self.begins,
            "passes": self.passes,
            "made": dict(self.made),
        }

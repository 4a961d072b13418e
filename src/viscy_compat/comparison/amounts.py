"""How far outputs are apart: the largest difference of each, and relative to what. No torch, no numpy."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from math import inf, isfinite
from pathlib import Path
from typing import Any

from viscy_compat.workers import arrays


@dataclass(frozen=True)
class Amount:
    """How far one output of the candidate is from that of the old class.

    Parameters
    ----------
    output : str
        Its name.
    largest : float
        The largest absolute difference of two elements; infinite where one side is not finite.
    scale : float
        What it is compared with.
    of : str
        What the scale is: the largest value of the old output, or its recorded root mean square.

    Examples
    --------
    >>> print(Amount("projection", 0.003, 0.5))
    projection by up to 0.003, 0.6 % of its largest value 0.5
    >>> print(Amount("projection", 1.43, 1.33))
    projection by up to 1.43, 108 % of its largest value 1.33
    """

    output: str
    largest: float
    scale: float
    of: str = "largest value"

    @property
    def relative(self) -> float:
        """The difference as a part of the scale; infinite where the scale is zero."""
        return self.largest / self.scale if self.scale else inf

    def __str__(self) -> str:
        if not isfinite(self.largest):
            return f"{self.output} is not finite on one side"
        if not self.scale:
            return f"{self.output} by up to {self.largest:.3g}, its {self.of} is 0"
        percent = 100 * self.relative
        # two digits of what is more than all of it would be 1.1e+02
        part = f"{percent:.2g}" if percent < 99.5 else f"{percent:.0f}"
        return f"{self.output} by up to {self.largest:.3g}, {part} % of its {self.of} {self.scale:.3g}"

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON, which knows no infinity."""
        numbers = {"largest": self.largest, "relative": self.relative, "scale": self.scale}
        finite = {name: value if isfinite(value) else None for name, value in numbers.items()}
        return {"output": self.output, **finite, "of": self.of}


def measure(old: str | os.PathLike[str], new: str | os.PathLike[str], mode: str) -> tuple[Amount, ...]:
    """Return how far the outputs are apart that two workers kept; those with equal numbers are left out.

    Parameters
    ----------
    old, new : path
        The files that the workers saved, with ``eval`` or ``train`` among what they kept.
    mode : str
        Which of the two.
    """
    ours, theirs = (arrays.read_arrays(Path(path), prefix=f"{mode}/") for path in (old, new))
    # outputs of other names or sizes are a finding of their own, and cannot be subtracted
    names = [name for name in ours if name in theirs and len(ours[name][1]) == len(theirs[name][1])]
    found = (_amount(name.partition("/")[2], ours[name][1], theirs[name][1]) for name in names)
    return tuple(amount for amount in found if amount.largest)


def worst_of(amounts: Iterable[Amount]) -> float:
    """Return the largest relative difference; 0 where there is none."""
    return max((amount.relative for amount in amounts), default=0.0)


def _amount(name: str, old: array[float], new: array[float]) -> Amount:
    differences = [abs(was - now) for was, now in zip(old, new, strict=True)]
    largest = max(differences, default=0.0)
    # NaN compares with nothing, so it may hide behind the maximum; infinities on both sides make one
    if not isfinite(sum(differences)):
        largest = inf
    return Amount(name, largest, max(map(abs, old), default=0.0))

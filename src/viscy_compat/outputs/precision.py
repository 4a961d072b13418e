"""In which precision outputs were made: the emulated noise that has their size, and a part of their pattern.

Measured on an H100 and an H200 over seven classes: actual divided by emulated noise lies between 0.56 and 1.16, and
the two share their pattern, in part, since weights are rounded alike (a cosine of 0.42 to 0.99 over three classes).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import log
from typing import Final

from viscy_compat.agreement import Precision
from viscy_compat.outputs.differences import Discrepancies

BOUNDS: Final[Mapping[str, float]] = {
    "float32": 8.0,
    **dict.fromkeys(("tf32", "tf32-all", "float16", "bfloat16", "float16-model", "bfloat16-model"), 1.5),
}
"""How much of the emulated noise is allowed. Measured: up to 1.16, and in float32 up to 1.84, where one device may sum in
an order that another never takes, so that sizes say less."""

FLOOR: Final = 2.0**-22
"""The least noise in float32: four roundings. Where the last layer decides, an emulated sum may hit the same number."""

LEAST_LIKENESS: Final = 0.2
"""Noise of this precision shares at least so much of its pattern with the emulated one (measured: 0.42 to 0.99); what
differs by an error of the migration does not."""

LEAST_RATIO: Final = 0.3
"""Outputs of a precision are never nearer to ours than this part of its noise (measured: 0.56), but where float32 explains
them. An inner module may be: what goes into the first layers is rounded less on a GPU than it is emulated, and then the
pattern says nothing."""

_NEAR: Final = 0.05
"""Discrepancies of logarithms of likelihoods, for one number, below which two precisions are both named."""


def find_precision(emulate: Callable[[str], Discrepancies], *, stated: str = "") -> tuple[Precision, bool]:
    """Emulate at most four precisions, and say which one explains the outputs.

    Parameters
    ----------
    emulate : Callable[[str], Discrepancies]
        Runs the model in a precision; what it returns knows all precisions that were emulated so far, by name.
    stated : str, optional
        The precision that is known; then nothing else is tried.

    Returns
    -------
    tuple[Precision, bool]
        The best one, and whether it explains the outputs.
    """
    if stated:
        found = emulate(stated)
        return _precision(found, stated)._replace(stated=True), explains(found, stated)
    found = emulate("float32")
    if explains(found, "float32"):
        return _precision(found, "float32"), True
    emulate("tf32")
    found = emulate("float16")
    # TF32 has the ten bits of float16: what is more than those explain, only the seven of bfloat16 can. Outputs that were
    # saved in bfloat16 are that by 2.4 times alone where the model's own noise is small.
    last = "bfloat16" if _ratio(found, "float16") > BOUNDS["float16"] else "tf32-all"
    found = emulate(last)
    names = ("tf32", "float16", last)
    fits = [name for name in names if explains(found, name) and _ratio(found, name) >= LEAST_RATIO]
    best = max(fits or names, key=lambda name: _score(found, name))
    others = tuple(name for name in fits if name != best and _score(found, name) > _score(found, best) - _NEAR)
    return _precision(found, best)._replace(others=others), bool(fits)


def noise(found: Discrepancies, name: str) -> float:
    """Return the emulated noise of a precision."""
    return max(found.length(name), FLOOR) if name == "float32" else found.length(name)


def explains(found: Discrepancies, name: str) -> bool:
    """Whether the noise of a precision explains how far the outputs are from ours: by its size and by its pattern."""
    ratio = _ratio(found, name)
    if ratio > BOUNDS[name]:
        return False
    return name == "float32" or ratio < LEAST_RATIO or _is_like(found, name)


def _is_like(found: Discrepancies, name: str) -> bool:
    """Whether the pattern is not clearly another one; few numbers say little, and then nothing is held against it."""
    # one standard error: with two, the error of a stem (a weight times 1.01) passed as the rounding of TF32
    projection, ratio = found.projection(name), _ratio(found, name)
    return (projection.coefficient + projection.spread) / ratio >= LEAST_LIKENESS


def _ratio(found: Discrepancies, name: str) -> float:
    size = noise(found, name)
    return found.length() / size if size else float("inf") if found.length() else 0.0


def _precision(found: Discrepancies, name: str) -> Precision:
    return Precision(
        name,
        ratio=_ratio(found, name),
        bound=BOUNDS[name],
        likeness=found.likeness(name),
        noise=noise(found, name),
    )


def _score(found: Discrepancies, name: str) -> float:
    """Return the logarithm of the likelihood for one number, if what is left beside the emulated noise is as large."""
    size = found.length(name) or FLOOR
    left = found.between(name)
    return -log(size) - 0.5 * (left / size) ** 2

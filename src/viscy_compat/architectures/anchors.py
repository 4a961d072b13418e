"""Reading arguments off a layout: shapes, sizes and counts of tensors that may be missing or odd.

Nothing here raises on any layout. Where a layer's weight is missing its bias may tell, and the other way round.
"""

from __future__ import annotations

from viscy_compat.layout import Layout


def anchor(found: Layout, name: str, rank: int) -> tuple[int, ...]:
    """Return the shape of a tensor that should have a number of axes; empty where it is absent or has another rank.

    Examples
    --------
    >>> from viscy_compat.layout import TensorSpec
    >>> anchor({"fc.bias": TensorSpec((8,))}, "fc.bias", 1), anchor({}, "fc.bias", 1)
    ((8,), ())
    """
    spec = found.get(name)
    return spec.shape if spec is not None and len(spec.shape) == rank else ()


def first_size(found: Layout, *names: str, default: int) -> int:
    """Return the first size of the first of some tensors that is there (a weight, its bias), else a default.

    Examples
    --------
    >>> from viscy_compat.layout import TensorSpec
    >>> first_size({"fc.bias": TensorSpec((8,))}, "fc.weight", "fc.bias", default=1)
    8
    """
    shapes = (found[name].shape for name in names if name in found)
    return next((shape[0] for shape in shapes if shape), default)


def count(found: Layout, *patterns: str) -> int:
    """Return how many numbers from 0 on stand in a pattern, one tensor of several being enough for each.

    One number that lacks before others is counted: a layer that was lost is no end.

    Examples
    --------
    >>> from viscy_compat.layout import TensorSpec
    >>> count({"a.0.w": TensorSpec(()), "a.1.b": TensorSpec(()), "a.3.w": TensorSpec(())}, "a.{}.w", "a.{}.b")
    4
    """
    number = last = 0
    while number <= last + 1:
        number += 1
        if any(pattern.format(number - 1) in found for pattern in patterns):
            last = number
    return last


def parts(layer: str) -> tuple[str, str]:
    """Return the names of a layer's tensors that have its width as first size.

    Examples
    --------
    >>> parts("fc")
    ('fc.weight', 'fc.bias')
    """
    return f"{layer}.weight", f"{layer}.bias"

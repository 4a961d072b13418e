"""Shapes without names: what a file whose attributes were renamed still shows of its class.

A *bag* counts the shapes of a layout. Tensors without axes are left out: they are batch counters, which a file may lack.
Each class has sketches: configurations that a bag could have come from. They are guesses; `structure` accepts one only if
its layout has exactly the bag of the file.
"""

from __future__ import annotations

from viscy_compat.annotations import TYPE_CHECKING, Any, Iterable, Iterator
from viscy_compat.layout import TensorSpec

if TYPE_CHECKING:
    from collections import Counter

    Bag = Counter["Shape"]
else:
    # its class is imported where the first bag is made: names tell most files, and no bag is
    Bag = Any

Shape = tuple[int, ...]


class TooManyWays(Exception):
    """A bag allows so many configurations that they cannot all be looked at; none of them is then the answer."""


def spend(ways: Iterator[int]) -> None:
    """Take one of a number of ways to try; raises `TooManyWays` where there are no more.

    Examples
    --------
    >>> spend(iter(range(1)))
    """
    if next(ways, None) is None:
        raise TooManyWays


def bag_of(specs: Iterable[TensorSpec]) -> Bag:
    """Count the shapes of some tensors.

    Examples
    --------
    >>> bag_of([TensorSpec((2,)), TensorSpec((2,)), TensorSpec((), "int64")])
    Counter({(2,): 2})
    """
    from collections import Counter

    return Counter(spec.shape for spec in specs if spec.shape)


def without(bag: Bag, entries: Iterable[tuple[str, TensorSpec]]) -> Bag | None:
    """Return what is left of a bag once the shapes of some tensors are taken out; None where it lacks one.

    Examples
    --------
    >>> from collections import Counter
    >>> without(Counter({(2,): 2}), [("a", TensorSpec((2,)))]), without(Counter(), [("a", TensorSpec((2,)))])
    (Counter({(2,): 1}), None)
    """
    return taken(bag, *(spec.shape for _, spec in entries if spec.shape))


def taken(bag: Bag, *shapes: Shape) -> Bag | None:
    """Return what is left of a bag without some shapes; None where it lacks one.

    Examples
    --------
    >>> from collections import Counter
    >>> taken(Counter({(2,): 1}), (2,), (2,)) is None
    True
    """
    rest = bag.copy()
    rest.subtract(shapes)
    return +rest if all(rest[shape] >= 0 for shape in shapes) else None


def of_rank(bag: Bag, rank: int) -> list[Shape]:
    """Return the different shapes with a number of axes, sorted.

    Examples
    --------
    >>> from collections import Counter
    >>> of_rank(Counter({(2, 3): 2, (1, 2): 1, (4,): 1}), 2)
    [(1, 2), (2, 3)]
    """
    return sorted(shape for shape in bag if len(shape) == rank)


def count_of_rank(bag: Bag, rank: int) -> int:
    """Return how many tensors have a number of axes.

    Examples
    --------
    >>> from collections import Counter
    >>> count_of_rank(Counter({(2, 3): 2, (1, 2): 1, (4,): 1}), 2)
    3
    """
    return sum(count for shape, count in bag.items() if len(shape) == rank)


def two_layers(bag: Bag, inputs: int) -> Iterator[tuple[int, int]]:
    """Yield the hidden and the last width of two linear layers behind some inputs.

    Examples
    --------
    >>> from collections import Counter
    >>> list(two_layers(Counter({(4, 8): 1, (2, 4): 1}), 8))
    [(4, 2)]
    """
    for hidden, width in of_rank(bag, 2):
        for outputs, between in of_rank(bag, 2):
            if width == inputs and between == hidden and taken(bag, (hidden, width), (outputs, between)) is not None:
                yield hidden, outputs

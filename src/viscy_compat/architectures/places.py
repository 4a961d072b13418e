"""Where among many names a class may stand: below any prefix, or without its own first name.

The telling names of a class end the names of a file that holds it, whatever stands in front of them, so no list of
prefixes is needed. A place is a guess: `viscy_compat.architectures.inference.infer` accepts or refuses what is there.
"""

from __future__ import annotations

from viscy_compat.annotations import Collection, Iterator
from viscy_compat.architectures import CLASSES, ClassRow
from viscy_compat.named import NamedTuple

_MOST = 24
"""Places in a file that are looked into: what a callback keeps lies in the first few, a hostile file may nest thousands."""


class Place(NamedTuple):
    """A class, the prefix below which it may stand, and what its names lack there (their common first name)."""

    known: ClassRow
    prefix: str
    lacks: str = ""

    @property
    def witness(self) -> str:
        """The first telling name, as the file has it."""
        return self.prefix + self.known.telling[0][len(self.lacks) :]


def places_of(names: Collection[str], class_name: str = "") -> list[Place]:
    """Return the places where all telling names of a class are, complete names first, then the innermost first.

    Parameters
    ----------
    names : Collection[str]
        The names of a state dict; looked up often, so a set or a dictionary.
    class_name : str, optional
        The only class that is looked for.

    Examples
    --------
    >>> names = {"ema.model.mu.weight", "ema.model.decodeL.weight", "mu.weight", "decodeL.weight"}
    >>> [(place.known.name, place.prefix, place.lacks) for place in places_of(names)]
    [('BetaVaeMonai', 'ema.', ''), ('BetaVaeMonai', 'ema.model.', 'model.'), ('BetaVaeMonai', '', 'model.')]
    """
    asked = [row for row in CLASSES if row.telling and row.name == (class_name or row.name)]
    rows = [row._replace(telling=names) for row in asked for names in row.marks]
    guesses = [(row, lacks) for row in rows for lacks in dict.fromkeys(("", first_name(row)))]
    tails = tuple({row.telling[0][len(lacks) :] for row, lacks in guesses})
    telling = [name for name in names if name.endswith(tails)]
    found = [place for row, lacks in guesses for place in _places(row, lacks, telling, names)]
    return sorted(found, key=lambda place: (bool(place.lacks), -len(place.prefix)))[:_MOST]


def _places(row: ClassRow, lacks: str, telling: list[str], names: Collection[str]) -> Iterator[Place]:
    first, *others = (name[len(lacks) :] for name in row.telling)
    for name in telling:
        prefix = name.removesuffix(first)
        whole = len(prefix) < len(name) and (not prefix or prefix.endswith("."))
        if whole and all(prefix + other in names for other in others):
            yield Place(row, prefix, lacks)


def first_name(row: ClassRow) -> str:
    """Return the first name that all telling names of a class share, with its dot; empty where there is none.

    Examples
    --------
    >>> [first_name(row) for row in CLASSES if row.name in ("BetaVaeMonai", "Unet2d")]
    ['model.', '']
    """
    firsts = {name.partition(".")[0] for name in row.telling}
    return f"{firsts.pop()}." if len(firsts) == 1 else ""

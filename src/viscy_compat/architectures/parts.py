"""Whose part a state dict is that no class accepts: an encoder that was saved alone, a half of an autoencoder.

Only names are compared: shapes of a part show too little of a configuration to build the rest of it.
"""

from __future__ import annotations

from viscy_compat.annotations import Collection, Final, Iterator
from viscy_compat.architectures import CLASSES, find
from viscy_compat.architectures.architecture import Architecture, complete
from viscy_compat.errors import Unbuildable
from viscy_compat.named import NamedTuple

_FEWEST: Final = 4
"""Names below which it may be chance: any block of torch has a weight and a bias."""
_LARGEST: Final = 1_000
"""Names above which it is no part: the largest class has four hundred, and all are built to be compared."""
_CASES: Final = 4
"""Recorded configurations of a generation that are looked at: among the first are all backbones and depths."""


class Whole(NamedTuple):
    """A class that has all names of a file behind ``prefix``, and ``missing`` besides, in its nearest case."""

    class_name: str
    prefix: str
    missing: tuple[str, ...]


def wholes_of(names: Collection[str], class_name: str = "") -> list[Whole]:
    """Return each class that has all of these names, the one with the fewest others first.

    Examples
    --------
    >>> names = [f"encode.encode_0.{name}" for name in ("conv.weight", "conv.bias", "adn.A.weight")]
    >>> (whole,) = wholes_of([*names, "encode.encode_1.conv.weight"])
    >>> whole.class_name, whole.prefix, "model.mu.weight" in whole.missing
    ('BetaVaeMonai', 'model.', True)
    """
    if not _FEWEST <= len(names) <= _LARGEST:
        return []
    rows = (row for row in CLASSES if class_name in ("", row.name))
    nearest = (min(_wholes(names, find(row.name)), key=_count_missing, default=None) for row in rows)
    return sorted((whole for whole in nearest if whole is not None), key=_count_missing)


def _count_missing(whole: Whole) -> int:
    return len(whole.missing)


def _wholes(names: Collection[str], architecture: Architecture) -> Iterator[Whole]:
    for generation in reversed(architecture.generations):
        for case in (generation.cases or architecture.cases)[:_CASES]:
            try:
                layout = generation.layout(complete(architecture, case.config))
            except Unbuildable:
                continue
            # an encoder that was taken out of the model has lost the model's name for it; of several equal blocks nobody knows
            # which one it was
            prefixes = dict.fromkeys(("", *(f"{name.partition('.')[0]}." for name in layout)))
            fitting = [prefix for prefix in prefixes if all(prefix + name in layout for name in names)]
            if fitting[:1] == [""] or len(fitting) == 1:
                missing = layout.keys() - {fitting[0] + name for name in names}
                yield Whole(architecture.name, fitting[0], tuple(name for name in layout if name in missing))


def beginnings(missing: Collection[str], present: Collection[str]) -> list[str]:
    """Return the shortest beginnings of the missing names that no name in the file has.

    Examples
    --------
    >>> beginnings(["a.mu.weight", "a.mu.bias", "b.weight"], ["a.encode.weight"])
    ['a.mu.*', 'b.*']
    """
    heads = {head for name in present for head in _heads(name)}
    return list(
        dict.fromkeys(next((f"{head}.*" for head in _heads(name) if head not in heads), name) for name in missing)
    )


def _heads(name: str) -> list[str]:
    words = name.split(".")
    return [".".join(words[:count]) for count in range(1, len(words))]

"""Whether outputs exclude something else that a model could be: by projection on the way from ours to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import sqrt
from typing import Any, Final

from viscy_compat.agreement import Alternative
from viscy_compat.outputs.differences import Discrepancies

CERTAIN: Final = 4.0
"""Spreads that separate what is excluded from what is not: with four of them, none of the alterations that were not made
is taken for made in what an H100 gave (three classes in five modes, tests/outputs/test_gpu_outputs.py)."""

LEAST_SPREAD: Final = 0.05
"""The least spread, in units of the residual over the direction: a cosine of 0.05 is what 400 independent numbers give by
chance. Neighbouring outputs are no independent numbers."""

_HALF: Final = 0.5
"""The coefficient is 0 if ours is right and 1 if the other is: this is the middle."""


def judge_alternative(found: Discrepancies, label: str, what: str, emulated: Iterable[str]) -> Alternative:
    """Say whether the outputs exclude an alternative.

    Parameters
    ----------
    found : Discrepancies
        With the alternative under its label.
    label, what : str
        The label, and what a report calls it.
    emulated : Iterable[str]
        Labels of emulated noise: each says how far noise of that size may lie in this direction by chance.
    """
    size, residual = found.length(label), found.length()
    if not size:
        return Alternative(what, "no effect")
    projection = found.projection(label)
    if not residual:
        return Alternative(what, "excluded", size=size)
    # how far noise of the residual's size lies in this direction by chance: the root mean square over what was emulated
    noises = [noise for noise in emulated if found.length(noise)]
    parts = [found.projection(label, noise).coefficient * residual / found.length(noise) for noise in noises]
    chance = sqrt(sum(part * part for part in parts) / max(1, len(parts)))
    spread = max(projection.spread, chance, LEAST_SPREAD * residual / size)
    coefficient = projection.coefficient
    if coefficient >= _HALF and coefficient >= CERTAIN * spread:
        answer = "fits"
    elif 1 - coefficient >= CERTAIN * spread and abs(coefficient) < max(CERTAIN * spread, LEAST_SPREAD):
        answer = "excluded"
    else:
        answer = "undecided"
    return Alternative(what, answer, coefficient=coefficient, spread=spread, size=size)  # type: ignore[arg-type]


def name_alteration(change: Mapping[str, Any]) -> str:
    """Say what an alteration of `viscy_compat.workers.program.emulation` is.

    Examples
    --------
    >>> name_alteration({"kind": "eps", "type": "LayerNorm", "from": 1e-06, "to": 1e-05, "modules": 18})
    'eps of 18 LayerNorm: 1e-05 instead of 1e-06'
    >>> name_alteration({"kind": "swap", "at": ["blocks.0", "blocks.1"], "of": 1})
    'blocks.0 and blocks.1, which are alike, exchanged'
    """
    kind = change["kind"]
    if kind == "eps":
        return f"eps of {change['modules']} {change['type']}: {change['to']:g} instead of {change['from']:g}"
    if kind == "swap":
        return f"{change['at'][0]} and {change['at'][1]}, which are alike, exchanged"
    words = {
        "gelu": "GELU by the other formula (tanh or erf)",
        "bias": f"no bias in {change.get('at')}",
        "channels": f"the first two channels of {change.get('at')} exchanged",
        "input": "the first two channels of the input exchanged",
    }
    return words[kind]


_UNTRIED: Final = {
    "bias": "no bias in one of the {} layers that were not tried",
    "swap": "two layers exchanged that are alike, one of {} pairs that were not tried",
    "channels": "two channels exchanged in one of the {} layers that were not tried, or other two in those that were",
}


HIDDEN: Final = "momentum"
"""The kind of alteration that no outputs of eval mode show."""


def untried(changes: Iterable[Mapping[str, Any]], *, exact: bool = False) -> Iterator[Alternative]:
    """Yield what a sample of layers says nothing about, where outputs are not `exact`, and what eval mode does not show.

    Examples
    --------
    >>> rows = [{"kind": "bias", "at": "a", "of": 3}, {"kind": "gelu"}, {"kind": "momentum", "modules": 2}]
    >>> [row.what for row in untried(rows)]
    ['momentum of 2 norms, which only training shows', 'no bias in one of the 2 layers that were not tried']
    >>> len([*untried(rows, exact=True)])
    1
    """
    rows = list(changes)
    for row in rows:
        if row["kind"] == HIDDEN:
            what = f"momentum of {row['modules']} norms, which only training shows"
            yield Alternative(what, "undecided", why="not visible")
    if exact:
        return
    for kind, words in _UNTRIED.items():
        counts = [row["of"] for row in rows if row["kind"] == kind]
        if counts and (kind == "channels" or counts[0] > len(counts)):
            yield Alternative(words.format(counts[0] - len(counts)), "undecided", why="not tried")

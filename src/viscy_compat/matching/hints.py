"""Hints: what the user knows about renamed tensors and modules, as anchored patterns.

``OLD=NEW`` states that the tensor or module OLD of the source is NEW in the target. Both are whole dotted paths from
the start of the name. ``{i}`` stands for one whole number, ``*`` for one whole part or what is left of it; NEW may
say ``{i+1}``. ``OLD=`` states that the target has no place for OLD, which must carry no weights.
"""

from __future__ import annotations

import re
from itertools import pairwise

from viscy_compat.annotations import Iterable, Mapping, Sequence
from viscy_compat.errors import UsageError
from viscy_compat.layout import printable
from viscy_compat.matching.name_tree import parts_of
from viscy_compat.named import NamedTuple

_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(?:([+-])([0-9]{1,9}))?\}|(\*)")


class Hint(NamedTuple):
    """One hint, as it was given and taken apart.

    ``new`` is empty where the tensor is to be dropped.
    """

    text: str
    old: re.Pattern[str]
    new: str


class Placed(NamedTuple):
    """Where hints send paths of the source: ``moves`` maps a path to its target path, None where it is dropped."""

    moves: Mapping[str, str | None]


def parse_hint(text: str) -> Hint:
    """Read a hint.

    Raises
    ------
    UsageError
        If it has no ``=``, an empty OLD, braces that make no placeholder, or a NEW with a placeholder that OLD lacks.

    Examples
    --------
    >>> hint = parse_hint("stages_{i}.norm=stage.{i+1}.ln")
    >>> destination(hint, "stages_2.norm"), destination(hint, "model.stages_2.norm")
    ('stage.3.ln', None)
    """
    old, equals, new = text.partition("=")
    if not equals or not old:
        raise UsageError(
            "a hint is OLD=NEW", where=f"--hint {printable(text)}", fix="OLD= drops what carries no weights"
        )
    names = [match[1] or "*" for match in _PLACEHOLDER.finditer(old)]
    needs = [match[1] or "*" for match in _PLACEHOLDER.finditer(new)]
    loose = _PLACEHOLDER.sub("", old + new)
    if "{" in loose or "}" in loose or any(match[2] for match in _PLACEHOLDER.finditer(old)):
        raise UsageError("braces hold one name, as {i}", where=f"--hint {printable(text)}", fix="{i+1} only in NEW")
    if not set(needs) <= set(names) or needs.count("*") > names.count("*"):
        raise UsageError("NEW has a placeholder that OLD lacks", where=f"--hint {printable(text)}")
    return Hint(text, _compile(old), new)


def destination(hint: Hint, path: str) -> str | None:
    """Return the path that a hint sends a path to, or None where the hint is not about it."""
    match = hint.old.fullmatch(path)
    return None if match is None else _fill(hint.new, match)


def dropped_by(hints: Sequence[str], names: Iterable[str]) -> set[str]:
    """Return the tensors that hints drop, themselves or with a module that they are in.

    Examples
    --------
    >>> sorted(dropped_by(["a.{i}=", "b=c"], ["a.0.w", "a.1.w", "a.w", "b"]))
    ['a.0.w', 'a.1.w']
    """
    drops = [hint for hint in map(parse_hint, hints) if not hint.new]
    # a name has as many modules as a tree of names looks at, so that a hostile one costs no more than an honest one
    ways_up = {name: [".".join(parts_of(name)[:end]) for end in range(1, len(parts_of(name)) + 1)] for name in names}
    return {
        name for name, paths in ways_up.items() if any(hint.old.fullmatch(path) for hint in drops for path in paths)
    }


def place(hints: Sequence[str], paths: Iterable[str], targets: frozenset[str]) -> Placed:
    """Apply hints to every path of the source.

    Parameters
    ----------
    hints : Sequence[str]
        As given on the command line.
    paths : Iterable[str]
        The paths of every tensor and module of the source.
    targets : frozenset[str]
        The paths of every tensor and module of the target.

    Raises
    ------
    UsageError
        If a hint fits nothing, names a target path that does not exist, or contradicts another.

    Examples
    --------
    >>> dict(place(["a.{i}=b.{i}"], ["a", "a.0", "a.1", "c.a.0"], frozenset(["b.0", "b.1"])).moves)
    {'a.0': 'b.0', 'a.1': 'b.1'}
    """
    moves: dict[str, str | None] = {}
    for hint in map(parse_hint, hints):
        _place_one(hint, paths := list(paths), targets, moves)
    targets_hit = sorted(new for new in moves.values() if new is not None)
    twice = next((new for new, other in pairwise(targets_hit) if new == other), None)
    if twice is not None:
        raise UsageError(f"two tensors or modules would become {printable(twice)}", where="--hint")
    return Placed(moves)


def _place_one(hint: Hint, paths: list[str], targets: frozenset[str], moves: dict[str, str | None]) -> None:
    where, fits = f"--hint {printable(hint.text)}", False
    for path in paths:
        new = destination(hint, path)
        if new is None:
            continue
        fits = True
        if new and new not in targets:
            raise UsageError(f"the target has no {printable(new)}", where=where, fix="hints are anchored: whole paths")
        # two hints may say the same of one path, but not two things
        if moves.setdefault(path, new or None) != (new or None):
            raise UsageError(f"another hint sends {printable(path)} elsewhere", where=where)
    if not fits:
        raise UsageError(
            "no tensor or module of the file has this name", where=where, fix="hints are anchored: whole paths"
        )


def _compile(pattern: str) -> re.Pattern[str]:
    expression, end, names = "", 0, set[str]()
    for match in _PLACEHOLDER.finditer(pattern):
        name = match[1]
        # a name that stands twice must be the same number both times; nine digits keep int() cheap
        group = r"([^.]+)" if name is None else f"(?P={name})" if name in names else f"(?P<{name}>[0-9]{{1,9}})"
        names.update([name] if name else [])
        expression += re.escape(pattern[end : match.start()]) + group
        end = match.end()
    return re.compile(expression + re.escape(pattern[end:]))


def _fill(new: str, match: re.Match[str]) -> str | None:
    numbers = match.groupdict()
    # groups without a name are the stars, which fill those of NEW in their order
    places = set(match.re.groupindex.values())
    stars = iter([text for index, text in enumerate(match.groups(), 1) if index not in places])

    def fill(placeholder: re.Match[str]) -> str:
        if placeholder[1] is None:
            return next(stars)
        step = int(placeholder[3] or 0) * (-1 if placeholder[2] == "-" else 1)
        return str(int(numbers[placeholder[1]]) + step) if placeholder[2] else numbers[placeholder[1]]

    return _PLACEHOLDER.sub(fill, new)

"""Two constructors, compared: what old calls would mean something else now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from viscy_compat.comparison.failures import Failure, with_lists
from viscy_compat.workers.answers import Parameter


def signature_failures(old: Sequence[Parameter], new: Sequence[Parameter]) -> Iterator[Failure]:
    """Say what old calls of the constructor would mean something else now; arguments added at the end are fine.

    Examples
    --------
    >>> old = (Parameter("width", "POSITIONAL_OR_KEYWORD", True, 4),)
    >>> new = (Parameter("width", "POSITIONAL_OR_KEYWORD", True, 8),)
    >>> [failure.message for failure in signature_failures(old, new)]
    ['argument 1 was width=4 and is width=8']
    """
    known = [row for row in new if not row.kind.startswith("VAR_")]
    for place, was in enumerate(row for row in old if not row.kind.startswith("VAR_")):
        now = known[place] if place < len(known) else None
        # the place counts as well as the name: old calls give arguments by place, old configurations by name
        if (
            now is None
            or (now.name, now.kind, now.optional) != (was.name, was.kind, was.optional)
            or with_lists(now.default) != with_lists(was.default)
        ):
            yield Failure("VC311", f"argument {place + 1} was {was} and is {now or 'gone'}", keys=(was.name,))
    for row in known[len([row for row in old if not row.kind.startswith("VAR_")]) :]:
        if not row.optional:
            yield Failure("VC311", f"{row.name} is a new argument without a default", keys=(row.name,))
    if {row.kind for row in old if row.kind.startswith("VAR_")} - {row.kind for row in new}:
        yield Failure("VC311", "further keyword arguments are not taken any more")

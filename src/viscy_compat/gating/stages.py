"""Every stage that there is, in the order in which they run: what costs seconds first."""

from __future__ import annotations

from collections.abc import Iterable

from viscy_compat.gating import examination, keeping, layouts, promises, remapping, samples, verification
from viscy_compat.gating.stage import Kind, Stage

STAGES = (
    Stage(
        samples.NAME, "static", "files of every generation are taken for what they are", samples.judged, builds=False
    ),
    Stage(
        promises.NAME,
        "static",
        "public names and constructors are those of the old classes",
        promises.judged,
        builds=False,
    ),
    Stage(layouts.NAME, "static", "names, order, shapes and dtypes are those of old checkpoints", layouts.judged),
    Stage(verification.NAME, "numeric", "old and new classes give the same bytes", verification.judged),
    Stage(remapping.NAME, "numeric", "old checkpoints, remapped, give the same outputs", remapping.judged, True),
    Stage(keeping.NAME, "numeric", "classes of your own are what was recorded", keeping.judged, strangers=True),
    Stage(examination.NAME, "numeric", "the laws of shapes hold for drawn cases", examination.judged, True),
)


def chosen(kinds: Iterable[Kind] = ("static", "numeric")) -> tuple[Stage, ...]:
    """Return the stages of the given kinds.

    Examples
    --------
    >>> [stage.name for stage in chosen(["static"])]
    ['check', 'interface', 'layouts']
    """
    wanted = set(kinds)
    return tuple(stage for stage in STAGES if stage.kind in wanted)

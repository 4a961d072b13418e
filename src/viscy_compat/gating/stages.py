"""Every stage that there is, in the order in which they run: what costs seconds first."""

from __future__ import annotations

from collections.abc import Iterable

from viscy_compat.gating import check, explore, interface, layouts, recorded, remap, verify
from viscy_compat.gating.stage import Stage, StageKind

STAGES = (
    Stage(
        name=check.NAME,
        kind="static",
        what="files of every generation are taken for what they are",
        run=check.run,
        builds=False,
    ),
    Stage(
        name=interface.NAME,
        kind="static",
        what="public names and constructors are those of the old classes",
        run=interface.run,
        builds=False,
    ),
    Stage(
        name=layouts.NAME,
        kind="static",
        what="names, order, shapes and dtypes are those of old checkpoints",
        run=layouts.run,
    ),
    Stage(
        name=verify.NAME,
        kind="numeric",
        what="old and new classes give the same bytes",
        run=verify.run,
    ),
    Stage(
        name=remap.NAME,
        kind="numeric",
        what="old checkpoints, remapped, give the same outputs",
        run=remap.run,
        runs_old_code=True,
    ),
    Stage(
        name=recorded.NAME,
        kind="numeric",
        what="classes of your own are what was recorded",
        run=recorded.run,
        strangers=True,
    ),
    Stage(
        name=explore.NAME,
        kind="numeric",
        what="the laws of shapes hold for drawn cases",
        run=explore.run,
        runs_old_code=True,
    ),
)


def stages_of(kinds: Iterable[StageKind] = ("static", "numeric")) -> tuple[Stage, ...]:
    """Return the stages of the given kinds.

    Examples
    --------
    >>> [stage.name for stage in stages_of(["static"])]
    ['check', 'interface', 'layouts']
    """
    kind_set = set(kinds)
    return tuple(stage for stage in STAGES if stage.kind in kind_set)

"""What becomes of the other sets of weights in a file, when one of them is remapped.

Nothing is left behind in an older layout unseen: a sibling of the same layout is migrated by the same plan, one of
another older layout by the plan of its own generation, and what has no plan is left out and named. What is of today's
layout, or of no known class, is kept as it is. Each sibling keeps its own prefix, but for the one that all share.
"""

from __future__ import annotations

from viscy_compat.annotations import Any, Iterable, Literal
from viscy_compat.checkpoint.facts import Checkpoint
from viscy_compat.diagnosis.several import is_copy
from viscy_compat.diagnosis.weight_set import SetChoice, WeightSet
from viscy_compat.errors import PlanRefused
from viscy_compat.named import NamedTuple
from viscy_compat.plans.maker import known_plan, sources_of_view
from viscy_compat.plans.plan import Plan
from viscy_compat.rewrite.write import OutputSet

Scope = Literal["", "all", "chosen"]
"""Which sets the output holds; empty for the default: all where the chosen one is the usual one, else it alone."""

FateOutcome = Literal["migrated", "kept", "left out"]

_COUNTERS = ("averaging_state",)
"""What Lightning's `WeightAveraging` keeps beside the two states, and reads only where both are there."""


class Fate(NamedTuple):
    """A set of weights besides the chosen one, what becomes of it, and why; ``part`` is what is written of it."""

    row: WeightSet
    outcome: FateOutcome
    why: str
    part: OutputSet | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the entry of ``sets`` in the JSON of `remap`."""
        inference = self.row.inference
        return {
            "state_dict": self.row.address,
            "class": inference.architecture.name if inference else None,
            "generation": inference.generation.name if inference else None,
            "tensors": len(self.row.view.keys),
            "outcome": self.outcome,
            "why": self.why,
        }


def fates_of(choice: SetChoice | None, plan: Plan, prefix: str, *, scope: Scope, holds: str) -> tuple[Fate, ...]:
    """Return what becomes of every set but the chosen one.

    Parameters
    ----------
    choice : SetChoice or None
        The sets of the file, and the chosen one.
    plan : Plan
        That of the chosen one.
    prefix : str
        What stands in front of its names in the output.
    scope : {"all", "chosen"}
        Which sets the output shall hold.
    holds : str
        Why the output cannot hold more than one set; empty where it can.
    """
    if choice is None or choice.pick is None:
        return ()
    pick = choice.pick
    others = [row for row in choice.sets if row is not pick]
    if holds or scope == "chosen":
        why = holds or f"the output holds {pick.address!r} alone; --sets all keeps the others"
        return tuple(Fate(row, "left out", why) for row in others)
    return tuple(_fate(row, pick, plan, prefix) for row in others)


def _fate(row: WeightSet, pick: WeightSet, plan: Plan, prefix: str) -> Fate:
    """Return what becomes of a set in an output that holds all of them."""
    # in one state dict two sets with one prefix would have the same names
    within = row.checkpoint.site == pick.checkpoint.site
    if within and row.view.prefix == pick.view.prefix:
        return Fate(row, "left out", "in the new file its names would be those of the chosen set")
    out = prefix if row.view.prefix == pick.view.prefix else row.view.prefix
    if row.layout == pick.layout:
        return Fate(row, outcome="migrated", why="the same layout, by the same plan", part=_part(row, plan, out))
    if row.inference is None:
        why = "it shares a state dict with the chosen set, and is of no known class"
        return Fate(row, "left out", why) if within else Fate(row, "kept", "it is of no known class")
    try:
        own = known_plan(row.checkpoint, row.view, row.inference)
    except PlanRefused as error:
        return Fate(row, "left out", f"{row.inference.generation.name} has no plan to today's layout: {error.message}")
    # a state dict that is written anew has to have all its sets written
    if not own.changes and not within:
        return Fate(row, "kept", "it has today's layout")
    return Fate(row, outcome="migrated", why="by the plan of its own layout", part=_part(row, own, out))


def _part(row: WeightSet, plan: Plan, prefix: str) -> OutputSet:
    keys = sources_of_view(row.checkpoint, row.view).keys
    return OutputSet(
        row.checkpoint, keys=keys, plan=plan, prefix=prefix, source_prefix=row.view.prefix, site=row.checkpoint.site
    )


def scope_of(scope: Scope, checkpoint: Checkpoint, choice: SetChoice | None) -> Scope:
    """Return which sets the output holds: where the chosen one is not what loaders take, it alone."""
    if scope:
        return scope
    return "all" if checkpoint.base is None and checkpoint.site == usual_site(checkpoint, choice) else "chosen"


def usual_site(checkpoint: Checkpoint, choice: SetChoice | None) -> str:
    """Return the path of the state dict that loaders take from a file, where nothing else is asked for.

    Where nobody can know which one that is (`model` beside `ema`), it is the place that every loader looks at first: a
    set that was chosen there opens without being stated again.
    """
    paths = [site.path for site in checkpoint.sites]
    path = next((path for path in ("state_dict", "") if path in paths), None)
    if path is not None:
        return path
    # a number that tells two places of one path apart is gone with the other one
    same, _, number = checkpoint.site.rpartition("#")
    if same in paths and number.isdigit():
        return "state_dict"
    pick = choice.pick if choice else None
    if choice is None or pick is None:
        return checkpoint.site
    elsewhere = (row for row in choice.sets if row.checkpoint.site != pick.checkpoint.site)
    # rivals of the chosen set: what could be meant as well, and is not the same bytes
    rivals = (row for row in elsewhere if (row.inference or row.likely) and not is_copy(row, pick))
    return "state_dict" if any(rivals) else checkpoint.site


def left_sites(fates: Iterable[Fate], checkpoint: Checkpoint, site: str) -> tuple[str, ...]:
    """Return the paths of state dicts that the output does not have; ``site`` is where its chosen set stands."""
    rows = list(fates)
    sites_left = {fate.row.checkpoint.site for fate in rows if fate.outcome == "left out"}
    sites_kept = {site, *(fate.row.checkpoint.site for fate in rows if fate.outcome != "left out")}
    sites_gone = {*sites_left, checkpoint.site} - sites_kept
    if "current_model_state" in sites_gone:
        sites_gone.update(_COUNTERS)
    return tuple(sorted(sites_gone))

"""What ``load_state_dict(strict=True)`` does with a file of a known class, told from what the file holds.

torch refuses every name that the class does not have, entries that are no tensors among them, and every name that is
missing; but for batch counters where the state dict does not say that its batch norms had one.
"""

from __future__ import annotations

from viscy_compat.annotations import Iterable
from viscy_compat.architectures.inference import Inference
from viscy_compat.checkpoint.facts import Checkpoint, View
from viscy_compat.checkpoint.plain import plain
from viscy_compat.findings import Finding
from viscy_compat.layout import fold, spell_count
from viscy_compat.plans.maker import fills_counters_alone
from viscy_compat.plans.plan import Plan, list_leftovers

_SHOWN = 4
"""Entries in a sentence, with their values; the finding's keys name all of them."""


def loads_strictly(checkpoint: Checkpoint, view: View, inference: Inference, plan: Plan | None) -> bool:
    """Whether the migrated class loads a file strictly, dtypes kept, once the wrapper prefix is taken off.

    Stricter than torch in one thing: torch would cast tensors of another dtype in silence.
    """
    if plan is None or checkpoint.extras or not fills_counters_alone(plan):
        return False
    return not inference.uncounted or not _insists(checkpoint, view, inference)


def about_counters(checkpoint: Checkpoint, view: View, inference: Inference) -> list[Finding]:
    """Say which batch counters are missing, and whether torch minds."""
    if not inference.uncounted:
        return []
    names = tuple(fold(inference.uncounted))
    message = spell_count(len(inference.uncounted), "batch counter", "is", "are") + " missing"
    if _insists(checkpoint, view, inference):
        return [
            Finding(
                "VC109", f"{message}, and the state dict says that its batch norms had them: torch refuses", keys=names
            )
        ]
    return [Finding("VC108", f"{message}; torch starts them at 0, and no prediction depends on them", keys=names)]


def about_entries(checkpoint: Checkpoint) -> list[Finding]:
    """Say which entries of the state dict are no tensors: torch takes them for names that the class does not have."""
    if not checkpoint.extras:
        return []
    some = [f"{name}={plain(node, most=8)!a:.40}" for name, node in list(checkpoint.extras.items())[:_SHOWN]]
    more = ", ..." if len(checkpoint.extras) > _SHOWN else ""
    is_one = len(checkpoint.extras) == 1
    what, them = ("is no tensor", "it") if is_one else ("are no tensors", "them")
    count = spell_count(len(checkpoint.extras), "entry")
    message = f"{count} of the state dict {what} ({', '.join(some)}{more})"
    fate = f"a strict load refuses {them}, a remap leaves {them} out"
    return [Finding("VC110", f"{message}; {fate}", keys=tuple(checkpoint.extras))]


def about_leftovers(leftovers: Iterable[tuple[str, str]]) -> list[Finding]:
    """Say which tensors keep a file from a total plan, each with its reason."""
    rows = tuple(leftovers)
    if not rows:
        return []
    return [
        Finding(
            "VC113", f"no total plan: {list_leftovers(rows)}", keys=tuple(fold(dict.fromkeys(name for name, _ in rows)))
        )
    ]


def _insists(checkpoint: Checkpoint, view: View, inference: Inference) -> bool:
    from viscy_compat.checkpoint.module_versions import insists_on_counters

    modules = [name.rpartition(".")[0] for name in inference.uncounted]
    paths = [(module, view.keys.get(f"{module}.running_mean", "").rpartition(".")[0]) for module in modules]
    return insists_on_counters(checkpoint, paths)

"""Which sets of weights a file holds, which one is meant, and what the others are.

The rule, in the order in which it is asked:

1. what was stated with ``--state-dict``;
2. the state dict that the writer's own loader loads where nothing else is asked for: ``state_dict`` (Lightning, timm,
   most training scripts), else the top of the file, else the only one; else the only one that holds a known class;
3. within that state dict: all of it where it is one set; the only set of a known class; the first of several that are
   the same bytes. Otherwise nobody can know, and all are listed.
"""

from __future__ import annotations

from viscy_compat.checkpoint.facts import Checkpoint, WeightsFacts
from viscy_compat.diagnosis.weight_set import SetChoice, whole_set


def choose_set(checkpoint: Checkpoint, class_name: str = "") -> SetChoice:
    """Find the sets of a file, and choose the one that is meant.

    Parameters
    ----------
    checkpoint : Checkpoint
        As it was opened: what was stated is in it.
    class_name : str, optional
        The class that the file is stated to be.
    """
    if checkpoint.base is None and len(checkpoint.sites) < 2:
        whole = whole_set(checkpoint, class_name)
        if whole is not None and not whole.view.outside:
            return SetChoice(whole, "", (whole,))
    from viscy_compat.diagnosis.several import choose_among

    return choose_among(checkpoint, class_name)


def facts_of(choice: SetChoice) -> tuple[WeightsFacts, ...]:
    """Return what a report says about each set of a file, the judged one first."""
    if choice.pick is not None and len(choice.sets) == 1:
        row = choice.pick
        inference = row.inference
        name, generation = (inference.architecture.name, inference.generation.name) if inference else ("", "")
        return (
            WeightsFacts(row.address, class_name=name, generation=generation, tensors=len(row.view.keys), chosen=True),
        )
    from viscy_compat.diagnosis.several import facts_of_several

    return facts_of_several(choice)

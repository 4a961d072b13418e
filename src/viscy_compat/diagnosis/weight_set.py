"""A set of weights by itself, the choice among several, and what a whole state dict is."""

from __future__ import annotations

from viscy_compat.architectures import find
from viscy_compat.architectures.inference import Inference, identify, infer
from viscy_compat.checkpoint.facts import Checkpoint, StoredTensor, View
from viscy_compat.checkpoint.wrapper import layout_of, views_of
from viscy_compat.layout import Layout
from viscy_compat.named import NamedTuple


class WeightSet(NamedTuple):
    """A set of weights: the checkpoint with its state dict, its names without wrappers, and what it is.

    ``address`` names it in the file; ``inference`` is None where it is of no known class; ``likely`` says that it has
    the telling names of one all the same, so that it may be the one that is meant.
    """

    checkpoint: Checkpoint
    view: View
    inference: Inference | None
    address: str
    likely: bool = False

    @property
    def layout(self) -> Layout:
        """Names as the class has them, with shapes and dtypes."""
        return layout_of(self.checkpoint, self.view)

    @property
    def tensors(self) -> list[StoredTensor]:
        """The tensors, in order."""
        return [self.checkpoint.tensors[key] for key in self.view.keys.values()]


class SetChoice(NamedTuple):
    """The set that is judged, on what ground, and every set of the file; no set is judged where nobody can know."""

    pick: WeightSet | None
    why: str
    sets: tuple[WeightSet, ...]


def whole_set(checkpoint: Checkpoint, class_name: str) -> WeightSet | None:
    """Return the state dict as one set of a known class behind the usual wrappers; None where it is none."""
    for view in plausible_views(checkpoint):
        layout = layout_of(checkpoint, view)
        inference = infer(find(class_name), layout) if class_name else identify(layout)
        if inference:
            return WeightSet(checkpoint, view=view, inference=inference, address=checkpoint.address)
    return None


def plausible_views(checkpoint: Checkpoint) -> list[View]:
    """Return the views to try; what a LightningModule holds always stands below an attribute of it."""
    below = [view for view in views_of(checkpoint) if view.prefix]
    return below if checkpoint.wrapper.kind == "lightning" and below else list(views_of(checkpoint))

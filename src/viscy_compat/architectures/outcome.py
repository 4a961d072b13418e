"""What a shape rule answers: whether a configuration builds, whether it runs, what comes out, what is lost."""

from __future__ import annotations

from viscy_compat.annotations import Literal, Mapping
from viscy_compat.named import NamedTuple


class Loss(NamedTuple):
    """Something of the input that the output does not have.

    Parameters
    ----------
    kind : {"slices", "pixels", "rounding", "orientation"}
        Slices never read; pixels dropped at the border; a side of another length; a shape whose aspect is lost.
    detail : str
        The numbers, in a sentence.
    axis : int, optional
        The axis of the input, counted from 0 at the batch; None where it is not about one axis.
    unread : tuple[int, ...], optional
        Indices along the axis that influence no output.
    """

    kind: Literal["slices", "pixels", "rounding", "orientation"]
    detail: str
    axis: int | None = None
    unread: tuple[int, ...] = ()


class Outcome(NamedTuple):
    """The answer of a shape rule.

    ``outputs`` maps output names to shapes, in the order in which ``forward`` gives them; it is empty where the model
    does not run. ``why`` says why it does not build or run. ``trains`` says whether a forward pass in train mode
    succeeds too.
    """

    builds: bool
    runs: bool
    outputs: Mapping[str, tuple[int, ...]]
    losses: tuple[Loss, ...] = ()
    why: str = ""
    trains: bool = True

    @property
    def exact(self) -> bool:
        """Whether the model runs, reads all of its input and returns what it should."""
        return self.runs and not self.losses


def refuses_to_build(why: str) -> Outcome:
    """Return the outcome of a configuration whose constructor raises.

    Examples
    --------
    >>> refuses_to_build("stem depth 0").builds
    False
    """
    return Outcome(builds=False, runs=False, outputs={}, why=why, trains=False)


def refuses_to_run(why: str) -> Outcome:
    """Return the outcome of an input on which ``forward`` raises.

    Examples
    --------
    >>> refuses_to_run("64 x 64 is too small").builds
    True
    """
    return Outcome(builds=True, runs=False, outputs={}, why=why, trains=False)

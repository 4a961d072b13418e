"""Forward passes in a worker, and comparisons of what came out; what strange code answers is checked here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from viscy_compat.errors import UsageError, WorkerFailed
from viscy_compat.layout import printable
from viscy_compat.outputs.differences import Discrepancies, Products
from viscy_compat.outputs.user_file import INNER, INPUT, UserOutputs
from viscy_compat.workers.worker import Worker


@dataclass(frozen=True)
class Build:
    """A class for the worker, with one configuration, the weights to load, and what the class calls its outputs."""

    target: str
    config: Mapping[str, Any]
    weights: str
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Forward:
    """What one forward pass gave: shapes by name in order, inner ones included, or the error that ended it.

    ``draws`` says whether it took numbers from the generator; ``alterations`` lists small changes that the model has a
    place for; ``stage`` is where the error came, ``build`` or ``forward``.
    """

    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    draws: bool = False
    seconds: float = 0.0
    alterations: tuple[dict[str, Any], ...] = ()
    error: str = ""
    stage: str = ""


@dataclass(frozen=True)
class Comparison:
    """Numbers about each output, and the inner products of all that were request for."""

    differences: Discrepancies
    equal: Mapping[str, bool]
    largest: Mapping[str, float]
    scale: Mapping[str, float]


class Bench:
    """Runs builds on the user's input, and counts how often.

    Parameters
    ----------
    worker : Worker
        Which has the source ``candidate``.
    user : UserOutputs
        What is compared with.
    """

    def __init__(self, worker: Worker, user: UserOutputs) -> None:
        self.worker, self.user, self.passes = worker, user, 0

    def run(
        self,
        label: str,
        build: Build,
        *,
        seed: int = 0,
        precision: str = "",
        alteration: Mapping[str, Any] | None = None,
        inner: bool = False,
        enumerate_alterations: bool = False,
    ) -> Forward:
        """Run a build once; the worker keeps what came out under the label."""
        self.passes += 1
        answer = self.worker.request(
            {
                "op": "outputs",
                "source": "candidate",
                "class": build.target,
                "config": dict(build.config),
                "seed": seed,
                "weights": build.weights,
                "inputs": self.user.path,
                "label": label,
                "precision": precision,
                "alteration": dict(alteration) if alteration else None,
                "names": list(build.names),
                "modules": self.user.inner if inner else [],
                "list": enumerate_alterations,
            }
        )
        try:
            return _forward(answer, self.user.path)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise _misshapen() from error

    def compare(self, names: Sequence[str], labels: Sequence[str], *, unit: Sequence[str] = ()) -> Comparison:
        """Compare outputs that the worker keeps with the user's; all of the labels have their shapes.

        Parameters
        ----------
        names : Sequence[str]
            Outputs, or inner outputs with `INNER` before them.
        labels : Sequence[str]
            Ours first.
        unit : Sequence[str], optional
            Outputs that are brought to length 1 before they are compared.
        """
        request = {"op": "compare", "expected": self.user.path, "names": list(names), "labels": list(labels)}
        answer = self.worker.request({**request, "unit": list(unit)})
        try:
            return _comparison(answer["outputs"], names, labels, self.user.path)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise _misshapen() from error

    def inner_names(self, forward: Forward) -> list[str]:
        """Return the modules whose outputs both sides have, in the order in which they ended."""
        found = {name: shape for name, shape in forward.shapes.items() if name.startswith(INNER)}
        tensors = self.user.tensors
        same = [name for name, shape in found.items() if name in tensors and tensors[name].shape == shape]
        return [name.removeprefix(INNER) for name in same]


def _misshapen() -> WorkerFailed:
    return WorkerFailed("gave an answer of the wrong shape", where="the candidate worker", code="VC603")


def _forward(answer: Mapping[str, Any], path: str) -> Forward:
    error = answer.get("error")
    if error:
        # torch lists every key below the first line of what load_state_dict raises
        first = str(error["message"]).strip().partition("\n")[0][:200]
        said = printable(f"{error['type']}: {first}" if first else str(error["type"]))
        return Forward(error=said, stage=str(error["stage"]))
    if not answer["finite"]:
        raise UsageError(f"{INPUT} holds NaN or infinity", where=path, fix="save an input of numbers")
    return Forward(
        shapes={str(name): tuple(int(size) for size in shape) for name, (shape, _) in answer["outputs"].items()},
        draws=bool(answer["draws"]),
        seconds=float(answer["seconds"]),
        alterations=tuple(dict(row) for row in answer.get("alterations", ())),
    )


def _comparison(rows: Mapping[str, Any], names: Sequence[str], labels: Sequence[str], path: str) -> Comparison:
    for name in names:
        if not rows[name]["finite"]:
            raise UsageError(
                f"{printable(name)} holds NaN or infinity", where=path, fix="save outputs that are numbers"
            )
    outputs: dict[str, list[Products]] = {name: [] for name in names}
    for name in names:
        for piece in rows[name]["pieces"]:
            matrix = [[float(number) for number in row] for row in piece]
            if len(matrix) != len(labels) or any(len(row) != len(labels) for row in matrix):
                raise ValueError
            # outputs that are no numbers are as far away as can be; not infinitely far, since inf - inf is NaN
            outputs[name].append([[number if isfinite(number) else 1e300 for number in row] for row in matrix])
    return Comparison(
        differences=Discrepancies(tuple(labels[1:]), outputs),
        equal={name: bool(rows[name]["equal"]) for name in names},
        largest={name: float(rows[name]["largest"]) for name in names},
        scale={name: float(rows[name]["scale"]) for name in names},
    )

"""A worker that computes nothing: outputs are numbers made up for a test, and inner products are taken of them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from viscy_compat.architectures import find
from viscy_compat.outputs.bench import Bench, Build
from viscy_compat.outputs.inquiry import Inquiry
from viscy_compat.outputs.user_file import read_user_outputs

SHAPE, SIZE, PIECES = (1, 1, 1, 32, 32), 1024, 16
NOISE = {"float32": 1e-6, "tf32": 5e-4, "tf32-all": 6e-4, "float16": 9e-4, "bfloat16": 8e-3}
"""How far each precision moves the outputs."""

Numbers = list[float]


def draw(name: str, size: float = 1.0) -> Numbers:
    """Draw numbers whose norm is `size`, told by a name."""
    drawn = random.Random(name)
    values = [drawn.gauss(0, 1) for _ in range(SIZE)]
    norm = sum(value * value for value in values) ** 0.5
    return [size * value / norm for value in values]


def add(*vectors: Numbers) -> Numbers:
    return [sum(row) for row in zip(*vectors, strict=True)]


def scale(factor: float, vector: Numbers) -> Numbers:
    return [factor * value for value in vector]


def noise(precision: str, *, like: float = 1.0) -> Numbers:
    """Return noise of a precision whose cosine with the emulated one is `like`."""
    size = NOISE[precision]
    return add(scale(like * size, draw(precision)), scale((1 - like**2) ** 0.5 * size, draw(f"other {precision}")))


OURS = draw("ours")


def rounded(request: Mapping[str, Any]) -> dict[str, Numbers]:
    """The one output of a model, in the precision that is asked for, without an effect of any alteration."""
    precision = request["precision"]
    return {"output": add(OURS, noise(precision)) if precision else OURS}


class Scripted:
    """Answers a `Bench`.

    Parameters
    ----------
    outputs : Callable[[Mapping[str, Any]], Mapping[str, Numbers]]
        What a forward pass gives, by name; it may raise.
    expected : Mapping[str, Numbers]
        What the user has.
    alterations : Sequence[Mapping[str, Any]]
        What the model has a place for.
    draws : bool
        Whether a pass takes random numbers.
    """

    def __init__(
        self,
        outputs: Callable[[Mapping[str, Any]], Mapping[str, Numbers]],
        expected: Mapping[str, Numbers],
        alterations: Sequence[Mapping[str, Any]] = (),
        draws: bool = False,
    ) -> None:
        self.outputs, self.expected, self.alterations, self.draws = outputs, expected, alterations, draws
        self.held: dict[str, Mapping[str, Numbers]] = {}
        self.requests: list[Mapping[str, Any]] = []

    def request(self, message: Mapping[str, Any]) -> dict[str, Any]:
        if message["op"] == "compare":
            return {"outputs": {name: self._compared(name, message) for name in message["names"]}}
        self.requests.append(message)
        try:
            given, names = self.outputs(message), message["names"]
        except ValueError as error:
            return {"error": {"stage": "forward", "type": "ValueError", "message": str(error)}}
        held = dict(zip([*names, *list(given)[len(names) :]], given.values(), strict=False))
        self.held[message["label"]] = held
        shapes = {name: [list(SHAPE), "float32"] for name in held}
        alterations = list(self.alterations)
        return {"outputs": shapes, "draws": self.draws, "seconds": 0.0, "finite": True, "alterations": alterations}

    def _compared(self, name: str, message: Mapping[str, Any]) -> dict[str, Any]:
        expected, (base, *others) = self.expected[name], [self.held[label][name] for label in message["labels"]]
        norm = sum(value * value for value in expected) ** 0.5
        rows = [[(one - other) / norm for one, other in zip(row, base, strict=True)] for row in (expected, *others)]
        step = max(1, len(expected) // PIECES)
        pieces = [
            [
                [sum(a * b for a, b in zip(one[at : at + step], other[at : at + step], strict=True)) for other in rows]
                for one in rows
            ]
            for at in range(0, len(expected), step)
        ]
        largest = max(abs(one - other) for one, other in zip(expected, base, strict=True))
        scale = max(map(abs, expected))
        return {"finite": True, "equal": expected == base, "largest": largest, "scale": scale, "pieces": pieces}


def inquire(
    folder: Path,
    worker: Scripted,
    class_name: str = "Unet2d",
    identity: Any = None,
    config: Mapping[str, Any] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Inquiry:
    """Ask what is asked about a set of weights, of a scripted worker."""
    path = saved(folder, worker.expected, metadata)
    bench: Any = Bench(worker, read_user_outputs(str(path)))  # type: ignore[arg-type]
    return Inquiry(bench, find(class_name), Build("a:B", config or {}, "w"), identity)


def saved(folder: Path, names: Iterable[str], metadata: Mapping[str, str] | None = None) -> Path:
    """Write a user's file with an input, outputs (all zero: a scripted worker knows their numbers) and metadata."""
    rows: dict[str, Any] = {"__metadata__": dict(metadata or {})}
    place = 0
    for name in ("input", *names):
        end = place + 4 * SIZE
        rows[name] = {"dtype": "F32", "shape": list(SHAPE), "data_offsets": [place, end]}
        place = end
    header = json.dumps(rows).encode()
    header += b" " * (-len(header) % 8)
    path = folder / "io.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(place))
    return path

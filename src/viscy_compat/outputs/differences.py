"""Inner products of differences between outputs, and what they say of a direction."""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from typing import NamedTuple

Products = list[list[float]]
"""A symmetric matrix. Its first row is about what was expected less ours, each other one about a label less ours."""


class Projection(NamedTuple):
    """How much of a direction lies in a difference: 0 is none, 1 is all of it.

    ``spread`` is how far the pieces of the outputs disagree about it, as a standard error.
    """

    coefficient: float
    spread: float


class Discrepancies:
    """What separates the expected outputs, and those under further labels, from ours.

    Parameters
    ----------
    labels : tuple[str, ...]
        The labels beside ours, in the order of the rows from the second one on.
    outputs : Mapping[str, list[Products]]
        By output, for each of its pieces. The unit is the norm of the expected output.

    Examples
    --------
    >>> found = Discrepancies(("other",), {"output": [[[4.0, 2.0], [2.0, 1.0]]]})
    >>> found.length(), found.length("other"), found.projection("other").coefficient, found.likeness("other")
    (2.0, 1.0, 2.0, 1.0)
    """

    def __init__(self, labels: tuple[str, ...], outputs: Mapping[str, list[Products]]) -> None:
        self.places = {"": 0, **{label: place for place, label in enumerate(labels, 1)}}
        self.outputs = outputs
        self.pieces = [piece for pieces in outputs.values() for piece in pieces]

    def product(self, one: str, other: str) -> float:
        """Return the inner product of two differences; the empty label is what was expected."""
        row, column = self.places[one], self.places[other]
        return sum(piece[row][column] for piece in self.pieces)

    def length(self, label: str = "") -> float:
        """Return how far the expected outputs, or those of a label, are from ours."""
        return sqrt(max(0.0, self.product(label, label)))

    def length_of(self, output: str, label: str = "") -> float:
        """Return the same for one output."""
        place = self.places[label]
        return sqrt(max(0.0, sum(piece[place][place] for piece in self.outputs[output])))

    def between(self, label: str) -> float:
        """Return how far the expected outputs are from those of a label."""
        squared = self.product("", "") - 2 * self.product("", label) + self.product(label, label)
        return sqrt(max(0.0, squared))

    def likeness(self, label: str) -> float:
        """Return the cosine between what was expected and a label, both less ours; 0 where one of them is ours."""
        norms = self.length() * self.length(label)
        return self.product("", label) / norms if norms else 0.0

    def projection(self, onto: str, of: str = "") -> Projection:
        """Project one difference on another."""
        row, column = self.places[of], self.places[onto]
        whole = self.product(onto, onto)
        coefficient = self.product(of, onto) / whole
        # each piece is off by what it would be if the whole's coefficient were its own
        errors = (piece[row][column] - coefficient * piece[column][column] for piece in self.pieces)
        return Projection(coefficient, sqrt(sum(error * error for error in errors)) / whole)

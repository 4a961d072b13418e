"""The tensors of a file as a tree: numbered parts that hold the same, down to the last shape, share a branch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from viscy_compat.layout import TensorSpec, fold
from viscy_compat.named import NamedTuple

_DEEPEST = 40
"""Parts of a name that are branches; a hostile name has a million dots."""

Sized = tuple[TensorSpec, int]
"""What a tensor is: its shape and dtype, and how many bytes it has."""


class Row(NamedTuple):
    """One line of the tree: a heading, or a tensor and how many alike it stands for."""

    depth: int
    name: str
    tensor: Sized | None = None
    copies: int = 1


class _Bough:
    """What stands under one part of the names: more parts, and a tensor where a name ends here."""

    __slots__ = ("children", "leaf")

    def __init__(self) -> None:
        self.children: dict[str, _Bough] = {}
        self.leaf: Sized | None = None


def rows_of(tensors: Mapping[str, Sized]) -> Iterator[Row]:
    """Yield the lines of the tree, in the order of the tensors.

    Examples
    --------
    >>> weight = (TensorSpec((2, 2)), 16)
    >>> [(row.depth, row.name, row.copies) for row in rows_of({"a.0.w": weight, "a.1.w": weight, "b": weight})]
    [(0, 'a.{0..1}.w', 2), (0, 'b', 1)]
    """
    root = _Bough()
    for name, tensor in tensors.items():
        bough = root
        # the end of a very deep name stays in one piece
        for part in name.split(".", _DEEPEST):
            bough = bough.children.setdefault(part, _Bough())
        bough.leaf = tensor
    return _Folding().below(root, 0, 1)


class _Folding:
    """Groups boughs that hold the same, and remembers what each holds by a number."""

    __slots__ = ("_numbers",)

    def __init__(self) -> None:
        self._numbers: dict[object, int] = {}

    def below(self, bough: _Bough, depth: int, copies: int) -> Iterator[Row]:
        for members in self._alike(bough):
            first = bough.children[members[0]]
            yield from self._rows(first, _join(members), depth, copies * len(members))

    def _rows(self, bough: _Bough, name: str, depth: int, copies: int) -> Iterator[Row]:
        """Yield the rows of one bough; one with a single child shares its row with it."""
        groups = self._alike(bough)
        if bough.leaf is not None:
            yield Row(depth, name, bough.leaf, copies)
        elif len(groups) == 1:
            child = bough.children[groups[0][0]]
            yield from self._rows(child, f"{name}.{_join(groups[0])}", depth, copies * len(groups[0]))
            return
        else:
            yield Row(depth, name)
        yield from self.below(bough, depth + 1, copies)

    def _alike(self, bough: _Bough) -> list[list[str]]:
        """Group numbered children that hold the same, in the order of the first of each group."""
        groups: dict[object, list[str]] = {}
        for name, child in bough.children.items():
            # names say something: only numbers are folded
            alike = self._content(child) if name.isdigit() else name
            groups.setdefault(alike, []).append(name)
        return list(groups.values())

    def _content(self, bough: _Bough) -> int:
        """Return a number that is the same for boughs with the same names and shapes below them."""
        spec = bough.leaf[0] if bough.leaf is not None else None
        content = (spec, tuple((name, self._content(child)) for name, child in bough.children.items()))
        return self._numbers.setdefault(content, len(self._numbers))


def _join(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else ",".join(fold(names))

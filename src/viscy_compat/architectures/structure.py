"""Which configurations of a class have the shapes of a file, whatever its tensors are called.

The same rule as in `inference`, without the names: a configuration is accepted only if the layout that it generates has
every shape of the file as often, and no other. Nothing is ever the nearest. Where several layouts have these shapes, the
tree of modules may tell them apart, or the order of the tensors (``state_dict()`` has that of registration); otherwise
all are returned.
"""

from __future__ import annotations

from collections import Counter

from viscy_compat.annotations import Any, Final, Hashable, Iterator
from viscy_compat.architectures import CLASSES, find
from viscy_compat.architectures.architecture import Architecture, Config, Generation, complete
from viscy_compat.architectures.bags import Bag, TooManyWays, bag_of
from viscy_compat.architectures.inference import MOST_REMEMBERED, RecentAnswers
from viscy_compat.errors import Unbuildable
from viscy_compat.layout import Layout
from viscy_compat.named import NamedTuple

_MOST_SKETCHES = 2048
_DEEPEST = 64
_MOST_TENSORS = 2048
"""No class has nearly as many; a stranger with more is not worth the time."""


class Alike(NamedTuple):
    """A generation and a complete configuration whose layout has the shapes of a file."""

    generation: Generation
    config: Config
    layout: Layout


def alike(architecture: Architecture, layout: Layout) -> list[Alike]:
    """Return the configurations of a class that have the shapes of a layout; one for each layout that they have.

    Parameters
    ----------
    architecture : Architecture
        The class.
    layout : Layout
        The tensors of a file, under any names, in any order.

    Raises
    ------
    TooManyWays
        Where the shapes allow more configurations than can be looked at.

    Examples
    --------
    >>> from viscy_compat.architectures import find
    >>> unet = find("Unet2d")
    >>> wanted = unet.layout(complete(unet, {"num_blocks": 1, "num_filters": (4, 6), "in_channels": 3}))
    >>> renamed = {str(number): spec for number, spec in enumerate(wanted.values())}
    >>> [found.config["num_filters"] for found in alike(unet, renamed)]
    [(4, 6)]
    """
    if len(layout) > _MOST_TENSORS:
        raise TooManyWays
    found: list[Alike] = []
    for one in _with_this_bag(architecture, bag_of(layout.values())):
        if all(one.layout != other.layout for other in found):
            found.append(one)
    if len(found) < 2:
        return found
    # the tree first: a file can be sorted, but nobody moves a layer to another module by chance; then the order of shapes
    tree = _skeleton(layout)
    found = [one for one in found if _skeleton(one.layout) == tree] or found
    shapes = [spec.shape for spec in layout.values() if spec.shape]
    return [one for one in found if [spec.shape for spec in one.layout.values() if spec.shape] == shapes] or found


def classes_alike(layout: Layout) -> list[str]:
    """Return the names of the classes that have the shapes of a layout in some configuration."""
    if len(layout) > MOST_REMEMBERED:
        return _names_alike(layout)
    return _recent_names.answer((*layout.items(),), lambda: _names_alike(layout))


_recent_names: Final = RecentAnswers(most=64)


def _names_alike(layout: Layout) -> list[str]:
    return [row.name for row in CLASSES if _is_alike(find(row.name), layout)]


def _is_alike(architecture: Architecture, layout: Layout) -> bool:
    try:
        return bool(alike(architecture, layout))
    except TooManyWays:
        return False


def _with_this_bag(architecture: Architecture, bag: Bag) -> Iterator[Alike]:
    for number, sketch in enumerate(architecture.sketches(bag)):
        if number > _MOST_SKETCHES:
            raise TooManyWays
        config = complete(architecture, sketch)
        for generation in reversed(architecture.generations):
            try:
                layout = generation.layout(config)
            except Unbuildable:
                continue
            if bag_of(layout.values()) == bag:
                # an older state with the same shapes has other names only, which are looked past here
                yield Alike(generation, config, layout)
                break


def _skeleton(layout: Layout) -> Hashable:
    """Return the tree of modules without names and order; a module with one child is that child."""
    tree: dict[str, Any] = {}
    for name, spec in layout.items():
        if spec.shape:
            module = tree
            *path, last = name.split(".", _DEEPEST)
            for part in path:
                module = module.setdefault(part, {})
                if not isinstance(module, dict):
                    return None
            module[last] = spec.shape
    return _bare(tree)


def _bare(node: dict[str, Any] | tuple[int, ...]) -> Hashable:
    if isinstance(node, tuple):
        return node
    # a Sequential around one layer, or none, is a matter of taste
    children = [_bare(child) for child in node.values()]
    return children[0] if len(children) == 1 else frozenset(Counter(children).items())

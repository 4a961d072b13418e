"""Names as trees of dotted parts, with what is under each part summed up so that subtrees compare in one step."""

from __future__ import annotations

from viscy_compat.annotations import Hashable, Iterable, Literal, Mapping

Token = str | int
Label = tuple[str, ...]

OrderState = Literal["registered", "frayed", "sorted", "shuffled"]
"""What the order of a layout is worth: `registered` is the order in which modules were registered; `frayed` is that
order but for a few tensors; `sorted` is alphabetical; `shuffled` is none of these."""


_DEEPEST = 64
_SIGNS = 3
"""How many modules must show an order that torch would not give: one or two could be somebody's own way."""


class Interner:
    """Gives equal things equal small integers, for both trees alike."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[Hashable, int] = {}

    def __call__(self, thing: Hashable) -> int:
        """Return the number of a thing, a new one where it is new."""
        return self._known.setdefault(thing, len(self._known))


class NameTreeNode:
    """One dotted part of the names: a tensor, or a module with what is below it.

    ``shapes`` counts the shape keys below and ``tails`` the last parts with their shape keys; ``profile`` and ``kin``
    stand for these counts, ``inside`` for the relative names with their shape keys. ``first`` and ``last`` are the places of
    the outermost tensors in the file.
    """

    __slots__ = ("children", "first", "inside", "kin", "last", "name", "path", "profile", "shapes", "size", "tails")

    def __init__(self, path: Label, name: str | None = None) -> None:
        self.path, self.name = path, name
        self.children: list[NameTreeNode] = []
        self.shapes: dict[int, int] = {}
        self.tails: dict[tuple[str, int], int] = {}
        self.size = self.first = self.last = self.profile = self.inside = self.kin = 0

    def leaves(self) -> list[NameTreeNode]:
        """Return the tensors below, in the order of the tree."""
        leaves, nodes = [], [self]
        while nodes:
            node = nodes.pop()
            leaves.extend([node] if node.name is not None else [])
            nodes.extend(reversed(node.children))
        return leaves


def parts_of(name: str) -> Label:
    """Split a name at its dots, into so many parts at most that a hostile name costs no more than an honest one.

    Examples
    --------
    >>> parts_of("a.b.weight"), len(parts_of("." * 10_000))
    (('a', 'b', 'weight'), 65)
    """
    return tuple(name.split(".", _DEEPEST))


def grow(names: Iterable[str], keys: Mapping[str, int], interner: Interner) -> NameTreeNode:
    """Grow the tree of some names and sum it up.

    Parameters
    ----------
    names : Iterable[str]
        Tensor names in the order of the file.
    keys : Mapping[str, int]
        The shape key of each name.
    interner : Interner
        Shared by the trees that will be compared.

    Examples
    --------
    >>> root = grow(["a.w", "a.b", "c"], {"a.w": 0, "a.b": 1, "c": 1}, Interner())
    >>> [(node.path, node.size) for node in root.children], root.shapes
    ([(('a',), 2), (('c',), 1)], {0: 1, 1: 2})
    """
    root = NameTreeNode(())
    modules: dict[Label, NameTreeNode] = {(): root}
    for place, name in enumerate(names):
        path = parts_of(name)
        leaf = NameTreeNode(path, name)
        leaf.first = leaf.last = place
        _module(path[:-1], modules).children.append(leaf)
        key = keys[name]
        leaf.size, leaf.shapes, leaf.tails = 1, {key: 1}, {(leaf.path[-1], key): 1}
        leaf.profile = interner(frozenset(leaf.shapes.items()))
        leaf.kin = interner(frozenset(leaf.tails.items()))
        leaf.inside = interner(("tensor", key))
    # a module is made after those above it: from the end, what is below is summed already
    for node in reversed(list(modules.values())):
        _sum_module(node, interner)
    return root


def _module(path: Label, modules: dict[Label, NameTreeNode]) -> NameTreeNode:
    depth = len(path)
    while path[:depth] not in modules:
        depth -= 1
    for end in range(depth + 1, len(path) + 1):
        modules[path[:end]] = NameTreeNode(path[:end])
        modules[path[: end - 1]].children.append(modules[path[:end]])
    return modules[path]


def _sum_module(node: NameTreeNode, interner: Interner) -> None:
    for child in node.children:
        for key, count in child.shapes.items():
            node.shapes[key] = node.shapes.get(key, 0) + count
        for tail, count in child.tails.items():
            node.tails[tail] = node.tails.get(tail, 0) + count
    node.size = sum(child.size for child in node.children)
    if node.children:
        node.first = min(child.first for child in node.children)
        node.last = max(child.last for child in node.children)
    node.profile = interner(frozenset(node.shapes.items()))
    node.inside = interner(frozenset((child.path[-1], child.inside) for child in node.children))
    node.kin = interner(frozenset(node.tails.items()))


def heart(node: NameTreeNode) -> NameTreeNode:
    """Walk down while there is only one way: the node where a chain of single children ends.

    Examples
    --------
    >>> heart(grow(["a.b.w"], {"a.b.w": 0}, Interner())).path
    ('a', 'b', 'w')
    """
    while len(node.children) == 1:
        node = node.children[0]
    return node


def tokens(label: Label) -> tuple[Token, ...]:
    """Split a label into words and numbers: at dots, underscores, hyphens, and between letters and digits.

    Examples
    --------
    >>> tokens(("stages_0", "convBlock", "fc1"))
    ('stages', 0, 'conv', 'Block', 'fc', 1)
    """
    return tuple(token for part in label for token in part_tokens(part))


def words_of(label: Label) -> tuple[str, ...]:
    """Return the words of a label, without its numbers.

    Examples
    --------
    >>> words_of(("stages_0", "fc1"))
    ('stages', 'fc')
    """
    return tuple(token for token in tokens(label) if isinstance(token, str))


_SPLIT: dict[str, tuple[Token, ...]] = {}


def part_tokens(part: str) -> tuple[Token, ...]:
    """Split one dotted part into words and numbers.

    Examples
    --------
    >>> part_tokens("layer10_norm")
    ('layer', 10, 'norm')
    """
    if part not in _SPLIT:
        # names come from strangers: what is remembered of them is bounded
        if len(_SPLIT) > 65536:
            _SPLIT.clear()
        # a run of a thousand digits is a name, not a number: int() of it would cost, and refuses beyond 4,300 digits
        _SPLIT[part] = tuple(
            int(run) if run.isascii() and run.isdigit() and len(run) < 10 else run for run in _runs(part)
        )
    return _SPLIT[part]


def _runs(part: str) -> list[str]:
    runs: list[str] = []
    previous = ""
    for char in part:
        if char in "_- ":
            previous = ""
            continue
        kind = "digit" if char.isascii() and char.isdigit() else "upper" if char.isupper() else "lower"
        # a capital begins a word, and small letters go on with it: convBlock is two, and so is fc1
        joins = kind == previous or (kind == "lower" and previous == "upper" and len(runs[-1]) == 1)
        if joins:
            runs[-1] += char
        else:
            runs.append(char)
        previous = kind
    return runs


def order_state(root: NameTreeNode) -> OrderState:
    """Judge what the order of a layout is worth.

    ``state_dict()`` walks the module tree, so that everything below a module stands together. An alphabetical order
    does that too; it shows by a bias before its weight, or by a 10 before a 2.

    Examples
    --------
    >>> def state(*names):
    ...     return order_state(grow(names, dict.fromkeys(names, 0), Interner()))
    >>> state("a.weight", "a.bias", "b"), state("a.weight", "b.w", "a.bias", "b.v")
    ('registered', 'shuffled')
    >>> state(*(f"{layer}.{leaf}" for layer in "abc" for leaf in ("bias", "weight")))
    'sorted'
    """
    modules = _modules(root)
    apart = sum(node.last - node.first + 1 != node.size for node in modules)
    # most modules torn apart is no order at all; a few are tensors that were appended or moved
    if apart * 2 >= len(modules) and apart:
        return "shuffled"
    if apart:
        return "frayed"
    unlike = sum(map(_unlike_torch, [root, *modules]))
    if unlike < _SIGNS:
        return "registered"
    names = [leaf.name or "" for leaf in sorted(root.leaves(), key=lambda leaf: leaf.first)]
    # by whole names or part by part: a dot sorts before digits and letters, but after a hyphen
    alphabetical = names == sorted(names) or names == sorted(names, key=lambda name: name.split("."))
    return "sorted" if alphabetical else "registered"


def torn_modules(root: NameTreeNode) -> set[Label]:
    """Return the paths of the modules whose tensors do not stand together.

    Examples
    --------
    >>> names = ["a.w", "b.w", "a.b", "b.v"]
    >>> sorted(torn_modules(grow(names, dict.fromkeys(names, 0), Interner())))
    [('a',), ('b',)]
    """
    return {node.path for node in _modules(root) if node.last - node.first + 1 != node.size}


def _modules(root: NameTreeNode) -> list[NameTreeNode]:
    modules, nodes = [], list(root.children)
    while nodes:
        node = nodes.pop()
        nodes.extend(node.children)
        # a chain of single children stands together however the file is ordered
        if len(node.children) > 1:
            modules.append(node)
    return modules


def _unlike_torch(node: NameTreeNode) -> bool:
    """Whether a module shows an order that ``state_dict()`` would hardly have."""
    places = {child.path[-1]: child.first for child in node.children}
    if "weight" in places and places.get("bias", places["weight"]) < places["weight"]:
        return True
    numbers = sorted(
        (split[0], place)
        for part, place in places.items()
        if len(split := part_tokens(part)) == 1 and isinstance(split[0], int)
    )
    in_order = [place for _, place in numbers]
    return in_order != sorted(in_order)

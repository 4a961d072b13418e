"""What torch's default refuses in a graph, and the smallest parts without which it does not.

``torch.load(FILE)`` admits a short list of names (`viscy_compat.checkpoint.torch_names`) and few ways to use them. An
entry of a dictionary can be left out; nothing else can: an item less would make another list. So the entry that goes is
that of the nearest dictionary around the part that is refused.
"""

from __future__ import annotations

from viscy_compat.annotations import Final, Iterator, Mapping
from viscy_compat.checkpoint.pickle_nodes import (
    ABSENT,
    Call,
    Dict,
    Global,
    Items,
    Node,
    Persistent,
    children,
    entries_of,
)
from viscy_compat.checkpoint.plain import plain
from viscy_compat.checkpoint.torch_names import (
    ADMITTED,
    FILLED_LIKE_A_DICTIONARY,
    GIVEN_ATTRIBUTES,
    MAKERS,
    todays_name,
)
from viscy_compat.named import NamedTuple
from viscy_compat.rewrite.conversion import PlainForm, plain_form

_LARGEST_BITS: Final = 2039
"""Of an integer in LONG1, which counts its bytes in one (255), less the sign; torch's default does not read LONG4."""

_LEAVES: Final = (str, float, bool, type(None))


class Omission(NamedTuple):
    """An entry that the new file does not have: its place (``"hyper_parameters.loss"``) and the names at fault."""

    place: str
    names: tuple[str, ...]


class Simplification(NamedTuple):
    """A value that the new file has in a plainer form: its place, that form (``"text"``), and the name at fault."""

    place: str
    form: str
    name: str


class Admission(NamedTuple):
    """How a graph becomes one that torch's default reads.

    ``replacements`` are nodes that take the place of others, by ``id``; they hold those that were given. ``root`` says
    which names keep the whole graph from being read, where leaving entries out does not help.
    """

    replacements: Mapping[int, Node]
    omissions: tuple[Omission, ...] = ()
    simplifications: tuple[Simplification, ...] = ()
    root: tuple[str, ...] = ()


def admission(root: Node, replacements: Mapping[int, Node], *, keep_classes: bool = False) -> Admission:
    """Say what must change in a graph, so that torch's default reads it.

    Parameters
    ----------
    root : Node
        The graph; it is not changed.
    replacements : Mapping[int, Node]
        Nodes that take the place of others already, by ``id``.
    keep_classes : bool, optional
        Change nothing but what loads as the very same value, and only say what torch's default refuses.

    Examples
    --------
    >>> lost = Call(Global("types", "SimpleNamespace"), ())
    >>> admission(Dict(["epoch", 1, "callbacks", Dict(["mine", lost])]), {}).omissions
    (Omission(place='callbacks.mine', names=('types.SimpleNamespace',)),)
    """
    walk = _Walk(replacements, keep_classes)
    walk.visit(root)
    walk.spread()
    return walk.answer(root)


class _Walk:
    """Every container of a graph, once; which are refused, and why.

    ``parents`` lists by ``id`` who cannot be read if a node cannot; dictionaries can do without an entry, and so are
    not among them.
    """

    __slots__ = ("_keep_classes", "_kept", "_parents", "_refused", "_replacements", "_said")

    def __init__(self, replacements: Mapping[int, Node], keep_classes: bool) -> None:
        self._replacements, self._keep_classes = replacements, keep_classes
        self._kept: dict[int, Node] = {}
        self._parents: dict[int, list[int]] = {}
        self._refused: dict[int, tuple[str, ...]] = {}
        self._said: dict[int, tuple[str, str]] = {}

    def visit(self, root: Node) -> None:
        """Look at every node below the root."""
        nodes = [root]
        while nodes:
            node = nodes.pop()
            if id(node) in self._kept or type(node) in _LEAVES:
                continue
            # simplified before it is judged: the plainer form is what would be written
            now = self._simplify(node)
            self._kept[id(node)] = now
            at_fault = _at_fault(now)
            if at_fault:
                self._refused[id(node)] = at_fault
            entries = _entries(now)
            # an entry of a dictionary is visited, and does not count as needed: it can be left out alone
            for child in _parts_needed(now):
                self._parents.setdefault(id(child), []).append(id(node))
                nodes.append(child)
            nodes.extend(entries or ())

    def spread(self) -> None:
        """Refuse what needs a refused node."""
        nodes = list(self._refused)
        while nodes:
            child = nodes.pop()
            for parent in self._parents.get(child, ()):
                if parent in self._refused:
                    continue
                self._refused[parent] = self._refused[child]
                nodes.append(parent)

    def answer(self, root: Node) -> Admission:
        """Leave refused entries out, from the root down, and name their places."""
        replacements: dict[int, Node] = dict(self._replacements)
        omissions: list[Omission] = []
        simplifications: list[Simplification] = []
        done: set[int] = set()
        places: list[tuple[Node, str]] = [(root, "")]
        while places:
            node, place = places.pop()
            if id(node) in done or id(node) not in self._kept:
                continue
            done.add(id(node))
            now = self._kept[id(node)]
            if id(node) in self._said:
                simplifications.append(Simplification(place, *self._said[id(node)]))
            entries = _entries(now)
            here = [*self._omissions(entries or [], place)]
            omissions += here
            if here and not self._keep_classes:
                pairs = zip((entries or [])[::2], (entries or [])[1::2], strict=True)
                left = [pair for pair in pairs if not any(id(part) in self._refused for part in pair)]
                now = with_entries(now, [item for pair in left for item in pair])
            if now is not node:
                replacements[id(node)] = now
            # a stack: reversed, so that places are named in the order in which the file has them
            places.extend(reversed([*_parts_with_places(now, place)]))
        return Admission(
            replacements,
            omissions=tuple(omissions),
            simplifications=tuple(simplifications),
            root=self._refused.get(id(root), ()),
        )

    def _simplify(self, node: Node) -> Node:
        now = self._replacements.get(id(node), node)
        form: PlainForm | None = plain_form(now)
        # --keep-classes: what is said to change is not changed
        if form is None or (form.form and self._keep_classes):
            return now
        if form.form:
            self._said[id(node)] = form.form, now.function.path
        return form.node

    def _omissions(self, entries: list[Node], place: str) -> Iterator[Omission]:
        for key, value in zip(entries[::2], entries[1::2], strict=True):
            names = self._refused.get(id(key)) or self._refused.get(id(value))
            if names:
                yield Omission(_join(place, key), names)


def _entries(node: Node) -> list[Node] | None:
    """Return the entries that a node can do without: those of a dictionary."""
    if type(node) is Dict:
        return node.entries
    return node.entries if type(node) is Call and node.entries and entries_of(node) is not None else None


def _parts_needed(node: Node) -> Iterator[Node]:
    """Yield the parts without which a node is another one."""
    if _entries(node) is None:
        yield from children(node)
    elif type(node) is Call:
        yield node.function
        yield node.args
        yield from node.states or ()


def _at_fault(node: Node) -> tuple[str, ...]:
    """Return the names for which torch's default refuses a node, whatever is in it; empty where it does not."""
    kind = type(node)
    if kind is int:
        return ("an integer of more than 2039 bits",) if node.bit_length() > _LARGEST_BITS else ()
    if kind is Global:
        return () if todays_name(node.path) in ADMITTED else (node.path,)
    if kind is Items:
        return (f"builtins.{node.kind}",)
    if kind is Persistent:
        return () if type(node.id) is tuple and node.id[:1] == ("storage",) else ("a persistent id that is no storage",)
    if kind is not Call:
        return ()
    path = todays_name(node.function.path) if type(node.function) is Global else "what another call returns"
    # torch._weights_only_unpickler takes NEWOBJ and BUILD for few classes only, and REDUCE for admitted functions
    usual = node.kind == "reduce" or (node.kind == "newobj" and path in GIVEN_ATTRIBUTES)
    is_filled_well = path in FILLED_LIKE_A_DICTIONARY or not node.entries
    attributes = path in GIVEN_ATTRIBUTES or not node.states
    fine = path in MAKERS and usual and is_filled_well and attributes and not node.items and node.kwargs is ABSENT
    return () if fine else (path,)


def with_entries(node: Node, entries: list[Node]) -> Node:
    """Return a dictionary of the kind of a node, with other entries.

    Examples
    --------
    >>> with_entries(Dict(["a", 1]), ["b", 2]).entries
    ['b', 2]
    """
    if type(node) is not Call:
        return Dict(entries)
    copy = Call(node.function, node.args, node.kind, node.kwargs)
    copy.entries, copy.items, copy.states = entries, node.items, node.states
    return copy


def _parts_with_places(node: Node, place: str) -> Iterator[tuple[Node, str]]:
    """Yield what a node holds, with the place of each part."""
    entries = _entries(node)
    if type(node) in (list, tuple):
        yield from ((child, _join(place, index)) for index, child in enumerate(node))
        return
    if type(node) is Call and type(node.args) is tuple:
        yield from ((part, place) for part in node.args)
        yield from ((part, place) for part in _parts_needed(node) if part is not node.args)
    else:
        yield from ((part, place) for part in _parts_needed(node))
    for key, value in zip((entries or [])[::2], (entries or [])[1::2], strict=True):
        yield key, place
        yield value, _join(place, key)


def _join(place: str, key: Node) -> str:
    text = key if type(key) is str else str(plain(key, most=20))
    return f"{place}.{text}" if place else text

"""Inert nodes: what a pickle says, as plain data. Nothing in a node is ever called or imported.

A pickle decodes to a graph of these values:

====================  ==================================================================================
``None``, ``bool``,   themselves
``int``, ``float``,
``str``, ``bytes``
``list``, ``tuple``   themselves, holding nodes; identity is kept, so a list that a pickle shares or nests into
                      itself is shared or nested here
`Dict`                a dictionary, with every entry in the order of the file
`Items`               a set, frozenset or bytearray
`Global`              a name that an unpickler would import
`Call`                something that an unpickler would call, with what was stored into the result afterwards
`Persistent`          a persistent id (torch: a storage)
====================  ==================================================================================

Graphs are hostile: they share (2^60 leaves in a few bytes) and loop. Never compare nodes with ``==``, never hash a
tuple out of a pickle, never print or walk a graph but with `walk`, `children` and a memo by ``id``.
"""

from __future__ import annotations

from viscy_compat.annotations import Any, Final, Iterator, Literal
from viscy_compat.named import NamedTuple

Node = Any
"""Any value of the table above."""


class _Absent:
    """What stands where a pickle stored nothing (``None`` is something)."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = _Absent()


Use = Literal["named", "newobj", "called"]
"""What a pickle does with a global: only mentions it, makes an object with ``cls.__new__``, or calls it."""


class Global:
    """A module-level name that an unpickler would import: ``GLOBAL``, ``STACK_GLOBAL`` or ``INST``.

    A pickle's globals are interned: one object for each name. ``use`` is the most that the pickle does with it; ``path`` is
    the module and the name, joined by a dot (it is asked for by each tensor, and so no property).
    """

    __slots__ = ("module", "name", "path", "use")

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name, self.path = module, name, f"{module}.{name}"
        self.use: Use = "named"

    def __repr__(self) -> str:
        return f"Global({self.module!r}, {self.name!r})"


CallKind = Literal["reduce", "newobj", "newobj_ex", "inst", "obj"]
"""The opcode that asked for the call. ``newobj``: ``cls.__new__(cls, *args)``; ``newobj_ex``: with `kwargs`."""


class Call:
    """A call that an unpickler would make, and what it would then store into the result.

    Attributes
    ----------
    function : Node
        A `Global` in honest files; in others anything.
    args : Node
        A tuple in honest files.
    kind : CallKind
        Which opcode it was.
    kwargs : Node
        The third operand of ``NEWOBJ_EX``, else `ABSENT`.
    entries : list[Node] or None
        Keys and values in turn, from ``SETITEM(S)`` (an OrderedDict's entries).
    items : list[Node] or None
        From ``APPEND(S)`` and ``ADDITEMS``.
    states : list[Node] or None
        Operands of ``BUILD``, in order (honest files have at most one: the object's ``__dict__`` as a `Dict`, or
        a pair of that and slots).
    """

    __slots__ = ("args", "entries", "function", "items", "kind", "kwargs", "states")

    def __init__(self, function: Node, args: Node, kind: CallKind = "reduce", kwargs: Node = ABSENT) -> None:
        self.function, self.args, self.kind, self.kwargs = function, args, kind, kwargs
        self.entries: list[Node] | None = None
        self.items: list[Node] | None = None
        self.states: list[Node] | None = None

    @property
    def state(self) -> Node:
        """The operand of the only ``BUILD``, or `ABSENT` where there were none or several."""
        return self.states[0] if self.states and len(self.states) == 1 else ABSENT


class Dict:
    """A plain dictionary: keys and values in turn, as stored (a repeated key stands twice; the last one counts)."""

    __slots__ = ("entries",)

    def __init__(self, entries: list[Node] | None = None) -> None:
        self.entries: list[Node] = [] if entries is None else entries


class Items:
    """A set, frozenset or bytearray; a bytearray holds its bytes as its only item."""

    __slots__ = ("items", "kind")

    def __init__(self, kind: Literal["set", "frozenset", "bytearray"], items: list[Node]) -> None:
        self.kind, self.items = kind, items


class Persistent:
    """A persistent id; torch writes ``("storage", Global, key, location, elements)``."""

    __slots__ = ("id",)

    def __init__(self, id: Node) -> None:
        self.id = id


class Unread(NamedTuple):
    """Stands for a value that cannot be read exactly; ``what`` says what it is (``"a tensor"``)."""

    what: str


def is_global(node: Node, path: str) -> bool:
    """Say whether a node is the global of that dotted path.

    Examples
    --------
    >>> is_global(Global("collections", "OrderedDict"), "collections.OrderedDict")
    True
    """
    return type(node) is Global and node.path == path


def entries_of(node: Node) -> list[Node] | None:
    """Return keys and values in turn of a dictionary or of a call that was filled like one; None for others.

    ``dict``, ``OrderedDict`` and ``defaultdict`` count, however they were built; anything else does not.

    Examples
    --------
    >>> entries_of(Dict(["a", 1]))
    ['a', 1]
    >>> entries_of(Call(Global("collections", "OrderedDict"), ()))
    []
    """
    if type(node) is Dict:
        return node.entries
    if type(node) is not Call or type(node.function) is not Global or node.function.path not in _MAPPINGS:
        return None
    if node.entries is not None:
        return node.entries
    # entries given to the constructor: OrderedDict([["a", 1], ...]), as Python 2 wrote it
    pairs = node.args[0] if type(node.args) is tuple and len(node.args) == 1 else None
    if type(pairs) is list and all(type(pair) in (list, tuple) and len(pair) == 2 for pair in pairs):
        return [item for pair in pairs for item in pair]
    return []


_MAPPINGS: Final = frozenset(
    {
        "collections.OrderedDict",
        "collections.defaultdict",
        "builtins.dict",
        "__builtin__.dict",
        "torch.nn.modules.container.OrderedDict",
    }
)


def mapping_of(node: Node) -> dict[str, Node] | None:
    """Return the entries of a dictionary that have text as keys, the last of equal ones; None for other nodes.

    Examples
    --------
    >>> mapping_of(Dict(["a", 1, 2, 3, "a", 4]))
    {'a': 4}
    """
    entries = entries_of(node)
    if entries is None:
        return None
    pairs = zip(entries[::2], entries[1::2], strict=True)
    return {key: value for key, value in pairs if type(key) is str}


def children(node: Node) -> Iterator[Node]:
    """Yield the nodes that a node holds, in the order in which an unpickler would meet them.

    Examples
    --------
    >>> list(children((1, "a")))
    [1, 'a']
    """
    kind = type(node)
    if kind is list or kind is tuple:
        yield from node
    elif kind is Dict:
        yield from node.entries
    elif kind is Items:
        yield from node.items
    elif kind is Persistent:
        yield node.id
    elif kind is Call:
        yield node.function
        yield node.args
        if node.kwargs is not ABSENT:
            yield node.kwargs
        for part in (node.items, node.entries, node.states):
            yield from part or ()


_CONTAINERS: Final = (list, tuple, Dict, Items, Persistent, Call, Global)


def walk(root: Node, *, most: int | None = None) -> Iterator[Node]:
    """Yield every container, call and global below a node once, by identity, without recursion; at most `most`.

    Examples
    --------
    >>> shared = (1,)
    >>> len(list(walk([shared, shared])))
    2
    """
    visited = {id(root)}
    queue = [root]
    while queue and (most is None or len(visited) < most):
        node = queue.pop()
        yield node
        for child in children(node):
            if type(child) in _CONTAINERS and id(child) not in visited:
                if most is not None and len(visited) >= most:
                    break
                visited.add(id(child))
                queue.append(child)

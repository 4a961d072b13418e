"""Inert nodes to a pickle: the inverse of `viscy_compat.checkpoint.pickle_machine`.

The pickle decodes to the same graph: what was shared stays shared, loops stay loops. Protocol 2 is written, as torch
does, unless a node exists in later protocols only. Opcodes: Python's ``pickletools``.
"""

from __future__ import annotations

import struct

from viscy_compat.annotations import Any, Callable, Generator, Iterator, Mapping
from viscy_compat.checkpoint.pickle_nodes import ABSENT, Call, Dict, Global, Items, Node, Persistent
from viscy_compat.named import NamedTuple

_BATCH = 1000
"""Items or entries that are set at once, as in Python's pickle module."""

_Steps = Generator[Node, None, None]
"""Writes one node; yields the nodes that must be written before it goes on."""


def emit_pickle(root: Node, *, replacements: Mapping[int, Node] | None = None) -> EmittedPickle:
    """Write the pickle of a graph.

    Parameters
    ----------
    root : Node
        The graph; it is not changed.
    replacements : Mapping[int, Node], optional
        Nodes that take the place of others, by the ``id`` of those.

    Examples
    --------
    >>> emit_pickle((1, "a")).data
    b'\\x80\\x02K\\x01X\\x01\\x00\\x00\\x00aq\\x00\\x86q\\x01.'
    """
    emitter = _Emitter(replacements or {})
    emitter.run(root)
    data = b"\x80" + bytes((emitter.protocol,)) + b"".join(emitter.parts) + b"."
    return EmittedPickle(data, tuple(emitter.persistents))


class EmittedPickle(NamedTuple):
    """A pickle, and the persistent nodes that it refers to, in order."""

    data: bytes
    persistents: tuple[Persistent, ...]


class _Emitter:
    """Writes nodes without recursion: graphs are deeper than Python's stack."""

    __slots__ = ("_alive", "_globals", "_memo", "_replacements", "_strings", "parts", "persistents", "protocol")

    def __init__(self, replacements: Mapping[int, Node]) -> None:
        self.parts: list[bytes] = []
        self.persistents: list[Persistent] = []
        self.protocol = 2
        self._replacements = replacements
        self._memo: dict[int, int] = {}
        self._strings: dict[str, int] = {}
        self._globals: dict[tuple[str, str], int] = {}
        self._alive: list[Node] = []

    def run(self, root: Node) -> None:
        """Write a node and everything below it."""
        stack = [steps] if (steps := self._begin(root)) else []
        while stack:
            child = next(stack[-1], _DONE)
            if child is _DONE:
                stack.pop()
            elif (steps := self._begin(child)) is not None:
                stack.append(steps)

    def _begin(self, node: Node) -> _Steps | None:
        """Write a leaf or a reference at once; return the steps that write anything else."""
        if self._replacements:
            node = self._replacements.get(id(node), node)
        kind = type(node)
        write = _LEAVES.get(kind)
        if write is not None:
            self.parts.append(write(node))
        elif kind is str:
            self._string(node)
        elif kind is bytes:
            # protocol 2 has no opcode for bytes
            self._needs(3)
            short = len(node) < 256
            self.parts.append((b"C" + bytes((len(node),)) if short else b"B" + struct.pack("<I", len(node))) + node)
        elif id(node) in self._memo:
            self._get(self._memo[id(node)])
        else:
            return _CONTAINERS[kind](self, node)
        return None

    def _string(self, text: str) -> None:
        index = self._strings.get(text)
        if index is not None:
            self._get(index)
            return
        data = text.encode("utf-8", "surrogatepass")
        self.parts.append(b"X" + struct.pack("<I", len(data)) + data)
        self._strings[text] = self._put()

    def _needs(self, protocol: int) -> None:
        self.protocol = max(self.protocol, protocol)

    def _put(self) -> int:
        index = len(self._memo) + len(self._strings) + len(self._globals)
        self.parts.append(b"q" + bytes((index,)) if index < 256 else b"r" + struct.pack("<I", index))
        return index

    def _get(self, index: int) -> None:
        self.parts.append(b"h" + bytes((index,)) if index < 256 else b"j" + struct.pack("<I", index))

    def _remember(self, node: Node) -> None:
        self._memo[id(node)] = self._put()
        # what is freed may give its id to another node
        self._alive.append(node)

    def _finish(self, node: Node, opcode: bytes, depth: int) -> None:
        """End a node whose parts lie on the stack, unless a loop through them has written it already."""
        if id(node) in self._memo:
            self.parts.append(b"0" * depth)
            self._get(self._memo[id(node)])
        else:
            self.parts.append(opcode)
            self._remember(node)

    def _list_or_dict(self, node: list[Node] | Dict) -> _Steps:
        self.parts.append(b"}" if type(node) is Dict else b"]")
        # before its items: a list may hold itself
        self._remember(node)
        items = node.entries if isinstance(node, Dict) else node
        yield from self._batches(items, b"u" if type(node) is Dict else b"e")

    def _tuple(self, node: tuple[Node, ...]) -> _Steps:
        if not node:
            self.parts.append(b")")
            return
        if len(node) > 3:
            self.parts.append(b"(")
        yield from node
        if len(node) <= 3:
            self._finish(node, (b"\x85", b"\x86", b"\x87")[len(node) - 1], len(node))
        elif id(node) in self._memo:
            self.parts.append(b"1")
            self._get(self._memo[id(node)])
        else:
            self._finish(node, b"t", 0)

    def _global(self, node: Global) -> _Steps:
        index = self._globals.get((node.module, node.name))
        if index is not None:
            self._get(index)
            return
        # GLOBAL ends each name with a newline, and finds no class within a class; STACK_GLOBAL does
        plain = "\n" not in node.module + node.name and "." not in node.name
        if plain:
            self.parts.append(b"c" + f"{node.module}\n{node.name}\n".encode("utf-8", "surrogatepass"))
        else:
            self._needs(4)
            yield node.module
            yield node.name
            self.parts.append(b"\x93")
        self._globals[node.module, node.name] = self._put()

    def _persistent(self, node: Persistent) -> _Steps:
        yield node.id
        self._finish(node, b"Q", 1)
        self.persistents.append(node)

    def _items(self, node: Items) -> _Steps:
        if node.kind == "bytearray":
            self._needs(5)
            data = node.items[0]
            self.parts.append(b"\x96" + struct.pack("<Q", len(data)) + data)
            self._remember(node)
        elif node.kind == "set":
            self._needs(4)
            self.parts.append(b"\x8f")
            self._remember(node)
            yield from self._batches(node.items, b"\x90")
        else:
            self._needs(4)
            self.parts.append(b"(")
            yield from node.items
            self.parts.append(b"\x91")
            # a frozenset is made of its items, which cannot hold it yet
            self._remember(node)

    def _call(self, node: Call) -> _Steps:
        yield from _CALLS[node.kind](self, node)
        yield from self._batches(node.items or [], b"e")
        yield from self._batches(node.entries or [], b"u")
        for state in node.states or ():
            yield state
            self.parts.append(b"b")

    def _object(self, node: Call) -> _Steps:
        yield node.function
        yield node.args
        if node.kind == "newobj_ex":
            # keyword arguments came with protocol 4
            self._needs(4)
            yield () if node.kwargs is ABSENT else node.kwargs
            self._finish(node, b"\x92", 3)
        else:
            self._finish(node, b"R" if node.kind == "reduce" else b"\x81", 2)

    def _instance(self, node: Call) -> _Steps:
        """INST and OBJ are protocol 0 and 1: instances of Python 2's old classes."""
        self.parts.append(b"(")
        if node.kind == "obj":
            yield node.function
        yield from node.args
        name = b"o" if node.kind == "obj" else b"i" + f"{node.function.module}\n{node.function.name}\n".encode()
        self.parts.append(name)
        self._remember(node)

    def _batches(self, items: list[Node], opcode: bytes) -> Iterator[Node]:
        for start in range(0, len(items), _BATCH):
            self.parts.append(b"(")
            yield from items[start : start + _BATCH]
            self.parts.append(opcode)


_DONE = object()


def _integer(value: int) -> bytes:
    if 0 <= value < 256:
        return b"K" + bytes((value,))
    if 0 <= value < 65536:
        return b"M" + struct.pack("<H", value)
    if -(1 << 31) <= value < 1 << 31:
        return b"J" + struct.pack("<i", value)
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return (b"\x8a" + bytes((len(data),)) if len(data) < 256 else b"\x8b" + struct.pack("<i", len(data))) + data


_LEAVES: dict[type, Callable[[Any], bytes]] = {
    type(None): lambda _: b"N",
    bool: lambda value: b"\x88" if value else b"\x89",
    int: _integer,
    # BINFLOAT alone among the opcodes is big-endian
    float: lambda value: b"G" + struct.pack(">d", value),
}

_CONTAINERS: dict[type, Callable[[_Emitter, Any], _Steps]] = {
    list: _Emitter._list_or_dict,
    tuple: _Emitter._tuple,
    Dict: _Emitter._list_or_dict,
    Items: _Emitter._items,
    Global: _Emitter._global,
    Persistent: _Emitter._persistent,
    Call: _Emitter._call,
}

_CALLS: dict[str, Callable[[_Emitter, Call], _Steps]] = {
    "reduce": _Emitter._object,
    "newobj": _Emitter._object,
    "newobj_ex": _Emitter._object,
    "inst": _Emitter._instance,
    "obj": _Emitter._instance,
}

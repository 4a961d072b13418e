r"""Spans of pickles that come again in file after file, decoded once: weights and optimizer state of one architecture.

A span is what stands between a mark and the ``SETITEMS`` that stores the entries above it. The checkpoints of an
architecture differ in epochs, metrics and paths; the spans of their weights and of the state of their optimizers are the same
bytes, and these are nine tenths of a pickle. Where the bytes are equal, and all that they read from the memo is equal too,
an unpickler does the same with them, and so their nodes can be those that the machine made the last time.

Several decoded pickles share such nodes, so that none of them may change one. `Span.holds` tells the machine which ones they
are; a pickle that stores something into one of them afterwards (none of torch does) is decoded again without spans.
"""

from __future__ import annotations

import struct

from viscy_compat.annotations import Final
from viscy_compat.checkpoint.limits import Limits
from viscy_compat.checkpoint.pickle_nodes import Call, Dict, Global, Node, Persistent, walk
from viscy_compat.named import NamedTuple

_HEAD: Final = 64
"""Bytes by which spans are looked up: in them come the first key and the memo entries that the first tensor reads."""
_LARGEST: Final = 100_000
_MOST: Final = 500_000
"""Bytes of one span, and of all that are kept: their nodes take fourteen times as much."""
_ALIKE: Final = 8
"""Spans that begin with the same bytes: architectures that differ further behind."""
_MOST_NODES: Final = 100_000
"""Nodes of one span: a bound for hostile graphs."""
_SEEN: Final = 1_000
"""Hashes of spans that came once. Only what comes twice is kept, so that a single file pays for no more than its hash."""

_U32: Final = struct.Struct("<I").unpack_from
_WIDTHS: Final = {
    **dict.fromkeys(b"()NQRtu}\x85\x86\x87\x88\x89", 0),
    **dict.fromkeys(b"Khq", 1),
    **dict.fromkeys(b"M", 2),
    **dict.fromkeys(b"Jjr", 4),
    **dict.fromkeys(b"G", 8),
}
"""Opcodes that a span may consist of besides ``BINUNICODE`` and ``GLOBAL``, and the bytes of their operands."""


class _Survey(NamedTuple):
    """What a span does to the machine besides pushing values: all that depends on something outside of it.

    ``gets`` are memo entries that it reads and did not put there, ``puts`` those that it puts there; ``names`` are in order of
    appearance; ``depth`` counts the marks that are open at once.
    """

    gets: frozenset[int]
    puts: frozenset[int]
    names: tuple[tuple[str, str], ...]
    opcodes: int
    depth: int

    def is_portable(self, memo: dict[int, Node], nodes: list[Node]) -> bool:
        """Say whether the span can mean the same elsewhere: what it reads can be compared, what it calls has a name."""
        return (
            not self.gets & self.puts
            and all(type(memo[index]) in (str, Global) for index in self.gets)
            and all(type(node.function) is Global for node in nodes if type(node) is Call)
            and len(nodes) < _MOST_NODES
        )


def _survey(data: bytes) -> _Survey | None:
    """Go through a span that the machine has decoded without an error; None where it holds other opcodes than weights do."""
    gets: set[int] = set()
    puts: set[int] = set()
    names: list[tuple[str, str]] = []
    at, opcodes, depth, deepest = 0, 0, 1, 1
    while at < len(data):
        op = data[at]
        at += 1
        opcodes += 1
        if op == 0x58:  # BINUNICODE
            at += 4 + _U32(data, at)[0]
            continue
        if op == 0x63:  # GLOBAL
            module, name, _ = data[at:].split(b"\n", 2)
            at += len(module) + len(name) + 2
            names.append((str(module, "utf-8"), str(name, "utf-8")))
            continue
        width = _WIDTHS.get(op)
        if width is None:
            return None
        if op in b"hj":
            index = data[at] if op == 0x68 else _U32(data, at)[0]
            if index not in puts:
                gets.add(index)
        elif op in b"qr":
            puts.add(data[at] if op == 0x71 else _U32(data, at)[0])
        elif op == 0x28:  # MARK
            depth += 1
            deepest = max(deepest, depth)
        elif op in b"tu":
            depth -= 1
            # the mark of the span itself is closed by its last opcode alone
            if not depth and at < len(data):
                return None
        at += width
    return _Survey(frozenset(gets), puts=frozenset(puts), names=tuple(names), opcodes=opcodes, depth=deepest)


class Span:
    """A span, the nodes that it decodes to, and what it needs for them to mean the same.

    Attributes
    ----------
    data : bytes
        From after the mark to ``SETITEMS``, which is included.
    entries : tuple[Node, ...]
        Keys and values in turn.
    puts : dict[int, Node]
        What it leaves in the memo, but for globals.
    imports : dict[int, tuple[str, str]]
        Module and name of the globals that it leaves there: each pickle has its own, which know what it does with them.
    persistents : tuple[Persistent, ...]
        Those within, in order.
    names, calls : tuple[tuple[str, str], ...]
        Module and name of what it imports, and of what it calls.
    opcodes, depth : int
        Steps of the machine, and marks that are open at once.
    """

    __slots__ = (
        "_limits",
        "_mutable",
        "_needs",
        "calls",
        "data",
        "depth",
        "entries",
        "imports",
        "names",
        "opcodes",
        "persistents",
        "puts",
    )

    def __init__(
        self,
        data: bytes,
        survey: _Survey,
        memo: dict[int, Node],
        *,
        entries: list[Node],
        nodes: list[Node],
        persistents: list[Persistent],
        limits: Limits,
    ) -> None:
        self.data, self._limits = data, limits
        self.names, self.opcodes, self.depth = survey.names, survey.opcodes, survey.depth
        self.entries, self.persistents = tuple(entries), tuple(persistents)
        puts = {index: memo[index] for index in survey.puts}
        self.imports = {index: (node.module, node.name) for index, node in puts.items() if type(node) is Global}
        self.puts = {index: node for index, node in puts.items() if type(node) is not Global}
        functions = [node.function for node in nodes if type(node) is Call]
        self.calls = tuple({(function.module, function.name): None for function in functions})
        self._needs = {index: memo[index] for index in survey.gets}
        self._mutable = frozenset(id(node) for node in nodes if type(node) in (Call, Dict))

    def fits(self, memo: dict[int, Node], limits: Limits) -> bool:
        """Say whether the span means the same beside another memo."""
        return limits == self._limits and all(_is_same(memo.get(index), node) for index, node in self._needs.items())

    def holds(self, node: Node) -> bool:
        """Say whether a node is one of its own that something can be stored into."""
        return id(node) in self._mutable


def _is_same(one: Node, other: Node) -> bool:
    if type(one) is Global and type(other) is Global:
        return one.module == other.module and one.name == other.name
    return type(one) is str and type(other) is str and one == other


class RecentSpans:
    """The spans that came twice. Once they are too many, all are forgotten, and those that are still in use come again.

    Whoever joins the nodes of several files reads them without: one node may stand for the storages of two.
    """

    __slots__ = ("_hashes", "_heads", "_size")

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Forget all."""
        self._heads: dict[bytes, list[Span]] = {}
        self._hashes: set[int] = set()
        self._size = 0

    def find(self, data: bytes, at: int, memo: dict[int, Node], limits: Limits) -> Span | None:
        """Return the span that a pickle holds at a place, where it means what it meant before."""
        for span in self._heads.get(data[at : at + _HEAD], ()):
            if data.startswith(span.data, at) and span.fits(memo, limits):
                return span
        return None

    def keep(
        self, data: bytes, memo: dict[int, Node], entries: list[Node], persistents: list[Persistent], limits: Limits
    ) -> Span | None:
        """Keep a span that the machine has just decoded, if it came before; return it then."""
        if len(data) > _LARGEST:
            return None
        mark = hash(data)
        if mark not in self._hashes:
            if len(self._hashes) == _SEEN:
                self._hashes.clear()
            self._hashes.add(mark)
            return None
        survey = _survey(data)
        nodes = list(walk(entries, most=_MOST_NODES)) if survey is not None else []
        if survey is None or not survey.is_portable(memo, nodes):
            return None
        span = Span(data, survey, memo, entries=entries, nodes=nodes, persistents=persistents, limits=limits)
        self._size += len(data)
        if self._size > _MOST:
            self.forget()
            self._size = len(data)
        alike = self._heads.setdefault(data[:_HEAD], [])
        alike.append(span)
        # a bound for hostile files: they are compared one after the other
        if len(alike) > _ALIKE:
            self._size -= len(alike.pop(0).data)
        return span

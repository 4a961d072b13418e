"""Inert nodes as the Python values that hyper-parameters are made of; what cannot be read exactly says so.

Forms that people's files have: dictionaries and their subclasses, argparse and other namespaces, dataclasses, numpy
scalars and arrays (numpy 1.19 to 2.4, pickle protocols 2 to 5), OmegaConf containers (2.1 to 2.4), ``torch.Size``,
paths, and the enumerations of MONAI.
"""

from __future__ import annotations

import struct
from math import prod

from viscy_compat.annotations import Any, Final
from viscy_compat.checkpoint.pickle_nodes import (
    ABSENT,
    Call,
    Dict,
    Global,
    Items,
    Node,
    Persistent,
    Unread,
    entries_of,
    mapping_of,
)
from viscy_compat.checkpoint.plain import plain
from viscy_compat.checkpoint.rebuild import is_tensor

# bounds for hostile graphs: hyper-parameters nest a few levels deep, and have some hundreds of values
_DEPTH: Final = 32
_MOST: Final = 20_000
_MOST_ELEMENTS: Final = 4096
# no argument of a model is larger than a size, which torch holds in 63 bits
_MOST_BITS: Final = 63
_CODES: Final = {
    "b1": "?",
    "i1": "b",
    "i2": "h",
    "i4": "i",
    "i8": "q",
    "u1": "B",
    "u2": "H",
    "u4": "I",
    "u8": "Q",
    "f2": "e",
    "f4": "f",
    "f8": "d",
}
"""struct's codes for numpy's kinds of number; the longer floats have no exact counterpart in Python."""


def value_of(node: Node) -> Any:
    """Return a node as dictionaries, lists, texts and numbers, with `Unread` where a value cannot be read exactly.

    Nothing is imported and nothing is called. Keys that are no text are left out.

    Examples
    --------
    >>> value_of(Dict(["stride", (5, 4), "loss", Global("torch.nn", "MSELoss")]))
    {'stride': [5, 4], 'loss': Unread(what='the name torch.nn.MSELoss')}
    >>> value_of(Call(Global("argparse", "Namespace"), (), "newobj"))
    Unread(what='an object of argparse.Namespace')
    """
    return _ValueReader().value(node, _DEPTH)


class _ValueReader:
    """One walk through a graph: how many values are left, what is being looked into, and what shared nodes became."""

    __slots__ = ("_known", "_left", "_open")

    def __init__(self) -> None:
        self._left, self._open = _MOST, set[int]()
        self._known: dict[int, Any] = {}

    def value(self, node: Node, depth: int) -> Any:
        kind = type(node)
        if node is None or kind in (bool, float, str):
            return node
        if kind is int:
            return node if node.bit_length() <= _MOST_BITS else Unread("a number beyond 63 bits")
        if id(node) in self._known:
            return self._known[id(node)]
        self._left -= 1
        if self._left < 0 or depth < 0 or id(node) in self._open:
            return Unread("a structure without an end" if id(node) in self._open else "a structure too large to read")
        self._open.add(id(node))
        value = self._known[id(node)] = self._container(node, depth)
        self._open.discard(id(node))
        return value

    def _container(self, node: Node, depth: int) -> Any:
        if type(node) in (list, tuple):
            # no more items than may still be read, and one that says that there were more
            return [self.value(item, depth - 1) for item in node[: self._left + 1]]
        entries = entries_of(node)
        if entries is not None:
            return self._mapping(entries, depth)
        if type(node) is Call:
            return self._call(node, depth)
        return Unread(_describe(node))

    def _mapping(self, entries: list[Node], depth: int) -> dict[str, Any]:
        pairs = zip(entries[::2], entries[1::2], strict=True)
        return {key: self.value(item, depth - 1) for key, item in pairs if type(key) is str}

    def _call(self, node: Call, depth: int) -> Any:
        path = node.function.path if type(node.function) is Global else ""
        name = path.rpartition(".")[2]
        args = _arguments(node)
        texts = bool(args) and all(type(part) is str for part in args)
        if is_tensor(node):
            return Unread("a tensor")
        if path.startswith("numpy") and name in _NUMPY:
            return self._numpy(node, name, depth)
        if path.startswith("omegaconf."):
            # a container keeps what it holds in `_content`, a leaf in `_val`; interpolations are not resolved
            fields = _attributes(node.state) or {}
            content = fields.get("_content", fields.get("_val", ABSENT))
            if type(content) is str and ("${" in content or content == "???"):
                return Unread(f"the interpolation {content}" if "${" in content else "a missing value of OmegaConf")
            return Unread("an object of OmegaConf") if content is ABSENT else self.value(content, depth - 1)
        if path == "torch.Size" and args:
            return self.value(args[0], depth - 1)
        # an enumeration of texts, which pickles as its class called with the value
        if path.startswith("monai.") and node.kind == "reduce" and texts and len(args) == 1:
            return args[0]
        if name.endswith("Path") and texts:
            return plain(node, most=50)
        return self._object(node, path, depth)

    def _object(self, node: Call, path: str, depth: int) -> Any:
        """Return the attributes of an object, or the entries of a subclass of dict."""
        if node.entries is not None:
            return self._mapping(node.entries, depth)
        fields = _attributes(node.state)
        if fields is None or "_modules" in fields:
            return Unread(f"an object of {path}" if path else "what a call returns")
        return {name: self.value(item, depth - 1) for name, item in fields.items()}

    def _numpy(self, node: Call, name: str, depth: int) -> Any:
        args = _arguments(node)
        if name == "scalar" and len(args) == 2:
            values = _numbers(args[0], args[1], 1)
            return Unread("a numpy scalar of a kind that is not read") if values is None else values[0]
        shape, dtype, fortran, data = _array_parts(node, name)
        count = prod(shape) if shape is not None else 0
        # with one axis both orders are the same
        if shape is None or count > _MOST_ELEMENTS or (fortran and len(shape) > 1):
            return Unread("a numpy array that is not read")
        flat = [self.value(item, depth - 1) for item in data] if type(data) is list else _numbers(dtype, data, count)
        if flat is None or len(flat) != count:
            return Unread("a numpy array that is not read")
        # lists within lists, from the innermost axis outwards; an array of no axis is its one element
        for size in reversed(shape[1:]):
            flat = [flat[place : place + size] for place in range(0, len(flat), size)] if size else []
        return flat if shape else flat[0]


_NUMPY: Final = ("scalar", "_reconstruct", "_frombuffer")
"""What numpy rebuilds scalars and arrays with, in protocols up to 4 and from 5 on."""


def _array_parts(node: Call, name: str) -> tuple[tuple[int, ...] | None, Node, bool, Node]:
    """Return shape, dtype, whether the order is Fortran's, and the data; no shape where this is no array."""
    args = _arguments(node)
    if name == "_frombuffer" and len(args) == 4:
        data, dtype, shape, order = args
        fortran: Node = order == "F"
    elif type(node.state) is tuple and len(node.state) == 5:
        _, shape, dtype, fortran, data = node.state
    else:
        return None, None, False, None
    sound = (
        type(shape) is tuple and len(shape) <= 8 and all(type(size) is int and 0 <= size < 1 << 31 for size in shape)
    )
    return shape if sound else None, dtype, bool(fortran), data


def _numbers(dtype: Node, data: Node, count: int) -> list[Any] | None:
    """Return the elements that bytes of a numpy dtype hold; None for kinds that Python has no exact value for."""
    raw, kind = _bytes_in(data), next(iter(_arguments(dtype)), None)
    if raw is None or type(kind) is not str:
        return None
    order = dtype.state[1] if type(dtype.state) is tuple and len(dtype.state) > 1 else "<"
    # numpy keeps a text as UTF-32, filled up with zeros
    if kind[:1] == "U" and count == 1 and order in ("<", ">"):
        return [raw.decode("utf-32-le" if order == "<" else "utf-32-be", "replace").rstrip("\0")]
    code = _CODES.get(kind)
    if code is None or order not in ("<", ">", "|", "=") or len(raw) != count * int(kind[1:]):
        return None
    return list(struct.unpack(f"{'>' if order == '>' else '<'}{count}{code}", raw))


def _bytes_in(node: Node) -> bytes | None:
    """Return bytes as every protocol writes them: protocol 2 encodes a text in Latin-1."""
    if type(node) is bytes:
        return node
    if type(node) is Items and node.kind == "bytearray":
        return bytes(node.items[0])
    if type(node) is Call and type(node.function) is Global and node.function.path == "_codecs.encode":
        args = _arguments(node)
        if len(args) == 2 and type(args[0]) is str and args[1] == "latin1" and max(args[0], default="") < "\u0100":
            return args[0].encode("latin1")
    return None


def _arguments(node: Node) -> tuple[Node, ...]:
    """Return what a call is called with; nothing where that is no tuple."""
    return node.args if type(node) is Call and type(node.args) is tuple else ()


def _attributes(state: Node) -> dict[str, Node] | None:
    """Return an object's ``__dict__``, or its slots where it has only those."""
    # (__dict__, slots), as object.__reduce_ex__ writes where a class has slots
    if type(state) is tuple and len(state) == 2:
        state = state[0] if type(state[0]) is Dict else state[1]
    fields = mapping_of(state) if type(state) is Dict else None
    # pydantic writes a record about the object, which has the attributes in it
    if fields is not None and "__pydantic_fields_set__" in fields:
        return mapping_of(fields.get("__dict__"))
    return fields


def _describe(node: Node) -> str:
    if type(node) is Global:
        return f"the name {node.path}"
    if type(node) is Persistent:
        return "a storage"
    return f"a {node.kind}" if type(node) is Items else "bytes" if type(node) is bytes else "a value of an unknown kind"

"""Nodes that torch's default refuses and that have a plain form which it reads: the same value, or one that is said.

Nothing is said where the value is exactly the same once it is loaded (bytes, sets, another name of OrderedDict).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from viscy_compat.checkpoint.inert import Call, Dict, Global, Items, Node
from viscy_compat.named import NamedTuple


class Conversion(NamedTuple):
    """The plain form of a node: ``form`` says what it is now, and is empty where it is the very same value."""

    node: Node
    form: str = ""


def conversion_of(node: Node) -> Conversion | None:
    """Return the plain form of a node; None where it needs none or has none.

    Examples
    --------
    >>> conversion_of(Call(Global("pathlib", "PosixPath"), ("/", "data", "a.zarr")))
    Conversion(node='/data/a.zarr', form='text')
    >>> conversion_of(Call(Global("types", "SimpleNamespace"), ())) is None
    True
    """
    if type(node) is bytes:
        return Conversion(_encoded(node))
    if type(node) is Items:
        return _of_items(node)
    if type(node) is Call and type(node.function) is Global:
        convert = _CALLS.get(node.function.name)
        return convert(node) if convert else None
    return None


def _encoded(data: bytes) -> Call:
    """Return bytes as pickle protocol 2 has them: a text whose characters are the bytes."""
    return Call(Global("_codecs", "encode"), (data.decode("latin-1"), "latin1"))


def _of_items(node: Items) -> Conversion | None:
    if node.kind == "set":
        return Conversion(Call(Global("builtins", "set"), (list(node.items),)))
    if node.kind == "bytearray":
        return Conversion(Call(Global("builtins", "bytearray"), (_encoded(bytes(node.items[0])),)))
    return None


def _path(node: Call) -> Conversion | None:
    """Return the text of a path: a change, since code may have used it as a path."""
    parts = node.args if type(node.args) is tuple else ()
    if not node.function.module.startswith("pathlib") or not parts or any(type(part) is not str for part in parts):
        return None
    joint = "\\" if "Windows" in node.function.name else "/"
    root, rest = parts[0], joint.join(parts[1:])
    return Conversion(root + ("" if root.endswith(joint) or not rest else joint) + rest, "text")


def _text(node: Call) -> Conversion | None:
    """Return a version as the text that it is."""
    args = node.args if type(node.args) is tuple else ()
    return Conversion(args[0], "text") if len(args) == 1 and type(args[0]) is str else None


def _dictionary(node: Call) -> Conversion | None:
    """Return a subclass of dict as a dictionary with the same entries, where it holds nothing else."""
    if node.function.module.partition(".")[0] not in _DICTIONARIES or node.states:
        return None
    return Conversion(Dict(node.entries or []), "dictionary")


def _ordered(node: Call) -> Conversion | None:
    """Return an OrderedDict under its own name; old files found it in a module of torch that imported it."""
    if node.function.module == "collections":
        return None
    copy = Call(Global("collections", "OrderedDict"), node.args, node.kind, node.kwargs)
    copy.entries, copy.items, copy.states = node.entries, node.items, node.states
    return Conversion(copy) if node.function.module == "torch.nn.modules.container" else None


_DICTIONARIES: Final = ("collections", "lightning", "lightning_fabric", "pytorch_lightning")
_CALLS: Final[dict[str, Callable[[Call], Conversion | None]]] = {
    **dict.fromkeys(("Path", "PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath"), _path),
    "TorchVersion": _text,
    "AttributeDict": _dictionary,
    "defaultdict": _dictionary,
    "OrderedDict": _ordered,
}

"""Inert nodes as JSON values: what hyper-parameters and other small entries say, without building any object."""

from __future__ import annotations

from viscy_compat.annotations import Any, Mapping
from viscy_compat.checkpoint.pickle_nodes import (
    Call,
    Dict,
    Global,
    Items,
    Node,
    Persistent,
    children,
    entries_of,
    is_global,
    walk,
)
from viscy_compat.checkpoint.rebuild import is_tensor

_DEPTH = 32
"""Levels below which only ``...`` is said."""
_MOST = 20_000
"""Values in one answer: hyper-parameters have some hundreds."""
_NODES = 200_000
"""Nodes that are searched for paths: a bound for hostile graphs."""
_PATHS = ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath", "Path")


def plain(node: Node, *, most: int = _MOST) -> Any:
    """Return a node as dictionaries, lists, texts and numbers.

    Objects become what they hold (``Namespace``, ``AttributeDict``, dataclasses: a dictionary with their class under
    ``"class"``), paths become texts, names become ``"<module.name>"``, tensors ``"<tensor>"``. Beyond `most` values or
    32 levels it says ``"..."``: graphs can be endless.

    Examples
    --------
    >>> plain(Dict(["lr", 0.1, "dims", (1, 2), "loss", Global("torch.nn", "MSELoss")]))
    {'lr': 0.1, 'dims': [1, 2], 'loss': '<torch.nn.MSELoss>'}
    """
    return _Plainer(most).value(node, _DEPTH)


class _Plainer:
    __slots__ = ("_left",)

    def __init__(self, most: int) -> None:
        self._left = most

    def value(self, node: Node, depth: int) -> Any:
        self._left -= 1
        if self._left < 0 or depth < 0:
            return "..."
        kind = type(node)
        if node is None or kind in (bool, float, str):
            return node
        if kind is int:
            return node if node.bit_length() < 2048 else "<a huge integer>"
        if kind is list or kind is tuple:
            return [self.value(item, depth - 1) for item in node[: max(self._left, 0)]]
        if kind is Items and node.kind != "bytearray":
            return [self.value(item, depth - 1) for item in node.items[: max(self._left, 0)]]
        if kind is Global:
            return f"<{node.path}>"
        entries = entries_of(node)
        if entries is not None:
            return self.mapping(entries, depth)
        if kind is Call:
            return self.object(node, depth)
        raw = node.items[0] if kind is Items else node
        return "<storage>" if kind is Persistent else f"<{len(raw)} bytes>" if type(raw) is bytes else "<?>"

    def mapping(self, entries: list[Node], depth: int) -> dict[str, Any]:
        first_entries = entries[: 2 * max(self._left, 0)]
        pairs = zip(first_entries[::2], first_entries[1::2], strict=True)
        return {self.key(key, depth): self.value(value, depth - 1) for key, value in pairs}

    def key(self, key: Node, depth: int) -> str:
        return key if type(key) is str else str(self.value(key, min(depth - 1, 2)))

    def object(self, node: Call, depth: int) -> Any:
        if is_tensor(node):
            return "<tensor>"
        path = node.function.path if type(node.function) is Global else "?"
        if path.rpartition(".")[2] in _PATHS and all(type(part) is str for part in node.args):
            return "/".join(part.rstrip("/\\") for part in node.args) or "/"
        entries = node.entries
        # a subclass of dict: protocols 0 and 1 give its entries to the function that rebuilds it
        is_rebuilt = any(is_global(node.function, f"{module}._reconstructor") for module in ("copy_reg", "copyreg"))
        if is_rebuilt and len(node.args) == 3 and type(node.args[2]) is Dict:
            entries = node.args[2].entries
        if entries:
            return self.mapping(entries, depth)
        if type(node.state) is Dict:
            return {"class": path, **self.mapping(node.state.entries, depth)}
        if node.kind == "reduce" and len(node.args) == 1 and type(node.args[0]) in (str, int, float, tuple, list):
            return self.value(node.args[0], depth - 1)
        return f"<{path}>"


def absolute_paths(entries: Mapping[str, Node], *, most: int = 200) -> tuple[str, ...]:
    """Return texts that are absolute paths of some machine, without repetitions.

    A graph of more than 400,000 nodes is searched in part.

    Examples
    --------
    >>> absolute_paths({"dirpath": "/home/ada/runs", "name": "a/b", "drive": "C:\\\\runs\\\\1"})
    ('/home/ada/runs', 'C:\\\\runs\\\\1')
    """
    paths: dict[str, None] = {}
    for node in walk(list(entries.values()), most=_NODES):
        for child in children(node):
            if type(child) is str and len(paths) < most and is_absolute(child):
                paths[child] = None
        if type(node) is Call and len(node.args) > 1 and node.args[0] == "/" and type(node.args[1]) is str:
            paths[str(plain(node, most=50))] = None
    return tuple(paths)


def is_absolute(text: str) -> bool:
    r"""Say whether a text is an absolute path of Unix or Windows, or on a share.

    Examples
    --------
    >>> is_absolute("/hpc/x/y"), is_absolute("C:/x"), is_absolute("a/b"), is_absolute("/"), is_absolute("// note")
    (True, True, False, False, False)
    """
    if len(text) > 4096 or "\n" in text:
        return False
    unix = text[:1] == "/" and text.count("/") > 1 and text[1:2] not in ("", "/", " ", "*")
    windows = text[1:3] in (":\\", ":/") and text[:1].isascii() and text[:1].isalpha() and len(text) > 3
    return unix or windows or (text[:2] == "\\\\" and text.count("\\") > 3)

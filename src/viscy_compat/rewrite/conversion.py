"""Nodes that torch's default refuses and that have a plain form which it reads: the same value, or one that is said.

Nothing is said where the value is exactly the same once it is loaded (bytes, sets, another name of OrderedDict).
"""

from __future__ import annotations

from viscy_compat.annotations import Any, Callable, Final
from viscy_compat.checkpoint.pickle_nodes import ABSENT, Call, Dict, Global, Items, Node, Unread
from viscy_compat.checkpoint.values import value_of
from viscy_compat.named import NamedTuple


class PlainForm(NamedTuple):
    """The plain form of a node: ``form`` says what it is now, and is empty where it is the very same value."""

    node: Node
    form: str = ""


def plain_form(node: Node) -> PlainForm | None:
    """Return the plain form of a node; None where it needs none or has none.

    Examples
    --------
    >>> plain_form(Call(Global("pathlib", "PosixPath"), ("/", "data", "a.zarr")))
    PlainForm(node='/data/a.zarr', form='text')
    >>> plain_form(Call(Global("types", "SimpleNamespace"), ())) is None
    True
    """
    if type(node) is bytes:
        return PlainForm(_encode(node))
    if type(node) is Items:
        if node.kind == "set":
            return PlainForm(Call(Global("builtins", "set"), (list(node.items),)))
        if node.kind == "bytearray":
            return PlainForm(Call(Global("builtins", "bytearray"), (_encode(bytes(node.items[0])),)))
        return None
    if type(node) is Call and type(node.function) is Global:
        convert = _CALLS.get(node.function.name)
        return convert(node) if convert else None
    return None


def _encode(data: bytes) -> Call:
    """Return bytes as pickle protocol 2 has them: a text whose characters are the bytes."""
    return Call(Global("_codecs", "encode"), (data.decode("latin-1"), "latin1"))


def _text(node: Call) -> PlainForm | None:
    """Return the text that a path or a version is: a change, since code may have used it as more than a text."""
    parts = node.args if type(node.args) is tuple else ()
    if not parts or any(type(part) is not str for part in parts):
        return None
    if node.function.name == "TorchVersion":
        return PlainForm(parts[0], "text") if len(parts) == 1 else None
    if not node.function.module.startswith("pathlib"):
        return None
    joint = "\\" if "Windows" in node.function.name else "/"
    # pathlib pickles a path as its parts, the root first, which ends with a slash already
    root, rest = parts[0], joint.join(parts[1:])
    return PlainForm(root + ("" if root.endswith(joint) or not rest else joint) + rest, "text")


def _dictionary(node: Call) -> PlainForm | None:
    """Return a subclass of dict as a dictionary with the same entries, where it holds nothing else."""
    if node.function.module.partition(".")[0] not in _DICTIONARIES or node.states:
        return None
    return PlainForm(Dict(node.entries or []), "dictionary")


def _scalar(node: Call) -> PlainForm | None:
    """Return a numpy scalar as the number that it is."""
    value = value_of(node) if node.function.module.startswith("numpy") else None
    return PlainForm(value, "number") if type(value) in (bool, int, float) else None


def _container(node: Call) -> PlainForm | None:
    """Return a numpy array or a container of OmegaConf as lists and dictionaries, where all of it can be read exactly."""
    if node.function.module.partition(".")[0] not in ("numpy", "omegaconf"):
        return None
    plain = _node_of(value_of(node))
    if node.function.module.startswith("numpy") and not _is_numbers(plain):
        return None
    form = "dictionary" if type(plain) is Dict else "list"
    return PlainForm(plain, form) if type(plain) in (Dict, list) else None


def _is_numbers(node: Node) -> bool:
    """Whether a node holds nothing but numbers: an array of objects is no list of what these hold."""
    return all(map(_is_numbers, node)) if type(node) is list else type(node) in (bool, int, float)


def _node_of(value: Any) -> Node:
    """Return the node of a plain value; `ABSENT` where a part of it could not be read."""
    if isinstance(value, Unread):
        return ABSENT
    if isinstance(value, list):
        items = [_node_of(item) for item in value]
        return ABSENT if any(item is ABSENT for item in items) else items
    if isinstance(value, dict):
        entries = [item for key, item_value in value.items() for item in (key, _node_of(item_value))]
        return ABSENT if any(item is ABSENT for item in entries) else Dict(entries)
    return value


def _under_own_name(node: Call) -> PlainForm | None:
    """Return an OrderedDict under its own name; old files found it in a module of torch that imported it."""
    if node.function.module == "collections":
        return None
    copy = Call(Global("collections", "OrderedDict"), node.args, node.kind, node.kwargs)
    copy.entries, copy.items, copy.states = node.entries, node.items, node.states
    return PlainForm(copy) if node.function.module == "torch.nn.modules.container" else None


_DICTIONARIES: Final = ("collections", "lightning", "lightning_fabric", "pytorch_lightning")
"""Packages whose dictionaries hold nothing that a plain one does not: a class of somebody else's may."""

_CALLS: Final[dict[str, Callable[[Call], PlainForm | None]]] = {
    **dict.fromkeys(("Path", "PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath", "TorchVersion"), _text),
    "AttributeDict": _dictionary,
    "defaultdict": _dictionary,
    "OrderedDict": _under_own_name,
    "scalar": _scalar,
    **dict.fromkeys(("_reconstruct", "_frombuffer", "DictConfig", "ListConfig"), _container),
}

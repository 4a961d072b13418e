"""Tensors out of inert nodes: torch's rebuild functions, pattern-matched as data and never called.

The functions and their arguments are those of ``torch._utils`` (torch 1.0 to 2.15).
"""

from __future__ import annotations

from viscy_compat.annotations import Final, Mapping, NoReturn
from viscy_compat.checkpoint.dtypes import ITEMSIZES, STORAGE_DTYPES
from viscy_compat.checkpoint.facts import Storage, StoredTensor, UnreadableTensor
from viscy_compat.checkpoint.limits import Limits, beyond
from viscy_compat.checkpoint.pickle_machine import DecodedPickle
from viscy_compat.checkpoint.pickle_nodes import Call, Dict, Global, Node, Persistent
from viscy_compat.errors import UnreadableCheckpoint
from viscy_compat.layout import TensorSpec
from viscy_compat.named import NamedTuple

_STORAGE_MODULES: Final = ("torch", "torch.storage", "torch.cuda")
"""Where releases of torch had their storage classes; those of other modules are somebody else's."""

_KINDS: Final = {
    "torch._utils._rebuild_sparse_tensor": "a sparse tensor",
    "torch._utils._rebuild_sparse_csr_tensor": "a sparse tensor",
    "torch._utils._rebuild_qtensor": "a quantised tensor",
    "torch._utils._rebuild_nested_tensor": "a nested tensor",
    "torch._utils._rebuild_meta_tensor_no_storage": "a meta tensor, which has no values",
    "torch._utils._rebuild_device_tensor_from_numpy": "a tensor of a device, stored as a numpy array",
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": "a tensor of a device",
    "torch._utils._rebuild_xla_tensor": "a tensor of a device, stored as a numpy array",
    "torch._utils._rebuild_wrapper_subclass": "a tensor subclass",
    "torch._tensor._rebuild_from_type": "a tensor subclass",
    "torch._tensor._rebuild_from_type_v2": "a tensor subclass",
    "numpy.core.multiarray._reconstruct": "a numpy array",
    "numpy._core.multiarray._reconstruct": "a numpy array",
}

_VALUES: Final = frozenset(
    {
        "_codecs.encode",
        "_io.BytesIO",
        "builtins.bytearray",
        "__builtin__.bytearray",
        "collections.OrderedDict",
        "collections.defaultdict",
        "numpy.core.multiarray.scalar",
        "numpy._core.multiarray.scalar",
        "torch.Size",
        "torch.device",
    }
)
"""What makes bytes, numbers and containers: an entry of a state dict that is made so is no tensor, and was none.

Protocol 2, which torch writes, has no opcode for bytes: it calls ``_codecs.encode`` with a text.
"""

_TENSORS: Final = {
    "torch._utils._rebuild_tensor": 4,
    "torch._utils._rebuild_tensor_v2": 6,
    "torch._utils._rebuild_tensor_v3": 7,
}
_EXTRA_STATE: Final = "_extra_state"
"""The key of what `torch.nn.Module.get_extra_state` returns: anything, and no tensor of the model."""

_PARAMETERS: Final = ("torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state")
_PLAIN_TYPES: Final = ("torch._tensor.Tensor", "torch.Tensor", "torch.nn.parameter.Parameter", "torch.nn.Parameter")

TENSOR_FUNCTIONS: Final = frozenset({*_TENSORS, *_PARAMETERS, *(path for path in _KINDS if path[:6] == "torch.")})
"""Every function that rebuilds a tensor of some kind."""


_NUMBERS: Final = frozenset({int})
"""The type of whole numbers, and not that of True."""

BOUND: Final = 1 << 63
"""Numbers of elements and bytes are below it, in torch and in safetensors."""


def is_tensor(node: Node) -> bool:
    """Say whether a node stands for a tensor of any kind, readable or not."""
    return type(node) is Call and type(node.function) is Global and node.function.path in TENSOR_FUNCTIONS


def storage_dtype(node: Node) -> str | None:
    """Return the element type that a storage class stands for; None where the node is no storage class."""
    if type(node) is Global and node.module in _STORAGE_MODULES:
        return STORAGE_DTYPES.get(node.name)
    return None


class NotExact(Exception):
    """A tensor that cannot be read exactly: its VC4xx code, and a phrase that says why."""

    def __init__(self, code: str, reason: str) -> None:
        self.code, self.reason = code, reason
        super().__init__(reason)


def _refuse_tensor(code: str, reason: str) -> NoReturn:
    raise NotExact(code, reason)


def _refuse_limit(limits: Limits, name: str, enough: int, what: str) -> NoReturn:
    error = beyond(limits, name, enough, what, where="")
    raise NotExact(error.code, str(error))


class StorageView(NamedTuple):
    """What a persistent id stands for: a storage, its element type, and where in it the view starts (elements)."""

    storage: Storage
    dtype: str
    first: int = 0


def is_count(value: object) -> bool:
    """Say whether a value is a number of bytes or elements: torch and safetensors hold them in 63 bits.

    Examples
    --------
    >>> is_count(0), is_count(2**63 - 1), is_count(2**63), is_count(-1), is_count(True)
    (True, True, False, False, False)
    """
    return type(value) is int and 0 <= value < BOUND


def refuse_text_ids(pickle: DecodedPickle, where: str) -> None:
    """Refuse what torch.save(pickle_protocol=0) writes: ids are texts there, which no torch takes back.

    Raises
    ------
    UnreadableCheckpoint
        VC441 where a storage has a text for an id.
    """
    if not pickle.protocol and any(type(node.id) is str for node in pickle.persistents):
        raise UnreadableCheckpoint(
            "saved with pickle_protocol=0, which turns the ids of storages into texts: torch.load cannot read it either",
            where=where,
            fix="save it again with the protocol that torch.save takes by itself",
            code="VC441",
        )


def storage_id(node: Persistent) -> tuple[str, str, int]:
    """Return key, element type and number of elements out of torch's persistent id.

    Raises
    ------
    NotExact
        Where the id is not torch's.
    """
    identity = node.id
    if type(identity) is not tuple or len(identity) not in (5, 6) or identity[0] != "storage":
        _refuse_tensor("VC440", "a persistent id that is not torch's")
    # between them: where torch had it (`cpu`, `cuda:0`), which says nothing about its values
    kind, key, _, elements = identity[1:5]
    dtype = storage_dtype(kind)
    if dtype is None:
        _refuse_tensor(
            "VC441", f"a storage of an unknown class ({ascii(kind.path)[1:-1] if type(kind) is Global else '?'})"
        )
    if type(key) is not str or not is_count(elements):
        _refuse_tensor("VC440", "a storage without a key or a size")
    return key, dtype, elements


class _ShapeFacts(NamedTuple):
    """Shape and dtype, the elements from the first to the last one in the storage, and the bytes of all of them."""

    spec: TensorSpec
    reach: int
    nbytes: int


class Rebuilder:
    """Reads tensor nodes, given what each persistent id stands for.

    Parameters
    ----------
    storages : Mapping[int, StorageView | NotExact]
        By ``id`` of the `Persistent` node; `NotExact` says why a storage cannot be had.
    limits : Limits
        Rank of a tensor.
    """

    __slots__ = ("_known", "_limits", "_storages")

    def __init__(self, storages: Mapping[int, StorageView | NotExact], limits: Limits) -> None:
        self._storages = storages
        self._limits = limits
        self._known: dict[tuple[tuple[int, ...], tuple[int, ...], str], _ShapeFacts] = {}

    def entry(self, key: str, node: Node) -> StoredTensor | UnreadableTensor | None:
        """Read what stands under a key; None where it is no tensor and nothing that could have been one."""
        if type(node) is Persistent:
            return UnreadableTensor(key, "VC441", "a bare storage, without a shape")
        if type(node) is not Call:
            return None
        # no tensor: a plain value, or the extra state of a module, whatever made it
        path = node.function.path if type(node.function) is Global else ""
        if path not in TENSOR_FUNCTIONS and (path in _VALUES or key.rpartition(".")[2] == _EXTRA_STATE):
            return None
        try:
            return self._any_tensor(key, node, path)
        except NotExact as error:
            return UnreadableTensor(key, error.code, error.reason)

    def _any_tensor(self, key: str, node: Call, path: str) -> StoredTensor:
        arity = _TENSORS.get(path)
        if arity is not None:
            # newer torch adds a dictionary of flags (conjugated, negated) where one is set
            if len(node.args) != arity and (len(node.args) != arity + 1 or arity == 4):
                _refuse_tensor("VC440", f"{path} with {len(node.args)} arguments")
            return self._strided_tensor(key, node, arity)
        if path in _PARAMETERS:
            return self._parameter(key, node)
        if path == "torch._tensor._rebuild_from_type_v2":
            return self._typed_tensor(key, node)
        if path in _KINDS:
            _refuse_tensor("VC441", f"{_KINDS[path]} ({path})")
        _refuse_tensor(
            "VC443", f"made by {ascii(path)[1:-1] or 'a computed function'}, which is no way to make a tensor"
        )

    def _strided_tensor(self, key: str, node: Call, arity: int) -> StoredTensor:
        args = node.args
        try:
            view = self._storages[id(args[0])]
        except KeyError:
            _refuse_tensor("VC440", "no storage where one should be")
        if isinstance(view, NotExact):
            raise view
        storage, dtype, first = view
        # as nearly all are: neither a dtype of its own nor flags
        if not (len(args) == arity == 6 and dtype in ITEMSIZES):
            dtype = _dtype_of(args, arity, view)
        offset, shape, stride = args[1:4]
        # short tuples of numbers can be looked up: a stranger's could be anything, and True equals 1
        is_plain = type(shape) is type(stride) is tuple and len(shape) == len(stride) <= self._limits.rank
        is_plain = is_plain and {*map(type, shape + stride)} <= _NUMBERS
        facts = self._known.get((shape, stride, dtype)) if is_plain else None
        if facts is None:
            shape, stride = sizes_of(shape, self._limits), sizes_of(stride, self._limits)
        if type(offset) is not int or not 0 <= offset < BOUND:
            _refuse_tensor("VC440", "an offset that is no number, negative, or beyond 63 bits")
        spec, reach, nbytes = facts or self._facts_of_shape(shape, stride, dtype)
        offset += first
        # `_rebuild_tensor`, of torch before 0.4, does not know of gradients
        grad = arity > 4 and args[4] is True
        # what the tensor needs is compared with what its storage holds before anything is read
        needs, holds = (offset + reach) * ITEMSIZES[dtype], storage.nbytes
        if nbytes and needs > holds:
            what = f"shape {shape} with stride {stride} needs {needs} bytes, but its storage has {holds}"
            _refuse_tensor("VC440", what)
        # strides of 0 make a tensor of any size of one element: it would be written out in full
        if nbytes > holds + self._limits.expansion:
            _refuse_limit(self._limits, "expansion", nbytes - holds, f"shape {shape} is expanded")
        # without its constructor: a call with names takes twice the time, and there are tens of thousands
        tensor = StoredTensor.__new__(StoredTensor)
        tensor.key, tensor.spec, tensor.nbytes, tensor.node = key, spec, nbytes, node
        tensor.storage, tensor.stride, tensor.offset = storage, stride, offset
        tensor.parameter, tensor.requires_grad = False, grad
        return tensor

    def _facts_of_shape(self, shape: tuple[int, ...], stride: tuple[int, ...], dtype: str) -> _ShapeFacts:
        """Return what all tensors of a shape have in common; most have that of another one."""
        if len(shape) != len(stride):
            _refuse_tensor("VC440", f"{len(shape)} sizes and {len(stride)} strides")
        spec = TensorSpec(shape, dtype)
        reach = 1 + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
        facts = _ShapeFacts(spec, reach=reach, nbytes=spec.elements * ITEMSIZES[dtype])
        return self._known.setdefault((shape, stride, dtype), facts)

    def _parameter(self, key: str, node: Call) -> StoredTensor:
        if not 2 <= len(node.args) <= 4 or type(node.args[0]) is not Call or type(node.args[0].function) is not Global:
            _refuse_tensor("VC440", "a parameter without a tensor")
        # torch never nests them, and a hostile file could do so endlessly
        path = node.args[0].function.path
        if path in _PARAMETERS:
            _refuse_tensor("VC440", "a parameter of a parameter")
        tensor = self._any_tensor(key, node.args[0], path)
        # the flag of the parameter, and not of the tensor in it: that is its `data`, which needs no gradient
        tensor.parameter, tensor.requires_grad, tensor.node = True, node.args[1] is True, node
        return tensor

    def _typed_tensor(self, key: str, node: Call) -> StoredTensor:
        """Read a tensor that carries attributes; only torch's own two types, others may change what values mean."""
        if len(node.args) != 4 or type(node.args[0]) is not Global or type(node.args[1]) is not Global:
            _refuse_tensor("VC440", "a tensor subclass without a type")
        function, kind, args, _ = node.args
        if kind.path not in _PLAIN_TYPES or function.path not in _TENSORS or type(args) is not tuple:
            _refuse_tensor("VC441", f"a tensor subclass ({ascii(kind.path)[1:-1]})")
        tensor = self._any_tensor(key, Call(function, args), function.path)
        tensor.parameter, tensor.node = kind.name == "Parameter", node
        return tensor


def _dtype_of(args: tuple[Node, ...], arity: int, view: StorageView) -> str:
    """Return the dtype of a tensor, whose bytes must be its values."""
    # what has no dtype counts bytes; `_rebuild_tensor_v3` states the dtype of the tensor itself
    dtype = "uint8" if view.dtype == "untyped" else view.dtype
    if arity == 7:
        node = args[6]
        if type(node) is not Global or node.module != "torch" or node.name not in ITEMSIZES:
            unknown = type(node) is Global
            _refuse_tensor("VC441", f"an unknown dtype ({ascii(node.path)[1:-1]})" if unknown else "no dtype")
        dtype = node.name
    if dtype not in ITEMSIZES:
        _refuse_tensor("VC441", f"a quantised tensor ({dtype})")
    flags = args[arity] if len(args) > arity else None
    # lazily conjugated or negated: torch turns the values only where something reads them
    if flags is not None and (
        type(flags) is not Dict or len(flags.entries) > 8 or any(item is True for item in flags.entries[1::2])
    ):
        _refuse_tensor("VC441", "a lazily conjugated or negated tensor")
    return dtype


def sizes_of(node: Node, limits: Limits) -> tuple[int, ...]:
    """Return a tuple of sizes, which old versions wrap into ``torch.Size``.

    Raises
    ------
    NotExact
        Where it is none, or has too many of them.
    """
    if type(node) is Call and type(node.function) is Global and node.function.path == "torch.Size" and node.args:
        node = node.args[0]
    if type(node) is not tuple:
        _refuse_tensor("VC440", "sizes that are no tuple")
    if len(node) > limits.rank:
        _refuse_limit(limits, "rank", len(node), f"{len(node)} dimensions")
    for size in node:
        if type(size) is not int or not 0 <= size < BOUND:
            _refuse_tensor("VC440", "a size or stride that is no number, negative, or beyond 63 bits")
    return node

"""The names that torch's default admits: ``torch.load(FILE)`` means ``weights_only=True`` since torch 2.6.

Source: ``torch._weights_only_unpickler`` (2.6 to 2.15); a test compares this table with the torch that is installed.
"""

from __future__ import annotations

from viscy_compat.annotations import Final, Iterable
from viscy_compat.checkpoint.dtypes import ITEMSIZES, STORAGE_DTYPES
from viscy_compat.checkpoint.facts import GlobalUse

MAKERS: Final = frozenset(
    {
        "_codecs.encode",
        "builtins.bytearray",
        "builtins.complex",
        "builtins.set",
        "collections.Counter",
        "collections.OrderedDict",
        "torch.Size",
        "torch.Tensor",
        "torch._tensor._rebuild_from_type_v2",
        "torch._utils._rebuild_device_tensor_from_cpu_tensor",
        "torch._utils._rebuild_device_tensor_from_numpy",
        "torch._utils._rebuild_meta_tensor_no_storage",
        "torch._utils._rebuild_parameter",
        "torch._utils._rebuild_parameter_with_state",
        "torch._utils._rebuild_qtensor",
        "torch._utils._rebuild_sparse_tensor",
        "torch._utils._rebuild_tensor",
        "torch._utils._rebuild_tensor_v2",
        "torch._utils._rebuild_tensor_v3",
        "torch._utils._rebuild_wrapper_subclass",
        "torch.device",
        "torch.nn.parameter.Parameter",
        "torch.serialization._get_layout",
    }
)
"""What may be called."""

_QUANTISED: Final = ("per_tensor_affine", "per_tensor_symmetric", "per_channel_affine", "per_channel_symmetric")
_CUDA_LACKS: Final = ("UntypedStorage", "QInt8Storage", "QUInt8Storage", "QInt32Storage", "QUInt4x2Storage")
_ON_CUDA: Final = [name for name in STORAGE_DTYPES if name not in (*_CUDA_LACKS, "QUInt2x4Storage")]

ADMITTED: Final = frozenset(
    {
        *MAKERS,
        *(f"torch.{name}" for name in (*ITEMSIZES, "qint8", "quint8", "qint32", "quint4x2", "quint2x4", *_QUANTISED)),
        *(f"torch.{name}" for name in STORAGE_DTYPES if name != "UntypedStorage"),
        *(f"torch.cuda.{name}" for name in _ON_CUDA),
        "torch.per_channel_affine_float_qparams",
        "torch.storage.TypedStorage",
        "torch.storage.UntypedStorage",
    }
)
"""Every name that may stand in a file, of those that an honest one needs; torch admits a few more (old tensor types)."""

FILLED_LIKE_A_DICTIONARY: Final = ("collections.Counter", "collections.OrderedDict")
"""What may be given entries after it was made, besides dictionaries."""

GIVEN_ATTRIBUTES: Final = ("collections.OrderedDict", "torch.nn.parameter.Parameter")
"""What may be given attributes after it was made."""

_OF_PYTHON_2: Final = {"__builtin__.set": "builtins.set", "__builtin__.bytearray": "builtins.bytearray"} | {
    "__builtin__.complex": "builtins.complex"
}
"""Names of Python 2, which pickle protocol 2 writes and every reader translates."""


def todays_name(path: str) -> str:
    """Return the name that a reader makes of one of Python 2.

    Examples
    --------
    >>> todays_name("__builtin__.set"), todays_name("torch.Size")
    ('builtins.set', 'torch.Size')
    """
    return _OF_PYTHON_2.get(path, path)


def refused_names(uses: Iterable[GlobalUse]) -> tuple[str, ...]:
    """Return the names of a file that torch's default does not admit.

    Examples
    --------
    >>> refused_names([GlobalUse("torch.FloatStorage", "data"), GlobalUse("pathlib.PosixPath", "data")])
    ('pathlib.PosixPath',)
    """
    return tuple(use.path for use in uses if todays_name(use.path) not in ADMITTED)

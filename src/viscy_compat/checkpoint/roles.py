"""What the names in a pickle would do when the file is loaded the ordinary way.

Nobody can list all names that are dangerous, so the lists here are of names that only build data. Whatever else a
pickle calls is reported: no report says that a file is safe.
"""

from __future__ import annotations

import sys

from viscy_compat.annotations import Final, Literal
from viscy_compat.checkpoint.dtypes import STORAGE_DTYPES
from viscy_compat.checkpoint.facts import GlobalUse
from viscy_compat.checkpoint.pickle_nodes import Global
from viscy_compat.checkpoint.rebuild import TENSOR_FUNCTIONS

_DATA: Final = frozenset(
    {
        *TENSOR_FUNCTIONS,
        "__builtin__.bytearray",
        "__builtin__.complex",
        "__builtin__.dict",
        "__builtin__.frozenset",
        "__builtin__.list",
        "__builtin__.long",
        "__builtin__.object",
        "__builtin__.set",
        "__builtin__.slice",
        "__builtin__.tuple",
        "__builtin__.unicode",
        "_codecs.encode",
        "argparse.Namespace",
        "builtins.bytearray",
        "builtins.complex",
        "builtins.dict",
        "builtins.frozenset",
        "builtins.list",
        "builtins.object",
        "builtins.range",
        "builtins.set",
        "builtins.slice",
        "builtins.tuple",
        "__builtin__.range",
        "__builtin__.xrange",
        "collections.Counter",
        "collections.OrderedDict",
        "collections.defaultdict",
        "collections.deque",
        "copy_reg._reconstructor",
        "copyreg._reconstructor",
        "datetime.date",
        "datetime.datetime",
        "datetime.time",
        "datetime.timedelta",
        "datetime.timezone",
        "decimal.Decimal",
        "fractions.Fraction",
        "functools.partial",
        "numpy._core.multiarray._reconstruct",
        "numpy._core.multiarray.scalar",
        "numpy._core.numeric._frombuffer",
        "numpy.core.multiarray._reconstruct",
        "numpy.core.multiarray.scalar",
        "numpy.core.numeric._frombuffer",
        "numpy.dtype",
        "numpy.ndarray",
        "pathlib.Path",
        "pathlib.PosixPath",
        "pathlib.PurePosixPath",
        "pathlib.PureWindowsPath",
        "pathlib.WindowsPath",
        "pathlib._local.PosixPath",
        "pathlib._local.PurePosixPath",
        "pathlib._local.PureWindowsPath",
        "pathlib._local.WindowsPath",
        "torch.Size",
        "torch.Tensor",
        "torch._tensor.Tensor",
        "torch._utils._get_dtype_from_pickle_storage_type",
        "torch.device",
        "torch.layout",
        "torch.nn.modules.container.OrderedDict",
        "torch.nn.parameter.Parameter",
        "torch.serialization._get_layout",
        "torch.torch_version.TorchVersion",
        "types.SimpleNamespace",
        "uuid.UUID",
    }
)
"""Names that only build data when they are called (as far as their arguments are data)."""

_BOUND_METHODS: Final = ("__builtin__.getattr", "builtins.getattr")


def uses_of(names: tuple[Global, ...], computed: bool) -> tuple[GlobalUse, ...]:
    """Return what each name would do; `computed` says whether the pickle calls what a call returned.

    Examples
    --------
    >>> system = Global("os", "system")
    >>> system.use = "called"
    >>> uses_of((system, Global("collections", "OrderedDict")), computed=False)
    (GlobalUse(path='os.system', role='call'), GlobalUse(path='collections.OrderedDict', role='data'))
    """
    return tuple(GlobalUse(name.path, _role(name, computed)) for name in names)


def _role(name: Global, computed: bool) -> Literal["data", "class", "call"]:
    path = name.path
    if path in _DATA:
        return "data"
    if name.module in ("torch", "torch.storage", "torch.cuda") and (
        name.name in STORAGE_DTYPES or (name.use == "named" and name.name.islower() and name.module == "torch")
    ):
        return "data"
    if path in _BOUND_METHODS:
        # A bound method is pickled as getattr(object, name); what matters is whether the result is called.
        return "call" if computed else "class"
    # a called name is taken for a class by its spelling; Python's own classes open files and start programs, too
    package = name.module.partition(".")[0]
    python = package in sys.stdlib_module_names or package in ("__builtin__", "nt", "posix", "commands")
    is_class = not python and all(part.lstrip("_")[:1].isupper() for part in name.name.split("."))
    return "class" if name.use != "called" or is_class else "call"

"""What a checkpoint is, to the rest of the program: records without judgement.

`open_checkpoint` (in `viscy_compat.checkpoint`) returns a `Checkpoint`. Raw keys are the names as the file has them
(``model.stem.conv.weight``); `Checkpoint.views` takes wrapper prefixes off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from viscy_compat.checkpoint.inert import Node
from viscy_compat.findings import Finding
from viscy_compat.layout import Layout, TensorSpec
from viscy_compat.named import NamedTuple

if TYPE_CHECKING:
    from viscy_compat.checkpoint.zip_archive import Entry

Format = Literal[
    "torch-zip",
    "torch-legacy",
    "safetensors",
    "sharded-torch",
    "sharded-safetensors",
    "distributed-torch",
    "distributed-safetensors",
    "unpacked-torch",
]
"""``torch-legacy`` is the stream that torch wrote before 1.6; ``distributed-...`` is a folder of torch.distributed."""

ByteOrder = Literal["little", "big"]

WrapperKind = Literal["plain", "lightning", "module"]
"""``lightning``: a trainer's checkpoint; ``module``: a pickled nn.Module; ``plain``: neither."""


class FileFacts(NamedTuple):
    """One file as it was when it was read; `viscy_compat.checkpoint.byte_source` refuses it once it has changed."""

    path: str
    size: int
    device: int
    inode: int
    modified_ns: int


class Storage:
    """A run of bytes that one or several tensors look into.

    Attributes
    ----------
    name : str
        Its name in the file: a zip record (``archive/data/0``), a legacy storage key, or a safetensors name.
    file : FileFacts
        The file that holds it.
    start : int
        First byte in that file; -1 until `viscy_compat.checkpoint.tensor_bytes.TensorReader.locate` has looked at the
        record's own header (20,000 of them are too many to look at for `check`).
    size : int
        Bytes in that file; packed ones for a compressed record.
    nbytes : int
        Bytes once unpacked; the same as `size` unless `compressed`.
    dtype : str
        Element type of the storage (``uint8`` for untyped ones).
    byte_order : {"little", "big"}
        Order of the bytes of each element.
    crc : int or None
        CRC-32 of the unpacked bytes as the file states it; None where the format or the file has none.
    compressed : bool
        Whether the record is deflated (torch never does; rezipped files are).
    location : str
        Where torch would put it (``cpu``, ``cuda:0``).
    entry : object
        The zip entry, for `TensorReader.locate`; None outside of archives.
    """

    __slots__ = (
        "byte_order",
        "compressed",
        "crc",
        "dtype",
        "entry",
        "file",
        "location",
        "name",
        "nbytes",
        "size",
        "start",
    )

    def __init__(
        self,
        name: str,
        file: FileFacts,
        *,
        start: int,
        size: int,
        dtype: str,
        byte_order: ByteOrder = "little",
        crc: int | None = None,
        nbytes: int | None = None,
        location: str = "cpu",
        entry: Entry | None = None,
    ) -> None:
        self.name, self.file, self.start, self.size, self.dtype = name, file, start, size, dtype
        self.byte_order, self.crc, self.location, self.entry = byte_order, crc, location, entry
        self.nbytes = size if nbytes is None else nbytes
        self.compressed = entry is not None and entry.deflated


class StoredTensor:
    """One tensor: what it is, and where its bytes are.

    Attributes
    ----------
    key : str
        Raw key.
    spec : TensorSpec
        Shape and dtype.
    stride : tuple[int, ...]
        In elements.
    offset : int
        Of the first element in the storage, in elements.
    storage : Storage
        The same object for tensors that share their bytes (tied weights, views).
    parameter : bool
        Whether the file says that it is a Parameter (state dicts never say so).
    requires_grad : bool
        As stored; False for safetensors.
    node : Node
        The inert node that rebuilds it; None for safetensors.
    """

    __slots__ = ("key", "node", "offset", "parameter", "requires_grad", "spec", "storage", "stride")

    def __init__(
        self,
        key: str,
        spec: TensorSpec,
        storage: Storage,
        *,
        stride: tuple[int, ...],
        offset: int = 0,
        parameter: bool = False,
        requires_grad: bool = False,
        node: Node = None,
    ) -> None:
        self.key, self.spec, self.storage, self.stride, self.offset = key, spec, storage, stride, offset
        self.parameter, self.requires_grad, self.node = parameter, requires_grad, node

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return ITEMSIZES[self.spec.dtype]

    @property
    def nbytes(self) -> int:
        """Bytes of all elements, packed."""
        return self.spec.elements * ITEMSIZES[self.spec.dtype]

    @property
    def contiguous(self) -> bool:
        """Whether the elements lie packed, in row-major order, so that the bytes can be copied as one range."""
        expected = 1
        if 0 in self.spec.shape:
            return True
        for size, stride in zip(reversed(self.spec.shape), reversed(self.stride), strict=True):
            if size != 1 and stride != expected:
                return False
            expected *= size
        return True

    def __repr__(self) -> str:
        return f"StoredTensor({self.key!r}, {self.spec}, stride={self.stride}, storage={self.storage.name!r})"


ITEMSIZES: dict[str, int] = {
    "float32": 4,
    "float64": 8,
    "float16": 2,
    "bfloat16": 2,
    "int64": 8,
    "int32": 4,
    "int16": 2,
    "int8": 1,
    "uint8": 1,
    "uint16": 2,
    "uint32": 4,
    "uint64": 8,
    "bool": 1,
    "complex32": 4,
    "complex64": 8,
    "complex128": 16,
    "float8_e4m3fn": 1,
    "float8_e4m3fnuz": 1,
    "float8_e5m2": 1,
    "float8_e5m2fnuz": 1,
    "float8_e8m0fnu": 1,
    "float4_e2m1fn_x2": 1,
}
"""Bytes of an element of each dtype whose tensors are read, under torch's names."""


class UnreadableTensor(NamedTuple):
    """An entry that stands where a tensor should be and cannot be read exactly.

    ``code`` is the VC4xx code; ``reason`` is a phrase without the key (``"quantised (torch._utils...)"``).
    """

    key: str
    code: str
    reason: str


class GlobalUse(NamedTuple):
    """A name that the pickle would import.

    ``role``: ``"data"`` builds tensors and containers; ``"class"`` is instantiated or only named, so that its
    package would be imported; ``"call"`` is a function or foreign callable that would run when the file is loaded
    the ordinary way.
    """

    path: str
    role: Literal["data", "class", "call"]


class StateDictSite(NamedTuple):
    """A place in the file that holds a state dict: its path (``""`` for the top, ``"ema.state_dict"``), its size."""

    path: str
    tensors: int


class WeightsFacts(NamedTuple):
    """One set of weights of a file, as reports list it.

    Parameters
    ----------
    address : str
        Where it is, as ``--state-dict`` takes it.
    class_name, generation : str
        What it is; empty where it is of no known class.
    tensors : int
        How many.
    role : str
        ``"averaged"`` or ``"in training"``, where a Lightning file keeps both; else empty.
    chosen : bool
        Whether it is the one that was judged.
    why : str
        On what ground it was chosen, where there are several.
    same_layout, same_bytes : bool or None
        How it compares with the judged one (the first one, where none was); None where that is not known.
    """

    address: str
    class_name: str = ""
    generation: str = ""
    tensors: int = 0
    role: str = ""
    chosen: bool = False
    why: str = ""
    same_layout: bool | None = None
    same_bytes: bool | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the entry of ``sets`` as the JSON of the contract has it."""
        known = {
            "role": self.role or None,
            "same_layout": self.same_layout,
            "same_bytes": self.same_bytes,
            "why": self.why or None,
        }
        return {
            "state_dict": self.address,
            "class": self.class_name or None,
            "generation": self.generation or None,
            "tensors": self.tensors,
            **{name: value for name, value in known.items() if value is not None},
            "chosen": self.chosen,
        }


class Wrapper(NamedTuple):
    """What is around the weights.

    ``kind`` is what wrote the file, ``prefix`` the wrapper prefix of the default view (``"model."``, ``"module."``,
    ``"model._orig_mod."``, or empty), ``version`` that of Lightning, where stored.
    """

    kind: WrapperKind
    prefix: str = ""
    version: str = ""


class View(NamedTuple):
    """The state dict with one choice of wrapper prefixes taken off.

    ``prefix`` is what was taken off the front; ``inner`` lists wrappers taken out of the middle
    (``"encoder._orig_mod."``); ``keys`` maps each name without wrappers to its raw key, in order; ``outside`` lists
    raw keys that do not start with the prefix (``n_averaged`` of an averaged model, a loss's buffers). ``lacks`` is
    what stands in front of every name though the file's names lack it (the class's own first name); ``dropped``
    lists the keys among ``outside`` that the user takes out of the model.
    """

    prefix: str
    keys: Mapping[str, str]
    outside: tuple[str, ...] = ()
    inner: tuple[str, ...] = ()
    lacks: str = ""
    dropped: tuple[str, ...] = ()


class Checkpoint:
    """Everything that is known about a file that could be read.

    Attributes
    ----------
    path : str
        As given.
    format : Format
        The container.
    files : tuple[FileFacts, ...]
        The file itself first; with a sharded index, then its shards.
    tensors : dict[str, StoredTensor]
        Raw key to tensor, in the order of the file (for a dictionary with repeated keys: of first appearance).
    unreadable : tuple[UnreadableTensor, ...]
        Entries of the state dict that should be tensors and could not be read.
    extras : dict[str, Node]
        Entries of the state dict that are no tensors at all (``_extra_state``, numbers).
    wrapper : Wrapper
        Lightning, whole module, or plain; and the prefix of the default view.
    site : str
        Where in the file the state dict was (``"state_dict"``; empty for the top).
    sites : tuple[StateDictSite, ...]
        Every place that holds a state dict; `site` is one of them.
    base : str or None
        What the names of the set begin with, where the address says so; `tensors` holds no others then.
    beside : dict[str, StoredTensor]
        Every tensor of the state dict, those outside of `base` too.
    stated : bool
        Whether somebody said which set is meant.
    decided : bool
        False where several state dicts are there, none is the usual one, and nobody said which is meant.
    entries : dict[str, Node]
        Top-level entries besides the state dict (``epoch``, ``optimizer_states``...), inert.
    hyper_parameters : Node
        Lightning's ``hyper_parameters``, inert; None where there are none. See `viscy_compat.checkpoint.plain`.
    metadata : dict[str, str]
        The ``__metadata__`` of a safetensors file, or the record that `remap` left in a torch file.
    globals : tuple[GlobalUse, ...]
        Every name that the pickles mention, in order of appearance.
    versions : dict[str, str]
        Versions that the file states (``"pytorch-lightning"``, ``"archive"``: torch's own format, ``"pickle"``).
    storages : dict[str, Storage]
        Every storage that the file refers to by name, those of optimizer states too.
    records : dict[str, Storage]
        Every record of a torch zip file in the order of its directory, `storages` among them; empty for others.
    pickle_name : str
        The record that holds the pickle (``archive/data.pkl``).
    state_node : Node
        The node of the chosen state dict (or module); None for safetensors.
    module_class : str
        Import path of the class of a pickled module (``viscy.representation.contrastive.ContrastiveEncoder``).
    checked_crcs : tuple[str, ...]
        Records whose CRC-32 was verified while reading (the pickle).
    root : Node
        The inert graph of the main pickle; None for safetensors.
    dropped : tuple[Node, ...]
        Calls that the pickle makes and throws away (state setters); they are not below `root`.
    findings : tuple[Finding, ...]
        VC4xx findings that did not stop the reading.
    """

    __slots__ = (
        "_reader",
        "_views",
        "base",
        "beside",
        "checked_crcs",
        "decided",
        "dropped",
        "entries",
        "extras",
        "files",
        "findings",
        "format",
        "globals",
        "hyper_parameters",
        "metadata",
        "module_class",
        "path",
        "pickle_name",
        "records",
        "root",
        "site",
        "sites",
        "state_node",
        "stated",
        "storages",
        "tensors",
        "unreadable",
        "versions",
        "wrapper",
    )

    def __init__(self, path: str, format: Format, **facts: Any) -> None:
        self.path: str = path
        self.format: Format = format
        self.files: tuple[FileFacts, ...] = facts["files"]
        self.tensors: dict[str, StoredTensor] = facts["tensors"]
        self.unreadable: tuple[UnreadableTensor, ...] = facts.get("unreadable", ())
        self.extras: dict[str, Node] = facts.get("extras", {})
        self.wrapper: Wrapper = facts.get("wrapper", Wrapper("plain"))
        self.site: str = facts.get("site", "")
        self.sites: tuple[StateDictSite, ...] = facts.get("sites", ())
        self.entries: dict[str, Node] = facts.get("entries", {})
        self.hyper_parameters: Node = facts.get("hyper_parameters")
        self.metadata: dict[str, str] = facts.get("metadata", {})
        self.globals: tuple[GlobalUse, ...] = facts.get("globals", ())
        self.versions: dict[str, str] = facts.get("versions", {})
        self.storages: dict[str, Storage] = facts.get("storages", {})
        self.records: dict[str, Storage] = facts.get("records", {})
        self.pickle_name: str = facts.get("pickle_name", "")
        self.state_node: Node = facts.get("state_node")
        self.module_class: str = facts.get("module_class", "")
        self.checked_crcs: tuple[str, ...] = facts.get("checked_crcs", ())
        self.root: Node = facts.get("root")
        self.dropped: tuple[Node, ...] = facts.get("dropped", ())
        self.findings: tuple[Finding, ...] = facts.get("findings", ())
        self.base: str | None = None
        self.beside: dict[str, StoredTensor] = self.tensors
        self.stated: bool = facts.get("stated", False)
        self.decided: bool = facts.get("decided", True)
        self._reader: Callable[[str], Checkpoint] | None = facts.get("reader")
        self._views: tuple[View, ...] | None = None

    @property
    def address(self) -> str:
        """Where the tensors are, as ``--state-dict`` takes it."""
        return self.site if self.base is None else f"{self.site}:{self.base}"

    def renamed(self, path: str) -> Checkpoint:
        """Give the facts, at every address, the path of the folder that a file stands for."""
        reader = self._reader
        self.path = path
        self._reader = None if reader is None else lambda address: reader(address).renamed(path)
        return self

    def at(self, address: str) -> Checkpoint:
        """Return the same file with another set of weights; the file is not read again.

        Raises
        ------
        UnreadableCheckpoint
            VC446 where there is none at that address.
        """
        if self._reader is not None:
            return self._reader(address)
        from viscy_compat.checkpoint.address import resolved

        found = resolved(address, [self.site], lambda _: self.beside, self.path)
        whole = self.below(None)
        whole.stated = True
        return whole if found.prefix is None else whole.below(found.prefix)

    def below(self, base: str | None) -> Checkpoint:
        """Return a copy that holds only what stands below a prefix; all of the state dict for None."""
        copy = Checkpoint.__new__(Checkpoint)
        for name in self.__slots__:
            setattr(copy, name, getattr(self, name))
        copy.base, copy._views = base, None
        under = base or ""
        copy.tensors = {key: tensor for key, tensor in self.beside.items() if key.startswith(under)}
        copy.unreadable = tuple(tensor for tensor in self.unreadable if tensor.key.startswith(under))
        copy.extras = {key: node for key, node in self.extras.items() if key.startswith(under)}
        return copy

    def without(self, keys: Iterable[str]) -> Checkpoint:
        """Return a copy that lacks some tensors, by raw key."""
        gone = frozenset(keys)
        copy = self.below(self.base)
        copy.beside = {key: tensor for key, tensor in self.beside.items() if key not in gone}
        copy.tensors = {key: tensor for key, tensor in self.tensors.items() if key not in gone}
        return copy

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def tensor_bytes(self) -> int:
        """Bytes of all tensors of the state dict, each counted packed."""
        return sum(tensor.nbytes for tensor in self.tensors.values())

    @property
    def absolute_paths(self) -> tuple[str, ...]:
        """Absolute paths of some machine among the pickle's texts, keys of the state dict left out."""
        from viscy_compat.checkpoint.plain import absolute_paths

        return absolute_paths(self.entries)

    @property
    def views(self) -> tuple[View, ...]:
        """Every way to take wrapper prefixes off, the default one first.

        A class may itself have a child called ``model`` (BetaVaeMonai has), so a prefix is certain only once the
        rest is recognised: try the views in turn.
        """
        if self._views is None:
            from viscy_compat.checkpoint.wrapper import views_of

            self._views = views_of(self.tensors, self.wrapper)
        return self._views

    @property
    def layout(self) -> Layout:
        """The layout of the default view."""
        return self.layout_of(self.views[0])

    def layout_of(self, view: View) -> Layout:
        """Return the ordered layout of one view."""
        tensors = self.tensors
        return {name: tensors[key].spec for name, key in view.keys.items()}

"""What a checkpoint is, to the rest of the program: records without judgement.

`open_checkpoint` (in `viscy_compat.checkpoint`) returns a `Checkpoint`. Raw keys are the names as the file has them
(``model.stem.conv.weight``); `viscy_compat.checkpoint.wrapper.views_of` takes wrapper prefixes off.
"""

from __future__ import annotations

from viscy_compat.annotations import TYPE_CHECKING, Any, Callable, Final, Iterable, Literal
from viscy_compat.checkpoint.dtypes import ITEMSIZES
from viscy_compat.checkpoint.pickle_nodes import Node
from viscy_compat.findings import Finding
from viscy_compat.layout import Layout, TensorSpec, fold
from viscy_compat.named import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    version: str = ""


class ZipEntry(NamedTuple):
    """One entry of the central directory of a zip archive.

    ``header`` is the offset of the local header, ``size`` the stored bytes, ``nbytes`` the unpacked ones, ``limit``
    where the next entry (or the directory) starts. `viscy_compat.checkpoint.zip_archive.start_of` finds the first byte.
    """

    name: str
    header: int
    size: int
    nbytes: int
    crc: int
    deflated: bool
    flags: int
    limit: int


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
    byte_order : {"little", "big"}
        Order of the bytes of each element.
    crc : int or None
        CRC-32 of the unpacked bytes as the file states it; None where the format or the file has none.
    compressed : bool
        Whether the record is deflated (torch never does; rezipped files are).
    entry : ZipEntry or None
        The zip entry, for `TensorReader.locate`; None outside of archives.
    """

    __slots__ = (
        "byte_order",
        "compressed",
        "crc",
        "entry",
        "file",
        "name",
        "nbytes",
        "size",
        "start",
    )

    def __init__(
        self,
        name: str,
        file: FileFacts,
        start: int,
        size: int,
        *,
        byte_order: ByteOrder = "little",
        crc: int | None = None,
        nbytes: int | None = None,
        entry: ZipEntry | None = None,
    ) -> None:
        self.name, self.file, self.start, self.size = name, file, start, size
        self.byte_order, self.crc, self.entry = byte_order, crc, entry
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
    nbytes : int
        Bytes of all elements, packed; whoever makes a tensor of a known shape knows them, and others leave them out.
    storage : Storage
        The same object for tensors that share their bytes (tied weights, views).
    parameter : bool
        Whether the file says that it is a Parameter (state dicts never say so).
    requires_grad : bool
        As stored; False for safetensors.
    node : Node
        The inert node that rebuilds it; None for safetensors.
    """

    __slots__ = ("key", "nbytes", "node", "offset", "parameter", "requires_grad", "spec", "storage", "stride")

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
        nbytes: int | None = None,
    ) -> None:
        self.key, self.spec, self.storage, self.stride, self.offset = key, spec, storage, stride, offset
        self.parameter, self.requires_grad, self.node = parameter, requires_grad, node
        self.nbytes = spec.elements * ITEMSIZES[spec.dtype] if nbytes is None else nbytes

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return ITEMSIZES[self.spec.dtype]

    @property
    def contiguous(self) -> bool:
        """Whether the elements lie packed, in row-major order, so that the bytes can be copied as one range."""
        packed_stride = 1
        # without elements any stride is right
        if 0 in self.spec.shape:
            return True
        for size, stride in zip(reversed(self.spec.shape), reversed(self.stride), strict=True):
            # the stride of an axis of 1 is never taken, and torch stores whatever it was
            if size != 1 and stride != packed_stride:
                return False
            packed_stride *= size
        return True

    def __repr__(self) -> str:
        return f"StoredTensor({self.key!r}, {self.spec}, stride={self.stride}, storage={self.storage.name!r})"


class UnreadableTensor(NamedTuple):
    """An entry that stands where a tensor should be and cannot be read exactly.

    ``code`` is the VC4xx code; ``reason`` is a phrase without the key (``"quantised (torch._utils...)"``).
    """

    key: str
    code: str
    reason: str


_PLAIN_FORMS: Final = (
    ("a sparse", "with the torch that wrote it, save v.to_dense() of each"),
    ("a quantised", "save the float model from before it was quantised, or v.dequantize() of each"),
    ("a lazily conjugated", "with the torch that wrote it, save v.resolve_conj().resolve_neg() of each"),
    ("a meta", "it never had numbers: save where the weights were, after they were loaded"),
)
"""What makes a plain tensor of one that cannot be read exactly, by the words that say what it is."""


def unreadable_findings(unreadable: tuple[UnreadableTensor, ...]) -> Iterable[Finding]:
    """Yield one finding for each cause, with the folded keys of its tensors."""
    causes: dict[tuple[str, str], list[str]] = {}
    for tensor in unreadable:
        causes.setdefault((tensor.code, tensor.reason), []).append(tensor.key)
    for (code, reason), keys in causes.items():
        many = f"{len(keys)} tensors cannot" if len(keys) > 1 else "a tensor cannot"
        fix = next((call for kind, call in _PLAIN_FORMS if code == "VC441" and kind in reason), "")
        yield Finding(code, f"{many} be read exactly: {reason}", tuple(fold(keys)), fix)


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
    tensors, bytes : int
        How many, and their size.
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
    bytes: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the entry of ``sets`` as the JSON of the contract has it."""
        optional = {
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
            "bytes": self.bytes,
            **{name: value for name, value in optional.items() if value is not None},
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


PLAIN = Wrapper("plain")


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
    extras : Mapping[str, Node]
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
    entries : Mapping[str, Node]
        Top-level entries besides the state dict (``epoch``, ``optimizer_states``...), inert.
    hyper_parameters : Node
        Lightning's ``hyper_parameters``, inert; None where there are none. See `viscy_compat.checkpoint.plain`.
    metadata : Mapping[str, str]
        The ``__metadata__`` of a safetensors file, or the record that `remap` left in a torch file.
    globals : tuple[GlobalUse, ...]
        Every name that the pickles mention, in order of appearance.
    versions : Mapping[str, str]
        Versions that the file states (``"pytorch-lightning"``, ``"archive"``: torch's own format, ``"pickle"``).
    plain_storages : bool
        Whether it is known, without a look at each, that the file has all of `storages` as it states them, none compressed.
    records : Mapping[str, Storage]
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
        VC4xx findings that did not stop the reading, and VC370.
    objects_in_front : int
        Objects that stand before the tensors of a safetensors file; see `viscy_compat.checkpoint.objects_in_front`.
    views : tuple[View, ...] or None
        What `viscy_compat.checkpoint.wrapper.views_of` returned, once it was asked: names are many.
    layouts : dict[int, tuple[View, Layout]]
        What `viscy_compat.checkpoint.wrapper.layout_of` returned, by the ``id`` of the view, which is kept with it. Nobody
        changes one.
    select : Callable[[str], Checkpoint] or None
        Returns the same file with another of its state dicts, without reading it again; None where it has only one.
    """

    __slots__ = (
        "_find_storages",
        "_storages",
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
        "layouts",
        "metadata",
        "module_class",
        "objects_in_front",
        "path",
        "pickle_name",
        "plain_storages",
        "records",
        "root",
        "select",
        "site",
        "sites",
        "state_node",
        "stated",
        "tensors",
        "unreadable",
        "versions",
        "views",
        "wrapper",
    )

    def __init__(
        self,
        *,
        path: str,
        format: Format,
        files: tuple[FileFacts, ...],
        tensors: dict[str, StoredTensor],
        unreadable: tuple[UnreadableTensor, ...] = (),
        extras: Mapping[str, Node] = {},
        wrapper: Wrapper = PLAIN,
        site: str = "",
        sites: tuple[StateDictSite, ...] = (),
        stated: bool = False,
        decided: bool = True,
        entries: Mapping[str, Node] = {},
        hyper_parameters: Node = None,
        metadata: Mapping[str, str] = {},
        globals: tuple[GlobalUse, ...] = (),
        versions: Mapping[str, str] = {},
        find_storages: Callable[[], Mapping[str, Storage]] = dict,
        plain_storages: bool = False,
        records: Mapping[str, Storage] = {},
        pickle_name: str = "",
        state_node: Node = None,
        module_class: str = "",
        checked_crcs: tuple[str, ...] = (),
        root: Node = None,
        dropped: tuple[Node, ...] = (),
        findings: tuple[Finding, ...] = (),
        select: Callable[[str], Checkpoint] | None = None,
    ) -> None:
        self.path, self.format, self.files, self.findings = path, format, files, findings
        self.tensors, self.unreadable, self.extras = tensors, unreadable, extras
        self.base: str | None = None
        self.objects_in_front = 0
        self.beside = tensors
        self.views: tuple[View, ...] | None = None
        self.layouts: dict[int, tuple[View, Layout]] = {}
        self.wrapper, self.site, self.sites, self.select = wrapper, site, sites, select
        self.stated, self.decided = stated, decided
        self.entries, self.hyper_parameters, self.metadata = entries, hyper_parameters, metadata
        self.globals, self.versions, self.dropped = globals, versions, dropped
        self._find_storages = find_storages
        self._storages: Mapping[str, Storage] | None = None
        self.plain_storages, self.records, self.checked_crcs = plain_storages, records, checked_crcs
        self.root, self.pickle_name, self.state_node, self.module_class = root, pickle_name, state_node, module_class

    @property
    def storages(self) -> Mapping[str, Storage]:
        """Every storage that the file refers to by name, those of optimizer states too; few ask for them."""
        if self._storages is None:
            self._storages = self._find_storages()
        return self._storages

    @property
    def address(self) -> str:
        """Where the tensors are, as ``--state-dict`` takes it."""
        return self.site if self.base is None else f"{self.site}:{self.base}"

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def tensor_bytes(self) -> int:
        """Bytes of all tensors of the state dict, each counted packed."""
        return sum([tensor.nbytes for tensor in self.tensors.values()])

    def below(self, base: str | None) -> Checkpoint:
        """Return a copy that holds only what stands below a prefix; all of the state dict for None."""
        copy = Checkpoint.__new__(Checkpoint)
        for name in self.__slots__:
            setattr(copy, name, getattr(self, name))
        copy.base, copy.views, copy.layouts = base, None, {}
        under = base or ""
        copy.tensors = {key: tensor for key, tensor in self.beside.items() if key.startswith(under)}
        copy.unreadable = tuple(tensor for tensor in self.unreadable if tensor.key.startswith(under))
        copy.extras = {key: node for key, node in self.extras.items() if key.startswith(under)}
        return copy

    def without(self, keys: Iterable[str]) -> Checkpoint:
        """Return a copy that lacks some tensors, by raw key."""
        dropped_keys = frozenset(keys)
        copy = self.below(self.base)
        copy.beside = {key: tensor for key, tensor in self.beside.items() if key not in dropped_keys}
        copy.tensors = {key: tensor for key, tensor in self.tensors.items() if key not in dropped_keys}
        return copy

"""Folders of torch.distributed.checkpoint: ``.metadata`` says which tensor is where in the ``.distcp`` files beside it.

``.metadata`` is a pickle of torch's own records, and each part of a ``.distcp`` a whole torch zip file with one tensor or
object (torch 2.0 to 2.15). Both go through the inert machine. Lightning puts what is no tensor into ``meta.pt``.
"""

from __future__ import annotations

import os

from viscy_compat.annotations import Any, Final, NoReturn
from viscy_compat.checkpoint.byte_source import ByteSource, ByteWindow
from viscy_compat.checkpoint.chunks import Chunk, ChunkedStorage, gap, refuse_gaps
from viscy_compat.checkpoint.facts import Checkpoint, FileFacts, Storage, StoredTensor
from viscy_compat.checkpoint.folder import LIGHTNING_RECORD, METADATA, place_of_shard
from viscy_compat.checkpoint.graph import DecodedFile, checkpoint_of
from viscy_compat.checkpoint.limits import Limits, beyond
from viscy_compat.checkpoint.pickle_machine import DecodedPickle
from viscy_compat.checkpoint.pickle_nodes import Call, Dict, Global, Node, Persistent, entries_of, is_global, mapping_of
from viscy_compat.checkpoint.rebuild import NotExact, Rebuilder, StorageView, sizes_of
from viscy_compat.checkpoint.torch_zip import decode_record, decode_torch_zip, start_in_file
from viscy_compat.errors import UnreadableCheckpoint
from viscy_compat.layout import TensorSpec, packed_strides
from viscy_compat.named import NamedTuple

_RECORDS: Final = "torch.distributed.checkpoint.metadata."
_OWN: Final = frozenset(
    {
        f"{_RECORDS}{name}"
        for name in (
            "Metadata",
            "TensorStorageMetadata",
            "BytesStorageMetadata",
            "ChunkStorageMetadata",
            "TensorProperties",
            "MetadataIndex",
            "StorageMeta",
            "_MEM_FORMAT_ENCODING",
        )
    }
    | {"torch.distributed.checkpoint.filesystem._StorageInfo"}
)
"""What the format itself is made of: loading a folder imports torch's own package and nothing of a stranger's."""

_DEEPEST: Final = 32
"""Names in the path of an entry: what people save is three or four deep."""

_KeyPath = tuple["str | int", ...]
"""Where an entry stands in what was saved."""


class _PartPlace(NamedTuple):
    """Where one part lies: its file, and a range of bytes there."""

    name: str
    start: int
    size: int


class _MetadataEntry(NamedTuple):
    """One entry of the metadata: what it is (None for an object that is no tensor), and its parts by their offsets."""

    spec: TensorSpec | None
    parts: dict[tuple[int, ...] | None, _PartPlace]
    sizes: dict[tuple[int, ...], tuple[int, ...]]


def read_distributed(folder: str, limits: Limits, address: str | None) -> Checkpoint:
    """Read a folder; see `viscy_compat.checkpoint.open_checkpoint`.

    Raises
    ------
    UnreadableCheckpoint
        VC462 without a ``.metadata``, VC470 for one that torch does not write; VC471 for parts that do not fit
        together; VC461, VC462 for a part outside of the folder, or missing.
    """
    if not os.path.lexists(os.path.join(folder, METADATA)):
        raise UnreadableCheckpoint(
            f"a distributed checkpoint without its table of contents ({METADATA}), which is written last",
            where=folder,
            fix="copy the whole folder, hidden files too; where it was never written, take an earlier save",
            code="VC462",
        )
    with _FolderReader(folder, limits) as parts:
        return parts.checkpoint(address)


class _FolderReader:
    """One reading of a folder: its files, each opened once, and what was decoded so far."""

    def __init__(self, folder: str, limits: Limits) -> None:
        self.folder, self.limits = folder, limits
        # for all parts together, each of which is a small pickle
        self.left = 4 * limits.opcodes
        self.sources: dict[str, ByteSource] = {}
        self.storages: dict[int, StorageView | NotExact] = {}
        self.by_name: dict[str, Storage] = {}
        self.pickles: list[DecodedPickle] = []

    def __enter__(self) -> _FolderReader:
        return self

    def __exit__(self, *_: object) -> None:
        for source in self.sources.values():
            source.close()

    def checkpoint(self, address: str | None) -> Checkpoint:
        source = self.source(METADATA)
        own = self.metadata(source)
        entries, paths = _entries_of(own.root, source.path, self.limits)
        self.refuse_safetensors(entries)
        _refuse_overlaps(entries, self.folder)
        leaves = []
        for key, entry in entries.items():
            # a planner may leave no paths: then the part before the first dot is the dictionary, if it is the usual one
            first, _, rest = key.partition(".")
            usual: _KeyPath = (first, rest) if rest and first == "state_dict" else (key,)
            leaves.append((paths.get(key) or usual, self.node(key, entry)))
        root = _tree(leaves, self.folder)
        self.add_lightning_record(root)
        file = DecodedFile(
            source=source,
            format="distributed-torch",
            pickle=_merge_pickles(root, own, self.pickles),
            storages=self.storages,
            records={},
            versions={},
            checked=(),
            path=self.folder,
            files=self.facts(),
            parts=self.by_name,
        )
        return checkpoint_of(file, self.limits, address)

    def refuse_safetensors(self, entries: dict[str, _MetadataEntry]) -> None:
        """Refuse parts in a format that torch 2.15 writes and whose places in the file it states wrongly."""
        part = next((part for entry in entries.values() for part in entry.parts.values()), None)
        source = self.source(part.name) if part else None
        # safetensors begins with the length of its header in 8 bytes, and the header with a brace
        if source is not None and source.size > 8 and source.read(8, 1) == b"{":
            raise UnreadableCheckpoint(
                "its parts are safetensors (serialization_format), whose places torch states wrongly and cannot read again",
                where=self.folder,
                fix="save it again in the default format, or with HuggingFaceStorageWriter",
                code="VC470",
            )

    def facts(self) -> tuple[FileFacts, ...]:
        """Return the files, none of which may have changed meanwhile; the metadata is the first."""
        for source in self.sources.values():
            source.verify_unchanged()
        return tuple(source.facts for source in self.sources.values())

    def source(self, name: str) -> ByteSource:
        if name not in self.sources:
            if len(self.sources) > self.limits.shards:
                more = len(self.sources) + 1
                raise beyond(self.limits, "shards", 10 * more, f"more than {more} files", where=self.folder)
            self.sources[name] = ByteSource(place_of_shard(self.folder, name, where=self.folder))
        return self.sources[name]

    def metadata(self, source: ByteSource) -> DecodedPickle:
        if source.size > self.limits.pickle_bytes:
            what = f"it has {source.size} bytes"
            raise beyond(self.limits, "pickle_bytes", source.size, what, where=source.path)
        return decode_record(source.read(0, source.size), self.limits, source.path)

    def node(self, key: str, entry: _MetadataEntry) -> Node:
        """Return the node of an entry: that of its only part, or one over a storage made of all of them."""
        if entry.spec is None or len(entry.sizes) < 2:
            part = next(iter(entry.parts.values()), None)
            if part is None:
                _refuse_metadata(self.folder, f"no file is stated for {key[:80]!a}")
            file = self.part(key, part)
            if entry.spec is not None:
                self.verify_spec(key, self.tensor(key, file), entry.spec)
            return file.pickle.root
        return self.join_parts(key, entry.spec, entry)

    def join_parts(self, key: str, spec: TensorSpec, entry: _MetadataEntry) -> Node:
        chunks = []
        for offsets, size in entry.sizes.items():
            part = entry.parts.get(offsets)
            if part is None:
                raise gap(self.folder, f"no file is stated for the part of {key[:80]!a} at {offsets}")
            tensor = self.tensor(key, self.part(f"{key}@{offsets}", part))
            self.verify_spec(key, tensor, TensorSpec(size, spec.dtype))
            chunks.append(Chunk(offsets, tensor))
        refuse_gaps(spec, tuple(chunks), where=self.folder, key=key)
        storage = ChunkedStorage(key, chunks[0].tensor.storage.file, spec, tuple(chunks))
        return self.node_over(storage, spec)

    def node_over(self, storage: Storage, spec: TensorSpec) -> Node:
        """Return the node that torch would write for a packed tensor over a storage."""
        storage_node = Persistent(
            ("storage", Global("torch.storage", "UntypedStorage"), storage.name, "cpu", storage.nbytes)
        )
        self.storages[id(storage_node)] = StorageView(storage, "untyped")
        args = (storage_node, 0, spec.shape, packed_strides(spec.shape), False, None, Global("torch", spec.dtype))
        return Call(Global("torch._utils", "_rebuild_tensor_v3"), args)

    def part(self, name: str, part: _PartPlace) -> DecodedFile:
        """Decode the torch file that a part is, and keep its storages under a name of their own."""
        source = self.source(part.name)
        if part.start + part.size > source.size:
            raise gap(source.path, f"it has {source.size} bytes, and {name[:80]!a} ends at {part.start + part.size}")
        window = ByteWindow(source, part.start, part.size)
        file = decode_torch_zip(window, self.limits)
        self.spend(file)
        for view in file.storages.values():
            if type(view) is StorageView:
                start_in_file(window, view.storage)
                view.storage.name = f"{part.name}/{name}"
                self.by_name[view.storage.name] = view.storage
        self.storages.update(file.storages)
        self.pickles.append(file.pickle)
        return file

    def spend(self, file: DecodedFile) -> None:
        """Count the bytes of a part's pickle: many small ones may not cost more than one large one."""
        self.left -= file.pickle.end
        if self.left < 0:
            enough = 10 * self.limits.opcodes
            raise beyond(self.limits, "opcodes", enough, "the pickles of the parts need more steps", where=self.folder)

    def tensor(self, key: str, file: DecodedFile) -> StoredTensor:
        tensor = Rebuilder(file.storages, self.limits).entry(key, file.pickle.root)
        if not isinstance(tensor, StoredTensor):
            why = tensor.reason if tensor else "it holds no tensor"
            raise gap(self.folder, f"the part of {key[:80]!a} cannot be read: {why}")
        return tensor

    def verify_spec(self, key: str, tensor: StoredTensor, spec: TensorSpec) -> None:
        if tensor.spec != spec:
            raise gap(self.folder, f"{key[:80]!a} is {tensor.spec} in its file, and {spec} in {METADATA}")

    def add_lightning_record(self, root: Dict) -> None:
        """Add what Lightning saved beside the tensors: hyper-parameters, epoch, versions; tensors come first."""
        if not os.path.lexists(os.path.join(self.folder, LIGHTNING_RECORD)):
            return
        file = decode_torch_zip(self.source(LIGHTNING_RECORD), self.limits)
        self.storages.update(file.storages)
        self.pickles.append(file.pickle)
        names = mapping_of(root) or {}
        for key, value in (mapping_of(file.pickle.root) or {}).items():
            if key not in names:
                root.entries += (key, value)


def _merge_pickles(root: Node, own: DecodedPickle, parts: list[DecodedPickle]) -> DecodedPickle:
    """Return one pickle that says what all of them say; the names of the format itself are left out."""
    pickles = [own, *parts]
    names = {name.path: name for pickle in pickles for name in pickle.globals if name.path not in _OWN}
    return own._replace(
        root=root,
        globals=tuple(names.values()),
        persistents=tuple(node for pickle in pickles for node in pickle.persistents),
        dropped=tuple(node for pickle in pickles for node in pickle.dropped),
        computed=any(pickle.computed for pickle in pickles),
    )


# The metadata -----------------------------------------------------------------------------------------------------------


def _entries_of(root: Node, where: str, limits: Limits) -> tuple[dict[str, _MetadataEntry], dict[str, _KeyPath]]:
    """Return the entries, and where each stands in the object that was saved."""
    if not (type(root) is Call and is_global(root.function, f"{_RECORDS}Metadata")):
        _refuse_metadata(where, "it is no record of torch.distributed.checkpoint")
    fields = _fields(root)
    descriptions = mapping_of(fields.get("state_dict_metadata"))
    places = entries_of(fields.get("storage_data"))
    if descriptions is None or places is None:
        _refuse_metadata(where, "it does not say what it holds, and where")
    count = max(len(descriptions), len(places) // 2)
    if count > limits.tensors:
        raise beyond(limits, "tensors", count, f"{count} tensors and parts of them", where=where)
    entries = {key: _read_entry(key, node, where, limits) for key, node in descriptions.items()}
    for index, node in zip(places[::2], places[1::2], strict=True):
        _add_part(entries, _fields(index), _fields(node), where=where, limits=limits)
    paths = mapping_of(fields.get("planner_data")) or {}
    return entries, {key: path for key, node in paths.items() if (path := _place_of(node))}


def _fields(node: Node) -> dict[str, Node]:
    """Return what was stored into one of torch's records."""
    state = node.state if type(node) is Call else None
    return (mapping_of(state) if type(state) is Dict else None) or {}


def _read_entry(key: str, node: Node, where: str, limits: Limits) -> _MetadataEntry:
    if type(node) is Call and is_global(node.function, f"{_RECORDS}BytesStorageMetadata"):
        return _MetadataEntry(None, {}, {})
    fields = _fields(node)
    # the state of TensorProperties is a tuple, and in torch 2.0 a dictionary
    properties = fields.get("properties")
    state = properties.state if type(properties) is Call else None
    dtype = state[0] if type(state) is tuple and state else _fields(properties).get("dtype")
    if type(dtype) is not Global or dtype.module != "torch":
        _refuse_metadata(where, f"no dtype is stated for {key[:80]!a}")
    spec = TensorSpec(_shape(fields.get("size"), where, limits), dtype.name)
    sizes = {}
    chunks: Any = fields.get("chunks")
    for chunk in chunks if type(chunks) is list else ():
        of = _fields(chunk)
        sizes[_shape(of.get("offsets"), where, limits)] = _shape(of.get("sizes"), where, limits)
    return _MetadataEntry(spec, {}, sizes)


def _shape(node: Node, where: str, limits: Limits) -> tuple[int, ...]:
    try:
        return sizes_of(node, limits)
    except NotExact as error:
        _refuse_metadata(where, error.reason)


def _add_part(
    entries: dict[str, _MetadataEntry], index: dict[str, Node], info: dict[str, Node], *, where: str, limits: Limits
) -> None:
    key, offsets = index.get("fqn"), index.get("offset")
    name, start, size = info.get("relative_path"), info.get("offset"), info.get("length")
    places = [value for value in (start, size) if type(value) is int and 0 <= value < 1 << 63]
    if type(key) is not str or key not in entries or type(name) is not str or len(places) != 2:
        _refuse_metadata(where, "a part is stated without its tensor, its file or its place")
    if info.get("transform_descriptors"):
        raise UnreadableCheckpoint(
            f"{key[:80]!a} was packed by an extension of torch.distributed.checkpoint",
            where=where,
            fix="save it again without extensions, with the program that wrote it",
            code="VC470",
        )
    place = None if offsets is None else _shape(offsets, where, limits)
    entries[key].parts[place] = _PartPlace(name, *places)


def _refuse_overlaps(entries: dict[str, _MetadataEntry], folder: str) -> None:
    """Refuse parts that share bytes: each was written once."""
    ends: dict[str, int] = {}
    # by file and start, as the fields of a part are ordered
    for part in sorted(part for entry in entries.values() for part in entry.parts.values()):
        if part.start < ends.get(part.name, 0):
            raise gap(folder, f"two parts share bytes of {part.name[:80]!a}")
        ends[part.name] = part.start + part.size


def _place_of(node: Node) -> _KeyPath:
    """Return the place of an entry in what was saved: texts in dictionaries, numbers in lists."""
    parts = node if type(node) in (tuple, list) else ()
    sound = 0 < len(parts) <= _DEEPEST and all(type(part) in (str, int) for part in parts)
    return tuple(str(part) if at == 0 else part for at, part in enumerate(parts)) if sound else ()


def _tree(leaves: list[tuple[_KeyPath, Node]], folder: str) -> Dict:
    """Return the dictionary that was saved."""
    root: dict[str | int, Any] = {}
    for path, node in leaves:
        branch = root
        for name in path[:-1]:
            branch = branch.setdefault(name, {})
            if type(branch) is not dict:
                _refuse_metadata(folder, f"{'.'.join(map(str, path))[:80]!a} stands below another entry")
        if path[-1] in branch:
            _refuse_metadata(folder, f"{'.'.join(map(str, path))[:80]!a} stands twice")
        branch[path[-1]] = node
    return _dictionary_of(root)


def _dictionary_of(branch: dict[str | int, Any]) -> Dict:
    nodes: dict[str | int, Node] = {}
    for name, value in branch.items():
        below = _dictionary_of(value) if type(value) is dict else value
        # numbers from 0 on, without a gap, are the places of a list
        if type(value) is dict and set(value) == set(range(len(value))):
            by_place = dict(zip(below.entries[::2], below.entries[1::2], strict=True))
            below = [by_place[place] for place in range(len(by_place))]
        nodes[name] = below
    if type(groups := nodes.get("param_groups")) is list:
        nodes["state"] = _state_by_position(nodes.get("state"), groups)
    return Dict([part for entry in nodes.items() for part in entry])


def _state_by_position(state: Node, groups: list[Node]) -> Node:
    """Return an optimizer's state with the numbers that its groups count the parameters by.

    torch 2.15 writes every key of a dictionary as text and leaves empty dictionaries out. Its optimizers take a state under
    the texts, and then use none of it.
    """
    listed = [(mapping_of(group) or {}).get("params") for group in groups]
    positions = {str(one): one for params in listed if type(params) is list for one in params if type(one) is int}
    if state is None:
        return Dict()
    if type(state) is Dict:
        state.entries[::2] = [positions.get(key, key) if type(key) is str else key for key in state.entries[::2]]
    return state


def _refuse_metadata(where: str, what: str) -> NoReturn:
    raise UnreadableCheckpoint(
        f"broken metadata of a distributed checkpoint: {what}",
        where=where,
        fix="copy the whole folder again",
        code="VC470",
    )

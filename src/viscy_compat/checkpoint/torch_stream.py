"""The stream that torch wrote before 1.6, and still writes on request: five pickles, then the storages one by one.

The pickles are a magic number, a protocol number, facts about the writing machine, the object, and the keys of the
storages. Each storage is its number of elements (8 bytes, little-endian) and its bytes; torch reads them as
little-endian whatever the machine was (``torch.serialization._legacy_load``).
"""

from __future__ import annotations

from viscy_compat.annotations import Final, NoReturn
from viscy_compat.checkpoint.byte_source import ByteSource
from viscy_compat.checkpoint.dtypes import STORAGE_ITEMSIZES
from viscy_compat.checkpoint.facts import Checkpoint, Storage
from viscy_compat.checkpoint.folder import refuse_part
from viscy_compat.checkpoint.foreign import foreign_pickle, lone_pickle
from viscy_compat.checkpoint.graph import DecodedFile, checkpoint_of
from viscy_compat.checkpoint.limits import Limits, beyond
from viscy_compat.checkpoint.pickle_machine import TORCH_MAGIC, DecodedPickle, EndOfData, decode
from viscy_compat.checkpoint.pickle_nodes import Call, Node, Persistent, is_global
from viscy_compat.checkpoint.rebuild import NotExact, StorageView, is_count, refuse_text_ids, storage_id
from viscy_compat.errors import UnreadableCheckpoint
from viscy_compat.named import NamedTuple

_PROTOCOL: Final = 1001
"""What ``torch.serialization`` calls PROTOCOL_VERSION."""
_CONTENTS: Final = "torch.distributed.checkpoint.metadata.Metadata"
"""What the `.metadata` of a distributed checkpoint is: a pickle alone, without weights."""

_WINDOW: Final = 1 << 14
"""Bytes of the first reading: the four small pickles, and the object of a small file."""


def read_torch_legacy(source: ByteSource, limits: Limits, address: str | None) -> Checkpoint:
    """Read a pre-1.6 stream; see `viscy_compat.checkpoint.open_checkpoint`."""
    pickles = _Pickles(source, limits)
    first = pickles.first()
    if first.root != TORCH_MAGIC:
        if type(first.root) is Call and is_global(first.root.function, _CONTENTS):
            refuse_part(source.path)
        # the pickle of a torch zip file refers to storages, which are records of the archive
        of_a_zip = any(type(node.id) is tuple and node.id[:1] == ("storage",) for node in first.persistents[:1])
        raise lone_pickle(source.path) if of_a_zip else foreign_pickle(source.path)
    protocol, machine, main, keys = pickles.next(), pickles.next(), pickles.next(), pickles.next()
    refuse_text_ids(main, source.path)
    if protocol.root != _PROTOCOL:
        _refuse_stream(source.path, f"its second pickle is not the protocol number {_PROTOCOL}")
    storages = _read_storages(source, keys.root, _roots(main), keys.end)
    end = max((view.storage.start + view.storage.size for view in storages.values()), default=keys.end)
    # the facts about the machine are unpickled too: what they mention counts like what the object mentions
    names = tuple({name.path: name for name in (*main.globals, *machine.globals)}.values())
    calls_results = machine.computed or main.computed
    file = DecodedFile(
        source=source,
        format="torch-legacy",
        pickle=main._replace(globals=names, dropped=main.dropped + machine.dropped, computed=calls_results),
        storages={id(node): _view_of(node, storages) for node in main.persistents},
        records={},
        versions={"archive": str(_PROTOCOL)},
        checked=(),
        trailing=source.size - end,
    )
    return checkpoint_of(file, limits, address)


class _Pickles:
    """Pickles one after the other, of lengths that nobody states: decoded in a window that grows."""

    __slots__ = ("_at", "_limits", "_source", "_window")

    def __init__(self, source: ByteSource, limits: Limits) -> None:
        self._source, self._limits = source, limits
        self._at = 0
        self._window = source.read(0, min(source.size, _WINDOW))

    def first(self) -> DecodedPickle:
        """Return the pickle of the magic number; anything that is no pickle is no torch stream either."""
        try:
            return self.next()
        except UnreadableCheckpoint as error:
            if error.code == "VC403":
                raise
            raise foreign_pickle(self._source.path) from error

    def next(self) -> DecodedPickle:
        where, whole = self._source.path, self._source.size
        while True:
            try:
                pickle = decode(self._window, self._limits, start=self._at, where=where, whole=whole)
            except EndOfData as error:
                length = len(self._window)
                if length == whole:
                    raise _cut_stream(where) from error
                if length - self._at > self._limits.pickle_bytes:
                    what = f"a pickle has more than {self._limits.pickle_bytes} bytes"
                    raise beyond(self._limits, "pickle_bytes", whole, what, where=where) from error
                # by four: all that was decoded in vain is a third of the last try
                self._window += self._source.read(length, min(3 * length, whole - length))
            else:
                self._at = pickle.end
                return pickle


class _Root(NamedTuple):
    """What the pickle says about a root storage: element type, number of elements."""

    dtype: str
    elements: int


def _roots(main: DecodedPickle) -> dict[str, _Root]:
    """Return the root storages that the object refers to, in order; ids that are none are dealt with by `_view_of`."""
    roots: dict[str, _Root] = {}
    for node in main.persistents:
        try:
            key, dtype, elements = storage_id(node)
        except NotExact:
            continue
        roots.setdefault(key, _Root(dtype, elements))
    return roots


def _read_storages(source: ByteSource, keys: Node, roots: dict[str, _Root], start: int) -> dict[str, StorageView]:
    """Find every storage of the stream: a storage's place follows from the sizes of those before it."""
    if type(keys) is not list or any(type(key) is not str for key in keys) or len(set(keys)) != len(keys):
        _refuse_stream(source.path, "the list of its storages is broken")
    views: dict[str, StorageView] = {}
    for key in keys:
        root = roots.get(key)
        if root is None:
            _refuse_stream(source.path, f"storage {key[:40]!a} belongs to no tensor, so its size is unknown")
        if start + 8 > source.size:
            raise _cut_stream(source.path)
        # torch writes the number of elements as an int64 in front of each storage
        elements = int.from_bytes(source.read(start, 8), "little", signed=True)
        size = elements * STORAGE_ITEMSIZES[root.dtype]
        if elements != root.elements:
            _refuse_stream(
                source.path, f"storage {key[:40]!a} has {elements} elements, and {root.elements} in the pickle"
            )
        if start + 8 + size > source.size:
            raise _cut_stream(source.path)
        storage = Storage(key, source.facts, start=start + 8, size=size)
        views[key] = StorageView(storage, root.dtype)
        start += 8 + size
    return views


def _view_of(node: Persistent, storages: dict[str, StorageView]) -> StorageView | NotExact:
    """Return what a persistent id stands for; a sixth field says which part of the root storage."""
    try:
        key, dtype, elements = storage_id(node)
    except NotExact as error:
        return error
    root = storages.get(key)
    if root is None:
        return NotExact("VC442", f"its storage {key!a:.60} is not in the file")
    if root.dtype != dtype or root.storage.nbytes != elements * STORAGE_ITEMSIZES[dtype]:
        return NotExact("VC440", f"its storage {key!a:.60} is described in two ways")
    # early torch wrote a view of another storage as its key, where it starts and its size
    part = node.id[5] if len(node.id) == 6 else None
    if part is None:
        return root
    sound = type(part) is tuple and len(part) == 3 and all(map(is_count, part[1:]))
    if not sound or part[1] + part[2] > elements:
        return NotExact("VC440", "a view that reaches beyond its storage")
    return StorageView(root.storage, dtype, part[1])


def _cut_stream(path: str) -> UnreadableCheckpoint:
    return UnreadableCheckpoint(
        "the file ends before its storages do: it was cut",
        where=path,
        fix="fetch the file again and compare its size with the original",
        code="VC403",
    )


def _refuse_stream(path: str, what: str) -> NoReturn:
    raise UnreadableCheckpoint(
        f"broken torch stream: {what}", where=path, fix="fetch the file again; no torch writes this", code="VC416"
    )

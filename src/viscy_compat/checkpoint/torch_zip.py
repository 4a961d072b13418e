"""Torch files: a zip archive with one pickle and a record for each storage (torch 1.6 and later)."""

from __future__ import annotations

from itertools import repeat

from viscy_compat.annotations import TYPE_CHECKING, Final, Iterator, Mapping, Sequence
from viscy_compat.checkpoint.byte_source import ByteSource, ByteWindow
from viscy_compat.checkpoint.dtypes import ITEMSIZES, STORAGE_ITEMSIZES
from viscy_compat.checkpoint.facts import ByteOrder, Checkpoint, Storage
from viscy_compat.checkpoint.graph import DecodedFile, checkpoint_of
from viscy_compat.checkpoint.limits import Limits
from viscy_compat.checkpoint.pickle_machine import DecodedPickle, EndOfData, decode
from viscy_compat.checkpoint.pickle_nodes import Global, Persistent
from viscy_compat.checkpoint.rebuild import NotExact, StorageView, is_count, refuse_text_ids, storage_dtype, storage_id
from viscy_compat.checkpoint.record_names import refuse_near_names
from viscy_compat.checkpoint.zip_archive import ZipArchive, start_of
from viscy_compat.errors import UnreadableCheckpoint
from viscy_compat.named import records_of

if TYPE_CHECKING:
    from viscy_compat.checkpoint.pickle_spans import RecentSpans

_SMALL: Final = 4096
"""Bytes of a record that holds a word or a number."""
_MOST_METADATA: Final = 1 << 16
"""Bytes of the record of a remap: a configuration and a few digests, about one kilobyte."""
_RECORDS: Final = ("byteorder", "version", ".format_version", ".storage_alignment", "viscy_compat.json")
"""What is read besides the pickle; torch writes most of them next to it."""

spans_in_use: Final[list[RecentSpans]] = []
"""What is remembered of other pickles while files are judged in a row; the last one counts."""


def read_torch_zip(source: ByteSource, limits: Limits, address: str | None) -> Checkpoint:
    """Read a torch zip file; see `viscy_compat.checkpoint.open_checkpoint`."""
    spans = spans_in_use[-1] if spans_in_use else None
    return checkpoint_of(decode_torch_zip(source, limits, spans), limits, address)


def decode_torch_zip(source: ByteSource | ByteWindow, limits: Limits, spans: RecentSpans | None = None) -> DecodedFile:
    """Return the graph of a torch zip file, and its storages."""
    archive = ZipArchive(source, limits)
    root, others = _root_of(archive)
    refuse_near_names(source.path, root, others)
    pickle_name = root + "data.pkl"
    archive.keep({pickle_name: limits.pickle_bytes, **{root + name: _MOST_METADATA for name in _RECORDS}})
    archive.verify_headers()
    where = f"{source.path}: {pickle_name!a}"
    pickle = decode_record(archive.pickle(pickle_name, limits), limits, where, spans)
    refuse_text_ids(pickle, source.path)
    records, folder = _RecordsOnDemand(archive, _byte_order(archive, root)), root + "data/"
    plain = _plain_storages(pickle, archive, records, folder)
    return DecodedFile(
        source=source,
        format="torch-zip",
        pickle=pickle,
        storages=storages_of(pickle, records, folder) if plain is None else plain,
        records=records,
        plain_storages=plain is not None,
        versions=_versions(archive, root),
        checked=(pickle_name,) if archive.has_crcs else (),
        pickle_name=pickle_name,
        metadata=_metadata(archive, root + "viscy_compat.json"),
    )


def decode_record(data: bytes, limits: Limits, where: str, spans: RecentSpans | None = None) -> DecodedPickle:
    """Decode the pickle, which fills its record: another one behind it would go unseen by some readers."""
    try:
        pickle = decode(data, limits, where=where, spans=spans)
    except EndOfData as error:
        raise UnreadableCheckpoint(
            "broken pickle: it has no end", where=where, fix="fetch the file again", code="VC420"
        ) from error
    if pickle.end != len(data):
        raise UnreadableCheckpoint(
            f"broken pickle: {len(data) - pickle.end} bytes follow its end",
            where=where,
            fix="do not use this file: no writer of checkpoints makes such a record",
            code="VC420",
        )
    return pickle


def _root_of(archive: ZipArchive) -> tuple[str, list[str]]:
    """Return the folder that holds everything, with its slash, and all names but those of its storages.

    Only it may hold ``data.pkl``.
    """
    names = archive.entries
    # nearly all names are those of storages, in the folder of the first name: one look at each finds the few others
    first = next(iter(names), "").partition("/")[0] + "/"
    folder = first + "data/"
    others = [name for name in names if not name.startswith(folder)]
    pickles = [name for name in others if name.endswith("/data.pkl") and name.count("/") == 1]
    root = pickles[0].removesuffix("data.pkl") if len(pickles) == 1 else ""
    outside = [name for name in (others if root == first else names) if not name.startswith(root)]
    # the folder itself may be an entry, without its slash
    if root and all(name == root[:-1] for name in outside) and f"{root}constants.pkl" not in names:
        return root, others
    from viscy_compat.checkpoint.foreign import other_archive

    raise other_archive(archive.source.path, list(names), pickles)


def _byte_order(archive: ZipArchive, root: str) -> ByteOrder:
    name = root + "byteorder"
    text = archive.read(name, _SMALL) if name in archive.entries else b"little"
    return byte_order_of(text, where=archive.source.path, fix="fetch it again")


def byte_order_of(text: bytes, *, where: str, fix: str) -> ByteOrder:
    """Return the order of bytes that a file states; those of torch below 2.1 state none and are little-endian.

    Raises
    ------
    UnreadableCheckpoint
        VC410 for a word that torch does not write.
    """
    if text not in (b"little", b"big"):
        raise UnreadableCheckpoint(f"the byte order is stated as {text[:20]!r}", where=where, fix=fix, code="VC410")
    return "big" if text == b"big" else "little"


def _versions(archive: ZipArchive, root: str) -> dict[str, str]:
    """Return what the small records say; torch calls its own format's version ``version``."""
    versions = {}
    for record, name in (("version", "archive"), (".format_version", "format"), (".storage_alignment", "alignment")):
        if root + record in archive.entries:
            versions[name] = archive.read(root + record, _SMALL).decode("ascii", "replace").strip()
    # torch reads the digits that the record begins with, and no archive without them; what is above 10, a later torch may read
    number = versions.get("archive", "")
    if not number[:1].isdecimal() or not number.lstrip("0")[:1].isdecimal():
        said = f"states {number[:20]!a} as the version of its format" if number else "lacks the record 'version'"
        raise UnreadableCheckpoint(
            f"the archive {said}, and torch reads no such one",
            where=archive.source.path,
            fix="fetch it again: another program than torch wrote or changed it",
            code="VC410",
        )
    return versions


def _metadata(archive: ZipArchive, name: str) -> dict[str, str]:
    """Return the record that `viscy-compat remap` leaves in a torch file; one that says nothing readable is none."""
    if name not in archive.entries or archive.entries[name].nbytes > _MOST_METADATA:
        return {}
    from json import loads

    try:
        record = loads(archive.read(name, _MOST_METADATA))
    except (ValueError, RecursionError):
        return {}
    texts = record.items() if isinstance(record, dict) else ()
    return {key: value for key, value in texts if isinstance(value, str)}


class _RecordsOnDemand(Mapping[str, Storage]):
    """The records of an archive, in the order of its directory; each is made when it is asked for."""

    __slots__ = ("_entries", "_file", "_has_crcs", "_made", "_order")

    def __init__(self, archive: ZipArchive, order: ByteOrder) -> None:
        self._entries, self._file, self._has_crcs = archive.entries, archive.source.facts, archive.has_crcs
        self._order = order
        self._made: dict[str, Storage] = {}

    def __getitem__(self, name: str) -> Storage:
        return self.of([name])[0]

    def of(self, names: Sequence[str]) -> list[Storage]:
        """Return the records of these names."""
        made, file, order, has_crcs = self._made, self._file, self._order, self._has_crcs
        for name in names:
            if name not in made:
                entry = self._entries[name]
                _, _, size, nbytes, crc, deflated, _, _ = entry
                # the local header says where the bytes begin, and is not read before they are
                record = made[name] = Storage(name, file, -1, size)
                # set one by one: as arguments with names they take twice the time, and there are tens of thousands
                record.byte_order, record.crc, record.nbytes = order, crc if has_crcs else None, nbytes
                record.entry, record.compressed = entry, deflated
        return [made[name] for name in names]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def start_in_file(window: ByteWindow, storage: Storage) -> None:
    """Say where in the whole file a storage of an archive within it begins."""
    if storage.start < 0 and storage.entry is not None:
        storage.start = window.start + start_of(window, storage.entry)


def storages_of(
    pickle: DecodedPickle, records: Mapping[str, Storage], folder: str
) -> dict[int, StorageView | NotExact]:
    """Return what each persistent id stands for; the first one that names a record decides its element type."""
    views: dict[str, StorageView] = {}
    storages = {id(node): _storage_of(node, records, folder, views) for node in pickle.persistents}
    # A CRC of 0 is none where every storage has it: torch leaves room for bytes that are filled in later
    # (`torch.serialization.skip_data`); no bytes have the sum 0 but by an accident of one in four billion.
    with_bytes = [view.storage for view in storages.values() if type(view) is StorageView and view.storage.nbytes]
    if not any(storage.crc for storage in with_bytes):
        for storage in with_bytes:
            storage.crc = None
    return storages


def _storage_of(
    node: Persistent, records: Mapping[str, Storage], folder: str, views: dict[str, StorageView]
) -> StorageView | NotExact:
    try:
        key, dtype, elements = storage_id(node)
    except NotExact as error:
        return error
    view = views.get(key)
    if view is None:
        record = records.get(folder + key)
        if record is None:
            return NotExact("VC442", f"its storage {key!a:.60} is not in the file")
        view = views[key] = StorageView(record, dtype)
    if dtype == "untyped":
        view = StorageView(view.storage, dtype)
    if view.dtype != dtype:
        return NotExact("VC440", f"its storage {key!a:.60} is called {view.dtype} and {dtype}")
    if elements * STORAGE_ITEMSIZES[dtype] != view.storage.nbytes:
        return NotExact("VC440", f"its storage states {elements} elements and holds {view.storage.nbytes} bytes")
    return view


_PARTS: Final = 5
_PLAIN_TYPES: Final = {0: str, 1: Global, 2: str, 4: int}
"""Types of the parts of torch's persistent id: a word, the class of the storage, its key, where it was (nobody asks for
that), its elements."""


def _plain_storages(
    pickle: DecodedPickle, archive: ZipArchive, records: _RecordsOnDemand, folder: str
) -> dict[int, StorageView | NotExact] | None:
    """Return what `storages_of` would; None where any id needs its look, or a storage is compressed.

    All must agree with the directory. That is asked of them column by column, which takes a fifth of the time that a look at
    each takes.
    """
    ids = [node.id for node in pickle.persistents]
    # what a column holds is hashed and compared once its types are known: nodes of a stranger could be anything
    if {*map(type, ids)} != {tuple} or {*map(len, ids)} != {_PARTS}:
        return None
    columns = list(zip(*ids, strict=True))
    words, kinds, keys, _, counts = columns
    if any({*map(type, columns[place])} != {kind} for place, kind in _PLAIN_TYPES.items()):
        return None
    dtypes = {kind: storage_dtype(kind) for kind in {*kinds}}
    # untyped storages may be shared by tensors of several dtypes
    if {*words} != {"storage"} or not {*dtypes.values()} <= ITEMSIZES.keys() or not is_count(max(counts)):
        return None
    entries, names = archive.entries, [folder + key for key in keys]
    try:
        rows = [entries[name] for name in names]
    except KeyError:
        return None
    sizes = {kind: ITEMSIZES[dtype] for kind, dtype in dtypes.items() if dtype}
    sizes_by_ids = [count * sizes[kind] for count, kind in zip(counts, kinds, strict=True)]
    if sizes_by_ids != [entry.nbytes for entry in rows]:
        return None
    # tied tensors name a storage twice; it has one element type
    if len({*keys}) != len(keys) and len({*zip(keys, kinds, strict=True)}) != len({*keys}):
        return None
    # where no storage has a sum, all of them lose what stands for one
    if any(entry.deflated for entry in rows) or not any(entry.crc and entry.nbytes for entry in rows):
        return None
    views = records_of(StorageView, records.of(names), [dtypes[kind] for kind in kinds], repeat(0, len(names)))
    return dict(zip(map(id, pickle.persistents), views, strict=True))

"""Torch files: a zip archive with one pickle and a record for each storage (torch 1.6 and later)."""

from __future__ import annotations

from viscy_compat.annotations import Final
from viscy_compat.checkpoint.byte_source import ByteSource, ByteWindow
from viscy_compat.checkpoint.dtypes import STORAGE_ITEMSIZES
from viscy_compat.checkpoint.facts import ByteOrder, Checkpoint, Storage
from viscy_compat.checkpoint.graph import DecodedFile, checkpoint_of
from viscy_compat.checkpoint.limits import Limits
from viscy_compat.checkpoint.pickle_machine import DecodedPickle, EndOfData, decode
from viscy_compat.checkpoint.pickle_nodes import Persistent
from viscy_compat.checkpoint.rebuild import NotExact, StorageView, storage_id
from viscy_compat.checkpoint.record_names import refuse_near_names
from viscy_compat.checkpoint.zip_archive import ZipArchive, start_of
from viscy_compat.errors import UnreadableCheckpoint

_SMALL: Final = 4096
"""Bytes of a record that holds a word or a number."""
_MOST_METADATA: Final = 1 << 16
"""Bytes of the record of a remap: a configuration and a few digests, about one kilobyte."""
_RECORDS: Final = ("byteorder", "version", ".format_version", ".storage_alignment", "viscy_compat.json")
"""What is read besides the pickle; torch writes most of them next to it."""


def read_torch_zip(source: ByteSource, limits: Limits, address: str | None) -> Checkpoint:
    """Read a torch zip file; see `viscy_compat.checkpoint.open_checkpoint`."""
    return checkpoint_of(decode_torch_zip(source, limits), limits, address)


def decode_torch_zip(source: ByteSource | ByteWindow, limits: Limits) -> DecodedFile:
    """Return the graph of a torch zip file, and its storages."""
    archive = ZipArchive(source, limits)
    root = _root_of(archive)
    refuse_near_names(source.path, root, archive.entries)
    pickle_name = root + "data.pkl"
    archive.keep({pickle_name: limits.pickle_bytes, **{root + name: _MOST_METADATA for name in _RECORDS}})
    archive.verify_headers()
    where = f"{source.path}: {pickle_name!a}"
    pickle = decode_record(archive.pickle(pickle_name, limits), limits, where)
    records = _records(archive, _byte_order(archive, root))
    storages = storages_of(pickle, records, root + "data/")
    return DecodedFile(
        source=source,
        format="torch-zip",
        pickle=pickle,
        storages=storages,
        records=records,
        versions=_versions(archive, root),
        checked=(pickle_name,) if archive.has_crcs else (),
        pickle_name=pickle_name,
        metadata=_metadata(archive, root + "viscy_compat.json"),
    )


def decode_record(data: bytes, limits: Limits, where: str) -> DecodedPickle:
    """Decode the pickle, which fills its record: another one behind it would go unseen by some readers."""
    try:
        pickle = decode(data, limits, where=where)
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


def _root_of(archive: ZipArchive) -> str:
    """Return the folder that holds everything, with its slash; only it may hold ``data.pkl``."""
    names = archive.entries
    pickles = [name for name in names if name.endswith("/data.pkl") and name.count("/") == 1]
    root = pickles[0].removesuffix("data.pkl") if len(pickles) == 1 else ""
    outside = [name for name in names if not name.startswith(root)]
    # the folder itself may be an entry, without its slash
    if root and all(name == root[:-1] for name in outside) and f"{root}constants.pkl" not in names:
        return root
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


def _records(archive: ZipArchive, order: ByteOrder) -> dict[str, Storage]:
    has_crcs, file = archive.has_crcs, archive.source.facts
    return {
        name: Storage(
            name,
            file,
            # the local header says where the bytes begin, and is not read before they are
            start=-1,
            size=entry.size,
            dtype="uint8",
            byte_order=order,
            crc=entry.crc if has_crcs else None,
            nbytes=entry.nbytes,
            entry=entry,
        )
        for name, entry in archive.entries.items()
    }


def start_in_file(window: ByteWindow, storage: Storage) -> None:
    """Say where in the whole file a storage of an archive within it begins."""
    if storage.start < 0 and storage.entry is not None:
        storage.start = window.start + start_of(window, storage.entry)


def storages_of(pickle: DecodedPickle, records: dict[str, Storage], folder: str) -> dict[int, StorageView | NotExact]:
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
    node: Persistent, records: dict[str, Storage], folder: str, views: dict[str, StorageView]
) -> StorageView | NotExact:
    try:
        key, dtype, elements, location = storage_id(node)
    except NotExact as error:
        return error
    view = views.get(key)
    if view is None:
        record = records.get(folder + key)
        if record is None:
            return NotExact("VC442", f"its storage {key!a:.60} is not in the file")
        record.dtype, record.location = "uint8" if dtype == "untyped" else dtype, location
        view = views[key] = StorageView(record, dtype)
    if dtype == "untyped":
        view = StorageView(view.storage, dtype)
    if view.dtype != dtype:
        return NotExact("VC440", f"its storage {key!a:.60} is called {view.dtype} and {dtype}")
    if elements * STORAGE_ITEMSIZES[dtype] != view.storage.nbytes:
        return NotExact("VC440", f"its storage states {elements} elements and holds {view.storage.nbytes} bytes")
    return view

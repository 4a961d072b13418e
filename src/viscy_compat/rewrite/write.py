"""A plan and a file to a new file: tensor bytes are streamed and never decoded, but for casts.

The new file is written beside its place, read again by our own reader, compared with the source byte by byte, and only
then put in its place (`viscy_compat.rewrite.output`).
"""

from __future__ import annotations

import os
from functools import partial
from zlib import crc32

from viscy_compat.annotations import TYPE_CHECKING, Callable, Iterable, Iterator, Literal, Sequence
from viscy_compat.checkpoint import Limits, open_checkpoint
from viscy_compat.checkpoint.address import select_set
from viscy_compat.checkpoint.facts import Checkpoint, Storage, StoredTensor
from viscy_compat.checkpoint.limits import DEFAULT_LIMITS
from viscy_compat.checkpoint.pickle_nodes import Node
from viscy_compat.checkpoint.safetensors_writer import header_of, order_of_bytes
from viscy_compat.checkpoint.tensor_bytes import TensorReader
from viscy_compat.checkpoint.zip_writer import ZipWriter
from viscy_compat.errors import OutputRefused, UnreadableCheckpoint
from viscy_compat.layout import printable
from viscy_compat.named import NamedTuple
from viscy_compat.operations import Rename, targets_of
from viscy_compat.plans.plan import Plan
from viscy_compat.plans.streams import PIECE, TargetTensor, refuse_changed_fills, same_bytes, target_tensors
from viscy_compat.rewrite.admission import Admission
from viscy_compat.rewrite.copies import BLOCK, Extent, Portion, copy_portions, extent_of_storage, extent_of_tensor
from viscy_compat.rewrite.output import IfExists, Output, open_output
from viscy_compat.rewrite.shared_work import SharedWork
from viscy_compat.rewrite.torch_graph import OutputStateDict, TorchContents, edited_contents, plain_contents

if TYPE_CHECKING:
    from collections.abc import Mapping

OutputFormat = Literal["safetensors", "torch"]

WORTHWHILE = 16 << 20
"""Bytes below which a thread costs more than it gives."""

PROVENANCE = "viscy_compat.json"
"""The record of a torch file that says where its tensors come from."""

LEAN_RECORDS = ("version", "byteorder", ".format_version", ".storage_alignment", ".data/serialization_id")
"""Records besides the pickle and the storages that ``--weights-only`` keeps."""


class OutputSet(NamedTuple):
    """A set of weights on its way to the output.

    Parameters
    ----------
    checkpoint : Checkpoint
        The source, with this set.
    keys : Mapping[str, str]
        Raw keys by the names that the plan has for the tensors.
    plan : Plan
        A plan that fits it.
    prefix : str, optional
        Put in front of every name (``"model."`` for Lightning).
    source_prefix : str, optional
        What the names had in front in the source.
    site : str, optional
        Path of the state dict in an output that keeps the graph of the source.
    """

    checkpoint: Checkpoint
    keys: Mapping[str, str]
    plan: Plan
    prefix: str = ""
    source_prefix: str = ""
    site: str = ""


class Job(NamedTuple):
    """What is written, and where.

    Parameters
    ----------
    weights : OutputSet
        The chosen set of weights.
    out : str
        The new file.
    format : {"safetensors", "torch"}
        Its format.
    if_exists : {"refuse", "overwrite", "back up"}, optional
        What happens to a file that stands there.
    weights_only : bool, optional
        Leave out everything but the weights and what is needed to load them.
    keep_classes : bool, optional
        Keep entries that torch's default refuses.
    replacements : Mapping[int, Node], optional
        Other nodes of the graph that change (optimizer state).
    metadata : Mapping[str, str], optional
        Where the tensors come from: for the header of a safetensors file, or a record of a torch file.
    limits : Limits, optional
        With which the new file is read again.
    siblings : tuple[OutputSet, ...], optional
        Other sets of weights that an output with the graph of the source holds, migrated too.
    removed : tuple[str, ...], optional
        Paths of entries that such an output does not have.
    """

    weights: OutputSet
    out: str
    format: OutputFormat
    if_exists: IfExists = "refuse"
    weights_only: bool = False
    keep_classes: bool = False
    replacements: Mapping[int, Node] = {}
    metadata: Mapping[str, str] = {}
    limits: Limits = DEFAULT_LIMITS
    siblings: tuple[OutputSet, ...] = ()
    removed: tuple[str, ...] = ()


class WrittenFile(NamedTuple):
    """What was written: the file, its size in bytes, how many tensors it holds, and those that share bytes.

    ``tied`` maps the name of a tensor to that of the first one with the same bytes in the source's storage;
    ``admission`` says what is not in the file, or in another form, so that torch's default reads it.
    """

    path: str
    size: int
    tensors: int
    tied: Mapping[str, str]
    admission: Admission = Admission({})


class _Record(NamedTuple):
    """One record of a torch zip file to be written; `extent` is where the source has its bytes as they are.

    ``storage`` is that of the source of which it is a copy.
    """

    name: str
    nbytes: int
    chunks: Callable[[TensorReader], Iterator[bytes]]
    crc: int | None = None
    extent: Extent | None = None
    storage: Storage | None = None


def write(job: Job, recheck: Callable[[str], None]) -> WrittenFile:
    """Write a job's file, or touch nothing.

    Parameters
    ----------
    job : Job
        What to write.
    recheck : Callable[[str], None]
        Called with the path of the finished temporary file; whatever it raises keeps the file from its place.

    Raises
    ------
    OutputRefused
        Where the file cannot be written as asked.
    PlanRefused
        Where a tensor that was filled once no longer holds that value, so that dropping it would lose numbers.
    UnreadableCheckpoint
        Where the source is damaged or changes meanwhile.
    """
    tensors = _tensors_of(job.weights)
    states = (
        [OutputStateDict("", place=None, origin=None, tensors=tensors, module_path=str)]
        if plain_output(job)
        else _states(job, tensors)
    )
    with TensorReader(job.weights.checkpoint) as reader:
        for part in (job.weights, *job.siblings):
            refuse_changed_fills(part.plan, stored_tensors(part.checkpoint, part.keys), reader)
        with open_output(job.out, job.if_exists, inputs=job.weights.checkpoint.files) as output:
            records, admission = _write_file(job, states, output, reader)
            # what is rechecked is in memory, whatever the disc still waits for; every byte is read once more when it has it
            output.begin_sync()
            recheck(output.temporary)
            output.sync()
            # before it takes its place: what is compared is what will be there
            _compare(job, states, records, output.temporary)
            # last: the source may have been written to while it was copied and compared
            for file in job.weights.checkpoint.files:
                reader.source(file)
            reader.verify_unchanged()
            output.commit()
            return WrittenFile(
                job.out, size=output.position, tensors=len(tensors), tied=tied_names(tensors), admission=admission
            )


def plain_output(job: Job) -> bool:
    """Say whether the output holds one state dict and nothing else of the source."""
    return job.format == "safetensors" or becomes_plain(job.weights.checkpoint)


def _tensors_of(part: OutputSet) -> list[TargetTensor]:
    made = target_tensors(part.plan, stored_tensors(part.checkpoint, part.keys))
    return [tensor._replace(name=part.prefix + tensor.name) for tensor in made]


def _states(job: Job, tensors: list[TargetTensor]) -> list[OutputStateDict]:
    """Return the state dicts of the output, the chosen one first; sets in one state dict stand one after the other."""
    parts: dict[str, list[OutputSet]] = {}
    for part in (job.weights, *job.siblings):
        parts.setdefault(part.site, []).append(part)
    return [_state(job, site, here, tensors) for site, here in parts.items()]


def _state(job: Job, site: str, parts: list[OutputSet], tensors: list[TargetTensor]) -> OutputStateDict:
    first = parts[0].checkpoint
    adds = site not in [known.path for known in first.sites]
    place = first.state_node if adds or site == first.site else select_set(first, site).state_node
    tensors_there = [tensor for part in parts for tensor in (tensors if part == job.weights else _tensors_of(part))]
    maps = [_module_path(part) for part in parts]

    def first_answer(path: str) -> str | None:
        # a module belongs to one of the sets: the maps of the others have no answer for it
        return next((answer for one in maps if (answer := one(path)) is not None), None)

    return OutputStateDict(
        site,
        place=place,
        origin=first.state_node,
        tensors=tensors_there,
        module_path=maps[0] if len(maps) == 1 else first_answer,
        adds=adds,
    )


def tied_names(tensors: Sequence[TargetTensor]) -> dict[str, str]:
    """Return the tensors that are the same bytes as an earlier one, with that one's name."""
    first: dict[tuple[object, ...], str] = {}
    ties: dict[str, str] = {}
    for tensor in tensors:
        source = tensor.same_as
        if source is not None and source.nbytes:
            place = (id(source.storage), source.offset, source.spec, source.stride)
            original = first.setdefault(place, tensor.name)
            if original != tensor.name:
                ties[tensor.name] = original
    return ties


def stored_tensors(checkpoint: Checkpoint, keys: Mapping[str, str]) -> dict[str, StoredTensor]:
    """Return the tensors of a file under the names that a plan has for them."""
    return {name: checkpoint.tensors[key] for name, key in keys.items()}


def _write_file(
    job: Job, states: list[OutputStateDict], output: Output, reader: TensorReader
) -> tuple[list[_Record], Admission]:
    """Write the file; return the records of a torch zip file, and what torch's default would have refused."""
    if job.format == "safetensors":
        _write_safetensors(job, states[0].tensors, output)
        verify_partly_read(states[0].tensors, reader)
        return [], Admission({})
    records, admission = _records(job, states)
    _prepare(output, _total(records))
    writer = ZipWriter(output)
    portions = [
        Portion(
            writer.reserve(record.name, record.nbytes, crc=record.crc),
            record.nbytes,
            record.chunks,
            extent=record.extent,
            needs_crc=record.crc is None,
        )
        for record in records
    ]
    crcs = copy_portions(portions, output, job.weights.checkpoint, threads=_threads(_total(records)))
    for number, (record, crc) in enumerate(zip(records, crcs, strict=True)):
        if record.crc is None:
            writer.state_crc(number, crc)
    writer.finish()
    return records, admission


def _total(parts: Iterable[_Record | TargetTensor | _Check]) -> int:
    return sum(part.nbytes for part in parts)


def _threads(nbytes: int) -> int:
    """Return in how many threads bytes are worth copying; Windows has no ``pwrite``, which they need."""
    return 2 if nbytes >= WORTHWHILE and hasattr(os, "pwrite") else 1


def _write_safetensors(job: Job, tensors: list[TargetTensor], output: Output) -> None:
    metadata = dict(job.metadata)
    ties = tied_names(tensors)
    if ties:
        from json import dumps

        metadata["viscy_compat.tied"] = dumps(ties)
    by_name = {tensor.name: tensor for tensor in tensors}
    layout = {name: tensor.spec for name, tensor in by_name.items()}
    header = header_of(layout, metadata, where=job.out)
    _prepare(output, len(header) + _total(tensors))
    output.write(header)
    portions = []
    for name in order_of_bytes(layout):
        tensor = by_name[name]
        # no CRC is needed: a safetensors file has no room for any
        portions.append(
            Portion(output.position, tensor.nbytes, tensor.chunks, extent=_extent_of(tensor), needs_crc=False)
        )
        output.skip(tensor.nbytes)
    copy_portions(portions, output, job.weights.checkpoint, threads=_threads(_total(tensors)))


def _extent_of(tensor: TargetTensor) -> Extent | None:
    """Return where the source has the very bytes of a tensor in one piece; None where they are made, or put together."""
    return extent_of_tensor(tensor.same_as) if tensor.same_as is not None else None


def verify_partly_read(tensors: list[TargetTensor], reader: TensorReader) -> None:
    """Verify the CRC of storages that no tensor was the whole of: reading a part of one verifies nothing."""
    parts = [part for tensor in tensors for part in tensor.parts]
    whole = {id(part.storage) for part in parts if _is_whole(part)}
    partly = {id(part.storage): part.storage for part in parts if id(part.storage) not in whole}
    for storage in partly.values():
        reader.verify(storage)


def _is_whole(tensor: StoredTensor) -> bool:
    return tensor.contiguous and tensor.offset == 0 and tensor.nbytes == tensor.storage.nbytes


def _prepare(output: Output, size: int) -> None:
    """Refuse a disc that is too small, and let a large file reach the disc while it is written."""
    free = output.free_bytes()
    if free is not None and size > free:
        raise OutputRefused(
            f"{size} bytes are needed, and the disc has {free} left; nothing was written",
            where=output.path,
            fix="make room, or choose another disc",
        )
    if size >= WORTHWHILE:
        output.settle()


def _records(job: Job, states: list[OutputStateDict]) -> tuple[list[_Record], Admission]:
    """Return every record of the output, the pickle first, and what torch's default would have refused."""
    checkpoint = job.weights.checkpoint
    if becomes_plain(checkpoint):
        contents = plain_contents(states[0].tensors)
        first = (_held_record("archive/data.pkl", contents.pickle), _held_record("archive/byteorder", b"little"))
        last = (_held_record("archive/version", b"3\n"), *_provenance("archive/", job))
        return [*first, *_storage_records("archive/", contents), *last], contents.admission
    contents = edited_contents(
        checkpoint,
        states,
        replacements=job.replacements,
        without=job.removed,
        weights_only=job.weights_only,
        keep_classes=job.keep_classes,
    )
    if contents.admission.root and not job.keep_classes:
        raise OutputRefused(
            f"torch.load's default refuses the whole of such a file: {', '.join(contents.admission.root)}",
            where=job.out,
            fix="--weights-only writes the weights alone; --keep-classes writes the rest too",
        )
    root = checkpoint.pickle_name.removesuffix("data.pkl")
    storages = {record.name: record for record in _storage_records(root, contents)}
    records_kept = [
        storages.get(record.name) or _kept_record(record.name, record) for record in _other_records(job, root, storages)
    ]
    records_added = [record for name, record in storages.items() if name not in checkpoint.records]
    return [
        _held_record(checkpoint.pickle_name, contents.pickle),
        *records_kept,
        *records_added,
        *_provenance(root, job),
    ], contents.admission


def _provenance(root: str, job: Job) -> Iterator[_Record]:
    if job.metadata:
        from json import dumps

        yield _held_record(root + PROVENANCE, dumps(dict(job.metadata), indent=1).encode())


def _other_records(job: Job, root: str, storages: Mapping[str, _Record]) -> Iterator[Storage]:
    """Yield the source's records that stay, in their order; storages that nothing refers to any more are left out."""
    checkpoint = job.weights.checkpoint
    for name, record in checkpoint.records.items():
        lean = job.weights_only and name.removeprefix(root) not in LEAN_RECORDS
        is_renewed = name == checkpoint.pickle_name or (job.metadata and name == root + PROVENANCE)
        left_out = is_renewed or name in checkpoint.storages or lean
        if name in storages or not left_out:
            yield record


def _held_record(name: str, data: bytes) -> _Record:
    return _Record(name, nbytes=len(data), chunks=lambda reader: iter((data,)), crc=crc32(data))


def _storage_records(root: str, contents: TorchContents) -> Iterator[_Record]:
    for key, content in contents.storages.items():
        name = f"{root}data/{key}"
        if isinstance(content, TargetTensor):
            yield _Record(name, content.nbytes, content.chunks)
        else:
            yield _kept_record(name, content)


def _kept_record(name: str, storage: Storage) -> _Record:
    """Return a record with the very bytes of one of the source."""
    return _Record(
        name,
        nbytes=storage.nbytes,
        chunks=partial(TensorReader.storage_chunks, storage=storage, size=PIECE),
        crc=storage.crc,
        extent=extent_of_storage(storage),
        storage=storage,
    )


def _module_path(part: OutputSet) -> Callable[[str], str | None]:
    """Return the map of module paths that goes with the renames of their tensors."""
    before, after = part.source_prefix, part.prefix
    modules: dict[str, str] = {}
    for row in part.plan.operations:
        if isinstance(row, Rename):
            modules[_module(part.keys[row.source])] = _module(after + row.target)
    modules_changed = {_module(after + name) for row in part.plan.changes for name in targets_of(row)}
    modules_used = modules_changed | set(modules.values())

    def module_path(path: str) -> str | None:
        if path in modules:
            return modules[path]
        inside = f"{path}.".startswith(before) if path else not before
        path_after = after.removesuffix(".") if f"{path}." == before else after + path[len(before) :]
        if not path and (after or not before):
            return ""
        return path_after if inside and path_after not in modules_used else None

    return module_path


def _module(name: str) -> str:
    return name.rpartition(".")[0]


def _compare(job: Job, states: list[OutputStateDict], records: list[_Record], path: str) -> None:
    """Read the new file as anybody would, and compare every byte with the source."""
    whole_records: set[str] = set()
    checks: list[_Check] = []
    for state in states:
        new_file = open_checkpoint(path, limits=job.limits, state_dict=None if plain_output(job) else state.site)
        if list(new_file.tensors) != [tensor.name for tensor in state.tensors]:
            raise _differs(job.out, "its tensors have other names")
        copies = {record.name: record.storage for record in records}
        checks += _tensor_checks(job, _not_in_copies(state.tensors, new_file, copies), new_file, whole_records)
    checks += _record_checks(records, new_file, whole_records)
    SharedWork(checks).run(partial(_compare_all, job, new_file), threads=_threads(_total(checks)))


class _Check(NamedTuple):
    """Two streams of the same length that must hold the same bytes: one of the source, one of the new file.

    ``extents`` are where the two files have these bytes as they are.
    """

    name: str
    nbytes: int
    source: Callable[[TensorReader], Iterator[bytes]]
    output: Callable[[TensorReader], Iterator[bytes]]
    extents: tuple[Extent, Extent] | None = None


def _not_in_copies(
    tensors: list[TargetTensor], new_file: Checkpoint, copies: Mapping[str, Storage | None]
) -> Iterator[TargetTensor]:
    """Yield the tensors but for those that look at a copy of a record as they looked at the source's.

    That record is compared as a whole, once, however many tensors look into it.
    """
    for tensor in tensors:
        mine, theirs = new_file.tensors[tensor.name], tensor.same_as
        if (
            theirs is None
            or copies.get(mine.storage.name) is not theirs.storage
            or (mine.spec, mine.stride, mine.offset) != (theirs.spec, theirs.stride, theirs.offset)
        ):
            yield tensor


def _tensor_checks(
    job: Job, tensors: Iterable[TargetTensor], new_file: Checkpoint, whole_records: set[str]
) -> Iterator[_Check]:
    """Yield every tensor, and note the records that one is the whole of."""
    for tensor in tensors:
        mine = new_file.tensors[tensor.name]
        if mine.spec != tensor.spec:
            raise _differs(job.out, printable(tensor.name))
        whole_records.update((mine.storage.name,) if _is_whole(mine) else ())
        check = _Check(
            tensor.name,
            nbytes=tensor.nbytes,
            source=tensor.chunks,
            output=partial(TensorReader.chunks, tensor=mine, size=PIECE),
        )
        yield from _in_slices(check, _extent_of(tensor), extent_of_tensor(mine))


def _record_checks(records: list[_Record], new_file: Checkpoint, whole_records: set[str]) -> Iterator[_Check]:
    """Yield every record that is not yet compared; those that a tensor is the whole of come first, by its name."""
    tensors = {one.storage.name: name for name, one in reversed(new_file.tensors.items()) if _is_whole(one)}
    for record in sorted(records, key=lambda record: record.name not in tensors):
        if record.name not in whole_records:
            mine = new_file.records[record.name]
            check = _Check(
                tensors.get(record.name, record.name),
                nbytes=record.nbytes,
                source=record.chunks,
                output=partial(TensorReader.storage_chunks, storage=mine, size=PIECE),
            )
            yield from _in_slices(check, record.extent, extent_of_storage(mine))


def _in_slices(check: _Check, extent: Extent | None, mine: Extent | None) -> Iterator[_Check]:
    """Part what lies in one piece in both files, so that two threads can share a large one."""
    if extent is None or mine is None or extent.nbytes != mine.nbytes:
        yield check
        return
    for pair in zip(extent.slices(), mine.slices(), strict=True):
        yield check._replace(nbytes=pair[0].nbytes, extents=pair)


def _compare_all(job: Job, new_file: Checkpoint, work: SharedWork[_Check]) -> None:
    mine, theirs = bytearray(BLOCK), bytearray(BLOCK)
    with TensorReader(job.weights.checkpoint, crcs="ignore") as old, TensorReader(new_file, crcs="ignore") as new:
        for check in work.take():
            if check.extents is None:
                same = same_bytes(check.source(old), check.output(new))
            else:
                same = _same_extents(check.extents, (old, new), (mine, theirs))
            if not same:
                raise _differs(job.out, printable(check.name))


def _same_extents(
    extents: tuple[Extent, Extent],
    readers: tuple[TensorReader, TensorReader],
    memory: tuple[bytearray, bytearray],
) -> bool:
    """Say whether two extents of the same length hold the same bytes; each is read into memory of its own."""
    for start in range(0, extents[0].nbytes, BLOCK):
        length = min(BLOCK, extents[0].nbytes - start)
        for extent, reader, block in zip(extents, readers, memory, strict=True):
            reader.read_into(memoryview(block)[:length], extent.storage, extent.first + start)
        first, second = memory
        if (first != second) if length == BLOCK else (first[:length] != second[:length]):
            return False
    return True


def becomes_plain(checkpoint: Checkpoint) -> bool:
    """Say whether a torch file made of a checkpoint is a plain state dict, without anything else the source holds.

    Only torch zip files of this machine's kind keep their graph: not pickled modules, not pre-1.6 streams, and not
    big-endian files, whose bytes are turned.
    """
    big = any(storage.byte_order == "big" for storage in checkpoint.storages.values())
    return checkpoint.format != "torch-zip" or checkpoint.wrapper.kind == "module" or big


def _differs(out: str, what: str) -> UnreadableCheckpoint:
    return UnreadableCheckpoint(
        f"the new file, read again, is not what was written ({what}); it was removed",
        where=out,
        fix="check the disc and try again; if it happens twice, report it as a defect",
    )

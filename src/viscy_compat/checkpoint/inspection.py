"""What `inspect` reports: the facts of one file as JSON values, without judgement."""

from __future__ import annotations

from viscy_compat.annotations import Any, Iterable
from viscy_compat.checkpoint.dtypes import STORAGE_ITEMSIZES
from viscy_compat.checkpoint.facts import Checkpoint, Format, Storage, StoredTensor, WeightsFacts
from viscy_compat.checkpoint.pickle_nodes import Node, Persistent, mapping_of, walk
from viscy_compat.checkpoint.plain import absolute_paths, plain
from viscy_compat.checkpoint.rebuild import NotExact, storage_id
from viscy_compat.checkpoint.thorough import damaged_records
from viscy_compat.errors import UnreadableCheckpoint
from viscy_compat.findings import Finding, html_of, line_of
from viscy_compat.layout import spell_count
from viscy_compat.named import NamedTuple


class OptimizerFacts(NamedTuple):
    """One optimizer's state: parameters with state, names of what is kept for each, bytes, and its settings."""

    parameters: int
    slots: tuple[str, ...]
    nbytes: int
    groups: list[Any]


class Inspection:
    """One file that could be read (`checkpoint`), or why not (`error`); a result of a report.

    Parameters
    ----------
    path : str
        The file.
    checkpoint : Checkpoint, optional
        None where the file could not be read.
    error : UnreadableCheckpoint, optional
        Why.
    damaged : tuple[str, ...] or None
        Records whose CRC-32 is wrong; None where not every byte was read.
    sets : tuple[WeightsFacts, ...], optional
        Every set of weights in the file, as somebody who knows the classes sees it.
    """

    __slots__ = ("checkpoint", "damaged", "error", "path", "sets")

    def __init__(
        self,
        path: str,
        *,
        checkpoint: Checkpoint | None = None,
        error: UnreadableCheckpoint | None = None,
        damaged: tuple[str, ...] | None = None,
        sets: tuple[WeightsFacts, ...] = (),
    ) -> None:
        self.path, self.checkpoint, self.error, self.damaged, self.sets = path, checkpoint, error, damaged, sets

    @property
    def title(self) -> str:
        """The file."""
        return self.path

    @property
    def exit_code(self) -> int:
        """0 where the file could be read, 2 where not; damage and what would run are for `check` to judge."""
        return 2 if self.error is not None or self.damaged else 0

    @property
    def findings(self) -> tuple[Finding, ...]:
        """VC4xx findings, or the error as one."""
        if self.error is not None:
            return (Finding(self.error.code, self.error.message, fix=self.error.fix),)
        findings = self.checkpoint.findings if self.checkpoint else ()
        if not self.damaged:
            return findings
        damage = f"{spell_count(len(self.damaged), 'record', 'is', 'are')} damaged"
        return (Finding("VC414", damage, self.damaged), *findings)

    def __repr__(self) -> str:
        return line_of(
            self,
            f"{self.checkpoint.format}, {spell_count(len(self.checkpoint.tensors), 'tensor')}"
            if self.checkpoint
            else "not readable",
        )

    def _repr_html_(self) -> str:
        return html_of("inspect", self)

    def to_dict(self) -> dict[str, Any]:
        """Return what ``--format json`` prints for the file."""
        findings = {"findings": [finding.to_dict() for finding in self.findings]}
        if self.checkpoint is None:
            return {"file": self.path, "readable": False, **findings}
        checkpoint = self.checkpoint
        records: Iterable[Storage] = (checkpoint.records or checkpoint.storages).values()
        storages = [tensor.storage for tensor in checkpoint.tensors.values() if tensor.nbytes]
        crcs = {
            # whether every weight has a checksum, so that damage to it can be seen
            "verifiable": bool(storages) and all(storage.crc is not None for storage in storages),
            "stored": sum(record.crc is not None for record in records),
            "verified": list(checkpoint.checked_crcs) if self.damaged is None else "all",
            "damaged": list(self.damaged or ()),
        }
        more = {"sets": [row.to_dict() for row in self.sets], "crcs": crcs}
        return {"file": self.path, "readable": True, **_facts_of(checkpoint), **more, **findings}


def inspect_checkpoint(
    checkpoint: Checkpoint, *, every_byte: bool = False, sets: tuple[WeightsFacts, ...] = ()
) -> Inspection:
    """Return the inspection of a checkpoint; with `every_byte`, every stored CRC-32 is verified."""
    damaged = damaged_records(checkpoint) if every_byte else None
    return Inspection(checkpoint.path, checkpoint=checkpoint, damaged=damaged, sets=sets)


def _facts_of(checkpoint: Checkpoint) -> dict[str, Any]:
    return {
        "format": checkpoint.format,
        "size": checkpoint.size,
        "files": [file.path for file in checkpoint.files],
        "wrapper": checkpoint.wrapper._asdict(),
        "module_class": checkpoint.module_class,
        "state_dict": checkpoint.address,
        "state_dicts": [site._asdict() for site in checkpoint.sites],
        "versions": checkpoint.versions,
        "metadata": checkpoint.metadata,
        "tensors": [_tensor_row(tensor) for tensor in checkpoint.tensors.values()],
        "bytes": checkpoint.tensor_bytes,
        "unreadable": [tensor._asdict() for tensor in checkpoint.unreadable],
        "extras": {key: plain(node, most=200) for key, node in checkpoint.extras.items()},
        "hyper_parameters": plain(checkpoint.hyper_parameters),
        "optimizers": [optimizer._asdict() for optimizer in optimizers_of(checkpoint)],
        "entries": {key: plain(node, most=500) for key, node in other_entries(checkpoint).items()},
        "globals": [use._asdict() for use in checkpoint.globals],
        "absolute_paths": list(absolute_paths(checkpoint.entries)),
    }


def _tensor_row(tensor: StoredTensor) -> dict[str, Any]:
    return {
        "name": tensor.key,
        "shape": list(tensor.spec.shape),
        "dtype": tensor.spec.dtype,
        "bytes": tensor.nbytes,
        "stride": list(tensor.stride),
        "offset": tensor.offset,
        "storage": tensor.storage.name,
    }


def other_entries(checkpoint: Checkpoint) -> dict[str, Node]:
    """Return the top-level entries that have no part of their own in the report."""
    reported = ("hyper_parameters", *_OPTIMIZERS)
    return {key: node for key, node in checkpoint.entries.items() if key not in reported}


_OPTIMIZERS = ("optimizer_states", "optimizer", "optimizers", "optimizer_state_dict")


def optimizers_of(checkpoint: Checkpoint) -> list[OptimizerFacts]:
    """Return the facts of every optimizer state: Lightning's list of them, or a single one under a usual name."""
    optimizers: list[OptimizerFacts] = []
    for name in _OPTIMIZERS:
        node: Node = checkpoint.entries.get(name)
        # Lightning keeps a list, of one for nearly all models; scripts save the state itself
        states: Node = node if type(node) in (list, tuple) else [node]
        format = checkpoint.format
        optimizers.extend(_optimizer_facts(state, format) for state in states[:100] if mapping_of(state) is not None)
    return optimizers


def _optimizer_facts(node: Node, format: Format) -> OptimizerFacts:
    parts = mapping_of(node) or {}
    state = parts.get("state")
    entries = getattr(state, "entries", None) or []
    slots: dict[str, None] = {}
    # every parameter has the same slots, but for those that never got a gradient: the first twenty show them
    for value in entries[1:40:2]:
        slots.update(dict.fromkeys(mapping_of(value) or {}))
    groups = plain(parts.get("param_groups"), most=5_000)
    settings = groups if type(groups) is list else []
    for group in settings:
        # how many parameters a group has, in place of their numbers
        if type(group) is dict and type(group.get("params")) is list:
            group["params"] = len(group["params"])
    return OptimizerFacts(len(entries) // 2, tuple(slots), _bytes_below(node, format), settings)


def _bytes_below(root: Node, format: Format) -> int:
    """Return the bytes of all storages below a node, each counted once."""
    sizes: dict[str, int] = {}
    for node in walk(root, most=200_000):
        if type(node) is Persistent:
            try:
                key, dtype, elements = storage_id(node)
            except NotExact:
                continue
            # by the storage's key: moments that share one are counted once; each tensor of a folder has a pickle of its own
            sizes[f"{key} {id(node)}" if format == "distributed-torch" else key] = elements * STORAGE_ITEMSIZES[dtype]
    return sum(sizes.values())

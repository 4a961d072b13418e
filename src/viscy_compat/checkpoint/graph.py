"""From an inert graph to a `Checkpoint`: what torch zip files and pre-1.6 streams have in common."""

from __future__ import annotations

from viscy_compat.annotations import TYPE_CHECKING, Iterable
from viscy_compat.checkpoint.byte_source import ByteSource, ByteWindow
from viscy_compat.checkpoint.facts import (
    Checkpoint,
    FileFacts,
    Format,
    GlobalUse,
    Storage,
    StoredTensor,
    UnreadableTensor,
    Wrapper,
    WrapperKind,
    unreadable_findings,
)
from viscy_compat.checkpoint.limits import Limits, beyond
from viscy_compat.checkpoint.pickle_machine import DecodedPickle
from viscy_compat.checkpoint.pickle_nodes import Node, mapping_of
from viscy_compat.checkpoint.rebuild import NotExact, Rebuilder, StorageView
from viscy_compat.checkpoint.roles import uses_of
from viscy_compat.checkpoint.state_dicts import (
    Site,
    entries_at,
    has_other_keys,
    module_class,
    names_at,
    sites_of,
    sites_with_counts,
    usual,
)
from viscy_compat.checkpoint.wrapper import default_prefix
from viscy_compat.errors import UnreadableCheckpoint
from viscy_compat.findings import CATALOGUE, Finding
from viscy_compat.layout import fold, spell_count
from viscy_compat.named import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

_LIGHTNING = "pytorch-lightning_version"
"""The entry by which a trainer's checkpoint is known, with the version that wrote it."""

LIGHTNING_STATES = ("state_dict", "current_model_state")
"""Where a Lightning trainer keeps the state of its module; the second one beside averages (`WeightAveraging`)."""


class DecodedFile(NamedTuple):
    """A decoded torch file: its graph, and what each persistent id in it stands for (by ``id``).

    ``trailing`` counts the bytes that nothing reads. ``path``, ``files`` and ``parts`` (storages by their names) are
    those of a folder, where the source is one of many. ``plain_storages`` is that of
    `Checkpoint`.
    """

    source: ByteSource | ByteWindow
    format: Format
    pickle: DecodedPickle
    storages: Mapping[int, StorageView | NotExact]
    records: Mapping[str, Storage]
    versions: dict[str, str]
    checked: tuple[str, ...]
    pickle_name: str = ""
    path: str = ""
    files: tuple[FileFacts, ...] = ()
    parts: Mapping[str, Storage] = {}
    trailing: int = 0
    metadata: Mapping[str, str] = {}
    plain_storages: bool = False


class _StateDictEntries(NamedTuple):
    tensors: dict[str, StoredTensor]
    unreadable: tuple[UnreadableTensor, ...]
    extras: dict[str, Node]


def checkpoint_of(file: DecodedFile, limits: Limits, address: str | None) -> Checkpoint:
    """Return the checkpoint that a decoded torch file holds; see `viscy_compat.checkpoint.open_checkpoint`."""
    sites = sites_of(file.pickle.root)
    return _read_set(file, limits, sites, address)


def _read_set(file: DecodedFile, limits: Limits, sites: list[Site], address: str | None) -> Checkpoint:
    """Return what the file holds at an address, or at the usual place; `Checkpoint.select` comes back here."""
    path, pickle = file.path or file.source.path, file.pickle
    is_top = bool(sites) and sites[0].node is pickle.root
    top = sites[0].mapping if is_top else mapping_of(pickle.root) or {}
    _refuse_other_states(top, pickle.root, path)
    if not sites:
        raise _without_weights(pickle.root, path)
    usual_site = usual(sites)
    site, below = usual_site or sites[0], None
    if address is not None:
        site, below = _site_at(address, sites, limits, path)
    entries = _sort_entries(entries_at(site, limits, path), Rebuilder(file.storages, limits))
    _refuse_unusable(entries, limits, path, pickle.root)
    uses = uses_of(pickle.globals, pickle.computed)
    version = top.get(_LIGHTNING)
    versions = {**file.versions, "pickle": str(pickle.protocol)}
    if type(version) is str:
        versions[_LIGHTNING.removesuffix("_version")] = version
    whole = Checkpoint(
        path=path,
        format=file.format,
        files=file.files or (file.source.facts,),
        tensors=entries.tensors,
        unreadable=entries.unreadable,
        extras=entries.extras,
        wrapper=_wrapper(entries.tensors, site, version if type(version) is str else ""),
        site=site.path,
        sites=sites_with_counts(sites),
        entries={key: value for key, value in top.items() if site.path and key != site.entry},
        # `hparams`: what Lightning 0.7 called them
        hyper_parameters=top.get("hyper_parameters", top.get("hparams")),
        globals=uses,
        versions=versions,
        metadata=dict(file.metadata),
        find_storages=lambda: {
            **{view.storage.name: view.storage for view in file.storages.values() if type(view) is StorageView},
            **file.parts,
        },
        plain_storages=file.plain_storages,
        records=file.records,
        pickle_name=file.pickle_name,
        state_node=site.node,
        module_class=module_class(site.node) if site.is_module else "",
        checked_crcs=file.checked,
        root=pickle.root,
        dropped=pickle.dropped,
        findings=(*_file_findings(file, entries, uses), *_site_findings(site, sites, address)),
        stated=address is not None,
        decided=usual_site is not None or address is not None,
        select=lambda text: _read_set(file, limits, sites, text),
    )
    return whole if below is None else whole.below(below)


def _site_at(address: str, sites: list[Site], limits: Limits, where: str) -> tuple[Site, str | None]:
    """Return the state dict that an address names, and the prefix below it."""
    from viscy_compat.checkpoint.address import resolve_address

    paths = [site.path for site in sites]
    chosen = resolve_address(address, paths, lambda place: names_at(sites, place, limits, where), where)
    return sites[paths.index(chosen.path)], chosen.prefix


def _refuse_other_states(top: Mapping[str, Node], root: Node, path: str) -> None:
    """Refuse the state of an optimizer or a generator; what Lightning saves with weights in it is neither."""
    # names with a dot are those of tensors; what is looked for has none, but for an optimizer's or a rank's own entries
    has_marks = {"state", "param_groups"} <= top.keys() or {"module", "param_shapes"} <= top.keys()
    if (_LIGHTNING in top and "state_dict" in top) or (not has_marks and any("." in key for key in top)):
        return
    from viscy_compat.checkpoint.without_weights import refuse_what_is_beside

    refuse_what_is_beside(root, path)


def _without_weights(root: Node, path: str) -> UnreadableCheckpoint:
    from viscy_compat.checkpoint.without_weights import without_weights

    return without_weights(root, path)


def _sort_entries(nodes: Iterable[tuple[str, Node]], rebuilder: Rebuilder) -> _StateDictEntries:
    tensors: dict[str, StoredTensor] = {}
    unreadable: list[UnreadableTensor] = []
    extras: dict[str, Node] = {}
    for key, node in nodes:
        entry = rebuilder.entry(key, node)
        if type(entry) is StoredTensor:
            tensors[key] = entry
        elif type(entry) is UnreadableTensor:
            unreadable.append(entry)
        else:
            extras[key] = node
    return _StateDictEntries(tensors, tuple(unreadable), extras)


def _refuse_unusable(entries: _StateDictEntries, limits: Limits, path: str, root: Node) -> None:
    count = len(entries.tensors) + len(entries.unreadable)
    if count > limits.tensors:
        raise beyond(limits, "tensors", count, f"{count} tensors", where=path)
    keys = (*entries.tensors, *entries.extras, *(tensor.key for tensor in entries.unreadable))
    longest = max(map(len, keys), default=0)
    if longest > limits.key:
        raise beyond(limits, "key", longest, f"a key has {longest} characters", where=path)
    # arrays alone were never a state dict of torch: that is said, and not that each one cannot be read
    if not entries.tensors and all("numpy array" in tensor.reason for tensor in entries.unreadable):
        raise _without_weights(root, path)


def _wrapper(tensors: dict[str, StoredTensor], site: Site, version: str) -> Wrapper:
    is_lightning = bool(version) and site.path in LIGHTNING_STATES
    kind: WrapperKind = "lightning" if is_lightning else "module" if site.is_module else "plain"
    return Wrapper(kind, prefix=default_prefix(tensors, kind), version=version)


def _file_findings(file: DecodedFile, entries: _StateDictEntries, uses: tuple[GlobalUse, ...]) -> Iterable[Finding]:
    calls = tuple(use.path for use in uses if use.role == "call")
    if calls:
        yield Finding("VC430", f"loading this file the ordinary way would call {_list_some(calls)}", calls)
    elif file.pickle.computed:
        yield Finding("VC430", "loading this file the ordinary way would call what other calls return")
    classes = tuple(use.path for use in uses if use.role == "class")
    if classes:
        yield Finding("VC431", f"loading this file the ordinary way would import {_list_some(classes)}", classes)
    yield from unreadable_findings(entries.unreadable)
    # a checksum of the pickle vouches for strides and offsets
    if not file.checked and not file.path:
        yield from _gap_findings(entries.tensors)
    if file.trailing:
        many = f"{file.trailing} bytes follow" if file.trailing > 1 else "a byte follows"
        message = f"{many} the last storage; where bytes were inserted before it, values moved"
        yield Finding("VC492", message, fix=CATALOGUE["VC492"].remedy)
    views = () if file.plain_storages else file.storages.values()
    reasons = {view.reason for view in views if type(view) is NotExact and view.code == "VC442"}
    if reasons and not any(tensor.code == "VC442" for tensor in entries.unreadable):
        yield Finding(
            "VC442", f"outside of the weights: {spell_count(len(reasons), 'storage', 'is', 'are')} not in the file"
        )


def _site_findings(site: Site, sites: list[Site], address: str | None) -> Iterable[Finding]:
    if not site.is_module and has_other_keys(site.node):
        yield Finding("VC447", "the state dict has keys that are no text; they are left out")
    if len(sites) > 1 and address is None:
        others = tuple(other.path or "(top)" for other in sites if other is not site)
        yield Finding("VC448", f"read {site.path or 'the top'!r}; the file also holds other state dicts", others)


def _gap_findings(tensors: dict[str, StoredTensor]) -> Iterable[Finding]:
    """Say where a stride or an offset may be damaged, in a file whose pickle has no checksum."""
    from viscy_compat.checkpoint.unused import tensors_beside_a_gap

    keys = tensors_beside_a_gap(tensors.values())
    if keys:
        many = f"{len(keys)} tensors use parts" if len(keys) > 1 else "a tensor uses a part"
        message = f"{many} of a storage, and nothing the rest; this file has no checksum, so it may be damaged"
        yield Finding("VC491", message, tuple(fold(keys)), CATALOGUE["VC491"].remedy)


def _list_some(names: tuple[str, ...], most: int = 4) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more

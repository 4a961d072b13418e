"""From an inert graph to a `Checkpoint`: what torch zip files and pre-1.6 streams have in common."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

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
from viscy_compat.checkpoint.pickle_machine import Pickled
from viscy_compat.checkpoint.pickle_nodes import Node, mapping_of
from viscy_compat.checkpoint.rebuild import NotExact, Rebuilder, StorageView
from viscy_compat.checkpoint.roles import uses_of
from viscy_compat.checkpoint.state_dicts import (
    Site,
    has_other_keys,
    listed,
    module_class,
    module_entries,
    names_at,
    sites_of,
    usual,
)
from viscy_compat.checkpoint.wrapper import default_prefix
from viscy_compat.errors import UnreadableCheckpoint
from viscy_compat.findings import CATALOGUE, Finding
from viscy_compat.layout import fold
from viscy_compat.named import NamedTuple

_LIGHTNING = "pytorch-lightning_version"

LIGHTNING_STATES = ("state_dict", "current_model_state")
"""Where a Lightning trainer keeps the state of its module; the second one beside averages (`WeightAveraging`)."""


class Contents(NamedTuple):
    """A decoded torch file: its graph, and what each persistent id in it stands for (by ``id``).

    ``trailing`` counts the bytes that nothing reads. ``path``, ``files`` and ``parts`` (storages by their names) are
    those of a folder, where the source is one of many.
    """

    source: ByteSource | ByteWindow
    format: Format
    pickled: Pickled
    storages: dict[int, StorageView | NotExact]
    records: dict[str, Storage]
    versions: dict[str, str]
    checked: tuple[str, ...]
    pickle_name: str = ""
    path: str = ""
    files: tuple[FileFacts, ...] = ()
    parts: Mapping[str, Storage] = {}
    trailing: int = 0
    metadata: Mapping[str, str] = {}


class _Entries(NamedTuple):
    tensors: dict[str, StoredTensor]
    unreadable: tuple[UnreadableTensor, ...]
    extras: dict[str, Node]


def checkpoint_of(contents: Contents, limits: Limits, wanted: str | None) -> Checkpoint:
    """Return the checkpoint that a decoded torch file holds; see `viscy_compat.checkpoint.open_checkpoint`."""
    sites = sites_of(contents.pickled.root)
    return _at(contents, limits, sites, wanted)


def _at(contents: Contents, limits: Limits, sites: list[Site], wanted: str | None) -> Checkpoint:
    """Return what the file holds at an address, or at the usual place; `Checkpoint.select` comes back here."""
    path, pickled = contents.path or contents.source.path, contents.pickled
    _refuse_other_states(pickled.root, path)
    if not sites:
        raise _without_weights(pickled.root, path)
    site = usual(sites, path)
    decided, site, below = site is not None, site or sites[0], None
    if wanted is not None:
        from viscy_compat.checkpoint.address import resolve_address

        names = partial(names_at, sites, limits=limits, where=path)
        address = resolve_address(wanted, [each.path for each in sites], names, path)
        site, below = next(each for each in sites if each.path == address.path), address.prefix
    entries = _entries(_named_nodes(site, limits, path), Rebuilder(contents.storages, limits))
    _refuse_unusable(entries, limits, path, pickled.root)
    top = mapping_of(pickled.root) or {}
    uses = uses_of(pickled.globals, pickled.computed)
    version = top.get(_LIGHTNING)
    wrapper = _wrapper(entries.tensors, site, version)
    whole = Checkpoint(
        path=path,
        format=contents.format,
        files=contents.files or (contents.source.facts,),
        tensors=entries.tensors,
        unreadable=entries.unreadable,
        extras=entries.extras,
        wrapper=wrapper,
        site=site.path,
        sites=listed(sites),
        entries={key: value for key, value in top.items() if site.path and key != site.path.partition(".")[0]},
        hyper_parameters=top.get("hyper_parameters", top.get("hparams")),
        globals=uses,
        versions={**contents.versions, "pickle": str(pickled.protocol), **_stated(_LIGHTNING[:-8], version)},
        metadata=dict(contents.metadata),
        storages={**_named(contents.storages.values()), **contents.parts},
        records=contents.records,
        pickle_name=contents.pickle_name,
        state_node=site.node,
        module_class=module_class(site.node) if site.is_module else "",
        checked_crcs=contents.checked,
        root=pickled.root,
        dropped=pickled.dropped,
        findings=tuple(_findings(contents, entries, uses, site, sites, wanted)),
        stated=wanted is not None,
        decided=decided or wanted is not None,
        select=partial(_at, contents, limits, sites),
    )
    return whole if below is None else whole.below(below)


def _named(views: Iterable[StorageView | NotExact]) -> dict[str, Storage]:
    return {view.storage.name: view.storage for view in views if type(view) is StorageView}


def _refuse_other_states(root: Node, path: str) -> None:
    """Refuse the state of an optimizer or a generator; what Lightning saves with weights in it is neither."""
    top = mapping_of(root) or {}
    if _LIGHTNING in top and "state_dict" in top:
        return
    from viscy_compat.checkpoint.without_weights import refuse_what_is_beside

    refuse_what_is_beside(root, path)


def _without_weights(root: Node, path: str) -> UnreadableCheckpoint:
    from viscy_compat.checkpoint.without_weights import without_weights

    return without_weights(root, path)


def _stated(name: str, value: Node) -> dict[str, str]:
    return {name: value} if type(value) is str else {}


def _named_nodes(site: Site, limits: Limits, path: str) -> Iterable[tuple[str, Node]]:
    if site.is_module:
        return module_entries(site.node, limits, path)
    return (mapping_of(site.node) or {}).items()


def _entries(named: Iterable[tuple[str, Node]], rebuilder: Rebuilder) -> _Entries:
    tensors: dict[str, StoredTensor] = {}
    unreadable: list[UnreadableTensor] = []
    extras: dict[str, Node] = {}
    for key, node in named:
        found = rebuilder.entry(key, node)
        if type(found) is StoredTensor:
            tensors[key] = found
        elif type(found) is UnreadableTensor:
            unreadable.append(found)
        else:
            extras[key] = node
    return _Entries(tensors, tuple(unreadable), extras)


def _refuse_unusable(entries: _Entries, limits: Limits, path: str, root: Node) -> None:
    count = len(entries.tensors) + len(entries.unreadable)
    if count > limits.tensors:
        raise beyond(limits, "tensors", count, f"{count} tensors", where=path)
    keys = (*entries.tensors, *entries.extras, *(tensor.key for tensor in entries.unreadable))
    longest = max(map(len, keys), default=0)
    if longest > limits.key:
        raise beyond(limits, "key", longest, f"a key has {longest} characters", where=path)
    if not entries.tensors and all("numpy array" in tensor.reason for tensor in entries.unreadable):
        raise _without_weights(root, path)


def _wrapper(tensors: dict[str, StoredTensor], site: Site, version: Node) -> Wrapper:
    lightning = type(version) is str and site.path in LIGHTNING_STATES
    kind: WrapperKind = "lightning" if lightning else "module" if site.is_module else "plain"
    return Wrapper(kind, default_prefix(tensors, kind), version if type(version) is str else "")


def _findings(
    contents: Contents,
    entries: _Entries,
    uses: tuple[GlobalUse, ...],
    site: Site,
    sites: list[Site],
    wanted: str | None,
) -> Iterable[Finding]:
    yield from _name_findings(uses, contents.pickled.computed)
    yield from unreadable_findings(entries.unreadable)
    if not contents.checked and not contents.path:
        yield from _gap_findings(entries.tensors)
    if contents.trailing:
        many = f"{contents.trailing} bytes follow" if contents.trailing > 1 else "a byte follows"
        said = f"{many} the last storage; where bytes were inserted before it, values moved"
        yield Finding("VC492", said, fix=CATALOGUE["VC492"].remedy)
    missing = {view.reason for view in contents.storages.values() if type(view) is NotExact and view.code == "VC442"}
    if missing and not any(tensor.code == "VC442" for tensor in entries.unreadable):
        yield Finding("VC442", f"outside of the weights: {len(missing)} storages are not in the file")
    if not site.is_module and has_other_keys(site.node):
        yield Finding("VC447", "the state dict has keys that are no text; they are left out")
    if len(sites) > 1 and wanted is None:
        others = tuple(other.path or "(top)" for other in sites if other is not site)
        yield Finding("VC448", f"read {site.path or 'the top'!r}; the file also holds other state dicts", others)


def _gap_findings(tensors: dict[str, StoredTensor]) -> Iterable[Finding]:
    """Say where a stride or an offset may be damaged, in a file whose pickle has no checksum."""
    from viscy_compat.checkpoint.unused import tensors_beside_a_gap

    keys = tensors_beside_a_gap(tensors.values())
    if keys:
        many = f"{len(keys)} tensors use parts" if len(keys) > 1 else "a tensor uses a part"
        said = f"{many} of a storage, and nothing the rest; this file has no checksum, so it may be damaged"
        yield Finding("VC491", said, tuple(fold(keys)), CATALOGUE["VC491"].remedy)


def _name_findings(uses: tuple[GlobalUse, ...], computed: bool) -> Iterable[Finding]:
    calls = tuple(use.path for use in uses if use.role == "call")
    if calls:
        yield Finding("VC430", f"loading this file the ordinary way would call {_some(calls)}", calls)
    elif computed:
        yield Finding("VC430", "loading this file the ordinary way would call what other calls return")
    classes = tuple(use.path for use in uses if use.role == "class")
    if classes:
        yield Finding("VC431", f"loading this file the ordinary way would import {_some(classes)}", classes)


def _some(names: tuple[str, ...], most: int = 4) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more

"""The inert graph of the output: the source's own, with another state dict in it, or a plain one made anew."""

from __future__ import annotations

from itertools import count

from viscy_compat.annotations import Callable, Iterable, Iterator, Mapping, Sequence
from viscy_compat.checkpoint.dtypes import ITEMSIZES, STORAGE_DTYPES
from viscy_compat.checkpoint.facts import Checkpoint, Storage
from viscy_compat.checkpoint.pickle_emitter import emit_pickle
from viscy_compat.checkpoint.pickle_nodes import Call, Dict, Global, Node, Persistent, entries_of, mapping_of
from viscy_compat.checkpoint.state_dicts import sites_of
from viscy_compat.checkpoint.torch_names import refused_names
from viscy_compat.layout import packed_strides
from viscy_compat.named import NamedTuple
from viscy_compat.plans.streams import TargetTensor
from viscy_compat.rewrite.admission import Admission, admission

STORAGE_CLASSES = {dtype: name for name, dtype in STORAGE_DTYPES.items() if dtype in ITEMSIZES}
"""torch's storage classes; a tensor of any other dtype lies in an untyped storage (``torch._utils``)."""

KEPT_ENTRIES = (
    "epoch",
    "global_step",
    "pytorch-lightning_version",
    "state_dict",
    "hparams_name",
    "hyper_parameters",
    "hparams_type",
)
"""What Lightning needs to load weights; ``--weights-only`` keeps no more."""


ModulePath = Callable[[str], str | None]
"""Path of a module in the source to its path in the output, or None where it is gone."""


class TorchContents(NamedTuple):
    """What a torch zip file shall hold: the pickle, what each storage key stands for, and what was left out of it."""

    pickle: bytes
    storages: dict[str, Storage | TargetTensor]
    admission: Admission = Admission({})


def plain_contents(tensors: Iterable[TargetTensor]) -> TorchContents:
    """Return a plain state dict; tensors that share a storage in the source share it in the output."""
    graph = _Graph(map(str, count()))
    by_storage: dict[int, Persistent] = {}
    entries: list[Node] = []
    for tensor in tensors:
        entries += (tensor.name, _node_of(tensor, graph, by_storage))
    root = Call(Global("collections", "OrderedDict"), ())
    root.entries = entries
    return TorchContents(emit_pickle(root).data, graph.storages)


class OutputStateDict(NamedTuple):
    """A state dict of the output.

    ``site`` is its path, ``place`` the node that stands there in the source, ``origin`` the one that the tensors come
    from (another one, where a set is moved to the place that loaders take), ``module_path`` gives the new path of a
    module, for torch's ``_metadata``, or None where it is gone. Tensors with `TargetTensor.same_as` keep node and storage.
    """

    site: str
    place: Node
    origin: Node
    tensors: list[TargetTensor]
    module_path: ModulePath
    adds: bool = False


def edited_contents(
    checkpoint: Checkpoint,
    states: Sequence[OutputStateDict],
    *,
    replacements: Mapping[int, Node],
    without: Iterable[str] = (),
    weights_only: bool,
    keep_classes: bool = False,
) -> TorchContents:
    """Return the source's own graph with other state dicts in it.

    Parameters
    ----------
    checkpoint : Checkpoint
        A torch zip file.
    states : Sequence[OutputStateDict]
        The state dicts that change, the chosen one first.
    without : Iterable[str], optional
        Paths of entries that the output does not have.
    replacements : Mapping[int, Node]
        Further nodes that take the place of others, by ``id``.
    weights_only : bool
        Whether everything but the weights, and what Lightning needs to load them, is left out.
    keep_classes : bool, optional
        Whether entries stay that torch's default refuses.
    """
    prefix = checkpoint.pickle_name.removesuffix("data.pkl") + "data/"
    keys_in_use = {name.removeprefix(prefix) for name in checkpoint.records}
    graph = _Graph(key for key in map(str, count()) if key not in keys_in_use)
    replaced = dict(replacements)
    for state in states:
        entries: list[Node] = []
        for tensor in state.tensors:
            entries += (tensor.name, tensor.same_as.node if tensor.same_as is not None else graph.new(tensor))
        replaced[id(state.place)] = _state_dict(state.origin, entries, state.module_path)
    root = _lean_root(checkpoint, states[0]) if weights_only else checkpoint.root
    if not weights_only:
        replaced.update(_take_out_entries(root, without, replaced))
        replaced.update(_add_new_places(root, states, replaced))
    # only protocol 2 has no other opcodes than those that torch's default reads
    fine = checkpoint.versions.get("pickle") == "2" and not refused_names(checkpoint.globals)
    admitted = Admission(replaced) if fine else admission(root, replaced, keep_classes=keep_classes)
    pickle = emit_pickle(root, replacements=admitted.replacements)
    keys = dict.fromkeys(node.id[2] for node in pickle.persistents)
    records = {key: checkpoint.records[prefix + key] for key in keys if key not in graph.storages}
    return TorchContents(pickle.data, {**records, **graph.storages}, admitted)


class _Graph:
    """New tensor nodes, and the storages that they need."""

    __slots__ = ("_keys", "storages")

    def __init__(self, keys: Iterator[str]) -> None:
        self._keys = keys
        self.storages: dict[str, Storage | TargetTensor] = {}

    def new(self, tensor: TargetTensor) -> Call:
        """Return the node of a tensor in a storage of its own."""
        storage = self.storage(tensor, tensor.spec.dtype, tensor.nbytes, tensor.spec.elements)
        return _rebuilt(storage, tensor, 0, packed_strides(tensor.spec.shape))

    def storage(self, content: Storage | TargetTensor, dtype: str, nbytes: int, elements: int) -> Persistent:
        """Return the persistent node of a new storage."""
        key = next(self._keys)
        self.storages[key] = content
        kind = STORAGE_CLASSES.get(dtype)
        # torch has a storage class for each of its older dtypes, and none for float8 or uint16
        if kind is None:
            return Persistent(("storage", Global("torch.storage", "UntypedStorage"), key, "cpu", nbytes))
        return Persistent(("storage", Global("torch", kind), key, "cpu", elements))


def _node_of(tensor: TargetTensor, graph: _Graph, by_storage: dict[int, Persistent]) -> Call:
    """Return the node of a tensor in a graph that is made anew; big-endian bytes are never kept."""
    stored = tensor.same_as
    if stored is None or stored.storage.byte_order == "big":
        return graph.new(tensor)
    storage = stored.storage
    node = by_storage.get(id(storage))
    if node is None:
        elements = storage.nbytes // stored.itemsize
        node = by_storage[id(storage)] = graph.storage(storage, stored.spec.dtype, storage.nbytes, elements)
    return _rebuilt(node, tensor, stored.offset, stored.stride)


def _rebuilt(storage: Persistent, tensor: TargetTensor, offset: int, stride: tuple[int, ...]) -> Call:
    args = (storage, offset, tensor.spec.shape, stride, False, Call(Global("collections", "OrderedDict"), ()))
    if tensor.spec.dtype in STORAGE_CLASSES:
        return Call(Global("torch._utils", "_rebuild_tensor_v2"), args)
    return Call(Global("torch._utils", "_rebuild_tensor_v3"), (*args, Global("torch", tensor.spec.dtype)))


def _state_dict(origin: Node, entries: list[Node], module_path: ModulePath) -> Node:
    """Return a dictionary of the kind of the one found, with other entries."""
    # a plain dict, as scripts save; state_dict() gives an OrderedDict with attributes
    if type(origin) is not Call:
        return Dict(entries)
    state = Call(Global("collections", "OrderedDict"), ())
    state.entries = entries
    states: list[Node] = []
    for each in origin.states or ():
        attributes = mapping_of(each)
        versions = mapping_of(attributes.get("_metadata")) if attributes else None
        if attributes is None or versions is None:
            states.append(each)
            continue
        # torch keeps the version of each module by its path, which goes where the module goes
        paths = {path: module_path(path) for path in versions}
        metadata = Call(Global("collections", "OrderedDict"), ())
        metadata.entries = [
            item for path, new_path in paths.items() if new_path is not None for item in (new_path, versions[path])
        ]
        pairs = {**attributes, "_metadata": metadata}.items()
        states.append(Dict([item for pair in pairs for item in pair]))
    state.states = states or None
    return state


def _take_out_entries(root: Node, paths: Iterable[str], replaced: Mapping[int, Node]) -> dict[int, Node]:
    """Return the nodes that take the place of dictionaries from which entries are removed, by ``id``.

    A name may hold dots, so state dicts are known by their nodes, and everything else by the dotted path alone.
    """
    others = set(paths)
    sites = [site for site in sites_of(root) if site.path in others] if others else []
    gone = {id(site.node) for site in sites}
    others.difference_update(site.path for site in sites)
    shorter: dict[int, Node] = {}
    queue, visited = [("", root)] if gone or others else [], {id(root)}
    for path, node in queue:
        entries = entries_of(replaced.get(id(node), node)) or []
        rows = [
            (f"{path}.{key}".lstrip("."), key, value) for key, value in zip(entries[::2], entries[1::2], strict=True)
        ]
        kept = [row for row in rows if id(row[2]) not in gone and row[0] not in others]
        if len(kept) < len(rows):
            shorter[id(node)] = Dict([item for _, key, value in kept for item in (key, value)])
        for inner, _, value in kept:
            if id(value) not in visited and entries_of(value) is not None:
                visited.add(id(value))
                queue.append((inner, value))
    return shorter


def _add_new_places(root: Node, states: Sequence[OutputStateDict], replaced: Mapping[int, Node]) -> dict[int, Node]:
    """Return the node that takes the place of the root where a state dict stands under a name that is new there."""
    new_items = [item for state in states if state.adds for item in (state.site, state.place)]
    entries = entries_of(replaced.get(id(root), root)) if new_items else None
    if entries is None:
        return {}
    pairs = zip(entries[::2], entries[1::2], strict=True)
    return {id(root): Dict([*(item for pair in pairs if pair[0] not in new_items[::2] for item in pair), *new_items])}


def _lean_root(checkpoint: Checkpoint, state: OutputStateDict) -> Node:
    """Return a root that holds the state dict where it shall be, and what Lightning needs, and nothing else."""
    if not state.site:
        return state.place
    first, *rest = state.site.split(".")
    # an empty name among others stands for no entry: such dots belong to the name of one
    if rest and all((first, *rest)):
        node = state.place
        for name in reversed(rest):
            node = Dict([name, node])
        return Dict([first, node])
    first = "" if state.site == "." else state.site
    if checkpoint.wrapper.kind != "lightning":
        return Dict([first, state.place])
    entries = entries_of(checkpoint.root) or []
    pairs = zip(entries[::2], entries[1::2], strict=True)
    return Dict([item for key, value in pairs if key in KEPT_ENTRIES for item in (key, value)])

"""Where in an inert graph the weights are: state dicts under any name, and whole modules.

A module is pickled as an object whose ``__dict__`` holds ``_parameters``, ``_buffers``, ``_modules``, and the names of
the buffers that its state dict leaves out; this is what ``Module.state_dict`` reads too (torch 1.0 to 2.15).
"""

from __future__ import annotations

from viscy_compat.annotations import TYPE_CHECKING, Final, Iterable, Iterator
from viscy_compat.checkpoint.facts import Checkpoint, StateDictSite
from viscy_compat.checkpoint.limits import Limits, beyond
from viscy_compat.checkpoint.pickle_nodes import Call, Dict, Global, Items, Node, Persistent, entries_of, mapping_of
from viscy_compat.checkpoint.rebuild import is_tensor
from viscy_compat.errors import UnreadableCheckpoint
from viscy_compat.named import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

_DEPTH: Final = 4
"""Dictionaries around a state dict: trainers nest two at most."""
_NAME: Final = 200
"""Characters of a key on the way to one; it becomes a part of an address."""
_NO_WEIGHTS: Final = frozenset(
    {
        "optimizer_states",
        "optimizer",
        "optimizers",
        "lr_schedulers",
        "scheduler",
        "callbacks",
        "loops",
        "hyper_parameters",
        "frozen_param_fragments",
    }
)
"""Entries of trainers whose tensors belong to no model (moments of optimizers, states of callbacks), or to one that is whole
elsewhere in the file (what DeepSpeed's second stage of ZeRO keeps of frozen weights, which `module` has): not looked into."""
_AVERAGE: Final = "average_model_state"
"""Callbacks of averages are the exception. Under this name Lightning's StochasticWeightAveraging (2.6) keeps the average, while
`state_dict` holds the trained weights until the very end of the training; others name it as they like."""

_USUAL: Final = ("state_dict", "model_state_dict")
"""Under these names a dictionary is a state dict even where most of its entries are no tensors."""


class Site(NamedTuple):
    """A place that holds weights: its dotted path, its node, whether that is a module, and the entry at the top it is in.

    The path of the top is empty, and that of an entry whose name is empty a dot. ``mapping`` holds what `mapping_of`
    returns of the node: nothing, for an honest module.
    """

    path: str
    node: Node
    is_module: bool
    tensors: int
    entry: str = ""
    mapping: Mapping[str, Node] = {}


def sites_of(root: Node) -> list[Site]:
    """Return every place that holds weights, the top first; a path that two of them have is numbered from the second on.

    Examples
    --------
    >>> from viscy_compat.checkpoint.pickle_nodes import Dict
    >>> weight = Call(Global("torch._utils", "_rebuild_tensor_v2"), ())
    >>> [site.path for site in sites_of(Dict(["epoch", 3, "state_dict", Dict(["w", weight])]))]
    ['state_dict']
    """
    sites: dict[str, Site] = {}
    for site in _sites(root):
        path, count = site.path, 1
        while path in sites:
            # the entry `a.b`, and the entry `b` of `a`
            path, count = f"{site.path}#{count + 1}", count + 1
        sites[path] = site._replace(path=path)
    # a `state_dict` that holds nothing but the state dicts of several models is none itself
    outer = {path for path, site in sites.items() if not site.tensors and not site.is_module}
    around = {path for path in outer if any(other.startswith(f"{path}.") for other in sites)}
    return [site for path, site in sites.items() if path not in around]


def _sites(root: Node) -> Iterator[Site]:
    """Look into dictionaries, breadth first; each node and each shared state is looked at once."""
    visited = {id(root)}
    states = _ModuleStates()
    queue: list[tuple[str, Node, str, int]] = [("", root, "", 0)]
    top: dict[str, Node] | None = None
    for path, node, entry, depth in queue:
        if states.module_of(node) is not None:
            yield Site(path, node, is_module=True, tensors=0, entry=entry, mapping=mapping_of(node) or {})
            continue
        mapping = mapping_of(node) if states.is_new(node) else None
        top = mapping if node is root else top
        if mapping is None or {"state", "param_groups"} <= mapping.keys():
            continue  # no dictionary, or the state of an optimizer, whatever its name is
        others = {key: value for key, value in mapping.items() if not is_tensor(value)}
        tensors = len(mapping) - len(others)
        # a third: state dicts may hold numbers beside tensors, and trainers hold a tensor or two among
        # numbers
        if 3 * tensors >= len(mapping) > 0 or (mapping and path.rpartition(".")[2] in _USUAL):
            yield Site(path, node, is_module=False, tensors=tensors, entry=entry, mapping=mapping)
        for key, value in others.items() if depth < _DEPTH else ():
            is_candidate = key not in _NO_WEIGHTS and len(key) <= _NAME
            if is_candidate and type(value) in (Dict, Call) and id(value) not in visited:
                visited.add(id(value))
                # the empty path is that of the top
                below = f"{path}.{key}" if depth else key or "."
                queue.append((below, value, entry if depth else key, depth + 1))
    yield from _averages((top or mapping_of(root) or {}).get("callbacks"), states)


def _averages(callbacks: Node, states: _ModuleStates) -> Iterator[Site]:
    """Yield the averages among the states of callbacks; a state that several share is looked at once."""
    for name, callback in (mapping_of(callbacks) or {}).items():
        state = mapping_of(callback) if len(name) <= _NAME and states.is_new(callback) else None
        if state is None:
            continue
        # some return the state dict of their model as their own state
        held = [("", callback, state)]
        for key, node in state.items():
            if type(node) in (Dict, Call) and states.is_new(node):
                held.append((f".{key}", node, mapping_of(node) or {}))
        for below, node, entries in held:
            tensors = sum(map(is_tensor, entries.values()))
            # those of a model, and not scores: these stand under the paths of checkpoints
            is_path = any("/" in key or key.endswith(".ckpt") for key in entries)
            is_model = 3 * tensors >= len(entries) and not is_path and any("." in key for key in entries)
            if tensors and (below == f".{_AVERAGE}" or is_model) and len(below) <= _NAME:
                path = f"callbacks.{name}{below}"
                yield Site(path, node, is_module=False, tensors=tensors, entry="callbacks", mapping=entries)


class _ModuleStates:
    """The ``__dict__`` of each pickled object, decoded once however many objects share it."""

    __slots__ = ("_decoded", "_given")

    def __init__(self) -> None:
        self._decoded: dict[int, dict[str, Node] | None] = {}
        self._given: set[int] = set()

    def is_new(self, node: Node) -> bool:
        """Say whether a dictionary's entries have not been looked at under another node."""
        content = node.args[0] if type(node) is Call and node.args and node.entries is None else node
        is_old = id(content) in self._given
        self._given.add(id(content))
        return not is_old

    def module_of(self, node: Node) -> dict[str, Node] | None:
        """Return the ``__dict__`` of a pickled module; None where the node is none.

        ``torch.compile`` wraps a module when it is unpickled: its argument becomes the child ``_orig_mod``.
        """
        if type(node) is not Call:
            return None
        state = self._state_of(node)
        if state is not None and "_modules" in state and "_parameters" in state:
            return state
        inner = _inside_compiled(node)
        if inner is None or "_modules" not in (self._state_of(inner) or {}):
            return None
        return {"_modules": Dict(["_orig_mod", inner])}

    def _state_of(self, node: Call) -> dict[str, Node] | None:
        state = node.state
        # of a class with slots: its attributes, then those
        if type(state) is tuple and len(state) == 2:
            state = state[0]
        if id(state) not in self._decoded:
            self._decoded[id(state)] = mapping_of(state)
        return self._decoded[id(state)]


def _inside_compiled(node: Call) -> Call | None:
    """Return the module that a call of ``OptimizedModule`` wraps."""
    name = node.function.name if type(node.function) is Global else ""
    inner = node.args[0] if name == "OptimizedModule" and node.args else None
    return inner if type(inner) is Call else None


def usual(sites: list[Site]) -> Site | None:
    """Return the site, of at least one, that the writer's own loader would load; None where that cannot be known.

    Lightning, timm and most training scripts save `state_dict`, and load it where nothing else is asked for; a file
    that is a state dict itself is loaded as it is.
    """
    by_path = {site.path: site for site in sites}
    # a dictionary with both is a checkpoint that has tensors of its own beside the weights
    preferred = [by_path[path] for path in ("state_dict", "") if path in by_path]
    return sites[0] if len(sites) == 1 else preferred[0] if preferred else None


def names_at(sites: list[Site], path: str, limits: Limits, where: str) -> list[str]:
    """Return the names in the state dict, or module, at a path."""
    site = next(site for site in sites if site.path == path)
    return [name for name, _ in entries_at(site, limits, where)]


def entries_at(site: Site, limits: Limits, where: str) -> Iterable[tuple[str, Node]]:
    """Return the entries of the state dict at a site, or those that a module there would give."""
    return module_entries(site.node, limits, where) if site.is_module else site.mapping.items()


def sites_with_counts(sites: list[Site]) -> tuple[StateDictSite, ...]:
    """Return the sites as facts."""
    return tuple(StateDictSite(site.path, site.tensors) for site in sites)


def module_entries(root: Node, limits: Limits, where: str) -> list[tuple[str, Node]]:
    """Return what ``state_dict()`` of a pickled module would hold, in its order.

    A module that hangs in two places is listed twice, as ``state_dict()`` does.

    Raises
    ------
    UnreadableCheckpoint
        VC420 for a module within itself; VC404 for too many entries or too long names.
    """
    return _ModuleWalk(limits, where).entries_of(root)


class _ModuleWalk:
    """Depth first through ``_modules``, without recursion and without end where the graph has none."""

    __slots__ = ("_left", "_limits", "_open", "_states", "_where", "entries")

    def __init__(self, limits: Limits, where: str) -> None:
        self._limits, self._where, self._left = limits, where, 8 * limits.tensors
        self._states = _ModuleStates()
        self._open: set[int] = set()
        self.entries: list[tuple[str, Node]] = []

    def entries_of(self, root: Node) -> list[tuple[str, Node]]:
        queue: list[tuple[str, Node, bool]] = [("", root, True)]
        while queue:
            prefix, node, enters = queue.pop()
            state = self._states.module_of(node)
            if not enters:
                self._open.discard(id(node))
            elif state is not None:
                children = self._enter(prefix, node, state)
                # left once its children are done: what is open then is what contains the module at
                # hand
                queue.append((prefix, node, False))
                queue.extend((f"{prefix}{name}.", child, True) for name, child in children)
        return self.entries

    def _enter(self, prefix: str, node: Node, state: dict[str, Node]) -> list[tuple[str, Node]]:
        """Take a module's own entries, and return its children, last one first."""
        children = mapping_of(state.get("_modules")) or {}
        before = len(self.entries)
        # as Module.state_dict: parameters before buffers, without what is None and what was registered as not persistent
        unsaved = _texts(state.get("_non_persistent_buffers_set"))
        parameters, buffers = mapping_of(state.get("_parameters")) or {}, mapping_of(state.get("_buffers")) or {}
        own = [*parameters.items(), *((name, value) for name, value in buffers.items() if name not in unsaved)]
        self.entries.extend((prefix + name, value) for name, value in own if value is not None)
        self._left -= 1 + len(state) + len(children) + len(self.entries) - before
        if id(node) in self._open:
            raise UnreadableCheckpoint(
                "a module contains itself", where=self._where, fix="save model.state_dict() instead", code="VC420"
            )
        if len(prefix) > self._limits.key:
            enough = 10 * len(prefix)
            raise beyond(self._limits, "key", enough, f"a name has {len(prefix)} characters", where=self._where)
        if self._left < 0:
            # How many there are would take a walk without end to tell.
            enough = 10 * self._limits.tensors
            raise beyond(self._limits, "tensors", enough, "the modules hold many entries", where=self._where)
        self._open.add(id(node))
        return list(reversed(children.items()))


def _texts(node: Node) -> frozenset[str]:
    """Return the texts of a set, however it was pickled."""
    items = node.items if type(node) is Items else []
    if type(node) is Call and node.args and type(node.args[0]) in (list, tuple):
        items = node.args[0]
    return frozenset(item for item in items if type(item) is str)


def module_class(node: Node) -> str:
    """Return the import path of the class of a pickled module, that of the module within a compiled one."""
    node = _inside_compiled(node) or node if type(node) is Call else node
    function = node.function if type(node) is Call else None
    if type(function) is Persistent and type(function.id) is tuple and len(function.id) > 1:
        function = function.id[1]
    is_reconstructed = type(function) is Global and function.name == "_reconstructor" and len(node.args) > 0
    target = node.args[0] if is_reconstructed else function
    return target.path if type(target) is Global else ""


def has_other_keys(node: Node) -> bool:
    """Say whether a dictionary has keys that are no text."""
    return not {*map(type, (entries_of(node) or [])[::2])} <= {str}


def several_state_dicts(checkpoint: Checkpoint) -> UnreadableCheckpoint:
    """Return the error that asks which of several state dicts is meant."""
    paths = [site.path for site in checkpoint.sites]
    choices = ", ".join(map(repr, paths[:12]))
    return UnreadableCheckpoint(
        f"{len(paths)} state dicts in this file: {choices}",
        where=checkpoint.path,
        fix=f"choose one with --state-dict {paths[0]}",
        code="VC445",
    )

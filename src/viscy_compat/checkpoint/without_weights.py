"""Torch files without a state dict: what they hold instead, and how to get from there to the weights.

People give the file that lies beside the weights (the state of an optimizer, of random numbers), or one that holds them
in another form (numpy arrays, a tuple). Each is told by what is in it, never by its name.
"""

from __future__ import annotations

from viscy_compat.annotations import Any, Final, Iterator
from viscy_compat.checkpoint.foreign import NotWeights, Role
from viscy_compat.checkpoint.pickle_nodes import Call, Dict, Global, Node, entries_of, is_global, mapping_of
from viscy_compat.checkpoint.plain import plain
from viscy_compat.checkpoint.rebuild import is_tensor
from viscy_compat.errors import UnreadableCheckpoint
from viscy_compat.layout import quote_path, spell_count
from viscy_compat.named import NamedTuple

# what is looked at before a file is called by what it holds: levels, containers, and entries of each
_DEPTH: Final = 4
_NODES: Final = 2_000
_LOOKED_AT: Final = 5_000
_LIGHTNING: Final = "pytorch-lightning_version"
_ARRAYS: Final = ("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct")
_RANDOM: Final = frozenset(
    {"python", "numpy", "cpu", "cuda", "torch", "xla", "npu", "mlu", "musa", "xpu", "hpu", "step", "rng_state"}
    | {
        "python_rng_state",
        "numpy_rng_state",
        "torch_rng_state",
        "torch_cuda_rng_state",
        "random_states",
        "random_state",
    }
    | {
        "np_rng_state",
        "numpy_random_seed",
        "cuda_rng_state",
        "random_rng_state",
        "cpu_rng_state",
        "torch_manual_seed",
        "torch_cuda_manual_seed",
    }
)
_GENERATOR_BYTES: Final = (5056, 5048, 816, 16)
"""Bytes of the state of a generator: on a processor (new and old), and on a GPU."""


class _PlacedNode(NamedTuple):
    """A node, and how Python reaches it from what the file holds."""

    path: str
    node: Node


def without_weights(root: Node, path: str) -> UnreadableCheckpoint:
    """Return the error for a file in which no state dict was found.

    Examples
    --------
    >>> print(without_weights(Dict(["state", Dict(), "param_groups", []]), "optimizer.pt").what)
    an optimizer's state
    """
    places = list(_held_mappings(root))
    for describe in _KINDS:
        error = describe(places, path)
        if error is not None:
            return error
    return _about_lightning(places, path) or _about_single(root, path) or _about_anything(root, path)


def refuse_what_is_beside(root: Node, path: str) -> None:
    """Refuse the states of optimizers and generators, whose tensors could be taken for weights.

    Raises
    ------
    NotWeights
        Where the file as a whole is such a state.
    """
    places = [_PlacedNode("", root)]
    error = _about_optimizer(places, path) or _about_generators(places, path)
    if error is not None:
        raise error
    # the file of one rank of ZeRO stage 3: a tensor of no elements stands for each weight
    top = mapping_of(root) or {}
    module = top.get("module") if "param_shapes" in top else None
    tensors = [node for node in (mapping_of(module) or {}).values() if is_tensor(node)]
    if tensors and all(map(_is_placeholder, tensors)):
        from viscy_compat.checkpoint.deepspeed import in_pieces

        raise in_pieces(path, "the weights are in flat pieces, one a rank (ZeRO stage 3)")


def _held_mappings(root: Node) -> Iterator[_PlacedNode]:
    """Yield what a file holds, in dictionaries, tuples and lists, breadth first; each node once."""
    queue, visited = [(_PlacedNode("", root), 0)], {id(root)}
    for place, depth in queue:
        yield place
        for key, child in _children(place.node) if depth < _DEPTH and len(queue) < _NODES else ():
            if id(child) not in visited and (type(child) in (Dict, list, tuple, Call)):
                visited.add(id(child))
                queue.append((_PlacedNode(f"{place.path}[{key}]", child), depth + 1))


def _children(node: Node) -> list[tuple[str, Node]]:
    if type(node) in (list, tuple):
        return [(str(index), child) for index, child in enumerate(node[:100])]
    # numbers count epochs and folds, and the parameters of an optimizer
    pairs = _numbered_entries(node) or list((mapping_of(node) or {}).items())
    return [(repr(key), child) for key, child in pairs[:_LOOKED_AT] if type(key) is int or len(key) < 100]


def _numbered_entries(node: Node) -> list[tuple[Any, Node]]:
    """Return all entries of a dictionary of which a key is a number; nothing of another node."""
    entries = entries_of(node) or []
    if not any(type(key) is int for key in entries[:_LOOKED_AT:2]):
        return []
    pairs = zip(entries[::2], entries[1::2], strict=True)
    return [(key, child) for key, child in pairs if type(key) in (int, str)]


def _mapping(place: _PlacedNode) -> dict[str, Node]:
    return mapping_of(place.node) or {}


def _saved_beside(what: str, path: str, fix: str = "") -> NotWeights:
    usual = "give the file of the model, which is saved beside it (model.safetensors, pytorch_model.bin, *.ckpt)"
    return NotWeights(what, fix or usual, where=path, role="beside")


def _about_deepspeed(places: list[_PlacedNode], path: str) -> NotWeights | None:
    from viscy_compat.checkpoint.deepspeed import in_pieces

    marks = {"zero_stage", "single_partition_of_fp32_groups", "fp32_flat_groups", "partition_count"}
    if not any(marks & _mapping(place).keys() for place in places):
        return None
    return _saved_beside("one rank's part of a DeepSpeed optimizer", path, in_pieces(path, "").fix)


def _is_placeholder(node: Node) -> bool:
    """Say whether a tensor, or the one that a parameter wraps, has the shape ``(0,)``."""
    args = node.args if type(node) is Call and type(node.args) is tuple else ()
    inner = args[0] if args and is_tensor(args[0]) else None
    return _is_placeholder(inner) if inner is not None else len(args) > 2 and args[2] == (0,)


def _about_optimizer(places: list[_PlacedNode], path: str) -> NotWeights | None:
    is_one = any({"state", "param_groups"} <= _mapping(place).keys() for place in places)
    # accelerate and others save the state dict of a scheduler in the same file; a run without weights all the same
    return _saved_beside("an optimizer's state", path) if is_one else None


def _about_schedule(places: list[_PlacedNode], path: str) -> NotWeights | None:
    """Find the state of a scheduler or of a gradient scaler: both are a few numbers under names that torch gives them."""
    top = _mapping(places[0])
    # a trainer's checkpoint may have an entry of that name, too, and tensors beside it
    if "last_epoch" in top and len(top) < 40 and not any(map(is_tensor, top.values())):
        return _saved_beside("the state of a learning-rate scheduler", path)
    return _saved_beside("the state of a gradient scaler", path) if {"scale", "growth_factor"} <= top.keys() else None


def _about_generators(places: list[_PlacedNode], path: str) -> NotWeights | None:
    root = places[0].node
    keys = _mapping(places[0]).keys()
    generators = is_tensor(root) and _length_of_bytes(root) in _GENERATOR_BYTES
    tensors = [node for node in _mapping(places[0]).values() if is_tensor(node)]
    by_names = bool(keys) and keys <= _RANDOM and keys != {"step"} and all(map(_length_of_bytes, tensors))
    if not generators and not by_names:
        return None
    return _saved_beside("the states of random-number generators", path)


def _length_of_bytes(node: Node) -> int:
    """Return the number of elements of a vector of bytes; 0 for other tensors."""
    args = node.args if type(node.args) is tuple else ()
    identity = getattr(args[0], "id", ()) if args else ()
    kind = identity[1] if type(identity) is tuple and len(identity) > 4 else None
    size = args[2] if len(args) > 2 else ()
    is_bytes = type(kind) is Global and kind.name == "ByteStorage"
    return size[0] if is_bytes and type(size) is tuple and len(size) == 1 and type(size[0]) is int else 0


def _about_packed_state_dict(places: list[_PlacedNode], path: str) -> NotWeights | None:
    """Find state dicts in a tuple or list, or under a number, where no address of ours leads to."""
    states = tuple(place.path for place in places if {"state", "param_groups"} <= _mapping(place).keys())
    packed = []
    for place in places:
        # the moments of an optimizer lie below it; where there is one, only names with a dot are those of a model
        entries = {} if not place.path or place.path.startswith(states) else _mapping(place)
        tensors = sum(map(is_tensor, entries.values()))
        # a third, as in the state dicts that an address leads to
        if 0 < len(entries) <= 3 * tensors and (not states or any("." in name for name in entries)):
            packed.append((place, spell_count(tensors, "tensor")))
    if not packed:
        return None
    (first, tensors_of_first), *others = packed
    what = f"a {_kind_of(places[0].node)}, in which {first.path} is a state dict of {tensors_of_first}"
    if not others:
        return NotWeights(what, f"save that alone: {_save_line(path, first.path)}", where=path, role="instead")
    also = ", ".join(place.path for place, _ in others[:4]) + (
        f" and {len(others) - 4} more" if len(others) > 4 else ""
    )
    fix = f"save the one that is meant alone: {_save_line(path, first.path)}"
    return NotWeights(f"{what}, and so {'is' if len(others) == 1 else 'are'} {also}", fix, where=path, role="instead")


def _kind_of(node: Node) -> str:
    return (
        "dictionary"
        if mapping_of(node) is not None
        else type(node).__name__
        if type(node) in (list, tuple)
        else "object"
    )


def _save_line(path: str, place: str, convert: str = "{}", weights_only: str = "True") -> str:
    """Return a line of Python that saves one part of a file."""
    value = convert.format(f"torch.load({path!a}, weights_only={weights_only}){place}")
    return f"torch.save({value}, 'NEW.pt')"


def _about_arrays(places: list[_PlacedNode], path: str) -> NotWeights | None:
    for place in places:
        nodes = _mapping(place).values()
        arrays = sum(type(node) is Call and any(is_global(node.function, name) for name in _ARRAYS) for node in nodes)
        if arrays and 3 * arrays >= len(nodes):
            convert = "{{k: torch.as_tensor(v) for k, v in {}.items()}}"
            fix = f"where you trust the file: {_save_line(path, place.path, convert, 'False')}"
            return NotWeights(f"{arrays} numpy arrays, and no tensors", fix, where=path, role="instead")
    return None


def _about_empty(places: list[_PlacedNode], path: str) -> NotWeights | None:
    names = ("", "['state_dict']", "['model_state_dict']", "['model']", "['module']")
    if not any(place.path in names and entries_of(place.node) == [] for place in places):
        return None
    fix = "give the file of rank 0: where a sharded model is gathered, the other ranks get an empty state dict"
    return NotWeights("an empty state dict", fix, where=path, role="instead")


def _about_lightning(places: list[_PlacedNode], path: str) -> NotWeights | None:
    if _LIGHTNING not in _mapping(places[0]):
        return None
    import os

    folder = os.path.dirname(path) or "."
    if os.path.lexists(os.path.join(folder, ".metadata")):
        what, fix = "Lightning's record beside a distributed checkpoint", f"viscy-compat check {quote_path(folder)}"
        return _saved_beside(what, path, fix=f"give the folder: {fix}")
    what = "Lightning's record of a run, from which the state dict was left out"
    fix = "give the checkpoint; in a folder of torch.distributed.checkpoint this file lies beside the weights"
    return NotWeights(what, fix, where=path, role="instead")


def _about_single(root: Node, path: str) -> NotWeights | None:
    if is_tensor(root):
        return NotWeights("one tensor, without a name", "save model.state_dict()", where=path, role="instead")
    if mapping_of(root) == {} and any(map(is_tensor, (entries_of(root) or [])[1::2])):
        what = "a dictionary of tensors whose keys are no texts"
        return NotWeights(what, "names are needed: save model.state_dict()", where=path, role="instead")
    if type(root) in (list, tuple) and any(map(is_tensor, root)):
        fix = "names are needed: save model.state_dict()"
        return NotWeights(f"a {_kind_of(root)} of tensors without names", fix, where=path, role="instead")
    return None


def _about_anything(root: Node, path: str) -> NotWeights:
    mapping = mapping_of(root)
    if mapping:
        names = ", ".join(repr(key)[:40] for key in list(mapping)[:6]) + (", ..." if len(mapping) > 6 else "")
        what = f"a dictionary with {names}, and no tensors where weights would be"
        children = (child for place in _held_mappings(root) for _, child in _children(place.node))
        role: Role = "instead" if any(map(is_tensor, children)) else "tensorless"
        return NotWeights(what, "save model.state_dict()", where=path, role=role)
    if type(root) is Call and any(is_global(root.function, name) for name in _ARRAYS):
        return NotWeights("one numpy array, without a name", "save model.state_dict()", where=path, role="instead")
    # an object that is no module: a trainer, a sampler, a whole run
    if type(root) is Call:
        name = root.function.path if type(root.function) is Global else "an unknown class"
        what = f"an object of {name[:80]!a}"[:120]
        return _saved_beside(what, path, fix="give the file of the model, or save model.state_dict()")
    what = f"no tensor, but {plain(root, most=10)!a}"[:80] if root is not None else "nothing"
    return NotWeights(what, "save model.state_dict()", where=path, role="instead")


# The first that fits speaks: DeepSpeed's part holds an optimizer's state too, the weights may be packed beside one, and an
# empty state dict may lie beside any.
_KINDS: Final = (
    _about_deepspeed,
    _about_schedule,
    _about_generators,
    _about_packed_state_dict,
    _about_optimizer,
    _about_arrays,
    _about_empty,
)

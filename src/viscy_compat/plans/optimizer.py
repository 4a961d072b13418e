"""Optimizer state: torch keeps it by position of the parameters, so it moves where their order changes.

An optimizer's ``state_dict()`` is ``{"state": {position: {...}}, "param_groups": [{"params": [positions], ...}]}``
(``torch.optim.Optimizer``). Positions count parameters only, buffers left out, group by group. An optimizer that was given
named parameters keeps ``param_names`` in each group as well; after a load they are those of the file, in its order, even
where the parameters stand in another one (torch 2.15), so they only count where the positions agree with them.
``torch.distributed.checkpoint`` and FSDP write names where torch has positions: these can be trusted.
"""

from __future__ import annotations

from viscy_compat.annotations import Iterator, Mapping, Sequence
from viscy_compat.checkpoint.facts import Checkpoint, StoredTensor
from viscy_compat.checkpoint.pickle_nodes import Call, Dict, Node, entries_of, mapping_of
from viscy_compat.errors import PlanRefused
from viscy_compat.layout import Layout, spell_count
from viscy_compat.named import NamedTuple
from viscy_compat.operations import Cast, Concat, Rename, Reshape, Split, Transpose, sources_of
from viscy_compat.plans.plan import Plan

BUFFERS = ("running_mean", "running_var", "num_batches_tracked")
"""Last parts of the names of tensors that no optimizer sees, in every class that is known here."""


class Moves(NamedTuple):
    """What becomes of the parameters of a file.

    ``before`` and ``after`` are their names in order, in the source and in the target; ``origins`` are the source names
    by those of the target; ``layout`` is that of the source. ``keys`` are the raw keys by source names, ``prefix`` stands
    in front of every name of the output.
    """

    before: list[str]
    after: list[str]
    origins: Mapping[str, str]
    layout: Layout
    keys: Mapping[str, str]
    prefix: str

    @property
    def sources(self) -> list[str | None]:
        """The source of each target parameter, in order; None where it is filled."""
        return [self.origins.get(name) for name in self.after]

    def spelling(self, names: Sequence[Node]) -> tuple[Mapping[str, str], str] | None:
        """Return the source names by the spelling that some names have, and what their output has in front.

        They are spelled as the keys of the file are, or as the class has them; None where they are neither.
        """
        for spell, prefix in (
            ({self.keys[name]: name for name in self.before}, self.prefix),
            ({name: name for name in self.before}, ""),
        ):
            if all(type(name) is str and name in spell for name in names):
                return spell, prefix
        return None


def reindex(
    checkpoint: Checkpoint,
    plan: Plan,
    stored: Mapping[str, StoredTensor],
    *,
    order: Layout,
    keys: Mapping[str, str],
    prefix: str = "",
) -> dict[int, Node]:
    """Return the nodes that take the place of others, by ``id``, so that optimizer state follows its parameters.

    Empty where there is no optimizer state, or where no parameter moves. Filled parameters get no state, as those
    that have not been trained yet.

    Parameters
    ----------
    checkpoint : Checkpoint
        The source.
    plan : Plan
        A plan that fits it.
    stored : Mapping[str, StoredTensor]
        Its tensors under the names of the plan.
    order : Layout
        The source's tensors in the order in which its class registers them: the file itself may be shuffled.
    keys : Mapping[str, str]
        Raw keys by the names of the plan.
    prefix : str, optional
        What stands in front of every name of the output.

    Raises
    ------
    PlanRefused
        Where it cannot be said for certain which state belongs to which parameter.
    """
    optimizers = list(optimizers_of(checkpoint))
    if not optimizers:
        return {}
    before, after = parameters_of(order, stored), parameters_of(plan.target.layout, {})
    origins = {row.target: row.source for row in plan.operations if isinstance(row, Rename | Cast)}
    moves = Moves(before, after=after, origins=origins, layout=plan.source.layout, keys=keys, prefix=prefix)
    for row in plan.operations:
        # moments would have to change their shape as their parameter does, and nothing here rewrites them
        if isinstance(row, Reshape | Transpose | Split | Concat) and not {*before}.isdisjoint(sources_of(row)):
            raise _refusal(f"{sources_of(row)[0]!a} changes its shape")
    replacements: dict[int, Node] = {}
    for optimizer in optimizers:
        # SGD without momentum has no state at all: then the groups alone tell whether it is kept by name
        entries = entries_of(optimizer["state"]) or []
        names = [*entries[::2], *_parameter_entries([mapping_of(group) or {} for group in optimizer["param_groups"]])]
        is_named = bool(names) and all(type(name) is str for name in names)
        follow = _replacements_by_name if is_named else _replacements_by_position
        replacements.update(follow(optimizer, moves))
    return replacements


def _parameter_entries(groups: Sequence[Mapping[str, Node]]) -> list[Node]:
    """Return what stands for parameters in the groups of an optimizer."""
    return [name for group in groups if type(group.get("params")) is list for name in group["params"]]


def _replacements_by_name(optimizer: Mapping[str, Node], moves: Moves) -> Iterator[tuple[int, Node]]:
    """Yield replacements for an optimizer whose state is kept by name."""
    state = mapping_of(optimizer["state"]) or {}
    groups = [mapping_of(group) or {} for group in optimizer["param_groups"]]
    spelling = moves.spelling([*state, *_parameter_entries(groups)])
    if spelling is None:
        raise _refusal("it names parameters that the file does not have")
    spell, prefix = spelling
    targets = {source: target for target, source in moves.origins.items()}
    news = {name: prefix + targets[spell[name]] for name in spell if spell[name] in targets}
    for name, facts in state.items():
        _verify_shape(facts, spell[name], moves.layout)
    fills = [prefix + name for name, source in zip(moves.after, moves.sources, strict=True) if source is None]
    # a new parameter needs a group, and with it a learning rate; there is no telling which
    if fills and len(groups) > 1:
        raise _refusal(f"it has {len(groups)} parameter groups, and {fills[0]!a} is new: its group is not known")
    yield id(optimizer["state"]), Dict([item for name in state if name in news for item in (news[name], state[name])])
    for group in groups:
        for names in (group.get("params"), group.get("param_names")):
            if type(names) is list:
                yield id(names), [*(news[name] for name in names if name in news), *fills]


def optimizers_of(checkpoint: Checkpoint) -> Iterator[dict[str, Node]]:
    """Yield the state of every optimizer in a checkpoint."""
    for entry in checkpoint.entries.values():
        yield from _optimizers_in(entry)


def entries_with_optimizers(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Name the entries that hold the state of optimizers."""
    return tuple(name for name, entry in checkpoint.entries.items() if any(_optimizers_in(entry)))


def _optimizers_in(entry: Node) -> Iterator[dict[str, Node]]:
    # Lightning keeps a list of optimizers, plain scripts one under a name of their own
    for node in entry if type(entry) is list else [entry]:
        mapping = mapping_of(node)
        if mapping is not None and "state" in mapping and type(mapping.get("param_groups")) is list:
            yield mapping


def parameters_of(layout: Layout, stored: Mapping[str, StoredTensor]) -> list[str]:
    """Return the names of the parameters, in order; of tensors that share their bytes, the first.

    Examples
    --------
    >>> from viscy_compat.layout import TensorSpec
    >>> parameters_of({"a.weight": TensorSpec((2,)), "a.running_mean": TensorSpec((2,))}, {})
    ['a.weight']
    """
    first_names: dict[tuple[object, ...], str] = {}
    for name in layout:
        if name.rpartition(".")[2] not in BUFFERS:
            tensor = stored.get(name)
            place = (name,) if tensor is None else (id(tensor.storage), tensor.offset, tensor.spec, tensor.stride)
            first_names.setdefault(place, name)
    return list(first_names.values())


def _replacements_by_position(optimizer: Mapping[str, Node], moves: Moves) -> Iterator[tuple[int, Node]]:
    """Yield replacements for one optimizer: its positions in the state and in its only group, and the names there."""
    groups, state = optimizer["param_groups"], mapping_of_positions(optimizer["state"])
    group = (mapping_of(groups[0]) or {}) if len(groups) == 1 else {}
    names = group.get("param_names")
    spelling = moves.spelling(names) if type(names) is list else None
    agree = spelling is not None and [spelling[0][name] for name in names or ()] == moves.before
    # names follow even where no position changes
    if agree and spelling is not None and type(names) is list:
        yield id(names), [spelling[1] + name for name in moves.after]
    # before the refusals: where nothing moves, whatever the state is kept by stays right
    if moves.sources == moves.before:
        return
    if len(groups) != 1:
        raise _refusal(
            f"it has {spell_count(len(groups), 'parameter group')}, and torch numbers the parameters group by group"
        )
    if state is None:
        raise _refusal("its state is kept neither by number nor by name")
    if group.get("params") != list(range(len(moves.before))):
        raise _refusal(f"it does not count the {spell_count(len(moves.before), 'parameter')} of the file")
    if names is not None and not agree:
        raise _refusal(
            "its param_names are not the parameters of the file in their order, and torch keeps the names of a file "
            "after a load in another order, so that neither can be trusted"
        )
    yield from _follow(optimizer, state, group, moves)


def _follow(
    optimizer: Mapping[str, Node], state: Mapping[int, Node], group: Mapping[str, Node], moves: Moves
) -> Iterator[tuple[int, Node]]:
    for position, facts in state.items():
        if not 0 <= position < len(moves.before):
            raise _refusal(f"it has state for a parameter {position} that does not exist")
        _verify_shape(facts, moves.before[position], moves.layout)
    places = {name: place for place, name in enumerate(moves.before)}
    follows = [places.get(name) if name is not None else None for name in moves.sources]
    entries = [(place, state[old]) for place, old in enumerate(follows) if old is not None and old in state]
    yield id(optimizer["state"]), Dict([item for pair in entries for item in pair])
    yield id(group["params"]), list(range(len(moves.after)))


def mapping_of_positions(node: Node) -> dict[int, Node] | None:
    """Return a dictionary with positions as keys; None for anything else."""
    if type(node) is not Dict:
        return None
    keys, values = node.entries[::2], node.entries[1::2]
    # not isinstance: True is an int, and no position
    return dict(zip(keys, values, strict=True)) if all(type(key) is int for key in keys) else None


def _verify_shape(facts: Node, name: str, layout: Layout) -> None:
    """Make sure that moments have the shape of the parameter that they are said to belong to."""
    for value in (mapping_of(facts) or {}).values():
        if type(value) is not Call or type(value.args) is not tuple or len(value.args) < 4:
            continue
        # torch._utils._rebuild_tensor_v2(storage, storage_offset, size, stride, ...): the third is the shape
        shape = value.args[2]
        is_shape = type(shape) is tuple and all(type(size) is int for size in shape)
        # Adam's `step` is a tensor without axes beside the moments
        if is_shape and shape not in ((), layout[name].shape):
            raise _refusal(f"its state for {name!a} has shape {shape}, and the parameter {layout[name].shape}")


def _refusal(reason: str) -> PlanRefused:
    return PlanRefused(
        f"the parameters change their names or order, and the optimizer state cannot follow: {reason}",
        fix="--weights-only leaves the optimizer state out",
    )

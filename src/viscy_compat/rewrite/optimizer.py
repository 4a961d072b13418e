"""Optimizer state: torch keeps it by position of the parameters, so it moves where their order changes.

An optimizer's ``state_dict()`` is ``{"state": {position: {...}}, "param_groups": [{"params": [positions], ...}]}``
(``torch.optim.Optimizer``). Positions count parameters only, buffers left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from viscy_compat.checkpoint.facts import Checkpoint, StoredTensor
from viscy_compat.checkpoint.inert import Call, Dict, Node, mapping_of
from viscy_compat.errors import PlanRefused
from viscy_compat.layout import Layout
from viscy_compat.migration.plan import Plan
from viscy_compat.operations import Rename

BUFFERS = ("running_mean", "running_var", "num_batches_tracked")
"""Last parts of the names of tensors that no optimizer sees, in every class that is known here."""


def reindexed(
    checkpoint: Checkpoint, plan: Plan, stored: Mapping[str, StoredTensor], *, order: Layout
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

    Raises
    ------
    PlanRefused
        Where it cannot be said for certain which state belongs to which parameter.
    """
    optimizers = list(optimizers_of(checkpoint))
    before, after = parameters_of(order, stored), parameters_of(plan.target.layout, {})
    origins = {row.target: row.source for row in plan.operations if isinstance(row, Rename)}
    moved = [origins.get(name) for name in after]
    if not optimizers or moved == before:
        return {}
    replacements: dict[int, Node] = {}
    for optimizer in optimizers:
        replacements.update(_moved(optimizer, before, moved, plan.source.layout))
    return replacements


def optimizers_of(checkpoint: Checkpoint) -> Iterator[dict[str, Node]]:
    """Yield the state of every optimizer in a checkpoint."""
    for entry in checkpoint.entries.values():
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
    seen: dict[tuple[object, ...], str] = {}
    for name in layout:
        if name.rpartition(".")[2] not in BUFFERS:
            tensor = stored.get(name)
            place = (name,) if tensor is None else (id(tensor.storage), tensor.offset, tensor.spec, tensor.stride)
            seen.setdefault(place, name)
    return list(seen.values())


def _moved(
    optimizer: Mapping[str, Node], before: list[str], moved: list[str | None], layout: Layout
) -> Iterator[tuple[int, Node]]:
    """Yield replacements for one optimizer: its positions in the state and in its only group."""
    groups, state = optimizer["param_groups"], mapping_of_positions(optimizer["state"])
    group = mapping_of(groups[0]) if len(groups) == 1 else None
    if group is None or state is None:
        raise _refusal("it has several parameter groups")
    if group.get("params") != list(range(len(before))) or "param_names" in group:
        raise _refusal(f"it does not count the {len(before)} parameters of the file")
    for position, facts in state.items():
        _verify_shape(facts, before, position, layout)
    places = {name: place for place, name in enumerate(before)}
    follows = [places.get(name) if name is not None else None for name in moved]
    entries = [(place, state[old]) for place, old in enumerate(follows) if old is not None and old in state]
    yield id(optimizer["state"]), Dict([item for pair in entries for item in pair])
    yield id(group["params"]), list(range(len(moved)))


def mapping_of_positions(node: Node) -> dict[int, Node] | None:
    """Return a dictionary with positions as keys; None for anything else."""
    if type(node) is not Dict:
        return None
    keys, values = node.entries[::2], node.entries[1::2]
    return dict(zip(keys, values, strict=True)) if all(type(key) is int for key in keys) else None


def _verify_shape(facts: Node, before: list[str], position: int, layout: Layout) -> None:
    """Make sure that the moments at a position have the shape of the parameter that is counted there."""
    if not 0 <= position < len(before):
        raise _refusal(f"it has state for a parameter {position} that does not exist")
    for value in (mapping_of(facts) or {}).values():
        shape = _shape_of(value)
        if shape not in (None, (), layout[before[position]].shape):
            raise _refusal(f"its state at {position} has shape {shape}, but {before[position]} has another")


def _shape_of(node: Node) -> tuple[int, ...] | None:
    """Return the shape of a tensor's node; None for others."""
    if type(node) is not Call or type(node.args) is not tuple or len(node.args) < 4:
        return None
    shape = node.args[2]
    return shape if type(shape) is tuple and all(type(size) is int for size in shape) else None


def _refusal(reason: str) -> PlanRefused:
    return PlanRefused(
        f"the order of the parameters changes, and the optimizer state cannot follow: {reason}",
        fix="--weights-only leaves the optimizer state out",
    )

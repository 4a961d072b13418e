"""Copies that share memory until one of two is written: of tensors, of modules, and of weights in the place of a load."""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import Any

_COPYING = ("__deepcopy__", "__reduce_ex__", "__reduce__", "__getstate__", "__setstate__", "__getnewargs_ex__")
"""Methods by which a class says how it is copied; one that is not torch's is left to `copy`."""

_LOADING = ("_load_state_dict_pre_hooks", "_load_state_dict_post_hooks", "_state_dict_hooks", "_state_dict_pre_hooks")
"""Where a module keeps what happens to a state dict on its way."""


def shared_copy(tensor: Any) -> Any:
    """Return a tensor of the same bytes, on the same memory until one of the two is written."""
    import torch

    # torch has it for this purpose since 2.3, and says nothing of it in public; on the device "meta" nothing is to be shared
    clone = torch.clone if tensor.is_meta else getattr(torch, "_lazy_clone", torch.clone)
    return clone(tensor.detach())


def twin_of(module: Any) -> Any:
    """Copy a module as `copy.deepcopy` does; its tensors share their memory with the copies until one is written."""
    import torch

    memo: dict[int, Any] = {}
    for tensor in (*module.parameters(), *module.buffers()):
        # what shares its memory with another tensor must go on doing so, which `copy` sees to
        if type(tensor) not in (torch.Tensor, torch.nn.Parameter) or not _is_alone(tensor):
            continue
        twin = shared_copy(tensor)
        is_parameter = type(tensor) is torch.nn.Parameter
        memo[id(tensor)] = torch.nn.Parameter(twin, requires_grad=tensor.requires_grad) if is_parameter else twin
    return _copy_module(module, memo)


def _copy_module(module: Any, memo: dict[int, Any]) -> Any:
    """Copy the structure of a module: its dozen of empty dictionaries is most of what `copy` is slow with."""
    import torch

    kind: Any = type(module)
    if id(module) in memo:
        return memo[id(module)]
    if any(getattr(kind, name, None) is not getattr(torch.nn.Module, name, None) for name in _COPYING):
        return copy.deepcopy(module, memo)
    memo[id(module)] = twin = kind.__new__(kind)
    for name, value in vars(module).items():
        if value is None or type(value) in (bool, int, float, str):
            vars(twin)[name] = value
        elif type(value) in (dict, OrderedDict, set) and not value:
            vars(twin)[name] = type(value)()
        elif name in ("_modules", "_parameters", "_buffers"):
            pairs = [(key, _copy_part(part, memo)) for key, part in value.items()]
            vars(twin)[name] = type(value)(pairs)
        else:
            vars(twin)[name] = copy.deepcopy(value, memo)
    return twin


def _copy_part(part: Any, memo: dict[int, Any]) -> Any:
    """Copy what a module has by name: a module, a tensor, or None where it was taken out."""
    import torch

    if isinstance(part, torch.nn.Module):
        return _copy_module(part, memo)
    return None if part is None else memo[id(part)] if id(part) in memo else copy.deepcopy(part, memo)


def place(module: Any, own: Any, state: Any) -> bool:
    """Let the tensors of a module share the memory of those of a state dict, where a strict load would only copy them.

    Parameters
    ----------
    module : torch.nn.Module
        The module, on the CPU.
    own, state : dict
        Its state dict, and the other one.

    Returns
    -------
    bool
        Whether it was done; if not, nothing was.
    """
    import torch

    mine = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    if own.keys() != state.keys() or not own.keys() <= mine.keys() or not all(map(_loads_plainly, module.modules())):
        return False
    if type(module).load_state_dict is not torch.nn.Module.load_state_dict:
        return False
    # integers keep their values, and are in both
    moved = {name: tensor for name, tensor in state.items() if tensor is not own[name]}
    if not all(_can_move(mine[name], tensor) for name, tensor in moved.items()):
        return False
    for name, tensor in moved.items():
        mine[name].data = shared_copy(tensor)
    return True


def _loads_plainly(module: Any) -> bool:
    """Whether the load of a state dict copies into the tensors of a module, and does nothing else."""
    # those of torch itself look after names of older versions, and no state here is older than its module
    return type(module)._load_from_state_dict.__module__.startswith("torch.nn.modules.") and not any(
        vars(module).get(name) for name in _LOADING
    )


def _can_move(mine: Any, other: Any) -> bool:
    """Whether nobody notices that a tensor lies elsewhere: no further tensor but that of the state dict is on its memory."""
    facts = [(row.shape, row.dtype, row.device, row.layout, row.is_contiguous()) for row in (mine, other)]
    return facts[0] == facts[1] and facts[0][-1] and _is_alone(mine, others=1)


def _is_alone(tensor: Any, others: int = 0) -> bool:
    """Whether a tensor has its memory for itself, or with so many others."""
    import torch

    # how many refer to a memory is no public knowledge of torch either; without it, nothing is taken to be alone
    count = getattr(torch._C, "_storage_Use_Count", None)
    if count is None:
        return False
    lone = torch.empty(0)
    memory, alone = (row.untyped_storage() for row in (tensor, lone))
    is_whole = memory.nbytes() == tensor.numel() * tensor.element_size()
    return bool(is_whole and count(memory._cdata) - count(alone._cdata) == others)

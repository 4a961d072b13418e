"""A model that a checkpoint fills: built without drawing the numbers that the checkpoint replaces. Needs torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_IN_PLACE = ("uniform_", "normal_", "erfinv_", "mul_", "add_", "clamp_", "fill_", "zero_")
"""What initialisers do to a parameter, where they are no functions of `torch.nn.init`: timm has some of its own."""

_FILLS = frozenset(
    [getattr(torch.Tensor, name) for name in _IN_PLACE]
    + [one for name, one in vars(torch.nn.init).items() if name.endswith("_") and name[0] != "_" and callable(one)]
)


class _WithoutFills(TorchFunctionMode):
    """While it is entered, parameters keep the memory that they were made with, whatever initialises them."""

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if function in _FILLS:
            # torch hands the arguments of its initialisers on by name
            filled = args[0] if args else (kwargs or {}).get("tensor")
            if isinstance(filled, torch.nn.Parameter):
                return filled
        return function(*args, **(kwargs or {}))


def build_to_fill(build: Callable[[], torch.nn.Module]) -> torch.nn.Module:
    """Return a model whose parameters and persistent buffers are all going to be loaded, strictly.

    Drawing initial weights is most of what building costs, and loading replaces each of them. A class with buffers that
    no checkpoint holds is built the ordinary way: those could be drawn, and would come out otherwise. The state of the
    global generator is what it was before.

    Parameters
    ----------
    build : Callable[[], torch.nn.Module]
        Makes the model.
    """
    with torch.random.fork_rng(devices=[]), _WithoutFills():
        model = build()
    if not any(module._non_persistent_buffers_set for module in model.modules()):
        return model
    with torch.random.fork_rng(devices=[]):
        return build()


def can_assign(model: torch.nn.Module) -> bool:
    """Say whether loaded tensors may take the place of a model's own without anything else being different.

    They may where no two names share memory, and all of it is packed in row-major order, as what is loaded is.
    """
    own = list(model.state_dict(keep_vars=True).values())
    places = {tensor.untyped_storage().data_ptr() for tensor in own if tensor.numel()}
    packed = all(isinstance(tensor, torch.Tensor) and tensor.is_contiguous() for tensor in own)
    return packed and len(places) == sum(tensor.numel() > 0 for tensor in own)

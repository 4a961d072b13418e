"""Construction without drawing weights: where all of them are replaced at once, drawing them is most of it.

It subclasses what torch has, so it can be imported only after the stack.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_OF_INIT = ("uniform_", "normal_", "xavier_uniform_", "xavier_normal_", "kaiming_uniform_", "kaiming_normal_")
"""Functions of `torch.nn.init` that fill a tensor with random numbers, and look at none of those that it has."""

_OF_TENSOR = ("uniform_", "normal_", "erfinv_", "mul_", "add_", "clamp_")
"""Methods that fill a tensor with random numbers, and those by which others make truncated normal ones of them."""


class WithoutDraws(TorchFunctionMode):
    """Leaves parameters the numbers that are in their memory, where random ones would be drawn for them."""

    is_on = False
    """Whether one is at work: what is built then has no weights that anybody may look at."""

    _skipped = frozenset(
        [*(getattr(torch.nn.init, name) for name in _OF_INIT), *(getattr(torch.Tensor, name) for name in _OF_TENSOR)]
    )

    def __enter__(self) -> Any:
        WithoutDraws.is_on = True
        return super().__enter__()  # type: ignore[no-untyped-call]

    def __exit__(self, *error: Any) -> None:
        WithoutDraws.is_on = False
        super().__exit__(*error)  # type: ignore[no-untyped-call]

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        # only what a state dict replaces: other tensors may decide what is built
        tensor = args[0] if args else (kwargs or {}).get("tensor")
        if function in self._skipped and type(tensor) is torch.nn.Parameter and tensor.is_floating_point():
            return tensor
        return function(*args, **(kwargs or {}))

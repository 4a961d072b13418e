"""Values for weights and inputs, made of names, so that no tensor travels between the two sides."""

from __future__ import annotations

import hashlib
import math
import random
from collections import OrderedDict
from typing import Any

from .guard import Json
from .digests import byte_count, dtype_of, tensors_in

POOL = 24
"""The pool of fill values has ``2 ** POOL`` members: as many as float32 holds exactly, all different."""

_STEPS = ((0x3779B1, 12), (0xEBCA6B, 11))


class Pool:
    """``2 ** POOL`` values in (-1, 1), all different, in a fixed shuffled order; slices of it fill tensors."""

    def __init__(self) -> None:
        self.values: Any = None

    def _make(self) -> Any:
        import torch

        mask, size = (1 << POOL) - 1, 1 << 16
        values = torch.empty(1 << POOL, dtype=torch.float32)
        # every step is a bijection on POOL bits: odd factors and shifted xors. Only these bits of a product count, so
        # int32 may overflow; blocks stay in the processor's cache
        for start in range(0, 1 << POOL, size):
            ranks = torch.arange(start, start + size, dtype=torch.int32)
            for factor, shift in _STEPS:
                ranks.mul_(factor).bitwise_and_(mask)
                ranks.bitwise_xor_(ranks >> shift)
            values[start : start + size] = ranks.mul_(2).add_(1 - (1 << POOL))
        return values.mul_(2.0**-POOL)

    def fill(self, flat: Any, name: str, scale: float) -> None:
        """Write values of the pool times a power of two; each further poolful is halved, so that none repeats."""
        import torch

        if self.values is None:
            self.values = self._make()
        size, place, done = len(self.values), number_of(name) % (1 << POOL), 0
        while done < flat.numel():
            count = min(flat.numel() - done, size - place, size - done % size)
            factor = scale * 2.0 ** -(done // size)
            torch.mul(self.values[place : place + count], factor, out=flat[done : done + count])
            done, place = done + count, (place + count) % size


pool = Pool()


def number_of(name: str) -> int:
    """Return a number that a name alone decides."""
    return int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()[:8], "big")


def fill_like(name: str, tensor: Any) -> Any:
    """Return a tensor of the same shape and dtype with different values everywhere, decided by the name alone.

    Weights have a spread that keeps activations near one; what scales or divides lies in [0.75, 1.25). Integers that
    count batches get a small count, and other integers and booleans (indices, masks) keep their values.
    """
    import torch

    last = name.rpartition(".")[2]
    if not tensor.is_floating_point():
        return torch.full_like(tensor, 1 + number_of(name) % 7) if last == "num_batches_tracked" else tensor
    if tensor.is_complex() or tensor.numel() == 0:
        return tensor
    values = torch.empty(tensor.numel(), dtype=torch.float32)
    if tensor.dim() < 2 and last not in ("bias", "running_mean"):
        # an odd factor (2 ** 32 by the golden ratio) permutes the ranks of a power of two: all values are different
        bits = max(1, (values.numel() - 1).bit_length())
        ranks = torch.arange(values.numel(), dtype=torch.int64) * 0x9E3779B1 + number_of(name) % (1 << bits)
        values = (ranks % (1 << bits)).to(torch.float32) * 2.0 ** -(bits + 1) + 0.75
    else:
        pool.fill(values, name, _spread(tensor, last))
    return values.reshape(tensor.shape).to(tensor.dtype)


def _spread(tensor: Any, last: str) -> float:
    """Return a power of two, so that scaling keeps different values different."""
    if tensor.dim() < 2:
        return 0.125
    # uniform in (-s, s) has the variance s * s / 3, and that of a sum of fan_in products is to be about one
    fan_in = max(1, tensor.numel() // max(1, tensor.shape[0]))
    return float(2.0 ** round(math.log2(math.sqrt(3.0 / fan_in))))


def set_seed(seed: int) -> None:
    """Seed every generator that a model may draw from."""
    import numpy
    import torch

    random.seed(seed)
    numpy.random.seed(seed % (1 << 32))
    # for a GPU that was never started torch notes with each seed who asked, line by line: half of what a seed costs
    seed_torch = torch.manual_seed if torch.cuda.is_initialized() else torch.default_generator.manual_seed
    seed_torch(seed)


def fill_state(layout: list[Json], own: Any) -> Any:
    """Return the filled state dict of a layout, own tensors lending integers their values."""
    import torch

    state: OrderedDict[str, Any] = OrderedDict()
    for name, shape, dtype in layout:
        mine = own.get(name)
        known = mine is not None and list(mine.shape) == list(shape) and dtype_of(mine) == dtype
        state[name] = filled_tensors.of(name, mine if known else torch.zeros(shape, dtype=getattr(torch, dtype)))
    return state


class FilledTensors:
    """Filled tensors, remembered: cases of one class share most names and shapes. Models copy them, nothing changes them."""

    room = 256 << 20  # bytes; see `backbones.ROOM`

    def __init__(self) -> None:
        self.made: OrderedDict[Any, Any] = OrderedDict()
        self.size = 0

    def clear(self) -> None:
        """Forget all."""
        self.made.clear()
        self.size = 0

    def of(self, name: str, like: Any) -> Any:
        """Return the filled tensor of a name, of the shape and dtype of another one."""
        if not like.is_floating_point():
            return fill_like(name, like)
        key = (name, like.shape, like.dtype)
        if key not in self.made:
            self.made[key] = fill_like(name, like)
            self.size += byte_count(like)
        self.made.move_to_end(key)
        while self.size > self.room and len(self.made) > 1:
            self.size -= byte_count(self.made.popitem(last=False)[1])
        return self.made[key]


filled_tensors = FilledTensors()


def scalar_of(outputs: Any) -> Any:
    """Return one number that depends on every element of every output, each with a weight of its own."""
    import torch

    total = torch.zeros(())
    for name, tensor in tensors_in(outputs):
        weight = torch.empty(tensor.shape, dtype=torch.float32)
        pool.fill(weight.reshape(-1), f"scalar {name}", 1.0)
        total = total + (tensor.float() * weight).sum()
    return total

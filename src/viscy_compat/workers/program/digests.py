"""Facts about tensors: digests of their bytes, a few of their elements, shapes and dtypes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from .guard import Json

_PIECE = 1 << 19
"""Bytes that are copied at a time, to be looked at: a processor's cache holds them."""


def digest_of(tensor: Any) -> str:
    """Return the SHA-256 of the elements' bytes in row-major order."""
    whole = hashlib.sha256()
    for piece in byte_view(tensor).split(_PIECE):
        # numpy may write: what is shared until then would be copied as a whole (see `sharing`)
        whole.update(memoryview(piece.clone().numpy()))
    return whole.hexdigest()


def byte_view(tensor: Any) -> Any:
    """Return the elements' bytes in row-major order, as a tensor of one axis."""
    import torch

    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)


def byte_count(tensor: Any) -> int:
    """Return how many bytes the elements have."""
    return int(tensor.numel() * tensor.element_size())


def head_of(flat: Any) -> tuple[int, bytes]:
    """Return what two tensors must share to be the same: how many bytes, and the first of them."""
    return flat.numel(), bytes(flat[:64].clone().numpy())


def have_same_bytes(first: Any, second: Any) -> bool:
    """Compare bytes: as integers, since numbers that are equal may have other bytes; eight at a time where that goes."""
    import torch

    # what is shared until it is written need not be read; torch tells where it lies, without parting it, in private alone
    address = getattr(torch._C, "_data_address", None)
    if address and first.numel() == second.numel() and address(first) == address(second):
        return True
    words = first.numel() - first.numel() % 8
    if any(flat.storage_offset() % 8 for flat in (first, second)):
        return torch.equal(first, second)
    heads = [flat[:words].view(torch.int64) for flat in (first, second)]
    return torch.equal(*heads) and torch.equal(first[words:], second[words:])


def dtype_of(tensor: Any) -> str:
    """Return the dtype without its library."""
    return str(tensor.dtype)[len("torch.") :]


def layout_of(state: Any) -> list[Json]:
    """Return name, shape and dtype of each tensor."""
    return [[name, list(tensor.shape), dtype_of(tensor)] for name, tensor in state.items()]


def samples_of(tensor: Any, count: int) -> list[float]:
    """Return up to ``count`` elements at evenly spread places; nine digits tell every float32 exactly."""
    flat = tensor.detach().cpu().reshape(-1)
    total = flat.numel()
    places = sorted({(2 * index + 1) * total // (2 * count) for index in range(count)}) if total else []
    return [float(f"{float(flat[place]):.9g}") for place in places]


def norm_of(tensor: Any) -> float:
    """Return the root mean square of the elements."""
    import torch

    if tensor.numel() == 0:
        return 0.0
    return float(f"{float(tensor.detach().to(torch.float64).square().mean().sqrt()):.6g}")


def digest_of_all(value: Any) -> str:
    """Return one digest for every tensor in a value, with names, dtypes and shapes."""
    whole = hashlib.sha256()
    for name, tensor in tensors_in(value):
        whole.update(f"{name}:{dtype_of(tensor)}:{tuple(tensor.shape)}:{digest_of(tensor)};".encode())
    return whole.hexdigest()


def tensors_in(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Name every tensor in what a forward pass returned: by attribute, key or place; a lone tensor is ``output``."""
    import torch

    if isinstance(value, torch.Tensor):
        yield prefix or "output", value
        return
    items = value if isinstance(value, dict) else getattr(value, "__dict__", None)
    if isinstance(value, (list, tuple)):
        items = dict(enumerate(value))
    for name, item in (items or {}).items():
        yield from tensors_in(item, f"{prefix}.{name}" if prefix else str(name))

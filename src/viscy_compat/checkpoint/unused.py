"""Elements of a storage that no tensor uses: what a flipped bit in strides or an offset leaves behind.

A pickle without a checksum can be damaged and still be one. A tensor that is saved fills its storage, unless it was
saved as a part of a larger one; another stride or offset that stays within the storage leaves some of it out.
"""

from __future__ import annotations

from viscy_compat.annotations import Iterable
from viscy_compat.checkpoint.facts import Storage, StoredTensor


def tensors_beside_a_gap(tensors: Iterable[StoredTensor]) -> list[str]:
    """Return the keys of tensors whose storages hold bytes that none of the tensors uses.

    Parameters
    ----------
    tensors : Iterable[StoredTensor]
        Every tensor of a checkpoint.

    Returns
    -------
    list[str]
        In the order given; bytes that only a strided tensor could use count as used where it may use them.
    """
    by_storage: dict[Storage, list[StoredTensor]] = {}
    for tensor in tensors:
        by_storage.setdefault(tensor.storage, []).append(tensor)
    keys: list[str] = []
    for storage, row in by_storage.items():
        # tied weights are one place, however many names they have
        places = {(tensor.offset, tensor.spec, tensor.stride): tensor for tensor in row}.values()
        union, end, most = 0, 0, 0
        for first, last, size in sorted(map(_span, places)):
            union += max(last - max(first, end), 0)
            end = max(end, last)
            most += size
        if min(union, most) < storage.nbytes:
            keys += (tensor.key for tensor in row)
    return keys


def _span(tensor: StoredTensor) -> tuple[int, int, int]:
    """Return the first byte of a tensor in its storage, the one after its last, and how many it uses at most."""
    first = tensor.offset * tensor.itemsize
    if 0 in tensor.spec.shape:
        return first, first, 0
    reach, most = 0, tensor.itemsize
    for size, step in zip(tensor.spec.shape, tensor.stride, strict=True):
        reach += (size - 1) * step
        # along a stride of 0 an element is used again
        most *= size if step else 1
    return first, first + (reach + 1) * tensor.itemsize, most

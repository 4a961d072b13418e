"""Small real files without torch: a torch zip with given float tensors, and a plan for it that renames all of them."""

from __future__ import annotations

import itertools
import operator
import struct
from collections.abc import Callable, Mapping
from pathlib import Path

from support.assembly import FLOATS, LONGS, lightning, mapping, storage, tensor, zipped
from viscy_compat.checkpoint import open_checkpoint
from viscy_compat.checkpoint.wrapper import layout_of, views_of
from viscy_compat.layout import Layout, TensorSpec
from viscy_compat.operations import Rename
from viscy_compat.plans.plan import PlanEnd, plan_of
from viscy_compat.plans.plan_file import dumps


def torch_file(path: Path, sizes: list[int], *, wrapped: bool = False) -> None:
    """Write a state dict ``t.0``, ``t.1``... of float vectors with these lengths; every value tells its place."""
    entries = {
        f"t.{place}": tensor((size,), (1,), of=storage(str(place), elements=size)) for place, size in enumerate(sizes)
    }
    data = {str(place): floats(place, size) for place, size in enumerate(sizes)}
    root = lightning(state_dict=mapping({f"model.{name}": node for name, node in entries.items()}))
    path.write_bytes(zipped(root if wrapped else mapping(entries), data))


def torch_file_of(path: Path, layout: Layout, top: Callable[[bytes], bytes] = bytes) -> Path:
    """Write a torch zip with these tensors, each of a storage of its own; ``top`` makes the file of the state dict."""
    state, data = _state_dict(layout, 0)
    path.write_bytes(zipped(top(state), data))
    return path


def several_state_dicts(layouts: Mapping[str, Layout]) -> tuple[bytes, dict[str, bytes]]:
    """Return the pickle and the storages of a file whose entries are state dicts."""
    entries: dict[str, bytes] = {}
    data: dict[str, bytes] = {}
    for name, layout in layouts.items():
        entries[name], held = _state_dict(layout, len(data))
        data.update(held)
    return mapping(entries), data


def _state_dict(layout: Layout, first: int) -> tuple[bytes, dict[str, bytes]]:
    entries, data = {}, {}
    for place, (name, spec) in enumerate(layout.items(), first):
        held = storage(str(place), LONGS if spec.dtype == "int64" else FLOATS, spec.elements)
        steps = itertools.accumulate((1, *reversed(spec.shape[1:])), operator.mul)
        entries[name] = tensor(spec.shape, tuple(steps)[len(spec.shape) - 1 :: -1] if spec.shape else (), of=held)
        data[str(place)] = floats(place, spec.elements * (2 if spec.dtype == "int64" else 1))
    return mapping(entries), data


def floats(seed: int, size: int) -> bytes:
    """The bytes of a vector: different for each seed, and at each place."""
    pattern = struct.pack("<256f", *(1000.0 * seed + place for place in range(256)))
    return (pattern * (size // 256 + 1))[: 4 * size]


def renaming_plan(path: Path, sizes: list[int]) -> None:
    """Write the plan that renames ``t.N`` to ``u.N``."""
    here = {f"t.{place}": TensorSpec((size,)) for place, size in enumerate(sizes)}
    there = {name.replace("t", "u"): spec for name, spec in here.items()}
    path.write_text(dumps(plan_of(PlanEnd(here), PlanEnd(there), map(Rename, here, there))))


def layout_in(path: object) -> Layout:
    """The names that a checkpoint has once the usual wrappers are taken off, with shapes and dtypes."""
    checkpoint = open_checkpoint(str(path))
    return layout_of(checkpoint, views_of(checkpoint)[0])

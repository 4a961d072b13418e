"""The module where two models part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from viscy_compat.workers.answers import ModuleCall, ModuleNumbers

SomeCall = TypeVar("SomeCall", ModuleCall, ModuleNumbers)


def parting_module(old: Sequence[ModuleCall], new: Sequence[ModuleCall]) -> str:
    """Return the first module where two models part, by the calls of their submodules in the order in which they ended.

    A module whose output differs although it was given the same is named itself. Where its input differs already, the
    difference arose between modules, in the code of the innermost module around it that was still given the same.

    Examples
    --------
    >>> old = [ModuleCall("a", "Linear", "1", "2"), ModuleCall("b", "ReLU", "2", "3"), ModuleCall("", "Model", "1", "3")]
    >>> parting_module(old, [old[0], ModuleCall("b", "Identity", "2", "2"), ModuleCall("", "Model", "1", "2")])
    'b'
    >>> parting_module(old, [old[0], ModuleCall("b", "ReLU", "9", "9"), ModuleCall("", "Model", "1", "9")])
    '(the whole model)'
    >>> parting_module(old, old)
    ''
    """
    theirs, ours = calls_by_number(new), calls_by_number(old)
    for key, call in ours.items():
        other = theirs.get(key)
        if other is None:
            return _title(_around(call.module, ours, theirs))
        if other.returned != call.returned:
            return _title(call.module if other.given == call.given else _around(call.module, ours, theirs))
    return ""


def calls_by_number(calls: Sequence[SomeCall]) -> dict[tuple[str, int], SomeCall]:
    """Key calls, or their numbers, by module and by how often it had been called before: shared layers run several times."""
    counts: dict[str, int] = {}
    by_key = {}
    for call in calls:
        counts[call.module] = counts.get(call.module, -1) + 1
        by_key[call.module, counts[call.module]] = call
    return by_key


def _around(module: str, old: Mapping[tuple[str, int], ModuleCall], new: Mapping[tuple[str, int], ModuleCall]) -> str:
    """Return the innermost module around this one that both sides gave the same."""
    while module:
        module = module.rpartition(".")[0]
        ours, theirs = old.get((module, 0)), new.get((module, 0))
        if ours and theirs and ours.given == theirs.given:
            return module
    return ""


def _title(module: str) -> str:
    return module or "(the whole model)"

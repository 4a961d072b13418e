"""Two layouts, compared by DeepDiff and folded into few sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from viscy_compat.architectures.architecture import Case
from viscy_compat.comparison.failures import Failure
from viscy_compat.errors import lacking
from viscy_compat.layout import Layout, fold, printable, spell_count


def layout_failures(old: Layout, new: Layout, case: Case | None) -> Iterator[Failure]:
    """Say how two layouts differ, by DeepDiff: names, order, shapes, dtypes, a failure for each kind.

    Examples
    --------
    >>> from viscy_compat.layout import TensorSpec
    >>> old = {"a": TensorSpec((2,)), "b.0": TensorSpec((3,)), "b.1": TensorSpec((3,))}
    >>> new = {"c": TensorSpec((2,)), "b.0": TensorSpec((4,)), "b.1": TensorSpec((4,))}
    >>> for failure in layout_failures(old, new, None):
    ...     print(failure.code, failure.message)
    VC111 1 tensor is missing (a), 1 is new (c)
    VC211 2 tensors have another shape (b.{0..1}): (3,) became (4,)
    """
    if list(old.items()) == list(new.items()):
        return
    try:
        from deepdiff import DeepDiff
    except ModuleNotFoundError as error:
        raise lacking("saying how two layouts differ", error.name, "gate") from error
    # by default DeepDiff calls two dictionaries with few common names one changed value
    found = DeepDiff(_spec_rows(old), _spec_rows(new), view="tree", threshold_to_diff_deeper=0)
    gone, come = (_names(found, f"dictionary_item_{kind}") for kind in ("removed", "added"))
    parts = [f"{spell_count(len(gone), 'tensor', 'is', 'are')} missing ({_first_names(fold(gone))})"] * bool(gone)
    parts += [f"{len(come)} {'is' if len(come) == 1 else 'are'} new ({_first_names(fold(come))})"] * bool(come)
    if parts:
        yield Failure("VC111", ", ".join(parts), case, tuple(fold([*gone, *come])))
    # a path is the name of a tensor, then what of it changed
    paths = [(*row.path(output_format="list"), row) for row in found.get("values_changed", ())]
    for code, what in (("VC211", "shape"), ("VC212", "dtype")):
        changed = {name: row for name, attribute, row in paths if attribute == what}
        if changed:
            row = next(iter(changed.values()))
            names = tuple(fold(name for name in old if name in changed))
            message = f"{_some(len(changed))} another {what} ({_first_names(names)}): {row.t1} became {row.t2}"
            yield Failure(code, message, case, names)
    others = [mine for mine, theirs in zip(_common(old, new), _common(new, old), strict=True) if mine != theirs]
    if others:
        yield Failure("VC112", f"{_some(len(others))} another place, from {others[0]} on", case, tuple(fold(others)))


def _spec_rows(layout: Layout) -> dict[str, dict[str, str]]:
    return {name: {"shape": str(spec.shape), "dtype": spec.dtype} for name, spec in layout.items()}


def _names(found: Any, kind: str) -> list[str]:
    return [row.path(output_format="list")[0] for row in found.get(kind, ())]


def _some(count: int) -> str:
    return f"{count} tensors have" if count > 1 else "1 tensor has"


def _first_names(names: Sequence[str]) -> str:
    return ", ".join(map(printable, names[:3])) + (", ..." if len(names) > 3 else "")


def _common(layout: Layout, other: Layout) -> list[str]:
    return [name for name in layout if name in other]

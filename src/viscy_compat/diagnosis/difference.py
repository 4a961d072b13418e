"""How two checkpoints differ: names, shapes, dtypes, and whether their numbers are the same bytes. This is `diff`."""

from __future__ import annotations

import os
from bisect import bisect_left
from operator import itemgetter

from viscy_compat.annotations import Any, Iterator, Mapping
from viscy_compat.checkpoint import open_checkpoint
from viscy_compat.checkpoint.facts import Checkpoint, Storage, StoredTensor, View
from viscy_compat.checkpoint.limits import DEFAULT_LIMITS, Limits
from viscy_compat.checkpoint.tensor_bytes import TensorReader
from viscy_compat.checkpoint.wrapper import layout_of, views_of
from viscy_compat.findings import Finding, Report, html_of, line_of
from viscy_compat.layout import Differences, Mismatch, differences, fold, spell_count
from viscy_compat.named import NamedTuple
from viscy_compat.plans.streams import in_step, same_bytes


class FilePair(NamedTuple):
    """Two files that were compared, and what was found: a result of the report.

    Parameters
    ----------
    file, other : str
        The files.
    formats, prefixes : tuple[str, str]
        The format of each, and the wrapper prefix that was taken off.
    tensors : int
        How many both have, under the same name, shape and dtype.
    layout : Differences
        How the layout of the first differs from that of the other.
    numbers : tuple[str, ...]
        Tensors of the same name, shape and dtype whose bytes differ.
    """

    file: str
    other: str
    formats: tuple[str, str]
    prefixes: tuple[str, str]
    tensors: int
    layout: Differences
    numbers: tuple[str, ...]

    @property
    def title(self) -> str:
        """Both files."""
        return f"{self.file} and {self.other}"

    @property
    def exit_code(self) -> int:
        """0 where names, shapes, dtypes and bytes are equal; the order of tensors loads alike."""
        return int(bool(self.findings))

    @property
    def findings(self) -> tuple[Finding, ...]:
        """One for names, shapes and dtypes, and numbers, each."""
        findings = tuple(layout_findings(self.layout, self.file, self.other))
        if not self.numbers:
            return findings
        verb = "holds" if len(self.numbers) == 1 else "hold"
        message = f"{len(self.numbers)} of {spell_count(self.tensors, 'tensor')} {verb} other numbers"
        return (*findings, Finding("VC392", message, keys=tuple(fold(self.numbers))))

    def __repr__(self) -> str:
        return line_of(self, f"{spell_count(self.tensors, 'tensor')} in common")

    def _repr_html_(self) -> str:
        return html_of("diff", self)

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON has it."""
        return {
            "file": self.file,
            "other": self.other,
            "equal": not self.findings,
            "formats": list(self.formats),
            "prefixes": list(self.prefixes),
            "tensors": self.tensors,
            "missing": list(self.layout.missing),
            "unexpected": list(self.layout.unexpected),
            "reshaped": [_row(mismatch) for mismatch in self.layout.reshaped],
            "retyped": [_row(mismatch) for mismatch in self.layout.retyped],
            "reordered": bool(self.layout.reordered),
            "other_numbers": list(self.numbers),
            "findings": [finding.to_dict() for finding in self.findings],
        }


def _row(mismatch: Mismatch) -> dict[str, Any]:
    return {"name": mismatch.name, "here": str(mismatch.found), "there": str(mismatch.expected)}


def layout_findings(layout: Differences, file: str, other: str) -> Iterator[Finding]:
    """Yield what is to be said of two layouts that differ; their order alone is nothing."""
    for names, holder in ((layout.missing, other), (layout.unexpected, file)):
        if names:
            message = f"{spell_count(len(names), 'tensor', 'is', 'are')} only in {holder}"
            yield Finding("VC390", message, keys=tuple(fold(names)))
    mismatches = (*layout.reshaped, *layout.retyped)
    if mismatches:
        rows = tuple(f"{row.name}: {row.found} here, {row.expected} there" for row in mismatches)
        verb = "differs" if len(rows) == 1 else "differ"
        count = spell_count(len(rows), "tensor")
        yield Finding("VC391", f"{count} of the same name {verb} in shape or dtype", keys=rows)


def diff(
    path: str | os.PathLike[str],
    other: str | os.PathLike[str],
    *,
    state_dict: str | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Report[FilePair]:
    """Compare two checkpoints: names without wrapper prefixes, shapes, dtypes, and bytes, by streaming; without torch.

    Parameters
    ----------
    path, other : str or os.PathLike
        The files, of any format.
    state_dict : str, optional
        The address of the set of weights in both, where they hold several.

    Returns
    -------
    Report[FilePair]
        True where both hold the same tensors.

    Raises
    ------
    UnreadableCheckpoint
        Where one of them cannot be read.
    """
    here, there = (open_checkpoint(os.fspath(file), limits=limits, state_dict=state_dict) for file in (path, other))
    # the first view is the barest: a file with a prefix and one without are the same weights
    views = views_of(here)[0], views_of(there)[0]
    layouts = layout_of(here, views[0]), layout_of(there, views[1])
    common = [name for name, spec in layouts[0].items() if layouts[1].get(name) == spec]
    mine, theirs = _tensors_of_view(here, views[0]), _tensors_of_view(there, views[1])
    with TensorReader(here) as reader, TensorReader(there) as other_reader:
        pairs = {name: (mine[name], theirs[name]) for name in common}
        numbers = [*_apart(pairs, (reader, other_reader))]
    pair = FilePair(
        file=here.path,
        other=there.path,
        formats=(here.format, there.format),
        prefixes=(views[0].prefix, views[1].prefix),
        tensors=len(common),
        layout=differences(layouts[0], layouts[1]),
        numbers=tuple(numbers),
    )
    return Report("diff", [pair])


def _tensors_of_view(checkpoint: Checkpoint, view: View) -> dict[str, StoredTensor]:
    return {name: checkpoint.tensors[key] for name, key in view.keys.items() if key in checkpoint.tensors}


def _apart(
    pairs: Mapping[str, tuple[StoredTensor, StoredTensor]], readers: tuple[TensorReader, TensorReader]
) -> Iterator[str]:
    """Yield the names of tensors whose bytes differ; of each pair no more is read than up to the first difference.

    Where tensors overlap in a storage, the two storages are compared once, and their tensors by where those differ.
    """
    looked_at: dict[Storage, int] = {}
    for mine, _ in pairs.values():
        looked_at[mine.storage] = looked_at.get(mine.storage, 0) + mine.nbytes
    known: dict[tuple[Storage, Storage], list[tuple[int, int]]] = {}
    for name, (mine, theirs) in pairs.items():
        differ = None
        # the same places of storages of the same size: else a difference of the storages is none of these two
        sides = [(one.offset, one.stride, one.storage.nbytes, one.storage.byte_order) for one in (mine, theirs)]
        if looked_at[mine.storage] > mine.storage.nbytes and sides[0] == sides[1]:
            both = (mine.storage, theirs.storage)
            if both not in known:
                streams = (reader.storage_chunks(storage) for reader, storage in zip(readers, both, strict=True))
                known[both] = [*stretches_apart(*streams)]
            differ = _differ_within(known[both], mine)
        if differ or (differ is None and not same_bytes(readers[0].chunks(mine), readers[1].chunks(theirs))):
            yield name


def _differ_within(stretches: list[tuple[int, int]], tensor: StoredTensor) -> bool | None:
    """Say whether a tensor lies across a difference of two storages; None where only its own bytes tell."""
    steps = zip(tensor.spec.shape, tensor.stride, strict=True)
    first = tensor.offset * tensor.itemsize
    end = first + tensor.itemsize * (1 + sum((size - 1) * step for size, step in steps))
    place = bisect_left(stretches, first, key=itemgetter(1))
    if not tensor.nbytes or place == len(stretches) or stretches[place][0] >= end:
        return False
    # a stretch begins and ends with bytes that differ; what a strided tensor leaves out, and what lies within one, may not
    begin, last = stretches[place]
    return True if tensor.contiguous and (begin >= first or last < end) else None


def stretches_apart(mine: Iterator[bytes], theirs: Iterator[bytes]) -> Iterator[tuple[int, int]]:
    """Yield where two streams of the same length differ: the first and the last byte of each stretch, at most `_STRETCH` long.

    Examples
    --------
    >>> list(stretches_apart(iter([b"abcd", b"ef"]), iter([b"ab_", b"d_f"])))
    [(2, 2), (4, 4)]
    """
    count = 0
    for left, right in in_step(mine, theirs):
        for start in range(0, len(left), _STRETCH) if left != right else ():
            one, other = left[start : start + _STRETCH], right[start : start + _STRETCH]
            if one != other:
                begin, after = _equal_start(one, other), _equal_start(one[::-1], other[::-1])
                yield count + start + begin, count + start + len(one) - 1 - after
        count += len(left)


_STRETCH = 1 << 16
"""Bytes that are told apart by the first and the last one that differ: a tensor within them is compared by itself."""


def _equal_start(left: bytes, right: bytes) -> int:
    """Return how many bytes two texts that differ have in common, by halves: Python compares a byte at a time slowly."""
    low, high = 0, len(left)
    while high - low > 1:
        middle = (low + high) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle
    return low

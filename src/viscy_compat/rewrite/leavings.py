"""What is said about a new torch file: what torch's default would have refused, and what reads the file."""

from __future__ import annotations

from viscy_compat.annotations import Iterable, Iterator
from viscy_compat.findings import Finding
from viscy_compat.layout import fold, spell_count
from viscy_compat.operations import Operation
from viscy_compat.plans.drops import changing_drops
from viscy_compat.rewrite.admission import Admission

_MOST_NAMES = 4
"""Names in a sentence; the places in the finding's keys have the others."""
# said to users, never done here: whoever keeps classes needs to know what torch will ask of them
_KEEP = "--keep-classes keeps them as they were; torch.load and Lightning then need weights_only=False"


def about_admission(admission: Admission, out: str, *, keep_classes: bool) -> Iterator[Finding]:
    """Say what a new file lacks, or has in another form, or why ``torch.load`` does not read it by default."""
    omissions, simplifications = admission.omissions, admission.simplifications
    if keep_classes:
        names = tuple(dict.fromkeys((*admission.root, *(name for row in omissions for name in row.names))))
        if names:
            message = "torch.load's default (weights_only=True) refuses the new file, and so does Lightning's: it names"
            calls = (f"torch.load({out!r}, weights_only=False)", f"load_from_checkpoint({out!r}, weights_only=False)")
            fix = f"if you trust the file: {' or '.join(calls)}, or Trainer.fit(..., weights_only=False)"
            yield Finding("VC332", f"{message} {_some(names)}", keys=names, fix=fix)
        return
    if omissions:
        names = tuple(dict.fromkeys(name for row in omissions for name in row.names))
        message = f"{_count(len(omissions))} left out, since torch.load's default (weights_only=True) refuses"
        places = tuple(f"{row.place} ({_some(row.names)})" for row in omissions)
        yield Finding("VC330", f"{message} {_some(names)}", keys=places, fix=_KEEP)
    if simplifications:
        message = f"{_count(len(simplifications))} written in a plainer form, which torch.load's default reads"
        yield Finding(
            "VC331", message, keys=tuple(f"{row.place}: {row.form} of {row.name}" for row in simplifications), fix=_KEEP
        )


def about_drops(operations: Iterable[Operation]) -> Iterator[Finding]:
    """Say that a plan leaves out what computes something."""
    names = changing_drops(operations)
    if names:
        message = (
            f"changes predictions: {spell_count(len(names), 'tensor', 'that computes is', 'that compute are')} dropped"
        )
        yield Finding("VC124", message, keys=tuple(fold(names)), fix="compare outputs: --expect IO.safetensors")


def _count(count: int) -> str:
    return f"{count} entries are" if count > 1 else "an entry is"


def _some(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more

"""What `zoo` says, as a person reads it: a paragraph for each published checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from viscy_compat.findings import Report
from viscy_compat.report import Style
from viscy_compat.report.text_check import megabytes
from viscy_compat.stated import spelled

if TYPE_CHECKING:
    from viscy_compat.diagnosis.zoo import ZooEntry

_MARGIN = "  "


def render(report: Report, style: Style) -> str:
    """Return a paragraph for each entry; short ones, unless everything was asked for."""
    if style.quiet:
        return "\n".join(result.title for result in report.results)
    return "\n\n".join("\n".join(_paragraph(result, style)) for result in report.results)  # type: ignore[arg-type]


def _paragraph(entry: ZooEntry, style: Style) -> Iterator[str]:
    yield f"{style.paint(entry.nickname, 1)}  {entry.file}"
    yield f"{_MARGIN}{entry.class_name}, generation {entry.generation} (written by {entry.written_by})"
    yield f"{_MARGIN}{entry.tensors} tensors, {megabytes(entry.bytes)} of weights"
    if style.verbose:
        settings = "  ".join(f"{name}={spelled(value)}" for name, value in entry.config.items())
        yield _labelled("trained", settings, style)
        yield _labelled("open too", f"{', '.join(entry.harmless)} (the same predictions with any value)", style)
    yield _labelled("source", entry.source, style)
    if entry.url:
        yield _labelled("file", entry.url, style)
    for other in entry.contradicted_by:
        yield _labelled("but", f"this file is also said to be {other}: 'viscy-compat check' of the file decides", style)
    yield _labelled("needs", _needs(entry), style)
    yield _labelled("load it", entry.python, style)


def _needs(entry: ZooEntry) -> str:
    told = "  ".join(f"--set {name}={spelled(value)}" for name, value in entry.needs.items())
    first = "viscy-compat remap, because the names changed; " if entry.changes else ""
    return first + (f"{told}  (not in the weights)" if told else "nothing beyond its weights")


def _labelled(label: str, text: str, style: Style) -> str:
    return f"{_MARGIN}{style.paint(f'{label:<10}', 2)}{text}"

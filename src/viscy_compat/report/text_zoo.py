"""What `zoo` says, as a person reads it: a paragraph for each published checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from viscy_compat.findings import Report, Result
from viscy_compat.layout import spell_count
from viscy_compat.report.terminal import MARGIN, Style, labelled_lines, pasted_lines, sentence_lines, size
from viscy_compat.stated import spell

if TYPE_CHECKING:
    from viscy_compat.diagnosis.zoo import ZooEntry


def render(report: Report[Result], style: Style) -> str:
    """Return a paragraph for each entry; short ones, unless everything was asked for."""
    if style.quiet:
        return "\n".join(result.title for result in report.results)
    entries: Sequence[ZooEntry] = report.results  # type: ignore[assignment]
    paragraphs = []
    for entry in entries:
        about = f"{entry.class_name}, generation {entry.generation} (written by {entry.written_by})"
        lines = [f"{style.heading(entry.nickname)}  {entry.file}", *sentence_lines(about, style, first=MARGIN)]
        lines.append(f"{MARGIN}{spell_count(entry.tensors, 'tensor')}, {size(entry.bytes)} of weights")
        for label, text in _labels(entry, style).items():
            lines += labelled_lines(label, text, style)
        paragraphs.append("\n".join([*lines, *pasted_lines("load it", entry.python, style, language="python")]))
    return "\n\n".join(paragraphs)


def _labels(entry: ZooEntry, style: Style) -> dict[str, str]:
    """Return what is said behind a label; the configuration only where everything was asked for."""
    lines = {}
    if style.verbose:
        lines["class"] = entry.target
        lines["trained"] = "  ".join(f"{name}={spell(value)}" for name, value in entry.config.items())
        lines["open too"] = f"{', '.join(entry.harmless)} (the same predictions with any value)"
    lines["source"] = entry.source
    lines["file"] = entry.url
    others = " and ".join(entry.contradicted_by)
    lines["but"] = f"this file is also said to be {others}: 'viscy-compat check' of the file decides" if others else ""
    lines["needs"] = _needs(entry)
    return {label: text for label, text in lines.items() if text}


def _needs(entry: ZooEntry) -> str:
    settings = "  ".join(f"--set {name}={spell(value)}" for name, value in entry.needs.items())
    first = "viscy-compat remap, because the names changed; " if entry.changes else ""
    return first + (f"{settings}  (not in the weights)" if settings else "nothing beyond its weights")

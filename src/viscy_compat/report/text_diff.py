"""What `diff` says, as a person reads it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from viscy_compat.findings import Report, Result
from viscy_compat.layout import printable, spell_count
from viscy_compat.report.terminal import Style, finding_lines, labelled_lines

if TYPE_CHECKING:
    from viscy_compat.diagnosis.difference import FilePair


def render(report: Report[Result], style: Style) -> str:
    """Return a paragraph for each pair; a quiet one only where they differ."""
    pairs: Sequence[FilePair] = report.results  # type: ignore[assignment]
    paragraphs = []
    for pair in (pair for pair in pairs if pair.exit_code or not style.quiet):
        verdict = style.verdict("differs") if pair.exit_code else style.verdict("equal")
        lines = [f"{style.heading(pair.file)} and {style.heading(pair.other)}: {verdict}"]
        sides = zip(("A", "B"), (pair.file, pair.other), pair.formats, pair.prefixes, strict=True)
        for label, file, format, prefix in sides:
            below = f", names below {printable(prefix)}" if prefix else ""
            lines += labelled_lines(label, f"{printable(file)}: {format}{below}", style)
        same, count = pair.tensors - len(pair.numbers), spell_count(pair.tensors, "tensor")
        in_common = f"{count} of the same name, shape and dtype, {same} of them the same bytes"
        lines += labelled_lines("in common", in_common, style)
        if pair.layout.reordered:
            lines += labelled_lines("order", "the tensors stand in another order, and load alike", style)
        lines += (line for finding in pair.findings for line in finding_lines(finding, style))
        paragraphs.append("\n".join(lines))
    return "\n\n".join(paragraphs)

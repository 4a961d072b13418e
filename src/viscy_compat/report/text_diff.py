"""What `diff` says, as a person reads it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from viscy_compat.findings import Report, Result
from viscy_compat.layout import printable, spell_count
from viscy_compat.report.terminal import Style, finding_lines, labelled_lines

if TYPE_CHECKING:
    from viscy_compat.diagnosis.difference import FilePair


def render(report: Report[Result], style: Style) -> str:
    """Return a paragraph for each pair; a quiet one only where they differ."""
    visible = [pair for pair in report.results if pair.exit_code or not style.quiet]
    return "\n\n".join("\n".join(_pair_lines(pair, style)) for pair in visible)  # type: ignore[arg-type]


def _pair_lines(pair: FilePair, style: Style) -> Iterator[str]:
    verdict = style.verdict("differs") if pair.exit_code else style.verdict("equal")
    yield f"{style.heading(pair.file)} and {style.heading(pair.other)}: {verdict}"
    for label, file, format, prefix in zip(
        ("A", "B"), (pair.file, pair.other), pair.formats, pair.prefixes, strict=True
    ):
        below = f", names below {printable(prefix)}" if prefix else ""
        yield from labelled_lines(label, f"{printable(file)}: {format}{below}", style)
    same = pair.tensors - len(pair.numbers)
    in_common = (
        f"{spell_count(pair.tensors, 'tensor')} of the same name, shape and dtype, {same} of them the same bytes"
    )
    yield from labelled_lines("in common", in_common, style)
    if pair.layout.reordered:
        yield from labelled_lines("order", "the tensors stand in another order, and load alike", style)
    for finding in pair.findings:
        yield from finding_lines(finding, style)

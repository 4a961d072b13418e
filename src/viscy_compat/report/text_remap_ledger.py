"""What `remap --from-ledger` says: a line a file as it comes, and a table at the end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from viscy_compat.findings import Report, Result
from viscy_compat.fleet.remap_ledger import LedgerRemap
from viscy_compat.layout import printable, spell_count
from viscy_compat.report.terminal import Style, explained, size

_EXAMPLES = 2
"""As the summary of `audit` shows."""


def render(report: Report[Result], style: Style) -> str:
    """Return the lines and the table."""
    rows = cast("tuple[LedgerRemap, ...]", report.results)
    lines = [] if style.quiet else [remap_line(row, style) for row in rows]
    return "\n".join([*lines, *fortune_lines(rows, style)])


def remap_line(row: LedgerRemap, style: Style) -> str:
    """Return the line of one file.

    Examples
    --------
    >>> remap_line(LedgerRemap("a.ckpt", "written", "new/a.safetensors", 1_000), Style())
    'written   a.ckpt  new/a.safetensors'
    >>> remap_line(LedgerRemap("a.ckpt", "refused", message="the file exists", fix="--force replaces it"), Style())
    'refused   a.ckpt  the file exists; --force replaces it'
    """
    reason = "; ".join(text for text in (row.message, row.fix) if text)
    if row.fortune == "written":
        rest = f"{row.out}  {row.code}".rstrip()
    else:
        rest = f"{row.code}: {reason}" if row.code else reason
    word = style.tint(row.verdict if row.fortune != "written" else "written", f"{row.fortune:<8}")
    return f"{word}  {printable(row.file)}  {printable(rest)}"


def fortune_lines(rows: tuple[LedgerRemap, ...], style: Style) -> Iterator[str]:
    """Yield how many files were written, and how many were not, by the reason."""
    groups: dict[tuple[str, str], list[LedgerRemap]] = {}
    for row in rows:
        groups.setdefault((row.fortune, row.code), []).append(row)
    yield ""
    yield style.heading(f"{spell_count(len(rows), 'remappable file')}, {size(sum(row.size for row in rows))} written")
    for (fortune, code), members in sorted(groups.items(), key=lambda item: -len(item[1])):
        head = f"  {fortune:<8} {code:<6} {len(members):>8,}"
        yield from explained(head, len(head), code, (printable(row.file) for row in members[:_EXAMPLES]), style)

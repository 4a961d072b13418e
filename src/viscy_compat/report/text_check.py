"""What `check` says, as a person reads it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from viscy_compat.findings import EXIT_CODES, Finding, Report
from viscy_compat.layout import printable
from viscy_compat.report import Style
from viscy_compat.stated import spelled

if TYPE_CHECKING:
    from viscy_compat.checkpoint.facts import WeightsFacts
    from viscy_compat.diagnosis import CheckResult, Identity

_COLORS = {"compatible": 32, "remappable": 33, "incompatible": 31, "unknown": 35, "unreadable": 31}
_SEVERITY_COLORS = {"error": 31, "warning": 33, "note": 36}
_MARGIN = "  "


def render(report: Report, style: Style) -> str:
    """Return a paragraph for each file, and a summary where there are several."""
    results: list[CheckResult] = [*report.results]  # type: ignore[list-item]
    shown = [result for result in results if result.exit_code or result.uncertain or not style.quiet]
    lines = [line for result in shown for line in _brief(result, style)]
    paragraphs = ["\n".join(lines)] if lines else []
    paragraphs += ["\n".join(_paragraph(result, style)) for result in shown if not _brief(result, style)]
    if report.aside and not style.quiet:
        paragraphs.append("\n".join(_aside(report, style)))
    if len(report.results) > 1:
        paragraphs.append(summary(report, style))
    return "\n\n".join(paragraphs)


def _aside(report: Report, style: Style) -> Iterator[str]:
    """Yield a line for each file that was passed over."""
    for file, what in report.aside:
        yield f"{style.paint('aside', 2)} {printable(file)}: {printable(what)}"


def summary(report: Report, style: Style) -> str:
    """Return one line that counts the verdicts."""
    counts = dict.fromkeys(EXIT_CODES, 0)
    for result in report.results:
        counts[result.verdict] += 1  # type: ignore[attr-defined]
    told = [style.paint(f"{count} {verdict}", _COLORS[verdict]) for verdict, count in counts.items() if count]
    return f"{len(report.results)} checkpoints: {', '.join(told)}"


def _brief(result: CheckResult, style: Style) -> list[str]:
    """Return the one line of a quiet report on a file that loads, but whose predictions hang on what is not known."""
    if not style.quiet or result.exit_code or not result.uncertain:
        return []
    unknown = (
        [name for name, source in result.identity.sources.items() if source == "not known"] if result.identity else []
    )
    why = f"{', '.join(unknown)} not known" if unknown else "see the warnings"
    verdict = style.paint(result.verdict, 1, _COLORS[result.verdict])
    return [f"{style.paint(printable(result.file), 1)}: {verdict}, but predictions may differ: {why}"]


def _paragraph(result: CheckResult, style: Style) -> Iterator[str]:
    verdict = style.paint(result.verdict, 1, _COLORS[result.verdict])
    yield f"{style.paint(printable(result.file), 1)}: {verdict}"
    if result.identity:
        yield from _indented(_identity(result.identity, style))
    if result.format:
        yield _MARGIN + _file_line(result)
    if len(result.sets) > 1:
        yield from _indented(set_lines(result.sets, style))
    for finding in result.findings:
        if style.verbose or finding.severity != "note" or finding.fix or result.exit_code:
            yield from _finding(finding, style)
    if result.python:
        yield _MARGIN + style.paint("load it   ", 2) + result.python
    if result.next:
        yield _MARGIN + style.paint("next      ", 2) + result.next


def _identity(identity: Identity, style: Style) -> Iterator[str]:
    yield f"{identity.class_name}, generation {identity.generation} (written by {identity.written_by})"
    known = {name: identity.sources.get(name) != "not known" for name in identity.config}
    yield from wrapped(
        [f"{name}={spelled(value) if known[name] else '...'}" for name, value in identity.config.items()], style
    )
    yield from (style.paint("from      ", 2) + line for line in _sources(identity))
    if style.verbose:
        yield from (f"seen: {printable(line)}" for line in identity.evidence)


def _sources(identity: Identity) -> Iterator[str]:
    """Say which arguments come from elsewhere than the weights, a line for each source."""
    by_source: dict[str, list[str]] = {}
    for name, source in identity.sources.items():
        if source not in ("weights", "assumed", "follows", "not known"):
            by_source.setdefault(source, []).append(name)
    yield from (f"{printable(source)}: {', '.join(names)}" for source, names in by_source.items())


def _file_line(result: CheckResult) -> str:
    by = f", saved by {result.wrapper['kind'].capitalize()}" if result.wrapper.get("kind") == "lightning" else ""
    version = f" {printable(result.wrapper['version'])}" if by and result.wrapper.get("version") else ""
    prefix = f" under {printable(result.wrapper['prefix'])}*" if result.wrapper.get("prefix") else ""
    return f"{result.tensors} tensors, {megabytes(result.bytes)}, {result.format}{by}{version}{prefix}"


def set_lines(sets: Sequence[WeightsFacts], style: Style) -> Iterator[str]:
    """Yield a line for each set of weights in a file, the judged one first."""
    decided = any(row.chosen for row in sets)
    for row in sets:
        told = ", ".join(filter(None, [*_set_facts(row), _comparison(row)]))
        label = "judged" if row.chosen else "also" if decided else "set"
        why = f"; {row.why}" if row.why else ""
        yield f"{style.paint(f'{label:<10}', 2)}{shown_address(row.address)}: {told}{why}"


def shown_address(address: str) -> str:
    """Spell an address in a sentence; that of the top of a file is empty.

    Examples
    --------
    >>> shown_address("state_dict:ema."), shown_address("")
    ('state_dict:ema.', "''")
    """
    return printable(address) or "''"


def _set_facts(row: WeightsFacts) -> Iterator[str]:
    roles = {"averaged": "the averages", "in training": "the weights in training, from which a run goes on"}
    yield roles.get(row.role, "")
    yield f"{row.class_name} {row.generation}" if row.class_name else "of no known class"
    yield f"{row.tensors} tensors"


def _comparison(row: WeightsFacts) -> str:
    layout = {True: "same layout", False: "another layout", None: ""}[row.same_layout]
    held = {True: "the same bytes", False: "other numbers", None: ""}[row.same_bytes]
    return ", ".join(filter(None, (layout, held)))


def _finding(finding: Finding, style: Style) -> Iterator[str]:
    label = f"{finding.severity} {finding.code}"
    first, *rest = sentence(f"{label}: {printable(finding.message)}", style)
    yield _MARGIN + style.paint(label, _SEVERITY_COLORS[finding.severity]) + first[len(label) :]
    yield from (_MARGIN * 2 + line for line in rest)
    limit = len(finding.keys) if style.verbose else 5
    yield from (f"{_MARGIN * 2}{printable(key)}" for key in finding.keys[:limit])
    if len(finding.keys) > limit:
        yield f"{_MARGIN * 2}... and {len(finding.keys) - limit} more (-v shows all)"
    if finding.fix:
        yield f"{_MARGIN * 2}{style.paint('fix:', 2)} {printable(finding.fix)}"


def sentence(text: str, style: Style) -> list[str]:
    """Break a sentence into lines of a terminal; a pipe gets it whole, so that it can be searched.

    Examples
    --------
    >>> sentence("one two three", Style(width=20)), sentence("one two three", Style(terminal=True, width=12))
    (['one two three'], ['one two', 'three'])
    """
    lines = [""]
    for word in text.split(" "):
        if style.terminal and lines[-1] and len(lines[-1]) + len(word) > style.width - 2 * len(_MARGIN):
            lines.append(word)
        else:
            lines[-1] += f" {word}" if lines[-1] else word
    return lines


def wrapped(words: list[str], style: Style) -> Iterator[str]:
    """Lay out words in lines of the width of the terminal."""
    line = ""
    for word in words:
        if line and len(line) + len(word) + 2 > style.width - len(_MARGIN):
            yield line
            line = ""
        line += f"  {word}" if line else word
    yield line


def _indented(lines: Iterator[str]) -> Iterator[str]:
    return (_MARGIN + line for line in lines)


def megabytes(count: int) -> str:
    """Spell a number of bytes in decimal units.

    Examples
    --------
    >>> megabytes(114_063_360), megabytes(900), megabytes(3_100_000_000)
    ('114.1 MB', '900 bytes', '3.10 GB')
    """
    if count < 100_000:
        return f"{count} bytes"
    return f"{count / 1e6:.1f} MB" if count < 1e9 else f"{count / 1e9:.2f} GB"

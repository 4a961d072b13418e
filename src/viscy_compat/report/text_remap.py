"""What `remap` says, as a person reads it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from viscy_compat.findings import Finding, Report
from viscy_compat.layout import fold, printable
from viscy_compat.matching.patterns import NameIndex, folded
from viscy_compat.operations import Cast, Concat, Drop, Fill, Operation, Rename, Reshape, Split, Transpose
from viscy_compat.report import Style
from viscy_compat.report.text_check import megabytes, shown_address
from viscy_compat.report.text_check import render as render_check

if TYPE_CHECKING:
    from viscy_compat.plans.plan import Plan
    from viscy_compat.rewrite.remapping import RemapResult

_MARGIN = "  "
_SHORT = 12


def render(report: Report, style: Style) -> str:
    """Return a paragraph for each file."""
    shown = [result for result in report.results if not (style.quiet and _went_well(result))]  # type: ignore[arg-type]
    return "\n\n".join("\n".join(_paragraph(result, style)) for result in shown)  # type: ignore[arg-type]


def _went_well(result: RemapResult) -> bool:
    """Whether a file was written and nothing about it needs attention; a plan alone is what was asked for."""
    return result.written is not None and all(finding.severity == "note" for finding in result.findings)


def _paragraph(result: RemapResult, style: Style) -> Iterator[str]:
    if result.plan is None:
        yield f"{style.paint(printable(result.file), 1)}: {style.paint('no plan, nothing was written', 1, 31)}"
        if result.check:
            yield render_check(Report("check", [result.check]), style)
        return
    yield _headline(result, style)
    yield from _indented(_plan_lines(result.plan, style))
    yield from _indented(_set_lines(result, style))
    yield from _indented(_ground_lines(result, style))
    yield from (f"{_MARGIN}{style.paint('loses     ', 2)}{printable(line)}" for line in result.loses)
    if result.left_behind:
        yield f"{_MARGIN}{style.paint('left out  ', 2)}{printable(', '.join(fold(result.left_behind)))}"
    yield from _indented(_written_lines(result, style))
    yield from _indented(line for finding in result.findings for line in _finding(finding, style))
    if result.written is None:
        yield f"{_MARGIN}{style.paint('nothing was written', 2)}: add -o OUT, or --in-place"


def _headline(result: RemapResult, style: Style) -> str:
    name = style.paint(printable(result.file), 1)
    if result.written is None:
        return f"{name}: {style.paint('a total plan exists', 1, 32)}"
    return f"{name}: {style.paint('written', 1, 32)} to {style.paint(printable(result.written.path), 1)}"


def _plan_lines(plan: Plan, style: Style) -> Iterator[str]:
    source, target = plan.source, plan.target
    if target.class_name:
        same = source.generation == target.generation
        way = target.generation if same or not source.generation else f"{source.generation} to {target.generation}"
        yield f"{target.class_name}, {way}"
    kept = len(plan.operations) - len(plan.changes)
    yield f"plan      {', '.join([f'{kept} tensors as they are', *_counts(plan)])}"
    lines = [*plan.prefix_rows, *_change_lines(plan)]
    shown = lines if style.verbose or len(lines) <= _SHORT else lines[: _SHORT - 2]
    yield from (f"{_MARGIN}{printable(line)}" for line in shown)
    if len(shown) < len(lines):
        yield f"{_MARGIN}... and {len(lines) - len(shown)} more (-v shows all)"


def _set_lines(result: RemapResult, style: Style) -> Iterator[str]:
    """Yield which set of weights was remapped, and what becomes of each of the others."""
    if result.fates and result.state_dict is not None:
        moved = result.place and result.place != result.state_dict.partition(":")[0]
        told = f", written as {shown_address(result.place)}, which loaders take" if moved else ""
        yield f"{style.paint('set       ', 2)}{shown_address(result.state_dict)}{told}"
    for fate in result.fates:
        told = f"{shown_address(fate.row.address)}: {fate.outcome} ({printable(fate.why)})"
        yield f"{style.paint('also      ', 2)}{told}"


def _counts(plan: Plan) -> Iterator[str]:
    words = {Rename: "renamed", Fill: "filled", Drop: "dropped", Cast: "cast to float32"}
    for kind, word in words.items():
        if plan.count(kind):
            yield f"{plan.count(kind)} {word}"
    others = sum(not isinstance(row, tuple(words)) for row in plan.changes)
    if others:
        yield f"{others} reshaped"


def _change_lines(plan: Plan) -> Iterator[str]:
    """Yield a line for each change; those that say the same of several tensors share one."""
    renames = [(row.source, row.target) for row in plan.changes if isinstance(row, Rename)]
    yield from (f"{source} -> {target}" for source, target in folded(renames, NameIndex(plan.source.layout)))
    groups: dict[tuple[str, str], list[str]] = {}
    for row in plan.changes:
        if isinstance(row, Rename):
            continue
        name, rest = _said(row)
        groups.setdefault((type(row).__name__, rest), []).append(name)
    for (_, rest), names in groups.items():
        yield f"{', '.join(fold(names))} {rest}"


def _said(row: Operation) -> tuple[str, str]:
    """Return a tensor's name and what happens to it."""
    if isinstance(row, Fill):
        return row.target, f"= {row.value:.8g} ({row.reason})"
    if isinstance(row, Drop):
        return row.source, f"dropped: {row.reason}"
    if isinstance(row, Cast):
        return row.source, f"cast to {row.dtype}"
    if isinstance(row, Split):
        return row.source, f"-> {', '.join(row.targets)} (cut along axis {row.axis})"
    if isinstance(row, Concat):
        return ", ".join(row.sources), f"-> {row.target} (joined along axis {row.axis})"
    return row.source, f"-> {row.target}{_reshaping(row)}"


def _reshaping(row: Operation) -> str:
    if isinstance(row, Reshape):
        return f" as {row.shape}"
    return f" with axes {row.axes}" if isinstance(row, Transpose) else ""


def _ground_lines(result: RemapResult, style: Style) -> Iterator[str]:
    """Yield why the inferred pairs belong together: how many for each reason, in full where that was asked for."""
    groups: dict[str, list[str]] = {}
    for name, ground in result.grounds.items():
        groups.setdefault(ground, []).append(name)
    for ground, names in groups.items():
        yield f"{style.paint('why       ', 2)}{len(names)} tensors: {printable(ground)}"
        yield from (f"{_MARGIN * 2}{printable(name)}" for name in (fold(names) if style.verbose else ()))


def _written_lines(result: RemapResult, style: Style) -> Iterator[str]:
    if result.written:
        size = megabytes(result.written.size)
        yield f"{style.paint('wrote     ', 2)}{result.written.tensors} tensors, {size}; every byte compared"
        for name, original in result.written.tied.items():
            yield f"{style.paint('tied      ', 2)}{printable(name)} is {printable(original)}"
    for kind, path in result.files.items():
        yield f"{style.paint(f'{kind:<10}', 2)}{printable(path)}"
    for name, value in (result.proof or {}).items():
        if isinstance(value, dict):
            yield f"{style.paint('proven    ', 2)}{printable(name)}"
            yield from (f"{_MARGIN}{printable(output)}: {printable(told)}" for output, told in value.items())
        else:
            yield f"{style.paint(f'{name:<10}', 2)}{printable(str(value))}"


def _finding(finding: Finding, style: Style) -> Iterator[str]:
    if finding.severity != "note" or style.verbose:
        yield f"{finding.severity} {finding.code}: {printable(finding.message)}"
        shown = finding.keys if style.verbose else finding.keys[:_SHORT]
        yield from (f"{_MARGIN}{printable(key)}" for key in shown)
        if len(shown) < len(finding.keys):
            yield f"{_MARGIN}... and {len(finding.keys) - len(shown)} more (-v shows all)"
        if finding.fix:
            yield f"{_MARGIN}{style.paint('fix:', 2)} {printable(finding.fix)}"


def _indented(lines: Iterable[str]) -> Iterator[str]:
    return (_MARGIN + line for line in lines)

"""What `remap` says, as a person reads it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from viscy_compat.findings import Report, Result
from viscy_compat.layout import fold, printable, spell_count
from viscy_compat.matching.patterns import NameIndex, fold_rows
from viscy_compat.operations import Cast, Concat, Drop, Fill, Operation, Rename, Reshape, Split, Transpose
from viscy_compat.report.terminal import (
    MARGIN,
    Style,
    finding_lines,
    labelled_lines,
    pasted_lines,
    sentence_lines,
    shorten,
    size,
)
from viscy_compat.report.text_check import render as render_check
from viscy_compat.report.text_check import shown_address

if TYPE_CHECKING:
    from viscy_compat.plans.plan import Plan
    from viscy_compat.rewrite.remapping import RemapResult

_CHANGES = 10
"""So many changes of a plan show what it does; a real one has a row for each block, or two hundred."""


def render(report: Report[Result], style: Style) -> str:
    """Return a paragraph for each file."""
    results: Sequence[RemapResult] = report.results  # type: ignore[assignment]
    # quiet: a file that was written, and needs no attention; a plan alone is what was asked for
    visible = [
        result
        for result in results
        if not (style.quiet and result.written and all(finding.severity == "note" for finding in result.findings))
    ]
    return "\n\n".join("\n".join(_result_lines(result, style)) for result in visible)


def _result_lines(result: RemapResult, style: Style) -> Iterator[str]:
    if result.plan is None:
        yield f"{style.heading(result.file)}: {style.verdict('error', 'no plan, nothing was written')}"
        if result.check:
            yield render_check(Report("check", [result.check]), style)
        return
    yield _headline(result, style)
    yield from _plan_lines(result.plan, style)
    yield from _set_lines(result, style)
    yield from _ground_lines(result, style)
    for line in result.loses:
        yield from labelled_lines("loses", printable(line), style)
    if result.left_behind:
        yield from labelled_lines("left out", printable(", ".join(fold(result.left_behind))), style)
    yield from _written_lines(result, style)
    if result.expect:
        from viscy_compat.report.text_expect import agreement_lines

        yield from agreement_lines(result.expect, style)
    for finding in result.findings:
        if finding.severity != "note" or style.verbose:
            yield from finding_lines(finding, style)
    if result.written is None:
        yield f"{MARGIN}{style.paint('nothing was written', 'dim')}: add -o OUT, or --in-place"
    if result.next and (style.verbose or result.written is None):
        yield from pasted_lines("next", result.next, style, language="shell")


def _headline(result: RemapResult, style: Style) -> str:
    name = style.heading(result.file)
    if result.written is None:
        return f"{name}: {style.verdict('holds', 'a total plan exists')}"
    return f"{name}: {style.verdict('written')} to {style.heading(result.written.path)}"


def _plan_lines(plan: Plan, style: Style) -> Iterator[str]:
    source, target = plan.source, plan.target
    if target.class_name:
        same = source.generation == target.generation
        way = target.generation if same or not source.generation else f"{source.generation} to {target.generation}"
        yield f"{MARGIN}{target.class_name}, {way}"
    rest = len(plan.operations) - len(plan.changes)
    yield from labelled_lines("plan", ", ".join([f"{rest} tensors as they are", *_counts(plan)]), style)
    changes = [printable(line) for line in (*plan.prefix_rows, *change_lines(plan))]
    for line in shorten(changes, style, _CHANGES):
        yield from sentence_lines(line, style, first=MARGIN * 2, rest=MARGIN * 4)


def _set_lines(result: RemapResult, style: Style) -> Iterator[str]:
    """Yield which set of weights was remapped, and what becomes of each of the others."""
    if result.fates and result.state_dict is not None:
        elsewhere = result.place and result.place != result.state_dict.partition(":")[0]
        place = f", written as {shown_address(result.place)}, which loaders take" if elsewhere else ""
        yield from labelled_lines("set", f"{shown_address(result.state_dict)}{place}", style)
    for fate in result.fates:
        row = f"{shown_address(fate.row.address)}: {fate.outcome} ({printable(fate.why)})"
        yield from labelled_lines("also", row, style)


def _counts(plan: Plan) -> Iterator[str]:
    dtypes = sorted({row.dtype for row in plan.changes if isinstance(row, Cast)})
    words = {Rename: "renamed", Fill: "filled", Drop: "dropped", Cast: f"cast to {' and '.join(dtypes)}"}
    for kind, word in words.items():
        if plan.count(kind):
            yield f"{plan.count(kind)} {word}"
    others = sum(not isinstance(row, tuple(words)) for row in plan.changes)
    if others:
        yield f"{others} reshaped"


def change_lines(plan: Plan) -> Iterator[str]:
    """Yield a line for each change; those that say the same of several tensors share one."""
    renames = [(row.source, row.target) for row in plan.changes if isinstance(row, Rename)]
    yield from (f"{source} -> {target}" for source, target in fold_rows(renames, NameIndex(plan.source.layout)))
    groups: dict[tuple[str, str], list[str]] = {}
    for row in plan.changes:
        if isinstance(row, Rename):
            continue
        name, rest = _change(row)
        groups.setdefault((type(row).__name__, rest), []).append(name)
    for (_, rest), names in groups.items():
        yield f"{', '.join(fold(names))} {rest}"


def _change(row: Operation) -> tuple[str, str]:
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
    shape = f" as {row.shape}" if isinstance(row, Reshape) else ""
    return row.source, f"-> {row.target}{f' with axes {row.axes}' if isinstance(row, Transpose) else shape}"


def _ground_lines(result: RemapResult, style: Style) -> Iterator[str]:
    """Yield why the inferred pairs belong together: how many for each reason, in full where that was asked for."""
    groups: dict[str, list[str]] = {}
    for name, ground in result.grounds.items():
        groups.setdefault(ground, []).append(name)
    for ground, names in groups.items():
        yield from labelled_lines("why", f"{spell_count(len(names), 'tensor')}: {printable(ground)}", style)
        yield from (f"{MARGIN * 3}{printable(name)}" for name in (fold(names) if style.verbose else ()))


def _written_lines(result: RemapResult, style: Style) -> Iterator[str]:
    if result.written:
        count = f"{spell_count(result.written.tensors, 'tensor')}, {size(result.written.size)}; every byte compared"
        yield from labelled_lines("wrote", count, style)
        for name, original in result.written.tied.items():
            yield from labelled_lines("tied", f"{printable(name)} is {printable(original)}", style)
    for kind, path in result.files.items():
        yield from labelled_lines(kind, printable(path), style)
    for name, value in (result.proof if result.proof and not result.expect else {}).items():
        if isinstance(value, dict):
            yield from labelled_lines("proven", printable(name), style)
            for output, answer in value.items():
                yield from sentence_lines(f"{printable(output)}: {printable(answer)}", style, first=MARGIN * 2)
        else:
            yield from labelled_lines(name, printable(str(value)), style)

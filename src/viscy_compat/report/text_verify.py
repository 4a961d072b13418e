"""What `verify` says, as a person reads it: a line for each class, then what differs, then the conditions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from viscy_compat.findings import Finding, Report, Result
from viscy_compat.layout import printable
from viscy_compat.report import Style

_SEVERITY_COLORS = {"error": 31, "warning": 33, "note": 36}
_VERDICTS = (("equal", 32), ("differs", 31), ("undecided", 33))
_KEYS = 4


def render(report: Report, style: Style) -> str:
    """Return the headline, the classes, and under what conditions they were compared."""
    told = [result.to_dict() for result in report.results]
    blocks = [printable(report.headline)]
    shown = [result for result in report.results if result.exit_code or not style.quiet]
    blocks.append("\n".join(line for result in shown for line in _class(result, told, style)))
    if told and not style.quiet:
        blocks.append("\n".join(_conditions(told[0])))
    blocks.append(_summary(report, told, style))
    return "\n\n".join(block for block in blocks if block)


def _class(result: Result, all_told: list[dict[str, Any]], style: Style) -> Iterator[str]:
    told = result.to_dict()
    width = max(len(other["class"]) for other in all_told)
    verdict = style.paint(*_VERDICTS[result.exit_code])
    wanted = f", {_counted(len(told['accepted']), 'wanted difference')}" if told["accepted"] else ""
    yield f"{told['class']:<{width}}  {told['generation']:<5}  {told['configurations']:>3} cases  {verdict}{wanted}"
    for finding in result.findings:
        yield from _finding(finding, style)
    if style.verbose:
        yield from (f"  wanted: {row}" for row in told["accepted"])
        yield from (f"  {blob}  {printable(path)}" for path, blob in told["source"]["blobs"].items())


def _finding(finding: Finding, style: Style) -> Iterator[str]:
    label = style.paint(f"{finding.severity} {finding.code}", _SEVERITY_COLORS[finding.severity])
    yield f"  {label}: {printable(finding.message)}"
    shown = finding.keys if style.verbose else finding.keys[:_KEYS]
    yield from (f"    {printable(key)}" for key in shown)
    if len(finding.keys) > len(shown):
        yield f"    ... and {len(finding.keys) - len(shown)} more (-v shows all)"
    if finding.fix:
        yield f"    {style.paint('fix:', 2)} {printable(finding.fix)}"


def _conditions(told: dict[str, Any]) -> Iterator[str]:
    sides = ("old", "candidate") if len(told["conditions"]) > 1 else ("candidate",)
    lines = [_versions(conditions) for conditions in told["conditions"]]
    named = ["conditions"] if len(set(lines)) == 1 else [f"conditions, {side}" for side in sides]
    yield from (f"{name}: {line}" for name, line in zip(named, dict.fromkeys(lines), strict=True))
    kept = [", ".join(row for row in rows if " limit " not in row) for rows in told["isolation"]]
    yield from (f"isolation: {line}" for line in dict.fromkeys(kept))


def _versions(told: dict[str, Any]) -> str:
    stack = f"torch {told['torch']}, timm {told['timm']}, MONAI {told['monai']}, Python {told['python']}"
    return f"{stack}, {told['cpu']}, {told['threads']} thread"


def _summary(report: Report, told: list[dict[str, Any]], style: Style) -> str:
    cases = sum(result["configurations"] for result in told)
    differ = sum(result.exit_code == 1 for result in report.results)
    undecided = sum(result.exit_code == 2 for result in report.results)
    how = "within the tolerance of the references" if _recorded(told) else "byte for byte"
    if differ:
        return style.paint(f"{differ} of {len(told)} classes differ ({cases} cases)", 1, 31)
    if undecided:
        return style.paint(f"{undecided} of {len(told)} classes undecided ({cases} cases)", 1, 33)
    if report.interrupted:
        return style.paint(f"undecided: {_counted(len(told), 'class')} compared before the interrupt", 1, 33)
    if report.exit_code:
        return style.paint(f"undecided: {cases} cases agree with what was recorded, and nobody asked for that", 1, 33)
    return style.paint(f"{_counted(len(told), 'class')}, {_counted(cases, 'case')}: equal, {how}", 1, 32)


def _recorded(told: list[dict[str, Any]]) -> bool:
    return any(result["source"]["kind"] == "recorded" for result in told)


def _counted(count: int, noun: str) -> str:
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{count} {noun if count == 1 else plural}"

"""What `explore` says, as a person reads it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from viscy_compat.findings import Report
from viscy_compat.layout import printable
from viscy_compat.report import Style
from viscy_compat.report.text_check import wrapped
from viscy_compat.stated import spelled

if TYPE_CHECKING:
    from viscy_compat.architectures.asking import Answer
    from viscy_compat.proof.exploration import Exploration, Rows


def render(report: Report, style: Style) -> str:
    """Return a paragraph for each answer."""
    paragraphs = [_paragraph(result, style) for result in report.results if not (style.quiet and _holds(result))]
    headline = [report.headline] if report.headline else []
    return "\n\n".join([*headline, *("\n".join(lines) for lines in paragraphs)])


def _holds(result: Any) -> bool:
    """Whether a hunt found nothing; an answer or a map is what was asked for."""
    return not result.exit_code and not hasattr(result, "nearby") and not hasattr(result, "map")


def _paragraph(result: Any, style: Style) -> Iterator[str]:
    if hasattr(result, "nearby"):
        return _answer(result, style)
    if hasattr(result, "map"):
        return iter([f"{style.paint(result.title, 1)}: map written to {printable(result.path)}"])
    return _rows(result, style) if hasattr(result, "waivers") else _hunt(result, style)


def _rows(result: Rows, style: Style) -> Iterator[str]:
    verdict = style.paint("rows to mend", 1, 31) if result.findings else style.paint("in order", 1, 32)
    yield f"{style.paint(result.title, 1)}: {verdict}"
    for finding in result.findings:
        yield f"  {style.paint(f'error {finding.code}', 31)}: {printable(finding.message)}"
        yield f"    fix: {finding.fix}"


def _hunt(result: Exploration, style: Style) -> Iterator[str]:
    held = "every other law holds" if result.waived else "every law holds"
    verdict = style.paint("a law is broken", 1, 31) if result.broken else style.paint(held, 1, 32)
    yield f"{style.paint(result.name, 1)}: {verdict}"
    yield "  cases      " + "  ".join(f"{law} {count}" for law, count in result.cases.items())
    yield "  outcomes   " + "  ".join(f"{name} {count}" for name, count in sorted(result.outcomes.items()))
    if result.used:
        yield f"  met        {', '.join(result.used)}"
    for waiver, row in result.waived:
        yield f"  waived     {row.law}: {row.message}"
        yield f"             by {printable(str(waiver))}"
    for row in result.broken:
        yield f"  {style.paint('error VC510', 31)}: {row.law}: {row.message}"
        yield f"    the law: {row.says}"
        yield "    a script that shows it:"
        yield from (f"      {line}" for line in row.script.splitlines())


def _answer(answer: Answer, style: Style) -> Iterator[str]:
    outcome = answer.outcome
    verdict = style.paint(_verdict(answer), 1, 32 if outcome.exact else 31)
    yield f"{style.paint(answer.title, 1)}: {verdict}"
    settings = [f"{name}={spelled(value)}" for name, value in answer.config.items()]
    yield from (f"  {line}" for line in wrapped(settings, style))
    yield f"  input      {spelled(answer.input)}"
    yield from (f"  {name:<10} {spelled(shape)}" for name, shape in outcome.outputs.items())
    yield from (f"  lost       {loss.detail}" for loss in outcome.losses)
    if outcome.why:
        yield f"  why        {outcome.why}"
    if answer.nearby:
        yield "  exact nearby:"
        yield from (
            "    " + "  ".join(f"{name}={spelled(value)}" for name, value in row.items()) for row in answer.nearby
        )


def _verdict(answer: Answer) -> str:
    outcome = answer.outcome
    if not outcome.builds:
        return "does not build"
    if not outcome.runs:
        return "builds, but does not run"
    return "exact" if outcome.exact else "runs, but not exactly"

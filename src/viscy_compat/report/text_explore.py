"""What `explore` says, as a person reads it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, cast

from viscy_compat.findings import Report, Result
from viscy_compat.layout import printable
from viscy_compat.report.contents import answer_verdict
from viscy_compat.report.terminal import MARGIN, Style, finding_lines, labelled_lines, lay_out, sentence_lines
from viscy_compat.stated import spell

if TYPE_CHECKING:
    from viscy_compat.architectures.asking import Answer
    from viscy_compat.exploring.exploration import Exploration


def render(report: Report[Result], style: Style) -> str:
    """Return a paragraph for each answer."""
    # quiet: a hunt that found nothing is left out; an answer or a map is what was asked for
    visible = [
        result
        for result in report.results
        if not style.quiet or result.exit_code or hasattr(result, "nearby") or hasattr(result, "maps")
    ]
    paragraphs: list[Iterable[str]] = []
    for result in cast("list[Any]", visible):
        # by what they have: the records themselves are imported by whoever made them
        if hasattr(result, "nearby"):
            paragraphs.append(_answer(result, style))
        elif hasattr(result, "maps"):
            paragraphs.append([f"{style.heading(result.title)}: map written to {printable(result.path)}"])
        elif hasattr(result, "waivers"):
            verdict = style.verdict("error", "rows to mend") if result.findings else style.verdict("in order")
            lines = (line for finding in result.findings for line in finding_lines(finding, style))
            paragraphs.append([f"{style.heading(result.title)}: {verdict}", *lines])
        else:
            paragraphs.append(_hunt(result, style))
    headline = ["\n".join(sentence_lines(report.headline, style, rest=""))] if report.headline else []
    return "\n\n".join([*headline, *("\n".join(lines) for lines in paragraphs)])


def _hunt(result: Exploration, style: Style) -> Iterator[str]:
    words = "every other law holds" if result.waived else "every law holds"
    verdict = style.verdict("error", "a law is broken") if result.broken else style.verdict("holds", words)
    yield f"{style.heading(result.name)}: {verdict}"
    counts = {"cases": result.cases.items(), "outcomes": sorted(result.outcomes.items())}
    for what, pairs in counts.items():
        yield from labelled_lines(what, "  ".join(f"{name} {count}" for name, count in pairs), style)
    if result.used:
        yield from labelled_lines("met", ", ".join(result.used), style)
    for waiver, row in result.waived:
        yield from labelled_lines("waived", f"{row.law}: {row.message}, by {printable(str(waiver))}", style)
    label = "error VC510"
    for row in result.broken:
        first, *rest = sentence_lines(f"{label}: {row.law}: {row.message}", style, first=MARGIN)
        yield first.replace(label, style.tint("error", label), 1)
        yield from rest
        yield from sentence_lines(f"the law: {row.says}", style, first=MARGIN * 2)
        # a script is pasted: its lines are not broken, however narrow the terminal
        yield f"{MARGIN * 2}a script that shows it:"
        yield from (f"{MARGIN * 3}{line}" for line in row.script.splitlines())


def _answer(answer: Answer, style: Style) -> Iterator[str]:
    outcome = answer.outcome
    verdict = style.verdict("exact" if outcome.exact else "error", answer_verdict(answer.to_dict()))
    yield f"{style.heading(answer.title)}: {verdict}"
    yield from lay_out((f"{name}={spell(value)}" for name, value in answer.config.items()), style)
    yield from labelled_lines("input", spell(answer.input), style)
    for name, shape in outcome.outputs.items():
        yield from labelled_lines(name, spell(shape), style)
    for loss in outcome.losses:
        yield from labelled_lines("lost", loss.detail, style)
    if outcome.runs and not outcome.trains:
        yield from labelled_lines("but", "a forward pass in train mode fails", style)
    if outcome.why:
        yield from labelled_lines("why", outcome.why, style)
    if answer.nearby:
        yield f"{MARGIN}exact nearby:"
    for row in answer.nearby:
        yield from lay_out((f"{name}={spell(value)}" for name, value in row.items()), style, margin=MARGIN * 2)

"""What `check` says, as a person reads it."""

from __future__ import annotations

from viscy_compat.annotations import TYPE_CHECKING, Iterator, Mapping, Sequence
from viscy_compat.findings import EXIT_CODES, Report, Result
from viscy_compat.layout import printable, spell_count
from viscy_compat.report.terminal import (
    MARGIN,
    Style,
    finding_lines,
    labelled_lines,
    lay_out,
    pasted_lines,
    sentence_lines,
    size,
)
from viscy_compat.stated import spell

if TYPE_CHECKING:
    from viscy_compat.checkpoint.facts import WeightsFacts
    from viscy_compat.diagnosis import CheckResult, Identity


def render(report: Report[Result], style: Style) -> str:
    """Return all of it as one text."""
    return "\n\n".join(paragraphs(report, style))


def paragraphs(report: Report[Result], style: Style) -> Iterator[str]:
    """Yield a paragraph for each file, and a summary where there are several."""
    results: Sequence[CheckResult] = report.results  # type: ignore[assignment]
    visible = [result for result in results if result.exit_code or result.uncertain or not style.quiet]
    lines = [line for result in visible for line in _brief(result, style)]
    if lines:
        yield "\n".join(lines)
    yield from (paragraph(result, style) for result in visible if not _brief(result, style))
    if report.aside and not style.quiet:
        lines = []
        for row in report.aside:
            first, *rest = sentence_lines(f"aside {printable(row.file)}: {printable(row.what)}", style)
            lines += [first.replace("aside", style.paint("aside", "dim"), 1), *rest]
        yield "\n".join(lines)
    if len(results) > 1:
        yield summary(report, style)


def paragraph(result: CheckResult, style: Style) -> str:
    """Return what is said of one file."""
    return "\n".join(_file_lines(result, style))


def summary(report: Report[Result], style: Style) -> str:
    """Return one line that counts the verdicts."""
    verdicts = [result.verdict for result in report.results]  # type: ignore[attr-defined]
    counts = [style.tint(word, f"{verdicts.count(word)} {word}") for word in EXIT_CODES if word in verdicts]
    return f"{spell_count(len(verdicts), 'checkpoint')}: {', '.join(counts)}"


def _brief(result: CheckResult, style: Style) -> list[str]:
    """Return the one line of a quiet report on a file that loads, but whose predictions hang on what is not known."""
    if not style.quiet or result.exit_code or not result.uncertain:
        return []
    sources = result.identity.sources if result.identity else {}
    unknown = [name for name, source in sources.items() if source == "not known"]
    why = f"{', '.join(unknown)} not known" if unknown else "see the warnings"
    return [f"{style.heading(result.file)}: {style.verdict(result.verdict)}, but predictions may differ: {why}"]


def _file_lines(result: CheckResult, style: Style) -> Iterator[str]:
    yield f"{style.heading(result.file)}: {style.verdict(result.verdict)}"
    if result.identity:
        yield from identity_lines(result.identity, style)
    if result.against:
        yield from labelled_lines("against", printable(result.against), style)
    if result.format:
        weights = container(result.format, result.wrapper, result.tensors, result.bytes)
        yield from sentence_lines(printable(weights), style, first=MARGIN)
    if len(result.sets) > 1:
        yield from set_lines(result.sets, style)
    if result.expect:
        from viscy_compat.report.text_expect import agreement_lines

        yield from agreement_lines(result.expect, style)
    for finding in result.findings:
        # a note that changes nothing about loading would stand between the reader and what does
        if style.verbose or finding.severity != "note" or finding.fix or result.exit_code:
            yield from finding_lines(finding, style)
    if result.ignored:
        yield from labelled_lines("ignored", ", ".join(result.ignored), style)
    if result.python:
        yield from pasted_lines("load it", result.python, style, language="python")
    if result.next:
        yield from pasted_lines("next", result.next, style, language="shell")


def identity_lines(identity: Identity, style: Style) -> Iterator[str]:
    """Yield class, generation and configuration, with what is known from elsewhere than the weights."""
    heading = f"{identity.class_name}, generation {identity.generation} (written by {identity.written_by})"
    yield from sentence_lines(heading, style, first=MARGIN)
    sources = identity.sources
    # what nobody knows is left to fill in: a value that merely fits would be pasted as if it were known
    values = {
        name: "..." if sources.get(name) == "not known" else spell(value) for name, value in identity.config.items()
    }
    yield from lay_out((f"{name}={value}" for name, value in values.items()), style)
    for source, names in arguments_by_source(identity).items():
        if style.verbose or source not in ("weights", "assumed", "follows", "not known"):
            yield from labelled_lines("from", f"{printable(source)}: {', '.join(names)}", style)
    if style.verbose:
        yield from labelled_lines("class", identity.target, style)
        yield from (line for trace in identity.evidence for line in labelled_lines("seen", printable(trace), style))


def arguments_by_source(identity: Identity) -> dict[str, list[str]]:
    """Return which arguments come from where."""
    names: dict[str, list[str]] = {}
    for name, source in identity.sources.items():
        names.setdefault(source, []).append(name)
    return names


def container(format: str, wrapper: Mapping[str, str], tensors: int, nbytes: int) -> str:
    """Say what a file holds, how it is written, and by whom; what stands in the file is not escaped yet.

    Examples
    --------
    >>> container("torch-zip", {"kind": "lightning", "version": "2.6.6", "prefix": "model."}, 2, 900)
    '2 tensors, 900 bytes, torch-zip, saved by Lightning 2.6.6 under model.*'
    """
    by = f", saved by {wrapper['kind'].capitalize()}" if wrapper.get("kind") == "lightning" else ""
    version = f" {wrapper['version']}" if by and wrapper.get("version") else ""
    prefix = f" under {wrapper['prefix']}*" if wrapper.get("prefix") else ""
    return f"{spell_count(tensors, 'tensor')}, {size(nbytes)}, {format}{by}{version}{prefix}"


def set_lines(sets: Sequence[WeightsFacts], style: Style) -> Iterator[str]:
    """Yield a line for each set of weights in a file, the judged one first."""
    has_choice = any(row.chosen for row in sets)
    for row in sets:
        label = "judged" if row.chosen else "also" if has_choice else "set"
        facts = ", ".join(filter(None, [*set_facts(row)]))
        why = f"; {row.why}" if row.why else ""
        yield from labelled_lines(label, f"{shown_address(row.address)}: {facts}{why}", style)


def shown_address(address: str) -> str:
    """Spell an address in a sentence; that of the top of a file is empty.

    Examples
    --------
    >>> shown_address("state_dict:ema."), shown_address("")
    ('state_dict:ema.', "''")
    """
    return printable(address) or "''"


def set_facts(row: WeightsFacts) -> Iterator[str]:
    """Yield what a set of weights is, and how it compares with the judged one; some are empty."""
    roles = {"averaged": "the averages", "in training": "the weights in training, from which a run goes on"}
    yield roles.get(row.role, "")
    yield f"{row.class_name} {row.generation}" if row.class_name else "of no known class"
    yield spell_count(row.tensors, "tensor") + (f", {size(row.bytes)}" if row.bytes else "")
    yield {True: "same layout", False: "another layout", None: ""}[row.same_layout]
    yield {True: "the same bytes", False: "other numbers", None: ""}[row.same_bytes]

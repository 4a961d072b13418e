"""The report as GitHub workflow commands: an annotation for each finding, and the verdict as the last line.

Every line is a command of ours or made of our own words, and everything else is escaped: what a checkpoint names can
neither end a command nor begin one. `summary` is what belongs into the file that ``GITHUB_STEP_SUMMARY`` names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from viscy_compat.findings import Report, Result, Severity
from viscy_compat.layout import printable
from viscy_compat.report.markdown import pieces as markdown
from viscy_compat.report.page import Message, Section, first_of, page_of
from viscy_compat.report.runners import spelled_out
from viscy_compat.report.terminal import Style

COMMANDS: dict[Severity, str] = {"error": "error", "warning": "warning", "note": "notice"}

SHOWN = 10
"""GitHub shows this many annotations of each kind for a step and drops the rest in silence."""

KEYS = 6
SUMMARY_BYTES = 1024 * 1024
"""GitHub refuses a longer job summary whole."""


def pieces(report: Report[Result], style: Style) -> Iterator[str]:
    """Yield the workflow commands."""
    page = page_of(report)
    counts: Counter[Severity] = Counter()
    for section in page.sections:
        is_answer = section.is_answer and not section.exit_code
        answer = (Message("", "note", section.exhibits.sentence),) if is_answer else ()
        for message in (*section.messages, *answer):
            counts[message.severity] += 1
            # the last place is for the line that says how many more there are
            if counts[message.severity] < SHOWN:
                yield f"{spelled_out(_annotation(section, message))}\n"
    for severity, count in counts.items():
        if count >= SHOWN:
            more = f"{count - SHOWN + 1} more of this kind; the job summary has all"
            yield f"::{COMMANDS[severity]} title=viscy-compat::{more}\n"
    yield spelled_out(printable(f"{page.title}: {page.verdict}. {page.sentence}"))


def summary(report: Report[Result]) -> str:
    """Return the job summary: the report as Markdown, cut where GitHub would refuse it."""
    whole = ""
    for piece in markdown(report, Style()):
        whole += piece
        # no letter has less than a byte: the rest of a long report need not even be made
        if len(whole) >= SUMMARY_BYTES:
            break
    if len(whole.encode()) < SUMMARY_BYTES:
        return whole
    note = "\n\nThe rest was left out: a job summary holds 1 MiB."
    part = whole.encode()[: SUMMARY_BYTES - len(note) - 1].decode(errors="ignore")
    return part.rpartition("\n\n")[0] + note


def data(words: str) -> str:
    """Escape the message of a command.

    Examples
    --------
    >>> data("100%\\n::error::x")
    '100%25%0A::error::x'
    """
    return words.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def attribute(words: str) -> str:
    """Escape the value of an attribute of a command.

    Examples
    --------
    >>> attribute("a:b,c")
    'a%3Ab%2Cc'
    """
    return data(words).replace(":", "%3A").replace(",", "%2C")


def _annotation(section: Section, message: Message) -> str:
    title = f"{message.code} {section.title}".strip()
    attributes = [f"title={attribute(printable(title))}"]
    if section.file:
        attributes.insert(0, f"file={attribute(printable(section.file))}")
    keys, more = first_of(message.keys, limit=KEYS)
    names = ", ".join(map(printable, keys)) + (f" and {more} more" if more else "")
    lines = [message.message, names, f"Fix: {message.fix}" if message.fix else ""]
    words = "\n".join(printable(line) for line in lines if line)
    return f"::{COMMANDS[message.severity]} {','.join(attributes)}::{data(words)}"

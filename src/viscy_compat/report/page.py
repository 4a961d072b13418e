"""What every document-like renderer starts from: a report with its verdict, its sections, and what they show."""

from __future__ import annotations

from viscy_compat.annotations import Callable, Iterator
from viscy_compat.exhibits import MARKS, Exhibits
from viscy_compat.findings import EXIT_CODES, Report, Result, Severity
from viscy_compat.layout import spell_count
from viscy_compat.named import NamedTuple
from viscy_compat.report.contents import Data, contents_of, verdict_of

WORDS = {code: word for word, code in MARKS.items()}


class Message(NamedTuple):
    """A finding as documents show it. Without a code where a result did not hold and named no finding."""

    code: str
    severity: Severity
    message: str
    keys: tuple[str, ...] = ()
    fix: str = ""


class Section(NamedTuple):
    """One result: what it is about, how it went, and what there is to see.

    ``kind`` says in two words what it is (class and generation); ``file`` is the checkpoint that it is about, or empty;
    ``group`` is the stage or command that made it, ``about`` the class; ``lead`` names the first module in which old and
    new differ, where the result knows it; ``next`` is the command that comes next. ``is_answer``: it was asked for, so
    that formats made of findings say it too.
    """

    title: str
    verdict: str
    exit_code: int
    messages: tuple[Message, ...]
    exhibits: Exhibits
    kind: str
    file: str
    group: str
    about: str
    lead: str
    next: str
    is_listed: bool = False
    is_answer: bool = False


class Heading(NamedTuple):
    """What a list of results says of one: the part of its section that costs next to nothing."""

    title: str
    verdict: str
    exit_code: int
    kind: str
    codes: tuple[str, ...]
    group: str
    about: str
    is_listed: bool


class Sections:
    """The sections of a report, each made when its turn comes: those of a thousand files are a hundred megabytes."""

    __slots__ = ("_change", "_command", "_only", "_results", "headings")

    def __init__(self, report: Report[Result]) -> None:
        self._command, self._results = report.command, report.results
        self._change: Callable[[Section], Section] | None = None
        self.headings = tuple(_heading(result, report.command) for result in report.results)
        # an only one is asked for twice: what it is about stands in the head of the page too
        self._only = _section(self._results[0], self.headings[0], report.command) if len(self) == 1 else None

    def __len__(self) -> int:
        return len(self._results)

    def __iter__(self) -> Iterator[Section]:
        return (section for _, section in self.where(lambda heading: True))

    def where(self, holds: Callable[[Heading], bool]) -> Iterator[tuple[int, Section]]:
        """Yield the sections of some headings, with their places in the report."""
        for number, (heading, result) in enumerate(zip(self.headings, self._results, strict=True)):
            if holds(heading):
                section = self._only or _section(result, heading, self._command)
                yield number, self._change(section) if self._change else section

    def changed_by(self, change: Callable[[Section], Section]) -> Sections:
        """Have each section changed when its turn comes."""
        self._change = change
        return self


class Page(NamedTuple):
    """A whole report, verdict first; a list (`zoo`, `explain`) has none.

    ``verdict`` is the word for the exit code; ``word`` the worst verdict, where the results have some of their own.
    """

    title: str
    verdict: str
    word: str
    sentence: str
    headline: str
    exit_code: int
    sections: Sections
    exhibits: Exhibits
    is_list: bool = False


def page_of(report: Report[Result]) -> Page:
    """Return the page of a report."""
    sections = Sections(report)
    return Page(
        title=f"viscy-compat {_SPELLED.get(report.command, report.command)}",
        verdict=WORDS[report.exit_code],
        word=_word(report),
        sentence=sentence(report, sections),
        headline=headline_of(report),
        exit_code=report.exit_code,
        sections=sections,
        exhibits=report.exhibits or Exhibits(),
        is_list=report.command in _LISTS and not report.exit_code,
    )


def _word(report: Report[Result]) -> str:
    """Return the word that a page begins with: the worst verdict of `check`, what `remap` did, or that of the exit code."""
    # `holds` would leave open whether a file was written
    if report.command == "remap" and not report.exit_code:
        return "written" if any(getattr(result, "written", None) for result in report.results) else "planned"
    return (report.verdict if report.command == "check" else None) or WORDS[report.exit_code]


def headline_of(report: Report[Result]) -> str:
    """Return the headline; that of a run which did not come to its end begins with that.

    Examples
    --------
    >>> headline_of(Report("check", (), headline="of two files", interrupted=True))
    'interrupted, and this is what was known by then: of two files'
    """
    if not report.interrupted:
        return report.headline
    return "interrupted, and this is what was known by then" + (f": {report.headline}" if report.headline else "")


_LISTS = {
    "zoo": "{} published: what they need is listed here, and none of them was read",
    "inspect": "{} read; whether it loads into a class is what check says",
    "explain": "{}",
}
_NOUNS_OF_VERDICTS = {"check": "checkpoint", "audit": "file", "remap_ledger": "remappable file"}
"""What commands count whose results have verdicts of their own."""

_SPELLED = {"remap_ledger": "remap --from-ledger"}
"""Commands whose name in reports is not what is typed."""

_NOUNS = {"zoo": "checkpoint", "inspect": "file", "explain": "finding code"}
"""What commands list that judge nothing."""

_SPEAK_FOR_THEMSELVES = ("check", "completion", "explore", "inspect", "diff", "record", "remap", "verify")
"""Commands whose only result says in its sentence how the whole went."""


def sentence(report: Report[Result], sections: Sections | None = None) -> str:
    """Say in one sentence how a report went.

    Examples
    --------
    >>> sentence(Report("check", ()))
    'Nothing was looked at.'
    """
    codes = [result.exit_code for result in report.results]
    if not codes:
        return "Nothing was looked at."
    if sections and len(sections) == 1 and report.command in _SPEAK_FOR_THEMSELVES and not report.interrupted:
        doubt = " The run itself is in doubt." if report.exit_code > codes[0] else ""
        (only,) = sections
        return (only.exhibits.sentence or f"{only.title}: {only.verdict}.") + doubt
    if report.command == "doctor":
        return _stopped(report)
    if report.command in _LISTS and not any(codes):
        return _LISTS[report.command].format(spell_count(len(codes), _NOUNS[report.command])) + "."
    if sections and len(sections) > 1 and report.command in _NOUNS_OF_VERDICTS:
        words = [heading.verdict for heading in sections.headings]
        counts_of = (
            f"{words.count(word)} {word}" for word in (*EXIT_CODES, "written", "refused", "changed") if word in words
        )
        return f"{spell_count(len(words), _NOUNS_OF_VERDICTS[report.command])}: {', '.join(counts_of)}."
    counts = [
        (codes.count(1), "with findings"),
        (codes.count(2), f"could not be {'read' if report.command == 'inspect' else 'decided'}"),
    ]
    parts = [f"{count} of {len(codes)} {what}" for count, what in counts if count]
    if not parts and report.interrupted:
        return f"{len(codes)} held before the run was interrupted."
    if not parts and report.exit_code:
        return f"All {len(codes)} hold, but the run itself is in doubt."
    whole = ", ".join(_besides(report)) or (f"All {len(codes)} hold" if len(codes) > 1 else "It holds")
    return (", ".join(parts) or whole) + "."


def _stopped(report: Report[Result]) -> str:
    """Say which commands would not run, those among them that nobody asked for."""
    rows = [(result.title, result.to_dict()) for result in report.results]
    stopped = [title for title, data in rows if not data.get("ready", True)]
    broken = [title for title, data in rows if "ready" not in data and data["findings"]]
    parts = [f"Stopped here: {', '.join(stopped)}" if stopped else "Every command that was looked at is ready", *broken]
    return f"{'; broken: '.join(parts)}."


def _besides(report: Report[Result]) -> list[str]:
    """Say how many hold where some were waived or left out, which is not the same; nothing where there is none."""
    words = [str(getattr(result, "verdict", "")) for result in report.results]
    others = [f"{words.count(word)} {word}" for word in ("waived", "left out") if word in words]
    return [f"{len(words) - sum(map(words.count, ('waived', 'left out')))} of {len(words)} hold", *others] * bool(
        others
    )


def first_of(keys: tuple[str, ...], *, limit: int | None) -> tuple[tuple[str, ...], int]:
    """Return the first keys, and how many are left out.

    Examples
    --------
    >>> first_of(("a", "b", "c"), limit=2), first_of(("a", "b"), limit=None)
    ((('a', 'b'), 1), (('a', 'b'), 0))
    """
    first = keys if limit is None else keys[:limit]
    return first, len(keys) - len(first)


def _heading(result: Result, command: str) -> Heading:
    data = result.to_dict()
    return Heading(
        title=result.title,
        verdict=verdict_of(result, command, data) or WORDS[result.exit_code],
        exit_code=result.exit_code,
        kind=_kind(data),
        codes=(*dict.fromkeys(finding.code for finding in result.findings if finding.code),),
        group=str(data.get("stage", "")).strip() or command,
        about=str(data.get("class", "")),
        is_listed=command in _LISTS and not result.exit_code,
    )


def _section(result: Result, heading: Heading, command: str) -> Section:
    data = result.to_dict()
    contents = contents_of(result, command, data)
    return Section(
        title=heading.title,
        verdict=heading.verdict,
        exit_code=heading.exit_code,
        messages=_messages(result, contents),
        exhibits=contents,
        kind=heading.kind,
        file=str(data.get("file", "")),
        group=heading.group,
        about=heading.about,
        lead=_first_diverging(contents),
        next=str(data.get("next", "")),
        is_listed=heading.is_listed,
        is_answer=bool(contents.sentence) and command in (*_LISTS, "explore", "diff"),
    )


def _kind(data: Data) -> str:
    identity = data.get("architecture") or data
    return " ".join(str(identity[name]) for name in ("class", "generation") if identity.get(name))


def _first_diverging(exhibits: Exhibits) -> str:
    modules = (
        row[table.columns.index("module")]
        for table in exhibits.tables
        if "module" in table.columns
        for row in table.rows
    )
    first = next((name for name in modules if name not in ("", "-")), "")
    return f"First diverging module: {first}" if first else ""


def _messages(result: Result, contents: Exhibits) -> tuple[Message, ...]:
    """Say at least one thing about a result that did not hold: a failure without a word would be lost."""
    messages = tuple(
        Message(row.code, row.severity, message=row.message, keys=row.keys, fix=row.fix) for row in result.findings
    )
    if result.exit_code and not any(message.severity == "error" for message in messages):
        words = contents.sentence or WORDS[result.exit_code]
        return (Message("", "error", f"{result.title}: {words}"), *messages)
    return messages

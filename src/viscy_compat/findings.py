"""Findings, verdicts and reports: what the judging rooms hand to the speaking ones.

The catalogue of finding codes is data, in ``catalogue.txt``. A code never changes its meaning; a new meaning gets a new
code.
"""

from __future__ import annotations

import os

from viscy_compat.annotations import (
    TYPE_CHECKING,
    Any,
    Generic,
    Iterable,
    Iterator,
    Literal,
    Mapping,
    Protocol,
    Sequence,
    TypeVar,
    import_module,
)
from viscy_compat.errors import UsageError
from viscy_compat.layout import printable
from viscy_compat.named import NamedTuple
from viscy_compat.version import __version__

if TYPE_CHECKING:
    from viscy_compat.exhibits import Exhibits

Severity = Literal["error", "warning", "note"]
Verdict = Literal["compatible", "remappable", "incompatible", "unknown", "unreadable"]

EXIT_CODES: dict[Verdict, int] = {"compatible": 0, "remappable": 1, "incompatible": 1, "unknown": 2, "unreadable": 2}
"""The worst of all files counts; 2 is worse than 1, since nobody knows what is behind it."""


class Code(NamedTuple):
    """One entry of the catalogue: what a code means, and what a reader can do about it.

    ``predictions``: a finding of this code says that predictions may be other ones than those of the model that was
    trained, so that ``--strict`` does not let it pass. ``remap_cures``: what it says is true no more of the file that a
    remap writes.
    """

    id: str
    severity: Severity
    title: str
    meaning: str
    remedy: str
    predictions: bool = False
    remap_cures: bool = False


class Catalogue(Mapping[str, Code]):
    """Every finding code, out of ``catalogue.txt``: each is taken apart when it is looked up, since a file needs a few.

    Examples
    --------
    >>> CATALOGUE["VC101"].severity, CATALOGUE["VC105"].remap_cures, "VC999" in CATALOGUE
    ('error', True, False)
    """

    __slots__ = ("_codes", "_records")

    def __init__(self) -> None:
        self._codes: dict[str, Code] = {}
        self._records: dict[str, str] = {}

    def _read(self) -> dict[str, str]:
        """Return the text of each code's record."""
        if not self._records:
            # the loader of this module reads the file that lies beside it, in a zip archive too
            path = os.path.join(os.path.dirname(__file__), "catalogue.txt")
            text: bytes = __loader__.get_data(path)  # type: ignore[name-defined]
            records = ("\n" + text.decode("utf-8").replace("\r\n", "\n")).split("\nid: ")[1:]
            self._records.update((record.partition("\n")[0], record) for record in records)
        return self._records

    def __getitem__(self, code: str) -> Code:
        if code not in self._codes:
            # a record begins with the code itself, and may have comments after a blank line
            lines = self._read()[code].partition("\n\n")[0].strip().replace("\n  ", " ").split("\n")
            fields: dict[str, Any] = dict(line.split(": ", 1) for line in lines[1:])
            flags = fields.pop("yes", "").split(", ")
            cures = "remap_cures" in flags
            self._codes[code] = Code(lines[0], **fields, predictions="predictions" in flags, remap_cures=cures)
        return self._codes[code]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())


CATALOGUE = Catalogue()


class Finding(NamedTuple):
    """One cause, said once: its code, a sentence, the keys it concerns, and the fix.

    ``keys`` may be folded patterns (`viscy_compat.layout.fold`).
    """

    code: str
    message: str
    keys: tuple[str, ...] = ()
    fix: str = ""

    @property
    def severity(self) -> Severity:
        """The severity that the catalogue gives to the code."""
        return CATALOGUE[self.code].severity

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as the JSON of the contract has it."""
        return {
            "code": self.code,
            "severity": self.severity,
            "message": self.message,
            "keys": list(self.keys),
            "fix": self.fix,
        }


class Selection(NamedTuple):
    """Which findings a user wants to see: codes, or the letters that they begin with. Verdicts stay what they are."""

    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()

    def keeps(self, code: str) -> bool:
        """Whether findings of a code are shown.

        Examples
        --------
        >>> Selection(ignore=("VC3",)).keeps("VC302"), Selection(select=("VC3",)).keeps("VC101")
        (False, False)
        """
        return (not self.select or code.startswith(self.select)) and not (self.ignore and code.startswith(self.ignore))


def selection_of(select: Iterable[str], ignore: Iterable[str]) -> Selection:
    """Read lists of codes, each perhaps several with commas.

    Raises
    ------
    UsageError
        Where no code begins with one of them.
    """
    lists = [tuple(word.strip().upper() for text in texts for word in text.split(",")) for texts in (select, ignore)]
    for word in (word for words in lists for word in words):
        if not word or not any(code.startswith(word) for code in CATALOGUE):
            raise UsageError(f"no finding code begins with {word!r}", fix="viscy-compat explain lists them all")
    return Selection(*lists)


class Explanation(NamedTuple):
    """An entry of the catalogue as the result of `explain`; shortened to a line where the whole list is shown."""

    entry: Code
    shortened: bool = False
    exit_code: int = 0
    findings: tuple[Finding, ...] = ()

    @property
    def title(self) -> str:
        """The code."""
        return self.entry.id

    def __repr__(self) -> str:
        return line_of(self, self.entry.title)

    def _repr_html_(self) -> str:
        return html_of("explain", self)

    def to_dict(self) -> dict[str, Any]:
        """Return the entry."""
        return {"code": self.entry.id, **{name: getattr(self.entry, name) for name in Code._fields[1:]}}


class Result(Protocol):
    """What a report holds one of for each file or class that it is about."""

    @property
    def title(self) -> str:
        """The file or class that the result is about."""

    @property
    def exit_code(self) -> int:
        """0, 1 or 2, as the contract has it."""

    @property
    def findings(self) -> Sequence[Finding]:
        """Everything that was found, most severe first."""

    def to_dict(self) -> dict[str, Any]:
        """Return the result as the JSON of the contract has it."""


_WORDS = ("holds", "findings", "undecided")
"""By exit code."""

_SHOWN = 10
"""Results in the repr of a report: a screen of them."""


def line_of(result: Result, about: str = "") -> str:
    """Return what a result's ``repr`` is: what it is about, how it went, and the codes of what was found.

    Examples
    --------
    >>> line_of(Explanation(CATALOGUE["VC105"]), CATALOGUE["VC105"].title)
    '<Explanation VC105: the layout is that of an older generation>'
    """
    verdict = getattr(result, "verdict", "") or ("" if about else _WORDS[result.exit_code])
    codes = dict.fromkeys(finding.code for finding in result.findings if finding.code and finding.severity != "note")
    words = ", ".join(filter(None, (verdict, about, " ".join(codes))))
    return f"<{type(result).__name__} {printable(result.title)}: {printable(words)}>"


def html_of(command: str, result: Result) -> str:
    """Return what a notebook shows of a result of a command; the words of a page are made above this room."""
    html: str = import_module("viscy_compat.report.html").fragment(Report(command, [result]))
    return html


class Aside(NamedTuple):
    """A file of a folder that is no checkpoint and no fault: what it is. It does not change the exit code."""

    file: str
    what: str


class ClosedFolder(Aside):
    """A folder that cannot be listed: nobody knows what lies in it, so that no answer about all files is whole (exit code 2)."""

    # said again: such a tuple has the fields of its own body, and inherits none
    file: str
    what: str


ResultT = TypeVar("ResultT", bound=Result, covariant=True)


class Report(Generic[ResultT]):
    """The results of one run of one command: ``Report[CheckResult]`` is that of `check`.

    Parameters
    ----------
    command : str
        The command that made it (``"check"``).
    results : Iterable[Result]
        One for each file or class. A sequence that nobody changes is kept as it is: it may make its results anew each time.
    headline : str, optional
        What must be said first: the source that was compared with, a fall-back.
    exit_code : int, optional
        At least this, whatever the results say (a fall-back that nobody asked for is 2).
    exhibits : Exhibits, optional
        Facts, tables and maps about the run as a whole. A result shows its own in a method ``exhibits()``.
    interrupted : bool, optional
        Whether the run was ended before its end, so that results are missing; then nothing is decided as a whole.
    aside : Sequence[Aside], optional
        Files that were passed over, and what they are.
    """

    __slots__ = ("_floor", "aside", "command", "exhibits", "headline", "interrupted", "results")

    def __init__(
        self,
        command: str,
        results: Iterable[ResultT],
        *,
        headline: str = "",
        exit_code: int = 0,
        exhibits: Exhibits | None = None,
        interrupted: bool = False,
        aside: Sequence[Aside] = (),
    ) -> None:
        self.command, self.headline = command, headline
        # a list may be changed by whoever made it
        fixed = results if isinstance(results, Sequence) and not isinstance(results, list) else tuple(results)
        self.results: Sequence[ResultT] = fixed
        is_whole = not interrupted and not any(isinstance(row, ClosedFolder) for row in aside)
        self._floor = max(exit_code, 0 if is_whole else 2)
        self.exhibits, self.interrupted, self.aside = exhibits, interrupted, aside

    @property
    def exit_code(self) -> int:
        """The highest exit code of the results."""
        return max([self._floor, *(result.exit_code for result in self.results)])

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The findings of all results."""
        return tuple(finding for result in self.results for finding in result.findings)

    @property
    def verdict(self) -> Verdict | None:
        """The verdict on the worst file; None where the results have none (`verify`, `explore`)."""
        verdicts = [word for result in self.results if (word := getattr(result, "verdict", "")) in EXIT_CODES]
        # the verdicts stand there from best to worst
        return max(verdicts, key=[*EXIT_CODES].index, default=None)

    def __bool__(self) -> bool:
        return self.exit_code == 0

    def __repr__(self) -> str:
        count = f"{len(self.results)} result{'' if len(self.results) == 1 else 's'}"
        lines = [f"<Report of {self.command}: {count}, exit code {self.exit_code}>"]
        lines += [f"  {result!r}" for result in self.results[:_SHOWN]]
        more = len(self.results) - _SHOWN
        return "\n".join([*lines, *([f"  ... and {more} more in results"] if more > 0 else [])])

    def __str__(self) -> str:
        """Return the text that the command prints."""
        text: str = import_module("viscy_compat.report").render(self, "text")
        return text

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        html: str = import_module("viscy_compat.report.html").fragment(self)
        return html

    def without_results(self) -> Report[ResultT]:
        """Return what a report says besides its results."""
        return Report(self.command, (), headline=self.headline, interrupted=self.interrupted, aside=self.aside)

    def to_dict(self) -> dict[str, Any]:
        """Return the object that ``--format json`` prints."""
        return {
            "schema": 1,
            "tool": {"name": "viscy-compat", "version": __version__, "command": self.command},
            **({"headline": self.headline} if self.headline else {}),
            **({"interrupted": True} if self.interrupted else {}),
            "results": [result.to_dict() for result in self.results],
            **({"aside": [row._asdict() for row in self.aside]} if self.aside else {}),
        }

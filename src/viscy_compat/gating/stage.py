"""A stage of the gate and what it says of a class."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from viscy_compat.architectures.architecture import Architecture
from viscy_compat.errors import MissingExtra, SourceUnavailable
from viscy_compat.exhibits import MARKS, Map
from viscy_compat.findings import Finding, html_of, line_of
from viscy_compat.references.records import Reference
from viscy_compat.waivers import Waiver
from viscy_compat.workers.candidate import Candidate
from viscy_compat.workers.environment import CODE as FAULT
from viscy_compat.workers.sides import Pair, Setup
from viscy_compat.workers.worker import Worker, WorkerLimits

StageKind = Literal["static", "numeric"]
WAIVED, LEFT_OUT = "waived", "left out"
_WORDS = {code: word for word, code in MARKS.items()}


@dataclass(frozen=True)
class Setting:
    """What is judged, and how.

    Parameters
    ----------
    classes : tuple[Architecture, ...]
        The classes that every stage looks at.
    candidate : Candidate
        The package that is judged.
    options : Mapping[str, Any]
        What `verify` takes besides classes and candidate: sources, interpreters, seed, jobs.
    profile : str
        How much is explored: dev, ci or release.
    progress : Callable[[str], None]
        Is told what is going on.
    names : tuple[str, ...] or None
        The public names that the package promises besides its classes; None for those that ours promises.
    references : tuple[Reference, ...]
        What a project recorded of its own; see `viscy_compat.references.own_classes`.
    reads : bool
        Whether the package may be read as text where the running interpreter has no torch, and what must build models
        may be left out there.
    """

    classes: tuple[Architecture, ...]
    candidate: Candidate
    options: Mapping[str, Any] = field(default_factory=dict)
    profile: str = "ci"
    progress: Callable[[str], None] = lambda line: None
    names: tuple[str, ...] | None = None
    references: tuple[Reference, ...] = ()
    reads: bool = False

    @property
    def strangers(self) -> tuple[Reference, ...]:
        """The references of classes that no architecture file knows."""
        return tuple(row for row in self.references if "." in row.name)

    def own(self, name: str) -> Reference | None:
        """Return what a project recorded of a known class: a newer state of it than the architecture file knows."""
        return next((row for row in self.references if row.name == name), None)

    @property
    def accepts_recorded(self) -> bool:
        """Whether the recorded references may stand for the old classes."""
        return bool(self.options.get("recorded") or self.options.get("allow_recorded"))

    def reads_instead(self, error: MissingExtra) -> bool:
        """Whether this lack of torch is no reason to stop; what the candidate itself lacks always is one."""
        return self.reads and error.code != FAULT

    def needs_old_code(self) -> None:
        """Raise `SourceUnavailable` where only the recorded references are to be used."""
        if self.options.get("recorded"):
            raise SourceUnavailable("it runs the old classes, and --recorded leaves them out", code="VC601")


class Workshop:
    """A setting, and one pair of workers for all stages that need them; they are started when first asked for.

    Parameters
    ----------
    setting : Setting
        What is judged.
    worker, old : Worker, optional
        Running workers for the candidate and the old classes; they are not ended here.
    """

    def __init__(self, setting: Setting, worker: Worker | None = None, old: Worker | None = None) -> None:
        options = setting.options
        timeout = options.get("timeout")
        setup = Setup(
            legacy_python=options.get("legacy_python"),
            candidate_python=options.get("candidate_python"),
            limits=WorkerLimits() if timeout is None else WorkerLimits(request=timeout),
            jobs=options.get("jobs", 2),
        )
        self.setting, self.pair = setting, Pair(setup, setting.candidate, worker, old)

    def __enter__(self) -> Workshop:
        return self

    def __exit__(self, *_: object) -> None:
        self.pair.__exit__()

    @property
    def worker(self) -> Worker:
        """The candidate's worker, with the candidate at hand; see `Pair.candidate`."""
        return self.pair.candidate

    @property
    def old(self) -> Worker:
        """The worker of the old classes; see `Pair.old`."""
        return self.pair.old


@dataclass(frozen=True)
class WaivedFinding:
    """A finding that a row of the configuration accepts."""

    waiver: Waiver
    finding: Finding

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        row = {"id": self.waiver.id, "reason": self.waiver.reason, "expires": str(self.waiver.expires)}
        return {**row, "code": self.finding.code, "message": self.finding.message}


@dataclass(frozen=True)
class StageResult:
    """What one stage says of one class.

    Parameters
    ----------
    stage : str
        The name of the stage.
    subject : str
        The class; empty where it is about the candidate as a whole.
    findings : Sequence[Finding]
        What was found; errors block.
    undecided : bool
        Whether the stage could not run to its end.
    waived : tuple[WaivedFinding, ...]
        Findings that are accepted.
    details : Mapping[str, Any]
        What was looked at, as JSON.
    headline : str
        What the headline of the report must say: the source of the old classes.
    maps : tuple[Map, ...]
        Maps for the documents.
    left_out : bool
        Whether the stage was left out, which the headline says; it never counts as something that holds.
    """

    stage: str
    subject: str
    findings: Sequence[Finding] = ()
    undecided: bool = False
    waived: tuple[WaivedFinding, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    headline: str = ""
    maps: tuple[Map, ...] = ()
    left_out: bool = False

    @property
    def title(self) -> str:
        """The stage and the class."""
        return f"{self.stage}: {self.subject}" if self.subject else self.stage

    @property
    def exit_code(self) -> int:
        """2 where it could not run, 1 where an error stands."""
        if self.undecided:
            return 2
        return int(any(finding.severity == "error" for finding in self.findings))

    @property
    def verdict(self) -> str:
        """One of the words of `viscy_compat.exhibits.MARKS`, or `WAIVED`, or `LEFT_OUT`."""
        if self.left_out:
            return LEFT_OUT
        return WAIVED if self.waived and not self.exit_code else _WORDS[self.exit_code]

    def __repr__(self) -> str:
        return line_of(self)

    def _repr_html_(self) -> str:
        return html_of("gate", self)

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON."""
        return {
            "stage": self.stage,
            "class": self.subject,
            "verdict": self.verdict,
            "findings": [finding.to_dict() for finding in self.findings],
            "waived": [row.to_dict() for row in self.waived],
            **self.details,
        }


@dataclass(frozen=True)
class Stage:
    """One stage.

    Parameters
    ----------
    name : str
        Its name, the heading of its column.
    kind : {"static", "numeric"}
        Whether it runs any forward pass.
    what : str
        What it makes sure of, in a sentence.
    run : Callable[[Workshop], Iterator[StageResult]]
        Looks at every class of the setting; may raise `CompatError` where it cannot go on.
    runs_old_code : bool
        Whether the recorded references cannot stand for the old classes.
    strangers : bool
        Whether it is about the classes that no architecture file knows, and about no other.
    builds : bool
        Whether it must build models, for which there is no way without torch.
    """

    name: str
    kind: StageKind
    what: str
    run: Callable[[Workshop], Iterator[StageResult]]
    runs_old_code: bool = False
    builds: bool = True
    strangers: bool = False

    def subjects(self, setting: Setting) -> tuple[str, ...]:
        """Name every class that the stage must say something about."""
        if self.strangers:
            return tuple(row.name for row in setting.strangers)
        return tuple(row.name for row in setting.classes)

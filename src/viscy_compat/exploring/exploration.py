"""Hypothesis hunts for shape breakage: draws configurations and inputs of a class, checks laws, shrinks what breaks.

One pair of workers serves a whole run. Each keeps the models that it built, and each drawn configuration meets several
inputs, so that a case costs forward passes and not two constructions.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from math import prod
from pprint import pformat
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from hypothesis.database import DirectoryBasedExampleDatabase

from viscy_compat.architectures import class_names, find, migrated_names
from viscy_compat.architectures.architecture import Architecture, Config
from viscy_compat.architectures.asking import outcome_name
from viscy_compat.errors import Interrupted, UsageError
from viscy_compat.exhibits import Exhibits
from viscy_compat.exploring.laws import LAW_KINDS, LAWS, DrawnCase, Law, LawBroken, Subject
from viscy_compat.findings import Finding, Report, html_of, line_of
from viscy_compat.layout import spell_count
from viscy_compat.old_code.origin import Wanted, resolve
from viscy_compat.old_code.wheel import cache_folder
from viscy_compat.strategies import MOST_ELEMENTS, buildable, configurations, inputs
from viscy_compat.waivers import Waiver, judge_waivers, table_of
from viscy_compat.workers.candidate import PACKAGE, read_candidate
from viscy_compat.workers.sides import Pair, Progress, Setup, sides
from viscy_compat.workers.worker import WorkerLimits

PROFILES = {"dev": 20, "ci": 100, "release": 1000}
"""Examples of the laws that need no torch. Building laws get a fifth as many cases, probes a twentieth."""

INPUTS = 4
"""Inputs that each built configuration meets."""

MOST_BUILT = 60
"""Configurations that one law builds at most."""


@dataclass(frozen=True)
class BrokenLaw:
    """A law that does not hold: the smallest case that hypothesis found, and a script that shows it."""

    law: str
    says: str
    message: str
    config: Mapping[str, Any]
    input: tuple[int, ...]
    script: str

    def to_dict(self) -> dict[str, Any]:
        """Return the failure as the JSON has it."""
        return {
            "config": dict(self.config),
            "input": list(self.input),
            "code": "VC510",
            "law": self.law,
            "message": self.message,
            "script": self.script,
        }


@dataclass(frozen=True)
class Exploration:
    """What exploring one class came to.

    Parameters
    ----------
    name : str
        The class.
    source : str
        What the old class was taken from; empty where only rules were checked.
    cases : Mapping[str, int]
        Cases by law.
    outcomes : Mapping[str, int]
        Distinct cases by outcome: does not build, does not run, exact, rounded, lossy.
    broken : tuple[BrokenLaw, ...]
        Laws that do not hold.
    used : tuple[str, ...]
        Accepted differences and defects that were met.
    seconds : float
        Wall clock.
    waived : tuple[tuple[Waiver, BrokenLaw], ...]
        Laws that do not hold, and the rows that accept it.
    """

    name: str
    source: str
    cases: Mapping[str, int]
    outcomes: Mapping[str, int]
    broken: tuple[BrokenLaw, ...]
    used: tuple[str, ...]
    seconds: float
    waived: tuple[tuple[Waiver, BrokenLaw], ...] = ()

    @property
    def title(self) -> str:
        """The class."""
        return self.name

    @property
    def exit_code(self) -> int:
        """0 where every law holds, else 1."""
        return 1 if self.broken else 0

    @property
    def findings(self) -> Sequence[Finding]:
        """One for each broken law."""
        return [Finding("VC510", f"{row.law}: {row.message}", fix="run the script below") for row in self.broken]

    def __repr__(self) -> str:
        return line_of(self, spell_count(sum(self.cases.values()), "case"))

    def _repr_html_(self) -> str:
        return html_of("explore", self)

    def to_dict(self) -> dict[str, Any]:
        """Return the result as the JSON has it."""
        return {
            "class": self.name,
            "source": self.source,
            "cases": dict(self.cases),
            "outcomes": dict(self.outcomes),
            "accepted": list(self.used),
            "failures": [row.to_dict() for row in self.broken],
            "waived": [{"id": waiver.id, "reason": waiver.reason, **row.to_dict()} for waiver, row in self.waived],
            "findings": [finding.to_dict() for finding in self.findings],
        }


@dataclass(frozen=True)
class WaiverReview:
    """What became of the accepted differences that are about what was explored.

    Parameters
    ----------
    waivers : tuple[Waiver, ...]
        The rows.
    findings : tuple[Finding, ...]
        Those that have expired, or that nothing is covered by.
    """

    waivers: tuple[Waiver, ...]
    findings: tuple[Finding, ...]

    @property
    def title(self) -> str:
        """What it is about."""
        return "waivers"

    @property
    def exit_code(self) -> int:
        """1 where a row has expired or is not used."""
        return 1 if self.findings else 0

    def __repr__(self) -> str:
        return line_of(self)

    def _repr_html_(self) -> str:
        return html_of("explore", self)

    def to_dict(self) -> dict[str, Any]:
        """Return the rows as the JSON has them."""
        findings = [finding.to_dict() for finding in self.findings]
        return {"waivers": [str(row) for row in self.waivers], "findings": findings}


@dataclass
class Settings:
    """How much is drawn, and where from.

    Parameters
    ----------
    examples : int
        Cases of the laws that need no torch.
    seed : int, optional
        Of hypothesis; None draws the same cases each time (derandomised).
    laws : tuple[Law, ...]
        Which laws.
    shrink : bool
        Whether a broken law is brought to its smallest case.
    """

    examples: int = PROFILES["dev"]
    seed: int | None = None
    laws: tuple[Law, ...] = LAWS
    shrink: bool = True

    def configurations(self, law: Law) -> int:
        """Return how many configurations a law meets; `INPUTS` inputs each, but for rules and probes, one each."""
        if law.kind == "rules":
            return self.examples
        if law.kind == "probes":
            return max(2, self.examples // 20)
        # inputs that are drawn twice count once, so a few configurations more are drawn than the cases need
        return min(MOST_BUILT, max(3, self.examples * 6 // 5 // 5 // INPUTS))

    def hypothesis(self, law: Law) -> settings:
        """Return the settings of hypothesis for one law."""
        phases = [Phase.explicit, Phase.reuse, Phase.generate, *([Phase.shrink] if self.shrink else [])]
        return settings(
            max_examples=self.configurations(law),
            deadline=None,
            derandomize=self.seed is None,
            database=None if self.seed is None else DirectoryBasedExampleDatabase(cache_folder() / "examples"),
            phases=phases,
            # the first broken law is shrunk; the others are looked for without it
            report_multiple_bugs=False,
            print_blob=False,
            # building a model is slow, and a filter that refuses much is what it is: neither is a fault
            # of the test
            suppress_health_check=list(HealthCheck),
        )


@dataclass
class _CaseCounts:
    """What was met on the way."""

    outcomes: dict[str, str] = field(default_factory=dict)
    cases: Counter[str] = field(default_factory=Counter)

    def note(self, subject: Subject, law: Law, drawn: DrawnCase) -> None:
        self.cases[law.id] += 1
        self.outcomes.setdefault(repr(drawn), outcome_name(subject.architecture, drawn.config, drawn.input))


def explore(
    classes: Iterable[str] | None = None,
    *,
    profile: str = "dev",
    examples: int | None = None,
    seed: int | None = None,
    laws: Iterable[str] | None = None,
    repo: str | os.PathLike[str] | None = None,
    rev: str | None = None,
    wheel: str | None = None,
    trust_repo: bool = False,
    candidate: str = PACKAGE,
    candidate_python: str | None = None,
    legacy_python: str | None = None,
    jobs: int = 2,
    timeout: float | None = None,
    waivers: Iterable[Waiver] = (),
    progress: Progress | None = None,
    pair: Pair | None = None,
) -> Report[Exploration | WaiverReview]:
    """Draw configurations and inputs of the classes, and check the laws on them.

    Parameters
    ----------
    classes : Iterable[str], optional
        Class names; all known ones by default.
    profile : {"dev", "ci", "release"}
        How many examples: 20, 100 or 1,000 of the laws that need no torch, fewer of the others.
    examples : int, optional
        That number, instead of a profile.
    seed : int, optional
        Of hypothesis. Without one, the same cases are drawn each time.
    laws : Iterable[str], optional
        Which laws; all by default.
    repo, rev, wheel, trust_repo
        Where the old code comes from; see `viscy_compat.old_code.origin.Wanted`.
    candidate, candidate_python, legacy_python, jobs, timeout, pair
        As in `viscy_compat.verify`.
    waivers : Iterable[Waiver], optional
        Accepted differences; a law that one of them is about does not count where it breaks. Rows about anything else
        than the laws and classes at hand are passed over.
    progress : Callable[[str], None], optional
        Is told what is going on.

    Returns
    -------
    Report
        A result for each class; true where every law holds.

    Raises
    ------
    UsageError
        No such class, law or profile.
    SourceUnavailable
        The old classes cannot be had.
    """
    architectures = [find(name) for name in (classes or migrated_names())]
    amount = Settings(_examples(profile, examples), seed, _laws(laws))
    package = read_candidate(candidate)
    origin = Wanted(os.fspath(repo) if repo else None, rev, wheel, trust=trust_repo)
    tell = progress or (lambda line: None)
    with ExitStack() as stack:
        olds, both = {}, None
        if any(law.kind != "rules" for law in amount.laws):
            olds = resolve(architectures, origin)
            tell("starting one worker for each side (torch, timm, MONAI)")
            limits = WorkerLimits() if timeout is None else WorkerLimits(request=timeout)
            setup = Setup(legacy_python, candidate_python, limits, jobs=jobs, pair=pair)
            both = stack.enter_context(sides(setup, package))
        results: list[Exploration] = []
        try:
            for one in architectures:
                subject = Subject(one, olds.get(one.name), both, package)
                results.append(explore_class(subject, amount, progress=tell))
        except KeyboardInterrupt as stop:
            raise Interrupted(Report("explore", results, interrupted=True)) from stop
    titles = dict.fromkeys(old.title for old in olds.values())
    headline = f"{package.title} against {', '.join(titles)}" if titles else "the shape rules, without any model"
    rows = [
        row for row in waivers if any(_covers(row, one.name, law.id) for one in architectures for law in amount.laws)
    ]
    partly = [row.id for row in rows if not _all_looked_at(row, architectures, amount.laws)]
    return _apply_waivers(results, rows, partly, headline)


def _all_looked_at(row: Waiver, chosen: Sequence[Architecture], laws: Sequence[Law]) -> bool:
    """Whether every class and law that a row is about was explored; else nobody can say that it covers nothing."""
    classes = set(class_names()) if row.class_name == "*" else {row.class_name}
    about = {law.id for law in LAWS} if row.about == "VC510" else {row.about}
    return classes <= {one.name for one in chosen} and about <= {law.id for law in laws}


def _covers(row: Waiver, name: str, law: str) -> bool:
    """Whether a row is about a law of a class, or about the code of every broken law."""
    return row.covers(name, law) or row.covers(name, "VC510")


def _apply_waivers(
    explored: Sequence[Exploration], rows: Sequence[Waiver], partly: Sequence[str], headline: str
) -> Report[Exploration | WaiverReview]:
    """Apply the rows, and judge them; those that were only partly looked at are never called unused."""
    results = [_without(result, [row for row in rows if not row.expired]) for result in explored]
    if not rows:
        return Report("explore", results, headline=headline)
    used = [row.id for result in results for row, _ in result.waived]
    review = WaiverReview(tuple(rows), judge_waivers(rows, [*used, *partly]))
    return Report("explore", [*results, review], headline=headline, exhibits=Exhibits(tables=(table_of(rows),)))


def _without(result: Exploration, rows: Sequence[Waiver]) -> Exploration:
    """Move the broken laws that a row accepts out of those that count."""
    found = [(next((row for row in rows if _covers(row, result.name, one.law)), None), one) for one in result.broken]
    waived = tuple((row, one) for row, one in found if row)
    return replace(result, broken=tuple(one for row, one in found if not row), waived=waived)


def explore_class(subject: Subject, drawing: Settings, *, progress: Progress) -> Exploration:
    """Check the laws on one class.

    Parameters
    ----------
    subject : Subject
        The class and, unless only rules are checked, both workers.
    drawing : Settings
        How much is drawn.
    progress : Callable[[str], None]
        Is told how each law went.
    """
    start, tally, broken = time.monotonic(), _CaseCounts(), []
    if subject.both and subject.old:
        subject.meet()
    for kind in LAW_KINDS:
        # one kind after the other: those without torch first, so that a wrong rule is told before anything is
        # built
        laws = tuple(law for law in drawing.laws if law.kind == kind)
        kind_start, before = time.monotonic(), tally.cases.total()
        fresh = list(_find_broken(subject, laws, drawing, tally))
        broken += fresh
        speed = (tally.cases.total() - before) / max(time.monotonic() - kind_start, 1e-3)
        for law in laws:
            state = "BROKEN" if law.id in {row.law for row in fresh} else "holds"
            progress(
                f"{subject.architecture.name}: {law.id} {state}, {spell_count(tally.cases[law.id], 'case')}, {speed:.1f} a second"
            )
    return Exploration(
        name=subject.architecture.name,
        source=subject.old.title if subject.old else "",
        cases=dict(tally.cases),
        outcomes=dict(Counter(tally.outcomes.values())),
        broken=tuple(broken),
        used=tuple(sorted(subject.used)),
        seconds=time.monotonic() - start,
    )


def _find_broken(subject: Subject, laws: tuple[Law, ...], drawing: Settings, tally: _CaseCounts) -> Iterator[BrokenLaw]:
    """Check laws of one kind on the same cases; one that breaks is told, and the rest go on without it."""
    while laws:
        found = _seek_broken_law(subject, laws, drawing, tally)
        if found is None:
            return
        yield found
        laws = tuple(law for law in laws if law.id != found.law)


def _seek_broken_law(
    subject: Subject, laws: tuple[Law, ...], drawing: Settings, tally: _CaseCounts
) -> BrokenLaw | None:
    """Let hypothesis draw cases for laws of one kind; return the smallest case that breaks the first one that does."""
    broken: list[tuple[Law, DrawnCase]] = []

    @drawing.hypothesis(laws[0])
    @given(_cases(subject.architecture, laws[0]))
    def hold(drawn: Sequence[DrawnCase]) -> None:
        for case in drawn:
            for law in [broken[0][0]] if broken else laws:
                tally.note(subject, law, case)
                try:
                    law.check(subject, case)
                except LawBroken:
                    # what is shrunk is this law, not whichever breaks on a smaller case
                    broken[:] = [(law, case)]
                    raise

    test: Callable[[], None] = hold if drawing.seed is None else seeded(drawing.seed)(hold)
    try:
        test()
    except LawBroken as error:
        law, case = broken[0]
        return BrokenLaw(
            law=law.id,
            says=law.says,
            message=str(error),
            config=case.config,
            input=case.input,
            script=reproduction(subject, law, case),
        )
    return None


def _cases(architecture: Architecture, law: Law) -> st.SearchStrategy[list[DrawnCase]]:
    """Draw what one example of a law is: a configuration with one input, or with several."""
    most = INPUTS if law.kind == "builds" else 1
    drawn_configs = buildable(architecture) if law.kind == "probes" else configurations(architecture)

    def with_inputs(config: dict[str, Any]) -> st.SearchStrategy[list[DrawnCase]]:
        usual = architecture.input_shape(config)
        first = st.just(usual) if prod(usual) <= MOST_ELEMENTS else inputs(architecture, config)
        shapes = st.tuples(first, *[inputs(architecture, config)] * (most - 1))
        return shapes.map(lambda found: [DrawnCase(config, shape) for shape in dict.fromkeys(found)])

    return drawn_configs.flatmap(with_inputs)


def reproduction(subject: Subject, law: Law, drawn: DrawnCase) -> str:
    """Return a script that shows a broken law when it is run as a file."""
    package = subject.package.folder or subject.package.name
    return (
        f'"""{law.id}, broken for {subject.architecture.name}: {law.says}"""\n\n'
        "from viscy_compat.exploring.exploration import replay\n\n"
        f"config = {pformat(dict(drawn.config), width=110, sort_dicts=False)}\n"
        f"replay({subject.architecture.name!r}, {law.id!r}, config, {drawn.input!r}, candidate={package!r})\n"
    )


def replay(
    name: str, law: str, config: Config, shape: tuple[int, ...], *, candidate: str = PACKAGE, wheel: str | None = None
) -> None:
    """Check one law on one case.

    Parameters
    ----------
    name, law : str
        The class and the law.
    config : Config
        A complete configuration.
    shape : tuple[int, ...]
        The shape that is fed.
    candidate : str
        The package, or the folder that holds it.
    wheel : str, optional
        The release of the old class.

    Raises
    ------
    LawBroken
        The law does not hold.

    Examples
    --------
    >>> from viscy_compat.architectures.architecture import complete
    >>> replay("BetaVae25D", "reconstruction", complete(find("BetaVae25D"), {}), (2, 2, 16, 256, 256))
    """
    (only_law,) = _laws([law])
    architecture, package = find(name), read_candidate(candidate)
    if only_law.kind == "rules":
        return only_law.check(Subject(architecture), DrawnCase(config, shape))
    old = resolve([architecture], Wanted(wheel=wheel))[name]
    with sides(Setup(cache=2), package) as both:
        subject = Subject(architecture, old, both, package)
        subject.meet()
        only_law.check(subject, DrawnCase(config, shape))
    return None


def _examples(profile: str, examples: int | None) -> int:
    if profile not in PROFILES:
        raise UsageError(f"there is no profile {profile!r}", fix=f"profiles: {', '.join(PROFILES)}")
    if examples is not None and examples < 1:
        raise UsageError("--examples counts from 1")
    return PROFILES[profile] if examples is None else examples


def _laws(names: Iterable[str] | None) -> tuple[Law, ...]:
    by_name = {law.id: law for law in LAWS}
    unknown = [name for name in names or () if name not in by_name]
    if unknown:
        raise UsageError(f"there is no law {', '.join(unknown)}", fix=f"laws: {', '.join(by_name)}")
    return tuple(by_name[name] for name in names) if names else LAWS

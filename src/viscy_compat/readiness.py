"""What would stop each command here: packages of its extra that are missing, too old or broken, and the cache.

What a command needs is read from the metadata of this distribution, so it is what an installer would bring. Packages are
imported by a process of their own: one that ends the process, or hangs, is a finding like any other.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import metadata
from typing import Any

from viscy_compat.errors import UsageError, install_line
from viscy_compat.exhibits import Exhibits, Fact, Table
from viscy_compat.findings import Finding, Report
from viscy_compat.named import NamedTuple
from viscy_compat.old_code.programs import run_program
from viscy_compat.old_code.wheel import cache_folder
from viscy_compat.version import __version__
from viscy_compat.waivers import version_numbers

DISTRIBUTION = "viscy-compat"
EXTRAS: Mapping[str, tuple[str, ...]] = {
    "completion": ("completion",),
    "explore": ("explore",),
    "gate": ("explore",),
    "record": ("models",),
    "verify": ("models",),
}
"""The extra of each command that needs one; what a further command needs is nothing."""

PARTS: Mapping[str, tuple[str, ...]] = {
    "check --config": ("config",),
    "check https://": ("remote",),
    "check hf://": ("hub",),
    "check s3://": ("s3",),
    "audit --on dask": ("dask",),
    "audit --on slurm": ("slurm",),
    "audit --output parquet": ("parquet",),
    "remap --prove": ("models",),
    "gate --static": ("models",),
    "explore --ask": (),
    "load_model": ("models",),
}
"""Parts of commands, and of the Python interface, that need more than the rest of it."""

IMPORT_NAMES = {"pyyaml": "yaml", "gitpython": "git"}
"""Import names that are not that of the distribution with underscores."""

_SECONDS = 300.0
"""For all imports together: torch, timm and MONAI take seven on a quick disc, and ten times that on a cold one."""

_IMPORT = """
import importlib, json, sys
failed = {}
for name in json.loads(sys.argv[1]):
    print(name, flush=True)
    try:
        importlib.import_module(name)
    except BaseException as error:
        failed[name] = f"{type(error).__name__}: {error}"
print(json.dumps(failed))
"""
"""Each name is printed before it is imported: the last one is to blame where the interpreter dies."""


class Requirement(NamedTuple):
    """A package that an extra brings: its least version, and what is here of it."""

    package: str
    least: str
    found: str | None

    @property
    def outdated(self) -> bool:
        """Whether it is here, and older than the least version."""
        return self.found is not None and version_numbers(self.found) < version_numbers(self.least)


class Readiness(NamedTuple):
    """Whether a command, or a part of one, would run here."""

    title: str
    extras: tuple[str, ...]
    requirements: tuple[Requirement, ...]
    reasons: tuple[str, ...]
    findings: tuple[Finding, ...] = ()

    @property
    def exit_code(self) -> int:
        """1 where something is broken, or where just this was asked for and is stopped."""
        return 1 if self.findings else 0

    @property
    def fix(self) -> str:
        """The line that installs what is lacking."""
        return install_line(*self.extras) if self.reasons else ""

    def to_dict(self) -> dict[str, Any]:
        """Return the result as the JSON of the contract has it."""
        rows = {row.package: {"least": row.least, "found": row.found} for row in self.requirements}
        return {
            "command": self.title,
            "ready": not self.reasons,
            "extras": list(self.extras),
            "packages": rows,
            "reasons": list(self.reasons),
            "fix": self.fix,
            "findings": [finding.to_dict() for finding in self.findings],
        }

    def exhibits(self) -> Exhibits:
        """Return what stops it, and the packages that it needs."""
        sentence = f"stopped: {'; '.join(self.reasons)}; {self.fix}" if self.reasons else "ready"
        rows = tuple((row.package, row.least or "any", row.found or "-") for row in self.requirements)
        tables = (Table("packages", ("package", "at least", "here"), rows),) if rows else ()
        return Exhibits((Fact("state", sentence),), tables)


class Surroundings(NamedTuple):
    """What the commands find here: versions, places, the cache."""

    facts: tuple[Fact, ...]
    findings: tuple[Finding, ...] = ()
    title: str = "surroundings"

    @property
    def exit_code(self) -> int:
        """1 where something is broken."""
        return 1 if self.findings else 0

    def to_dict(self) -> dict[str, Any]:
        """Return the result as the JSON of the contract has it."""
        return {"surroundings": dict(self.facts), "findings": [finding.to_dict() for finding in self.findings]}

    def exhibits(self) -> Exhibits:
        """Return the facts."""
        return Exhibits(self.facts)


def examine(commands: Sequence[str], wanted: Sequence[str] = (), *, quick: bool = False) -> Report[Any]:
    """Say what would stop each command.

    Parameters
    ----------
    commands : Sequence[str]
        All commands that there are.
    wanted : Sequence[str], optional
        Those that must run here: what stops one of them is a finding. Else only what is broken is.
    quick : bool, optional
        Whether installed packages are believed to be what their metadata says, and not imported.

    Raises
    ------
    UsageError
        There is no such command.
    """
    for name in wanted:
        if name not in commands:
            raise UsageError(f"there is no command {name!r}", fix=f"commands: {', '.join(commands)}")
    needs = {**{name: EXTRAS.get(name, ()) for name in commands}, **({} if wanted else PARTS)}
    chosen = {name: extras for name, extras in needs.items() if not wanted or name in wanted}
    known = {extra: requirements_of(extra) for extra in sorted({extra for row in chosen.values() for extra in row})}
    failed = {} if quick else _import_failures(row for rows in known.values() for row in rows)
    rows = (_judge_extras(name, extras, known, failed, must=name in wanted) for name, extras in chosen.items())
    return Report("doctor", [_surroundings(), *rows])


def requirements_of(extra: str) -> tuple[Requirement, ...]:
    """Return the packages of an extra, those of the extras in it included, as the metadata of this distribution states them."""
    try:
        lines = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return (Requirement(DISTRIBUTION, __version__, None),)
    return tuple(_requirements(lines, extra))


def _requirements(lines: Sequence[str], extra: str) -> Iterator[Requirement]:
    for line in lines:
        stated, _, marker = line.partition(";")
        if not re.search(rf"""extra == ['"]{extra}['"]""", marker):
            continue
        found = re.match(r"([\w.-]+)(?:\[([\w,-]+)\])?[^>]*(?:>=([\w.]+))?", stated.strip())
        if found and found[1] == DISTRIBUTION:
            for inner in found[2].split(","):
                yield from _requirements(lines, inner)
        elif found:
            yield Requirement(found[1], found[3] or "", _version_of(found[1]))


def _version_of(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _import_failures(requirements: Iterable[Requirement]) -> dict[str, str]:
    """Import what is installed in a process of its own, and say of each package that fails how it does."""
    names = {
        row.package: IMPORT_NAMES.get(row.package, row.package.replace("-", "_"))
        for row in requirements
        if row.found is not None and not row.outdated
    }
    if not names:
        return {}
    command = [sys.executable, "-c", _IMPORT, json.dumps(sorted(set(names.values())))]
    try:
        done = run_program(command, seconds=_SECONDS)
    except subprocess.TimeoutExpired:
        return dict.fromkeys(names, f"no answer within {_SECONDS:.0f} s")
    # an import may print, and the last line is ours; where the process ended, it is the name that was being imported
    last = done.out.decode(errors="replace").strip().rpartition("\n")[2]
    failed = json.loads(last) if done.exit_code == 0 else {last: f"ends Python with code {done.exit_code}"}
    return {package: failed[name] for package, name in names.items() if name in failed}


def _judge_extras(
    title: str,
    extras: tuple[str, ...],
    known: Mapping[str, tuple[Requirement, ...]],
    failed: Mapping[str, str],
    must: bool,
) -> Readiness:
    requirements = tuple(sorted({row for extra in extras for row in known[extra]}))
    missing = [row.package for row in requirements if row.found is None]
    reasons, findings = [], []
    for row in requirements:
        # too old before broken: what is too old was not even imported
        if row.outdated:
            message = f"{row.package} is {row.found}, and {row.least} or newer is needed"
            findings.append(Finding("VC396", message, fix=install_line(*extras, upgrade=True)))
        elif row.package in failed:
            message = f"{row.package} {row.found} cannot be imported: {failed[row.package]}"
            findings.append(Finding("VC397", message, fix="install it again, for this Python and this machine"))
    if missing:
        reasons.append(f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed")
        # an extra that nobody has installed is not broken, whatever else there is of what it needs
        findings = [Finding("VC395", reasons[0], fix=install_line(*extras, upgrade=True)), *findings] if must else []
    reasons += [finding.message for finding in findings if finding.code != "VC395"]
    return Readiness(title, extras, requirements=requirements, reasons=tuple(reasons), findings=tuple(findings))


def _surroundings() -> Surroundings:
    folder = cache_folder()
    wheels = sorted(path.name.split("-")[1] for path in (folder / "wheels").glob("viscy-*.whl"))
    findings = []
    if blocker := _unwritable(str(folder)):
        fix = "set VISCY_COMPAT_CACHE to a folder that can be written"
        findings.append(Finding("VC398", f"the cache {folder} cannot be written: {blocker}", fix=fix))
    models = _version_of("viscy-models")
    facts = {
        DISTRIBUTION: __version__,
        "viscy-models": models or "not installed",
        "python": f"{platform.python_version()} ({sys.executable})",
        "system": f"{platform.system()} {platform.machine()}",
        "git": shutil.which("git") or "not on the path: --repo needs it",
        "clone": os.environ.get("VISCY_COMPAT_REPO")
        or "none stated (VISCY_COMPAT_REPO): released wheels are fetched with pip",
        "cache": str(folder),
        "wheels": ", ".join(wheels) or "none in the cache",
    }
    return Surroundings(tuple(Fact(name, text) for name, text in facts.items()), tuple(findings))


def _unwritable(folder: str) -> str:
    """Say what keeps a folder from being written, or from being made; nothing where that works."""
    place = folder
    # the cache is made when it is first needed: what counts is the nearest folder that is there
    while not os.path.lexists(place) and os.path.dirname(place) != place:
        place = os.path.dirname(place)
    if not os.path.isdir(place):
        return f"{place} is not a folder"
    return "" if os.access(place, os.W_OK | os.X_OK) else f"no permission in {place}"

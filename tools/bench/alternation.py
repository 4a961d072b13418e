"""Run commands in turns and print ratios: the machine's moods then hit all of them alike."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import IO, Any


@dataclass(frozen=True)
class Run:
    """What one process used: seconds of wall clock and of CPU, peak memory in MB, bytes read by system calls."""

    wall: float
    cpu: float
    memory: float
    read: int = 0


@dataclass
class Contender:
    """A command that is measured; `rounds` of its own where it is too slow for as many as the others.

    Where it `reports`, the last line of what it prints is JSON, and is kept in `facts`.
    """

    name: str
    command: Sequence[str]
    rounds: int = 0
    reports: bool = False
    runs: list[Run] = field(default_factory=list)
    facts: list[dict[str, Any]] = field(default_factory=list)

    def median(self, what: str) -> float:
        """The median over the runs of one quantity of `Run`."""
        return float(statistics.median(getattr(run, what) for run in self.runs))


def apart(work: Callable[..., Any], *arguments: object) -> Any:
    """Run a function in a fresh process.

    A child's peak memory counts that of the parent that it was made from, so a parent that measures must never have
    imported torch.
    """
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(work, arguments)


def once(command: Sequence[str], *, said: IO[bytes] | None = None) -> Run:
    """Run a command to its end, its output thrown away, and say what it used (exit codes 0, 1 and 2 are answers)."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=said or subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment)
    complaint = process.stderr.read() if process.stderr else b""
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1, 2):
        sys.exit(f"{' '.join(command)} ended with {process.returncode}: {complaint.decode()[-500:]}")
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def alternate(contenders: Sequence[Contender], rounds: int, *, warm: bool = True) -> None:
    """Measure all contenders in turns, after one round that warms the caches and compiles."""
    for contender in contenders if warm else ():
        once(contender.command)
    for number in range(rounds):
        for contender in contenders:
            if number < (contender.rounds or rounds):
                measure(contender)
        print(f"\rround {number + 1} of {rounds}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)


def measure(contender: Contender) -> None:
    """Run a contender once more, and keep what it used and reported."""
    with tempfile.TemporaryFile() as said:
        contender.runs.append(once(contender.command, said=said if contender.reports else None))
        if contender.reports:
            said.seek(0)
            contender.facts.append(json.loads(said.read().splitlines()[-1]))


def table(title: str, contenders: Sequence[Contender], *, digits: int = 1) -> str:
    """Spell the medians as a Markdown table, ratios to the first contender."""
    base = contenders[0]
    rows = [
        f"| {one.name} | {one.median('wall') / base.median('wall'):.{digits}f} x "
        f"| {one.median('cpu') / base.median('cpu'):.{digits}f} x "
        f"| {one.median('memory'):.0f} MB | {len(one.runs)} |"
        for one in contenders
    ]
    return "\n".join([f"| {title} | wall | CPU | peak memory | runs |", "|---|---|---|---|---|", *rows])


def record(path: Path, title: str, contenders: Sequence[Contender]) -> None:
    """Add the medians to a result file, which the README is held against."""
    known = json.loads(path.read_text()) if path.exists() else {}
    known[title] = {
        one.name: {key: round(one.median(key), 4) for key in asdict(one.runs[0])} | {"runs": len(one.runs)}
        for one in contenders
    }
    path.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")

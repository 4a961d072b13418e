"""Cases a second of `explore`, against building both models afresh for each case: python tools/bench/explore.py [CLASS...]

Both ways run the same building laws on the same drawn cases, in alternation, with the imports paid before. "Afresh" is one
input for each configuration and no model kept; `explore` feeds several inputs to each model that it built.
"""

from __future__ import annotations

import statistics
import sys
import time

from viscy_compat.architectures import find
from viscy_compat.architectures.architecture import Architecture
from viscy_compat.exploring.laws import LAWS, DrawnCase, Subject
from viscy_compat.old_code.origin import Wanted, resolve
from viscy_compat.workers.candidate import Candidate
from viscy_compat.workers.sides import Setup, Sides, sides

ROUNDS = 3
INPUTS = 8
BUILDING = [law for law in LAWS if law.kind == "builds"]


def cases_of(architecture: Architecture) -> list[DrawnCase]:
    """Return one configuration with several inputs."""
    config = {**architecture.cases[0].config}
    whole = {argument.name: config.get(argument.name, argument.default) for argument in architecture.arguments}
    meant = architecture.cases[0].input
    return [DrawnCase(whole, (1 + number % 3, *meant[1:-1], meant[-1] + number)) for number in range(INPUTS)]


def cached(architecture: Architecture, both: Sides) -> float:
    """Return cases a second where each built model meets all inputs."""
    subject = Subject(architecture, resolve([architecture], Wanted())[architecture.name], both)
    assert subject.old
    both.describe(architecture, subject.old)
    drawn = cases_of(architecture)
    started = time.perf_counter()
    for case in drawn:
        for law in BUILDING:
            law.check(subject, case)
    return len(drawn) / (time.perf_counter() - started)


def afresh(architecture: Architecture, both: Sides) -> float:
    """Return cases a second where each law of each case builds both models again."""
    old = resolve([architecture], Wanted())[architecture.name]
    both.describe(architecture, old)
    drawn = cases_of(architecture)[:2]
    started = time.perf_counter()
    for number, case in enumerate(drawn):
        for law in BUILDING:
            # another seed is another model, so nothing that was kept fits
            law.check(Subject(architecture, old, both, seed=100 * number + BUILDING.index(law)), case)
    return len(drawn) / (time.perf_counter() - started)


def main() -> int:
    """Measure and print the ratio for each class."""
    names = sys.argv[1:] or ["BetaVaeMonai", "ContrastiveEncoder"]
    with sides(Setup(cache=2), Candidate()) as both:
        for name in names:
            architecture = find(name)
            cached(architecture, both)
            pairs = [(cached(architecture, both), afresh(architecture, both)) for _ in range(ROUNDS)]
            kept, fresh = (statistics.median(column) for column in zip(*pairs, strict=True))
            print(f"{name}: {kept:.2f} cases a second, afresh {fresh:.2f}, ratio {kept / fresh:.1f} x", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""How often `remap --as CLASS` finds the configuration of a file whose attributes were renamed: right, asked or WRONG.

    python tools/bench/configuration_accuracy.py [--draws N] [--seed N]

Each class in random configurations (the domains of the architecture files), each behind every way of renaming of
`tests/support/renaming.py`, with prefixes, in the order of registration, sorted and shuffled. ``plan`` says whether the
whole mapping, tensor by tensor, was right as well. Layouts alone: no torch.
"""

from __future__ import annotations

import argparse
import random
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from support.renaming import PREFIXES, STYLES, renamed  # noqa: E402
from viscy_compat.architectures import find, migrated_names  # noqa: E402
from viscy_compat.architectures.bags import TooManyWays  # noqa: E402
from viscy_compat.architectures.inference import infer  # noqa: E402
from viscy_compat.architectures.structure import alike  # noqa: E402
from viscy_compat.checkpoint.facts import View  # noqa: E402
from viscy_compat.errors import PlanRefused  # noqa: E402
from viscy_compat.layout import Layout  # noqa: E402
from viscy_compat.operations import Rename  # noqa: E402
from viscy_compat.plans.maker import infer_plan, route_to_class  # noqa: E402
from viscy_compat.plans.plan import PlanEnd  # noqa: E402
from viscy_compat.strategies import buildable  # noqa: E402

ORDERS = ("registered", "sorted", "shuffled")


def configurations(name: str, draws: int, number: int) -> list[dict[str, Any]]:
    """Draw configurations that can be built."""
    drawn: list[dict[str, Any]] = []

    @seed(number)
    @settings(
        max_examples=draws,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(buildable(name))
    def collect(config: dict[str, Any]) -> None:
        drawn.append(config)

    collect()
    return drawn


def files(layout: Layout, number: int) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield each way of renaming, with one prefix and one order each."""
    rng = random.Random(number)
    for style in STYLES:
        order = rng.choice(ORDERS)
        yield style, renamed(layout, style, rng.choice(PREFIXES), order, rng.randrange(1 << 16))


def grades(name: str, layout: Layout, truth: dict[str, str]) -> tuple[str, str]:
    """Grade the configuration, and the plan."""
    here = {new: layout[old] for new, old in truth.items()}
    try:
        found = alike(find(name), here)
    except TooManyWays:
        found = []
    if len(found) != 1:
        return "asked", "asked"
    if found[0].layout != layout:
        return "WRONG", "WRONG"
    inference = infer(find(name), layout)
    assert inference is not None
    try:
        plan = infer_plan(route_to_class(PlanEnd(here), View("", {new: new for new in here}), inference)).plan
    except PlanRefused:
        return "right", "asked"
    moves = {row.source: row.target for row in plan.operations if isinstance(row, Rename)}
    return "right", "right" if moves == truth else "WRONG"


def main() -> None:
    """Draw, grade, print a row for each class and each way of renaming."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--draws", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    counts: dict[str, Counter[tuple[str, str]]] = {}
    for name in migrated_names():
        for number, config in enumerate(configurations(name, arguments.draws, arguments.seed)):
            layout = find(name).layout(config)
            for style, truth in files(layout, arguments.seed * 10_000 + number):
                configuration, plan = grades(name, layout, truth)
                for row in (name, style, "all"):
                    counts.setdefault(row, Counter()).update([("configuration", configuration), ("plan", plan)])
    print(f"{'':24}{'configuration':>30}{'plan':>30}")
    print(f"{'':24}{'right':>10}{'asked':>10}{'WRONG':>10}{'right':>10}{'asked':>10}{'WRONG':>10}")
    for row in (*migrated_names(), *STYLES, "all"):
        cells = [
            counts[row][what, grade] for what in ("configuration", "plan") for grade in ("right", "asked", "WRONG")
        ]
        print(f"{row:24}" + "".join(f"{cell:10}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()

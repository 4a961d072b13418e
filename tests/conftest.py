"""What all tests share: hypothesis profiles, and one thread, because bytes compare only under equal conditions."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from support.uncounted import counting_paused

os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile(
    "ci", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
# derandomized too: a change to the code must be noticed in every run or in none
settings.register_profile("mutation", settings.get_profile("ci"), max_examples=20)
settings.load_profile("ci")

TESTS = Path(__file__).parent
REPEATS = (
    "docs/",
    "hostile/test_command.py",
    "hostile/test_damage.py",
    "hostile/test_fuzz.py",
    "hostile/test_writing_under_duress.py",
    "laws/",
    "matching/test_renames_of_libraries.py",
    "references/test_freezing.py",
    "rewrite/test_large_remaps.py",
    "test_building.py",
    "test_house.py",
    "test_packaging.py",
    "test_readme.py",
    "tools/",
    "viscy_models/",
)
"""Tests of what other tests run one by one, in every case, at random or as a user does, and of what is not counted at all."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what repeats. Put files that build models first: where files are spread, the longest must not come last."""
    for item in items:
        if item.path.relative_to(TESTS).as_posix().startswith(REPEATS):
            item.add_marker("uncounted")
    long = {item.path for item in items if item.get_closest_marker("torch")}

    def place(item: pytest.Item) -> tuple[bool, Path]:
        return item.path not in long, item.path.parent

    items.sort(key=place)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Count no line of a test that repeats what others run, from its fixtures on."""
    if item.get_closest_marker("uncounted") is None:
        return (yield)
    with counting_paused():
        return (yield)

"""What all tests share: hypothesis profiles, and one thread, because bytes compare only under equal conditions."""

from __future__ import annotations

import gc
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from support.uncounted import counting_paused

os.environ.setdefault("OMP_NUM_THREADS", "1")
# what people set for themselves, or a workflow for its steps, is no part of a test that does not set it
for name in ("COLUMNS", "FORCE_COLOR", "GITHUB_STEP_SUMMARY", "NO_COLOR", "SOURCE_DATE_EPOCH", "SUDO_UID"):
    os.environ.pop(name, None)
for name in ("VISCY_COMPAT_REPO", "VISCY_COMPAT_SLURM", "VISCY_COMPAT_TIMEOUT"):
    os.environ.pop(name, None)
# a user of a service has no home: what was downloaded, and whether `doctor` finds a place for it, must not hang on that
if "VISCY_COMPAT_CACHE" not in os.environ and os.name == "posix" and not os.access(os.path.expanduser("~"), os.W_OK):
    os.environ["VISCY_COMPAT_CACHE"] = os.path.join(tempfile.gettempdir(), f"viscy-compat-cache-{os.getuid()}")
# the servers of the tests are on the loopback, which the proxy of a machine may not know
for name in ("no_proxy", "NO_PROXY"):
    os.environ[name] = ",".join(filter(None, (os.environ.get(name), "127.0.0.1", "localhost")))

settings.register_profile(
    "ci", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
# derandomized too: a change to the code must be noticed in every run or in none
settings.register_profile("mutation", settings.get_profile("ci"), max_examples=20)
settings.load_profile("ci")

TESTS = Path(__file__).parent
REPEATS = (
    "diagnosis/test_real_old_checkpoints.py",
    "docs/",
    "hostile/test_command.py",
    "hostile/test_damage.py",
    "hostile/test_fuzz.py",
    "hostile/test_writing_under_duress.py",
    "laws/",
    "matching/test_renames_of_libraries.py",
    "references/test_freezing.py",
    "report/test_audit_page.py",
    "report/test_every_fact.py",
    "rewrite/test_large_remaps.py",
    "test_building.py",
    "test_house.py",
    "test_packaging.py",
    "test_readme.py",
    "tools/",
    "viscy_models/",
)
"""Tests of what other tests run one by one, in every case, at random or as a user does, and of what is not counted at all."""


FRESH_SEED = 67280421310721
"""What torch starts from where nobody gave it a seed."""


@pytest.fixture(autouse=True)
def numbers_as_in_a_fresh_process() -> None:
    """Draw alike whichever tests ran before in the same process: which those are, the spreading over processes decides."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(FRESH_SEED)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Make no search for circles among what collecting makes, which all stays, and leave it out of later ones.

    With torch and 8,600 tests there are a million objects, and each look at all of them takes 0.7 seconds of the processor.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_unconfigure() -> None:
    """Let go of all at the end: a library of torch counts what is left then, and calls it leaked."""
    gc.unfreeze()


@pytest.fixture(scope="module")
def warm() -> Iterator[None]:
    """Fork workers from a process that has imported the stack: for tests of what workers answer, not of how they start."""
    from support.warm import warm_workers

    with warm_workers():
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what repeats. Put files that build models first, then what is long or repeats: where files are spread, the longest
    must not come last."""
    for item in items:
        if item.path.relative_to(TESTS).as_posix().startswith(REPEATS):
            item.add_marker("uncounted")
    building = {item.path for item in items if item.get_closest_marker("torch")}
    long = {item.path for item in items if item.get_closest_marker("long") or item.get_closest_marker("uncounted")}

    def place(item: pytest.Item) -> tuple[bool, bool, Path]:
        return item.path not in building, item.path not in long, item.path.parent

    items.sort(key=place)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Count no line of a test that repeats what others run, from its fixtures on."""
    if item.get_closest_marker("uncounted") is None:
        return (yield)
    with counting_paused():
        return (yield)

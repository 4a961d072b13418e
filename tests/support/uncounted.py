"""What is not counted where the lines that tests run are: children that are looked at themselves, and what repeats.

Counting takes as much again as the tests themselves, and 0.2 seconds of the processor for each command that one starts.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def uncounted() -> dict[str, str]:
    """Return the environment without what makes Python count the lines that it runs."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}


@contextmanager
def counting_paused() -> Iterator[None]:
    """Count nothing meanwhile, neither here nor in processes that are started; nothing where nothing is counted."""
    counter = sys.modules["coverage"].Coverage.current() if "coverage" in sys.modules else None
    names = [name for name in os.environ if name.startswith("COVERAGE_")]
    kept = {name: os.environ.pop(name) for name in names}
    exit_counting = os._exit
    if counter is not None:
        counter.stop()
        # coverage's saves first, which is nothing for a child that is killed in between
        os._exit = sys.modules[os.name]._exit
    try:
        yield
    finally:
        os.environ.update(kept)
        if counter is not None:
            counter.start()
            # each start puts another layer around it (coverage 7.17): a thousand of them are too many to call
            os._exit = exit_counting

"""How much slower than usual a machine is: a bound in seconds of the processor holds for the machine that it was stated on."""

from __future__ import annotations

import time
from typing import Any

USUAL = 0.25
"""Seconds of `_reference` where the bounds were stated (two cores of an EPYC)."""


def slowness() -> float:
    """Return by how much this machine is slower just now; 1 where it is as quick or quicker."""
    start = time.process_time()
    _reference()
    return max(1.0, (time.process_time() - start) / USUAL)


def _reference() -> None:
    """What the reader does all day: look things up, and make tuples."""
    held: dict[int, Any] = {}
    for number in range(5_000_000):
        held[number & 1023] = (number, held)

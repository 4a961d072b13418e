"""What strange code raises, as data."""

from __future__ import annotations

import traceback
from typing import Any

Json = Any

LONGEST_MESSAGE = 2000
"""Characters of a message that are handed on: some libraries print whole tensors."""


class BadRequest(Exception):
    """A request that cannot be meant."""


class Guard:
    """Run strange code; keep what it raises as data.

    Old code may raise anything, so no list of types would do. Exits and interrupts pass through.
    """

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self.error: Json = None

    def __enter__(self) -> Guard:
        return self

    def __exit__(self, kind: Any, value: Any, trace: Any) -> bool:
        if kind is None or not issubclass(kind, Exception):
            return False
        self.error = {"stage": self.stage, "type": kind.__name__, "message": str(value)[:LONGEST_MESSAGE]}
        self.error["trace"] = [f"{f.filename}:{f.lineno} {f.name}" for f in traceback.extract_tb(trace)[-4:]]
        # a traceback keeps every tensor of the failed frames alive
        traceback.clear_frames(trace)
        return True

"""Which reader a file needs."""

from __future__ import annotations

from viscy_compat.checkpoint.facts import Checkpoint
from viscy_compat.checkpoint.limits import Limits


def read_checkpoint(path: str, limits: Limits, state_dict: str | None) -> Checkpoint:
    """Read a checkpoint of any format; see `viscy_compat.checkpoint.open_checkpoint`."""
    raise NotImplementedError

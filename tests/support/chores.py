"""Work for processes of their own: functions that those can import."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from viscy_compat.fleet.judging import AuditQuestion, judge_shard
from viscy_compat.fleet.target import Target


def double(number: int) -> int:
    """Twice the number; the first ones take longest, so that answers come in another order than questions."""
    time.sleep(max(0.2 - number / 20, 0))
    return 2 * number


def double_but_die_at_three(number: int) -> int:
    if number == 3:
        os._exit(9)
    return 2 * number


def die_the_first_time(path: str) -> int:
    """End the process after the work was done, and before anybody learns of it."""
    if not Path(path).exists():
        Path(path).touch()
        os._exit(9)
    return 1


def die_of_one(question: AuditQuestion, targets: Sequence[Target]) -> list[bytes]:
    """End as the system ends a process, with one file in hand."""
    if any(target.path.endswith("epoch=5.ckpt") for target in targets):
        os._exit(9)
    return judge_shard(question, targets)


def die_of_all(question: AuditQuestion, targets: Sequence[Target]) -> list[bytes]:
    os._exit(9)


def work_long(folder: str) -> int:
    """Something that takes long and leaves a file behind unless it is cleaned up, which all but one do slowly."""
    place = Path(folder) / f"{os.getpid()}.tmp"
    try:
        place.touch()
        time.sleep(3600)
    finally:
        try:
            (Path(folder) / "first").mkdir()
        except FileExistsError:
            time.sleep(0.5)
        place.unlink(missing_ok=True)
    return 0


def ignore_ends(folder: str) -> int:
    """Something that does not end when it is asked to."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Path(folder, f"{os.getpid()}.tmp").touch()
    time.sleep(3600)
    return 0


def refuse(number: int) -> int:
    raise ValueError(f"{number} is refused")

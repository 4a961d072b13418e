"""A remap that is killed, in a process that is small: each law starts hundreds of children by a fork."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from support.files import renaming_plan, torch_file
from viscy_compat.rewrite.output import ENDING
from viscy_compat.rewrite.remapping import remap

SIZES = [70_000, 1, 0, 300_000, 5_000] * 3


class Place:
    """A folder with an input, a plan, and the output that a quiet run gives."""

    def __init__(self, folder: Path, ending: str) -> None:
        self.folder, self.plan = folder, folder / "plan.json"
        self.source, self.out = folder / "old.ckpt", folder / "out" / f"new{ending}"
        self.out.parent.mkdir()
        torch_file(self.source, SIZES, wrapped=True)
        renaming_plan(self.plan, SIZES)
        self.run()
        self.original, self.whole = self.source.read_bytes(), self.out.read_bytes()
        self.out.unlink()

    def run(self, *, in_place: bool = False) -> None:
        out = None if in_place else str(self.out)
        remap(str(self.source), out, in_place=in_place, plan=str(self.plan))

    def left(self) -> list[str]:
        return sorted(entry.name for entry in self.out.parent.iterdir())

    def holds(self) -> bool:
        """Whether the input is untouched and the output whole or absent, leftovers aside."""
        visible = [name for name in self.left() if not name.endswith(ENDING)]
        return self.source.read_bytes() == self.original and (
            visible == [] or (visible == [self.out.name] and self.out.read_bytes() == self.whole)
        )


def in_a_child(work: Callable[[], None]) -> int:
    """Run something in a forked child and return the child's process id."""
    child = os.fork()
    if child:
        return child
    try:
        work()
    finally:
        os._exit(0)


def killed_at_random_moments(place: Place) -> None:
    """Fifty times; what is there is whole each time, and the next run sweeps what was left."""
    started = time.monotonic()
    os.waitpid(in_a_child(place.run), 0)
    span = time.monotonic() - started
    assert place.holds()
    chance = random.Random(0)
    seen = set()
    for _ in range(50):
        place.out.unlink(missing_ok=True)
        child = in_a_child(place.run)
        time.sleep(chance.uniform(0, 1.1 * span))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        assert place.holds()
        # a machine that becomes crowded, or idle, moves the moments along
        span *= 0.9 if place.out.exists() else 1.1
        seen.add(tuple(name.endswith(ENDING) for name in place.left()))
    assert len(seen) > 1
    place.out.unlink(missing_ok=True)
    place.run()
    assert place.left() == [place.out.name]


# What a run calls to change anything, and what it calls in between.
MOMENTS = ("open", "pwrite", "fsync", "link", "replace", "unlink", "close")


def killed_at_each_call(place: Place, *, in_place: bool) -> None:
    """Dies right before its first call, its second, and so on, until a run gets through."""
    backup = place.source.with_name("old.ckpt.bak")
    for moment in range(1000):
        place.out.unlink(missing_ok=True)
        if backup.exists():
            os.replace(backup, place.source)
        _, status = os.waitpid(in_a_child(lambda moment=moment: _doomed(place, moment, in_place)), 0)  # type: ignore[misc]
        if in_place:
            original = backup if backup.exists() else place.source
            assert original.read_bytes() == place.original
            assert place.source.exists()
        else:
            assert place.holds()
        if not os.WIFSIGNALED(status):
            break
    assert moment > 20
    assert not os.WIFSIGNALED(status)
    assert place.left() == ([] if in_place else [place.out.name])
    assert [entry.name for entry in place.folder.iterdir() if entry.name.endswith(ENDING)] == []


def _doomed(place: Place, moment: int, in_place: bool) -> None:
    left = [moment]

    def counting(call: Callable[..., object]) -> Callable[..., object]:
        def called(*words: object, **options: object) -> object:
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            return call(*words, **options)

        return called

    for name in MOMENTS:
        setattr(os, name, counting(getattr(os, name)))
    place.run(in_place=in_place)


LAWS: dict[str, Callable[[Place], None]] = {
    "killed at random moments": killed_at_random_moments,
    "killed at each call": lambda place: killed_at_each_call(place, in_place=False),
    "killed at each call in place": lambda place: killed_at_each_call(place, in_place=True),
}


def main() -> None:
    """Hold one law in a folder, for one format."""
    law, folder, ending = sys.argv[1:]
    LAWS[law](Place(Path(folder), ending))

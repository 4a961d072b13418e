"""The program of a worker without its confinement, so that its lines can be measured; what it answers is the same.

A confined worker can write no file, so that nothing of it would be counted. This is for tests alone: no setting of ours
leads here.
"""

import importlib.util
import os
import runpy
import sys
from typing import Any


class Open:
    """Stands for `isolation.Isolation`, and confines nothing."""

    def __init__(self, request: Any) -> None:
        self._request = request

    def enter(self) -> None:
        """Take nothing away."""

    def seal(self) -> list[str]:
        """Say so."""
        return ["nothing at all"]


def main() -> int:
    """Run the loop of the program that a worker runs."""
    spec = importlib.util.find_spec("viscy_compat")
    assert spec is not None
    assert spec.origin is not None
    program = os.path.join(os.path.dirname(spec.origin), "workers", "program", "__main__.py")
    loop: Any = runpy.run_path(program, run_name="program")["load"]()

    class Desk(loop.Desk):  # type: ignore[misc]
        """Also writes down which lines were run: a worker is ended, and would not come to that at its end."""

        def answer(self, request: Any) -> Any:
            if request.get("op") != "measure":
                return super().answer(request)
            save_coverage()
            return {"mark": request.get("mark")}

    loop.Isolation, loop.Desk = Open, Desk
    code: int = loop.main()
    return code


def save_coverage() -> None:
    """Write down the lines so far, where lines are counted at all."""
    coverage = sys.modules.get("coverage")
    running = coverage.Coverage.current() if coverage else None
    if running:
        running.stop()
        running.save()
        running.start()


if __name__ == "__main__":
    # no package of ours stays in sight of strange code
    found = main()
    sys.stderr.flush()
    os._exit(found)

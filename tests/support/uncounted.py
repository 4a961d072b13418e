"""What a child is started with that is looked at itself: its modules, its time, its memory, its errors."""

from __future__ import annotations

import os


def uncounted() -> dict[str, str]:
    """Return the environment without what makes Python count the lines that it runs."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}

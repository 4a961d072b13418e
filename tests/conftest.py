"""What all tests share: hypothesis profiles, and one thread, because bytes compare only under equal conditions."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile(
    "ci", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
# derandomized too: a change to the code must be noticed in every run or in none
settings.register_profile("mutation", settings.get_profile("ci"), max_examples=20)
settings.load_profile("ci")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files that build models first: where files are spread over processes, the longest must not come last."""
    long = {item.path for item in items if item.get_closest_marker("torch")}

    def place(item: pytest.Item) -> tuple[bool, Path]:
        return item.path not in long, item.path.parent

    items.sort(key=place)

"""One old worker and one with the migrated classes, for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.sides import Sides, both_sides


@pytest.fixture(scope="session")
def sides() -> Iterator[Sides]:
    with both_sides() as started:
        yield started

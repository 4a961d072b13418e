"""The assembled history, once a test run."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.old_checkpoints import cache
from support.old_history import assemble


@pytest.fixture(scope="session")
def assembled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of three releases; read it, never write to it."""
    return assemble(tmp_path_factory.mktemp("history") / "VisCy")


@pytest.fixture(autouse=True)
def wheel_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """All tests share the downloaded wheels."""
    monkeypatch.setenv("VISCY_COMPAT_CACHE", str(cache().parent))

"""Architectures that tests change."""

from __future__ import annotations

from copy import copy
from typing import Any

from viscy_compat.architectures.architecture import Architecture


def variant(architecture: Architecture, **attributes: Any) -> Architecture:
    """A copy with other attributes."""
    other = copy(architecture)
    vars(other).update(attributes)
    return other

"""Hypothesis strategies over the domains of an Architecture: configurations, and inputs near the one that is meant."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from viscy_compat.architectures.architecture import (
    Architecture,
    Choice,
    Config,
    Domain,
    Floats,
    Integers,
    Items,
    complete,
)
from viscy_compat.errors import Unbuildable


def values(domain: Domain) -> st.SearchStrategy[Any]:
    """Values of one domain."""
    if isinstance(domain, Choice):
        return st.sampled_from(domain.values)
    if isinstance(domain, Integers):
        return st.integers(domain.low, domain.high)
    if isinstance(domain, Floats):
        return st.floats(domain.low, domain.high)
    if isinstance(domain, Items):
        return st.tuples(*map(values, domain.domains))
    return st.lists(values(domain.domain), min_size=domain.low, max_size=domain.high).map(tuple)


@st.composite
def configurations(draw: st.DrawFn, architecture: Architecture) -> dict[str, Any]:
    """Complete configurations, buildable or not; ``pretrained`` stays off."""
    config: dict[str, Any] = {}
    for argument in architecture.arguments:
        loads = argument.effect == "initial weights"
        config[argument.name] = argument.default if loads else draw(values(argument.values(config)))
    return complete(architecture, config)


def builds(architecture: Architecture, config: Config) -> bool:
    try:
        architecture.footprint(config)
    except Unbuildable:
        return False
    return True


def buildable(architecture: Architecture) -> st.SearchStrategy[dict[str, Any]]:
    """Complete configurations whose constructor does not raise."""
    return configurations(architecture).filter(lambda config: builds(architecture, config))

"""Hypothesis strategies over the classes: configurations and inputs, for the tests of anybody who maintains a model.

They are derived from the domains in the architecture files, so a new argument is drawn as soon as it is known there.

Examples
--------
>>> from hypothesis import given, settings
>>> @settings(max_examples=5)
... @given(buildable("ResNet3dEncoder"))
... def every_embedding_fits_its_backbone(config):
...     assert config["embedding_dim"] in (512, 2048)
>>> every_embedding_fits_its_backbone()
"""

from __future__ import annotations

from math import prod
from typing import Any

from hypothesis import strategies as st

from viscy_compat.architectures import find
from viscy_compat.architectures.architecture import (
    Architecture,
    Choice,
    Config,
    Domain,
    Floats,
    Integers,
    TupleOf,
    complete,
)
from viscy_compat.errors import Unbuildable

MOST_ELEMENTS = 1 << 19
"""Inputs of several members are drawn below this many elements, so that a forward pass costs milliseconds."""

MOST_ALONE = 1 << 20
"""Elements of an input that is drawn alone, since a configuration is made for it: with six million, a decoder of BetaVae25D
took 20 seconds and 7 GB."""


def values(domain: Domain) -> st.SearchStrategy[Any]:
    """Draw values of one domain; the simplest are the first of a choice and the lowest of a range."""
    if isinstance(domain, Choice):
        return st.sampled_from(domain.values)
    if isinstance(domain, Integers):
        return st.integers(domain.low, domain.high)
    if isinstance(domain, Floats):
        return st.floats(domain.low, domain.high)
    if isinstance(domain, TupleOf):
        return st.tuples(*map(values, domain.domains))
    return st.lists(values(domain.domain), min_size=domain.low, max_size=domain.high).map(tuple)


@st.composite
def configurations(draw: st.DrawFn, architecture: Architecture | str) -> dict[str, Any]:
    """Draw complete configurations of a class, buildable or not; ``pretrained`` stays off."""
    known = find(architecture) if isinstance(architecture, str) else architecture
    config: dict[str, Any] = {}
    for argument in known.arguments:
        loads = argument.effect == "initial weights"
        config[argument.name] = argument.default if loads else draw(values(argument.values(config)))
    return complete(known, config)


def builds(architecture: Architecture, config: Config) -> bool:
    """Whether the constructor takes a configuration, by the shape rule."""
    try:
        architecture.footprint(config)
    except Unbuildable:
        return False
    return True


def buildable(architecture: Architecture | str) -> st.SearchStrategy[dict[str, Any]]:
    """Draw complete configurations whose constructor does not raise."""
    known = find(architecture) if isinstance(architecture, str) else architecture
    return configurations(known).filter(lambda config: builds(known, config))


@st.composite
def inputs(draw: st.DrawFn, architecture: Architecture | str, config: Config) -> tuple[int, ...]:
    """Draw shapes to feed, batch first: the one that a configuration is made for, and others near it."""
    known = find(architecture) if isinstance(architecture, str) else architecture
    meant = known.input_shape(config)
    batch = draw(st.integers(1, 3))
    near = [draw(st.just(size) | st.integers(max(1, size - 5), size + 5)) for size in meant[2:]]
    if draw(st.booleans()) or prod((meant[1], *near)) > MOST_ALONE:
        near[-2:] = [draw(st.integers(1, 80)) for _ in near[-2:]]
    room = MOST_ELEMENTS // prod((meant[1], *near))
    return (max(1, min(batch, room)), meant[1], *near)

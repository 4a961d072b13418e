"""What is drawn is what can be computed in passing."""

from __future__ import annotations

from math import prod
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from viscy_compat.architectures import find, migrated_names
from viscy_compat.strategies import MOST_ALONE, MOST_ELEMENTS, buildable, inputs


@given(st.data())
def test_no_input_is_drawn_large_but_one_alone_that_its_configuration_needs(data: Any) -> None:
    architecture = find(data.draw(st.sampled_from(migrated_names())))
    shape = data.draw(inputs(architecture, data.draw(buildable(architecture))))
    assert prod(shape) <= MOST_ELEMENTS or shape[0] == 1
    # beyond the largest there are only small sides: what a depth and channels make of those
    assert prod(shape) <= MOST_ALONE or max(shape[-2:]) <= 80

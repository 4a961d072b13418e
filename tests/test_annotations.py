"""What stands in for the standard library does what that does, as far as we use it."""

from __future__ import annotations

import contextlib
import functools
import importlib
import sys
from collections.abc import Callable
from typing import Any

import pytest

# the class that stands in, not the feature of the language that its importers see
standing_in: Any = importlib.import_module("viscy_compat.annotations")

SUPPRESSORS: list[Any] = [contextlib.suppress, standing_in.suppress]
PROPERTIES: list[Any] = [functools.cached_property, standing_in.cached_property]


@pytest.mark.parametrize("suppress", SUPPRESSORS)
@pytest.mark.parametrize("error", [KeyError, FileNotFoundError])
def test_errors_that_are_named_and_their_kinds_are_suppressed(
    suppress: type[contextlib.suppress], error: type[Exception]
) -> None:
    with suppress(LookupError, OSError):
        raise error
    with suppress():
        pass


@pytest.mark.parametrize("suppress", SUPPRESSORS)
def test_others_are_not(suppress: Any) -> None:
    with pytest.raises(ValueError, match="other"), suppress(LookupError, OSError):
        raise ValueError("other")


@pytest.mark.parametrize("cached_property", PROPERTIES)
def test_a_property_is_computed_once_for_each_object(cached_property: Any) -> None:
    class Counted:
        def __init__(self) -> None:
            self.count = 0

        @cached_property  # type: ignore[untyped-decorator]
        def value(self) -> int:
            """Its own text."""
            self.count += 1
            return self.count

    class Below(Counted):
        pass

    one, other = Counted(), Below()
    assert (one.value, one.value, other.value, one.count, other.count) == (1, 1, 1, 1, 1)
    assert Counted.value.__doc__ == "Its own text."


@pytest.mark.parametrize("load", [importlib.import_module, standing_in.import_module])
def test_a_module_below_others_is_imported_itself(load: Callable[[str], Any]) -> None:
    assert load("viscy_compat.checkpoint.limits") is sys.modules["viscy_compat.checkpoint.limits"]
    with pytest.raises(ModuleNotFoundError, match="nowhere"):
        load("viscy_compat.nowhere")


def test_aliases_of_types_can_be_made_and_joined() -> None:
    text = standing_in.Literal["a", "b"] | standing_in.Any
    assert (str | text) is text
    assert standing_in.cast("int", 3) == 3


def test_a_generic_class_is_the_same_class_with_a_parameter() -> None:
    class Box(standing_in.Generic[standing_in.TypeVar("T")]):  # type: ignore[misc]
        pass

    box: Any = Box
    assert box[int] is Box
    assert isinstance(box[str](), Box)

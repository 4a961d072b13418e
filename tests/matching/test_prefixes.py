"""A prefix is taken off where most names agree below it, and where nothing beside it could be the model as well."""

from __future__ import annotations

import pytest

from viscy_compat.matching.prefixes import wrappers

INNER = {"a.w": 0, "a.b": 1, "c.w": 2}


def below(prefix: str) -> dict[str, int]:
    return {f"{prefix}.{name}": key for name, key in INNER.items()}


@pytest.mark.parametrize(
    ("here", "there", "expected"),
    [
        (INNER, INNER, ((), ())),
        (below("model"), INNER, (("model",), ())),
        (below("a.b.c"), INNER, (("a", "b", "c"), ())),
        (INNER, below("module"), ((), ("module",))),
        (INNER, {**below("module"), "loss.weight": 9}, ((), ("module",))),
        ({**below("model"), "loss.weight": 9}, INNER, (("model",), ())),
        (below("1.2.3.4.5.6.7.8"), INNER, (tuple("12345678"), ())),
    ],
)
def test_the_prefix_below_which_names_agree_is_found(
    here: dict[str, int], there: dict[str, int], expected: tuple[tuple[str, ...], tuple[str, ...]]
) -> None:
    assert wrappers(here, there) == expected


@pytest.mark.parametrize(
    ("here", "there"),
    [
        ({}, {}),
        ({"x": 0}, {"y": 0}),
        # two models that agree equally well
        ({**below("student"), **below("teacher")}, INNER),
        (INNER, {**below("student"), **below("teacher")}),
        # names agree, and shapes do not
        ({name: key + 10 for name, key in below("model").items()}, INNER),
        # what stands outside holds as much as half of the model
        ({**below("model"), "ema.x": 0, "ema.y": 1}, INNER),
        (INNER, {**below("model"), "ema.x": 0, "ema.y": 1}),
        # names of fewer than half of the tensors agree
        ({"model.a.w": 0, "model.q": 1, "model.r": 2}, INNER),
        # deeper than anybody wraps
        (below("1.2.3.4.5.6.7.8.9"), INNER),
    ],
)
def test_what_is_not_sure_to_be_a_prefix_is_left_alone(here: dict[str, int], there: dict[str, int]) -> None:
    assert wrappers(here, there) == ((), ())


def test_what_stands_outside_counts_by_its_shapes() -> None:
    strangers = {f"ema.x{place}": 7 for place in range(9)}
    assert wrappers({**below("model"), **strangers}, INNER) == (("model",), ())
    one = {**below("model"), "ema.x": 0}
    assert wrappers(one, INNER) == (("model",), ())


def test_half_of_the_names_are_enough() -> None:
    four = {**INNER, "d.w": 3}
    here = {"model.a.w": 0, "model.a.b": 1, "model.x": 2, "model.y": 3}
    assert wrappers(here, four) == (("model",), ())

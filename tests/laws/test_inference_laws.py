"""What must hold for any configuration: inference inverts the layout, and what it leaves open is all that is open."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.configurations import buildable, builds, configurations
from viscy_compat.architectures import class_names, find
from viscy_compat.architectures.architecture import Architecture, Case, Generation, complete
from viscy_compat.architectures.domains import some_values
from viscy_compat.architectures.inference import Inference, identify, infer
from viscy_compat.errors import Unbuildable
from viscy_compat.layout import Layout, TensorSpec

CLASSES = [find(name) for name in class_names()]
EXAMPLES = 80
FREE = {"stem.conv.weight", "encoder.stem.conv.weight", "encoder.conv1.weight"}
"""Tensors with an axis that nothing else shares: another size there is another configuration."""


def shuffled(layout: Layout, seed: int) -> Layout:
    names = list(layout)
    random.Random(seed).shuffle(names)
    return {name: layout[name] for name in names}


def found(layout: Layout, stated: dict[str, Any] | None = None) -> Inference:
    inference = identify(layout, stated or {})
    assert inference is not None
    return inference


@pytest.mark.parametrize("architecture", CLASSES, ids=class_names())
def test_inference_finds_a_configuration_with_that_layout(architecture: Architecture) -> None:
    @settings(max_examples=EXAMPLES)
    @given(buildable(architecture), st.integers(0, 99))
    def law(config: dict[str, Any], seed: int) -> None:
        layout = architecture.layout(config)
        inference = found(shuffled(layout, seed))
        assert inference.architecture is architecture
        assert inference.generation is architecture.generations[-1]
        assert list(architecture.layout(inference.config).items()) == list(layout.items())
        assert not inference.retyped
        open_arguments = {name for entry in inference.undetermined for option in entry.candidates for name in option}
        differing = {name for name in config if inference.config[name] != config[name]}
        assert differing <= open_arguments

    law()


@pytest.mark.parametrize("architecture", CLASSES, ids=class_names())
def test_every_candidate_has_the_layout_of_the_file(architecture: Architecture) -> None:
    @settings(max_examples=EXAMPLES)
    @given(buildable(architecture))
    def law(config: dict[str, Any]) -> None:
        layout = architecture.layout(config)
        inference = found(layout)
        for entry in inference.undetermined:
            assert len(entry.candidates) > 1 or not entry.complete
            assert entry.candidates[0][entry.name] == entry.assumed == inference.config[entry.name]
            for option in entry.candidates[:: max(1, len(entry.candidates) // 3)]:
                assert architecture.layout({**inference.config, **option}) == layout

    law()


@pytest.mark.parametrize("architecture", CLASSES, ids=class_names())
def test_no_other_argument_can_change_without_a_trace(architecture: Architecture) -> None:
    """The engine asks each argument for a few values; here any value of its domain may be asked for.

    That footprints stand for layouts is the law below.
    """

    @settings(max_examples=EXAMPLES)
    @given(buildable(architecture), configurations(architecture))
    def law(config: dict[str, Any], other: dict[str, Any]) -> None:
        inference = found(architecture.layout(config))
        shown = architecture.footprint(inference.config)
        listed = {*(entry.name for entry in inference.undetermined), *architecture.idle(inference.config)}
        for argument in architecture.arguments:
            if argument.effect == "initial weights" or argument.name in listed:
                continue
            domain = argument.values(inference.config)
            now = inference.config[argument.name]
            for value in (*some_values(domain, now), other[argument.name]):
                changed = {**inference.config, argument.name: value}
                if value != now and builds(architecture, changed):
                    assert architecture.footprint(changed) != shown, (argument.name, value)

    law()


@pytest.mark.parametrize("architecture", CLASSES, ids=class_names())
def test_equal_footprints_are_equal_layouts(architecture: Architecture) -> None:
    @settings(max_examples=EXAMPLES)
    @given(buildable(architecture), buildable(architecture), st.data())
    def law(config: dict[str, Any], other: dict[str, Any], data: st.DataObject) -> None:
        name = data.draw(st.sampled_from([argument.name for argument in architecture.arguments]))
        mixed = {**config, name: other[name]}
        for second in (other, mixed):
            try:
                same = architecture.footprint(config) == architecture.footprint(second)
            except Unbuildable:
                continue
            assert same == (list(architecture.layout(config).items()) == list(architecture.layout(second).items()))

    law()


@pytest.mark.parametrize("architecture", CLASSES, ids=class_names())
def test_what_is_stated_and_true_is_taken_without_contradiction(architecture: Architecture) -> None:
    @settings(max_examples=EXAMPLES)
    @given(buildable(architecture), st.data())
    def law(config: dict[str, Any], data: st.DataObject) -> None:
        names = data.draw(st.sets(st.sampled_from([argument.name for argument in architecture.arguments])))
        stated = {name: config[name] for name in names}
        inference = found(architecture.layout(config), stated)
        assert not inference.contradictions
        assert {name: inference.config[name] for name in names} == stated
        assert not names & {entry.name for entry in inference.undetermined}
        assert architecture.layout(inference.config) == architecture.layout(config)

    law()


@pytest.mark.parametrize("architecture", CLASSES, ids=class_names())
def test_what_is_stated_and_false_is_a_contradiction_or_leaves_the_layout(architecture: Architecture) -> None:
    @settings(max_examples=EXAMPLES)
    @given(buildable(architecture), configurations(architecture), st.data())
    def law(config: dict[str, Any], other: dict[str, Any], data: st.DataObject) -> None:
        names = data.draw(st.sets(st.sampled_from([argument.name for argument in architecture.arguments]), max_size=3))
        stated = {name: other[name] for name in names}
        layout = architecture.layout(config)
        inference = found(layout, stated)
        assert architecture.layout(inference.config) == layout
        refused = {name for contradiction in inference.contradictions for name in contradiction.stated}
        for name, value in stated.items():
            assert name in refused or inference.config[name] == value

    law()


def generations() -> list[tuple[Architecture, Generation]]:
    return [(architecture, generation) for architecture in CLASSES for generation in architecture.generations]


@pytest.mark.parametrize(("architecture", "generation"), generations())
def test_a_layout_with_one_tensor_off_is_never_accepted(architecture: Architecture, generation: Generation) -> None:
    cases = generation.cases or architecture.cases

    @settings(max_examples=60)
    @given(
        st.sampled_from(cases), st.integers(0, 10**6), st.sampled_from(["shape", "rank", "missing", "extra", "name"])
    )
    def law(case: Case, place: int, change: str) -> None:
        layout = dict(generation.layout(complete(architecture, case.config)))
        name = list(layout)[place % len(layout)]
        spec = layout[name]
        if change == "shape":
            layout[name] = TensorSpec((*spec.shape[:-1], spec.shape[-1] + 1) if spec.shape else (1,), spec.dtype)
        elif change == "rank":
            layout[name] = TensorSpec((*spec.shape, 1), spec.dtype)
        elif change == "extra":
            layout[f"{name}.extra"] = spec
        else:
            layout.pop(name)
            layout.update({f"{name}_renamed": spec} if change == "name" else {})
        if (change == "shape" and name in FREE) or (change == "missing" and name.endswith("num_batches_tracked")):
            return  # another configuration; a counter that torch fills in
        assert infer(architecture, layout) is None
        assert identify(layout) is None

    law()

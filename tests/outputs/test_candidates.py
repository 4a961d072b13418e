"""Configurations that weights leave open: as many as shapes leave open, and the true one among them."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from viscy_compat.architectures import find
from viscy_compat.architectures.architecture import complete
from viscy_compat.architectures.inference import infer
from viscy_compat.outputs.candidates import MOST_RUN, find_candidates

MONAI = {
    "spatial_dims": 3,
    "in_shape": (1, 16, 64, 64),
    "out_channels": 1,
    "latent_size": 128,
    "channels": (32, 64, 128),
    "strides": (2, 2, 2),
}
CASES: list[tuple[str, dict[str, Any], tuple[int, ...], tuple[str, ...]]] = [
    ("BetaVaeMonai", MONAI, (2, 1, 16, 64, 64), ("in_shape", "strides", "use_sigmoid")),
    (
        "ContrastiveEncoder",
        {"backbone": "convnext_tiny", "in_channels": 2, "in_stack_depth": 15},
        (2, 2, 15, 96, 96),
        ("stem_stride",),
    ),
    ("UNeXt2", {"head_pool": True}, (1, 1, 5, 64, 64), ("head_pool",)),
    ("Unet25d", {"residual": True}, (1, 1, 5, 64, 64), ("residual",)),
]


@pytest.mark.parametrize(("name", "config", "shape", "names"), CASES, ids=[case[0] for case in CASES])
def test_the_true_values_are_among_those_that_are_run(
    name: str, config: dict[str, Any], shape: tuple[int, ...], names: tuple[str, ...]
) -> None:
    architecture = find(name)
    whole = complete(architecture, config)
    found = infer(architecture, architecture.layout(whole))
    assert found is not None
    outputs = architecture.outcome(whole, shape).outputs
    rows = {row.name: row for row in found.undetermined}
    tried = find_candidates(architecture, found.config, rows, shape, outputs)
    assert 0 < len(tried.configs) <= MOST_RUN
    assert set(names) <= set(tried.names)
    true = {argument: whole[argument] for argument in names}
    assert true in [{argument: row[argument] for argument in names} for row in tried.configs]
    for row in tried.configs:
        assert architecture.layout(row) == architecture.layout(whole)
        assert architecture.outcome(row, shape).outputs == outputs


def test_what_is_known_is_run_alone() -> None:
    architecture = find("ResNet3dEncoder")
    whole = complete(architecture, {"backbone": "resnet10"})
    tried = find_candidates(architecture, whole, {}, (1, 1, 8, 16, 16), {})
    assert (tried.configs, tried.names, tried.passed_over) == ((whole,), (), 0)


@pytest.mark.uncounted
@pytest.mark.parametrize(
    ("strides", "sides"),
    [
        *product([(2, 2, 2), (1, 2, 2), (2, 1, 2), (1, 1, 2)], [(8, 16, 16), (4, 16, 32), (16, 8, 8)]),
        (((1, 2, 2), 2, 2), (4, 16, 32)),
    ],
)
def test_the_input_states_the_shape_that_goes_with_any_strides(
    strides: tuple[Any, ...], sides: tuple[int, ...]
) -> None:
    architecture = find("BetaVaeMonai")
    config = {**MONAI, "in_shape": (2, *sides), "strides": strides, "latent_size": 8, "channels": (4, 6, 8)}
    whole, shape = complete(architecture, config), (2, 2, *sides)
    found = infer(architecture, architecture.layout(whole))
    assert found is not None
    rows = {row.name: row for row in found.undetermined}
    tried = find_candidates(architecture, found.config, rows, shape, architecture.outcome(whole, shape).outputs)
    assert (whole["in_shape"], strides) in [(row["in_shape"], row["strides"]) for row in tried.configs]


def test_the_input_states_the_sides_of_a_map_of_another_aspect() -> None:
    architecture = find("BetaVae25D")
    config = next(case.config for case in architecture.cases if case.name == "not-square")
    whole = complete(architecture, config)
    shape = architecture.input_shape(whole)
    found = infer(architecture, architecture.layout(whole))
    assert found is not None
    rows = {row.name: row for row in found.undetermined}
    tried = find_candidates(architecture, found.config, rows, shape, architecture.outcome(whole, shape).outputs)
    assert whole["input_spatial_size"] in [row["input_spatial_size"] for row in tried.configs]


def test_strides_of_their_own_along_an_axis_are_run_last() -> None:
    architecture = find("BetaVaeMonai")
    whole = complete(architecture, {**MONAI, "strides": (1, 2, 2)})
    stated = {"in_shape": whole["in_shape"]}
    found = infer(architecture, architecture.layout(whole), stated)
    assert found is not None
    rows = {row.name: row for row in found.undetermined}
    tried = find_candidates(architecture, found.config, rows, (2, 1, 16, 64, 64), {})
    assert tried.passed_over
    assert (1, 2, 2) in [row["strides"] for row in tried.configs]


def test_an_input_of_another_rank_is_tried_with_every_value() -> None:
    """Unet2d takes images without the axis of slices too, which its rule does not know: nothing is settled by not trying."""
    architecture = find("Unet2d")
    found = infer(architecture, architecture.layout(complete(architecture, {"residual": True, "task": "reg"})))
    assert found is not None
    rows = {row.name: row for row in found.undetermined}
    tried = find_candidates(architecture, found.config, rows, (2, 1, 32, 32), {"output": (2, 1, 1, 32, 32)})
    values = [(row["residual"], row["task"]) for row in tried.configs]
    assert values == [(False, "seg"), (False, "reg"), (True, "seg"), (True, "reg")]
    # of the documented rank, and of a size that no configuration takes: the rule is right, and says why
    tried = find_candidates(architecture, found.config, rows, (2, 1, 1, 33, 32), {"output": (2, 1, 1, 32, 32)})
    assert tried.configs == (found.config,)

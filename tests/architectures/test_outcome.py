"""The shape rules against real runs: builds, runs, trains, output shapes, at the edges where the rules turn over."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from viscy_compat.architectures import find
from viscy_compat.architectures.architecture import complete
from viscy_compat.architectures.outcome import Outcome

pytestmark = pytest.mark.torch

Shape = tuple[int, ...]

NEXT = {"backbone": "convnext_tiny", "in_channels": 1, "in_stack_depth": 5, "embedding_dim": 16, "projection_dim": 4}
SMALL = {
    "backbone": "convnext_tiny",
    "in_channels": 1,
    "in_stack_depth": 4,
    "out_stack_depth": 2,
    "latent_dim": 16,
    "input_spatial_size": (32, 32),
    "decoder_stages": 3,
    "head_expansion_ratio": 1,
}
RESNET = {**SMALL, "backbone": "resnet50", "input_spatial_size": (64, 64), "decoder_stages": 1}
FLAT = {
    "spatial_dims": 2,
    "in_shape": (1, 8, 8),
    "out_channels": 1,
    "latent_size": 3,
    "channels": (2, 4),
    "strides": (2, 2),
}

ROWS: list[tuple[str, dict[str, Any], list[Shape]]] = [
    ("ContrastiveEncoder", NEXT, [(2, 1, 5, 32, 32), (1, 1, 5, 32, 32), (2, 1, 5, 31, 32), (2, 1, 4, 32, 32)]),
    ("ContrastiveEncoder", NEXT, [(2, 1, 9, 35, 33), (2, 1, 10, 32, 32), (2, 2, 5, 32, 32)]),
    ("ContrastiveEncoder", {**NEXT, "backbone": "resnet50"}, [(2, 1, 5, 4, 4), (2, 1, 5, 3, 4), (1, 1, 5, 9, 8)]),
    ("ResNet3dEncoder", {"backbone": "resnet10"}, [(2, 1, 1, 1, 1), (1, 1, 4, 4, 4), (2, 2, 4, 4, 4), (2, 1, 3, 5, 9)]),
    (
        "BetaVae25D",
        SMALL,
        [(1, 1, 4, 32, 32), (1, 1, 4, 63, 35), (1, 1, 4, 64, 32), (1, 1, 4, 31, 32), (1, 1, 6, 32, 32)],
    ),
    ("BetaVae25D", {**SMALL, "norm_name": "instance", "decoder_stages": 0}, [(2, 1, 4, 32, 32)]),
    ("BetaVae25D", {**SMALL, "decoder_stages": 0}, [(2, 1, 4, 32, 32), (1, 1, 4, 32, 32)]),
    ("BetaVae25D", {**SMALL, "decoder_stages": 8}, [(1, 1, 4, 32, 32)]),
    (
        "BetaVae25D",
        {**SMALL, "input_spatial_size": (64, 64)},
        [(1, 1, 4, 32, 128), (1, 1, 4, 64, 64), (1, 1, 4, 32, 32)],
    ),
    (
        "BetaVae25D",
        RESNET,
        [(2, 1, 4, 64, 64), (1, 1, 4, 64, 64), (1, 1, 4, 65, 64), (1, 1, 4, 68, 64), (1, 1, 4, 8, 8)],
    ),
    ("BetaVaeMonai", FLAT, [(2, 1, 8, 8), (1, 1, 5, 7), (1, 1, 4, 16), (1, 1, 9, 8), (1, 2, 8, 8), (1, 1, 8)]),
    ("BetaVaeMonai", {**FLAT, "in_shape": (1, 4, 4)}, [(2, 1, 4, 4), (2, 1, 1, 1)]),
    ("BetaVaeMonai", {**FLAT, "in_shape": (1, 4, 4), "norm": "batch"}, [(2, 1, 4, 4), (1, 1, 4, 4)]),
    ("BetaVaeMonai", {**FLAT, "inter_channels": (5,)}, [(2, 1, 8, 8)]),
    (
        "BetaVaeMonai",
        {**FLAT, "strides": (1, (2, 1)), "num_res_units": 2, "kernel_size": 1},
        [(2, 1, 8, 8), (2, 1, 7, 8)],
    ),
]

UNBUILDABLE: list[tuple[str, dict[str, Any]]] = [
    ("ContrastiveEncoder", {**NEXT, "in_stack_depth": 4}),
    ("ContrastiveEncoder", {**NEXT, "in_stack_depth": 25}),
    ("ContrastiveEncoder", {**NEXT, "in_stack_depth": 15, "backbone": "resnet50"}),
    ("ResNet3dEncoder", {"backbone": "resnet50"}),
    ("BetaVae25D", {**SMALL, "input_spatial_size": (31, 32)}),
    ("BetaVae25D", {**SMALL, "input_spatial_size": (32, 31)}),
    ("BetaVae25D", {**SMALL, "input_spatial_size": (160, 32)}),
    ("BetaVaeMonai", {**FLAT, "kernel_size": 2}),
    ("BetaVaeMonai", {**FLAT, "strides": (2,)}),
]


def real(name: str, config: dict[str, Any]) -> Any:
    module, _, class_name = find(name).target.rpartition(".")
    return getattr(importlib.import_module(module), class_name)(**complete(find(name), config))


def ran(model: Any, names: tuple[str, ...], fed: Shape, *, train: bool) -> dict[str, Shape] | None:
    """The shapes that come out; None where the model refuses."""
    import torch

    model.train(train)
    try:
        with torch.no_grad():
            given = model(torch.randn(fed))
    except (RuntimeError, ValueError):
        return None
    outputs = dict(zip(names, given, strict=True)) if isinstance(given, tuple) else vars(given)
    return {name: tuple(tensor.shape) for name, tensor in outputs.items()}


@pytest.mark.uncounted
@pytest.mark.parametrize(("name", "config", "inputs"), ROWS)
def test_the_rule_predicts_what_the_real_class_does(name: str, config: dict[str, Any], inputs: list[Shape]) -> None:
    architecture, model = find(name), real(name, config)
    for fed in inputs:
        outcome: Outcome = architecture.outcome(complete(architecture, config), fed)
        assert outcome.builds
        shapes = ran(model, architecture.outputs, fed, train=False)
        assert (dict(outcome.outputs) if outcome.runs else None) == shapes, fed
        assert outcome.trains == (ran(model, architecture.outputs, fed, train=True) is not None), fed
        assert outcome.runs or outcome.why


@pytest.mark.parametrize(("name", "config"), UNBUILDABLE)
def test_what_the_rule_says_cannot_be_built_raises(name: str, config: dict[str, Any]) -> None:
    architecture = find(name)
    outcome = architecture.outcome(complete(architecture, config), (2, 1, 4, 32, 32))
    assert not outcome.builds
    assert outcome.why
    with pytest.raises((ValueError, NotImplementedError)):
        real(name, config)


def test_the_rows_hold_every_outcome() -> None:
    answers = [find(name).outcome(complete(find(name), config), fed) for name, config, inputs in ROWS for fed in inputs]
    assert any(answer.runs and not answer.trains for answer in answers)
    assert any(not answer.runs for answer in answers)
    assert any(answer.exact for answer in answers)
    kinds = {loss.kind for answer in answers for loss in answer.losses}
    assert kinds == {"slices", "pixels", "rounding", "orientation"}

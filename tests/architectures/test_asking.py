"""What weights leave open, against the table that was measured on the old classes (legacy-facts)."""

from __future__ import annotations

from typing import Any

import pytest

from support.layouts import layout_of
from viscy_compat.architectures import find
from viscy_compat.architectures.architecture import complete
from viscy_compat.architectures.asking import ask
from viscy_compat.architectures.inference import Inference, identify, infer
from viscy_compat.stated import spell

CONTRASTIVE = {"backbone": "convnext_tiny", "in_channels": 2, "in_stack_depth": 15}
VAE = {"backbone": "resnet50", "input_spatial_size": (128, 128)}
MONAI = {
    "spatial_dims": 2,
    "in_shape": (1, 32, 32),
    "out_channels": 1,
    "latent_size": 8,
    "channels": (4, 8),
    "strides": (2, 2),
}

OPEN: list[tuple[str, dict[str, Any], dict[str, bool]]] = [
    ("ContrastiveEncoder", CONTRASTIVE, {"in_stack_depth": False, "stem_stride": True, "drop_path_rate": False}),
    ("ResNet3dEncoder", {"backbone": "resnet18"}, {}),
    (
        "BetaVae25D",
        VAE,
        {
            "in_stack_depth": False,
            "input_spatial_size": False,
            "stem_stride": True,
            "drop_path_rate": False,
            "head_pool": True,
        },
    ),
    (
        "BetaVae25D",
        {**VAE, "upsample_mode": "deconv"},
        {
            "in_stack_depth": False,
            "input_spatial_size": False,
            "stem_stride": True,
            "drop_path_rate": False,
            "head_pool": True,
            "conv_blocks": False,
            "upsample_pre_conv": False,
        },
    ),
    (
        "BetaVaeMonai",
        MONAI,
        {"in_shape": True, "strides": True, "use_sigmoid": True, "num_inter_units": False, "dropout": False},
    ),
    (
        "BetaVaeMonai",
        {**MONAI, "act": "RELU", "inter_channels": (8,)},
        {
            "in_shape": True,
            "strides": True,
            "use_sigmoid": True,
            "inter_dilations": True,
            "act": True,
            "dropout": False,
        },
    ),
]


def inferred(name: str, config: dict[str, Any], stated: dict[str, Any] | None = None, *, old: str = "") -> Inference:
    architecture = find(name)
    generation = next((one for one in architecture.generations if one.name == old), architecture.generations[-1])
    inference = identify(generation.layout(complete(architecture, config)), stated or {})
    assert inference is not None
    assert inference.generation is generation
    return inference


@pytest.mark.parametrize(("name", "config", "expected"), OPEN)
def test_what_weights_leave_open_is_the_measured_table(
    name: str, config: dict[str, Any], expected: dict[str, bool]
) -> None:
    inference = inferred(name, config)
    assert {entry.name: entry.changes_predictions for entry in inference.undetermined} == expected


@pytest.mark.parametrize(
    ("depth", "stride", "small", "large"),
    [
        (15, (5, 4, 4), range(9, 11), range(15, 20)),
        (30, (5, 4, 4), range(15, 17), range(30, 35)),
        (9, (2, 2, 2), range(9, 11), range(15, 20)),
    ],
)
def test_v02_leaves_both_strides_open_each_with_its_depths(
    depth: int, stride: tuple[int, int, int], small: range, large: range
) -> None:
    config = {**CONTRASTIVE, "in_stack_depth": depth, "stem_stride": stride, "projection_dim": 256}
    inference = inferred("ContrastiveEncoder", config, old="v0.2")
    entry = next(entry for entry in inference.undetermined if entry.name == "stem_stride")
    expected = [
        *({"stem_stride": (5, 4, 4), "in_stack_depth": depth} for depth in large),
        *({"stem_stride": (2, 2, 2), "in_stack_depth": depth} for depth in small),
    ]
    assert sorted(entry.candidates, key=str) == sorted(expected, key=str)
    assert entry.changes_predictions


def test_the_kernel_is_evidence_for_the_release_of_v02_but_no_proof() -> None:
    for kernel, stride in (((5, 3, 3), (2, 2, 2)), ((5, 4, 4), (5, 4, 4))):
        config = {**CONTRASTIVE, "stem_kernel_size": kernel, "projection_dim": 256}
        inference = inferred("ContrastiveEncoder", config, old="v0.2")
        entry = next(entry for entry in inference.undetermined if entry.name == "stem_stride")
        assert entry.assumed == stride
        assert {option["stem_stride"] for option in entry.candidates} == {(2, 2, 2), (5, 4, 4)}


def test_a_stated_depth_decides_the_stride_of_v02_except_where_both_agree() -> None:
    config = {**CONTRASTIVE, "projection_dim": 256}
    decided = inferred("ContrastiveEncoder", config, {"in_stack_depth": 15}, old="v0.2")
    assert decided.config["stem_stride"] == (5, 4, 4)
    assert [entry.name for entry in decided.undetermined] == ["drop_path_rate"]
    one_slice = {**config, "in_stack_depth": 5}
    both = inferred("ContrastiveEncoder", one_slice, {"in_stack_depth": 6}, old="v0.2")
    assert "stem_stride" in [entry.name for entry in both.undetermined]


def test_the_hidden_width_of_v02_is_three_times_its_output() -> None:
    inference = inferred("ContrastiveEncoder", {**CONTRASTIVE, "embedding_dim": 384}, old="v0.2")
    assert (inference.config["embedding_dim"], inference.config["projection_dim"]) == (384, 128)


def test_what_is_stated_narrows_the_rest_down() -> None:
    inference = inferred("BetaVae25D", VAE, {"input_spatial_size": (256, 256)})
    strides = {entry.name: entry for entry in inference.undetermined}["stem_stride"]
    assert {option["stem_stride"][1:] for option in strides.candidates} >= {(6, 6), (7, 7), (8, 8)}
    assert all(256 // option["stem_stride"][1] // 16 == 2 for option in strides.candidates)


def test_a_false_depth_is_contradicted_with_the_tensor_it_would_need() -> None:
    stated = {"in_stack_depth": 5, "stem_stride": (5, 4, 4)}
    inference = inferred("ContrastiveEncoder", CONTRASTIVE, stated)
    (contradiction,) = inference.contradictions
    assert contradiction.stated == stated
    found = {mismatch.name: mismatch for mismatch in contradiction.mismatches}["stem.conv.weight"]
    assert (found.found.shape, found.expected.shape) == ((32, 2, 5, 4, 4), (96, 2, 5, 4, 4))


@pytest.mark.parametrize(
    "stated",
    [
        {"in_stack_depth": "15"},
        {"stem_stride": 4},
        {"stem_stride": (0, 4, 4)},
        {"stem_kernel_size": (5, 4)},
        {"backbone": None},
        {"in_channels": -1},
        {"embedding_dim": 10**30},
        {"drop_path_rate": "high"},
    ],
)
def test_a_value_of_the_wrong_kind_is_a_contradiction_and_never_an_exception(stated: dict[str, Any]) -> None:
    inference = inferred("ContrastiveEncoder", CONTRASTIVE, stated)
    (contradiction,) = inference.contradictions
    assert contradiction.stated == stated
    assert "no value" in contradiction.why


def test_names_that_are_no_arguments_are_handed_back() -> None:
    assert inferred("ContrastiveEncoder", CONTRASTIVE, {"stem_strides": (5, 4, 4)}).unknown == ("stem_strides",)


def test_half_precision_and_another_order_are_told_apart_from_shapes() -> None:
    architecture = find("ResNet3dEncoder")
    layout = architecture.layout(complete(architecture, {"backbone": "resnet10"}))
    halves = {name: spec._replace(dtype="float16") for name, spec in reversed(layout.items())}
    inference = infer(architecture, halves)
    assert inference is not None
    assert inference.reordered
    assert [mismatch.name for mismatch in inference.retyped] == list(layout)


def test_evidence_names_what_else_has_the_layout_of_resnet50() -> None:
    lines = inferred("ContrastiveEncoder", {**CONTRASTIVE, "backbone": "resnet50", "in_stack_depth": 10}).evidence
    assert any("resnetaa50" in line and "resnetblur50" in line for line in lines)
    assert lines[0] == "stem.conv.weight (32, 2, 5, 4, 4)"


def test_layers_beyond_what_can_halve_are_taken_not_to() -> None:
    """Seventy strides of 2 would need an image of 2^70 places."""
    config = {"spatial_dims": 2, "in_shape": (1, 4, 4), "out_channels": 1, "latent_size": 2}
    for layers, assumed in ((3, (1, 32, 32)), (70, (1, 4, 4))):
        layout = layout_of("BetaVaeMonai", **config, channels=(2,) * layers, strides=(1,) * layers)
        found = infer(find("BetaVaeMonai"), layout)
        assert found is not None
        assert found.config["in_shape"] == assumed


def test_an_answer_weighs_strides_for_each_axis_against_one_for_all() -> None:
    config = {"spatial_dims": 2, "in_shape": (1, 32, 32), "out_channels": 1, "latent_size": 8}
    asked = {**config, "channels": (8, 16), "strides": (2, 2)}
    found = ask(find("BetaVaeMonai"), asked, (2, 1, 30, 64))
    assert not found.outcome.runs
    assert {"input": (2, 1, 32, 64), "in_shape": (1, 32, 64)} in found.nearby


def test_a_number_that_python_does_not_print_is_spelled() -> None:
    assert spell((1, 1 << 20_000)) == "1,a-number-beyond-2048-bits"
    assert spell(1 << 100) == str(1 << 100)


def test_a_true_input_is_never_called_impossible_for_strides_that_were_not_tried() -> None:
    monai = find("BetaVaeMonai")
    config = complete(
        monai,
        {
            "spatial_dims": 2,
            "in_shape": (1, 4, 5),
            "out_channels": 1,
            "latent_size": 1,
            "channels": (2,),
            "strides": (3,),
            "kernel_size": 1,
            "up_kernel_size": 1,
        },
    )
    found = infer(monai, monai.layout(config), {"in_shape": (1, 4, 5)})
    assert found is not None
    assert found.contradictions == ()
    assert found.config["in_shape"] == (1, 4, 5)
    assert "strides" in {row.name for row in found.undetermined}
    impossible = infer(monai, monai.layout(config), {"in_shape": (1, 1, 1)})
    assert impossible is not None
    assert impossible.contradictions


@pytest.mark.parametrize(
    ("name", "argument", "most"), [("Unet2d", "num_blocks", 58), ("Unet25d", "num_blocks", 58), ("Unet3d", "depth", 16)]
)
def test_more_levels_than_sizes_have_bits_do_not_build_and_cost_nothing(name: str, argument: str, most: int) -> None:
    within, beyond = (ask(find(name), {argument: levels}) for levels in (most, 1_000_000))
    assert within.outcome.builds
    assert not beyond.outcome.builds
    # what a report prints stays printable
    assert max(beyond.input).bit_length() < 64


def test_no_layer_has_four_dimensions() -> None:
    four = {**MONAI, "spatial_dims": 4, "in_shape": (1, 16, 16, 16, 16)}
    assert "one, two and three dimensions" in ask(find("BetaVaeMonai"), four).outcome.why
    assert ask(find("BetaVaeMonai"), {**four, "spatial_dims": 3, "in_shape": (1, 16, 16, 16)}).outcome.builds

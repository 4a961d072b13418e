"""The U-Net family: what weights leave open, as it was measured, and what the oldest files say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy
import pytest
from safetensors.numpy import save_file

from viscy_compat.architectures import find
from viscy_compat.architectures.architecture import Config, complete
from viscy_compat.architectures.asking import ask
from viscy_compat.architectures.inference import Inference, identify
from viscy_compat.diagnosis import check_paths
from viscy_compat.errors import Unbuildable
from viscy_compat.layout import Layout

MAE = {"in_channels": 1, "out_channels": 2, "encoder_blocks": (1, 1), "dims": (8, 16)}
ATTO = {"backbone": "convnextv2_atto"}


def inferred(name: str, config: Config, stated: Config | None = None) -> Inference:
    architecture = find(name)
    found = identify(architecture.layout(complete(architecture, config)), stated or {})
    assert found
    assert found.architecture.name == name
    return found


@pytest.mark.parametrize(
    ("name", "config", "matters", "harmless"),
    [
        ("UNeXt2", ATTO, {"head_pool"}, {"drop_path_rate", "decoder_norm_layer"}),
        (
            "FullyConvolutionalMAE",
            MAE,
            {"pretraining"},
            {"encoder_drop_path_rate", "head_conv_pool", "head_conv_expansion_ratio"},
        ),
        (
            "FullyConvolutionalMAE",
            {**MAE, "head_conv": True},
            {"pretraining", "head_conv_pool"},
            {"encoder_drop_path_rate"},
        ),
        ("Unet2d", {}, {"residual", "task"}, {"dropout"}),
        ("Unet25d", {}, {"residual"}, {"dropout", "in_stack_depth"}),
    ],
)
def test_weights_leave_open_what_was_measured(name: str, config: Config, matters: set[str], harmless: set[str]) -> None:
    rows = inferred(name, config).undetermined
    assert {row.name for row in rows if row.changes_predictions} == matters
    assert {row.name for row in rows if not row.changes_predictions} == harmless


def test_the_head_shows_the_channels_and_the_depth_that_come_out() -> None:
    given = {**ATTO, "in_stack_depth": 10, "out_stack_depth": 3, "out_channels": 2, "head_expansion_ratio": 3}
    config = inferred("UNeXt2", given).config
    assert {name: config[name] for name in given} == given


@pytest.mark.parametrize(
    "backbone", ["convnextv2_tiny", "convnext_tiny", "convnextv2_small", "convnext_base", "convnextv2_nano"]
)
def test_the_encoder_shows_which_convnext_it_is(backbone: str) -> None:
    assert inferred("UNeXt2", {"backbone": backbone}).config["backbone"] == backbone


def test_slabs_that_are_rounded_to_the_same_channels_are_the_same_model() -> None:
    config = {**ATTO, "in_stack_depth": 9, "stem_kernel_size": (1, 4, 4), "out_stack_depth": 9}
    found = inferred("UNeXt2", config)
    (row,) = (row for row in found.undetermined if row.name == "in_stack_depth")
    assert [candidate["in_stack_depth"] for candidate in row.candidates] == [10, 9]
    assert not row.changes_predictions
    architecture = find("UNeXt2")
    nine, ten = ({**found.config, "in_stack_depth": depth} for depth in (9, 10))
    assert architecture.outcome(nine, (1, 1, 10, 32, 32)) == architecture.outcome(ten, (1, 1, 10, 32, 32))
    assert not architecture.outcome(nine, (1, 1, 9, 32, 32)).runs


def test_the_slabs_of_the_stem_often_settle_the_depth() -> None:
    config = {**MAE, "out_channels": 3, "in_stack_depth": 8, "stem_kernel_size": (4, 2, 2)}
    found = inferred("FullyConvolutionalMAE", config)
    assert (found.config["in_stack_depth"], found.config["out_channels"]) == (8, 3)
    assert not {"in_stack_depth", "out_channels"} & {row.name for row in found.undetermined}


def test_a_stated_depth_settles_the_channels_and_a_wrong_one_is_a_contradiction() -> None:
    config = {**MAE, "out_channels": 6, "in_stack_depth": 5}
    rows = {row.name: row for row in inferred("FullyConvolutionalMAE", config).undetermined}
    assert rows["in_stack_depth"].candidates == (
        {"in_stack_depth": 5, "out_channels": 6},
        {"in_stack_depth": 6, "out_channels": 5},
    )
    for stated in ({"in_stack_depth": 6}, {"out_channels": 5}):
        settled = inferred("FullyConvolutionalMAE", config, stated)
        assert (settled.config["in_stack_depth"], settled.config["out_channels"]) == (6, 5)
        assert "in_stack_depth" not in {row.name for row in settled.undetermined}
        assert not settled.contradictions
    wrong = inferred("FullyConvolutionalMAE", config, {"in_stack_depth": 7})
    assert [dict(row.stated) for row in wrong.contradictions] == [{"in_stack_depth": 7}]


def test_only_the_difference_of_the_depths_makes_a_unet25d() -> None:
    architecture = find("Unet25d")
    seven, five = (complete(architecture, {"in_stack_depth": depth, "out_stack_depth": depth - 4}) for depth in (7, 5))
    assert architecture.layout(seven) == architecture.layout(five)
    settled = inferred("Unet25d", seven, {"in_stack_depth": 7})
    assert (settled.config["in_stack_depth"], settled.config["out_stack_depth"]) == (7, 3)
    assert "in_stack_depth" not in {row.name for row in settled.undetermined}


@pytest.mark.parametrize(
    ("name", "stated", "told"),
    [
        ("Unet2d", {"kernel_size": 3}, {"kernel_size": (3, 3)}),
        ("Unet2d", {"num_filters": ()}, {"num_filters": (16, 32, 64, 128, 256)}),
        ("Unet25d", {"num_filters": ()}, {"num_filters": (16, 32, 64, 128, 256)}),
        ("UNeXt2", {"out_stack_depth": None}, {"out_stack_depth": 5}),
    ],
)
def test_every_spelling_of_a_value_is_understood(name: str, stated: Config, told: Config) -> None:
    found = inferred(name, {}, stated)
    assert not found.contradictions
    assert {argument: found.config[argument] for argument in told} == told


def test_a_mode_that_never_ran_contradicts_any_weights() -> None:
    (row,) = inferred("UNeXt2", ATTO, {"decoder_mode": "deconv"}).contradictions
    assert "never ran" in row.why


OLDEST = [
    ("UNeXt2", {**ATTO, "out_stack_depth": 1}, "Unet21d"),
    ("FullyConvolutionalMAE", {**MAE, "head_conv": True, "in_stack_depth": 1, "stem_kernel_size": (1, 3, 3)}, "v0.1.0"),
]


def oldest_layout(name: str, config: dict[str, Any]) -> Layout:
    architecture = find(name)
    return architecture.generations[0].layout(complete(architecture, config))


@pytest.mark.parametrize(("name", "config", "_"), OLDEST)
def test_before_v010_a_single_slice_had_no_head(name: str, config: dict[str, Any], _: str) -> None:
    architecture = find(name)
    today = architecture.layout(complete(architecture, config))
    missing = [key for key in today if key not in oldest_layout(name, config)]
    assert len(missing) == 5
    assert architecture.generations[0].unmade(oldest_layout(name, config), today) == tuple(missing)
    assert architecture.generations[0].is_stranded(complete(architecture, config))
    assert all(key.startswith("head.conv.") for key in missing)
    deeper = (
        {**config, "in_stack_depth": 5, "out_stack_depth": 5} if name == "UNeXt2" else {**config, "in_stack_depth": 5}
    )
    assert not architecture.generations[0].is_stranded(complete(architecture, deeper))
    assert oldest_layout(name, deeper) == architecture.layout(complete(architecture, deeper))


def test_before_v010_every_head_had_convolutions() -> None:
    with pytest.raises(Unbuildable, match="the head had convolutions"):
        oldest_layout("FullyConvolutionalMAE", MAE)


@pytest.mark.parametrize(("name", "config", "says"), OLDEST)
def test_a_file_without_a_head_is_known_and_said_to_have_no_way(
    tmp_path: Path, name: str, config: dict[str, Any], says: str
) -> None:
    path = tmp_path / "old.safetensors"
    layout = oldest_layout(name, config)
    save_file({key: numpy.zeros(spec.shape, numpy.float32) for key, spec in layout.items()}, path)
    (result,) = check_paths([str(path)])
    assert result.identity
    assert (result.verdict, result.exit_code) == ("incompatible", 1)
    assert (result.identity.class_name, result.identity.generation) == (name, "v0.1.0a")
    (finding,) = (finding for finding in result.findings if finding.code == "VC107")
    assert says in finding.message
    assert "5 tensors of today's have no source" in finding.message
    assert any(key.startswith("head.conv.0.") for key in finding.keys)


def test_a_width_that_today_has_too_is_taken_for_today_with_a_note() -> None:
    config = {**MAE, "head_conv": True, "in_stack_depth": 1, "stem_kernel_size": (1, 2, 2)}
    found = identify(oldest_layout("FullyConvolutionalMAE", config))
    assert found
    assert (found.generation.name, found.config["out_channels"], found.config["head_conv"]) == ("v0.1", 12, False)
    assert any("before v0.1.0" in line for line in found.evidence)
    told = inferred("FullyConvolutionalMAE", {**MAE, "in_stack_depth": 1, "stem_kernel_size": (1, 2, 2)})
    assert not any("before v0.1.0" in line for line in told.evidence)


@pytest.mark.parametrize(
    ("name", "asked", "fed", "nearby"),
    [
        ("UNeXt2", {"in_stack_depth": 15, "stem_kernel_size": (5, 2, 2)}, None, {"stem_kernel_size": (5, 4, 4)}),
        ("Unet2d", {"kernel_size": 5}, (1, 1, 1, 40, 40), {"num_blocks": 3}),
        ("FullyConvolutionalMAE", {**MAE, "in_stack_depth": 7}, None, {"in_stack_depth": 5}),
        ("Unet25d", {"num_filters": ()}, (1, 1, 5, 24, 24), {"num_blocks": 3}),
    ],
)
def test_who_asks_is_told_what_would_be_exact(
    name: str, asked: Config, fed: tuple[int, ...] | None, nearby: Config
) -> None:
    answer = ask(find(name), asked, fed)
    assert not answer.outcome.exact
    assert nearby in [dict(change) for change in answer.nearby]

"""`--as CLASS`: the configuration by shapes and structure, right, asked for or refused; never the nearest that is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import viscy_compat
from support.layouts import hollow, layout_of
from support.renaming import renamed
from viscy_compat.architectures import find
from viscy_compat.architectures.architecture import complete
from viscy_compat.diagnosis import CheckResult
from viscy_compat.errors import PlanRefused, UsageError
from viscy_compat.layout import Layout, TensorSpec
from viscy_compat.operations import Drop, Fill
from viscy_compat.rewrite.remapping import RemapResult

CONTRASTIVE = {
    "backbone": "convnextv2_tiny",
    "in_channels": 3,
    "in_stack_depth": 8,
    "stem_kernel_size": (4, 3, 2),
    "stem_stride": (4, 3, 2),
    "embedding_dim": 40,
    "projection_dim": 24,
}
BETWEEN: dict[str, Any] = {
    "spatial_dims": 2,
    "in_shape": (1, 8, 8),
    "out_channels": 2,
    "latent_size": 3,
    "channels": (4, 6),
    "strides": (2, 2),
    "inter_channels": (6, 6),
    "num_inter_units": 1,
    "act": "RELU",
}


def forked(layout: Layout, style: str = "two words", prefix: str = "", order: str = "registered") -> Layout:
    return {new: layout[old] for new, old in renamed(layout, style, prefix, order, 3).items()}


def checked(path: Path, layout: Layout, name: str = "", **config: Any) -> CheckResult:
    result = viscy_compat.check(hollow(path / "a.safetensors", layout), class_name=name, config=config).results[0]
    assert isinstance(result, CheckResult)
    return result


def remapped(path: Path, layout: Layout, name: str, out: Path | None = None, **options: Any) -> RemapResult:
    result = viscy_compat.remap(hollow(path / "a.safetensors", layout), out, class_name=name, **options).results[0]
    assert isinstance(result, RemapResult)
    return result


@pytest.mark.parametrize("prefix", ["", "model.", "net.model."])
def test_a_renamed_file_is_remappable_with_its_own_configuration(tmp_path: Path, prefix: str) -> None:
    layout = forked(layout_of("ContrastiveEncoder", **CONTRASTIVE), prefix=prefix)

    result = checked(tmp_path, layout, "ContrastiveEncoder")

    assert result.verdict == "remappable"
    assert result.identity is not None
    shown = ("backbone", "in_channels", "stem_kernel_size", "embedding_dim", "projection_dim")
    assert {name: result.identity.config[name] for name in shown} == {name: CONTRASTIVE[name] for name in shown}
    assert "stem_stride" in result.identity.undetermined
    assert result.next.startswith(f"viscy-compat remap {tmp_path}/a.safetensors --as ContrastiveEncoder -o ")


def test_what_a_remap_of_a_renamed_file_writes_is_compatible_and_says_no_open_argument_as_a_fact(
    tmp_path: Path,
) -> None:
    layout = forked(layout_of("ContrastiveEncoder", **CONTRASTIVE))
    out = tmp_path / "out.safetensors"

    result = remapped(tmp_path, layout, "ContrastiveEncoder", out)

    assert result.exit_code == 0
    assert viscy_compat.check(out).verdict == "compatible"
    text = out.read_bytes()[:40_000].decode("latin-1")
    assert "viscy_compat.config" in text
    assert "stem_stride" not in text


def test_an_older_generation_under_other_names_goes_to_todays_layout(tmp_path: Path) -> None:
    architecture = find("ContrastiveEncoder")
    config = complete(architecture, {**CONTRASTIVE, "embedding_dim": 72})
    layout = forked(architecture.generations[0].layout(config))

    result = remapped(tmp_path, layout, "ContrastiveEncoder")

    assert result.plan is not None
    assert result.plan.target.layout == architecture.layout(config)
    assert {row.target for row in result.plan.operations if isinstance(row, Fill)} == {
        f"projection.{place}.{part}"
        for place in (1, 4)
        for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    }
    assert result.loses


def test_what_stands_outside_the_prefix_is_dropped_and_said(tmp_path: Path) -> None:
    layout = {**forked(layout_of("ContrastiveEncoder", **CONTRASTIVE), prefix="model."), "w.t": TensorSpec((3,))}

    result = remapped(tmp_path, layout, "ContrastiveEncoder")

    assert result.plan is not None
    assert [row.source for row in result.plan.operations if isinstance(row, Drop)] == ["w.t"]
    assert "VC106" in {finding.code for finding in checked(tmp_path, layout, "ContrastiveEncoder").findings}


def test_configurations_that_look_alike_are_asked_for_and_settled_by_a_statement(tmp_path: Path) -> None:
    layout = forked(layout_of("BetaVaeMonai", **BETWEEN), "one to one")

    with pytest.raises(PlanRefused) as error:
        remapped(tmp_path, layout, "BetaVaeMonai")

    assert "num_inter_units=0" in error.value.message
    assert "num_inter_units=1" in error.value.message
    assert error.value.fix.endswith("'num_inter_units': ...}")
    with pytest.raises(PlanRefused, match=r"by its shapes it is BetaVaeMonai with .*num_inter_units=1"):
        remapped(tmp_path, layout, "BetaVaeMonai", config={"num_inter_units": 1})


def test_shapes_of_no_configuration_are_refused_and_never_the_nearest(tmp_path: Path) -> None:
    whole = forked(layout_of("Unet2d", num_filters=(4, 6), num_blocks=1), "by path")
    layout = {**whole, "more": TensorSpec((17,))}

    with pytest.raises(PlanRefused, match="no configuration of Unet2d has exactly the shapes of these 53 tensors"):
        remapped(tmp_path, layout, "Unet2d")


def test_a_configuration_whose_shapes_are_not_those_of_the_file_is_not_said_to_be_by_its_shapes(tmp_path: Path) -> None:
    layout = {**layout_of("Unet2d", num_filters=(4, 6), num_blocks=1), "more": TensorSpec((17,))}

    with pytest.raises(PlanRefused, match=r"without a place \(more\); compared with Unet2d with .*num_filters=4,6"):
        remapped(tmp_path, layout, "Unet2d")


def test_what_is_dropped_on_purpose_is_left_out_of_the_shapes(tmp_path: Path) -> None:
    whole = forked(layout_of("ContrastiveEncoder", **CONTRASTIVE))

    result = remapped(tmp_path, {**whole, "more.w": TensorSpec((17,))}, "ContrastiveEncoder", drop=["more.w"])

    assert result.plan is not None
    assert result.plan.target.config["embedding_dim"] == 40


def test_a_plan_that_is_undecided_says_what_the_shapes_show(tmp_path: Path) -> None:
    layout = forked(layout_of("Unet2d", num_filters=(4, 6), num_blocks=1), "by path", order="shuffled")

    with pytest.raises(PlanRefused, match=r"by its shapes it is Unet2d with .*num_filters=4,6"):
        remapped(tmp_path, layout, "Unet2d")


def test_a_stated_argument_that_the_class_does_not_have_is_refused(tmp_path: Path) -> None:
    layout = forked(layout_of("Unet2d", num_filters=(4, 6), num_blocks=1), "one to one")

    with pytest.raises(UsageError, match="Unet2d has no argument depth"):
        remapped(tmp_path, layout, "Unet2d", config={"depth": 3})


def test_a_statement_that_contradicts_the_shapes_is_refused(tmp_path: Path) -> None:
    layout = forked(layout_of("Unet2d", num_filters=(4, 6), num_blocks=1), "one to one")

    with pytest.raises(
        PlanRefused,
        match=r"compared with Unet2d with in_channels=3 .*another configuration \(config={'NAME': \.\.\.}\) or",
    ):
        remapped(tmp_path, layout, "Unet2d", config={"in_channels": 3})


def test_without_a_class_the_shapes_only_suggest_one(tmp_path: Path) -> None:
    result = checked(tmp_path, forked(layout_of("ContrastiveEncoder", **CONTRASTIVE)))

    assert result.verdict in ("unknown", "incompatible")
    if result.verdict == "unknown":
        assert result.next.endswith("--as ContrastiveEncoder")


def test_shapes_that_allow_too_much_are_asked_for_and_not_called_those_of_no_configuration(tmp_path: Path) -> None:
    config = {**BETWEEN, "channels": (2, 2, 3, 2), "strides": (1,) * 4, "kernel_size": 1, "up_kernel_size": 1}
    config |= {"num_res_units": 1, "inter_channels": None, "act": "PRELU", "norm": "batch"}
    layout = forked(layout_of("BetaVaeMonai", **config), "one to one")

    with pytest.raises(PlanRefused) as error:
        remapped(tmp_path, layout, "BetaVaeMonai")

    assert "has exactly the shapes" not in error.value.message
    assert error.value.fix.startswith("state the configuration: what FILE.yml has as config={...}")

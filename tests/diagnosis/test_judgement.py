"""Near misses are never compatible, what is stated counts, and every finding names its tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from support.layouts import hollow, layout_of
from viscy_compat.cli import main
from viscy_compat.diagnosis import CheckResult, Recognised, Stranger, Unreadable, diagnose
from viscy_compat.errors import UsageError
from viscy_compat.layout import Layout, TensorSpec, unfold
from viscy_compat.stated import Statement

CONTRASTIVE = {"backbone": "convnext_tiny", "in_channels": 2, "in_stack_depth": 15}
MONAI = {
    "spatial_dims": 2,
    "in_shape": (1, 32, 32),
    "out_channels": 1,
    "latent_size": 8,
    "channels": (4, 8),
    "strides": (2, 2),
}
CONFIGS: dict[str, dict[str, Any]] = {
    "ContrastiveEncoder": CONTRASTIVE,
    "ResNet3dEncoder": {"backbone": "resnet10"},
    "BetaVae25D": {"latent_dim": 64, "input_spatial_size": (64, 64), "decoder_stages": 2},
    "BetaVaeMonai": MONAI,
}


def judged(path: Path, layout: Layout, **options: Any) -> CheckResult:
    """The answer of `check` about a file with this layout."""
    return diagnose(str(hollow(path, layout)), **options).result


def codes(result: CheckResult) -> list[str]:
    return [finding.code for finding in result.findings]


def named(result: CheckResult, code: str) -> list[str]:
    """The tensors that the findings of one code name, unfolded."""
    keys = [key.partition(":")[0] for finding in result.findings if finding.code == code for key in finding.keys]
    return [name for key in keys for name in unfold(key)]


@pytest.fixture(params=CONFIGS)
def class_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def layout(class_name: str) -> Layout:
    return dict(layout_of(class_name, **CONFIGS[class_name]))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "epoch=48-step=18130.safetensors"


def test_the_honest_twin_is_compatible(path: Path, layout: Layout, class_name: str) -> None:
    result = judged(path, layout)
    assert (result.verdict, result.exit_code) == ("compatible", 0)
    assert result.identity
    assert result.identity.class_name == class_name


def test_a_missing_tensor_is_named(path: Path, layout: Layout) -> None:
    gone = list(layout)[len(layout) // 2]
    del layout[gone]
    result = judged(path, layout)
    assert (result.verdict, result.exit_code) == ("incompatible", 1)
    assert named(result, "VC101") == [gone]


def test_an_extra_tensor_is_named(path: Path, layout: Layout) -> None:
    layout["encoder.extra.weight"] = TensorSpec((3, 3))
    result = judged(path, layout)
    assert result.verdict == "incompatible"
    assert named(result, "VC102") == ["encoder.extra.weight"]


def test_a_tensor_of_another_shape_is_named(path: Path, layout: Layout) -> None:
    name = [name for name, spec in layout.items() if len(spec.shape) == 1][len(layout) // 4]
    layout[name] = TensorSpec((layout[name].shape[0] + 1,))
    result = judged(path, layout)
    assert result.verdict == "incompatible"
    assert named(result, "VC201") == [name]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_one_tensor_of_half_precision_is_remappable_and_named(path: Path, layout: Layout, dtype: str) -> None:
    name = next(iter(layout))
    layout[name] = TensorSpec(layout[name].shape, dtype)
    result = judged(path, layout)
    assert (result.verdict, result.exit_code) == ("remappable", 1)
    assert named(result, "VC202") == [name]
    assert result.to_dict()["plan"]["casts"] == 1


@pytest.mark.parametrize("dtype", ["float64", "int32"])
def test_a_tensor_of_a_dtype_without_an_exact_way_is_incompatible(path: Path, layout: Layout, dtype: str) -> None:
    name = next(iter(layout))
    layout[name] = TensorSpec(layout[name].shape, dtype)
    result = judged(path, layout)
    assert result.verdict == "incompatible"
    assert named(result, "VC203") == [name]


def test_another_backbone_of_timm_is_never_compatible(path: Path) -> None:
    layout = dict(layout_of("ContrastiveEncoder", **CONTRASTIVE))
    small = {name: spec for name, spec in layout.items() if ".stages.2.blocks.8." not in name}
    result = judged(path, small)
    assert result.verdict == "incompatible"
    assert all(".stages.2.blocks.8." in name for name in named(result, "VC101"))


def test_monais_own_autoencoder_lacks_the_first_name_of_ours(path: Path) -> None:
    own = {name.removeprefix("model."): spec for name, spec in layout_of("BetaVaeMonai", **MONAI).items()}
    result = judged(path, own)
    assert (result.verdict, codes(result)[0]) == ("remappable", "VC321")
    assert result.to_dict()["plan"]["prefix"] == ["* -> model.*"]


def test_a_plain_resnet_is_unknown(path: Path) -> None:
    layout = layout_of("ContrastiveEncoder", backbone="resnet50", in_channels=2, in_stack_depth=10)
    plain = {name.removeprefix("encoder."): spec for name, spec in layout.items() if name.startswith("encoder.")}
    result = judged(path, {"conv1.weight": TensorSpec((64, 3, 7, 7)), **plain, "fc.weight": TensorSpec((1000, 2048))})
    assert (result.verdict, result.exit_code) == ("unknown", 2)
    assert codes(result) == ["VC301"]


def test_a_custom_activation_is_incompatible_and_says_so(path: Path) -> None:
    layout = dict(layout_of("BetaVaeMonai", **MONAI))
    layout["model.encode.encode_0.adn.A.beta"] = TensorSpec((1,))
    layout["model.encode.encode_1.adn.A.beta"] = TensorSpec((1,))
    result = judged(path, layout)
    assert result.verdict == "incompatible"
    assert "VC307" in codes(result)


def test_shuffled_entries_are_compatible_with_a_note(path: Path, layout: Layout) -> None:
    result = judged(path, dict(reversed(layout.items())))
    assert result.verdict == "compatible"
    assert "VC104" in codes(result)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_a_wrapper_prefix_is_taken_off(path: Path, layout: Layout, prefix: str) -> None:
    result = judged(path, {prefix + name: spec for name, spec in layout.items()})
    assert (result.verdict, result.wrapper["prefix"]) == ("compatible", prefix)
    assert "VC103" in codes(result)


def test_tensors_outside_the_model_are_dropped_by_a_plan(path: Path, layout: Layout) -> None:
    wrapped = {"module." + name: spec for name, spec in layout.items()}
    result = judged(path, {**wrapped, "n_averaged": TensorSpec((), "int64")})
    assert result.verdict == "remappable"
    assert named(result, "VC106") == ["n_averaged"]
    assert result.plan
    assert result.to_dict()["plan"] == {"total": True, "renames": 0, "drops": 1, "fills": 0, "casts": 0}


def test_what_is_stated_narrows_what_is_open(path: Path) -> None:
    layout = layout_of("ContrastiveEncoder", **CONTRASTIVE)
    stated = (Statement("--set", {"stem_stride": (2, 4, 4), "in_stack_depth": 9}),)
    result = judged(path, layout, statements=stated)
    assert result.verdict == "compatible"
    assert result.identity
    assert (result.identity.config["stem_stride"], result.identity.config["in_stack_depth"]) == ((2, 4, 4), 9)
    assert "stem_stride" not in result.identity.undetermined


def test_what_cannot_be_is_a_contradiction_that_names_both_values(path: Path) -> None:
    layout = layout_of("ContrastiveEncoder", **CONTRASTIVE)
    result = judged(path, layout, statements=(Statement("--set", {"in_channels": 3}),))
    assert (result.verdict, codes(result)[0]) == ("incompatible", "VC304")
    assert "in_channels=3 contradicts the weights, which show in_channels=2" in result.findings[0].message
    assert named(result, "VC304") == ["stem.conv.weight"]


def test_a_stated_name_that_is_no_argument_is_refused_with_the_nearest(path: Path) -> None:
    layout = layout_of("ContrastiveEncoder", **CONTRASTIVE)
    with pytest.raises(UsageError, match=r"has no argument stem_strid; did you mean stem_stride\?"):
        judged(path, layout, statements=(Statement("--set", {"stem_strid": (5, 4, 4)}),))
    with pytest.raises(UsageError, match="its arguments are backbone, in_channels"):
        judged(path, layout, statements=(Statement("--set", {"xyz": 1}),))


def test_a_stated_class_that_it_is_not_is_never_compatible(path: Path) -> None:
    layout = layout_of("ResNet3dEncoder", backbone="resnet10")
    assert judged(path, layout, class_name="ContrastiveEncoder").exit_code > 0


def test_a_configuration_beside_the_file_is_offered_and_settles_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = hollow(tmp_path / "last.safetensors", layout_of("ContrastiveEncoder", **CONTRASTIVE))
    config = tmp_path / "config.yaml"
    config.write_text(
        "model:\n  init_args:\n    encoder:\n      class_path: viscy.representation.contrastive.ContrastiveEncoder\n"
        "      init_args: {backbone: convnext_tiny, in_channels: 2, in_stack_depth: 15, stem_stride: [5, 4, 4]}\n"
    )
    assert main(["check", str(checkpoint)]) == 0
    assert f"--config {config}" in capsys.readouterr().out
    assert main(["check", str(checkpoint), "--config", str(config)]) == 0
    assert "VC302" not in capsys.readouterr().out


def test_a_folder_is_walked_to_the_end_with_a_summary(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hollow(tmp_path / "a.safetensors", layout_of("ResNet3dEncoder", backbone="resnet10"))
    (tmp_path / "b.ckpt").write_text("<html>not found</html>")
    hollow(tmp_path / "c.safetensors", {"w": TensorSpec((1,))})
    assert main(["check", str(tmp_path)]) == 2
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == "3 checkpoints: 1 compatible, 1 unknown, 1 unreadable"


def test_a_folder_without_checkpoints_gets_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith(f"viscy-compat: {tmp_path}: no checkpoint below this folder")


def test_jsonl_prints_a_line_for_each_result_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hollow(tmp_path / "a.safetensors", layout_of("ResNet3dEncoder", backbone="resnet10"))
    hollow(tmp_path / "b.safetensors", {"w": TensorSpec((1,))})
    assert main(["check", str(tmp_path), "--format", "jsonl"]) == 2
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_what_was_stated_is_in_the_lines_that_follow(path: Path) -> None:
    layout = {f"module.{name}": spec for name, spec in layout_of("ContrastiveEncoder", **CONTRASTIVE).items()}
    result = judged(path, layout, statements=(Statement("--set", {"stem_stride": (5, 4, 4)}),))
    assert result.python.endswith(", config={'stem_stride': (5, 4, 4)})")
    assert result.next.endswith(" --set stem_stride=5,4,4")


@pytest.mark.torch
def test_a_file_that_would_run_something_is_for_remap_and_not_for_loading(tmp_path: Path) -> None:
    import torch

    marker = tmp_path / "marker"

    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (marker,)

    names = layout_of("ResNet3dEncoder", backbone="resnet10").items()
    state = {name: torch.zeros(spec.shape, dtype=getattr(torch, spec.dtype)) for name, spec in names}
    torch.save({"state_dict": state, "x": Payload()}, tmp_path / "evil.ckpt")
    result = diagnose(str(tmp_path / "evil.ckpt")).result
    assert (result.verdict, result.exit_code, result.findings[0].code) == ("unreadable", 2, "VC430")
    assert result.next.startswith("viscy-compat remap ")
    assert result.python == ""
    assert not marker.exists()


def test_a_diagnosis_is_of_a_file_that_is_recognised_a_stranger_or_unreadable(tmp_path: Path) -> None:
    known = diagnose(str(hollow(tmp_path / "known.safetensors", layout_of("BetaVaeMonai", **MONAI))))
    assert isinstance(known, Recognised)
    assert (known.inference.architecture.name, known.plan is not None) == ("BetaVaeMonai", True)
    strange = diagnose(str(hollow(tmp_path / "strange.safetensors", {"a.weight": TensorSpec((3, 2))})))
    assert isinstance(strange, Stranger)
    assert list(strange.view.keys) == ["a.weight"]
    twins = {
        f"{side}.{name}": spec for side in ("one", "two") for name, spec in layout_of("BetaVaeMonai", **MONAI).items()
    }
    assert isinstance(diagnose(str(hollow(tmp_path / "twins.safetensors", twins))), Unreadable)
    (tmp_path / "sampler.bin").write_bytes(b"no checkpoint")
    assert isinstance(diagnose(str(tmp_path / "sampler.bin")), Unreadable)

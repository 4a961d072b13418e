"""Near misses are never compatible, what is stated counts, and every finding names its tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from support import assembly
from support.files import torch_file_of
from support.layouts import hollow, layout_of
from viscy_compat.checkpoint import open_checkpoint
from viscy_compat.cli import main
from viscy_compat.diagnosis import CheckResult, Diagnosis, Recognised, Stranger, Unreadable, diagnose
from viscy_compat.diagnosis.judgement import target_beside, unreadable
from viscy_compat.errors import CompatError, UsageError
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


OURS = dict(layout_of("BetaVaeMonai", **MONAI))
OPEN = " --set in_shape=VALUE --set strides=VALUE --set use_sigmoid=VALUE"
OPEN_IN_PYTHON = ", config={'in_shape': ..., 'strides': ..., 'use_sigmoid': ...}"
WEIGHT = "model.encode.encode_0.conv.weight"
PRUNED = {
    name: spec
    for each, spec in OURS.items()
    for name in ([f"{each}_orig", f"{each}_mask"] if each == WEIGHT else [each])
}
OTHERS = {f"disc.{place}.weight": TensorSpec((3,)) for place in range(9)}
STRANGE = {"a.weight": TensorSpec((3, 2))}
RUNS_SOMETHING = assembly.call(assembly.name("os", "system"), assembly.text("true"))


def under(prefix: str, layout: Layout) -> Layout:
    return {prefix + name: spec for name, spec in layout.items()}


def with_payload(state: bytes) -> bytes:
    return assembly.mapping({"state_dict": state, "x": RUNS_SOMETHING})


def facts(result: CheckResult) -> dict[str, Any]:
    """What a result says of the file itself."""
    document = result.to_dict()
    return {name: document.get(name) for name in ("file", "format", "tensors", "bytes", "wrapper")}


def facts_about(path: Path, format: str, layout: Layout, prefix: str = "") -> dict[str, Any]:
    held = sum(4 * spec.elements for spec in layout.values())
    wrapper = {"kind": "plain", "prefix": prefix, "version": ""}
    return {"file": str(path), "format": format, "tensors": len(layout), "bytes": held, "wrapper": wrapper}


@pytest.mark.parametrize("stated", ["", "BetaVaeMonai"])
def test_a_pruned_model_is_of_its_class_and_does_not_load(path: Path, stated: str) -> None:
    diagnosis = diagnose(str(hollow(path, PRUNED)), class_name=stated)
    assert isinstance(diagnosis, Stranger)
    result = diagnosis.result
    assert (result.verdict, codes(result), result.plan, result.python) == ("incompatible", ["VC120"], None, "")
    assert named(result, "VC120") == [f"{WEIGHT}_orig", f"{WEIGHT}_mask"]
    assert facts(result) == facts_about(path, "safetensors", PRUNED)
    assert result.identity
    assert (result.identity.class_name, result.identity.config["channels"]) == ("BetaVaeMonai", (4, 8))
    assert {"use_sigmoid", "strides"} <= {*result.identity.undetermined}
    assert result.next == f"viscy-compat inspect {path}"
    assert diagnosis.checkpoint.path == str(path)
    assert list(diagnosis.view.keys) == list(PRUNED)
    assert [row.address for row in diagnosis.choice.sets] == [""]


def test_a_pruned_model_of_another_class_than_stated_is_not_taken_for_it(path: Path) -> None:
    result = judged(path, PRUNED, class_name="ResNet3dEncoder")
    assert (result.verdict, codes(result)[0], result.identity) == ("unknown", "VC301", None)


def test_a_pruned_model_beside_others_is_looked_at_below_its_prefix(path: Path) -> None:
    result = judged(path, {**under("model.a.", PRUNED), **OTHERS})
    assert (result.verdict, codes(result), result.wrapper["prefix"]) == ("incompatible", ["VC120", "VC106"], "model.a.")
    assert named(result, "VC106") == [*OTHERS]


def test_a_pruned_model_of_several_is_named_by_its_address(path: Path) -> None:
    result = judged(path, {**under("one.", PRUNED), **under("two.", OURS)}, state_dict=":one.")
    assert (result.verdict, codes(result)[0]) == ("incompatible", "VC120")
    assert result.next == f"viscy-compat inspect {path} --state-dict :one."


@pytest.mark.parametrize(("layout", "kind"), [(PRUNED, Stranger), (OURS, Recognised), (STRANGE, Stranger)])
def test_whatever_would_run_something_is_unreadable(tmp_path: Path, layout: Layout, kind: type[Diagnosis]) -> None:
    diagnosis = diagnose(str(torch_file_of(tmp_path / "evil.pt", layout, with_payload)))
    assert isinstance(diagnosis, kind)
    result = diagnosis.result
    assert (result.verdict, result.exit_code, codes(result)[0], result.python) == ("unreadable", 2, "VC430", "")
    assert facts(result) == facts_about(tmp_path / "evil.pt", "torch-zip", layout)
    assert "VC301" not in codes(result)


def test_two_models_are_listed_and_neither_is_judged(path: Path) -> None:
    both = {**under("one.", OURS), **under("two.", OURS)}
    result = judged(path, both)
    assert (result.verdict, result.exit_code, codes(result)) == ("unknown", 2, ["VC320"])
    expected = facts_about(path, "safetensors", both)
    assert facts(result) == {**expected, "wrapper": result.to_dict().get("wrapper")}
    assert [(row.address, row.chosen) for row in result.sets] == [(":one.", False), (":two.", False)]
    assert result.next == f"viscy-compat check {path} --state-dict ADDRESS"


def test_two_models_in_a_file_that_would_run_something_are_unreadable(tmp_path: Path) -> None:
    both = {**under("one.", OURS), **under("two.", OURS), "two.more.weight": TensorSpec((2, 2))}
    diagnosis = diagnose(str(torch_file_of(tmp_path / "both.pt", both, with_payload)))
    assert isinstance(diagnosis, Unreadable)
    assert (diagnosis.result.verdict, codes(diagnosis.result)) == ("unreadable", ["VC320", "VC430"])


def test_what_is_dropped_stands_outside_and_the_rest_is_judged(path: Path) -> None:
    layout = {**OURS, "extra.weight": TensorSpec((3, 3)), "extra.bias": TensorSpec((3,))}
    diagnosis = diagnose(str(hollow(path, layout)), drops=("extra",))
    assert isinstance(diagnosis, Recognised)
    result = diagnosis.result
    assert (result.verdict, result.to_dict()["plan"]["drops"]) == ("remappable", 2)
    assert facts(result) == facts_about(path, "safetensors", layout)
    assert list(diagnosis.checkpoint.tensors) == list(layout)
    assert (diagnosis.view.outside, diagnosis.view.dropped) == (("extra.weight", "extra.bias"),) * 2
    assert list(diagnosis.view.keys) == list(OURS)
    assert diagnosis.choice.pick
    assert "VC106" not in codes(result)


def test_what_is_dropped_of_a_stranger_is_still_in_its_file(path: Path) -> None:
    layout = {**STRANGE, "b.weight": TensorSpec((4, 2))}
    diagnosis = diagnose(str(hollow(path, layout)), drops=("b.weight",))
    assert isinstance(diagnosis, Stranger)
    assert list(diagnosis.checkpoint.tensors) == list(layout)
    assert list(diagnosis.view.keys) == ["a.weight"]


def test_a_stranger_is_said_not_to_be_what_is_stated(path: Path) -> None:
    diagnosis = diagnose(str(hollow(path, STRANGE)), class_name="BetaVaeMonai")
    assert isinstance(diagnosis, Stranger)
    assert diagnosis.result.findings[0].message == "1 tensor, not those of BetaVaeMonai"
    assert facts(diagnosis.result) == facts_about(path, "safetensors", STRANGE)
    assert diagnosis.result.next == f"viscy-compat inspect {path}"
    assert diagnosis.checkpoint.path == str(path)
    other = judged(path, STRANGE)
    assert other.findings[0].message == "1 tensor, not those of any class that this version knows"


def test_who_is_far_from_every_class_is_a_stranger_with_a_nearest(path: Path) -> None:
    half = {name: spec for name, spec in OURS.items() if ".decode." not in name}
    result = judged(path, half)
    assert (result.verdict, codes(result)) == ("unknown", ["VC301", "VC101"])
    assert result.findings[0].message.endswith("; nearest is BetaVaeMonai (v0.4) but for 5 keys")
    # nothing makes what is not there
    assert result.next == f"viscy-compat inspect {path}"
    result = judged(path, {**half, "model.more": TensorSpec((3,))})
    assert result.next == f"viscy-compat remap {path} --as BetaVaeMonai"


def test_a_stranger_whose_names_a_class_has_is_called_a_part_of_it(path: Path) -> None:
    part = {name: spec for name, spec in OURS.items() if ".encode." in name}
    result = judged(path, part)
    assert (result.verdict, codes(result)) == ("unknown", ["VC301"])
    named = "the names are those of a part of BetaVaeMonai: BetaVaeMonai has model.decode.*, model.mu.*, "
    assert named in result.findings[0].message
    without = {name.removeprefix("model."): spec for name, spec in part.items()}
    assert "a part of BetaVaeMonai (there behind model.): " in judged(path, without).findings[0].message
    near_miss = {**part, "model.encode.encode_0.scale": TensorSpec((3,))}
    assert "a part of" not in judged(path, near_miss).findings[0].message


@pytest.mark.parametrize(("extra", "verdict"), [(3, "incompatible"), (4, "unknown")])
def test_a_fifth_at_fault_is_the_class_and_more_is_a_stranger(path: Path, extra: int, verdict: str) -> None:
    # 16 tensors are shared and one is gone: with three too many, four of twenty are at fault
    rest = {name: spec for name, spec in OURS.items() if name != "model.mu.bias"}
    result = judged(path, {**rest, **{f"model.more_{place}": TensorSpec((3,)) for place in range(extra)}})
    assert (result.verdict, named(result, "VC101")) == (verdict, ["model.mu.bias"])
    assert len(named(result, "VC102")) == extra


@pytest.mark.parametrize(("state", "stated"), [(None, None), ("state_dict", "state_dict"), ("ema", "ema")])
def test_a_printed_line_means_the_same_set_again(tmp_path: Path, state: str | None, stated: str | None) -> None:
    def top(held: bytes) -> bytes:
        return assembly.mapping({"state_dict": held, "ema": held} if state else {"state_dict": held})

    file = torch_file_of(tmp_path / "a.pt", OURS, top)
    diagnosis = diagnose(str(file), state_dict=stated)
    assert isinstance(diagnosis, Recognised)
    assert diagnosis.plan
    assert diagnosis.plan.source.state_dict == state
    assert diagnosis.result.state_dict == (state or "state_dict")
    flag, keyword = (f" --state-dict {state}", f", state_dict={state!r}") if state else ("", "")
    out = f" -o {tmp_path / 'a.safetensors'}" if state else ""
    assert diagnosis.result.next == f"viscy-compat {'remap' if state else 'check'} {file}{flag}{out}{OPEN}"
    assert diagnosis.result.python == f"model = viscy_compat.load_model({str(file)!r}{OPEN_IN_PYTHON}{keyword})"


def test_a_refusal_of_the_plan_names_the_set_that_was_judged(path: Path) -> None:
    whole = {**under("one.", OURS), **under("two.", OURS)}
    whole[f"two.{WEIGHT}"] = TensorSpec(OURS[WEIGHT].shape, "float64")
    result = judged(path, whole, state_dict=":two.")
    assert (result.verdict, codes(result)[0], result.plan, result.python) == ("incompatible", "VC203", None, "")
    assert "VC113" not in codes(result)
    assert result.next == f"viscy-compat inspect {path} --state-dict :two."


def test_what_is_stated_and_cannot_be_leaves_neither_plan_nor_line(path: Path) -> None:
    diagnosis = diagnose(str(hollow(path, OURS)), statements=(Statement("--set", {"latent_size": 9}),))
    assert isinstance(diagnosis, Recognised)
    assert diagnosis.plan is not None
    result = diagnosis.result
    assert (result.verdict, result.plan, result.python, codes(result)[0]) == ("incompatible", None, "", "VC304")
    assert (diagnosis.checkpoint.path, list(diagnosis.view.keys)) == (str(path), list(OURS))
    assert [row.address for row in diagnosis.choice.sets] == [""]


@pytest.mark.parametrize("alone", [True, False])
def test_what_is_not_about_the_class_is_refused_for_one_file_and_said_beside_others(path: Path, alone: bool) -> None:
    stated = (Statement("--set", {"backbone": "convnext_tiny"}),)
    hollow(path, OURS)
    if alone:
        with pytest.raises(UsageError, match="BetaVaeMonai has no argument backbone"):
            diagnose(str(path), statements=stated)
        return
    result = diagnose(str(path), statements=stated, alone=False).result
    assert (result.verdict, "VC310" in codes(result)) == ("compatible", True)


@pytest.mark.parametrize("class_path", ["viscy.translation.engine.VSUNet", None])
def test_the_command_that_comes_next_puts_a_new_class_path_in(tmp_path: Path, class_path: str | None) -> None:
    values = {"x": assembly.number(3), **({"_class_path": assembly.text(class_path)} if class_path else {})}

    def top(state: bytes) -> bytes:
        return assembly.lightning(state_dict=state, hyper_parameters=assembly.mapping(values))

    file = torch_file_of(tmp_path / "a.ckpt", under("model.", OURS), top)
    result = diagnose(str(file)).result
    if class_path:
        (finding,) = (finding for finding in result.findings if finding.code == "VC306")
        assert finding.message.startswith(f"the hyper-parameters name {class_path}, which the monorepo does not have")
        assert finding.message.endswith("; the model is viscy_models.vae.BetaVaeMonai")
        out = f"{tmp_path / 'a.remapped.ckpt'} --class-path cytoland.engine.VSUNet"
    else:
        assert "VC306" not in codes(result)
        out = f"{tmp_path / 'a.safetensors'}"
    assert result.next == f"viscy-compat remap {file} -o {out}{OPEN}"


@pytest.mark.parametrize(
    ("settled", "next_command"),
    [
        ({}, "check {path}" + OPEN),
        (
            {"in_shape": (1, 32, 32), "strides": (2, 2)},
            "check {path} --set in_shape=1,32,32 --set strides=2,2 --set use_sigmoid=VALUE",
        ),
        ({"in_shape": (1, 32, 32), "strides": (2, 2), "use_sigmoid": False}, ""),
    ],
)
def test_a_file_that_loads_as_it_is_needs_only_what_is_open(
    path: Path, settled: dict[str, Any], next_command: str
) -> None:
    result = judged(path, OURS, statements=(Statement("--set", settled),) if settled else ())
    expected = next_command.format(path=path)
    assert result.next == (f"viscy-compat {expected}" if expected else "")
    values = {
        "in_shape": "...",
        "strides": "...",
        "use_sigmoid": "...",
        **{name: repr(value) for name, value in settled.items()},
    }
    spelt = ", ".join(f"{name!r}: {value}" for name, value in values.items())
    assert result.python == f"model = viscy_compat.load_model({str(path)!r}, config={{{spelt}}})"


@pytest.mark.parametrize(
    ("where", "message"),
    [("", "no zip"), ("a.ckpt", "no zip"), ("a.ckpt!data.pkl", "a.ckpt!data.pkl: no zip")],
)
def test_what_the_reader_refuses_is_said_once(where: str, message: str) -> None:
    result = unreadable("a.ckpt", CompatError("no zip", where=where, fix="fetch it again", code="VC401"))
    assert (result.file, result.verdict, result.exit_code) == ("a.ckpt", "unreadable", 2)
    (finding,) = result.findings
    assert (finding.code, finding.message, finding.fix) == ("VC401", message, "fetch it again")


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("a/b.ckpt", "a/b.safetensors"),
        ("a/b.safetensors", "a/b.remapped.safetensors"),
        ("a/b", "a/b.safetensors"),
        ("a/folder.ckpt/", "a/folder.safetensors"),
        ("/a/folder//", "/a/folder.safetensors"),
        ("https://host/x/b.ckpt", "b.safetensors"),
        ("https://host/x/b.safetensors", "b.remapped.safetensors"),
    ],
)
def test_a_printed_command_writes_beside_the_source(path: str, target: str) -> None:
    assert target_beside(path) == target


@pytest.mark.parametrize("closer", ["one.", "two."])
def test_of_two_models_the_one_that_is_closer_to_its_class_is_spoken_of(path: Path, closer: str) -> None:
    one_gone = {name: spec for name, spec in OURS.items() if name != "model.mu.bias"}
    four_gone = {name: spec for place, (name, spec) in enumerate(OURS.items()) if place not in (2, 5, 8, 11)}
    sides = (one_gone, four_gone) if closer == "one." else (four_gone, one_gone)
    diagnosis = diagnose(str(hollow(path, {**under("one.", sides[0]), **under("two.", sides[1])})))
    assert isinstance(diagnosis, Stranger)
    result = diagnosis.result
    assert (result.verdict, named(result, "VC101")) == ("incompatible", ["model.mu.bias"])
    assert (result.wrapper["prefix"], diagnosis.view.prefix) == (closer, closer)


def test_a_custom_module_is_of_the_class_however_much_else_differs(path: Path) -> None:
    rest = {name: spec for name, spec in OURS.items() if not name.startswith("model.mu.")}
    layout = {**rest, **{f"model.more_{place}": TensorSpec((3,)) for place in range(2)}}
    assert judged(path, layout).verdict == "unknown"
    customs = {f"model.encode.encode_{place}.adn.A.beta": TensorSpec((1,)) for place in (0, 1)}
    result = judged(path, {**layout, **customs})
    assert (result.verdict, codes(result)[0]) == ("incompatible", "VC307")


def test_a_stranger_among_several_is_named_by_its_address(tmp_path: Path) -> None:
    def top(held: bytes) -> bytes:
        return assembly.mapping({"state_dict": held, "ema": held})

    diagnosis = diagnose(str(torch_file_of(tmp_path / "a.pt", STRANGE, top)), state_dict="ema")
    assert isinstance(diagnosis, Stranger)
    assert (diagnosis.result.verdict, codes(diagnosis.result)) == ("unknown", ["VC301"])
    assert diagnosis.result.next == f"viscy-compat inspect {tmp_path / 'a.pt'} --state-dict ema"
    assert diagnosis.checkpoint.path == str(tmp_path / "a.pt")


def test_where_nothing_was_chosen_nothing_is_said_to_have_been_read(tmp_path: Path) -> None:
    def top(held: bytes) -> bytes:
        return assembly.mapping({"state_dict": held, "ema": held})

    file = torch_file_of(tmp_path / "a.pt", {**under("one.", OURS), **under("two.", OURS)}, top)
    assert "VC448" in [finding.code for finding in open_checkpoint(str(file)).findings]
    result = diagnose(str(file)).result
    assert (result.verdict, codes(result)) == ("unknown", ["VC320"])
    assert [row.address for row in result.sets] == ["state_dict:one.", "state_dict:two.", "ema:one.", "ema:two."]


@pytest.mark.parametrize("stated", [False, True])
def test_a_configuration_beside_the_file_is_offered_to_who_states_nothing(tmp_path: Path, stated: bool) -> None:
    (tmp_path / "config.yaml").write_text("model: {}\n")
    statements = (Statement("--set", {"embedding_dim": 768}),) if stated else ()
    result = judged(tmp_path / "a.safetensors", layout_of("ContrastiveEncoder", **CONTRASTIVE), statements=statements)
    assert ("VC308" in codes(result)) is not stated
    assert "VC302" in codes(result)

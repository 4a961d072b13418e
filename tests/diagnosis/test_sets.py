"""Every set of weights is recognised for itself, behind any prefix, and none is judged that nobody meant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from diagnosis.test_judgement import CONFIGS, MONAI
from support.layouts import hollow, layout_of
from viscy_compat import check
from viscy_compat.cli import main
from viscy_compat.diagnosis import CheckResult, diagnose
from viscy_compat.layout import Layout, TensorSpec

UNETS: dict[str, dict[str, Any]] = {
    "UNeXt2": {"in_channels": 1, "out_channels": 2, "in_stack_depth": 5, "stem_kernel_size": (5, 4, 4)},
    "FullyConvolutionalMAE": {
        "in_channels": 1,
        "out_channels": 2,
        "in_stack_depth": 5,
        "stem_kernel_size": (5, 4, 4),
        "decoder_conv_blocks": 2,
        "pretraining": False,
    },
    "Unet2d": {"in_channels": 1, "out_channels": 2},
    "Unet25d": {"in_channels": 1, "out_channels": 2},
}
MODELS = {name: dict(layout_of(name, **config)) for name, config in {**CONFIGS, **UNETS}.items()}
SMALL = MODELS["BetaVaeMonai"]
BARE = {name.removeprefix("model."): spec for name, spec in SMALL.items()}
UNUSUAL = (
    "net.",
    "backbone.",
    "0.",
    "unet_model.",
    "_forward_module.model.",
    "_fsdp_wrapped_module.",
    "_checkpoint_wrapped_module.",
    "_original_module.",
    "model.net.",
    "a.b.c.d.",
)
OTHERS = {f"discriminator.{place}.weight": TensorSpec((3,)) for place in range(9)}


def under(prefix: str, layout: Layout) -> Layout:
    return {prefix + name: spec for name, spec in layout.items()}


def judged(path: Path, layout: Layout, **stated: Any) -> CheckResult:
    return diagnose(str(hollow(path / "a.safetensors", layout)), **stated).result


def addresses(result: CheckResult) -> list[str]:
    return [row.address for row in result.sets]


@pytest.mark.uncounted
@pytest.mark.parametrize("prefix", UNUSUAL)
@pytest.mark.parametrize("name", MODELS)
def test_a_class_is_recognised_behind_any_prefix_and_the_plan_has_one_row(
    name: str, prefix: str, tmp_path: Path
) -> None:
    bare, result = judged(tmp_path, MODELS[name]), judged(tmp_path, under(prefix, MODELS[name]))
    assert result.identity == bare.identity
    assert (result.verdict, result.wrapper["prefix"]) == ("remappable", prefix)
    assert "VC321" in [finding.code for finding in result.findings]
    assert result.plan
    assert result.plan.prefix_rows == (f"{prefix}* -> *",)
    assert addresses(result) == [""]


@pytest.mark.parametrize("prefix", ["model.", "module.", "_orig_mod.", "model.module._orig_mod."])
def test_the_usual_wrappers_stay_compatible(prefix: str, tmp_path: Path) -> None:
    assert judged(tmp_path, under(prefix, SMALL)).verdict == "compatible"


@pytest.mark.parametrize("wrapper", ["_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module"])
def test_wrappers_of_frameworks_are_known_inside_names(wrapper: str, tmp_path: Path) -> None:
    inside = {
        name.replace("encoder.", f"encoder.{wrapper}.", 1): spec for name, spec in MODELS["ResNet3dEncoder"].items()
    }
    result = judged(tmp_path, under(f"{wrapper}.model.", inside))
    assert (result.verdict, result.identity and result.identity.class_name) == ("remappable", "ResNet3dEncoder")
    assert result.plan
    assert result.plan.prefix_rows == (f"{wrapper}.model.* -> *", f"encoder.{wrapper}.* -> encoder.*")


def test_a_compiled_part_of_a_model_stays_compatible(tmp_path: Path) -> None:
    inside = {
        name.replace("encoder.", "encoder._orig_mod.", 1): spec for name, spec in MODELS["ResNet3dEncoder"].items()
    }
    assert judged(tmp_path, inside).verdict == "compatible"


@pytest.mark.parametrize("prefix", ["", "net.", "vae.module."])
def test_a_class_without_its_own_first_name_is_recognised(prefix: str, tmp_path: Path) -> None:
    result = judged(tmp_path, under(prefix, BARE))
    assert (result.verdict, result.identity and result.identity.class_name) == ("remappable", "BetaVaeMonai")
    assert result.plan
    assert result.plan.prefix_rows == (f"{prefix}* -> model.*",)


TWINS = [
    ("model.", "ema.model."),
    ("student.", "teacher."),
    ("online_model.", "ema_model."),
    ("source_encoder.", "target_encoder."),
    ("", "ema."),
    ("generator.", "generator_ema."),
]


@pytest.mark.parametrize("pair", TWINS)
def test_two_models_in_one_state_dict_are_listed_and_one_is_asked_for(pair: tuple[str, str], tmp_path: Path) -> None:
    extra = {"loss.weight": TensorSpec((2,))} if pair[0] else {}
    result = judged(tmp_path, {**under(pair[0], SMALL), **under(pair[1], SMALL), **extra})
    assert (result.verdict, result.exit_code, result.state_dict) == ("unknown", 2, None)
    assert [finding.code for finding in result.findings] == ["VC320", *["VC106"] * len(extra)]
    assert addresses(result) == [f":{prefix}" for prefix in pair]
    assert [(row.class_name, row.generation, row.tensors) for row in result.sets] == 2 * [
        ("BetaVaeMonai", "v0.4", len(SMALL))
    ]
    assert not any(row.chosen for row in result.sets)
    assert result.next.endswith("--state-dict ADDRESS")


@pytest.mark.parametrize("pair", TWINS)
@pytest.mark.parametrize("which", [0, 1])
def test_a_stated_set_is_judged_and_goes_into_every_line(pair: tuple[str, str], which: int, tmp_path: Path) -> None:
    other = dict(layout_of("BetaVaeMonai", **{**MONAI, "latent_size": 5}))
    layouts = {pair[0]: SMALL, pair[1]: other}
    file = {name: spec for prefix, layout in layouts.items() for name, spec in under(prefix, layout).items()}
    address = f":{pair[which]}"
    result = judged(tmp_path, file, state_dict=address)
    assert result.identity
    assert result.identity.config["latent_size"] == (8, 5)[which]
    assert result.state_dict == address == result.to_dict()["state_dict"]
    assert [(row.address, row.chosen) for row in result.sets] == [(address, True), (f":{pair[1 - which]}", False)]
    assert f" --state-dict {address} -o " in result.next
    assert result.python.endswith(f", state_dict={address!r})")


def test_what_is_of_no_known_class_leaves_no_choice(tmp_path: Path) -> None:
    result = judged(tmp_path, {**under("generator.", SMALL), **OTHERS})
    assert (result.verdict, result.state_dict) == ("remappable", ":generator.")
    assert [(row.address, row.class_name) for row in result.sets] == [
        (":generator.", "BetaVaeMonai"),
        (":discriminator.", ""),
    ]
    assert result.sets[0].why == "it is the only set of a known class in this state dict"


def test_a_damaged_set_is_not_passed_over_for_a_whole_one(tmp_path: Path) -> None:
    damaged = {name: spec for name, spec in SMALL.items() if name != "model.logvar.weight"}
    result = judged(tmp_path, {**under("model.", damaged), **under("ema.", SMALL)})
    assert (result.verdict, result.state_dict) == ("unknown", None)
    stated = judged(tmp_path, {**under("model.", damaged), **under("ema.", SMALL)}, state_dict=":model.")
    assert stated.verdict == "incompatible"
    assert [key for finding in stated.findings if finding.code == "VC101" for key in finding.keys] == [
        "model.logvar.weight"
    ]


def test_one_more_tensor_than_the_class_has_is_the_only_fault_of_a_set_among_others(tmp_path: Path) -> None:
    file = {**SMALL, "loss.weight": TensorSpec((2,)), **under("ema.", SMALL)}
    assert sorted(addresses(judged(tmp_path, file))) == [":", ":ema."]
    assert judged(tmp_path, file, state_dict=":ema.").verdict == "remappable"
    top = judged(tmp_path, file, state_dict=":")
    assert (top.verdict, top.findings[0].code, top.findings[0].keys) == ("incompatible", "VC102", ("loss.weight",))


def test_names_that_have_lost_their_dots_are_recognised_by_the_set_beside_them(tmp_path: Path) -> None:
    flat = {f"model_ema.{name.replace('.', '')}": spec for name, spec in SMALL.items()}
    file = {**under("model.", SMALL), **flat, "model_ema.decay": TensorSpec(())}
    assert addresses(judged(tmp_path, file)) == [":model.", ":model_ema."]
    result = judged(tmp_path, file, state_dict="model_ema")
    assert (result.verdict, result.state_dict) == ("remappable", ":model_ema.")
    assert result.sets[0].class_name == "BetaVaeMonai"


def test_an_extra_tensor_beside_names_that_only_seem_to_lack_their_first_one_is_no_prefix(tmp_path: Path) -> None:
    assert judged(tmp_path, {**SMALL, "extra.weight": TensorSpec((3,))}).verdict == "incompatible"


def test_the_report_lists_every_set_without_v(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(hollow(tmp_path / "a.safetensors", {**under("model.", SMALL), **under("ema.", SMALL)}))
    assert main(["check", path, "--state-dict", "ema"]) == 1
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert f"judged    :ema.: BetaVaeMonai v0.4, {len(SMALL)} tensors, 53.9 kB; it was stated" in lines
    assert f"also      :model.: BetaVaeMonai v0.4, {len(SMALL)} tensors, 53.9 kB, same layout" in lines
    assert main(["inspect", path, "--state-dict", "ema"]) == 0
    assert "also      :model.: BetaVaeMonai" in capsys.readouterr().out


def test_the_json_of_the_contract_has_the_sets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(hollow(tmp_path / "a.safetensors", {**under("model.", SMALL), **under("ema.", SMALL)}))
    main(["check", path, "--state-dict", ":model.", "--format", "json"])
    result = json.loads(capsys.readouterr().out)["results"][0]
    same = {"class": "BetaVaeMonai", "generation": "v0.4", "tensors": len(SMALL), "bytes": 53936}
    assert result["state_dict"] == ":model."
    assert result["sets"] == [
        {"state_dict": ":model.", **same, "why": "it was stated", "chosen": True},
        {"state_dict": ":ema.", **same, "same_layout": True, "chosen": False},
    ]


def test_a_file_of_one_set_needs_no_address(tmp_path: Path) -> None:
    report = check(hollow(tmp_path / "a.safetensors", under("net.", SMALL)))
    result = report.results[0].to_dict()
    assert (result["state_dict"], len(result["sets"])) == ("", 1)
    assert "--state-dict" not in result["next"] + result["python"]


@pytest.mark.parametrize(
    ("outer", "expected"), [("", {":model.", ":"}), ("model.", {":model.", ":"}), ("net.", {":net.model.", ":net."})]
)
def test_a_copy_without_the_first_name_of_its_class_is_told_from_the_one_beside_it(
    tmp_path: Path, outer: str, expected: set[str]
) -> None:
    both = under(outer, SMALL) | under(outer, BARE)
    result = judged(tmp_path, both)
    assert {*addresses(result)} == expected
    assert {row.class_name for row in result.sets} == {"BetaVaeMonai"}
    for address in expected:
        again = judged(tmp_path, both, state_dict=address)
        assert (again.state_dict, again.sets[0].tensors) == (address, len(SMALL))
        assert again.verdict in ("compatible", "remappable")

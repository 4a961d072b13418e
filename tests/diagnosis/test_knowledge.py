"""What is known of constructor arguments: every source in its order, and nothing adopted that is only likely."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support.layouts import hollow, layout_of
from viscy_compat.architectures import find
from viscy_compat.architectures.architecture import complete
from viscy_compat.checkpoint.pickle_nodes import Unread
from viscy_compat.cli import main
from viscy_compat.config_files import read_config
from viscy_compat.diagnosis import CheckResult, check_paths, diagnose
from viscy_compat.diagnosis.knowledge import gather
from viscy_compat.errors import UsageError
from viscy_compat.layout import TensorSpec
from viscy_compat.stated import FILE, OURS, SETTING, Knowledge, Statement, statements_in

ENCODER = {"backbone": "convnext_tiny", "in_channels": 2, "in_stack_depth": 15}
UNEXT2 = {"in_channels": 1, "out_channels": 2, "in_stack_depth": 5, "stem_kernel_size": (5, 4, 4), "head_pool": True}


def known(class_name: str, *rows: Statement, generation: str = "") -> Knowledge:
    architecture = find(class_name)
    config = complete(architecture, UNEXT2 if class_name == "UNeXt2" else ENCODER)
    return gather(architecture, config, generation, rows)


def values(class_name: str, *rows: Statement, generation: str = "") -> dict[str, Any]:
    return known(class_name, *rows, generation=generation).stated()


def judged(path: Path, class_name: str, config: dict[str, Any], *rows: Statement) -> CheckResult:
    return diagnose(str(hollow(path / "a.safetensors", layout_of(class_name, **config))), statements=rows).result


def codes(result: CheckResult) -> list[str]:
    return [finding.code for finding in result.findings]


def test_sources_count_in_their_order_and_what_is_overruled_is_said(tmp_path: Path) -> None:
    rows = [
        Statement(SETTING, {"head_pool": True}),
        Statement("run.yml", {"head_pool": False, "head_expansion_ratio": 4}, "UNeXt2"),
        Statement(FILE, {"head_pool": False, "decoder_conv_blocks": 2}),
        Statement(OURS, {"decoder_conv_blocks": 1, "drop_path_rate": 0.5}),
    ]
    found = known("UNeXt2", *rows)
    origins = {name: (row.value, row.origin) for name, row in found.values.items()}
    assert origins == {
        "head_pool": (True, SETTING),
        "head_expansion_ratio": (4, "run.yml"),
        "decoder_conv_blocks": (2, FILE),
        "drop_path_rate": (0.5, OURS),
    }
    assert [(name, row.origin) for name, row in found.overruled] == [
        ("head_pool", "run.yml"),
        ("head_pool", FILE),
        ("decoder_conv_blocks", OURS),
    ]
    result = judged(tmp_path, "UNeXt2", UNEXT2, *rows[:2])
    assert "--set gives head_pool=true, which is taken; run.yml gives head_pool=false" in [
        finding.message for finding in result.findings
    ]
    assert result.uncertain


@pytest.mark.parametrize(
    "spelling", ["UNeXt2", "unext2", "viscy_models.unet.UNeXt2", "viscy.unet.networks.unext2.UNeXt2"]
)
def test_a_statement_for_the_class_counts_whatever_its_spelling_and_one_for_another_never(spelling: str) -> None:
    assert values("UNeXt2", Statement("a.yml", {"head_pool": True}, spelling)) == {"head_pool": True}
    assert values("ContrastiveEncoder", Statement("a.yml", {"drop_path_rate": 0.1}, spelling)) == {}


def test_the_words_of_old_configurations_name_their_classes() -> None:
    document = {"model": {"init_args": {"architecture": "fcmae", "model_config": {"in_channels": 1}}}}
    rows = tuple(statements_in(document, "a.yml"))
    assert values("UNeXt2", *rows) == {}
    architecture = find("FullyConvolutionalMAE")
    config = complete(architecture, dict(architecture.publications[0].config))
    assert gather(architecture, config, "", rows).stated() == {"in_channels": 1}


def test_the_arguments_of_a_module_that_holds_the_model_count_and_those_of_its_parts_do_not() -> None:
    module = {"class_path": "lab.Module", "init_args": {"in_channels": 2, "lr": 0.1}}
    assert values("ContrastiveEncoder", *statements_in({"model": module}, "a.yml")) == {"in_channels": 2}
    part = {"class_path": "lab.Other", "init_args": {"in_channels": 2}}
    assert values("ContrastiveEncoder", *statements_in({"model": {"init_args": {"encoder": part}}}, "a.yml")) == {}
    assert values("ContrastiveEncoder", *statements_in({"data": {"in_channels": 2}}, "a.yml")) == {}


def test_two_values_for_one_argument_in_one_source_are_none() -> None:
    encoders = {
        name: {"class_path": "viscy.ContrastiveEncoder", "init_args": {"stem_stride": stride, "in_channels": 2}}
        for name, stride in {"source": [5, 4, 4], "target": [2, 4, 4]}.items()
    }
    found = known("ContrastiveEncoder", *statements_in({"model": encoders}, "a.yml"))
    assert found.stated() == {"in_channels": 2}
    (row,) = found.not_read
    assert row.name == "stem_stride"
    assert "stated twice" in row.what


@pytest.mark.parametrize("value", ["5,4,4", "(5, 4, 4)", "[5, 4, 4]", [5, 4, 4]])
def test_a_text_in_a_file_may_spell_a_value(value: Any) -> None:
    rows = statements_in({"hyper_parameters": {"stem_stride": value}}, FILE)
    assert values("ContrastiveEncoder", *rows) == {"stem_stride": (5, 4, 4)}


@pytest.mark.parametrize("value", ["yes", 1, [True], Unread("a tensor"), "${pool}", {"a": 1}])
def test_what_is_no_value_is_not_read_and_contradicts_nothing(value: Any, tmp_path: Path) -> None:
    path = tmp_path / "hparams.json"
    rows = tuple(statements_in({"model": {"in_channels": 1, "head_pool": value}}, "hparams.json"))
    result = judged(tmp_path, "UNeXt2", UNEXT2, *rows)
    assert "VC304" not in codes(result)
    assert ("VC309" in codes(result)) is not isinstance(value, dict)
    assert result.python.endswith("config={'head_pool': ...})")
    assert not path.exists()


def test_v02_terms_are_translated_and_its_unused_stride_is_not_believed() -> None:
    old = {"backbone": "convnext_tiny", "embedding_len": 256, "stem_stride": [2, 4, 4]}
    found = known("ContrastiveEncoder", *statements_in({"model": old}, "fit.yml"))
    assert found.stated() == {"backbone": "convnext_tiny", "embedding_dim": 768, "projection_dim": 256}
    assert [row.name for row in found.not_read] == ["stem_stride"]
    new = {"hyper_parameters": {"in_channels": 2, "stem_stride": [2, 4, 4]}}
    assert "stem_stride" in values("ContrastiveEncoder", *statements_in(new, FILE), generation="v0.3")
    assert "stem_stride" not in values("ContrastiveEncoder", *statements_in(new, FILE), generation="v0.2")


def test_a_file_that_contradicts_its_weights_is_not_believed_in_the_rest(tmp_path: Path) -> None:
    wrong = {"in_channels": 3, "stem_stride": (2, 4, 4)}
    result = judged(tmp_path, "ContrastiveEncoder", ENCODER, Statement(FILE, wrong))
    assert result.verdict == "compatible"
    assert "VC305" in codes(result)
    assert result.python.endswith("config={'stem_stride': ...})")
    right = judged(tmp_path, "ContrastiveEncoder", ENCODER, Statement(FILE, {**wrong, "in_channels": 2}))
    assert right.python.endswith("config={'stem_stride': (2, 4, 4)})")


def test_each_argument_says_where_its_value_comes_from(tmp_path: Path) -> None:
    result = judged(tmp_path, "ContrastiveEncoder", ENCODER)
    assert result.identity
    sources = result.to_dict()["architecture"]["sources"]
    assert list(sources) == list(result.identity.config)
    assert (sources["backbone"], sources["stem_stride"], sources["drop_path_rate"]) == (
        "weights",
        "not known",
        "assumed",
    )
    result = judged(
        tmp_path, "ContrastiveEncoder", ENCODER, Statement(SETTING, {"stem_stride": (5, 4, 4), "in_channels": 2})
    )
    sources = result.to_dict()["architecture"]["sources"]
    assert (sources["stem_stride"], sources["in_channels"]) == ("--set", "weights")


def test_unknown_values_are_asked_for_in_every_line_that_can_be_pasted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = hollow(tmp_path / "a.safetensors", {f"module.{k}": v for k, v in layout_of("UNeXt2", **UNEXT2).items()})
    assert main(["check", str(path), "--format", "json"]) == 0
    (result,) = json.loads(capsys.readouterr().out)["results"]
    assert result["python"] == f"model = viscy_compat.load_model({str(path)!r}, config={{'head_pool': ...}})"
    assert result["next"].endswith(" --set head_pool=VALUE")
    assert main(["check", str(path)]) == 0
    out = capsys.readouterr().out
    assert "head_pool=..." in out
    assert "head_pool is not known" in out
    assert "true blurs the map" in out


def test_strict_makes_it_a_finding_and_quiet_still_names_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    open_ = str(hollow(tmp_path / "open.safetensors", layout_of("UNeXt2", **UNEXT2)))
    hollow(tmp_path / "sure.safetensors", layout_of("ResNet3dEncoder", backbone="resnet10"))
    assert main(["check", "-q", str(tmp_path)]) == 0
    assert (
        capsys.readouterr().out.splitlines()[0]
        == f"{open_}: compatible, but predictions may differ: head_pool not known"
    )
    assert main(["check", "--strict", str(tmp_path / "sure.safetensors")]) == 0
    assert main(["check", "--strict", open_]) == 1
    assert main(["check", "--strict", open_, "--set", "head_pool=true"]) == 0


@pytest.mark.parametrize("setting", ["backbone=resnet11", "in_channels=two", "stem_stride=wide"])
def test_a_text_that_an_argument_does_not_take_is_usage_before_anything_is_known_of_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], setting: str
) -> None:
    path = hollow(tmp_path / "odd.safetensors", {"a.weight": TensorSpec((3, 2))})
    assert main(["remap", str(path), "--as", "ContrastiveEncoder", "--set", setting]) == 2
    name, _, value = setting.partition("=")
    assert f"{name} takes" in (said := capsys.readouterr().err)
    assert f"and not {value}" in said


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("head_pool=yes", "head_pool takes true or false, and not yes"),
        ("stem_kernel_size=5", "stem_kernel_size takes 3 values, such as 5,4,4, and not 5"),
        ("out_channels=two", "out_channels takes a whole number, and not two"),
        ("head_pol=true", "did you mean head_pool?"),
        ("decoder_mode=PixelShuffle", "decoder_mode has no value PixelShuffle; did you mean pixelshuffle?"),
        ("backbone=ConvNeXtV2_tiny", "backbone has no value ConvNeXtV2_tiny; did you mean convnextv2_tiny?"),
        ("backbone=resnet11", "backbone takes convnext_tiny or convnextv2_atto or convnextv2_tiny, and not resnet11"),
        ("decoder_norm_layer=bach", "decoder_norm_layer takes batch or instance, and not bach"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], setting: str, said: str
) -> None:
    path = hollow(tmp_path / "a.safetensors", layout_of("UNeXt2", **UNEXT2))
    assert main(["check", str(path), "--set", setting]) == 2
    captured = capsys.readouterr()
    assert (captured.out, len(captured.err.splitlines())) == ("", 1)
    assert said in captured.err


@pytest.mark.parametrize("name", ["unext2", "UNEXT2", "viscy_models.UNeXt2", "viscy_models.unet.UNeXt2"])
def test_a_class_may_be_stated_in_any_case_and_with_its_package(tmp_path: Path, name: str) -> None:
    path = hollow(tmp_path / "a.safetensors", layout_of("UNeXt2", **UNEXT2))
    assert diagnose(str(path), class_name=name).result.verdict == "compatible"
    with pytest.raises(UsageError, match=r"no class 'unet2' is known; did you mean"):
        diagnose(str(path), class_name="unet2")


def test_beside_other_files_a_statement_is_passed_over_and_an_unknown_name_still_refused(tmp_path: Path) -> None:
    hollow(tmp_path / "a.safetensors", layout_of("UNeXt2", **UNEXT2))
    hollow(tmp_path / "b.safetensors", layout_of("ContrastiveEncoder", **ENCODER))
    first, second = check_paths([str(tmp_path)], statements=(Statement(SETTING, {"head_pool": True}),))
    assert (codes(first).count("VC310"), codes(second).count("VC310")) == (0, 1)
    assert (first.verdict, second.verdict) == ("compatible", "compatible")
    with pytest.raises(UsageError, match="has no argument stem_strid"):
        list(check_paths([str(tmp_path)], statements=(Statement(SETTING, {"stem_strid": 1}),)))


def test_a_configuration_that_states_nothing_for_the_class_is_refused_with_what_it_holds(tmp_path: Path) -> None:
    config = tmp_path / "run.yml"
    config.write_text(
        "model: {class_path: a.VSUNet, init_args: {architecture: UNeXt2, model_config: {head_pool: true}}}"
    )
    path = str(hollow(tmp_path / "a.safetensors", layout_of("ContrastiveEncoder", **ENCODER)))
    with pytest.raises(UsageError, match=r"run\.yml: states nothing for ContrastiveEncoder.*model_config for UNeXt2"):
        diagnose(path, statements=read_config(str(config)))
    other = tmp_path / "more.yml"
    other.write_text("encoder: {class_path: a.ContrastiveEncoder, init_args: {stem_stride: [5, 4, 4]}}")
    both = (*read_config(str(config)), *read_config(str(other)))
    assert diagnose(path, statements=both).result.python.endswith("config={'stem_stride': (5, 4, 4)})")


def test_a_later_configuration_outweighs_those_before_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(hollow(tmp_path / "a.safetensors", layout_of("UNeXt2", **UNEXT2)))
    for name, value in {"base": "true", "over": "false"}.items():
        (tmp_path / f"{name}.yml").write_text(f"model_config: {{head_pool: {value}}}")
    configs = [str(tmp_path / "base.yml"), str(tmp_path / "over.yml")]
    main(["check", path, "--config", configs[0], "--config", configs[1]])
    assert "config={'head_pool': False}" in capsys.readouterr().out
    main(["check", path, "--config", configs[1], "--config", configs[0]])
    assert "config={'head_pool': True}" in capsys.readouterr().out


def test_a_published_checkpoint_of_this_layout_is_offered_and_not_adopted(tmp_path: Path) -> None:
    architecture = find("UNeXt2")
    for row in architecture.publications:
        path = hollow(tmp_path / row.file, architecture.layout(complete(architecture, row.config)))
        result = diagnose(str(path)).result
        offers = [finding for finding in result.findings if finding.code == "VC314"]
        assert f"the layout and the file name are those of {row.nickname} ({row.file})" in offers[0].message
        assert offers[0].fix == "--set head_pool=true"
        assert len(offers) == sum(other.config == row.config for other in architecture.publications)
        assert "..." in result.python

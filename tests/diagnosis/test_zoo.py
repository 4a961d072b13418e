"""The published checkpoints: what `zoo` lists, and `check` on each of them, made by the real old classes."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from support.old_checkpoints import make
from viscy_compat.architectures import find, migrated_names
from viscy_compat.cli import main
from viscy_compat.diagnosis import CheckResult, check_paths
from viscy_compat.diagnosis.zoo import ZooEntry, zoo
from viscy_compat.stated import Statement

MARKERS = ("CAAX", "H2B", "SEC61B", "TOMM20")
PUBLISHED = {
    "DynaCLR-DENV VS+Ph (epoch=94-step=2375.ckpt)": ("ContrastiveEncoder", 194, 114),
    "DynaCLR microglia (epoch=19-step=12960.ckpt)": ("ContrastiveEncoder", 194, 114),
    "VSCyto3D (2024) (epoch=48-step=18130.ckpt)": ("UNeXt2", 273, 128),
    "VSCyto3D (2024), no augmentations (best_epoch=30-step=6076.ckpt)": ("UNeXt2", 273, 128),
    "VSNeuromast (epoch=44-step=1215.ckpt)": ("UNeXt2", 273, 160),
    "VSNeuromast (epoch=64-step=24960.ckpt)": ("UNeXt2", 273, 160),
    "VSCyto2D (epoch=399-step=23200.ckpt)": ("FullyConvolutionalMAE", 252, 125),
    "VSCyto3D (2025) (epoch=83-step=14532-loss=0.492.ckpt)": ("FullyConvolutionalMAE", 252, 140),
    "VSNeuromast (epoch=64-step=24960.ckpt) as FullyConvolutionalMAE": ("FullyConvolutionalMAE", 257, 134),
    "fluor2phase demo (fluor2phase_step668.ckpt)": ("FullyConvolutionalMAE", 252, 125),
    **{f"FNet3D {name} (fnet3d_{name.lower()}.ckpt)": ("Unet3d", 146, 141) for name in MARKERS},
    **{f"CELL-Diff {name} (celldiff_{name.lower()}.ckpt)": ("CELLDiffNet", 250, 374) for name in MARKERS},
}
"""Class, tensors and megabytes of weights of every published file, from VisCy's README, notebooks, model cards and issues;
of one file there are two accounts."""

DISPUTED = "epoch=64-step=24960.ckpt"


def label(entry: ZooEntry) -> str:
    """What tells a row: the file, and the class where there are two accounts of it."""
    other = entry.file == DISPUTED and entry.class_name == "FullyConvolutionalMAE"
    return f"{entry.title} as FullyConvolutionalMAE" if other else entry.title


OPEN = {
    "ContrastiveEncoder": {"stem_stride"},
    "UNeXt2": {"head_pool"},
    "FullyConvolutionalMAE": {"pretraining"},
    "Unet3d": set(),
    "CELLDiffNet": {"input_spatial_size", "num_heads"},
}


def left_open(entry: ZooEntry) -> set[str]:
    """What the weights of a row leave open and predictions depend on."""
    return OPEN[entry.class_name] | ({"head_conv_pool"} if entry.config.get("head_conv") else set())


MIGRATED = [entry for entry in zoo() if entry.class_name in migrated_names()]
"""Those of which the old class can be run here."""

CLI = "VSCyto3D (2025) (epoch=83-step=14532-loss=0.492.ckpt)"
"""The file that LightningCLI wrote from `FcmaeUNet`, the one wrapper that stores hyper-parameters."""
WITH_MOMENTS = "fluor2phase demo (fluor2phase_step668.ckpt)"


def test_the_list_is_that_of_the_published_files() -> None:
    told = {label(entry): (entry.class_name, entry.tensors, round(entry.bytes / 1e6)) for entry in zoo()}
    assert told == PUBLISHED


@pytest.mark.parametrize("entry", zoo(), ids=label)
def test_what_an_entry_needs_is_what_its_weights_leave_open(entry: ZooEntry) -> None:
    assert set(entry.needs) == left_open(entry)
    assert all(entry.config[name] == value for name, value in entry.needs.items())
    assert set(entry.harmless) <= set(entry.config)
    assert not entry.changes
    config = f", config={dict(entry.needs)!r}" if entry.needs else ""
    assert f"load_model({entry.file!r}{config})" in entry.python


def test_words_choose_by_nickname_file_and_class(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zoo", "vscyto3d", "--quiet"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert main(["zoo", "UNEXT2", "12960", "--quiet"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 5
    assert main(["zoo", "nothing-like-it"]) == 2
    assert "no published checkpoint has 'nothing-like-it'" in capsys.readouterr().err


def test_the_text_gives_what_to_state_and_the_line_to_load_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zoo", "vsneuromast", "-v"]) == 0
    text = capsys.readouterr().out
    assert "--set head_pool=true  (not in the weights)" in text
    assert "model = viscy_compat.load_model('epoch=44-step=1215.ckpt', config={'head_pool': True})" in text
    assert "stem_kernel_size=7,4,4" in text
    assert "160.2 MB of weights" in text


def test_the_json_has_the_envelope_and_the_whole_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zoo", "vscyto2d", "--format", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["tool"]["command"] == "zoo"
    (entry,) = told["results"]
    assert entry["needs"] == {"pretraining": False}
    assert entry["config"]["dims"] == [96, 192, 384, 768]
    assert entry["remap"] is False


class Published(NamedTuple):
    """A published checkpoint, made again."""

    entry: ZooEntry
    path: Path
    result: CheckResult


def job(entry: ZooEntry, path: Path) -> dict[str, Any]:
    """How the file is made: the old class in a LightningModule, saved by a Trainer."""
    release = find(entry.class_name).generations[-1].releases[-1]
    arguments = release.arguments(entry.config)
    told: Mapping[str, Any] = {}
    if label(entry) == CLI:
        told = {
            "fit_mask_ratio": 0.0,
            "model_config": arguments,
            "lr": 4e-4,
            "schedule": "WarmupCosine",
            "_instantiator": "lightning.pytorch.cli.instantiate_module",
            "_class_path": "viscy.translation.engine.FcmaeUNet",
        }
    written = {"class": entry.class_name, "config": arguments, "out": path, "hyper_parameters": told}
    return {**written, "optimizer": label(entry) == WITH_MOMENTS}


@pytest.fixture(scope="module")
def remade(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Published]]:
    """Every published file, made by the old classes and Lightning, with the answer of `check`; one has moments."""
    folder = tmp_path_factory.mktemp("zoo")
    paths = {label(entry): folder / str(number) / entry.file for number, entry in enumerate(MIGRATED)}
    alike: dict[str, list[ZooEntry]] = {}
    for entry in MIGRATED:
        paths[label(entry)].parent.mkdir()
        alike.setdefault(f"{entry.class_name} {entry.config}", []).append(entry)
    make("0.4.0", [job(first, paths[label(first)]) for first, *_ in alike.values()])
    for first, *others in alike.values():
        for other in others:
            paths[label(other)].hardlink_to(paths[label(first)])
    results = list(check_paths([str(path) for path in paths.values()]))
    yield {
        label(entry): Published(entry, paths[label(entry)], result)
        for entry, result in zip(MIGRATED, results, strict=True)
    }
    for path in paths.values():
        path.unlink()


@pytest.mark.torch
@pytest.mark.index
@pytest.mark.parametrize("file", [label(entry) for entry in MIGRATED])
def test_check_knows_a_published_file_and_what_it_leaves_open(remade: dict[str, Published], file: str) -> None:
    entry, path, result = remade[file]
    identity = result.identity
    assert identity
    assert (result.verdict, result.exit_code) == ("compatible", 0)
    assert (identity.class_name, identity.target, identity.generation) == (
        entry.class_name,
        entry.target,
        "v0.1" if entry.class_name != "ContrastiveEncoder" else "v0.3",
    )
    assert (result.tensors, result.wrapper["kind"], result.wrapper["prefix"]) == (
        PUBLISHED[file][1],
        "lightning",
        "model.",
    )
    matters = {name for name, row in identity.undetermined.items() if row.changes_predictions}
    assert matters == (set() if file == CLI else left_open(entry))
    for name, value in entry.config.items():
        if name not in identity.undetermined and name != "out_stack_depth":
            assert identity.config[name] == value, name
    assert f"load_model({str(path)!r}" in result.python
    pasted = ast.literal_eval(result.python.partition("config=")[2].rstrip(")"))
    assert pasted == ({"pretraining": False} if file == CLI else dict.fromkeys(left_open(entry), ...))
    assert path.stat().st_size > (2.9 if file == WITH_MOMENTS else 0.99) * entry.bytes


@pytest.mark.torch
@pytest.mark.index
@pytest.mark.parametrize("file", [label(entry) for entry in MIGRATED])
def test_with_what_the_zoo_says_the_configuration_is_the_trained_one(remade: dict[str, Published], file: str) -> None:
    entry, path, _ = remade[file]
    (result,) = check_paths([str(path)], statements=(Statement("--set", entry.needs),))
    assert result.identity
    assert not any(row.changes_predictions for row in result.identity.undetermined.values())
    trained = dict(entry.config)
    if trained.get("out_stack_depth", 0) is None:
        trained["out_stack_depth"] = trained["in_stack_depth"]
    assert dict(result.identity.config) == trained
    assert not {"VC302", "VC304", "VC305"} & {finding.code for finding in result.findings}
    pasted = ast.literal_eval(result.python.partition("config=")[2].rstrip(")"))
    assert pasted == {name: entry.config[name] for name in left_open(entry)}


@pytest.mark.torch
@pytest.mark.index
def test_hyper_parameters_tell_pretraining_and_name_a_class_path_that_is_gone(remade: dict[str, Published]) -> None:
    result = remade[CLI].result
    (gone,) = (finding for finding in result.findings if finding.code == "VC306")
    assert "viscy.translation.engine.FcmaeUNet" in gone.message
    assert "viscy_models.unet.FullyConvolutionalMAE" in gone.message
    assert result.identity
    assert result.identity.config["pretraining"] is False
    assert "pretraining" not in result.identity.undetermined


def test_both_accounts_of_the_disputed_file_are_told_each_with_its_source_and_the_contradiction(
    capsys: pytest.CaptureFixture[str],
) -> None:
    first, second = zoo([DISPUTED])
    assert (first.class_name, second.class_name) == ("UNeXt2", "FullyConvolutionalMAE")
    assert first.url == second.url != ""
    assert "FullyConvolutionalMAE" in first.contradicted_by[0]
    assert second.contradicted_by == ("UNeXt2 (cytoland/examples/configs/vsneuromast/predict.yml)",)
    assert second.config["in_stack_depth"] == 21
    assert second.needs == {"pretraining": False, "head_conv_pool": False}
    assert main(["zoo", DISPUTED]) == 0
    text = capsys.readouterr().out
    assert text.count("this file is also said to be") == 2
    assert "issue 296" in text
    assert not any(entry.contradicted_by for entry in zoo() if entry.file != DISPUTED)
    assert all(entry.source for entry in zoo())

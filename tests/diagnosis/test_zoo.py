"""The published checkpoints: what `zoo` lists, and `check` on each of them, made by the real old classes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from support.old_checkpoints import make
from viscy_compat.architectures import find
from viscy_compat.cli import main
from viscy_compat.diagnosis import CheckResult, check_paths
from viscy_compat.diagnosis.zoo import ZooEntry, zoo
from viscy_compat.stated import Statement

PUBLISHED = {
    "epoch=94-step=2375.ckpt": ("ContrastiveEncoder", 194, 114),
    "epoch=19-step=12960.ckpt": ("ContrastiveEncoder", 194, 114),
    "epoch=48-step=18130.ckpt": ("UNeXt2", 273, 128),
    "best_epoch=30-step=6076.ckpt": ("UNeXt2", 273, 128),
    "epoch=44-step=1215.ckpt": ("UNeXt2", 273, 160),
    "epoch=64-step=24960.ckpt": ("UNeXt2", 273, 160),
    "epoch=399-step=23200.ckpt": ("FullyConvolutionalMAE", 252, 125),
    "epoch=83-step=14532-loss=0.492.ckpt": ("FullyConvolutionalMAE", 252, 140),
    "fluor2phase_step668.ckpt": ("FullyConvolutionalMAE", 252, 125),
}
"""Class, tensors and megabytes of weights of every published file, from VisCy's README, notebooks and model cards."""

OPEN = {"ContrastiveEncoder": {"stem_stride"}, "UNeXt2": {"head_pool"}, "FullyConvolutionalMAE": {"pretraining"}}
CLI = "epoch=83-step=14532-loss=0.492.ckpt"
"""The file that LightningCLI wrote from `FcmaeUNet`, the one wrapper that stores hyper-parameters."""
WITH_MOMENTS = "fluor2phase_step668.ckpt"


def test_the_list_is_that_of_the_published_files() -> None:
    told = {entry.file: (entry.class_name, entry.tensors, round(entry.bytes / 1e6)) for entry in zoo()}
    assert told == PUBLISHED


@pytest.mark.parametrize("entry", zoo(), ids=lambda entry: entry.file)
def test_what_an_entry_needs_is_what_its_weights_leave_open(entry: ZooEntry) -> None:
    assert set(entry.needs) == OPEN[entry.class_name]
    assert all(entry.config[name] == value for name, value in entry.needs.items())
    assert set(entry.harmless) <= set(entry.config)
    assert not entry.changes
    assert f"load_model({entry.file!r}, config={dict(entry.needs)!r})" in entry.python


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
    if entry.file == CLI:
        told = {
            "fit_mask_ratio": 0.0,
            "model_config": arguments,
            "lr": 4e-4,
            "schedule": "WarmupCosine",
            "_instantiator": "lightning.pytorch.cli.instantiate_module",
            "_class_path": "viscy.translation.engine.FcmaeUNet",
        }
    written = {"class": entry.class_name, "config": arguments, "out": path, "hyper_parameters": told}
    return {**written, "optimizer": entry.file == WITH_MOMENTS}


@pytest.fixture(scope="module")
def remade(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Published]]:
    """Every published file, made by the old classes and Lightning, with the answer of `check`; one has moments."""
    folder = tmp_path_factory.mktemp("zoo")
    paths = {entry.file: folder / str(number) / entry.file for number, entry in enumerate(zoo())}
    alike: dict[str, list[ZooEntry]] = {}
    for entry in zoo():
        paths[entry.file].parent.mkdir()
        alike.setdefault(f"{entry.class_name} {entry.config}", []).append(entry)
    make("0.4.0", [job(first, paths[first.file]) for first, *_ in alike.values()])
    for first, *others in alike.values():
        for other in others:
            paths[other.file].hardlink_to(paths[first.file])
    results = list(check_paths([str(path) for path in paths.values()]))
    yield {
        entry.file: Published(entry, paths[entry.file], result) for entry, result in zip(zoo(), results, strict=True)
    }
    for path in paths.values():
        path.unlink()


@pytest.mark.torch
@pytest.mark.index
@pytest.mark.parametrize("file", PUBLISHED)
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
    assert matters == (set() if file == CLI else OPEN[entry.class_name])
    for name, value in entry.config.items():
        if name not in identity.undetermined and name != "out_stack_depth":
            assert identity.config[name] == value, name
    assert f"load_model({str(path)!r}" in result.python
    assert path.stat().st_size > (2.9 if file == WITH_MOMENTS else 0.99) * entry.bytes


@pytest.mark.torch
@pytest.mark.index
@pytest.mark.parametrize("file", PUBLISHED)
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

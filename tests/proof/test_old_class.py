"""The proof of a remap: the old class with the old weights, or outputs that the user has, against the new file."""

from __future__ import annotations

from array import array
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from support.old_checkpoints import make
from viscy_compat.architectures import find
from viscy_compat.checkpoint import open_checkpoint
from viscy_compat.cli import main
from viscy_compat.errors import PlanRefused
from viscy_compat.proof.old_class import _compare_normalised, _verdicts
from viscy_compat.workers.answers import Pass, Run, WorkerAnswer, WorkerOutput
from viscy_compat.workers.arrays import read_arrays, write_arrays

pytestmark = [pytest.mark.torch, pytest.mark.index, pytest.mark.usefixtures("warm")]

CONFIG = {
    "spatial_dims": 2,
    "in_shape": [1, 32, 32],
    "out_channels": 1,
    "latent_size": 8,
    "channels": [4, 8],
    "strides": [2, 2],
}
STATED = ("--set", "use_sigmoid=false", "--set", "strides=2,2", "--set", "in_shape=1,32,32")


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small old checkpoint, with an input and what the old class made of it beside it."""
    path = tmp_path_factory.mktemp("proof") / "old.ckpt"
    job = {"class": "BetaVaeMonai", "config": CONFIG, "out": str(path), "flavour": "ddp", "io": [2, 1, 32, 32]}
    make("0.4.0", [job])
    return path


def test_prove_runs_the_old_class_against_the_new_file(
    old: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = tmp_path / "new.safetensors"
    assert main(["remap", str(old), "-o", str(new), "--prove", *STATED]) == 0
    out = capsys.readouterr().out
    for name in ("recon_x", "mean", "logvar", "z"):
        assert f"{name}: equal, byte for byte" in out
    assert "the released wheel viscy 0.4.0" in out


def test_expected_outputs_prove_it_too(old: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new = tmp_path / "new.safetensors"
    assert main(["remap", str(old), "-o", str(new), "--expect", f"{old}.io.safetensors", *STATED]) == 0
    assert "recon_x: equal, byte for byte" in capsys.readouterr().out


def test_other_outputs_are_a_finding_and_no_proof(
    old: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tensors = read_arrays(Path(f"{old}.io.safetensors"))
    shape, numbers = tensors["recon_x"]
    tensors["recon_x"] = shape, array("f", (number + 0.5 for number in numbers))
    write_arrays(tmp_path / "io.safetensors", tensors)
    new = tmp_path / "new.safetensors"
    assert main(["remap", str(old), "-o", str(new), "--expect", str(tmp_path / "io.safetensors"), *STATED]) == 1
    out = capsys.readouterr()
    assert "recon_x" in out.out + out.err


def verdicts(folder: Path, old: list[WorkerOutput], new: list[WorkerOutput]) -> dict[str, str]:
    """Judge the outputs of two passes of a masked autoencoder, which has one name and may return a mask besides."""
    answers, runs = [], []
    for side, outputs in (("old", old), ("new", new)):
        saved = folder / f"{side}.safetensors"
        write_arrays(saved, {f"eval/{output.name}": ((1,), array("f", [0.0])) for output in outputs})
        answers.append(WorkerAnswer(passes={"eval": Pass("tuple", tuple(outputs), "", {})}))
        runs.append(Run(side, "", {}, (1,), ("eval",), 0, {"save": str(saved)}))
    architecture = find("FullyConvolutionalMAE")
    chosen: Any = SimpleNamespace(plan=SimpleNamespace(loses=()))
    return _verdicts(answers, (runs[0], runs[1]), architecture, architecture.generations[-1], chosen)


def test_every_output_is_compared_with_or_without_a_name_and_none_may_be_missing(tmp_path: Path) -> None:
    image, mask = WorkerOutput("0", (1,), "float32", "same"), WorkerOutput("1", (1,), "bool", "same")
    equal = "equal, byte for byte"
    assert verdicts(tmp_path, [image, mask], [image, mask]) == {"output": equal, "1": equal}
    with pytest.raises(PlanRefused, match="1 differs between the old class and the new one"):
        verdicts(tmp_path, [image, mask], [image, replace(mask, digest="another")])
    with pytest.raises(PlanRefused, match="2 outputs of the old class, 1 of the new one"):
        verdicts(tmp_path, [image, mask], [image])


def test_projections_are_compared_at_length_1_and_one_that_is_no_number_is_none(tmp_path: Path) -> None:
    """The largest of several differences does not show a NaN that is not the first of them."""
    files = {
        "old": [0.6, 0.8, 0.0, 0.0],
        "new": [3.0, 4.0, 0.0, 0.0],
        "far": [3.0, 4.1, 0, 0],
        "wild": [3, 4, 0, float("nan")],
    }
    for name, numbers in files.items():
        write_arrays(tmp_path / name, {"eval/0": ((2, 2), array("f", numbers))})
    old, new, far, wild = (open_checkpoint(str(tmp_path / name)) for name in files)
    assert "brought to length 1" in _compare_normalised("projection", old, new, "eval/0", "eval/0")
    with pytest.raises(PlanRefused, match=r"projection, normalised, differs by 0\.00"):
        _compare_normalised("projection", old, far, "eval/0", "eval/0")
    with pytest.raises(PlanRefused, match="projection, normalised, differs by nan"):
        _compare_normalised("projection", old, wild, "eval/0", "eval/0")

"""`inspect` as people and programs read it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support.assembly import (
    NUMBERS,
    Record,
    archive,
    call,
    lightning,
    list_of,
    mapping,
    name,
    number,
    pickled,
    records,
    state,
    storage,
    tensor,
    text,
    tuple_of,
    zipped,
)
from viscy_compat.cli import main


def big_file() -> bytes:
    """A trainer's file with everything that one can hold."""
    weights = {f"model.stages.{stage}.blocks.{block}.gamma": tensor() for stage in range(3) for block in range(2)}
    moments = mapping({"exp_avg": tensor((6,), (1,), of=storage("1")), "step": tensor((), (), of=storage("1"))})
    settings = list_of(mapping({"lr": b"G" + bytes.fromhex("3fb999999999999a"), "params": list_of(number(0))}))
    first = b"}" + number(0) + moments + b"s"
    optimizer = mapping({"state": first, "param_groups": settings})
    top = lightning(
        global_step=number(18130),
        callbacks=mapping({"ModelCheckpoint": mapping({"dirpath": text("/hpc/ada/runs/3")})}),
        optimizer_states=list_of(optimizer),
        hyper_parameters=mapping(
            {"lr": number(1), "dims": tuple_of(number(96), number(192)), "loss": name("a.b", "Loss")}
        ),
    ).replace(mapping({"model.w": tensor()}), mapping({**weights, "model.head.weight": tensor((6,), (1,))}))
    return archive(records(pickled(top), {"0": NUMBERS, "1": NUMBERS}))


EXPECTED = """\
  torch-zip, 2.4 kB; 7 tensors, 168 bytes
  saved by a Lightning trainer, version 2.5.0
  state dict: state_dict
  wrapper prefix: model.
  versions: torch file format 3, pickle protocol 2, pytorch-lightning 2.5.0

  model
    stages.{0..2}.blocks.{0..1}.gamma  6 x (2, 3) float32, 144 bytes
    head.weight                        (6,) float32, 24 bytes

  hyper-parameters
    lr: 1
    dims: [96, 192]
    loss: <a.b.Loss>

  optimizers
    state of 1 parameter (exp_avg, step), 24 bytes, lr 0.1

  other entries
    epoch: 3
    pytorch-lightning_version: 2.5.0
    global_step: 18130
    callbacks: {'ModelCheckpoint': {'dirpath': '/hpc/ada/runs/3'}}

  names in the pickle
    imported, and made into objects or only named: a.b.Loss
    tensors and containers: torch._utils._rebuild_tensor_v2, torch.FloatStorage, collections.OrderedDict

  absolute paths
    /hpc/ada/runs/3

  checksums
    CRC-32 of 5 records; the pickle's is right, the others were not looked at (--crc reads them all)

  note VC431: loading this file the ordinary way would import a.b.Loss
    a.b.Loss
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    place = tmp_path / "epoch=48-step=18130.ckpt"
    place.write_bytes(big_file())
    return place


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = main(["inspect", *words])
    return code, capsys.readouterr().out


def told_json(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    _, output = told(capsys, "--format", "json", *words)
    (result,) = json.loads(output)["results"]
    return result


def test_a_person_reads_everything_that_is_in_the_file(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, output = told(capsys, str(path))
    assert output == f"{path}\n{EXPECTED}"
    assert code == 0


def test_a_program_reads_the_same(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = told_json(capsys, str(path))
    assert result["readable"] is True
    assert result["wrapper"] == {"kind": "lightning", "prefix": "model.", "version": "2.5.0"}
    assert result["tensors"][0] == {
        "name": "model.stages.0.blocks.0.gamma",
        "shape": [2, 3],
        "dtype": "float32",
        "bytes": 24,
        "stride": [3, 1],
        "offset": 0,
        "storage": "archive/data/0",
    }
    assert result["hyper_parameters"] == {"lr": 1, "dims": [96, 192], "loss": "<a.b.Loss>"}
    assert result["optimizers"] == [
        {"parameters": 1, "slots": ["exp_avg", "step"], "nbytes": 24, "groups": [{"lr": 0.1, "params": 1}]}
    ]
    assert result["crcs"] == {"verifiable": True, "stored": 5, "verified": ["archive/data.pkl"], "damaged": []}
    assert {"path": "a.b.Loss", "role": "class"} in result["globals"]
    assert result["absolute_paths"] == ["/hpc/ada/runs/3"]


@pytest.mark.parametrize(("mode", "words"), [(b"\x88", True), (b"\x89", False), (number(1), False)])
def test_weights_in_training_of_a_schedule_free_optimizer_are_called_that(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], mode: bytes, words: bool
) -> None:
    """Its state says in which of two places the weights of the model were when the file was saved."""
    slots = b"}" + number(0) + mapping({"z": tensor(), "exp_avg_sq": tensor()}) + b"s"
    groups = list_of(mapping({"train_mode": mode, "params": list_of(number(0))}))
    top = lightning(optimizer_states=list_of(mapping({"state": slots, "param_groups": groups})))
    (tmp_path / "a.ckpt").write_bytes(zipped(top))
    code, output = told(capsys, str(tmp_path / "a.ckpt"))
    assert code == 0
    assert "state of 1 parameter (z, exp_avg_sq)" in output
    assert ("schedule-free, in train mode" in output) is words


def test_crc_reads_every_byte_and_finds_the_damage(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, output = told(capsys, "--crc", str(path))
    assert code == 0
    assert "CRC-32 of 5 records, every byte read: 0 are wrong" in output
    content = path.read_bytes()
    path.write_bytes(content.replace(NUMBERS, NUMBERS[:-1] + b"\x01", 1))
    assert told(capsys, str(path))[0] == 0
    code, output = told(capsys, "--crc", str(path))
    assert code == 2
    assert "VC414" in output
    assert "archive/data/0" in output


def test_what_would_run_is_named_and_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.ckpt"
    path.write_bytes(zipped(lightning(x=call(name("os", "system"), text("touch x")))))
    code, output = told(capsys, str(path))
    assert code == 0
    assert "would run when the file is loaded the ordinary way: os.system" in output
    assert "error VC430" in output
    assert "safe" not in output


def test_a_file_that_cannot_be_read_is_a_result_with_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], path: Path
) -> None:
    (tmp_path / "page.ckpt").write_bytes(b"<!DOCTYPE html>")
    code, output = told(capsys, str(tmp_path / "page.ckpt"), str(path))
    assert code == 2
    assert "error VC406: this is a web page, not the file behind it" in output
    assert "7 tensors" in output
    result = told_json(capsys, str(tmp_path / "page.ckpt"))
    assert result["readable"] is False
    assert result["findings"][0]["code"] == "VC406"
    assert result["findings"][0]["fix"]


def test_one_of_several_state_dicts_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.ckpt"
    path.write_bytes(zipped(mapping({"gen": state(), "disc": mapping({"v": tensor()})})))
    assert "--state-dict gen" in told(capsys, str(path))[1]
    assert told_json(capsys, "--state-dict", "disc", str(path))["tensors"][0]["name"] == "v"


@pytest.mark.uncounted
def test_limits_can_be_raised(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.ckpt"
    path.write_bytes(zipped(lightning(x=b"](" + b"N" * 1_600_000 + b"e")))
    code, output = told(capsys, str(path))
    assert code == 2
    assert "--limit opcodes=" in output
    assert told(capsys, "--limit", "opcodes=2000000", str(path))[0] == 0
    assert main(["inspect", "--limit", "odd=1", str(path)]) == 2


def test_long_lists_are_shortened_unless_verbose(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.ckpt"
    path.write_bytes(zipped(mapping({f"{'abcdefghij'[index % 10]}{index}x.w": tensor() for index in range(300)})))
    short, long = told(capsys, str(path))[1], told(capsys, "-v", str(path))[1]
    assert "more lines (-v shows all)" in short
    assert "a290x" not in short
    assert "a290x" in long


def test_what_is_no_tensor_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.ckpt"
    path.write_bytes(
        archive([*records(pickled(state(_extra_state=mapping({"scale": number(3)})))), Record("archive/x", b"")])
    )
    assert "_extra_state: {'scale': 3}" in told(capsys, str(path))[1]
    assert told_json(capsys, str(path))["extras"] == {"_extra_state": {"scale": 3}}

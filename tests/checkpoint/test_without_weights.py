"""Files without a state dict are called by what is in them, with the way to the weights."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hostile.generator import HONEST
from support.assembly import (
    built,
    call,
    lightning,
    list_of,
    mapping,
    name,
    number,
    safetensors,
    state,
    storage,
    tensor,
    text,
    tuple_of,
    zipped,
)
from viscy_compat.checkpoint import open_checkpoint
from viscy_compat.checkpoint.foreign import NotWeights
from viscy_compat.errors import UnreadableCheckpoint

EMPTY = b"}"
ADAM = mapping({"state": b"}(" + number(0) + mapping({"exp_avg": tensor()}) + b"u", "param_groups": list_of(EMPTY)})
BYTES = tensor((5056,), (1,), of=storage("0", name("torch", "ByteStorage"), 5056))
ARRAY = call(name("numpy._core.multiarray", "_reconstruct"), name("numpy", "ndarray"), tuple_of(number(0)), text("b"))
MODEL = "give the file of the model, which is saved beside it"

KINDS: dict[str, tuple[bytes, str, str]] = {
    "a tuple": (
        tuple_of(state(), EMPTY),
        "a tuple, in which [0] is a state dict of 1 tensor",
        "{file!r}, weights_only=True)[0], 'NEW.pt')",
    ),
    "a list": (
        list_of(number(3), state()),
        "a list, in which [1] is a state dict of 1 tensor",
        "weights_only=True)[1], 'NEW.pt')",
    ),
    "a dictionary in a tuple": (
        tuple_of(number(1), mapping({"net": state()})),
        "in which [1]['net'] is",
        "[1]['net'], 'NEW.pt')",
    ),
    "a state dict beside an optimizer": (
        tuple_of(mapping({"a.w": tensor()}), ADAM),
        "a tuple, in which [0] is a state dict of 1 tensor",
        "save that alone: torch.save(torch.load({file!r}, weights_only=True)[0], 'NEW.pt')",
    ),
    "several state dicts": (
        list_of(state(), mapping({"last": state()}), state()),
        "a list, in which [0] is a state dict of 1 tensor, and so are [2], [1]['last']",
        "save the one that is meant alone: torch.save(torch.load({file!r}, weights_only=True)[0], 'NEW.pt')",
    ),
    "state dicts by their epochs": (
        b"}(" + number(1) + state() + number(20) + state() + b"u",
        "a dictionary, in which [1] is a state dict of 1 tensor, and so is [20]",
        "weights_only=True)[1], 'NEW.pt')",
    ),
    "numpy arrays": (mapping({"w": ARRAY}), "1 numpy arrays, and no tensors", "torch.as_tensor(v)"),
    "numpy arrays in a state dict": (
        mapping({"state_dict": mapping({"w": ARRAY})}),
        "1 numpy arrays",
        "weights_only=False)['state_dict'].items()",
    ),
    "an empty state dict": (
        mapping({"state_dict": EMPTY, "epoch": number(1)}),
        "an empty state dict",
        "the file of rank 0",
    ),
    "nothing but braces": (EMPTY, "an empty state dict", "the file of rank 0"),
    "keys that are numbers": (
        b"}(" + number(0) + tensor() + b"u",
        "a dictionary of tensors whose keys are no texts",
        "names are needed",
    ),
    "one array": (ARRAY, "one numpy array, without a name", "save model.state_dict()"),
    "one tensor": (tensor(), "one tensor, without a name", "save model.state_dict()"),
    "tensors without names": (list_of(tensor()), "a list of tensors without names", "save model.state_dict()"),
    "numbers": (
        mapping({"acc": number(1), "epoch": number(2)}),
        "a dictionary with 'acc', 'epoch', and no tensors",
        "save model.state_dict()",
    ),
    "None": (b"N", "nothing", "save model.state_dict()"),
}
BESIDE: dict[str, tuple[bytes, str, str]] = {
    "an optimizer": (ADAM, "an optimizer's state", MODEL),
    "an optimizer of several numbered parameters": (
        mapping({"0": mapping({"state": b"}(" + number(7) + state() + b"u", "param_groups": list_of(EMPTY)})}),
        "an optimizer's state",
        MODEL,
    ),
    "an optimizer in a list": (list_of(ADAM, mapping({"seed": tensor()})), "an optimizer's state", MODEL),
    "an optimizer below a name": (mapping({"optimizer": ADAM, "epoch": number(3)}), "an optimizer's state", MODEL),
    "an optimizer of named tensors": (
        mapping({"state": mapping({"a.w": mapping({"exp_avg": tensor()})}), "param_groups": list_of()}),
        "an optimizer's state",
        MODEL,
    ),
    "a scheduler": (
        mapping({"last_epoch": number(1), "_step_count": number(2)}),
        "the state of a learning-rate scheduler",
        MODEL,
    ),
    "a gradient scaler": (
        mapping({"scale": number(1), "growth_factor": number(2)}),
        "the state of a gradient scaler",
        MODEL,
    ),
    "random numbers": (
        mapping({"cpu": BYTES, "python": tuple_of(number(3))}),
        "the states of random-number generators",
        MODEL,
    ),
    "one generator": (BYTES, "the states of random-number generators", MODEL),
    "arguments": (
        built(name("argparse", "Namespace"), EMPTY),
        "an object of 'argparse.Namespace'",
        "give the file of the model",
    ),
    "a part of DeepSpeed's optimizer": (
        mapping({"optimizer_state_dict": mapping({"zero_stage": number(2), "partition_count": number(1)})}),
        "one rank's part of a DeepSpeed optimizer",
        "python -m deepspeed.utils.zero_to_fp32 {folder} {folder}.fp32",
    ),
}


def refused(path: Path, content: bytes) -> NotWeights:
    path.write_bytes(content)
    with pytest.raises(NotWeights) as caught:
        open_checkpoint(str(path))
    assert caught.value.code == "VC444"
    return caught.value


@pytest.mark.parametrize("kind", [*KINDS, *BESIDE])
def test_what_a_file_holds_instead_of_weights_is_told(tmp_path: Path, kind: str) -> None:
    root, what, fix = {**KINDS, **BESIDE}[kind]
    path = tmp_path / "a.ckpt"
    error = refused(path, zipped(root, {"0": bytes(5056)} if BYTES in root else None))
    assert what in error.message
    assert fix.format(file=str(path), folder=str(tmp_path)) in error.fix
    assert error.role == ("beside" if kind in BESIDE else "tensorless" if kind == "numbers" else "instead")


def test_one_file_of_zero_stage_3_holds_placeholders_and_no_weights(tmp_path: Path) -> None:
    path = tmp_path / "zero_pp_rank_0_mp_rank_00_model_states.pt"
    for size in (0, 1):
        module = mapping({"w": tensor((size,), (1,))})
        path.write_bytes(zipped(mapping({"module": module, "param_shapes": list_of()})))
        if size:
            assert list(open_checkpoint(str(path)).tensors) == ["w"]
            continue
        with pytest.raises(UnreadableCheckpoint, match="stage 3") as caught:
            open_checkpoint(str(path))
        assert caught.value.code == "VC472"
        assert "zero_to_fp32" in caught.value.fix


def test_files_that_only_look_like_these_are_read(tmp_path: Path) -> None:
    """The near misses: each holds weights besides."""
    roots = {
        "an optimizer beside": mapping({"state_dict": state(), "optimizer": ADAM}),
        "a scheduler's name": mapping({"state_dict": state(), "last_epoch": number(1)}),
        "a tensor called cpu": mapping({"cpu": tensor()}),
        "arrays beside": mapping({"state_dict": state(), "x": ARRAY}),
    }
    for root in roots.values():
        (tmp_path / "a.ckpt").write_bytes(zipped(root))
        assert len(open_checkpoint(str(tmp_path / "a.ckpt")).tensors) == 1


def test_a_state_dict_without_weights_in_lightnings_file_is_empty_too(tmp_path: Path) -> None:
    error = refused(tmp_path / "a.ckpt", zipped(lightning(state_dict=EMPTY)))
    assert "an empty state dict" in error.message


# Other programs -----------------------------------------------------------------------------------------------------------

TABLE = bytes(40) + bytes.fromhex("57fb808b247547db")
FOREIGN: dict[str, tuple[bytes, str]] = {
    "INI": (b"[model]\nlr = 1\n", "an INI file (a configuration)"),
    "INI of two sections": (b"[a]\n[b.c]\nx: 1\n", "an INI file"),
    "JSON": (b"[1, 2]\n", "a JSON file"),
    "JSON of words": (b'["a"]\n', "a JSON file"),
    "XML": (b'<?xml version="1.0"?>\n<annotation/>', "an XML file"),
    "OpenVINO": (b'<?xml version="1.0"?>\n<net name="m" version="11"><layers/></net>', "an OpenVINO model"),
    "a store": (
        b'<?xml version="1.0"?><Error><Code>NoSuchKey</Code></Error>',
        "the answer of a store that did not give the file (NoSuchKey)",
    ),
    "a page": (b'<?xml version="1.0"?><!DOCTYPE html><html/>', "a web page, not the file behind it"),
    "TensorFlow's list": (b'model_checkpoint_path: "model.ckpt-1"\n', "TensorFlow's list of checkpoints"),
    "TensorFlow's index": (TABLE, "the index of a TensorFlow checkpoint"),
    "a SavedModel": (b"\x08\x01\x12\xa5\x02\n\x10" + b"x" * 99, "a TensorFlow model (SavedModel)"),
    "ONNX": (b"\x08\x08\x12\x07pytorch\x1a\x052.1.0:", "an ONNX model"),
    "a Mac's": (
        b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        " + bytes(50),
        "a resource file that a Mac left beside",
    ),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_files_of_other_programs_are_called_by_their_names(tmp_path: Path, kind: str) -> None:
    content, what = FOREIGN[kind]
    (tmp_path / "a.ckpt").write_bytes(content)
    with pytest.raises(UnreadableCheckpoint) as caught:
        open_checkpoint(str(tmp_path / "a.ckpt"))
    assert (caught.value.code, what in caught.value.message) == ("VC406", True), caught.value.message


@pytest.mark.parametrize(("packed", "unpacked"), [("a b.ckpt", "a b.unpacked.ckpt"), ("a.ckpt.gz", "a.ckpt")])
def test_the_command_that_unpacks_works(tmp_path: Path, packed: str, unpacked: str) -> None:
    path = tmp_path / packed
    path.write_bytes(gzip.compress(HONEST))
    with pytest.raises(UnreadableCheckpoint) as caught:
        open_checkpoint(str(path))
    subprocess.run(caught.value.fix.removeprefix("unpack it first: "), shell=True, check=True)
    assert list(open_checkpoint(str(tmp_path / unpacked)).tensors) == ["w"]


def test_metadata_that_is_null_is_none(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(safetensors({"__metadata__": None, "w": {"dtype": "F32", "shape": [6], "data_offsets": [0, 24]}}))
    assert open_checkpoint(str(path)).metadata == {}


@pytest.mark.torch
def test_safetensors_reads_metadata_that_is_null_too(tmp_path: Path) -> None:
    from safetensors import safe_open

    path = tmp_path / "a.safetensors"
    path.write_bytes(safetensors({"__metadata__": None, "w": {"dtype": "F32", "shape": [6], "data_offsets": [0, 24]}}))
    with safe_open(path, "pt") as file:
        assert list(file.keys()) == ["w"]


# Paths --------------------------------------------------------------------------------------------------------------------

ADDRESSES = {
    "https://huggingface.co/a/b/resolve/main/c/d.ckpt": "hf download a/b c/d.ckpt",
    "https://huggingface.co/a/b/blob/v2/d.ckpt?download=true": "hf download a/b d.ckpt --revision v2",
    "hf://a/b/c.ckpt": "hf download a/b c.ckpt",
    "https://example.org/x/last.ckpt?y=1": "curl -L -o last.ckpt https://example.org/x/last.ckpt",
    "s3://bucket/x/last.ckpt": "aws s3 cp s3://bucket/x/last.ckpt last.ckpt",
    "gs://bucket/last.ckpt": "gcloud storage cp gs://bucket/last.ckpt last.ckpt",
    "file:///data/last.ckpt": "/data/last.ckpt",
}


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_is_answered_with_the_command_that_fetches_it(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("fsspec", "aiohttp", "huggingface_hub", "s3fs"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UnreadableCheckpoint, match="this is an address, not a file") as caught:
        open_checkpoint(address)
    assert caught.value.code == "VC401"
    assert caught.value.fix.endswith(ADDRESSES[address])


def test_a_pattern_that_no_shell_expanded_is_told(tmp_path: Path) -> None:
    with pytest.raises(UnreadableCheckpoint, match="no file has a name of this pattern"):
        open_checkpoint(str(tmp_path / "*.ckpt"))
    (tmp_path / "a.ckpt").write_bytes(HONEST)
    with pytest.raises(UnreadableCheckpoint, match="only a shell expands") as caught:
        open_checkpoint(str(tmp_path / "*.ckpt"))
    assert str(tmp_path / "a.ckpt") in caught.value.fix
    (tmp_path / "[b].ckpt").write_bytes(HONEST)
    assert list(open_checkpoint(str(tmp_path / "[b].ckpt")).tensors) == ["w"]


def test_a_link_to_nothing_names_what_it_points_to(tmp_path: Path) -> None:
    os.symlink("epoch=3.ckpt", tmp_path / "last.ckpt")
    with pytest.raises(UnreadableCheckpoint, match=r"this is a link to epoch=3\.ckpt, which is not there") as caught:
        open_checkpoint(str(tmp_path / "last.ckpt"))
    assert caught.value.code == "VC401"

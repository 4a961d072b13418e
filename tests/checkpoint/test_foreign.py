"""What is said of programs that hold weights: whether, and how, a state dict can be had from them."""

from __future__ import annotations

import pickle
import shutil
import subprocess
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest

from support.assembly import Record, archive, pickled, records, state
from viscy_compat.checkpoint import open_checkpoint
from viscy_compat.errors import UnreadableCheckpoint

PROGRAM = [Record("m/data.pkl", pickled(b"N")), Record("m/constants.pkl", b""), Record("m/code/a.py", b"")]


def said(path: Path) -> str:
    with pytest.raises(UnreadableCheckpoint) as caught:
        open_checkpoint(str(path))
    assert caught.value.code == "VC406"
    return f"{caught.value.message}; {caught.value.fix}"


@pytest.mark.parametrize(
    ("records", "opening", "advice"),
    [
        (["m/data/0"], "this is a TorchScript archive", "save its state_dict() without the buffers"),
        (["m/data/0", "m/constants/0"], "this is a TorchScript archive", "save its state_dict() without the buffers"),
        (["m/constants/0"], "this is a frozen TorchScript archive", "no state dict is left in it"),
    ],
)
def test_a_frozen_program_is_told_from_one_with_a_state_dict(
    tmp_path: Path, records: list[str], opening: str, advice: str
) -> None:
    path = tmp_path / "a.pt"
    path.write_bytes(archive([*PROGRAM, *(Record(name, bytes(4)) for name in records)]))
    message = said(path)
    assert message.startswith(opening), message
    assert advice in message, message


def with_others(path: Path, *names: str) -> UnreadableCheckpoint:
    path.write_bytes(archive([*records(pickled(state())), *(Record(name, b"hello") for name in names)]))
    with pytest.raises(UnreadableCheckpoint) as caught:
        open_checkpoint(path.name)
    assert caught.value.code == "VC415"
    return caught.value


@pytest.mark.skipif(shutil.which("zip") is None, reason="needs zip")
@pytest.mark.parametrize("name", ["a b.ckpt", "-x.pt", "it's.pt"])
def test_what_was_zipped_in_beside_a_checkpoint_is_named_and_left_out_of_a_copy(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    error = with_others(tmp_path / name, "README", "__MACOSX/._a", "__MACOSX/b/._c")
    assert error.message.startswith("README and __MACOSX/* beside archive/, ")
    command = error.fix.partition("leave it out of a copy: ")[2].partition("; else ")[0]
    before = (tmp_path / name).read_bytes()
    subprocess.run(command, shell=True, check=True, stdout=subprocess.DEVNULL)
    assert (tmp_path / name).read_bytes() == before
    (copy,) = tmp_path.glob("*.whole*")
    assert [*open_checkpoint(str(copy)).tensors] == ["w"]


@pytest.mark.parametrize("others", [["other/a.pkl"], ["other/data.pkl"], ["a", "b", "c", "d"]])
def test_what_may_be_another_checkpoint_or_archive_is_not_offered_to_be_left_out(
    others: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    harsh = "do not use this file: fetch it from its source again"
    assert with_others(tmp_path / "a.ckpt", *others).fix == harsh
    assert with_others(tmp_path / "a", "README").fix == harsh  # zip would look for a.zip


@pytest.mark.torch
def test_programs_that_torch_writes_hold_what_is_said_of_them(tmp_path: Path) -> None:
    import torch
    from torch import nn

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 1, 1)
            self.register_buffer("scale", torch.ones(1), persistent=False)

        def forward(self, x: Any) -> Any:
            return self.conv(x) * self.scale

    model = Model().eval()
    program = torch.jit.trace(model, torch.ones(1, 1, 2, 2))
    program.save(tmp_path / "whole.pt")
    torch.jit.freeze(program).save(tmp_path / "frozen.pt")
    messages = {name: said(tmp_path / name) for name in ("whole.pt", "frozen.pt")}
    assert messages["whole.pt"].startswith("this is a TorchScript archive"), messages
    assert messages["frozen.pt"].startswith("this is a frozen TorchScript archive"), messages
    assert torch.jit.load(tmp_path / "whole.pt").state_dict().keys() - model.state_dict().keys() == {"scale"}
    assert not torch.jit.load(tmp_path / "frozen.pt").state_dict()


@pytest.mark.parametrize("protocol", [0, 1])
@pytest.mark.parametrize("value", [{"a": 1}, [1, 2], OrderedDict(a=1), {}, (1, 2)])
def test_a_pickle_of_an_old_protocol_is_called_one(tmp_path: Path, protocol: int, value: object) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    if type(value) is tuple:
        # a number comes first here, as in any text
        with pytest.raises(UnreadableCheckpoint) as caught:
            open_checkpoint(str(path))
        assert "pickle" not in caught.value.message
    else:
        assert said(path).startswith("this is a pickle that torch.save did not write")


@pytest.mark.parametrize("text", [b"(dp or not)\n", b"config\nlr = 1\n", b"}quoted\n", b"classes\ncell\nbackground\n"])
def test_texts_that_begin_alike_are_texts(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(text)
    assert "a text file" in said(path)

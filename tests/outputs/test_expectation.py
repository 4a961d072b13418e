"""A fork's names beside outputs in bfloat16: of the plans that names and shapes leave, the one that gives them is taken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from viscy_compat.cli import main
from viscy_compat.outputs import expectation
from viscy_compat.outputs.expectation import Expectation
from viscy_compat.workers.candidate import Candidate

pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("warm")]

CONFIG: dict[str, Any] = {
    "spatial_dims": 2,
    "in_shape": [1, 32, 32],
    "out_channels": 1,
    "latent_size": 8,
    "channels": [4, 8],
    "strides": [2, 2],
}
STATED = ("--set", "use_sigmoid=false", "--set", "strides=2,2", "--set", "in_shape=1,32,32")


@pytest.fixture(scope="module")
def fork(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint in which mu and logvar are called by other names, and what the model gives under bfloat16 autocast."""
    import torch
    from safetensors.torch import save_file

    import viscy_models

    folder = tmp_path_factory.mktemp("fork")
    torch.manual_seed(3)
    model = viscy_models.BetaVaeMonai(**CONFIG).eval()
    state = {key: value.contiguous() for key, value in model.state_dict().items()}
    renamed = {key.replace(".mu.", ".second.").replace(".logvar.", ".first."): state[key] for key in sorted(state)}
    save_file(renamed, folder / "fork.safetensors")
    x = torch.randn(2, 1, 32, 32)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        found = vars(model(x))
    outputs: dict[str, Any] = {name: found[name].float().contiguous() for name in ("recon_x", "mean", "logvar")}
    save_file({"input": x, **outputs}, folder / "io.safetensors")
    return folder


def test_outputs_settle_renames_in_the_precision_in_which_they_were_made(
    fork: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from safetensors.torch import load_file

    ask = ["remap", str(fork / "fork.safetensors"), "--as", "BetaVaeMonai", *STATED]
    new = fork / "new.safetensors"
    assert main([*ask, "-o", str(new)]) == 1
    assert "no total plan" in capsys.readouterr().err
    assert main([*ask, "-o", str(new), "--expect", str(fork / "io.safetensors"), "--format", "json"]) == 0
    (result,) = json.loads(capsys.readouterr().out)["results"]
    assert result["expect"]["precision"]["name"] == "bfloat16"
    assert result["expect"]["missing"] == ["z"]
    assert set(result["proof"]["expected"]) == {"recon_x", "mean", "logvar"}
    written, given = load_file(new), load_file(fork / "fork.safetensors")
    for mine, theirs in (("mu", "second"), ("logvar", "first")):
        key = next(key for key in written if f".{mine}." in key and key.endswith("weight"))
        assert written[key].equal(given[key.replace(f".{mine}.", f".{theirs}.")])


def test_a_signal_while_the_worker_starts_ends_it(fork: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = []

    class Starting:
        def __init__(self, side: str, **options: Any) -> None:
            steps.append("started")

        def __enter__(self) -> Starting:
            return self

        def __exit__(self, *_: object) -> None:
            steps.append("ended")

    class Hit(Candidate):
        def prepare(self, worker: Any) -> None:
            raise KeyboardInterrupt

    monkeypatch.setattr(expectation, "Worker", Starting)
    with pytest.raises(KeyboardInterrupt), Expectation(str(fork / "io.safetensors"), candidate=Hit()):
        steps.append("not reached")
    assert steps == ["started", "ended"]

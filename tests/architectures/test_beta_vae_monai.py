"""A PReLU's slopes are tensors: how many there are is read off the file, and which maps they take is foretold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from viscy_compat.architectures import find
from viscy_compat.architectures.architecture import complete
from viscy_compat.diagnosis import check_paths
from viscy_compat.loading import load_model
from viscy_models import BetaVaeMonai

pytestmark = pytest.mark.torch

CONFIG: dict[str, Any] = {
    "spatial_dims": 2,
    "in_shape": (1, 16, 16),
    "out_channels": 4,
    "latent_size": 4,
    "channels": (4, 4),
    "strides": (2, 2),
}


@pytest.mark.parametrize("units", [0, 2])
@pytest.mark.parametrize(
    ("act", "shown"),
    [
        ("PRELU", "PRELU"),
        (("prelu", {"init": 0.1}), "PRELU"),
        (("PRELU", {"num_parameters": 4}), ("PRELU", {"num_parameters": 4})),
        (("prelu", {"num_parameters": 4, "init": 0.1}), ("PRELU", {"num_parameters": 4})),
    ],
)
def test_slopes_show_the_activation(tmp_path: Path, act: Any, shown: Any, units: int) -> None:
    model = BetaVaeMonai(**CONFIG, act=act, num_res_units=units).eval()
    torch.save(model.state_dict(), tmp_path / "a.pt")
    (result,) = check_paths([str(tmp_path / "a.pt")])
    assert result.verdict == "compatible"
    assert result.identity
    assert result.identity.config["act"] == shown
    assert "act" not in result.identity.undetermined
    open_arguments = {"in_shape": (1, 16, 16), "strides": (2, 2), "use_sigmoid": False}
    loaded = load_model(tmp_path / "a.pt", config=open_arguments)
    inputs = torch.randn(1, 1, 16, 16)
    outputs = []
    for each in (model, loaded):
        torch.manual_seed(0)
        outputs.append(each(inputs).recon_x)
    assert torch.equal(*outputs)


@pytest.mark.parametrize(
    "changes", [{}, {"channels": (4, 8)}, {"out_channels": 1}, {"out_channels": 1, "num_res_units": 1}]
)
def test_which_maps_several_slopes_take_is_foretold(changes: dict[str, Any]) -> None:
    config = {**CONFIG, "act": ("PRELU", {"num_parameters": 4}), **changes}
    architecture = find("BetaVaeMonai")
    said = architecture.outcome(complete(architecture, config), (1, 1, 16, 16))
    assert said.builds
    model = BetaVaeMonai(**config).eval()
    try:
        model(torch.randn(1, 1, 16, 16))
    except RuntimeError:
        assert not said.runs
    else:
        assert said.runs

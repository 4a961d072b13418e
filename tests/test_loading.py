"""What `load_model` says on the way, and to whom."""

from __future__ import annotations

from pathlib import Path

import pytest

import viscy_compat as vc
from support.layouts import hollow
from viscy_compat.architectures import find
from viscy_compat.architectures.architecture import complete

STATED = {**find("BetaVaeMonai").cases[0].config, "use_sigmoid": False}


@pytest.mark.torch
def test_a_warning_about_what_is_assumed_points_at_the_line_that_loads(tmp_path: Path) -> None:
    vae = find("BetaVaeMonai")
    path = hollow(tmp_path / "vae.safetensors", vae.layout(complete(vae, vae.cases[0].config)))
    with pytest.warns(UserWarning, match="assumed, and no prediction depends on it") as caught:
        vc.load_model(path, class_name="BetaVaeMonai", config=STATED)
    assert [row.filename for row in caught] == [__file__]

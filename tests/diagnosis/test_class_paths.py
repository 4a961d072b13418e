"""Old class paths among the hyper-parameters, wherever they stand: said with their successors, and renewed by a remap."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.assembly import lightning, list_of, mapping, number, text
from support.files import torch_file_of
from support.layouts import layout_of
from viscy_compat.checkpoint import open_checkpoint
from viscy_compat.checkpoint.plain import plain
from viscy_compat.diagnosis import check_paths
from viscy_compat.findings import Finding
from viscy_compat.rewrite.remapping import remap

UNET = {"num_filters": (2, 3), "num_blocks": 1}
OLD, NEW = "viscy.translation.engine.MixedLoss", "viscy_utils.losses.MixedLoss"


def saved(path: Path, module: str) -> str:
    """Write a checkpoint with a module's path, that of its loss, and two of other parts."""
    parts = (mapping({"class_path": text(name)}) for name in ("viscy.unknown.Thing", "torch.nn.ReLU"))
    loss = mapping({"class_path": text(OLD), "init_args": mapping({"l1_alpha": number(1)})})
    values = {"_class_path": text(module), "loss_function": loss, "parts": list_of(*parts)}
    layout = {f"model.{name}": spec for name, spec in layout_of("Unet2d", **UNET).items()}
    torch_file_of(path, layout, lambda state: lightning(state_dict=state, hyper_parameters=mapping(values)))
    return str(path)


def about_paths(path: str) -> list[Finding]:
    (result,) = check_paths([path])
    return [finding for finding in result.findings if finding.code == "VC306"]


@pytest.mark.parametrize("module", ["viscy.translation.engine.VSUNet", "cytoland.engine.VSUNet"])
def test_what_a_module_takes_is_said_and_renewed_with_it(tmp_path: Path, module: str) -> None:
    path, out = saved(tmp_path / "old.ckpt", module), str(tmp_path / "new.ckpt")
    *about_module, about_parts = about_paths(path)
    assert [module in finding.message for finding in about_module] == [True] * module.startswith("viscy.")
    said = f"loss_function.class_path {OLD} (now {NEW}), parts.0.class_path viscy.unknown.Thing (not known here)"
    assert about_parts.message.endswith(said)
    assert about_parts.fix.endswith("--class-path cytoland.engine.VSUNet")
    remap(path, out, class_path="cytoland.engine.VSUNet", config={"residual": True, "task": "reg"})
    assert plain(open_checkpoint(out).hyper_parameters) == {
        "_class_path": "cytoland.engine.VSUNet",
        "loss_function": {"class_path": NEW, "init_args": {"l1_alpha": 1}},
        "parts": [{"class_path": "viscy.unknown.Thing"}, {"class_path": "torch.nn.ReLU"}],
    }
    assert [
        finding.message.endswith("parts.0.class_path viscy.unknown.Thing (not known here)")
        for finding in about_paths(out)
    ] == [True]

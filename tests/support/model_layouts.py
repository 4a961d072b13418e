"""Layouts of real models: ours without torch, those of timm and MONAI on the meta device."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec

from viscy_compat.architectures import find, migrated_names
from viscy_compat.architectures.architecture import complete
from viscy_compat.layout import Layout, TensorSpec

TIMM = (
    "resnet18",
    "resnet50",
    "convnext_atto",
    "convnext_tiny",
    "convnextv2_atto",
    "swin_tiny_patch4_window7_224",
    "vit_tiny_patch16_224",
    "vit_base_patch16_224",
)


@cache
def our_layouts() -> dict[str, Layout]:
    """Return the layout of the first case of each class that viscy-compat knows."""
    layouts: dict[str, Layout] = {}
    for name in migrated_names():
        architecture = find(name)
        case = architecture.cases[0]
        layouts[f"{name} {case.name}"] = architecture.layout(complete(architecture, case.config))
    return layouts


@cache
def library_layouts() -> dict[str, Layout]:
    """Return the layouts of models of timm and MONAI."""
    import timm
    import torch
    from monai.networks.nets import UNETR, UNet

    with torch.device("meta"):
        layouts = {f"timm {name}": layout_of(timm.create_model(name)) for name in TIMM}
        layouts["MONAI UNet"] = layout_of(UNet(3, 1, 2, (16, 32, 64, 128), (2, 2, 2), num_res_units=2))
        layouts["MONAI UNet, batch norm"] = layout_of(
            UNet(2, 1, 2, (16, 32, 64), (2, 2), num_res_units=2, norm="batch", act="prelu")
        )
        if find_spec("einops"):  # MONAI's attention needs it, and MONAI does not bring it
            layouts["MONAI UNETR"] = layout_of(UNETR(1, 2, (32, 32, 32), proj_type="conv"))
    return layouts


def layout_of(model) -> Layout:  # type: ignore[no-untyped-def]
    """Return the layout of a torch module."""
    return {
        name: TensorSpec(tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))
        for name, tensor in model.state_dict().items()
    }

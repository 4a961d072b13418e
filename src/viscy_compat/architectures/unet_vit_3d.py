"""UNetViT3D: upstream's U-Net for volumes of one size, with a transformer between the way down and the way up."""

from __future__ import annotations

from viscy_compat.architectures.architecture import Argument, Case, Integers
from viscy_compat.architectures.volume_unet import (
    INSTALL,
    VIT_AMBIGUITIES,
    VIT_ANCHORS,
    VIT_AXES,
    VitUnet,
    vit_arguments,
    vit_cases,
)


class UNetViT3D(VitUnet):
    """Everything that is known about UNetViT3D."""

    name = "UNetViT3D"
    target = "viscy_models.celldiff.UNetViT3D"
    install = INSTALL.format("[celldiff]")
    timesteps = False
    arguments = vit_arguments(Argument("out_channels", 1, Integers(1, 3)))
    cases = (*vit_cases(), Case("two-out", {**vit_cases()[0].config, "out_channels": 2}, vit_cases()[0].input))
    ambiguities = VIT_AMBIGUITIES
    anchors = VIT_ANCHORS
    map_axes = VIT_AXES


ARCHITECTURE = UNetViT3D()

"""UNetViT3D: upstream's U-Net for volumes of one size, with a transformer between the way down and the way up."""

from __future__ import annotations

from viscy_compat.annotations import cached_property
from viscy_compat.architectures.architecture import Argument, Case, Generation, Integers, freeze
from viscy_compat.architectures.volume_unet import (
    INSTALL,
    VIT_AMBIGUITIES,
    VIT_ANCHORS,
    VIT_AXES,
    VitUnet,
    layout_before,
    to_today,
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

    @cached_property
    def generations(self) -> tuple[Generation, ...]:
        """The state of a branch for three days, whose levels had other names, and the one of every release."""
        first = freeze("v0.5a", self)._replace(
            written_by="development versions from 2026-03-27 (ff9910cc) to 2026-03-30",
            layout=lambda config: layout_before(self, config),
            to_today=to_today,
        )
        return first, freeze("v0.5", self)._replace(written_by="upstream's viscy-models from v0.5.0a1 on")


ARCHITECTURE = UNetViT3D()

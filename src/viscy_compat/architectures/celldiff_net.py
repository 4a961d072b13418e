"""CELLDiffNet: upstream's flow-matching U-Net, which reads a noisy volume, a condition and a timestep."""

from __future__ import annotations

from viscy_compat.annotations import cached_property
from viscy_compat.architectures.architecture import Generation, Publication, freeze
from viscy_compat.architectures.volume_unet import (
    DYNACELL_MARKERS,
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

_RECIPE = {
    "input_spatial_size": (8, 512, 512),
    "dims": (64, 128, 256, 256),
    "num_res_block": (2, 2, 2),
    "num_hidden_layers": 8,
}
_SOURCE = "dynacell/configs/recipes/models/celldiff_fm.yml; biohub/dynacell-checkpoints on the hub, which is not public"


class CELLDiffNet(VitUnet):
    """Everything that is known about CELLDiffNet."""

    name = "CELLDiffNet"
    target = "viscy_models.celldiff.CELLDiffNet"
    install = INSTALL.format("[celldiff]")
    timesteps = True
    arguments = vit_arguments()
    cases = vit_cases()
    ambiguities = VIT_AMBIGUITIES
    anchors = VIT_ANCHORS
    publications = tuple(
        Publication(
            f"CELL-Diff {marker}", f"celldiff_{marker.lower()}.ckpt", generation="v0.5", config=_RECIPE, source=_SOURCE
        )
        for marker in DYNACELL_MARKERS
    )
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

    def companions(self, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the condition, which has one channel, and of the timesteps."""
        return {"cond": (shape[0], 1, *shape[2:]), "t": (shape[0],)}


ARCHITECTURE = CELLDiffNet()

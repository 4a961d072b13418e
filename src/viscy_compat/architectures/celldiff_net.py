"""CELLDiffNet: upstream's flow-matching U-Net, which reads a noisy volume, a condition and a timestep."""

from __future__ import annotations

from viscy_compat.architectures.architecture import Publication
from viscy_compat.architectures.volume_unet import (
    DYNACELL_MARKERS,
    INSTALL,
    VIT_AMBIGUITIES,
    VIT_ANCHORS,
    VIT_AXES,
    VitUnet,
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

    def companions(self, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the condition, which has one channel, and of the timesteps."""
        return {"cond": (shape[0], 1, *shape[2:]), "t": (shape[0],)}


ARCHITECTURE = CELLDiffNet()

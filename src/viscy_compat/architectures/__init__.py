"""One file per class: everything that is known about it. `find` and `known` are the way in."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from viscy_compat.errors import UsageError
from viscy_compat.named import NamedTuple

if TYPE_CHECKING:
    from viscy_compat.architectures.architecture import Architecture


class Known(NamedTuple):
    """A known class: its name, its file in this folder, and tensor names that all its checkpoints have.

    The telling names only save imports: a file that has none of them is not held against the class. Without any, the
    class is always tried.
    """

    name: str
    file: str
    telling: tuple[str, ...] = ()


CLASSES = (
    Known("ContrastiveEncoder", "contrastive_encoder", ("stem.conv.weight", "projection.0.weight")),
    Known("ResNet3dEncoder", "resnet3d_encoder", ("encoder.conv1.weight", "projection.0.weight")),
    Known("BetaVae25D", "beta_vae_25d", ("encoder.stem.conv.weight", "decoder.latent_proj.weight")),
    Known("BetaVaeMonai", "beta_vae_monai", ("model.mu.weight", "model.decodeL.weight")),
    Known("UNeXt2", "unext2", ("stem.conv.weight", "encoder_stages.stem_1.weight")),
    Known("FullyConvolutionalMAE", "fcmae", ("encoder.stem.conv3d.weight", "encoder.stem.conv2d.weight")),
    Known("Unet2d", "unet2d", ("down_conv_block_0.Conv2d_0.weight", "terminal_block.Conv2d_0.weight")),
    Known("Unet25d", "unet25d", ("down_conv_block_0.Conv3d_0.weight", "skip_conv_layer_0.weight")),
)
"""The known classes in the order of reports: one row for each, and nothing else lists them."""


def known() -> tuple[str, ...]:
    """Return the names of the known classes.

    Examples
    --------
    >>> known()[0]
    'ContrastiveEncoder'
    """
    return tuple(row.name for row in CLASSES)


def find(name: str) -> Architecture:
    """Return what is known about a class; its file is imported only now.

    Raises
    ------
    UsageError
        Where no class has that name.

    Examples
    --------
    >>> find("BetaVae25D").target
    'viscy_models.vae.BetaVae25D'
    """
    for row in CLASSES:
        if row.name == name:
            found: Architecture = import_module(f"{__name__}.{row.file}").ARCHITECTURE
            return found
    raise UsageError(f"no class {name!r} is known", fix=f"the known classes are {', '.join(known())}")

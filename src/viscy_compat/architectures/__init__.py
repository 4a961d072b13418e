"""One file per class: everything that is known about it. `find` and `class_names` are the way in."""

from __future__ import annotations

from viscy_compat.annotations import TYPE_CHECKING, import_module
from viscy_compat.errors import UsageError
from viscy_compat.layout import printable
from viscy_compat.named import NamedTuple

if TYPE_CHECKING:
    from viscy_compat.architectures.architecture import Architecture


class ClassRow(NamedTuple):
    """A known class: its name, its file in this folder, and tensor names that all its checkpoints have.

    The telling names only save imports: a file that has none of them is not held against the class. Without any, the
    class is always tried. ``words`` are other names that configurations have for it. ``upstream`` marks a class that only
    upstream's ``viscy-models`` has, so that nothing has to be migrated. ``before`` are the telling names of an older
    layout, where it has none of today's.
    """

    name: str
    file: str
    telling: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    upstream: bool = False
    before: tuple[str, ...] = ()

    @property
    def marks(self) -> tuple[tuple[str, ...], ...]:
        """The telling names of today's layout, and those of an older one that has none of them."""
        return (self.telling, self.before) if self.before else (self.telling,)


_FCMAE_WORDS = ("fcmae", "UNeXt2_2D", "FcmaeUNet")
"""Words of ``architecture:`` in a VSUNet's configuration (viscy/translation/engine.py at fe7a5da^), and the module whose
``model_config`` is always of this class."""

CLASSES = (
    ClassRow(
        "ContrastiveEncoder",
        "contrastive_encoder",
        ("stem.conv.weight", "projection.0.weight"),
        before=("stem.conv.weight", "projection.backbone.0.weight"),
    ),
    ClassRow(
        "ResNet3dEncoder",
        "resnet3d_encoder",
        ("encoder.conv1.weight", "projection.0.weight"),
        before=("encoder.conv1.weight", "projection.backbone.0.weight"),
    ),
    ClassRow("BetaVae25D", "beta_vae_25d", ("encoder.stem.conv.weight", "decoder.latent_proj.weight")),
    ClassRow("BetaVaeMonai", "beta_vae_monai", ("model.mu.weight", "model.decodeL.weight")),
    ClassRow("UNeXt2", "unext2", ("stem.conv.weight", "encoder_stages.stem_1.weight")),
    ClassRow(
        "FullyConvolutionalMAE",
        "fcmae",
        # a stem that was lost takes two of them with it
        ("encoder.stem.conv3d.weight", "encoder.stem.conv2d.weight", "encoder.stages.0.blocks.0.layernorm.weight"),
        _FCMAE_WORDS,
    ),
    ClassRow("Unet2d", "unet2d", ("down_conv_block_0.Conv2d_0.weight", "terminal_block.Conv2d_0.weight"), ("2D",)),
    ClassRow("Unet25d", "unet25d", ("down_conv_block_0.Conv3d_0.weight", "skip_conv_layer_0.weight"), ("2.5D",)),
    ClassRow(
        "Unet3d",
        "unet3d",
        ("inconv.weight", "bottleneck.block.block1.norm.running_mean"),
        ("FNet3D", "fnet"),
        upstream=True,
        before=("net_recurse.sub_2conv_more.conv1.weight", "conv_out.weight"),
    ),
    ClassRow(
        "UNetViT3D",
        "unet_vit_3d",
        ("inconv.weight", "bottleneck.img_pos_embed"),
        upstream=True,
        before=("inconv.weight", "img_pos_embed"),
    ),
    ClassRow(
        "CELLDiffNet",
        "celldiff_net",
        ("_cond_inconv.weight", "_time_embedder.freqs"),
        ("CELLDiff", "DynacellFlowMatching"),
        upstream=True,
        before=("cond_inconv.weight", "t_embedding.freqs"),
    ),
)
"""The known classes in the order of reports: one row for each, and nothing else lists them."""


def class_names() -> tuple[str, ...]:
    """Return the names of the known classes.

    Examples
    --------
    >>> class_names()[0]
    'ContrastiveEncoder'
    """
    return tuple(row.name for row in CLASSES)


def migrated_names() -> tuple[str, ...]:
    """Return the names of the known classes that this repository's ``viscy_models`` has.

    Examples
    --------
    >>> set(class_names()) - set(migrated_names()) == {"Unet3d", "UNetViT3D", "CELLDiffNet"}
    True
    """
    return tuple(row.name for row in CLASSES if not row.upstream)


def resolve_class(text: str) -> str:
    """Return the known class that a text names, in any case and with the package in front; empty where it names none.

    Examples
    --------
    >>> resolve_class("unext2"), resolve_class("viscy_models.vae.BetaVae25D"), resolve_class("fcmae"), resolve_class("lib.Net")
    ('UNeXt2', 'BetaVae25D', 'FullyConvolutionalMAE', '')
    """
    words = {word.lower(): row.name for row in CLASSES for word in (row.name, *row.words)}
    return words.get(text.lower(), words.get(text.rpartition(".")[2].lower(), ""))


def find(name: str) -> Architecture:
    """Return what is known about a class; its file is imported only now.

    Parameters
    ----------
    name : str
        The class, in any case; an import path of ``viscy_models`` or ``viscy`` may stand in front.

    Raises
    ------
    UsageError
        Where no class has that name: the nearest one is named.

    Examples
    --------
    >>> find("BetaVae25D").target, find("viscy_models.betavae25d").name
    ('viscy_models.vae.BetaVae25D', 'BetaVae25D')
    """
    package, dot, _ = name.partition(".")
    wanted = resolve_class(name) if not dot or package in ("viscy_models", "viscy") else ""
    for row in CLASSES:
        if row.name == wanted:
            found: Architecture = import_module(f"{__name__}.{row.file}").ARCHITECTURE
            return found
    # imported here: who names a class that there is needs none of it
    from difflib import get_close_matches

    lower = {row.name.lower(): row.name for row in CLASSES}
    near = get_close_matches(name.rpartition(".")[2].lower(), lower, n=1)
    fix = f"did you mean {lower[near[0]]}?" if near else f"the known classes are {', '.join(class_names())}"
    raise UsageError(f"no class {printable(name)!r} is known", fix=fix)

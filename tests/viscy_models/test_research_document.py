"""What the research document says about shapes, corrected where the old classes were measured to do otherwise.

Every row is asserted against the old class too: it is the old class that decides.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from support.sides import Answer, Sides

pytestmark = [pytest.mark.torch, pytest.mark.index]

VAE_128 = {"latent_dim": 256, "input_spatial_size": (128, 128)}
VAE_64 = {"latent_dim": 8, "input_spatial_size": (64, 64)}
CONVNEXT_VAE = {"backbone": "convnext_tiny", "latent_dim": 16, "input_spatial_size": (64, 64)}
TINY_MONAI = {"spatial_dims": 2, "out_channels": 1, "latent_size": 128, "channels": (32, 64), "strides": (2, 2)}
CONVNEXT_15 = {"backbone": "convnext_tiny", "in_channels": 2, "in_stack_depth": 15}


class Raises(NamedTuple):
    """An exception of this type, while the class is built or while it runs."""

    stage: str
    error: str


class Claim(NamedTuple):
    """What a class returns for an input: shapes by output name, or what it raises; ``new`` where the two differ."""

    id: str
    name: str
    config: dict[str, Any]
    input: tuple[int, ...]
    expected: dict[str, tuple[int, ...]] | Raises
    mode: str = "eval"
    new: dict[str, tuple[int, ...]] | Raises | None = None


def pair(embedding: int, projection: int = 128, batch: int = 2) -> dict[str, tuple[int, ...]]:
    return {"0": (batch, embedding), "1": (batch, projection)}


def vae(recon: tuple[int, ...], latent: int) -> dict[str, tuple[int, ...]]:
    code = (recon[0], latent)
    return {"recon_x": recon, "mean": code, "logvar": code, "z": code}


CLAIMS = (
    Claim("contrastive-convnext", "ContrastiveEncoder", CONVNEXT_15, (2, 2, 15, 64, 64), pair(768)),
    Claim(
        "contrastive-batch-of-one-fails-in-train",
        "ContrastiveEncoder",
        CONVNEXT_15,
        (1, 2, 15, 64, 64),
        Raises("forward", "ValueError"),
        "train",
    ),
    Claim(
        "contrastive-batch-of-one-in-eval", "ContrastiveEncoder", CONVNEXT_15, (1, 2, 15, 64, 64), pair(768, batch=1)
    ),
    Claim(
        "contrastive-embedding-dim-is-a-free-width",
        "ContrastiveEncoder",
        {**CONVNEXT_15, "embedding_dim": 100, "projection_dim": 32},
        (2, 2, 15, 32, 32),
        pair(768, 32),
    ),
    Claim(
        "contrastive-resnet50-is-repaired",
        "ContrastiveEncoder",
        {"backbone": "resnet50", "in_channels": 2, "in_stack_depth": 10},
        (2, 2, 10, 64, 64),
        Raises("build", "AttributeError"),
        new=pair(2048),
    ),
    Claim(
        "contrastive-resnet50-at-depth-15-has-no-stem",
        "ContrastiveEncoder",
        {"backbone": "resnet50", "in_channels": 2, "in_stack_depth": 15},
        (2, 2, 15, 64, 64),
        Raises("build", "AttributeError"),
        new=Raises("build", "ValueError"),
    ),
    Claim("resnet3d-18", "ResNet3dEncoder", {"backbone": "resnet18"}, (2, 1, 16, 16, 16), pair(512)),
    Claim(
        "resnet3d-batch-of-one-fails-in-train",
        "ResNet3dEncoder",
        {"backbone": "resnet18"},
        (1, 1, 64, 64, 64),
        Raises("forward", "ValueError"),
        "train",
    ),
    Claim("resnet3d-one-voxel", "ResNet3dEncoder", {"backbone": "resnet10"}, (2, 1, 1, 1, 1), pair(512)),
    Claim(
        "resnet3d-18-with-2048",
        "ResNet3dEncoder",
        {"backbone": "resnet18", "embedding_dim": 2048},
        (2, 1, 16, 16, 16),
        Raises("forward", "RuntimeError"),
        new=Raises("build", "ValueError"),
    ),
    Claim(
        "resnet3d-50-with-the-default-512",
        "ResNet3dEncoder",
        {"backbone": "resnet50"},
        (2, 1, 16, 16, 16),
        Raises("forward", "RuntimeError"),
        new=Raises("build", "ValueError"),
    ),
    Claim(
        "resnet3d-50-with-2048",
        "ResNet3dEncoder",
        {"backbone": "resnet50", "embedding_dim": 2048},
        (2, 1, 16, 16, 16),
        pair(2048),
    ),
    Claim(
        "vae-three-stages-halve-and-do-not-keep-128",
        "BetaVae25D",
        {**VAE_128, "decoder_stages": 3},
        (2, 2, 16, 128, 128),
        vae((2, 2, 16, 64, 64), 256),
    ),
    Claim("vae-four-stages-keep-128", "BetaVae25D", VAE_128, (2, 2, 16, 128, 128), vae((2, 2, 16, 128, 128), 256)),
    Claim("vae-a-64-by-256-input-too", "BetaVae25D", VAE_128, (2, 2, 16, 64, 256), vae((2, 2, 16, 128, 128), 256)),
    Claim("vae-a-68-square-too", "BetaVae25D", VAE_128, (1, 2, 16, 68, 68), vae((1, 2, 16, 128, 128), 256)),
    Claim("vae-a-131-square-too", "BetaVae25D", VAE_128, (1, 2, 16, 131, 131), vae((1, 2, 16, 128, 128), 256)),
    Claim("vae-no-132-square", "BetaVae25D", VAE_128, (1, 2, 16, 132, 132), Raises("forward", "RuntimeError")),
    Claim("vae-no-64-square", "BetaVae25D", VAE_128, (1, 2, 16, 64, 64), Raises("forward", "RuntimeError")),
    Claim(
        "vae-a-latent-that-four-does-not-divide",
        "BetaVae25D",
        {**VAE_128, "latent_dim": 250, "decoder_stages": 1},
        (2, 2, 16, 128, 128),
        vae((2, 2, 16, 16, 16), 250),
    ),
    Claim(
        "vae-a-latent-smaller-than-the-map",
        "BetaVae25D",
        {**VAE_128, "latent_dim": 3, "decoder_stages": 1},
        (2, 2, 16, 128, 128),
        Raises("forward", "RuntimeError"),
        new=Raises("build", "ValueError"),
    ),
    Claim(
        "vae-only-the-height-counts",
        "BetaVae25D",
        {"latent_dim": 8, "input_spatial_size": (64, 128), "decoder_stages": 1},
        (2, 2, 16, 64, 128),
        vae((2, 2, 16, 8, 8), 8),
    ),
    Claim("vae-64", "BetaVae25D", VAE_64, (2, 2, 16, 64, 64), vae((2, 2, 16, 64, 64), 8)),
    Claim(
        "vae-64-batch-of-one-fails-in-train",
        "BetaVae25D",
        VAE_64,
        (1, 2, 16, 64, 64),
        Raises("forward", "ValueError"),
        "train",
    ),
    Claim("vae-64-batch-of-one-in-eval", "BetaVae25D", VAE_64, (1, 2, 16, 64, 64), vae((1, 2, 16, 64, 64), 8)),
    Claim(
        "vae-63-leaves-no-pixel",
        "BetaVae25D",
        {**VAE_64, "input_spatial_size": (63, 63)},
        (2, 2, 16, 63, 63),
        Raises("build", "ZeroDivisionError"),
        new=Raises("build", "ValueError"),
    ),
    Claim(
        "vae-127-builds-and-never-runs",
        "BetaVae25D",
        {**VAE_64, "input_spatial_size": (127, 127)},
        (2, 2, 16, 127, 127),
        Raises("forward", "RuntimeError"),
    ),
    Claim(
        "vae-convnext-doubles-by-default", "BetaVae25D", CONVNEXT_VAE, (2, 2, 16, 64, 64), vae((2, 2, 16, 128, 128), 16)
    ),
    Claim(
        "vae-convnext-takes-a-95-square-made-for-64",
        "BetaVae25D",
        CONVNEXT_VAE,
        (1, 2, 16, 95, 95),
        vae((1, 2, 16, 128, 128), 16),
    ),
    Claim(
        "vae-convnext-takes-no-96-square-made-for-64",
        "BetaVae25D",
        CONVNEXT_VAE,
        (1, 2, 16, 96, 96),
        Raises("forward", "RuntimeError"),
    ),
    Claim(
        "vae-convnext-keeps-with-three-stages",
        "BetaVae25D",
        {**CONVNEXT_VAE, "decoder_stages": 3},
        (2, 2, 16, 64, 64),
        vae((2, 2, 16, 64, 64), 16),
    ),
    Claim(
        "monai-64",
        "BetaVaeMonai",
        {**TINY_MONAI, "in_shape": (1, 64, 64)},
        (2, 1, 64, 64),
        vae((2, 1, 64, 64), 128),
    ),
    Claim(
        "monai-63-comes-back-as-64",
        "BetaVaeMonai",
        {**TINY_MONAI, "in_shape": (1, 63, 63)},
        (2, 1, 63, 63),
        vae((2, 1, 64, 64), 128),
    ),
    Claim(
        "monai-65-comes-back-as-68",
        "BetaVaeMonai",
        {**TINY_MONAI, "in_shape": (1, 65, 65)},
        (2, 1, 65, 65),
        vae((2, 1, 68, 68), 128),
    ),
)


def found(answer: Answer, mode: str) -> dict[str, tuple[int, ...]] | Raises:
    """Read shapes or an error off an answer of a worker."""
    error = answer.get("error") or answer[mode].get("error")
    if error:
        return Raises(error["stage"], error["type"])
    return {row["name"]: tuple(row["shape"]) for row in answer[mode]["outputs"]}


@pytest.mark.parametrize("claim", CLAIMS, ids=[claim.id for claim in CLAIMS])
def test_both_classes_do_what_was_measured(sides: Sides, claim: Claim) -> None:
    old, new = sides.run(claim.name, claim.config, input=claim.input, report=[claim.mode])
    assert found(old, claim.mode) == claim.expected
    assert found(new, claim.mode) == (claim.new or claim.expected)


def test_a_resnet_is_reduced_16_times_and_a_convnext_8_times(sides: Sides) -> None:
    for backbone, width, side in (("resnet50", 2048, 2), ("convnext_tiny", 768, 4)):
        config = {"backbone": backbone, "latent_dim": 16, "input_spatial_size": (128, 128), "decoder_stages": 1}
        for answer in sides.run("BetaVae25D", config, report=["layout"]):
            shapes = {name: tuple(shape) for name, shape, _ in answer["layout"]}
            assert shapes["encoder.fc.weight"] == (16, width * side * side)
            assert shapes["decoder.latent_proj.weight"][1] == 16 // side**2


def test_a_latent_of_250_is_cut_to_the_248_that_the_map_can_hold(sides: Sides) -> None:
    config = {**VAE_128, "latent_dim": 250, "decoder_stages": 1}
    for answer in sides.run("BetaVae25D", config, report=["layout"]):
        shapes = {name: tuple(shape) for name, shape, _ in answer["layout"]}
        assert shapes["decoder.latent_reshape.weight"] == (248, 250)
        assert shapes["decoder.latent_proj.weight"][1] == 62


def test_there_are_as_many_stages_as_asked_for_and_the_last_stride_is_not_used(sides: Sides) -> None:
    for answer in sides.run("BetaVae25D", {**VAE_128, "decoder_stages": 3}, report=["layout"]):
        stages = {name.split(".")[2] for name, *_ in answer["layout"] if name.startswith("decoder.decoder_stages.")}
        assert stages == {"0", "1", "2"}

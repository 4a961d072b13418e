"""The released wheel holds the files of the last commit before the monorepo, and the migrated signatures match them."""

from __future__ import annotations

from typing import Any

import pytest

from support.sides import Sides, blob_id, old_texts

pytestmark = pytest.mark.index

BLOBS_BEFORE_THE_MONOREPO = {
    "viscy/representation/contrastive.py": "1b08e089a26cba3b2eaea9a4bb2768b43ae55c68",
    "viscy/representation/vae.py": "f34c2828d565814b93eb8c1d1296efa9ab88c98f",
    "viscy/unet/networks/unext2.py": "c2403fc9bd5a5517311bc19391c75eecc0c365d9",
    "viscy/unet/networks/fcmae.py": "d63b65a7d22cd60598283e0479583b95e1af5528",
    "viscy/unet/networks/Unet2D.py": "0edd95362f9e570ef1483efe487da42a613fb37c",
    "viscy/unet/networks/Unet25D.py": "8a34042d75d9978fcc848d44e7a4b4f068f74b31",
    "viscy/unet/networks/layers/ConvBlock2D.py": "114777a798977a953bac8bd50732a9e38b18c32e",
    "viscy/unet/networks/layers/ConvBlock3D.py": "893c612efee8aae92c70c353bc274f522de81478",
}
"""``git rev-parse fe7a5da^:<path>`` in mehta-lab/VisCy."""

PRETRAINED = ["pretrained", "POSITIONAL_OR_KEYWORD", True, False]
ADDED = {"ContrastiveEncoder", "ResNet3dEncoder", "BetaVae25D"}


@pytest.mark.parametrize("path", BLOBS_BEFORE_THE_MONOREPO)
def test_the_wheel_has_the_blobs_of_the_last_commit_before_the_monorepo(path: str) -> None:
    assert blob_id(old_texts("0.4.0")[path]) == BLOBS_BEFORE_THE_MONOREPO[path]


@pytest.mark.torch
@pytest.mark.parametrize(
    "name",
    [
        *("ContrastiveEncoder", "ResNet3dEncoder", "BetaVae25D", "BetaVaeMonai"),
        *("UNeXt2", "FullyConvolutionalMAE", "Unet2d", "Unet25d"),
        *("VaeUpStage", "VaeEncoder", "VaeDecoder", "projection_mlp"),
        *("StemDepthtoChannels", "UNeXt2Stem", "PixelToVoxelHead", "icnr_init"),
    ],
)
def test_names_order_and_defaults_of_the_arguments_are_the_old_ones_but_for_pretrained(sides: Sides, name: str) -> None:
    old, new = sides.signatures(name)
    if name in ADDED:
        assert new.pop() == PRETRAINED
    if name == "VaeEncoder":
        assert old[-1] == [*PRETRAINED[:3], True]
        assert new[-1] == PRETRAINED
        old, new = old[:-1], new[:-1]
    assert [_without_addresses(row) for row in new] == [_without_addresses(row) for row in old]
    assert old


def _without_addresses(row: list[Any]) -> list[Any]:
    """A default that is a function is told by its repr."""
    return [str(part).partition(" at 0x")[0] for part in row]

"""Contrastive encoder with a 3D backbone."""

from __future__ import annotations

from monai.networks.nets.resnet import ResNetFeatures
from torch import Tensor, nn

from viscy_models.contrastive.encoder import projection_mlp


class ResNet3dEncoder(nn.Module):
    """Embed a stack with MONAI's 3D ResNet.

    Parameters
    ----------
    backbone : str
        ``"resnet10"``, ``"resnet18"``, ``"resnet34"``, ``"resnet50"``, ``"resnet101"``, ``"resnet152"`` or
        ``"resnet200"``.
    in_channels : int
        Channels of the stack.
    embedding_dim : int
        Width of the embedding, which must be the backbone's: 512 up to resnet34, 2048 from resnet50.
    projection_dim : int
        Width of the projection.
    pretrained : bool
        Start from the MedicalNet weights (downloaded by MONAI), which exist for one input channel only.

    Raises
    ------
    ValueError
        If `embedding_dim` is not the width of the backbone, the backbone is unknown, or pretrained weights are asked
        for with several channels.

    Notes
    -----
    Any size of input runs, down to one voxel.
    """

    def __init__(
        self,
        backbone: str,
        in_channels: int = 1,
        embedding_dim: int = 512,
        projection_dim: int = 128,
        pretrained: bool = False,
    ) -> None:
        super().__init__()
        self.encoder = ResNetFeatures(backbone, pretrained=pretrained, spatial_dims=3, in_channels=in_channels)
        width = self.encoder.in_planes
        if embedding_dim != width:
            raise ValueError(
                f"embedding_dim={embedding_dim}, but {backbone} makes embeddings of width {width}; "
                f"use embedding_dim={width}"
            )
        self.projection = projection_mlp(embedding_dim, embedding_dim, projection_dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Embed a batch of stacks.

        Parameters
        ----------
        x : Tensor
            Stacks (B, in_channels, Z, Y, X).

        Returns
        -------
        tuple[Tensor, Tensor]
            Embedding (B, embedding_dim) and projection (B, projection_dim).
        """
        *_, deepest = self.encoder(x)  # (B, embedding_dim, Z / 32, Y / 32, X / 32)
        embedding = self.encoder.avgpool(deepest).flatten(1)  # (B, embedding_dim)
        return embedding, self.projection(embedding)  # and (B, projection_dim)

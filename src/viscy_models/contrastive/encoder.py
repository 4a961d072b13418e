"""Contrastive encoder with a 2D backbone behind a 3D stem."""

from __future__ import annotations

from typing import Any, Literal

import timm
from torch import Tensor, nn

from viscy_models._components.stems import StemDepthtoChannels


def projection_mlp(in_dims: int, hidden_dims: int, out_dims: int) -> nn.Sequential:
    """Build the projection head that the contrastive loss sees: (B, in_dims) to (B, out_dims).

    Both linear layers are followed by a batch norm, so that a batch of one fails in train mode (torch raises
    ValueError: more than one value per channel is needed).

    Parameters
    ----------
    in_dims, hidden_dims, out_dims : int
        Width of the embedding, between the layers, and of the projection.
    """
    widen = (nn.Linear(in_dims, hidden_dims), nn.BatchNorm1d(hidden_dims), nn.ReLU(inplace=True))
    narrow = (nn.Linear(hidden_dims, out_dims), nn.BatchNorm1d(out_dims))
    return nn.Sequential(*widen, *narrow)


class ContrastiveEncoder(nn.Module):
    """Embed a stack with a timm backbone whose first convolution is replaced by a 3D stem.

    Parameters
    ----------
    backbone : {"convnext_tiny", "convnextv2_tiny", "resnet50"}
        Name of a ConvNeXt or ResNet model of timm. The stem must make 96 channels for the ConvNeXt ones, 64 for
        resnet50 (see `StemDepthtoChannels`): with the default stem, resnet50 takes a depth of 5 to 14.
    in_channels : int
        Channels of the stack.
    in_stack_depth : int
        Slices of the stack.
    stem_kernel_size, stem_stride : tuple[int, int, int]
        Kernel and stride of the stem, (Z, Y, X).
    embedding_dim : int
        Hidden width of the projection head. The width of the embedding itself is the backbone's: 768 for the tiny
        ConvNeXt models, 2048 for resnet50.
    projection_dim : int
        Width of the projection.
    drop_path_rate : float
        Probability with which a residual branch is skipped in training.
    pretrained : bool
        Start from timm's ImageNet weights (downloaded by timm); stem and projection stay random.

    Raises
    ------
    ValueError
        If the backbone is neither a ConvNeXt nor a ResNet, or the stem cannot share out its channels.

    Notes
    -----
    A feature map that gets too small fails in `forward`: the ConvNeXt backbones need at least 8 x 8 after the stem,
    32 x 32 pixels at stride 4. Slices and pixels beyond the last whole step of the stem are never read, and nothing
    reports that. A batch of one fails in train mode (see `projection_mlp`).
    """

    def __init__(
        self,
        backbone: Literal["convnext_tiny", "convnextv2_tiny", "resnet50"],
        in_channels: int,
        in_stack_depth: int,
        stem_kernel_size: tuple[int, int, int] = (5, 4, 4),
        stem_stride: tuple[int, int, int] = (5, 4, 4),
        embedding_dim: int = 768,
        projection_dim: int = 128,
        drop_path_rate: float = 0.0,
        pretrained: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        if "convnext" not in backbone and "resnet" not in backbone:
            raise ValueError(f"backbone={backbone!r} is neither a ConvNeXt nor a ResNet; use 'convnext_tiny'")
        # num_classes takes part only in what the random generator draws: the classifier goes away below.
        encoder: Any = timm.create_model(
            backbone, pretrained=pretrained, num_classes=embedding_dim, drop_path_rate=drop_path_rate
        )
        stem_width = _detach_first_convolution(encoder, backbone)
        projection = projection_mlp(encoder.get_classifier().in_features, embedding_dim, projection_dim)
        encoder.reset_classifier(0)
        self.stem = StemDepthtoChannels(in_channels, in_stack_depth, stem_width, stem_kernel_size, stem_stride)
        self.encoder = encoder
        self.projection = projection

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Embed a batch of stacks.

        Parameters
        ----------
        x : Tensor
            Stacks (B, in_channels, in_stack_depth, Y, X).

        Returns
        -------
        tuple[Tensor, Tensor]
            Embedding (B, 768 or 2048) and projection (B, projection_dim).
        """
        feature_map = self.stem(x)  # (B, 96 or 64, Y / 4, X / 4)
        embedding = self.encoder(feature_map)  # (B, 768 or 2048)
        return embedding, self.projection(embedding)  # and (B, projection_dim)


def _detach_first_convolution(encoder: Any, backbone: str) -> int:
    """Take the convolution made for RGB images off a timm model and return how many channels it gave."""
    holder, name = (encoder.stem, "0") if "convnext" in backbone else (encoder, "conv1")
    width = getattr(holder, name).out_channels
    setattr(holder, name, nn.Identity())
    return int(width)

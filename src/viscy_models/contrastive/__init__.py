"""Encoders that are trained by contrastive learning."""

from viscy_models.contrastive.encoder import ContrastiveEncoder
from viscy_models.contrastive.resnet3d import ResNet3dEncoder

__all__ = ["ContrastiveEncoder", "ResNet3dEncoder"]

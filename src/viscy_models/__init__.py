"""The migrated VisCy models: pure ``nn.Module`` classes with the state-dict keys and the numbers of the old ones."""

from viscy_models.contrastive import ContrastiveEncoder, ResNet3dEncoder
from viscy_models.unet import FullyConvolutionalMAE, Unet2d, Unet25d, UNeXt2
from viscy_models.vae import BetaVae25D, BetaVaeMonai

__all__ = [
    "BetaVae25D",
    "BetaVaeMonai",
    "ContrastiveEncoder",
    "FullyConvolutionalMAE",
    "ResNet3dEncoder",
    "UNeXt2",
    "Unet2d",
    "Unet25d",
]

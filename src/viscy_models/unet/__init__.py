"""Networks that translate images: virtual staining, segmentation, and masked pretraining."""

from viscy_models.unet.fcmae import FullyConvolutionalMAE
from viscy_models.unet.unet2d import Unet2d
from viscy_models.unet.unet25d import Unet25d
from viscy_models.unet.unext2 import UNeXt2

__all__ = ["FullyConvolutionalMAE", "UNeXt2", "Unet2d", "Unet25d"]

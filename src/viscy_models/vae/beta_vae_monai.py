"""Variational autoencoder of MONAI, with named outputs."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, Literal

from monai.networks.layers.factories import Norm
from monai.networks.nets.varautoencoder import VarAutoEncoder
from torch import Tensor, nn


class BetaVaeMonai(nn.Module):
    """MONAI's `VarAutoEncoder` in two or three dimensions.

    Parameters
    ----------
    spatial_dims : int
        2 or 3.
    in_shape : Sequence[int]
        Channels and sides of the input, ``(C, Y, X)`` or ``(C, Z, Y, X)``.
    out_channels : int
        Channels of the reconstruction.
    latent_size : int
        Width of the latent code.
    channels : Sequence[int]
        Channels of each stage of the encoder; the decoder has them in reverse.
    strides : Sequence[int] or Sequence[Sequence[int]]
        Stride of each stage, one number or one for each axis.
    kernel_size, up_kernel_size : Sequence[int] or int
        Kernels of the encoder and of the decoder.
    num_res_units : int
        Sub-units of a residual unit in each stage; 0 for plain convolutions.
    use_sigmoid : bool
        End with a sigmoid.
    norm : {"instance", "batch"}
        Normalisation between the layers.
    **kwargs
        What else `VarAutoEncoder` takes: ``act``, ``dropout``, ``bias``, ``inter_channels``, ...

    Raises
    ------
    ValueError
        If `norm` is neither of the two.

    Notes
    -----
    A side that the product of its strides does not divide comes back rounded up, silently: 63 gives 64 and 65 gives
    68 with strides (2, 2). In eval mode MONAI adds the whole standard deviation to the mean, ``z = mean + std``, and
    does it in place, so that outputs of eval mode cannot be differentiated. MONAI 1.6 takes ``use_mean_at_inference``,
    whose default False keeps that.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_shape: Sequence[int],
        out_channels: int,
        latent_size: int,
        channels: Sequence[int],
        strides: Sequence[int] | Sequence[Sequence[int]],
        kernel_size: Sequence[int] | int = 3,
        up_kernel_size: Sequence[int] | int = 3,
        num_res_units: int = 0,
        use_sigmoid: bool = False,
        norm: Literal["batch", "instance"] = "instance",
        **kwargs: Any,
    ) -> None:
        super().__init__()
        if norm not in ("batch", "instance"):
            raise ValueError(f"norm={norm!r} is not known; use 'batch' or 'instance'")
        self.spatial_dims, self.in_shape = spatial_dims, in_shape
        self.out_channels, self.latent_size = out_channels, latent_size
        self.channels, self.strides = channels, strides
        self.kernel_size, self.up_kernel_size = kernel_size, up_kernel_size
        self.num_res_units, self.use_sigmoid = num_res_units, use_sigmoid
        self.norm = Norm.BATCH if norm == "batch" else Norm.INSTANCE
        self.model = VarAutoEncoder(
            spatial_dims=spatial_dims,
            in_shape=in_shape,
            out_channels=out_channels,
            latent_size=latent_size,
            channels=channels,
            strides=strides,  # type: ignore[arg-type]  # MONAI says one number a stage, and takes one an axis too
            kernel_size=kernel_size,
            up_kernel_size=up_kernel_size,
            num_res_units=num_res_units,
            use_sigmoid=use_sigmoid,
            norm=self.norm,
            **kwargs,
        )

    def forward(self, x: Tensor) -> SimpleNamespace:
        """Encode, sample and reconstruct.

        Parameters
        ----------
        x : Tensor
            Input (B, *in_shape).

        Returns
        -------
        SimpleNamespace
            ``recon_x`` (B, out_channels, *sides rounded up), ``mean``, ``logvar`` and ``z`` (B, latent_size).
        """
        names = ("recon_x", "mean", "logvar", "z")
        return SimpleNamespace(**dict(zip(names, self.model(x), strict=True)))

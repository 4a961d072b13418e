"""Migrated classes with an error that a migration may make and that no layout shows, for workers to build."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def with_eps(name: str, kind: str, eps: float) -> Callable[..., Any]:
    """Return a builder of a class whose norms of a type have another eps."""

    def build(**config: Any) -> Any:
        import viscy_models

        model = getattr(viscy_models, name)(**config)
        for part in model.modules():
            if type(part).__name__ == kind:
                part.eps = eps
        return model

    return build


def with_tanh(name: str) -> Callable[..., Any]:
    """Return a builder of a class whose GELUs are computed by tanh."""

    def build(**config: Any) -> Any:
        from torch.nn import functional

        import viscy_models

        model = getattr(viscy_models, name)(**config)
        for part in model.modules():
            if "gelu" in type(part).__name__.lower():
                part.forward = lambda x: functional.gelu(x, approximate="tanh")
        return model

    return build


contrastive_layer_norm = with_eps("ContrastiveEncoder", "LayerNorm", 1e-5)
contrastive_stem_norm = with_eps("ContrastiveEncoder", "LayerNorm2d", 1e-5)
contrastive_batch_norm = with_eps("ContrastiveEncoder", "BatchNorm1d", 1e-3)
contrastive_tanh = with_tanh("ContrastiveEncoder")
resnet_batch_norm = with_eps("ResNet3dEncoder", "BatchNorm3d", 1e-3)
resnet_head_norm = with_eps("ResNet3dEncoder", "BatchNorm1d", 1e-3)
unet_batch_norm = with_eps("Unet25d", "BatchNorm3d", 1e-3)

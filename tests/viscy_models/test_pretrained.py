"""`pretrained` reaches the library that downloads, and nothing is downloaded unless it is asked for."""

from __future__ import annotations

from typing import Any

import pytest
import timm
from monai.networks.nets import resnet

from viscy_models import BetaVae25D, ContrastiveEncoder, ResNet3dEncoder
from viscy_models.vae.beta_vae_25d import VaeEncoder

pytestmark = pytest.mark.torch

VAE = {"latent_dim": 4, "input_spatial_size": (64, 64)}
CONTRASTIVE = {"backbone": "convnext_tiny", "in_channels": 1, "in_stack_depth": 5}
FAMILIES: list[tuple[Any, dict[str, Any]]] = [(ContrastiveEncoder, CONTRASTIVE), (VaeEncoder, VAE), (BetaVae25D, VAE)]


@pytest.fixture
def asked_of_timm(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """What timm was asked for as `pretrained`; it never downloads here."""
    asked: list[bool] = []
    real: Any = timm.create_model

    def create_model(*words: Any, pretrained: bool = False, **options: Any) -> Any:
        asked.append(pretrained)
        return real(*words, pretrained=False, **options)

    monkeypatch.setattr(timm, "create_model", create_model)
    return asked


@pytest.fixture
def asked_of_monai(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The backbones whose MedicalNet weights MONAI was asked for."""
    asked: list[str] = []

    def load(model: Any, name: str, **_: Any) -> None:
        asked.append(name)

    monkeypatch.setattr(resnet, "_load_state_dict", load)
    return asked


@pytest.mark.parametrize(("model", "config"), FAMILIES)
@pytest.mark.parametrize("wanted", [False, True])
def test_timm_is_asked_for_what_the_caller_says(
    asked_of_timm: list[bool], model: Any, config: dict[str, Any], wanted: bool
) -> None:
    model(**config, pretrained=wanted)
    assert asked_of_timm == [wanted]


@pytest.mark.parametrize(("model", "config"), FAMILIES)
def test_nothing_is_downloaded_by_default(asked_of_timm: list[bool], model: Any, config: dict[str, Any]) -> None:
    model(**config)
    assert asked_of_timm == [False]


def test_monai_is_asked_for_what_the_caller_says(asked_of_monai: list[str]) -> None:
    ResNet3dEncoder("resnet10")
    ResNet3dEncoder("resnet10", pretrained=False)
    assert asked_of_monai == []
    ResNet3dEncoder("resnet10", pretrained=True)
    assert asked_of_monai == ["resnet10"]


def test_several_channels_have_no_pretrained_weights(asked_of_monai: list[str]) -> None:
    with pytest.raises(ValueError, match="in_channels=1"):
        ResNet3dEncoder("resnet10", in_channels=2, pretrained=True)
    assert ResNet3dEncoder("resnet10", in_channels=2).encoder.conv1.in_channels == 2
    assert asked_of_monai == []

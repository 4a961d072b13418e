"""The layouts that the toolkit generates are those of the real migrated classes, in every configuration drawn.

Those of the verification cases are held by the tests of parity, which build them anyway.
"""

from __future__ import annotations

import copy
import importlib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings

from support.configurations import buildable, builds, configurations
from viscy_compat.architectures import find, migrated_names
from viscy_compat.architectures.architecture import Architecture

pytestmark = pytest.mark.torch

CLASSES = [find(name) for name in migrated_names()]
EXAMPLES = {"BetaVaeMonai": 200, "ResNet3dEncoder": 25, "UNeXt2": 15, "FullyConvolutionalMAE": 15}
MANY = 40


@pytest.fixture(scope="module", autouse=True)
def backbones_built_once() -> Iterator[None]:
    """Copy each timm backbone instead of building it again, which is most of the time.

    Neither the drop rate nor the classifier, which our classes replace, is in a layout.
    """
    import timm

    create, made = timm.create_model, {}

    def remembered(name: str, **arguments: Any) -> Any:
        kept = {key: value for key, value in arguments.items() if key not in ("drop_path_rate", "num_classes")}
        key = (name, *sorted(kept.items()))
        if key not in made:
            made[key] = create(name, **arguments)
        return copy.deepcopy(made[key])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timm, "create_model", remembered)
        yield


def real_class(architecture: Architecture) -> type:
    module, _, name = architecture.target.rpartition(".")
    return getattr(importlib.import_module(module), name)  # type: ignore[no-any-return]


def built(architecture: Architecture, config: dict[str, Any]) -> Any:
    """The real class on the meta device: everything but numbers."""
    import torch

    with torch.device("meta"):
        return real_class(architecture)(**config)


def layout_of(model: Any) -> list[tuple[str, tuple[int, ...], str]]:
    state = model.state_dict()
    return [(name, tuple(tensor.shape), str(tensor.dtype).removeprefix("torch.")) for name, tensor in state.items()]


def generated(architecture: Architecture, config: dict[str, Any]) -> list[tuple[str, tuple[int, ...], str]]:
    return [(name, spec.shape, spec.dtype) for name, spec in architecture.layout(config).items()]


@pytest.mark.parametrize("architecture", CLASSES, ids=migrated_names())
def test_generated_layouts_are_the_real_ones_in_order(architecture: Architecture) -> None:
    @settings(max_examples=EXAMPLES.get(architecture.name, MANY))
    @given(buildable(architecture))
    def law(config: dict[str, Any]) -> None:
        assert generated(architecture, config) == layout_of(built(architecture, config))

    law()


@pytest.mark.parametrize("architecture", CLASSES, ids=migrated_names())
def test_what_has_no_layout_is_refused_by_the_real_class(architecture: Architecture) -> None:
    refused = 0

    @settings(max_examples=25)
    @given(configurations(architecture))
    def law(config: dict[str, Any]) -> None:
        nonlocal refused
        if not builds(architecture, config):
            refused += 1
            with pytest.raises((ValueError, NotImplementedError, ZeroDivisionError)):
                built(architecture, config)

    law()
    assert refused or architecture.name not in {"ContrastiveEncoder", "BetaVae25D"}, "nothing drawn was refused"

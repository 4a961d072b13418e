"""A model that is built to be filled is, once filled, the one that is built the ordinary way."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from viscy_compat.architectures import find, migrated_names
from viscy_compat.architectures.architecture import complete
from viscy_compat.loading import _import

if TYPE_CHECKING:
    import torch

    Build = Callable[[], torch.nn.Module]

pytestmark = pytest.mark.torch


def both(build: Build) -> tuple[torch.nn.Module, torch.nn.Module]:
    """The model built the ordinary way, and the other one with its weights."""
    from viscy_compat.building import build_to_fill, can_assign

    usual, filled = build(), build_to_fill(build)
    weights = {name: value.clone() for name, value in usual.state_dict().items()}
    filled.load_state_dict(weights, strict=True, assign=can_assign(filled))
    return usual, filled


def facts_of(model: torch.nn.Module) -> dict[str, object]:
    """All that tells two models apart: text, places of modules, and each tensor with bytes, dtype, layout and role."""
    tensors = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    first: dict[int, str] = {}
    return {
        "text": str(model),
        "modules": [(name, type(module).__name__, module.training) for name, module in model.named_modules()],
        **{
            name: (type(one), one.dtype, one.shape, one.stride(), one.requires_grad, first.setdefault(id(one), name))
            for name, one in tensors
        },
        **{f"{name}'s bytes": one.detach().numpy().tobytes() for name, one in tensors},
    }


@pytest.mark.parametrize("name", migrated_names())
def test_a_filled_model_is_the_one_built_the_ordinary_way(name: str) -> None:
    architecture = find(name)
    build = _import(architecture.target, architecture.install)
    config = architecture.with_lists(complete(architecture, architecture.cases[0].config), list)
    usual, filled = both(lambda: build(**config))
    assert facts_of(usual) == facts_of(filled)


def test_the_global_generator_is_left_as_it_was() -> None:
    import torch

    from viscy_compat.building import build_to_fill

    before = torch.random.get_rng_state()
    build_to_fill(lambda: torch.nn.Linear(3, 4))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_parameters_are_not_drawn_and_buffers_are() -> None:
    import torch

    from viscy_compat.building import build_to_fill

    drawn = []

    class Noted(torch.nn.Linear):
        def reset_parameters(self) -> None:
            drawn.append(torch.random.get_rng_state())
            super().reset_parameters()
            drawn.append(torch.random.get_rng_state())

    assert isinstance(build_to_fill(lambda: Noted(3, 4)), Noted)
    assert torch.equal(*drawn)


def test_a_class_with_buffers_that_no_checkpoint_holds_is_built_the_ordinary_way() -> None:
    import torch

    class Noisy(torch.nn.Linear):
        def __init__(self) -> None:
            super().__init__(3, 4)
            self.register_buffer("noise", torch.rand(5), persistent=False)

    torch.manual_seed(3)
    usual, filled = both(Noisy)
    torch.manual_seed(3)
    other = both(Noisy)[1]
    assert facts_of(filled)["noise's bytes"] == facts_of(other)["noise's bytes"]
    assert facts_of(usual).keys() == facts_of(filled).keys()
    torch.manual_seed(3)
    assert facts_of(build_again(Noisy))["noise's bytes"] == facts_of(Noisy())["noise's bytes"]


def build_again(build: Build) -> torch.nn.Module:
    from viscy_compat.building import build_to_fill

    return build_to_fill(build)


def test_shared_parameters_stay_shared() -> None:
    import torch

    class Tied(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)
            self.second.weight = self.first.weight

    usual, filled = both(Tied)
    assert facts_of(usual) == facts_of(filled)


def test_parameters_in_another_order_of_memory_stay_so() -> None:
    import torch

    def build() -> torch.nn.Module:
        return torch.nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)

    usual, filled = both(build)
    assert facts_of(usual) == facts_of(filled)
    assert not next(filled.parameters()).is_contiguous()


def test_what_does_not_learn_still_does_not() -> None:
    import torch

    def build() -> torch.nn.Module:
        return torch.nn.Linear(3, 4).requires_grad_(False)

    usual, filled = both(build)
    assert facts_of(usual) == facts_of(filled)

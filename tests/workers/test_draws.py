"""Weights that nobody asks for are not drawn, and nothing that anybody is told depends on them."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.torch


def initialised() -> Any:
    """A module that fills its parameters in every usual way, and other tensors with random numbers."""
    import torch
    from timm.layers import trunc_normal_
    from torch import nn

    class Initialised(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.line, self.conv = nn.Linear(4, 4), nn.Conv2d(1, 4, 2)
            nn.init.kaiming_normal_(self.conv.weight)
            trunc_normal_(self.line.weight, std=0.02)
            nn.init.orthogonal_(self.line.weight)
            self.own = nn.Parameter(torch.empty(3).normal_())
            self.register_buffer("mask", torch.rand(3), persistent=False)
            self.register_buffer("kept", torch.empty(3).uniform_())
            self.turns = nn.Parameter(torch.zeros(2, dtype=torch.complex64).normal_())
            with torch.no_grad():
                self.turns.mul_(2)
            self.line.bias.data.fill_(7)

    torch.manual_seed(3)
    return Initialised()


def test_only_floating_point_parameters_stay_undrawn() -> None:
    import torch

    from viscy_compat.workers.program.draws import WithoutDraws

    drawn = initialised()
    seen = [WithoutDraws.is_on]
    with WithoutDraws():
        seen.append(WithoutDraws.is_on)
        undrawn = initialised()
        line = torch.nn.Linear(1000, 1000)
        before = line.weight.clone()
        for fill in (torch.nn.init.uniform_, torch.nn.init.kaiming_normal_, torch.Tensor.normal_):
            assert fill(line.weight) is line.weight
        assert torch.equal(line.weight.view(torch.int32), before.view(torch.int32))
        assert torch.empty(50).normal_().unique().numel() > 1
    assert [*seen, WithoutDraws.is_on] == [False, True, False]
    assert line.weight.clone().normal_().unique().numel() > 1
    assert [row.shape for row in drawn.state_dict().values()] == [row.shape for row in undrawn.state_dict().values()]
    assert undrawn.line.bias.tolist() == [7] * 4
    assert undrawn.turns.abs().min() > 0
    assert len(undrawn.mask.unique()) == len(undrawn.kept.unique()) == 3

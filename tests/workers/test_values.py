"""A seed is torch's own: who draws after it gets what torch's function for all devices would have given."""

from __future__ import annotations

import random

import pytest

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("seed", [0, 5, (1 << 32) + 1])
def test_a_seed_gives_the_draws_of_the_functions_that_users_call(seed: int) -> None:
    import numpy
    import torch

    from viscy_compat.workers.program.values import set_seed

    torch.manual_seed(seed)
    random.seed(seed)
    numpy.random.seed(seed % (1 << 32))
    expected = torch.get_rng_state(), torch.initial_seed(), torch.rand(3), random.random(), numpy.random.random()
    torch.rand(5)
    set_seed(seed)
    told = torch.get_rng_state(), torch.initial_seed(), torch.rand(3), random.random(), numpy.random.random()
    assert torch.equal(told[0], expected[0])
    assert torch.equal(told[2], expected[2])
    assert (told[1], *told[3:]) == (expected[1], *expected[3:])


def test_seeds_of_a_gpu_that_was_never_started_are_not_noted() -> None:
    import torch

    from viscy_compat.workers.program.values import set_seed

    if torch.cuda.is_initialized():
        pytest.skip("a GPU was started by another test, and is seeded too")
    tracker = torch.cuda._lazy_seed_tracker
    before = tracker.get_calls()
    set_seed(1)
    assert tracker.get_calls() == before

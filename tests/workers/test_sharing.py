"""Copies that share memory are copies: what is written on one side is never seen on the other."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.torch


def small_model() -> Any:
    """Convolution, norm with buffers, a tied pair, a buffer that a further one lies on, and an integer."""
    import torch
    from torch import nn

    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.norm, self.last = nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 4)
            self.extra = {"sizes": [1, 2], "again": self.first}
            self.register_buffer("steps", torch.arange(3))
            self.empty, self.none = nn.Sequential(), None
            self.register_parameter("absent", None)

        def forward(self, x: Any) -> Any:
            return self.last(self.norm(self.first(x)).mean((2, 3)))

    torch.manual_seed(0)
    return Small()


def bytes_of(module: Any) -> dict[str, bytes]:
    return {name: tensor.detach().numpy().tobytes() for name, tensor in module.state_dict().items()}


@pytest.fixture(params=["shared", "copied"])
def model(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A model where torch shares memory, and where it has no way to do so."""
    import torch

    if request.param == "copied":
        monkeypatch.delattr(torch, "_lazy_clone")
        monkeypatch.delattr(torch._C, "_storage_Use_Count")
    return small_model()


def other_state(own: dict[str, Any]) -> dict[str, Any]:
    """A state dict with other numbers; integers are the model's own, as filled ones are."""
    import torch

    return {name: torch.full_like(row, 0.5) if row.is_floating_point() else row for name, row in own.items()}


class TestTwin:
    def test_it_is_what_a_deep_copy_is(self, model: Any) -> None:
        from viscy_compat.workers.program.sharing import twin_of

        model.eval()
        model.last.weight.requires_grad_(requires_grad=False)
        twin, expected = twin_of(model), copy.deepcopy(model)
        assert bytes_of(twin) == bytes_of(expected)
        assert [(name, type(row)) for name, row in twin.named_modules()] == [
            (name, type(row)) for name, row in expected.named_modules()
        ]
        assert [list(vars(row)) for row in twin.modules()] == [list(vars(row)) for row in expected.modules()]
        assert [row.requires_grad for row in twin.parameters()] == [row.requires_grad for row in expected.parameters()]
        assert (twin.training, twin.norm.training) == (False, False)
        # what a module holds outside its children is copied with them, and is the same object there
        assert twin.extra["again"] is twin.first
        assert twin.empty is not model.empty
        assert (twin.absent, twin.none) == (None, None)
        assert twin.extra["sizes"] == [1, 2]
        assert twin.extra["sizes"] is not model.extra["sizes"]

    def test_what_is_written_on_one_side_is_not_seen_on_the_other(self, model: Any) -> None:
        import torch

        from viscy_compat.workers.program.sharing import twin_of

        before, twin = bytes_of(model), twin_of(model)
        with torch.no_grad():
            twin.first.weight.add_(1)
            twin.first.bias.data[0] = 7
            twin.norm.weight.numpy()[:] = 3
            twin(torch.ones(2, 2, 4, 4))
            twin.steps += 1
        assert bytes_of(model) == before
        changed, again = bytes_of(twin), twin_of(model)
        with torch.no_grad():
            for tensor in model.state_dict().values():
                tensor.zero_()
        assert (bytes_of(twin), bytes_of(again)) == (changed, before)
        twin.register_forward_hook(lambda *_: None)
        assert not model._forward_hooks

    def test_tensors_that_share_their_memory_go_on_doing_so(self, model: Any) -> None:
        import torch

        from viscy_compat.workers.program.sharing import twin_of

        model.first.bias = model.last.bias
        model.register_buffer("whole", torch.zeros(6))
        model.register_buffer("part", model.whole[2:4])
        twin = twin_of(model)
        assert twin.first.bias is twin.last.bias
        twin.whole.fill_(1)
        assert twin.part.tolist() == [1, 1]
        assert model.part.tolist() == [0, 0]

    def test_a_class_that_says_how_it_is_copied_is_asked(self) -> None:
        from torch import nn

        from viscy_compat.workers.program.sharing import twin_of

        class Own(nn.Linear):
            def __deepcopy__(self, memo: Any) -> Any:
                return nn.Linear(1, 1)

        assert twin_of(nn.Sequential(Own(2, 2)))[0].in_features == 1


class TestPlace:
    def test_the_model_has_the_other_bytes_and_writes_none_of_them(self) -> None:
        import torch

        from viscy_compat.workers.program.sharing import place

        model = small_model()
        own, weight = model.state_dict(), model.first.weight
        state = other_state(own)
        expected = small_model()
        expected.load_state_dict(state)
        assert place(model, own, state)
        assert bytes_of(model) == bytes_of(expected)
        assert model.first.weight is weight
        with torch.no_grad():
            model.train()(torch.ones(2, 2, 4, 4))
            model.first.weight.add_(1)
        assert bool((model.norm.running_mean != 0.5).all())
        assert all(bool((row == 0.5).all()) for row in state.values() if row.is_floating_point())

    @pytest.mark.parametrize(
        "change",
        [
            lambda model: setattr(model.first, "bias", model.last.bias),
            lambda model: setattr(model, "aside", model.last.weight.t()),
            lambda model: setattr(model, "aside", [model.last.weight.detach()]),
            lambda model: model.register_load_state_dict_pre_hook(lambda *_: None),
            lambda model: model.register_load_state_dict_post_hook(lambda *_: None),
            lambda model: setattr(type(model), "load_state_dict", lambda self, state, strict: None),
            lambda model: setattr(type(model), "_load_from_state_dict", lambda self, *_: None),
            lambda model: setattr(model, "last", model.last.double()),
            lambda model: setattr(model.first.weight, "data", model.first.weight.data.transpose(2, 3)),
        ],
        ids=["tied", "viewed", "listed", "pre-hook", "post-hook", "own load", "own part", "dtype", "strides"],
    )
    def test_what_a_load_does_otherwise_than_by_copying_is_left_to_it(self, change: Callable[[Any], None]) -> None:
        from viscy_compat.workers.program.sharing import place

        model = small_model()
        change(model)
        own, before = model.state_dict(), bytes_of(model)
        usual = other_state(small_model().state_dict())
        state = {name: row if row.is_floating_point() else own[name] for name, row in usual.items()}
        assert not place(model, own, state)
        assert bytes_of(model) == before

    @pytest.mark.parametrize("missing", ["first.weight", "steps"])
    def test_other_names_are_left_to_a_strict_load(self, missing: str) -> None:
        from viscy_compat.workers.program.sharing import place

        model = small_model()
        own = model.state_dict()
        state = other_state(own)
        assert not place(model, own, {**state, "more": state["first.weight"]})
        del state[missing]
        assert not place(model, own, state)

    def test_nothing_is_placed_where_torch_cannot_tell_who_shares(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import torch

        from viscy_compat.workers.program.sharing import place

        monkeypatch.delattr(torch._C, "_storage_Use_Count")
        model = small_model()
        own = model.state_dict()
        assert not place(model, own, other_state(own))


def test_a_digest_leaves_shared_memory_shared() -> None:
    import torch

    from viscy_compat.workers.program.digests import digest_of, head_of
    from viscy_compat.workers.program.sharing import shared_copy

    tensor = torch.arange(300_001, dtype=torch.float32)
    copied = shared_copy(tensor)
    assert digest_of(copied) == hashlib.sha256(tensor.clone().numpy().tobytes()).hexdigest()
    assert head_of(copied.view(torch.uint8))[0] == 4 * 300_001
    is_shared = vars(torch._C)["_is_cow_tensor"]
    assert is_shared(copied)
    assert not is_shared(copied.clone())


def test_another_input_of_a_filled_model_finds_its_weights_as_they_were_filled() -> None:
    """Passes, other weights and gradients in between change nothing of it."""
    import torch

    from viscy_compat.workers.program.backbones import BackboneMemory
    from viscy_compat.workers.program.models import BuiltModel
    from viscy_compat.workers.program.session import Session

    class Careless(torch.nn.Linear):
        def forward(self, x: Any) -> Any:
            with torch.no_grad():
                self.weight.add_(1)
            return super().forward(x)

    for kind in (torch.nn.Linear, Careless):
        model = BuiltModel(torch.nn.Sequential(kind(3, 4), torch.nn.BatchNorm1d(4)), 0.0, {})
        fresh = BuiltModel(torch.nn.Sequential(kind(3, 4), torch.nn.BatchNorm1d(4)), 0.0, {})
        memory = BackboneMemory()

        def ask(model: BuiltModel, *report: str, **more: Any) -> Any:
            request = {"report": [*report], "input": [5, 3], **more}
            answer = Session(request, model, memory).answer()  # noqa: B023
            return {name: answer[name] for name in report}

        expected = ask(fresh, "eval", "train")
        assert ask(model, "eval", "train") == expected
        assert "filled" in model.initial_facts
        assert ask(model, "train", "eval") == expected
        layout = [[name, [*row.shape], "float32"] for name, row in model.module.state_dict().items()]
        layout[-1][2] = "int64"
        assert ask(model, "eval", "gradients", load=layout)["eval"] == expected["eval"]
        assert "filled" not in model.initial_facts
        assert ask(model, "eval", "train") == expected

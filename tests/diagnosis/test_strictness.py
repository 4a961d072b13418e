"""`check` and torch agree: `compatible` exactly where the migrated class loads the file strictly, the wrapper taken off."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

import viscy_compat
from viscy_compat.diagnosis import CheckResult
from viscy_compat.layout import unfold

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

State = dict[str, Any]
Change = Callable[[State], object]


def unet() -> Any:
    """A model with batch norms at several depths."""
    from viscy_models.unet import Unet2d

    return Unet2d(in_channels=1, out_channels=2, num_blocks=1, num_block_layers=1, num_filters=(2, 3))


def vae() -> Any:
    """A model whose class has itself a child called ``model``."""
    from viscy_models import BetaVaeMonai

    return BetaVaeMonai(
        spatial_dims=2, in_shape=(1, 8, 8), out_channels=1, latent_size=2, channels=(2, 3), strides=(2, 2), norm="batch"
    )


MODELS = {"Unet2d": unet, "BetaVaeMonai": vae}


def counters(state: State) -> list[str]:
    return [name for name in state if name.endswith("num_batches_tracked")]


def weights(state: State) -> list[str]:
    return [name for name in state if name.endswith(("conv.weight", "Conv2d_0.weight"))]


def without(names: Callable[[State], list[str]]) -> Change:
    return lambda state: [state.pop(name) for name in names(state)]


def reshaped(state: State) -> None:
    name = weights(state)[1]
    state[name] = torch.zeros(*state[name].shape, 1)


COUNTERS: dict[str, Change] = {
    "all counters": lambda state: None,
    "no counter": without(counters),
    "one counter less": without(lambda state: counters(state)[1:2]),
}
VERSIONS: dict[str, Callable[[State], State]] = {
    "with versions": lambda state: state,
    "without versions": dict,
    "with old versions": lambda state: versioned(state, 1),
}
ENTRIES: dict[str, Change] = {
    "tensors alone": lambda state: None,
    "an epoch": lambda state: state.update(epoch=3),
    "a score": lambda state: state.update(best_acc=0.5),
    "a text": lambda state: state.update(note="x"),
    "nothing": lambda state: state.update(ema=None),
    "extra state in bytes": lambda state: state.update({f"{first_module(state)}._extra_state": b"\x00\xff"}),
    "extra state in a dict": lambda state: state.update({f"{first_module(state)}._extra_state": {"scale": 2.0}}),
    "a loss buffer": lambda state: state.update({"loss_function.window": torch.ones(3)}),
    "a wrong shape": reshaped,
    "a missing weight": without(lambda state: weights(state)[:1]),
    "a tensor of the same name outside": lambda state: state.update({"bottom_transition_block.a": torch.ones(1)}),
}


def versioned(state: State, version: int) -> State:
    """The state dict as a torch with older modules had it."""
    metadata = getattr(state, "_metadata", {})
    found: Any = OrderedDict(state)
    found._metadata = OrderedDict((path, {"version": version}) for path in metadata)
    return dict(found)


def first_module(state: State) -> str:
    return next(iter(state)).rpartition(".")[0]


def corpus() -> Iterator[tuple[str, str, Any, State]]:
    """Yield a title, the wrapper prefix, a fresh model, and the state dict of another such model."""
    torch.manual_seed(0)
    for (name, make), prefix in product(MODELS.items(), ("", "model.")):
        for (lacks, lack), (kept, version), (holds, entry) in product(
            COUNTERS.items(), VERSIONS.items(), ENTRIES.items()
        ):
            holder: Any = torch.nn.Module()
            holder.add_module(prefix[:-1], make()) if prefix else None
            state = (holder if prefix else make()).state_dict()
            metadata = state._metadata
            lack(state)
            entry(state)
            state._metadata = metadata
            yield f"{name}, {prefix or 'bare'}, {lacks}, {kept}, {holds}", prefix, make(), version(state)


def strict_loss(model: Any, state: State, prefix: str) -> str:
    """Load with torch's own remover of prefixes; return its complaint, empty where it loads."""
    loaded: Any = OrderedDict(state)
    if hasattr(state, "_metadata"):
        loaded._metadata = OrderedDict(state._metadata)
    torch.nn.modules.utils.consume_prefix_in_state_dict_if_present(loaded, prefix)
    try:
        model.load_state_dict(loaded, strict=True)
    except RuntimeError as error:
        return str(error)
    return ""


@pytest.mark.uncounted
def test_compatible_is_what_loads_strictly_remappable_what_a_remap_makes_load(tmp_path: Path) -> None:
    seen = set()
    for title, prefix, model, state in corpus():
        path, out = tmp_path / "a.pt", tmp_path / "out.pt"
        torch.save(state, path)
        complaint = strict_loss(model, state, prefix)
        result = viscy_compat.check(path).results[0]
        assert isinstance(result, CheckResult)

        assert (result.verdict == "compatible") == (not complaint), (title, result.verdict, complaint)
        seen.add((result.verdict, result.plan is not None))
        if result.verdict == "remappable":
            viscy_compat.remap(path, out, force=True)
            model.load_state_dict(torch.load(out, weights_only=True), strict=True)
        if result.verdict == "incompatible":
            listed = {name for finding in result.findings for key in finding.keys for name in unfold(key)}
            told = " ".join(sorted(listed))
            for name in ("loss_function.window", "bottom_transition_block.a", *(weights(model.state_dict()))[:2]):
                wrong = name in complaint
                assert not wrong or name in told, (title, name, told)
    assert seen == {("compatible", True), ("remappable", True), ("incompatible", False)}


def test_a_half_is_cast_by_torch_in_silence_and_by_a_remap_openly(tmp_path: Path) -> None:
    state = {
        name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in unet().state_dict().items()
    }
    torch.save(state, tmp_path / "a.pt")

    assert not strict_loss(unet(), state, "")
    assert viscy_compat.check(tmp_path / "a.pt").verdict == "remappable"


def test_the_counters_of_a_file_that_lacks_them_are_zero_as_in_torch(tmp_path: Path) -> None:
    state = unet().state_dict()
    kept = {name: tensor for name, tensor in state.items() if name not in counters(state)}
    torch.save(kept, tmp_path / "a.pt")

    found = viscy_compat.load_state_dict(tmp_path / "a.pt")

    model = unet()
    model.load_state_dict(kept, strict=True)
    expected = model.state_dict()
    assert list(found) == list(expected)
    assert all(
        torch.equal(found[name], tensor) and found[name].dtype == tensor.dtype for name, tensor in expected.items()
    )


def test_a_name_inside_and_outside_of_the_prefix_is_refused_with_the_reason(tmp_path: Path) -> None:
    inside = {f"model.{name}": tensor for name, tensor in unet().state_dict().items()}
    torch.save({**inside, "terminal_block.resid_conv.bias": torch.ones(2)}, tmp_path / "a.pt")

    result = viscy_compat.check(tmp_path / "a.pt").results[0]

    assert isinstance(result, CheckResult)
    assert result.verdict == "incompatible"
    reasons = {finding.code: finding for finding in result.findings}
    assert reasons["VC113"].keys == ("terminal_block.resid_conv.bias",)
    assert "stands outside 'model.' too" in reasons["VC113"].message

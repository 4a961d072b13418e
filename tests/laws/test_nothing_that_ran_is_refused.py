"""Random arguments: what the migrated classes refuse never ran, and all else does the same bytes as before.

The parts and the whole 2.5D VAE (on timm's smallest backbones) are built on both sides with arguments that often make
no sense. Allowed is: both do the same bytes, both raise, or the migrated class raises a ValueError in its constructor
where the old one raised elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from support.sides import Answer, Sides, both_sides

pytestmark = [pytest.mark.torch, pytest.mark.index, pytest.mark.usefixtures("warm")]

either = st.booleans()
usual, odd = [(64, 64), (32, 32), (128, 64)], [(31, 64), (64, 16), (65, 95), (96, 97), (-64, -64), (0, 64)]
sizes = st.sampled_from(usual * 3 + odd)
stage = {
    "head_pool": either,
    "upsample_mode": st.sampled_from([*["pixelshuffle"] * 4, *["deconv"] * 4, "nontrainable"]),
    "conv_blocks": st.sampled_from([1, 2, 2, 3, 0, -1]),
    "norm_name": st.sampled_from(["batch", "instance"]),
    "upsample_pre_conv": st.sampled_from([None, None, "default"]),
}
stem = {
    "in_stack_depth": st.sampled_from([4, 5, 8, 9, 10, 12, 15, 16, 3, 1, 0]),
    "stem_kernel_size": st.sampled_from([(5, 4, 4), (2, 4, 4), (1, 2, 2), (3, 4, 2)]),
    "stem_stride": st.sampled_from([(5, 4, 4), (2, 4, 4), (1, 2, 2), (3, 4, 4), (2, 2, 2)]),
}
DRAWN: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "StemDepthtoChannels": {"in_channels": st.just(1), "in_channels_encoder": st.integers(1, 24), **stem},
    "UNeXt2Stem": {
        "in_channels": st.just(1),
        "out_channels": st.integers(1, 24),
        "kernel_size": stem["stem_kernel_size"],
        "in_stack_depth": st.integers(0, 17),
    },
    "PixelToVoxelHead": {
        "in_channels": st.sampled_from([8, 12, 20, 40, 72]),
        "out_channels": st.sampled_from([1, 2, 2, 0]),
        "out_stack_depth": st.sampled_from([0, 1, 2, 3, -1]),
        "expansion_ratio": st.sampled_from([1, 2, 2, 0]),
        "pool": either,
    },
    "VaeDecoder": {
        "decoder_channels": st.lists(st.sampled_from([24, 48]), min_size=1, max_size=3),
        "latent_dim": st.integers(1, 20),
        "out_channels": st.integers(1, 2),
        "out_stack_depth": st.integers(0, 2),
        "head_expansion_ratio": st.integers(1, 2),
        "strides": st.lists(st.sampled_from([1, 2]), min_size=1, max_size=4),
        "encoder_spatial_size": st.sampled_from([1, 2, 3, 4, 0, -1, -2]),
        **stage,
    },
    "VaeEncoder": {
        "backbone": st.sampled_from(["test_resnet", "test_convnext", "test_vit"]),
        "in_channels": st.just(1),
        "latent_dim": st.integers(1, 20),
        "input_spatial_size": sizes,
        **stem,
        "pretrained": st.just(False),
    },
    "BetaVae25D": {
        "backbone": st.sampled_from(["test_resnet", "test_convnext"]),
        "in_channels": st.just(1),
        "in_stack_depth": st.sampled_from([4, 8, 9]),
        "out_stack_depth": st.integers(0, 3),
        "latent_dim": st.sampled_from([40, 8, 5, 4, 3]),
        "input_spatial_size": sizes,
        "decoder_stages": st.integers(-1, 4),
        "head_expansion_ratio": st.sampled_from([1, 2, 3, 0]),
        **stage,
    },
}
EXAMPLES = {"VaeDecoder": 240, "VaeEncoder": 120, "BetaVae25D": 100}


@pytest.fixture(scope="module")
def sides() -> Iterator[Sides]:
    with both_sides() as started:
        yield started


def input_of(name: str, config: dict[str, Any]) -> tuple[int, ...]:
    """The input that the arguments ask for, as far as they make sense."""
    depth = max(1, config.get("in_stack_depth", 1))
    if name == "VaeDecoder":
        return (2, config["latent_dim"])
    if name == "PixelToVoxelHead":
        return (2, config["in_channels"], 3, 2)
    height, width = config.get("input_spatial_size", (8, 12))
    return (2, 1, depth, abs(height) or 64, abs(width) or 64)


def raised(answer: Answer) -> tuple[str, str] | None:
    """Where a side raised, and what."""
    error = answer.get("error") or answer["eval"].get("error")
    return (error["stage"], error["type"]) if error else None


@pytest.mark.parametrize(("name", "examples"), [(name, EXAMPLES.get(name, 200)) for name in DRAWN])
def test_what_ran_does_the_same_and_what_is_refused_never_ran(sides: Sides, name: str, examples: int) -> None:
    ran = []

    @settings(max_examples=examples, phases=[Phase.generate, Phase.shrink])
    @given(config=st.fixed_dictionaries(DRAWN[name]))
    def law(config: dict[str, Any]) -> None:
        asked = ["layout", "initial", "eval"]
        old, new = sides.run(name, config, input=input_of(name, config), report=asked)
        if raised(new) is None:
            assert raised(old) is None
            assert {**new, "seconds": 0} == {**old, "seconds": 0}
            ran.append(config)
        else:
            assert raised(old) is not None
            assert raised(new) in {raised(old), ("build", "ValueError")}

    law()
    assert len(ran) >= 5

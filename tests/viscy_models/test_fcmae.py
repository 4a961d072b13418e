"""The mask of the masked autoencoder: the same one as the old class draws, and nothing leaks through it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from support.sides import Sides
from viscy_models import FullyConvolutionalMAE
from viscy_models.unet.fcmae import generate_mask, masked_patchify, masked_unpatchify, upsample_mask

pytestmark = pytest.mark.torch

SMALL: dict[str, Any] = {"in_channels": 2, "out_channels": 1, "encoder_blocks": (1, 2), "dims": (8, 16)}
SIDES = st.integers(1, 5)


@pytest.mark.index
@pytest.mark.parametrize("ratio", [0.25, 0.5, 0.9])
@pytest.mark.parametrize(
    ("config", "shape"),
    [
        (SMALL, (2, 2, 5, 32, 48)),
        ({**SMALL, "head_conv": True, "encoder_drop_path_rate": 0.5}, (3, 2, 5, 24, 24)),
        ({**SMALL, "stem_kernel_size": (1, 2, 2), "in_stack_depth": 1}, (2, 2, 1, 16, 24)),
    ],
    ids=["stacks", "convolved-head", "slices"],
)
def test_one_generator_gives_both_classes_the_same_mask_outputs_and_gradients(
    sides: Sides, config: dict[str, Any], shape: tuple[int, ...], ratio: float
) -> None:
    report = ["eval", "train", "gradients"]
    old, new = sides.run("FullyConvolutionalMAE", config, input=shape, report=report, arguments={"mask_ratio": ratio})
    for mode in ("eval", "train"):
        assert new[mode] == old[mode]
        assert [row["name"] for row in old[mode]["outputs"]] == ["0", "1"]
        assert old[mode]["outputs"][1]["dtype"] == "bool"
    assert new["gradients"] == old["gradients"]


@given(rows=SIDES, columns=SIDES, batch=st.integers(1, 3), ratio=st.floats(0, 1), stride=st.integers(1, 8))
def test_every_sample_has_as_many_masked_patches_as_the_ratio_says(
    rows: int, columns: int, batch: int, ratio: float, stride: int
) -> None:
    mask = generate_mask((batch, 1, 1, rows * stride, columns * stride), stride, ratio, "cpu")
    assert mask.shape == (batch, 1, rows, columns)
    assert mask.flatten(1).sum(1).tolist() == [int(rows * columns * ratio)] * batch


@given(rows=SIDES, columns=SIDES, factor=st.integers(1, 3))
def test_an_enlarged_mask_repeats_its_pixels(rows: int, columns: int, factor: int) -> None:
    mask = torch.rand(2, 1, rows, columns) < 0.5
    large = upsample_mask(mask, (2, 1, rows * factor, columns * factor))
    assert torch.equal(large[..., ::factor, ::factor], mask)
    assert large.sum() == mask.sum() * factor**2


def test_a_mask_is_not_stretched_to_sides_that_it_does_not_divide() -> None:
    with pytest.raises(ValueError, match=r"\(1, 1, 2, 2\) cannot be enlarged to \(1, 1, 4, 5\): feed sides"):
        upsample_mask(torch.zeros(1, 1, 2, 2, dtype=torch.bool), (1, 1, 4, 5))


@pytest.mark.parametrize("masked", [False, True])
def test_pixels_that_are_listed_and_put_back_are_where_they_were(masked: bool) -> None:
    x = torch.randn(2, 3, 4, 4)
    unmasked = ~generate_mask(x.shape, 1, 0.5, "cpu") if masked else None
    listed = masked_patchify(x, unmasked)
    assert listed.shape == (2, 8 if masked else 16, 3)
    assert torch.equal(masked_unpatchify(listed, x.shape, unmasked), x if unmasked is None else x * unmasked)


def test_what_is_masked_has_no_influence() -> None:
    model = FullyConvolutionalMAE(**SMALL).eval()
    x = torch.randn(1, 2, 5, 32, 32)
    torch.manual_seed(0)
    before, mask = model(x, mask_ratio=0.5)
    torch.manual_seed(0)
    after, same = model(torch.where(mask[:, :, None], 100.0, x), mask_ratio=0.5)
    assert torch.equal(mask, same)
    assert torch.equal(before, after)
    assert mask.float().mean() == 0.5


def test_without_pretraining_the_output_comes_alone() -> None:
    assert FullyConvolutionalMAE(**SMALL, pretraining=False)(torch.zeros(1, 2, 5, 16, 16)).shape == (1, 1, 5, 16, 16)
    output, mask = FullyConvolutionalMAE(**SMALL)(torch.zeros(1, 2, 5, 16, 16))
    assert output.shape == (1, 1, 5, 16, 16)
    assert mask is None

"""Upstream's U-Nets for volumes: what weights leave open, the first states, and what cannot be built."""

from __future__ import annotations

from typing import Any

import pytest

from viscy_compat.architectures import find, volume_unet
from viscy_compat.architectures.architecture import complete
from viscy_compat.architectures.asking import ask
from viscy_compat.architectures.inference import Inference, identify
from viscy_compat.errors import Unbuildable
from viscy_compat.operations import Rename, sources_of, targets_of

VITS = ("UNetViT3D", "CELLDiffNet")
SMALL: dict[str, Any] = dict(find("UNetViT3D").cases[0].config)


def seen(name: str, config: dict[str, Any], generation: int = -1, stated: dict[str, Any] | None = None) -> Inference:
    """What is told of the layout that one state of a class has."""
    architecture = find(name)
    found = identify(architecture.generations[generation].layout(complete(architecture, config)), stated or {})
    assert found
    assert found.architecture.name == name
    return found


def test_the_numbers_of_the_recipes_are_counted_right() -> None:
    layout = find("UNetViT3D").layout(complete(find("UNetViT3D"), {}))
    assert layout["bottleneck.img_pos_embed"].shape == (1, 2 * 32 * 32, 512)
    assert layout["bottleneck.proj_out.linear.weight"].shape == (64 * 128, 512)
    assert layout["bottleneck.blocks.1.ff.net.0.proj.weight"].shape == (4096, 512)
    assert "_time_embedder.freqs" in find("CELLDiffNet").layout(complete(find("CELLDiffNet"), {}))
    fnet = find("Unet3d").layout(complete(find("Unet3d"), {}))
    assert fnet["bottleneck.block.block2.proj.weight"].shape == (512, 512, 3, 3, 3)
    assert fnet["_upsamples.0.weight"].shape == (512, 256, 3, 3, 3)


@pytest.mark.parametrize("name", VITS)
def test_the_size_of_the_input_and_the_heads_are_open_until_they_are_stated(name: str) -> None:
    rows = {row.name: row for row in seen(name, SMALL).undetermined}
    assert {name for name, row in rows.items() if row.changes_predictions} == {"input_spatial_size", "num_heads"}
    assert {"num_heads": 2, "dim_head": 8} in rows["num_heads"].candidates
    assert {"input_spatial_size": (4, 16, 16)} in rows["input_spatial_size"].candidates
    stated = {"input_spatial_size": (4, 16, 16), "num_heads": 2}
    told = seen(name, SMALL, stated=stated)
    assert (told.config["dim_head"], told.config["input_spatial_size"], told.contradictions) == (8, (4, 16, 16), ())
    wrong = seen(name, SMALL, stated={"num_heads": 3})
    assert wrong.contradictions


@pytest.mark.parametrize("name", VITS)
@pytest.mark.parametrize("case", [0, 1, 2])
def test_the_first_state_of_the_branch_only_had_other_names(name: str, case: int) -> None:
    architecture, config = find(name), dict(find(name).cases[case].config)
    inference = seen(name, config, 0)
    assert inference.generation.name == "v0.5a"
    old, today = (state.layout(complete(architecture, config)) for state in architecture.generations)
    rows = inference.generation.to_today(old)  # type: ignore[misc]
    assert [source for row in rows for source in sources_of(row)] == list(old)
    assert {targets_of(row)[0]: old[sources_of(row)[0]] for row in rows} == today


def test_levels_and_blocks_of_the_first_state_are_told_apart_by_their_digits() -> None:
    config = {**SMALL, "dims": (8, 16, 24), "num_res_block": (1, 12), "input_spatial_size": (4, 32, 32)}
    to_today = seen("UNetViT3D", config, 0).generation.to_today
    assert to_today is not None
    rows = to_today(find("UNetViT3D").generations[0].layout(complete(find("UNetViT3D"), config)))
    moved = {row.source: row.target for row in rows if isinstance(row, Rename)}
    assert moved["downs.111.block1.proj.weight"] == "_encoder_blocks.1.11.block1.proj.weight"
    assert moved["ups.111.block1.proj.weight"] == "_decoder_blocks.0.11.block1.proj.weight"
    assert moved["ups.up0.bias"] == "_upsamples.1.bias"


def test_the_first_fnet_is_known_and_has_no_way_across() -> None:
    found = seen("Unet3d", {"depth": 2, "mult_chan": 4, "in_channels": 2}, 0)
    assert (found.generation.name, found.config["depth"], found.config["in_channels"]) == ("v0.5a", 2, 2)
    assert found.generation.is_stranded(found.config)
    layout = found.generation.layout(found.config)
    assert set(found.generation.unmade(layout, find("Unet3d").layout(found.config))) == {
        *find("Unet3d").layout(found.config)
    }


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"hidden_size": 24}, "multiple of 16"),
        ({"dims": (12, 16)}, "8 groups"),
        ({"dims": (8, 16, 24)}, "one width more than levels"),
        ({"input_spatial_size": (4, 18, 16)}, "patches of 4 do not divide"),
        ({"input_spatial_size": (4, 15, 16)}, "must be multiples of 2"),
        ({"patch_size": 3}, "patches of 3"),
    ],
)
def test_what_the_constructors_refuse_is_not_built(config: dict[str, Any], why: str) -> None:
    with pytest.raises(Unbuildable, match=why):
        find("UNetViT3D").footprint(complete(find("UNetViT3D"), {**SMALL, **config}))


def test_questions_are_answered_by_the_shape_rules() -> None:
    assert ask(find("Unet3d"), {"depth": 2}, (1, 1, 8, 16, 20)).outcome.outputs == {"output": (1, 1, 8, 16, 20)}
    assert "multiples of 4" in ask(find("Unet3d"), {"depth": 2}, (1, 1, 6, 16, 16)).outcome.why
    assert not ask(find("Unet3d"), {"depth": 2}, (1, 1, 4, 4, 4)).outcome.trains
    exact = ask(find("CELLDiffNet"), SMALL)
    assert exact.outcome.exact
    assert find("CELLDiffNet").companions(exact.input) == {"cond": (2, 1, 4, 16, 16), "t": (2,)}
    assert "asks for 4 x 16 x 16" in ask(find("UNetViT3D"), SMALL, (1, 1, 4, 16, 32)).outcome.why


def test_what_only_a_damaged_file_shows_is_not_divided() -> None:
    assert volume_unet._heads(96 * 64)[0] == (96, 64)
    assert volume_unet._heads(10**18) == [(1, 10**18)]
    assert volume_unet._sizes(10**18, 2, 3) == [(2, 16, 16 * 10**18)]
    assert volume_unet._sizes(8 * 9, 1, 3)[0] == (8, 24, 24)


def test_the_kernels_of_a_depth_are_those_whose_slabs_share_out_the_channels() -> None:
    (kernel,) = (argument for argument in find("UNeXt2").arguments if argument.name == "stem_kernel_size")

    def deep(depth: int) -> tuple[int, ...]:
        domain: Any = kernel.values({"in_stack_depth": depth, "backbone": "convnextv2_tiny"})
        return tuple(domain.domains[0].values)

    for depth in (1, 5, 21, 96, 500):
        assert deep(depth) == tuple(k for k in range(1, depth + 1) if depth % k == 0 and 96 % (depth // k) == 0)
    # no depth that a damaged file may show takes longer
    assert deep(10**18) == tuple(10**18 // slabs for slabs in (32, 16, 8, 4, 2, 1))

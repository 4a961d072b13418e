"""Any part of any class is called a part of it, whether or not it kept the model's name for it."""

from __future__ import annotations

import pytest

from viscy_compat.architectures import class_names, find
from viscy_compat.architectures.architecture import complete
from viscy_compat.architectures.parts import beginnings, wholes_of


def names_of(class_name: str) -> list[str]:
    architecture = find(class_name)
    generation = architecture.generations[-1]
    case = (generation.cases or architecture.cases)[0]
    return list(generation.layout(complete(architecture, case.config)))


@pytest.mark.parametrize("class_name", class_names())
def test_a_part_of_each_class_is_one_of_it(class_name: str) -> None:
    names = names_of(class_name)
    for top in {name.partition(".")[0] for name in names}:
        part = [name for name in names if name.startswith(f"{top}.")]
        if not 4 <= len(part) < len(names):
            continue
        whole = next(whole for whole in wholes_of(part) if whole.class_name == class_name)
        assert whole.prefix == ""
        assert f"{top}.*" not in beginnings(whole.missing, part)
        inner = [name.removeprefix(f"{top}.") for name in part]
        # of blocks that are built alike nobody can say which one it was
        alike = [other for other in names if other.endswith(f".{inner[0]}") and other.count(".") == part[0].count(".")]
        found = [(whole.class_name, whole.prefix) for whole in wholes_of(inner)]
        assert len(alike) > 1 or (class_name, f"{top}.") in found
        assert all(prefix == f"{top}." for name, prefix in found if name == class_name)


def test_of_blocks_that_are_alike_nobody_says_which_one_it_was() -> None:
    names = [name for name in names_of("Unet2d") if name.startswith("down_conv_block_1.")]
    assert [whole.prefix for whole in wholes_of(names)] == [""]
    assert wholes_of([name.removeprefix("down_conv_block_1.") for name in names]) == []


def test_the_whole_lacks_nothing_and_a_class_can_be_stated() -> None:
    names = names_of("Unet2d")
    assert [whole.missing for whole in wholes_of(names, "Unet2d")] == [()]
    assert wholes_of(names, "Unet25d") == []


def test_few_names_or_one_of_nobody_are_a_part_of_nothing() -> None:
    names = [name for name in names_of("Unet2d") if name.startswith("down_conv_block_0.")]
    assert wholes_of(names[:3]) == []
    assert wholes_of([*names[:4], "mine.weight"]) == []
    # the norms are called alike in both, and both are named
    assert {whole.class_name for whole in wholes_of(names[:4])} == {"Unet2d", "Unet25d"}


@pytest.mark.parametrize("class_name", class_names())
def test_no_class_is_too_large_for_its_parts_to_be_found(class_name: str) -> None:
    whole = names_of(class_name)
    assert [found.class_name for found in wholes_of(whole[1:], class_name)] == [class_name]
    assert len(whole) < 1_000
    assert wholes_of([*whole, *map(str, range(1_000))], class_name) == []

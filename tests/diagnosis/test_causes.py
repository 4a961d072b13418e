"""What findings say of one tensor is said of one: no "1 tensors are"."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.layouts import hollow, layout_of
from viscy_compat.architectures import find
from viscy_compat.diagnosis import diagnose
from viscy_compat.layout import Layout, TensorSpec

CONFIG = dict(find("BetaVaeMonai").cases[0].config)
WHOLE: Layout = dict(layout_of("BetaVaeMonai", **CONFIG))
FIRST, SECOND = list(WHOLE)[:2]


def first_as(dtype: str) -> Layout:
    return {**WHOLE, FIRST: WHOLE[FIRST]._replace(dtype=dtype)}


def without(*names: str) -> Layout:
    return {name: spec for name, spec in WHOLE.items() if name not in names}


def below(prefix: str, *beside: str) -> Layout:
    inside = {prefix + name: spec for name, spec in WHOLE.items()}
    return {**inside, **dict.fromkeys(beside, TensorSpec((3,)))}


ONE_AND_TWO: dict[str, tuple[tuple[Layout, str], tuple[Layout, str]]] = {
    "VC101": (
        (without("model.mu.bias"), ": 1 tensor is missing"),
        (without("model.mu.bias", "model.logvar.bias"), ": 2 tensors are missing"),
    ),
    "VC106": (
        (
            below("model.", "a.w"),
            "1 tensor (12 bytes) stands outside 'model.', where the model is; a remap leaves it out",
        ),
        (
            below("model.", "a.w", "b.w"),
            "2 tensors (24 bytes) stand outside 'model.', where the model is; a remap leaves them out",
        ),
    ),
    "VC202": (
        (first_as("float16"), "1 tensor is float16; float32"),
        (
            {**first_as("float16"), SECOND: WHOLE[SECOND]._replace(dtype="float16")},
            "2 tensors are float16; float32",
        ),
    ),
    "VC203": (
        (first_as("float64"), "1 tensor is float64, and there is no exact way to float32"),
        (
            {**first_as("float64"), SECOND: WHOLE[SECOND]._replace(dtype="float64")},
            "2 tensors are float64, and there is no exact way to float32",
        ),
    ),
}


@pytest.mark.parametrize("code", ONE_AND_TWO)
def test_one_tensor_is_spoken_of_in_the_singular(code: str, tmp_path: Path) -> None:
    for index, (layout, words) in enumerate(ONE_AND_TWO[code]):
        result = diagnose(str(hollow(tmp_path / f"{index}.safetensors", layout))).result
        assert [words in finding.message for finding in result.findings if finding.code == code] == [True]

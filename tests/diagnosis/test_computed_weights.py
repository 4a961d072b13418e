"""A class whose weights are computed out of others is known by what they would be once they are baked."""

from __future__ import annotations

import pytest

from viscy_compat.architectures import find
from viscy_compat.architectures.architecture import complete
from viscy_compat.checkpoint.facts import Checkpoint, FileFacts, Storage, StoredTensor
from viscy_compat.checkpoint.wrapper import views_of
from viscy_compat.diagnosis.computed_weights import recognise_baked
from viscy_compat.layout import Layout, TensorSpec

FILE = FileFacts("a.pt", size=8, device=0, inode=0, modified_ns=0)


def holding(layout: Layout) -> Checkpoint:
    tensors = {
        key: StoredTensor(key, spec, Storage(key, FILE, start=0, size=8), stride=(1,) * len(spec.shape))
        for key, spec in layout.items()
    }
    return Checkpoint(path="a.pt", format="torch-zip", files=(FILE,), tensors=tensors)


def adapted(prefix: str) -> Layout:
    """The layout of a class behind a prefix, with an adapter on its first convolution, as PEFT calls the parts."""
    architecture = find("Unet2d")
    plain = architecture.layout(complete(architecture, architecture.cases[0].config))
    weight, *_ = (name for name, spec in plain.items() if len(spec.shape) == 4)
    module = weight.removesuffix(".weight")
    layout = {prefix + name.replace(f"{module}.", f"{module}.base_layer.", 1): spec for name, spec in plain.items()}
    outputs, inputs, *window = plain[weight].shape
    layout[f"{prefix}{module}.lora_A.default.weight"] = TensorSpec((2, inputs, *window))
    layout[f"{prefix}{module}.lora_B.default.weight"] = TensorSpec((outputs, 2, 1, 1))
    return layout


@pytest.mark.parametrize("prefix", ["base_model.model.", "_forward_module.base_model.module.model."])
def test_what_peft_adapted_is_its_class_whatever_wraps_it(prefix: str) -> None:
    checkpoint = holding(adapted(prefix))
    baked = recognise_baked(checkpoint, views_of(checkpoint), "")
    assert baked is not None
    assert baked.inference.architecture.name == "Unet2d"
    assert [part.kind.name for part in baked.parts] == ["LoRA"]


def test_without_the_name_of_peft_nothing_is_taken_off() -> None:
    checkpoint = holding(adapted("base_models.model."))
    assert recognise_baked(checkpoint, views_of(checkpoint), "") is None

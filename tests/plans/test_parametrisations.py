"""Tensors that compute are known for what they are, and the call that is named bakes them; real torch makes the files.

PEFT, bitsandbytes and the like are not installed: their names are written by hand, as their state dicts have them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from viscy_compat.layout import Layout, TensorSpec
from viscy_compat.plans.parametrisations import bake, find_parametrisations, find_slopes

torch = pytest.importorskip("torch")
prune = pytest.importorskip("torch.nn.utils.prune")

pytestmark = pytest.mark.torch


def specs(model: Any) -> Layout:
    state = model.state_dict()
    return {name: TensorSpec(tuple(tensor.shape), str(tensor.dtype)[6:]) for name, tensor in state.items()}


def network() -> Any:
    nn = torch.nn
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.Sequential(nn.Linear(8, 8), nn.LSTM(8, 8)), nn.Conv2d(8, 8, 1)
    )


PARAMETRIZATIONS = torch.nn.utils.parametrizations
OLD = torch.nn.utils
REAL: Mapping[str, tuple[str, Callable[[Any], object]]] = {
    "weight_norm": ("weight_norm", lambda model: OLD.weight_norm(model[0])),
    "weight_norm over all": ("weight_norm", lambda model: OLD.weight_norm(model[0], dim=None)),
    "weight_norm over another axis": ("weight_norm", lambda model: OLD.weight_norm(model[1][0], dim=1)),
    "weight_norm of an LSTM": ("weight_norm", lambda model: OLD.weight_norm(model[1][1], "weight_ih_l0")),
    "new weight_norm": ("weight_norm", lambda model: PARAMETRIZATIONS.weight_norm(model[0])),
    "new weight_norm over all": ("weight_norm", lambda model: PARAMETRIZATIONS.weight_norm(model[0], dim=None)),
    "spectral_norm": ("spectral_norm", lambda model: OLD.spectral_norm(model[0])),
    "new spectral_norm": ("spectral_norm", lambda model: PARAMETRIZATIONS.spectral_norm(model[0])),
    "orthogonal": ("orthogonal", lambda model: PARAMETRIZATIONS.orthogonal(model[1][0])),
    "householder": (
        "a parametrization",
        lambda model: PARAMETRIZATIONS.orthogonal(model[1][0], orthogonal_map="householder", use_trivialization=False),
    ),
    "own": (
        "a parametrization",
        lambda model: OLD.parametrize.register_parametrization(model[1][0], "weight", torch.nn.Softplus()),
    ),
    "pruning": ("pruning", lambda model: prune.l1_unstructured(model[1][0], "weight", amount=0.5)),
    "pruning a bias": ("pruning", lambda model: prune.random_unstructured(model[0], "bias", amount=0.5)),
}


@pytest.mark.parametrize("case", REAL)
@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated", "ignore:`torch.nn.utils.*` is deprecated")
def test_the_call_that_is_named_gives_the_plain_layout_and_the_same_function(case: str) -> None:
    kind, parametrise = REAL[case]
    model = network()
    plain = specs(model)
    parametrise(model)
    model.eval()
    inputs = torch.randn(2, 3, 4, 4)
    before = model[0](inputs), model[1][0](inputs.new_ones(2, 8))
    (part,) = find_parametrisations(specs(model))
    assert part.kind.name == kind
    assert {*bake(specs(model), (part,)).items()} == {*plain.items()}
    exec(part.call, {"torch": torch, "model": model})
    assert {*specs(model).items()} == {*plain.items()}
    after = model[0](inputs), model[1][0](inputs.new_ones(2, 8))
    assert all(torch.allclose(old, new, atol=1e-6) for old, new in zip(before, after, strict=True))


def test_plain_models_have_no_parts() -> None:
    assert not find_parametrisations(specs(network()))
    nn = torch.nn
    assert not find_parametrisations(
        specs(nn.Sequential(nn.BatchNorm2d(3), nn.LayerNorm(3), nn.PReLU(3), nn.Embedding(3, 4)))
    )


@pytest.mark.filterwarnings("ignore")
def test_observers_and_fake_quantisation_are_known() -> None:
    from torch.ao import quantization

    model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1), torch.nn.ReLU())
    model.qconfig = quantization.get_default_qat_qconfig("fbgemm")
    prepared = quantization.prepare_qat(model.train())
    layout = specs(prepared)
    parts = find_parametrisations(layout)
    assert {part.kind.name for part in parts} == {"torch.ao's observers or fake quantisation"}
    assert {*bake(layout, parts)} == {"0.weight", "0.bias"}
    prepared(torch.randn(1, 1, 2, 2))
    converted = quantization.convert(prepared.eval())
    found = {
        name: TensorSpec(tuple(t.shape), str(t.dtype)[6:]) for name, t in converted.state_dict().items() if t.ndim == 0
    }
    assert {part.kind.name for part in find_parametrisations(found)} == {"torch.ao's quantisation"}


FULL, LOW, HIGH, FLAT = TensorSpec((8, 4)), TensorSpec((2, 4)), TensorSpec((8, 2)), TensorSpec((8,))
WRITTEN: Mapping[str, tuple[str, Layout, Layout]] = {
    "LoRA around a layer": (
        "LoRA",
        {
            "a.q.base_layer.weight": FULL,
            "a.q.base_layer.bias": FLAT,
            "a.q.lora_A.default.weight": LOW,
            "a.q.lora_B.default.weight": HIGH,
        },
        {"a.q.weight": FULL, "a.q.bias": FLAT},
    ),
    "DoRA": (
        "LoRA",
        {"q.base_layer.weight": FULL, "q.lora_A.x.weight": LOW, "q.lora_magnitude_vector.x.weight": FLAT},
        {"q.weight": FULL},
    ),
    "an adapter alone": ("LoRA", {"q.lora_A.weight": LOW, "q.lora_B.weight": HIGH}, {}),
    "loralib": ("LoRA of loralib", {"q.weight": FULL, "q.lora_A": LOW, "q.lora_B": HIGH}, {"q.weight": FULL}),
    "IA3": ("a PEFT adapter", {"q.base_layer.weight": FULL, "q.ia3_l.default": FLAT}, {"q.weight": FULL}),
    "LoHa": (
        "a PEFT adapter",
        {"q.base_layer.weight": FULL, "q.hada_w1_a.default": HIGH, "q.hada_w1_b.default": LOW},
        {"q.weight": FULL},
    ),
    "saved copies": (
        "modules_to_save of PEFT",
        {"head.original_module.weight": FULL, "head.modules_to_save.default.weight": FULL},
        {"head.weight": FULL},
    ),
    "bitsandbytes 4 bit": (
        "bitsandbytes",
        {
            "q.weight": TensorSpec((16, 1), "uint8"),
            "q.weight.absmax": FLAT,
            "q.weight.quant_map": TensorSpec((16,)),
            "q.weight.quant_state.bitsandbytes__nf4": TensorSpec((80,), "uint8"),
        },
        {"q.weight": TensorSpec((16, 1), "uint8")},
    ),
    "bitsandbytes 8 bit": (
        "bitsandbytes",
        {"q.weight": TensorSpec((8, 4), "int8"), "q.SCB": FLAT},
        {"q.weight": TensorSpec((8, 4), "int8")},
    ),
    "GPTQ": (
        "packed integers (GPTQ, AWQ, fp8)",
        {f"q.{name}": TensorSpec((4, 8), "int32") for name in ("qweight", "qzeros", "scales", "g_idx")},
        {},
    ),
    "fp8": (
        "packed integers (GPTQ, AWQ, fp8)",
        {"q.weight": TensorSpec((8, 4), "float8_e4m3fn"), "q.weight_scale": TensorSpec(())},
        {"q.weight": TensorSpec((8, 4), "float8_e4m3fn")},
    ),
}


@pytest.mark.parametrize("case", WRITTEN)
def test_what_other_libraries_write_is_known(case: str) -> None:
    kind, layout, plain = WRITTEN[case]
    parts = find_parametrisations(layout)
    assert [part.kind.name for part in parts] == [kind]
    assert bake(layout, parts) == plain


def test_loralib_is_not_told_to_call_what_only_peft_has() -> None:
    """Whether its product is in the weight already depends on the mode at the save, which no file says."""
    (part,) = find_parametrisations(WRITTEN["loralib"][1])
    assert "merge_and_unload" not in part.remedy
    assert "before that if in eval mode" in part.remedy


@pytest.mark.parametrize(
    "layout",
    [
        {"a.weight_g": FLAT, "a.weight_v": FULL},
        {"a.weight_v": FULL, "a.weight_u": FLAT},
        {"a.weight_orig": FULL},
        {"a.weight_orig": FULL, "a.weight_mask": FLAT},
        {"a.scale": FLAT, "a.shift": FLAT},
        {"lora.weight": FULL, "base_layer.weight": FULL},
        {"modules_to_save.weight": FULL},
        {"a.weight.scale": FLAT},
    ],
)
def test_a_likeness_of_names_alone_is_not_enough(layout: Layout) -> None:
    assert not find_parametrisations(layout)


def test_slopes_stand_alone_in_a_module_with_the_name_of_an_activation_or_as_one_number() -> None:
    layout = {
        "a.act.weight": FLAT,
        "a.1.weight": TensorSpec((1,)),
        "a.2.weight": FLAT,
        "a.norm.weight": FLAT,
        "a.prelu.weight": FULL,
        "b.act.weight": FLAT,
        "b.act.bias": FLAT,
    }
    assert [part.module for part in find_slopes(layout)] == ["a.act", "a.1"]


@pytest.mark.parametrize(
    "name",
    [
        *(f"q.{part}.x" for part in ("lora_A", "lora_embedding_B", "lora_magnitude_vector", "lora_E", "lora_ranknum")),
        *(
            f"q.{part}.x"
            for part in ("ia3_l", "hada_w1_a", "hada_t2", "lokr_w1", "lokr_t2", "oft_r", "oft_R", "boft_s")
        ),
        *(f"q.{part}.x" for part in ("vera_lambda_b", "vera_A", "randlora_lambda", "trainable_tokens_delta")),
        *(f"q.{part}" for part in ("adaption_gate", "adaption_prompt", "prompt_embeddings")),
        *(f"q.{part}" for part in ("parametrizations.weight.original", "activation_post_process.scale")),
        *(f"q.{part}" for part in ("weight_fake_quant.fake_quant_enabled", "activation_post_process_1.min_val")),
        *(f"q.{part}" for part in ("weight_scale", "weight_scale_inv", "input_scale", "weight_zero_point", "W_q")),
        *(f"q.weight.{part}" for part in ("absmax", "quant_map", "nested_absmax", "nested_quant_map", "quant_state.x")),
        *("q.SCB", "q.CB"),
    ],
)
def test_one_name_among_plain_ones_is_enough_to_be_found(name: str) -> None:
    """The names of every kind, each alone: a search that passes plain layouts over may pass none of them over."""
    plain = {f"blocks.{place}.conv.weight": FULL for place in range(3)}
    assert find_parametrisations(plain) == ()
    (part,) = find_parametrisations({**plain, name: FLAT})
    assert part.tensors == (name,)

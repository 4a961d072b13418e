"""What is not quite a known class: never accepted, and the nearest configuration names the tensors that differ."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from viscy_compat.architectures import class_names, find, inference
from viscy_compat.architectures.architecture import Architecture, Config, complete
from viscy_compat.architectures.inference import RecentAnswers, identify
from viscy_compat.architectures.nearest_class import distance, lost_part, modules_of, nearest
from viscy_compat.layout import Layout, TensorSpec

RECORDS = [find(name) for name in class_names()]


def remembering(layout_of: Callable[[Config], Layout]) -> Callable[[Config], Layout]:
    """The layouts of a generation, each made once, or refused again each time."""
    known: dict[str, Layout] = {}

    def layout(config: Config) -> Layout:
        question = repr(config)
        if question not in known:
            known[question] = layout_of(config)
        return known[question]

    return layout


@pytest.fixture(scope="module", autouse=True)
def _layouts_made_once() -> Iterator[None]:
    """The search tries the same hundred configurations for each of thousands of odd layouts; what they come to is no secret."""
    with pytest.MonkeyPatch.context() as patch:
        for architecture in RECORDS:
            rows = (row._replace(layout=remembering(row.layout)) for row in architecture.generations)
            patch.setattr(architecture, "generations", tuple(rows))
        # an answer names its generation: none of these stays behind for other tests of the same process
        patch.setattr(inference, "_recent_inferences", RecentAnswers(most=64))
        yield


def ids(architecture: Architecture) -> str:
    return architecture.name


def layouts(architecture: Architecture) -> list[Layout]:
    """One layout of each generation and case."""
    return [
        generation.layout(complete(architecture, case.config))
        for generation in architecture.generations
        for case in (generation.cases or architecture.cases)
    ]


class Reading(dict[str, TensorSpec]):
    """A layout that notes which names are asked for."""

    def __init__(self, layout: Layout) -> None:
        super().__init__(layout)
        self.asked: set[object] = set()

    def __contains__(self, name: object) -> bool:
        self.asked.add(name)
        return super().__contains__(name)

    def __getitem__(self, name: str) -> TensorSpec:
        self.asked.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.asked.add(name)
        return super().get(name, default)


def asked(architecture: Architecture, layout: Layout) -> list[str]:
    """The tensors that the class reads its configuration off."""
    reading = Reading(layout)
    for _ in architecture.candidates(reading):
        pass
    return [name for name in layout if name in reading.asked]


def places(architecture: Architecture, first: int = 0) -> Iterator[tuple[Layout, str]]:
    """Every tensor that the class reads its configuration off, and each seventeenth of the others, in every second case."""
    for layout in layouts(architecture)[first::2]:
        read = set(asked(architecture, layout))
        yield from ((layout, name) for at, name in enumerate(layout) if name in read or at % 17 == 0)


@pytest.mark.parametrize("architecture", RECORDS, ids=ids)
def test_a_missing_tensor_is_the_only_difference_from_the_nearest(architecture: Architecture) -> None:
    tried = 0
    for whole, name in places(architecture):
        layout = {other: spec for other, spec in whole.items() if other != name}
        if identify(layout) is not None:
            continue
        near = nearest(layout)
        assert near is not None, name
        assert near.architecture is architecture, name
        assert near.differences.missing == (name,), (name, str(near))
        assert distance(near.differences) == 1, name
        assert str(near).endswith("but for 1 key")
        tried += 1
    assert tried > 60


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("FullyConvolutionalMAE", "encoder.stages.0.blocks.0.layernorm."),
        ("FullyConvolutionalMAE", "encoder.stages.2.blocks.1.layernorm."),
        ("UNeXt2", "decoder.decoder_stages.0.conv.blocks.0.conv_dw."),
        ("BetaVae25D", "decoder.decoder_stages.1.conv.0.conv.unit0.conv."),
        ("Unet2d", "down_conv_block_0.Conv2d_0."),
    ],
)
def test_a_layer_that_is_lost_before_others_like_it_is_the_only_difference(name: str, layer: str) -> None:
    whole = layouts(find(name))[-1 if name == "UNeXt2" else 0]
    lost = tuple(key for key in whole if key.startswith(layer))
    near = nearest({key: spec for key, spec in whole.items() if key not in lost})
    assert near is not None
    assert near.architecture.name == name
    assert near.differences.missing == lost != ()
    assert distance(near.differences) == len(lost)


def lost_modules(architecture: Architecture) -> Iterator[tuple[Layout, str]]:
    """Each nineteenth module that holds up to a fifth of a layout, and what is left of the layout without it."""
    held = ((whole, module) for whole in layouts(architecture) for module in sorted(modules_of(whole)))
    for at, (whole, module) in enumerate(held):
        left = {name: spec for name, spec in whole.items() if not name.startswith(module)}
        if at % 19 == 0 and 5 * len(left) >= 4 * len(whole):
            yield left, module


@pytest.mark.parametrize("architecture", RECORDS, ids=ids)
def test_a_module_that_is_lost_is_all_that_differs(architecture: Architecture) -> None:
    """Its own tensors may have been fewer or more where only they told how many there are: they lie within it all the same."""
    tried = others = 0
    for left, module in lost_modules(architecture):
        if identify(left) is not None:
            continue
        near = nearest(left)
        assert near is not None, module
        assert near.architecture is architecture, (module, str(near))
        assert near.causes == 1, (module, str(near))
        # the rest of a stage may as well be a single tensor too many
        others += bool(near.differences.unexpected)
        whole = lost_part(module, modules_of(left))
        assert all(name.startswith(whole) for name in near.differences.missing), (module, near.differences.missing)
        tried += 1
    assert others < 2
    assert tried > 10


@pytest.mark.parametrize("architecture", RECORDS, ids=ids)
def test_a_tensor_of_another_shape_leads_to_the_class_and_is_among_the_differences(architecture: Architecture) -> None:
    tried = 0
    for whole, name in places(architecture, 1):
        spec = whole[name]
        odd = (*spec.shape[:-1], spec.shape[-1] + 1) if spec.shape else (1,)
        layout = {**whole, name: TensorSpec(odd, spec.dtype)}
        if identify(layout) is not None:
            continue
        near = nearest(layout)
        assert near is not None, name
        assert near.architecture is architecture, name
        # one difference may also be the odd tensor taken at its word, and another one that disagrees with it
        assert distance(near.differences) == 1 or name in near.differences.names
        assert distance(near.differences) <= 2, (name, near.differences.names)
        tried += 1
    assert tried > 60


@pytest.mark.parametrize("architecture", RECORDS, ids=ids)
def test_no_layout_whatever_raises(architecture: Architecture) -> None:
    """Names of the class with shapes of any rank and size: a hostile file, or a damaged one."""
    names = sorted({name for layout in layouts(architecture)[:2] for name in layout if name in architecture.anchors})
    first = layouts(architecture)[0]
    names += [name for name in first if name.startswith(("projection", "model.mu", "decoder.head"))]
    sizes = st.one_of(st.integers(0, 5), st.sampled_from([0, 1, 96, 10**6, 10**18]))
    shapes = st.lists(sizes, max_size=6).map(tuple)

    @settings(max_examples=12)
    @given(st.dictionaries(st.sampled_from(names), shapes))
    def law(odd: dict[str, tuple[int, ...]]) -> None:
        for start in ({}, first):
            layout = {**start, **{name: TensorSpec(shape) for name, shape in odd.items()}}
            if identify(layout) is None:
                nearest(layout)

    law()


@pytest.mark.parametrize("architecture", RECORDS, ids=ids)
def test_a_tensor_of_no_numbers_is_no_configuration_and_raises_nothing(architecture: Architecture) -> None:
    first = layouts(architecture)[0]
    for whole in layouts(architecture)[::4]:
        for name in asked(architecture, whole):
            rank = len(whole[name].shape)
            for shape in ((0,) * rank, *((*[1] * axis, 0, *[1] * (rank - axis - 1)) for axis in range(rank))):
                assert identify({**first, name: TensorSpec(shape)}) is None
                assert identify({name: TensorSpec(shape)}) is None


@pytest.mark.parametrize("architecture", RECORDS, ids=ids)
def test_a_tensor_of_a_size_beyond_all_measure_ends_no_search(architecture: Architecture) -> None:
    first = layouts(architecture)[0]
    for at, name in enumerate(asked(architecture, first)):
        shape = first[name].shape
        axis = at % len(shape) if shape else 0
        layout = {**first, name: TensorSpec((*shape[:axis], 10**18, *shape[axis + 1 :]))}
        if identify(layout) is None:
            near = nearest(layout)
            # it may be taken at its word, and the tensor beside it disagrees
            assert near is not None
            assert near.architecture is architecture
            assert near.causes <= 2


def test_an_unknown_class_costs_next_to_nothing() -> None:
    layout = {f"transformer.h.{block}.mlp.weight": TensorSpec((768, 768)) for block in range(20_000)}
    assert identify(layout) is None
    assert nearest(layout) is None


def test_a_class_that_was_stated_is_compared_whatever_the_names() -> None:
    architecture = find("ResNet3dEncoder")
    layout = architecture.layout(complete(architecture, {"backbone": "resnet10"}))
    renamed = {name.replace("encoder.conv1.", "trunk.conv1."): spec for name, spec in layout.items()}
    near = nearest(renamed, "ResNet3dEncoder")
    assert near is not None
    assert (near.differences.missing, near.differences.unexpected) == (
        ("encoder.conv1.weight",),
        ("trunk.conv1.weight",),
    )
    assert str(near) == "ResNet3dEncoder (v0.4) but for 2 keys"


def test_a_callable_upsample_pre_conv_is_called_by_its_name() -> None:
    architecture = find("BetaVae25D")
    layout = architecture.layout(complete(architecture, {"backbone": "convnext_tiny"}))
    for stage in range(4):
        name = f"decoder.decoder_stages.{stage}.upsample.pixelshuffle.conv_block.0.weight"
        layout[name] = TensorSpec((768, 768, 1, 1))
    near = nearest(layout)
    assert near is not None
    assert "upsample_pre_conv" in near.custom


def test_an_activation_with_weights_of_its_own_is_called_by_its_name() -> None:
    architecture = find("BetaVaeMonai")
    layout = architecture.layout(complete(architecture, architecture.cases[0].config))
    other = {name.replace(".adn.A.weight", ".adn.A.beta"): spec for name, spec in layout.items()}
    near = nearest(other)
    assert near is not None
    assert near.custom.startswith("act was")


def real_layout(model: Any) -> Layout:
    state = model.state_dict()
    return {name: TensorSpec(tuple(tensor.shape), str(tensor.dtype)[6:]) for name, tensor in state.items()}


@pytest.mark.torch
@pytest.mark.parametrize("backbone", ["convnext_small", "convnext_nano", "resnet34", "resnet101", "wide_resnet50_2"])
def test_another_backbone_of_timm_is_nearest_to_its_class_and_never_accepted(backbone: str) -> None:
    import torch

    from viscy_models import ContrastiveEncoder

    with torch.device("meta"):
        layout = real_layout(ContrastiveEncoder(cast("Any", backbone), 2, 10, embedding_dim=64, projection_dim=8))
    assert identify(layout) is None
    near = nearest(layout)
    assert near is not None
    assert near.architecture.name == "ContrastiveEncoder"
    assert distance(near.differences) > 20


@pytest.mark.torch
@pytest.mark.parametrize("backbone", ["resnetaa50", "resnetblur50", "resnet50c"])
def test_what_has_the_layout_of_resnet50_is_said_in_the_evidence(backbone: str) -> None:
    import torch

    from viscy_models import BetaVae25D

    with torch.device("meta"):
        layout = real_layout(BetaVae25D(cast("Any", backbone), latent_dim=64))
    inference = identify(layout)
    assert inference is not None
    assert any(backbone in line for line in inference.evidence)


@pytest.mark.torch
def test_a_resnet_of_torchvision_and_monais_own_autoencoder_are_no_known_class() -> None:
    import torch
    import torchvision
    from monai.networks.nets import VarAutoEncoder

    with torch.device("meta"):
        resnet = real_layout(torchvision.models.resnet50())
    assert identify(resnet) is None
    assert nearest(resnet) is None
    own = VarAutoEncoder(2, (1, 16, 16), 1, 8, (4, 8), (2, 2))
    assert identify(real_layout(own)) is None

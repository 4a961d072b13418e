"""True pairs from history: what libraries really renamed, with the libraries' own conversions as the oracles."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from support.model_layouts import layout_of, our_layouts
from support.refactorings import Refactoring
from viscy_compat.architectures import find
from viscy_compat.architectures.architecture import complete
from viscy_compat.layout import Layout, TensorSpec
from viscy_compat.operations import sources_of, targets_of


def old_generations() -> Iterator[Refactoring]:
    """Yield the generations of our classes whose layout is not today's; their own rows are the oracle."""
    for name in ("ContrastiveEncoder",):
        architecture = find(name)
        for generation in architecture.generations:
            if generation.to_today is None:
                continue
            config = complete(
                architecture, {**architecture.cases[0].config, "embedding_dim": 768, "projection_dim": 256}
            )
            source, target = generation.layout(config), architecture.layout(config)
            rows = [row for row in generation.to_today(source) if sources_of(row) and targets_of(row)]
            truth = {targets_of(row)[0]: sources_of(row)[0] for row in rows}
            yield Refactoring(f"{name} {generation.name}", source, target, truth, "nothing")


def convnext_of_facebook(depths: tuple[int, ...], dims: tuple[int, ...], *, version: int = 1) -> Layout:
    """The layout of Facebook's own ConvNeXt, as its checkpoints have it."""
    layout: Layout = {}

    def layer(name: str, weight: tuple[int, ...], bias: int) -> None:
        layout[f"{name}.weight"], layout[f"{name}.bias"] = TensorSpec(weight), TensorSpec((bias,))

    layer("downsample_layers.0.0", (dims[0], 3, 4, 4), dims[0])
    layer("downsample_layers.0.1", (dims[0],), dims[0])
    for stage in range(1, 4):
        layer(f"downsample_layers.{stage}.0", (dims[stage - 1],), dims[stage - 1])
        layer(f"downsample_layers.{stage}.1", (dims[stage], dims[stage - 1], 2, 2), dims[stage])
    for stage, (depth, dim) in enumerate(zip(depths, dims, strict=True)):
        for block in range(depth):
            name = f"stages.{stage}.{block}"
            if version == 1:
                layout[f"{name}.gamma"] = TensorSpec((dim,))
            layer(f"{name}.dwconv", (dim, 1, 7, 7), dim)
            layer(f"{name}.norm", (dim,), dim)
            layer(f"{name}.pwconv1", (4 * dim, dim), 4 * dim)
            if version == 2:
                layout[f"{name}.grn.gamma"] = layout[f"{name}.grn.beta"] = TensorSpec((1, 1, 1, 4 * dim))
            layer(f"{name}.pwconv2", (dim, 4 * dim), dim)
    layer("norm", (dims[-1],), dims[-1])
    layer("head", (1000, dims[-1]), 1000)
    return layout


def swin_of_microsoft(target: Layout) -> Layout:
    """The layout of Microsoft's own Swin, from timm's: the downsampling stands at the end of a stage, not at the start.

    Buffers that the constructor computes are in the file as well.
    """

    def rename(name: str) -> str:
        name = re.sub(r"^layers\.(\d+)\.downsample", lambda found: f"layers.{int(found[1]) - 1}.downsample", name)
        return name.replace("head.fc.", "head.")

    source = {rename(name): spec for name, spec in target.items()}
    order = sorted(source, key=_swin_place)
    return {name: source[name] for name in order}


def _swin_place(name: str) -> tuple[int, int, int]:
    top = ("patch_embed", "layers", "norm", "head").index(name.split(".", maxsplit=1)[0])
    stage = int(name.split(".")[1]) if top == 1 else 0
    return top, stage, int(".downsample." in name)


def converted(source: Layout, model, convert: Callable) -> dict[str, str]:  # type: ignore[no-untyped-def, type-arg]
    """Run a library's own conversion over tensors that bear their number, and read the pairs off the result."""
    import torch

    numbered = {name: torch.tensor(float(i)).expand(spec.shape) for i, (name, spec) in enumerate(source.items())}
    names = list(source)
    result = convert(numbered, model)
    return {target: names[int(tensor.reshape(-1)[0].item())] for target, tensor in result.items()}


def conversions_of_timm() -> Iterator[Refactoring]:
    """Yield ConvNeXt of Facebook and Swin of Microsoft, with timm's filter functions as the oracles."""
    import timm
    import torch
    from timm.models import convnext, swin_transformer

    for name, version in (("convnext_tiny", 1), ("convnext_small", 1), ("convnext_atto", 1), ("convnextv2_atto", 2)):
        with torch.device("meta"):
            model: Any = timm.create_model(name)
        target, depths = layout_of(model), tuple(len(stage.blocks) for stage in model.stages)
        source = convnext_of_facebook(depths, tuple(info["num_chs"] for info in model.feature_info), version=version)
        truth = converted(source, model, convnext.checkpoint_filter_fn)
        yield Refactoring(f"Facebook {name}", source, target, truth, "names")
    for name in ("swin_tiny_patch4_window7_224", "swin_small_patch4_window7_224"):
        with torch.device("meta"):
            model = timm.create_model(name)
        target = layout_of(model)
        source = swin_of_microsoft(target)
        truth = converted(source, model, swin_transformer.checkpoint_filter_fn)
        buffers = {f"layers.{i}.blocks.0.attn.relative_position_index": TensorSpec((49, 49), "int64") for i in range(4)}
        yield Refactoring(f"Microsoft {name}", source | buffers, target, truth, "names", frozenset(buffers))


def norm_of_monai() -> Iterator[Refactoring]:
    """Yield MONAI up to 0.3, where a Convolution held `norm` and `act`; since then `adn.N` and `adn.A`."""
    import torch
    from monai.networks.nets import UNet, VarAutoEncoder

    with torch.device("meta"):
        models = {
            "UNet": UNet(3, 1, 2, (16, 32, 64, 128), (2, 2, 2), num_res_units=2),
            "UNet, batch norm": UNet(2, 1, 2, (16, 32, 64, 128), (2, 2, 2), num_res_units=2, norm="batch"),
            "VarAutoEncoder": VarAutoEncoder(2, (32, 32), 1, 4, (8, 16), (2, 2), num_res_units=2, norm="batch"),
        }
    for name, model in models.items():
        target = layout_of(model)
        truth = {new: new.replace("adn.N", "norm").replace("adn.A", "act") for new in target}
        source = {truth[new]: spec for new, spec in target.items()}
        yield Refactoring(f"MONAI 0.3 {name}", source, target, truth, "names")


def weight_norm_of_torch() -> Iterator[Refactoring]:
    """Yield modules under torch's old and new weight norm, both really built."""
    import torch
    from torch.nn.utils import parametrizations, weight_norm

    def build(wrap: Callable) -> torch.nn.Module:  # type: ignore[type-arg]
        blocks = [torch.nn.Sequential(wrap(torch.nn.Conv1d(8, 8, 3)), torch.nn.ReLU(), wrap(torch.nn.Conv1d(8, 8, 1)))]
        blocks += [torch.nn.Sequential(wrap(torch.nn.Conv1d(8, 8, 3)), wrap(torch.nn.Conv1d(8, 8, 3)))]
        return torch.nn.Sequential(*blocks, wrap(torch.nn.Linear(8, 4)), torch.nn.Linear(4, 4))

    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        old = build(weight_norm)
    new = build(parametrizations.weight_norm)
    source, target = layout_of(old), layout_of(new)
    truth = {}
    for name in target:
        plain = name.replace("parametrizations.weight.original0", "weight_g")
        truth[name] = plain.replace("parametrizations.weight.original1", "weight_v")
    yield Refactoring("torch weight_norm", source, target, truth, "names")


def pairs_from_history() -> Iterator[Refactoring]:
    """Yield every pair that needs torch."""
    yield from conversions_of_timm()
    yield from norm_of_monai()
    yield from weight_norm_of_torch()


__all__ = ["old_generations", "our_layouts", "pairs_from_history"]

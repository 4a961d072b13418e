#!/usr/bin/env python3
"""Prove the layouts and shape rules of upstream's own classes against the real ones, on drawn configurations.

    git -C VisCy archive main packages/viscy-models | tar x -C there
    tools/upstream_layouts.py there/packages/viscy-models/src --draws 500

The classes are those that only upstream's ``viscy-models`` has (Unet3d, UNetViT3D, CELLDiffNet). The folder is that of
the package's source at any state; the environment needs torch, and diffusers for the two with transformers. For every
draw, either both refuse to build it, or names, order, shapes and dtypes are the same, and an input runs in eval and in
train mode as the shape rule says. Prints a line for each class; ends with 1 where anything disagrees.
"""

from __future__ import annotations

import argparse
import importlib
import random
import sys
from collections import Counter
from math import prod
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from viscy_compat.architectures import class_names, find
from viscy_compat.architectures.architecture import (
    Architecture,
    Choice,
    Config,
    Domain,
    Floats,
    Generation,
    Integers,
    Repeated,
)
from viscy_compat.errors import Unbuildable

MODULES = {"UNetViT3D": "celldiff.unet_vit_3d", "CELLDiffNet": "celldiff.celldiff_net", "Unet3d": "unet.unet3d"}
UNUSUAL = {
    "hidden_size": (8, 24, 40, 96),
    "dims": ((8, 12), (4, 8), (8, 8), (8, 16, 8)),
    "num_res_block": ((1,), (2, 1)),
}
"""Values outside the domains, some of which the constructors refuse."""

LARGEST = 1 << 18
"""Elements of an input that is run: a forward pass then costs milliseconds."""


def main() -> int:
    """Draw, build, compare; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="the folder that holds viscy_models")
    parser.add_argument("classes", nargs="*", help="by default those that only upstream has")
    parser.add_argument("--draws", type=int, default=500)
    parser.add_argument("--generation", default="", help="by default today's")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    _open_package(asked.source.resolve() / "viscy_models")
    torch.set_num_threads(1)
    names = asked.classes or [name for name in class_names() if find(name).install]
    return max([_prove(find(name), asked) for name in names])


def _open_package(folder: Path) -> None:
    """Make the packages importable without running what stands in their `__init__`, which imports every other class."""
    for name in ("viscy_models", "viscy_models.unet"):
        package = ModuleType(name)
        package.__path__ = [str(folder.joinpath(*name.split(".")[1:]))]
        sys.modules[name] = package


def _prove(architecture: Architecture, asked: argparse.Namespace) -> int:
    states = {generation.name: generation for generation in architecture.generations}
    generation = states[asked.generation] if asked.generation else architecture.generations[-1]
    real = getattr(importlib.import_module(f"viscy_models.{MODULES[architecture.name]}"), architecture.name)
    rng, counts = random.Random(asked.seed), Counter[str]()
    for _ in range(asked.draws):
        config = _drawn(architecture, rng)
        for what in _compare(architecture, generation, real, config, rng):
            counts[what.partition(":")[0]] += 1
            if what.startswith("disagrees"):
                print(f"  {what}: {config}")
    print(
        f"{architecture.name} {generation.name}: "
        + ", ".join(f"{number} {what}" for what, number in sorted(counts.items()))
    )
    return int(counts["disagrees"] > 0)


def _drawn(architecture: Architecture, rng: random.Random) -> dict[str, Any]:
    config: dict[str, Any] = {}
    for argument in architecture.arguments:
        unusual = UNUSUAL.get(argument.name, ())
        odd = unusual and rng.random() < 0.1
        config[argument.name] = rng.choice(unusual) if odd else _value(argument.values(config), rng)
    return config


def _value(domain: Domain, rng: random.Random) -> Any:
    if isinstance(domain, Choice):
        return rng.choice(domain.values)
    if isinstance(domain, Integers):
        return rng.randint(domain.low, domain.high)
    if isinstance(domain, Floats):
        return rng.uniform(domain.low, domain.high)
    if isinstance(domain, Repeated):
        return tuple(_value(domain.domain, rng) for _ in range(rng.randint(domain.low, domain.high)))
    return tuple(_value(item, rng) for item in domain.domains)


def _compare(
    architecture: Architecture, generation: Generation, real: Any, config: Config, rng: random.Random
) -> list[str]:
    """Say what came out of one configuration."""
    try:
        expected = list(generation.layout(config).items())
    except Unbuildable as error:
        why = error.message
        expected = []
    arguments = {name: list(value) if isinstance(value, tuple) else value for name, value in config.items()}
    try:
        model = real(**arguments)
    except (ValueError, RuntimeError, AssertionError) as error:
        return ["refused by both"] if not expected else [f"disagrees: the class says {error}"]
    if not expected:
        return [f"disagrees: the class builds, we say {why}"]
    layout = [(name, (tuple(tensor.shape), str(tensor.dtype)[6:])) for name, tensor in model.state_dict().items()]
    if layout != [(name, tuple(spec)) for name, spec in expected]:
        return ["disagrees: other tensors"]
    return ["the same tensors", *_run(architecture, model, config, rng)]


def _run(architecture: Architecture, model: Any, config: Config, rng: random.Random) -> list[str]:
    """Run an input in both modes, one that is meant or one near it."""
    batch, channels, *sides = architecture.input_shape(config)
    near = [max(1, side + rng.choice((-1, 0, 0, 0, 0, 2, 4))) for side in sides]
    shape = (rng.choice((1, batch)), channels, *(near if rng.random() < 0.5 else sides))
    if prod(shape) > LARGEST:
        return []
    rule, told = architecture.outcome(config, shape), []
    for train, succeeds in ((False, rule.runs), (True, rule.trains)):
        expected = rule.outputs["output"] if succeeds else None
        if _output(model.train(train), shape, architecture.companions(shape)) != expected:
            told.append(
                f"disagrees: {shape} in {'train' if train else 'eval'} mode, where we say {rule.why or expected}"
            )
    return told or ["ran as said" if rule.runs else "did not run, as said"]


def _output(model: Any, shape: tuple[int, ...], companions: dict[str, tuple[int, ...]]) -> tuple[int, ...] | None:
    try:
        with torch.no_grad():
            return tuple(
                model(torch.randn(shape), **{name: torch.rand(size) for name, size in companions.items()}).shape
            )
    except (ValueError, RuntimeError):
        return None


if __name__ == "__main__":
    sys.exit(main())

"""Checkpoints of the real old classes with what those made of an input, written once a test run and then removed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.old_checkpoints import OldCheckpoint, make
from viscy_compat.architectures import find
from viscy_compat.architectures.architecture import complete

SMALL: dict[str, tuple[str, ...]] = {
    "ContrastiveEncoder": ("lightning", "compiled"),
    "ResNet3dEncoder": ("module", "safetensors"),
    "BetaVae25D": ("legacy", "ddp"),
    "BetaVaeMonai": ("lightning", "nested"),
}
"""Flavours in which the smallest verification cases of each class are saved."""

V02_BACKBONES = ("convnext_tiny", "convnextv2_tiny", "resnet50")


class Saved(OldCheckpoint):
    """An old checkpoint, and the file with its input and outputs."""

    @property
    def io(self) -> Path:
        """A safetensors file: ``input``, and every output by name."""
        return Path(f"{self.path}.io.safetensors")


@pytest.fixture(scope="session")
def todays(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Saved]]:
    """Two checkpoints of each class as v0.4.0 wrote them, in eight flavours."""
    folder = tmp_path_factory.mktemp("todays")
    files = [file for name, flavours in SMALL.items() for file in _of_class(folder, name, flavours)]
    make("0.4.0", [file.job for file in files])
    yield files
    for file in files:
        file.path.unlink()


def _of_class(folder: Path, name: str, flavours: tuple[str, ...]) -> Iterator[Saved]:
    architecture = find(name)
    refused = architecture.accepted_differences
    cases = [
        case
        for case in architecture.cases
        if not any(row.applies(complete(architecture, case.config)) for row in refused)
    ]
    cases.sort(key=lambda case: sum(spec.elements for spec in _layout(architecture, case.config).values()))
    generation = architecture.generations[-1]
    for case, flavour in zip(cases, flavours, strict=False):
        config = complete(architecture, case.config)
        ending = {"safetensors": "safetensors", "module": "pt", "legacy": "pth"}.get(flavour, "ckpt")
        path = folder / f"{name} {flavour}.{ending}"
        release = generation.release(config)
        job = {"class": name, "config": release.arguments(config), "out": str(path), "flavour": flavour, "seed": 1}
        yield Saved(path, name, generation.name, config, {**job, "io": list(case.input)})


def _layout(architecture: Any, config: Any) -> Any:
    return architecture.layout(complete(architecture, config))


@pytest.fixture(scope="session")
def v02(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Saved]]:
    """ContrastiveEncoder as v0.2.0 and v0.2.1 wrote it: three backbones, two widths; one with optimizer state."""
    folder = tmp_path_factory.mktemp("v02")
    files = [
        _of_v02(folder, wheel, stride, kernel, backbone, length)
        for wheel, stride, kernel in (("0.2.0", (2, 2, 2), (5, 3, 3)), ("0.2.1", (5, 4, 4), (5, 4, 4)))
        for backbone in V02_BACKBONES
        for length in (128, 256)
    ]
    for wheel in ("0.2.0", "0.2.1"):
        make(wheel, [file.job for file in files if file.job["wheel"] == wheel])
    yield files
    for file in files:
        file.path.unlink()


def _of_v02(
    folder: Path, wheel: str, stride: tuple[int, ...], kernel: tuple[int, ...], backbone: str, length: int
) -> Saved:
    depth = 10 if stride[0] == 5 else 9 if backbone != "resnet50" else 7
    config = {
        "backbone": backbone,
        "in_channels": 2,
        "in_stack_depth": depth,
        "stem_kernel_size": kernel,
        "stem_stride": stride,
        "embedding_dim": 3 * length,
        "projection_dim": length,
    }
    old = {
        "backbone": backbone,
        "in_channels": 2,
        "in_stack_depth": depth,
        "stem_kernel_size": list(kernel),
        "embedding_len": length,
    }
    trained = backbone == "resnet50" and length == 128
    path = folder / f"{wheel} {backbone} {length}.ckpt"
    job = {"class": "ContrastiveEncoder", "config": old, "out": str(path), "seed": 2, "wheel": wheel}
    flavour = {"flavour": "lightning" if trained else "plain", "optimizer": trained, "io": [2, 2, depth, 64, 64]}
    return Saved(path, "ContrastiveEncoder", "v0.2", config, {**job, **flavour})

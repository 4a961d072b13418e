"""What every command prints, in any format: typed in a folder that `furnish` filled, or of results that are stated.

Commands that need no torch are typed; `support.results` states what others come to.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from support.layouts import hollow
from support.results import REPORTS
from viscy_compat.architectures import find
from viscy_compat.architectures.architecture import complete
from viscy_compat.cli import main
from viscy_compat.layout import TensorSpec
from viscy_compat.report import render
from viscy_compat.report.terminal import Style

SMALL = {
    "net.stem.weight": TensorSpec((8, 3, 3, 3)),
    "net.blocks.0.weight": TensorSpec((8, 8)),
    "net.blocks.1.weight": TensorSpec((8, 8)),
    "net.steps": TensorSpec((), "int64"),
}

COMMANDS = {
    "check": ("check old.safetensors", 1),
    "check folder": ("check .", 2),
    "check against": ("check small.safetensors --against other.safetensors --ignore VC391", 1),
    "remap": ("remap old.safetensors", 0),
    "remap written": ("remap new.safetensors -o ../written.safetensors --force --set stem_stride=5,4,4", 0),
    "remap with all files": (
        "remap old.safetensors -o ../a.ckpt --force --write-plan ../p.json --shim ../shim.py --card ../C.md --weights-only",
        0,
    ),
    "remap against": ("remap small.safetensors --against renamed.safetensors", 0),
    "remap refused": ("remap small.safetensors", 2),
    "inspect": ("inspect small.safetensors page.ckpt", 2),
    "audit": ("audit . --ledger ../ledger.jsonl --fresh --jobs 1", 2),
    "completion": ("completion bash", 0),
    "diff": ("diff small.safetensors other.safetensors", 1),
    "zoo": ("zoo vscyto", 0),
    "explain": ("explain VC302 VC105", 0),
    "explain all": ("explain", 0),
    "ask": ("explore BetaVae25D --ask backbone=convnext_tiny --ask input_spatial_size=200,200", 1),
    "ask exact": ("explore BetaVae25D --ask latent_dim=256", 0),
    "ask impossible": ("explore BetaVae25D --ask backbone=resnet50 --ask input_spatial_size=200,200", 1),
    "hunt": ("explore BetaVaeMonai --law inference --examples 3", 0),
}
"""Words and exit code of each; `hunt` needs hypothesis, and none needs torch."""

LISTS = {"explain all", "completion"}
"""What is too long to be kept, or a script."""

NAMES = sorted({*COMMANDS, *REPORTS} - LISTS)
"""Every command, in each way that says something of its own."""


def furnish(folder: Path) -> None:
    """Fill the folder in which the commands are typed."""
    encoder = find("ContrastiveEncoder")
    for name, generation in (("old", encoder.generations[0]), ("new", encoder.generations[-1])):
        case = (generation.cases or encoder.cases)[0]
        hollow(folder / f"{name}.safetensors", generation.layout(complete(encoder, case.config)))
    hollow(folder / "small.safetensors", SMALL)
    hollow(folder / "other.safetensors", {**SMALL, "net.stem.weight": TensorSpec((8, 1, 3, 3))})
    renamed = {name.replace("net.blocks", "net.layers"): spec for name, spec in SMALL.items()}
    hollow(folder / "renamed.safetensors", renamed)
    (folder / "page.ckpt").write_text("<html>not found</html>")


def printed(
    name: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    *,
    format: str,
    style: Style,
    change: Callable[[str], str] = str,
) -> str:
    """Return what a command prints in a format, as it would on a terminal of this style."""
    if name in REPORTS:
        return change(render(REPORTS[name](), format, style)) + "\n"
    words, code = COMMANDS[name]
    monkeypatch.setattr("viscy_compat.report.style_for", lambda _: style)
    monkeypatch.setattr("viscy_compat.commands.audit.style_for", lambda _: style)
    assert main([*words.split(), "--format", format]) == code
    return change(capsys.readouterr().out)

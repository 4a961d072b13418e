"""The class path that LightningCLI stores among the hyper-parameters, where it names a module that is gone."""

from __future__ import annotations

import os

from viscy_compat.annotations import Final
from viscy_compat.architectures import class_names, find
from viscy_compat.checkpoint.facts import Checkpoint
from viscy_compat.checkpoint.plain import plain
from viscy_compat.diagnosis.address_flags import flag
from viscy_compat.findings import Finding
from viscy_compat.layout import quote_path

MOVED: Final = {
    "AugmentedPredictionVSUNet": "cytoland.engine",
    "BetaVaeModule": "dynaclr.engine",
    "ClassificationModule": "dynaclr.classification",
    "ContrastiveModule": "dynaclr.engine",
    "DynacellFlowMatching": "dynacell.engine",
    "DynacellGAN": "dynacell.engine",
    "DynacellUNet": "dynacell.engine",
    "FcmaeUNet": "cytoland.engine",
    "JointContrastiveModule": "dynaclr.multi_modal",
    "JointEncoders": "dynaclr.multi_modal",
    "MaskedMSELoss": "cytoland.engine",
    "SegmentationMetrics2D": "cytoland.evaluation",
    "VSUNet": "cytoland.engine",
}
"""Where the monorepo has the modules that VisCy had below ``viscy.light.engine`` (to v0.2.1),
``viscy.translation.engine`` and ``viscy.representation`` (v0.3.0 to v0.4.1), by the name of the class, which stayed.
Source: class statements below ``applications/*/src`` in upstream's main at 4b62365c, and in the tags of VisCy."""

_PARTS: Final = {"MixedLoss": "viscy_utils.losses"}
"""What those modules take besides models, and where upstream's packages have it."""

_UNKNOWN: Final = "PACKAGE.MODULE.CLASS"
_KEYS: Final = ("_class_path", "class_path")
"""Under which LightningCLI stores the path of the module, and those of what it takes."""


def dead_class_paths(checkpoint: Checkpoint) -> dict[str, str]:
    """Return the import paths of old classes that the hyper-parameters name, by the place of each."""
    pending: list[tuple[str, object]] = [("", plain(checkpoint.hyper_parameters))]
    found: dict[str, str] = {}
    for place, value in pending:
        if isinstance(value, list):
            pending.extend((f"{place}.{number}", item) for number, item in enumerate(value))
        if not isinstance(value, dict):
            continue
        for key, item in value.items():
            inner = f"{place}.{key}".lstrip(".")
            if key in _KEYS and isinstance(item, str) and item.startswith("viscy."):
                found[inner] = item
            pending.append((inner, item))
    return found


def about_class_path(checkpoint: Checkpoint, target: str) -> list[Finding]:
    """Say which old class paths are gone, and how to put new ones in their place."""
    paths = dead_class_paths(checkpoint)
    findings = []
    # the module that holds all others has a finding of its own, with the command that names another one
    path = paths.pop("_class_path", "")
    if path:
        new = successor(path)
        target_hint = f" (it has {new})" if new else ""
        message = f"the hyper-parameters name {path}, which the monorepo does not have{target_hint}"
        refusal = "LightningCLI, and load_from_checkpoint of Lightning 2.6.6, refuse the file"
        fix = _command(checkpoint, new or _UNKNOWN) if _keeps_hyper_parameters(checkpoint) else "remap leaves it out"
        findings.append(Finding("VC306", f"{message}; {refusal}; the model is {target}", fix=fix))
    if paths:
        places = ((place, path, successor(path)) for place, path in paths.items())
        rows = (f"{place} {path} ({f'now {new}' if new else 'not known here'})" for place, path, new in places)
        message = f"the hyper-parameters name classes that the monorepo does not have: {', '.join(rows)}"
        fix = class_path_command(checkpoint) or "name the new ones where the configuration is used"
        findings.append(Finding("VC306", message, fix=fix))
    return findings


def class_path_command(checkpoint: Checkpoint) -> str:
    """Return the command that writes the file with the new class paths; empty where none is needed or known.

    A file without its graph (safetensors, before torch 1.6) has no hyper-parameters left once it is remapped.
    """
    if not dead_class_paths(checkpoint) or not _keeps_hyper_parameters(checkpoint):
        return ""
    values = plain(checkpoint.hyper_parameters)
    path = values.get("_class_path") if isinstance(values, dict) else None
    if not isinstance(path, str):
        return ""
    new = successor(path) if path.startswith("viscy.") else path
    return _command(checkpoint, new) if new else ""


def successor(path: str) -> str:
    """Return where an old class is now; empty where that is not known.

    Examples
    --------
    >>> successor("viscy.light.engine.VSUNet"), successor("viscy.translation.engine.MixedLoss")
    ('cytoland.engine.VSUNet', 'viscy_utils.losses.MixedLoss')
    >>> successor("viscy.representation.contrastive.ContrastiveEncoder"), successor("viscy.a.B")
    ('viscy_models.contrastive.ContrastiveEncoder', '')
    """
    name = path.rpartition(".")[2]
    package = MOVED.get(name) or _PARTS.get(name)
    if package:
        return f"{package}.{name}"
    return find(name).target if name in class_names() else ""


def _keeps_hyper_parameters(checkpoint: Checkpoint) -> bool:
    return checkpoint.format == "torch-zip" and checkpoint.wrapper.kind == "lightning"


def _command(checkpoint: Checkpoint, new: str) -> str:
    stem, ending = os.path.splitext(checkpoint.path)
    out = f"{stem}.remapped{ending if ending in ('.ckpt', '.pt', '.pth') else '.ckpt'}"
    address = flag(checkpoint.address) if checkpoint.stated else ""
    return f"viscy-compat remap {quote_path(checkpoint.path)}{address} -o {quote_path(out)} --class-path {new}"

"""The class path that LightningCLI stores among the hyper-parameters, where it names a module that is gone."""

from __future__ import annotations

import os

from viscy_compat.annotations import Final
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
    "VSUNet": "cytoland.engine",
}
"""Where the monorepo has the modules that VisCy had below ``viscy.light.engine`` (to v0.2.1),
``viscy.translation.engine`` and ``viscy.representation`` (v0.3.0 to v0.4.1), by the name of the class, which stayed.
Source: class statements below ``applications/*/src`` in upstream's main at 4b62365c, and in the tags of VisCy."""

_UNKNOWN: Final = "PACKAGE.MODULE.CLASS"


def dead_class_path(checkpoint: Checkpoint) -> str:
    """Return the import path of an old class that the hyper-parameters name; empty where they name none."""
    values = plain(checkpoint.hyper_parameters)
    path = values.get("_class_path") if isinstance(values, dict) else None
    return path if isinstance(path, str) and path.startswith("viscy.") else ""


def about_class_path(checkpoint: Checkpoint, target: str) -> list[Finding]:
    """Say that an old class path is gone, and how to put the new one in its place."""
    path = dead_class_path(checkpoint)
    if not path:
        return []
    new = _new_path(path)
    target_hint = f" (it has {new})" if new else ""
    message = f"the hyper-parameters name {path}, which the monorepo does not have{target_hint}"
    refusal = "LightningCLI, and load_from_checkpoint of Lightning 2.6.6, refuse the file"
    fix = _command(checkpoint, new or _UNKNOWN) if _keeps_hyper_parameters(checkpoint) else "remap leaves it out"
    return [Finding("VC306", f"{message}; {refusal}; the model is {target}", fix=fix)]


def class_path_command(checkpoint: Checkpoint) -> str:
    """Return the command that writes the file with the new class path; empty where none is needed or known.

    A file without its graph (safetensors, before torch 1.6) has no hyper-parameters left once it is remapped.
    """
    path = dead_class_path(checkpoint)
    new = _new_path(path)
    return _command(checkpoint, new) if new and _keeps_hyper_parameters(checkpoint) else ""


def _keeps_hyper_parameters(checkpoint: Checkpoint) -> bool:
    return checkpoint.format == "torch-zip" and checkpoint.wrapper.kind == "lightning"


def _new_path(path: str) -> str:
    name = path.rpartition(".")[2]
    return f"{MOVED[name]}.{name}" if name in MOVED else ""


def _command(checkpoint: Checkpoint, new: str) -> str:
    stem, ending = os.path.splitext(checkpoint.path)
    out = f"{stem}.remapped{ending if ending in ('.ckpt', '.pt', '.pth') else '.ckpt'}"
    address = flag(checkpoint.address) if checkpoint.stated else ""
    return f"viscy-compat remap {quote_path(checkpoint.path)}{address} -o {quote_path(out)} --class-path {new}"

"""Folders of DeepSpeed: ``latest`` names a folder with one file for each rank and what it holds.

In stages 0 to 2 of ZeRO every rank has the whole model, and rank 0 saves it as ``mp_rank_00_model_states.pt``; in stage 3
each rank saves a flat piece of all weights, which only DeepSpeed's own program puts together.
"""

from __future__ import annotations

import os
import re

from viscy_compat.annotations import Final
from viscy_compat.errors import UnreadableCheckpoint
from viscy_compat.layout import quote_path
from viscy_compat.regular_files import read_small

MODEL_STATES: Final = "mp_rank_00_model_states.pt"
"""The whole model, where it is neither split by tensors nor by ZeRO's third stage."""

_OTHERS: Final = re.compile(r"(bf16_)?zero_pp_rank_\d+_mp_rank_\d+_(model|optim)_states\.pt")
"""What each rank keeps of its own beside it: the optimizer, and with ZeRO's third stage its part of the weights."""

_STAGE_3: Final = re.compile(r"zero_pp_rank_\d+_mp_rank_\d+_model_states\.pt")
_SHARDED: Final = re.compile(r"mp_rank_\d+_model_states\.pt")
"""One for each rank among which layers are split (model parallel)."""


def is_deepspeed_name(name: str) -> bool:
    """Say whether DeepSpeed calls a file of its own like this.

    Examples
    --------
    >>> is_deepspeed_name("zero_pp_rank_0_mp_rank_00_optim_states.pt"), is_deepspeed_name("model.pt")
    (True, False)
    """
    return bool(_OTHERS.fullmatch(name) or _SHARDED.fullmatch(name))


def deepspeed_folder(folder: str) -> str:
    """Return the folder of the newest save of a DeepSpeed folder, or itself; empty where it is none."""
    if any(name.endswith("_model_states.pt") and is_deepspeed_name(name) for name in os.listdir(folder)):
        return folder
    tag = _latest(folder)
    below = os.path.join(folder, tag) if tag else ""
    return below if below and os.path.isdir(below) and any(map(is_deepspeed_name, os.listdir(below))) else ""


def model_states(folder: str, *, path: str) -> str:
    """Return the file that holds the whole model.

    Raises
    ------
    UnreadableCheckpoint
        VC472 where no file holds it, with the command that makes one of all files.
    """
    names = os.listdir(folder)
    if any(map(_STAGE_3.fullmatch, names)):
        raise in_pieces(path, "the weights are in flat pieces, one a rank (ZeRO stage 3)")
    ranks = [name for name in names if _SHARDED.fullmatch(name)]
    if len(ranks) > 1:
        raise UnreadableCheckpoint(
            f"the model is split over {len(ranks)} ranks (model parallel)",
            where=path,
            fix="merge it with the program that trained it, and save model.state_dict()",
            code="VC472",
        )
    if MODEL_STATES not in names:
        raise in_pieces(path, f"{MODEL_STATES} is not there: only optimizer states are")
    return os.path.join(folder, MODEL_STATES)


def in_pieces(path: str, what: str) -> UnreadableCheckpoint:
    """Return the error for a DeepSpeed checkpoint in pieces, with DeepSpeed's own command that puts them together."""
    # the program wants the folder with the file `latest`: of a file or a save, the one above
    folder = path if os.path.isdir(path) else os.path.dirname(path) or "."
    place = path.rstrip("/" + os.sep) or path
    for _ in range(3):
        if os.path.isdir(place) and (_latest(place) or os.path.isfile(os.path.join(place, "zero_to_fp32.py"))):
            folder = place
            break
        place = os.path.dirname(place) or "."
    script = os.path.join(folder, "zero_to_fp32.py")
    program = f"python {quote_path(script)}" if os.path.isfile(script) else "python -m deepspeed.utils.zero_to_fp32"
    out = "fp32" if folder == "." else f"{folder.rstrip('/' + os.sep) or folder}.fp32"
    return UnreadableCheckpoint(
        f"a DeepSpeed checkpoint: {what}",
        where=path,
        fix=f"make one file of it: {program} {quote_path(folder)} {quote_path(out)}",
        code="VC472",
    )


def _latest(folder: str) -> str:
    """Return the name in the file ``latest``, where it is the plain name of a folder beside it."""
    place = os.path.join(folder, "latest")
    if not os.path.lexists(place):
        return ""
    try:
        name = read_small(place, 255, "a name", error=UnreadableCheckpoint).decode("utf-8", "replace").strip()
    except UnreadableCheckpoint:
        return ""
    return name if name not in ("", ".", "..") and os.path.basename(name) == name else ""

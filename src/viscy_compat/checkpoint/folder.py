"""Folders that are one checkpoint: of torch.distributed, of DeepSpeed, or an unpacked torch file."""

from __future__ import annotations

import os
from typing import Final, Literal, NoReturn

from viscy_compat.checkpoint.facts import Checkpoint
from viscy_compat.checkpoint.limits import Limits
from viscy_compat.errors import UnreadableCheckpoint
from viscy_compat.layout import quoted

FolderKind = Literal["distributed", "distributed-safetensors", "unpacked", "deepspeed", ""]


METADATA: Final = ".metadata"
"""What torch.distributed.checkpoint calls its table of contents."""

LIGHTNING_RECORD: Final = "meta.pt"
"""What Lightning calls the file for everything that is no tensor, in such a folder."""

SHARD: Final = r"shard-\d+-model-\d+-of-\d+\.safetensors"
"""What torch's Hugging Face storage writer calls the part of one rank."""


def shard_names(folder: str) -> list[str]:
    """Return the files of a folder that bear the names of such parts, in order."""
    from re import fullmatch

    return sorted(name for name in os.listdir(folder) if name[:6] == "shard-" and fullmatch(SHARD, name))


def refuse_part(path: str) -> NoReturn:
    """Refuse a file of torch.distributed.checkpoint that was given for itself.

    Raises
    ------
    UnreadableCheckpoint
        VC473, with the folder to give.
    """
    folder, name = os.path.split(path)
    what = "the table of contents" if name == METADATA else "one rank's part"
    raise UnreadableCheckpoint(
        f"this is {what} of a distributed checkpoint, which is the whole folder",
        where=path,
        fix=f"give the folder: viscy-compat check {quoted(folder or '.')}",
        code="VC473",
    )


def kind_of_folder(folder: str) -> FolderKind:
    """Return which checkpoint a folder is as a whole; empty where it only may hold some."""
    from viscy_compat.checkpoint.deepspeed import deepspeed_folder

    try:
        if os.path.lexists(os.path.join(folder, METADATA)) or _parts_alone(folder):
            return "distributed"
        if unpacked_root(folder):
            return "unpacked"
        if shard_names(folder):
            return "distributed-safetensors"
        return "deepspeed" if deepspeed_folder(folder) else ""
    except OSError:
        return ""


def _parts_alone(folder: str) -> bool:
    """Say whether parts of a distributed checkpoint lie in a folder; asked where their table of contents does not."""
    return any(name.endswith(".distcp") for name in os.listdir(folder))


def unpacked_root(folder: str) -> str:
    """Return where the pickle of an unpacked torch file is: in the folder, or in its only folder; else nothing."""
    names = [name for name in os.listdir(folder) if name[:1] != "."]
    places = [folder, os.path.join(folder, names[0])] if len(names) == 1 else [folder]
    for place in places:
        if os.path.isfile(os.path.join(place, "data.pkl")) and os.path.isdir(os.path.join(place, "data")):
            return place
    return ""


def read_folder(folder: str, limits: Limits, wanted: str | None) -> Checkpoint:
    """Read a folder that is one checkpoint; see `viscy_compat.checkpoint.open_checkpoint`.

    Raises
    ------
    UnreadableCheckpoint
        VC401 for a folder that is none, and what its readers raise.
    """
    kind = kind_of_folder(folder)
    if kind == "distributed":
        from viscy_compat.checkpoint.distributed import read_distributed

        if not os.path.lexists(os.path.join(folder, METADATA)):
            raise UnreadableCheckpoint(
                f"a distributed checkpoint without its table of contents ({METADATA}), which is written last",
                where=folder,
                fix="copy the whole folder, hidden files too; where it was never written, take an earlier save",
                code="VC462",
            )
        return read_distributed(folder, limits, wanted)
    if kind == "distributed-safetensors":
        from viscy_compat.checkpoint.distributed_safetensors import read_distributed_safetensors

        return read_distributed_safetensors(folder, limits, wanted)
    if kind == "unpacked":
        from viscy_compat.checkpoint.unpacked import read_unpacked

        return read_unpacked(unpacked_root(folder), limits, wanted, path=folder)
    if kind == "deepspeed":
        return _deepspeed(folder, limits, wanted)
    raise UnreadableCheckpoint(
        "this is a folder, not a file",
        where=folder,
        fix=f"give a checkpoint file; viscy-compat check {quoted(folder)} looks for those in it",
        code="VC401",
    )


def _deepspeed(folder: str, limits: Limits, wanted: str | None) -> Checkpoint:
    """Read the whole model out of the file of rank 0; the path stays the folder."""
    from viscy_compat.checkpoint.deepspeed import deepspeed_folder, model_states
    from viscy_compat.checkpoint.reading import read_checkpoint

    return read_checkpoint(model_states(deepspeed_folder(folder), path=folder), limits, wanted).renamed(folder)

"""Folders that are one checkpoint: of torch.distributed, of DeepSpeed, or an unpacked torch file."""

from __future__ import annotations

import os

from viscy_compat.annotations import Any, Final, Literal, NoReturn
from viscy_compat.checkpoint.locations import beside_address, is_address
from viscy_compat.errors import UnreadableCheckpoint
from viscy_compat.layout import quote_path

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
        fix=f"give the folder: viscy-compat check {quote_path(folder or '.')}",
        code="VC473",
    )


def refuse_folder(folder: str) -> NoReturn:
    """Refuse a folder that is no checkpoint as a whole.

    Raises
    ------
    UnreadableCheckpoint
        VC401.
    """
    raise UnreadableCheckpoint(
        "this is a folder, not a file",
        where=folder,
        fix=f"give a checkpoint file; viscy-compat check {quote_path(folder)} looks for those in it",
        code="VC401",
    )


def kind_of_folder(folder: str) -> FolderKind:
    """Return which checkpoint a folder is as a whole; empty where it only may hold some."""
    from viscy_compat.checkpoint.deepspeed import deepspeed_folder

    try:
        if os.path.lexists(os.path.join(folder, METADATA)):
            return "distributed"
        # parts whose table of contents is missing are to be called so
        if any(name.endswith(".distcp") for name in os.listdir(folder)):
            return "distributed"
        if unpacked_root(folder):
            return "unpacked"
        if shard_names(folder):
            return "distributed-safetensors"
        return "deepspeed" if deepspeed_folder(folder) else ""
    except OSError:
        return ""


def unpacked_root(folder: str) -> str:
    """Return where the pickle of an unpacked torch file is: in the folder, or in its only folder; else nothing."""
    names = [name for name in os.listdir(folder) if name[:1] != "."]
    places = [folder, os.path.join(folder, names[0])] if len(names) == 1 else [folder]
    for place in places:
        if os.path.isfile(os.path.join(place, "data.pkl")) and os.path.isdir(os.path.join(place, "data")):
            return place
    return ""


def place_of_shard(folder: str, name: str, *, where: str) -> str:
    """Return the path of a file in a folder, which must be there and be no link.

    Raises
    ------
    UnreadableCheckpoint
        VC461 for a path that leaves the folder, VC462 where there is no file.
    """
    if is_address(where):
        return beside_address(where, name_of_shard(where, name))
    place = os.path.join(folder, name_of_shard(where, name))
    if os.path.islink(place):
        raise UnreadableCheckpoint(
            f"the shard {name!a} is a link", where=where, fix="replace the link by the file", code="VC461"
        )
    if not os.path.exists(place):
        raise UnreadableCheckpoint(
            f"the shard {name!a} is not there", where=where, fix=f"fetch it into {folder or '.'}", code="VC462"
        )
    return place


def name_of_shard(path: str, name: Any) -> str:
    """Return the name of a file beside an index as it stands there.

    Raises
    ------
    UnreadableCheckpoint
        VC460 for what is no plain text, VC461 for a path that leaves the folder.
    """
    if type(name) is not str or not name.isprintable():
        raise broken_index(path, "the name of a shard is no plain text")
    if os.path.basename(name) != name or "\\" in name or ":" in name or name in ("", ".", ".."):
        raise UnreadableCheckpoint(
            f"the shard {name[:80]!a} is not in the folder of the index",
            where=path,
            fix="do not use this index: shards lie beside it, under their bare names",
            code="VC461",
        )
    return name


def broken_index(path: str, what: str) -> UnreadableCheckpoint:
    """Return the error for an index that says what none does."""
    return UnreadableCheckpoint(f"broken index: {what}", where=path, fix="fetch the index again", code="VC460")

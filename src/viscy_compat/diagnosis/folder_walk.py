"""The checkpoints below a folder: files by their endings, and folders that are one checkpoint as a whole."""

from __future__ import annotations

import os
import re

from viscy_compat.annotations import Iterator, Literal
from viscy_compat.checkpoint.byte_source import ByteSource
from viscy_compat.checkpoint.deepspeed import deepspeed_folder, is_deepspeed_name
from viscy_compat.checkpoint.folder import LIGHTNING_RECORD, FolderKind, kind_of_folder, shard_names, unpacked_root
from viscy_compat.checkpoint.limits import DEFAULT_LIMITS
from viscy_compat.errors import UnreadableCheckpoint
from viscy_compat.regular_files import read_small

INDEXES = (".safetensors.index.json", ".bin.index.json")
SUFFIXES = (
    ".ckpt",
    ".pt",
    ".pth",
    ".bin",
    ".pkl",
    ".pth.tar",
    ".pt.tar",
    ".ckpt.tar",
    ".safetensors",
    *INDEXES,
)
"""Endings of the files that are looked at in a folder, in small letters or capitals."""

_MAC_FOLDER = "__MACOSX"
"""The folder that macOS's archiver adds to a zip archive."""

_MAC_MAGIC = b"\x00\x05\x16\x07"
"""How an AppleDouble file begins, whose name alone (``._a.ckpt``) looks like a checkpoint."""


_DIGITS = re.compile("([0-9]+)")


def natural(name: str) -> tuple[list[tuple[int, str]], str]:
    """Return what names are sorted by so that numbers in them count as numbers.

    Examples
    --------
    >>> sorted(["epoch=10.ckpt", "epoch=2.ckpt", "Epoch=1.ckpt"], key=natural)
    ['Epoch=1.ckpt', 'epoch=2.ckpt', 'epoch=10.ckpt']
    """
    parts = _DIGITS.split(name.lower())
    # texts stand at even places and numbers at odd ones, so that like is compared with like
    return [(int(part), "") if place % 2 else (0, part) for place, part in enumerate(parts)], name


def checkpoints_below(
    folder: str,
    resources: list[str],
    links: Literal["stay", "follow"] = "stay",
    unseen: dict[str, str] | None = None,
) -> Iterator[str]:
    """Yield the paths to check, folder by folder in natural order; a folder's files come before those further down.

    Parameters
    ----------
    folder : str
        Where to look.
    resources : list[str]
        The files that a Mac left beside them are added.
    links : {"stay", "follow"}, optional
        Whether folders are looked into that a link leads to, each once.
    unseen : dict[str, str], optional
        Folders that were not looked into are added, with the reason: none for a link.
    """
    unseen = {} if unseen is None else unseen
    for place, folders, names in _walk(folder, links, unseen):
        # epoch=2 before epoch=10, and the same order on every machine: os.walk has that of the disk
        names.sort(key=natural)
        kind = kind_of_folder(place)
        if kind:
            yield place
        resources += [os.path.join(place, name) for name in (*folders, *names) if _is_resource(place, name)]
        parts = _parts_of(place, kind, names)
        folders[:] = [name for name in folders if name != _MAC_FOLDER and os.path.join(place, name) not in parts]
        if links == "stay":
            inner = (os.path.join(place, name) for name in folders)
            unseen.update(dict.fromkeys(filter(os.path.islink, inner), ""))
        yield from (
            path
            for name in names
            if name.lower().endswith(SUFFIXES)
            and not _is_resource(place, name)
            and (path := os.path.join(place, name)) not in parts
        )


def _walk(
    folder: str, links: Literal["stay", "follow"], unseen: dict[str, str]
) -> Iterator[tuple[str, list[str], list[str]]]:
    """Walk like `os.walk`, folders in natural order, through none twice; what cannot be listed is added to `unseen`."""

    def note(error: OSError) -> None:
        unseen[os.fsdecode(error.filename)] = error.strerror or type(error).__name__

    if links == "stay":
        for place, folders, names in os.walk(folder, onerror=note):
            folders.sort(key=natural)
            yield place, folders, names
        return
    seen: set[tuple[int, int]] = set()
    for place, folders, names in os.walk(folder, onerror=note, followlinks=True):
        status = os.stat(place)
        # a link may lead to a folder above itself
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders.sort(key=natural)
        yield place, folders, names


def _is_resource(place: str, name: str) -> bool:
    """Say whether a Mac put a file or folder beside the ones that were copied: by its name, and what it begins with."""
    if name == _MAC_FOLDER:
        return True
    if not name.startswith("._"):
        return False
    try:
        with ByteSource(os.path.join(place, name)) as source:
            # a user's own ._epoch.ckpt is a checkpoint: the name alone is not enough
            return source.size >= 4 and source.read(0, 4) == _MAC_MAGIC
    except UnreadableCheckpoint:
        return False


def _parts_of(place: str, kind: FolderKind, names: list[str]) -> set[str]:
    """Return the paths that are read through another one: shards, and the parts of a folder that is one checkpoint."""
    # only an index that is looked at itself hides what it names
    indexes = [name for name in names if name.lower().endswith(INDEXES)]
    parts = {shard for name in indexes for shard in _shards_of(os.path.join(place, name))}
    if kind == "distributed":
        parts.add(LIGHTNING_RECORD)
    elif kind == "distributed-safetensors":
        parts.update(shard_names(place))
    elif kind == "unpacked":
        root = unpacked_root(place)
        return {os.path.join(root, part) for part in ("data.pkl", "data")} | {root}
    elif kind == "deepspeed":
        parts.update(filter(is_deepspeed_name, names))
        return {os.path.join(place, part) for part in parts} | {deepspeed_folder(place)}
    return {os.path.join(place, part) for part in parts}


def _shards_of(index: str) -> set[str]:
    """Return the shard files that an index names; they are read through it, and an index is never a shard."""
    from viscy_compat.checkpoint.safetensors_reader import parse_json

    try:
        raw = read_small(index, DEFAULT_LIMITS.header_bytes, "an index", error=UnreadableCheckpoint)
        shards = parse_json(raw, index).get("weight_map", {})
    except UnreadableCheckpoint:
        return set()
    values = shards.values() if isinstance(shards, dict) else ()
    return {name for name in values if isinstance(name, str) and not name.endswith(".json")}

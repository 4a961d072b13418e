"""Class paths in a checkpoint's hyper-parameters, given new values: LightningCLI imports what they name."""

from __future__ import annotations

from viscy_compat.annotations import Mapping
from viscy_compat.checkpoint.facts import Checkpoint
from viscy_compat.checkpoint.pickle_nodes import Node, entries_of, walk
from viscy_compat.diagnosis.class_paths import successor
from viscy_compat.errors import UsageError
from viscy_compat.layout import printable
from viscy_compat.rewrite.admission import with_entries

KEY = "_class_path"
"""The hyper-parameter in which LightningCLI notes the class that it built."""


def with_class_path(checkpoint: Checkpoint, path: str) -> Mapping[int, Node]:
    """Return the nodes of the hyper-parameters that name classes which are gone, by ``id``, with those that name new ones.

    The module's path is replaced by the one that is given, those of what it takes by their successors, where known.

    Parameters
    ----------
    checkpoint : Checkpoint
        A Lightning file.
    path : str
        The import path of the new LightningModule.

    Raises
    ------
    UsageError
        Where `path` is no import path, or the file names no class path.
    """
    if "." not in path or not all(part.isidentifier() for part in path.split(".")):
        raise UsageError(f"--class-path {printable(path)!r} is no import path", fix="for example package.module.Class")
    node = checkpoint.hyper_parameters
    entries = entries_of(node) or []
    if KEY not in entries[::2]:
        raise UsageError(
            "the hyper-parameters name no class path to replace", where=checkpoint.path, fix="leave --class-path out"
        )
    # a loss or an encoder may stand at any depth, and one node at several places
    parts = {id(part): part for part in walk(node) if "class_path" in (entries_of(part) or [])[::2]}
    renewed = {place: _with_entry(part, "class_path") for place, part in parts.items() if part is not node}
    return {**renewed, id(node): _with_entry(node, KEY, path)}


def _with_entry(node: Node, wanted: str, path: str = "") -> Node:
    """Return a dictionary with another class path, or with the successor of the one that it has."""
    entries = entries_of(node) or []
    entries_now = list(entries)
    for place in range(1, len(entries), 2):
        old = entries[place]
        if entries[place - 1] == wanted and isinstance(old, str):
            entries_now[place] = path or (successor(old) if old.startswith("viscy.") else "") or old
    return with_entries(node, entries_now)

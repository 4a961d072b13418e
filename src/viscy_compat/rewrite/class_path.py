"""The class path in a checkpoint's hyper-parameters, given a new value: LightningCLI imports what it names."""

from __future__ import annotations

from collections.abc import Mapping

from viscy_compat.checkpoint.facts import Checkpoint
from viscy_compat.checkpoint.pickle_nodes import Node, entries_of
from viscy_compat.errors import UsageError
from viscy_compat.layout import printable
from viscy_compat.rewrite.admission import with_entries

KEY = "_class_path"
"""The hyper-parameter in which LightningCLI notes the class that it built."""


def with_class_path(checkpoint: Checkpoint, path: str) -> Mapping[int, Node]:
    """Return the node of the hyper-parameters, by ``id``, with one that names another class.

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
    pairs = zip(entries[::2], entries[1::2], strict=True)
    entries_now = [item for key, value in pairs for item in (key, path if key == KEY else value)]
    return {id(node): with_entries(node, entries_now)}

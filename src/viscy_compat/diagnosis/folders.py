"""Which files a path stands for: itself, or every checkpoint below a folder."""

from __future__ import annotations

import os

from viscy_compat.annotations import Iterable, Iterator
from viscy_compat.errors import UsageError
from viscy_compat.findings import Aside, ClosedFolder
from viscy_compat.named import NamedTuple


class NamedPath(NamedTuple):
    """One path to check, and whether the user named it or a folder that holds it."""

    path: str
    is_named: bool


def checkpoint_files(paths: Iterable[str], aside: list[Aside] | None = None) -> Iterator[NamedPath]:
    """Yield files as given, folders that are one checkpoint, and the checkpoints below other folders, in a stable order.

    Parameters
    ----------
    paths : Iterable[str]
        What the user named.
    aside : list[Aside], optional
        Filled with what was passed over.

    Raises
    ------
    UsageError
        For a folder without a checkpoint.
    """
    aside = [] if aside is None else aside
    for path in paths:
        if not os.path.isdir(path):
            yield NamedPath(path, is_named=True)
            continue
        from viscy_compat.diagnosis.folder_walk import SUFFIXES, checkpoints_below

        resources: list[str] = []
        unseen: dict[str, str] = {}
        checkpoints = list(checkpoints_below(path, resources, unseen=unseen))
        closed = [ClosedFolder(place, f"this folder cannot be listed ({why})") for place, why in unseen.items() if why]
        aside += closed
        if not checkpoints and closed:
            raise UsageError(closed[0].what, where=closed[0].file, fix="run this as a user who may list it")
        if not checkpoints:
            from viscy_compat.diagnosis.almost import almost_checkpoints

            what, fix = almost_checkpoints(path)
            message = f"no checkpoint below this folder{what}"
            raise UsageError(message, where=path, fix=f"{fix}looked for {', '.join(SUFFIXES)}")
        if resources:
            few = resources[0] if len(resources) == 1 else f"{resources[0]} and {len(resources) - 1} more"
            aside.append(Aside(path, f"resource files that a Mac left are skipped: {few}"))
        yield from (NamedPath(place, is_named=False) for place in checkpoints)

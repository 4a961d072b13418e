"""What lies in a folder without a checkpoint that may stand for one, by names: nobody opens these files unasked."""

from __future__ import annotations

import os

from viscy_compat.layout import printable, quote_path

_UNFINISHED = "by its name a download that did not finish"
_KINDS = (
    ((".part", ".partial", ".crdownload", ".download", ".opdownload"), _UNFINISHED),
    ((".incomplete", ".filepart", ".aria2", ".!qb", ".tmp"), _UNFINISHED),
    ((".gz", ".xz", ".zst", ".bz2", ".lz4", ".tgz", ".tar", ".zip", ".7z"), "packed"),
    ((".mar", ".bento", ".bentomodel", ".nemo"), "packed"),
    ((".dvc", ".icloud", ".lnk", ".url", ".webloc", ".desktop"), "a pointer to another file"),
    ((".pt2", ".ptl", ".onnx", ".xml", ".engine", ".tflite", ".gguf"), "an exported model"),
    ((".h5", ".hdf5", ".keras", ".npz"), "weights in another format"),
)
"""Endings in small letters, with what such a file is by its name."""


def almost_checkpoints(folder: str) -> tuple[str, str]:
    """Return what goes on from "no checkpoint below this folder", and the command that looks at the first such file.

    Both are empty where nothing there may stand for a checkpoint.
    """
    from viscy_compat.diagnosis.folder_walk import natural

    found: list[tuple[str, str]] = []
    for place, folders, names in os.walk(folder):
        folders.sort(key=natural)
        for name in sorted(names, key=natural):
            kinds = [kind for endings, kind in _KINDS if name.lower().endswith(endings)]
            found += [(os.path.join(place, name), kind) for kind in kinds[:1]]
    if not found:
        return "", ""
    first, kind = found[0]
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return (
        f", but {printable(os.path.relpath(first, folder))} ({kind}){more}",
        f"viscy-compat check {quote_path(first)} says what it is; ",
    )

"""Names of records that one reader tells apart and another does not.

torch finds a record of an archive without regard to case (miniz does), Windows and macOS unpack names that differ in
case, in the composition of a letter or in trailing dots and spaces into one file, and Python tells all of them apart.
"""

from __future__ import annotations

from viscy_compat.annotations import Iterable
from viscy_compat.errors import UnreadableCheckpoint

_SOUGHT = frozenset(
    {
        "data.pkl",
        "byteorder",
        "version",
        "constants.pkl",
        ".format_version",
        ".storage_alignment",
        ".data/version",
        ".data/serialization_id",
    }
)
"""Records that torch looks for by name, below the folder that holds everything; its storages lie below ``data/``."""


def likeness_of(name: str) -> str:
    """Return what is left of a name for the reader that tells least.

    Examples
    --------
    >>> likeness_of("archive/DATA.pkl"), likeness_of("archive/data.pkl. "), likeness_of("archive/d\\u0061ta.pkl")
    ('archive/data.pkl', 'archive/data.pkl', 'archive/data.pkl')
    """
    if not name.isascii():
        from unicodedata import normalize

        name = normalize("NFKC", name)
    return name.casefold().rstrip(" .")


def two_alike(names: Iterable[str]) -> tuple[str, str] | None:
    """Return two different names that some reader takes for one; None where there are none.

    Examples
    --------
    >>> two_alike(["a/data/0", "a/data/1", "a/Data/0"])
    ('a/data/0', 'a/Data/0')
    """
    names = list(names)
    # at once where nothing but case can be different, which is where the names are those of an honest file
    text = "\n".join([*names, ""])
    if text.isascii() and not (" \n" in text or ".\n" in text):
        lower = text.lower()
        # most have no capital: what differs then differs for every reader
        if lower == text or len({*lower.split("\n")}) == len(names) + 1:
            return None
    by_likeness: dict[str, str] = {}
    for name in names:
        before = by_likeness.setdefault(likeness_of(name), name)
        if before != name:
            return before, name
    return None


def refuse_near_names(path: str, root: str, names: Iterable[str]) -> None:
    """Refuse names that torch, or a system that unpacks the archive, takes for a record that is looked for.

    Parameters
    ----------
    path : str
        The file, for the message.
    root : str
        The folder that holds everything, with its slash.
    names : Iterable[str]
        Every name of the archive.

    Raises
    ------
    UnreadableCheckpoint
        VC490.
    """
    data = f"{root}data/"
    for name in names:
        if name.startswith(data):
            continue
        bare = name[len(root) :]
        near = likeness_of(bare)
        if near.startswith("data/") or (near in _SOUGHT and bare not in _SOUGHT):
            raise UnreadableCheckpoint(
                f"{ascii(name)[1:-1]} is nearly the name of {near!a}, and readers differ in whether they take it",
                where=path,
                fix="do not use this file: fetch it from its source again",
                code="VC490",
            )

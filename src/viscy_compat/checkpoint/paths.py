"""Paths that cannot be opened: addresses, patterns that no shell expanded, links to nothing."""

from __future__ import annotations

import os
import re

from viscy_compat.annotations import Final
from viscy_compat.layout import printable, quote_path, quote_word

_ADDRESS: Final = re.compile(r"([a-z][a-z0-9+.-]+)://(.+)", re.IGNORECASE)
"""Two letters before the colon at least: one alone is a drive of Windows."""

_HUB: Final = re.compile(r"(?:hf://|https?://huggingface\.co/)([^/]+/[^/]+)/(?:(?:blob|resolve)/([^/]+)/)?(.+)")


def explain_path(path: str, reason: str) -> tuple[str, str]:
    """Return what is wrong with a path, and what to do.

    Parameters
    ----------
    path : str
        As given.
    reason : str
        What the system says.

    Examples
    --------
    >>> explain_path("no-such-folder/*.ckpt", "No such file or directory")[0]
    'no file has a name of this pattern'
    """
    address = _ADDRESS.fullmatch(path)
    if address:
        return "this is an address, not a file", f"fetch the file first: {_fetch(path, address[1].lower())}"
    if os.path.islink(path):
        target = os.readlink(path)
        if "annex/objects/" in target.replace(os.sep, "/"):
            return (
                "this is a git-annex link, and its file is not here",
                f"fetch the file: git annex get {quote_path(path)}",
            )
        return f"this is a link to {ascii(target)[1:-1]}, which is not there", "make the link anew, or remove it"
    for place in (place for place, letter in enumerate(path) if letter == ":"):
        # as addresses are written in reports: a colon more would name the prefix in a set
        if os.path.isfile(path[:place]) and not os.path.lexists(path):
            file, rest = quote_path(path[:place]), quote_word(printable(path[place + 1 :]))
            said = "no such file; a set of weights in one is named by an option, and not behind its name"
            return said, f"{file} --state-dict {rest}"
    if any(char in path for char in "*?[") and not os.path.lexists(path):
        from glob import glob
        from itertools import islice

        matches = list(islice(sorted(glob(path)), 4))
        if not matches:
            return "no file has a name of this pattern", "check the folder: the shell passes on what it cannot expand"
        names = " ".join(map(quote_path, matches[:3])) + (" ..." if len(matches) > 3 else "")
        return "this is a pattern, which only a shell expands", f"leave the quotes out, or name the files: {names}"
    return reason, "check the path"


def _fetch(path: str, scheme: str) -> str:
    hub = _HUB.fullmatch(path)
    if hub:
        revision = f" --revision {quote_path(hub[2])}" if hub[2] and hub[2] != "main" else ""
        return f"hf download {quote_path(hub[1])} {quote_path(hub[3].partition('?')[0])}{revision}"
    name = path.partition("?")[0].rstrip("/").rpartition("/")[2] or "FILE"
    commands = {"s3": "aws s3 cp", "gs": "gcloud storage cp", "az": "azcopy copy", "abfs": "azcopy copy"}
    if scheme in commands:
        return f"{commands[scheme]} {quote_path(path)} {quote_path(name)}"
    if scheme == "file":
        return "leave the scheme out: " + quote_path(_ADDRESS.sub(r"\2", path))
    return f"curl -L -o {quote_path(name)} {quote_path(path)}"

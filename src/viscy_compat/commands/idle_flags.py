"""Flags that change nothing beside others: whoever types one means something by it, so it is not passed over in silence."""

from __future__ import annotations

import os

from viscy_compat.annotations import TYPE_CHECKING, Any, Callable, Mapping, Sequence
from viscy_compat.named import NamedTuple
from viscy_compat.report import say

if TYPE_CHECKING:
    from argparse import Namespace

OLD_CODE = ("--repo", "--rev", "--wheel", "--trust-repo", "--legacy-python")
"""What says where the old classes come from, and which interpreter runs them."""


class IdleFlags(NamedTuple):
    """Flags that change nothing in a case.

    Parameters
    ----------
    flags : Sequence[str]
        As they are typed.
    case : Callable[[Namespace], bool]
        Whether the words are such a case.
    why : str
        The case, in words that follow "changes nothing".
    """

    flags: Sequence[str]
    case: Callable[[Namespace], Any]
    why: str


def name_idle(
    command: str, arguments: Namespace, rows: Sequence[IdleFlags], usual: Mapping[str, Any] | None = None
) -> None:
    """Name on stderr the flags that were given and change nothing; the command goes on, as scripts rely on.

    Parameters
    ----------
    command : str
        Its name.
    arguments : Namespace
        The words of the command, read.
    rows : Sequence[IdleFlags]
        What changes nothing in this command, and when.
    usual : Mapping[str, Any], optional
        Defaults that are not empty, by flag: that value counts as not given.
    """
    named: set[str] = set()
    for row in rows:
        idle = []
        for flag in row.flags if row.case(arguments) else ():
            value = getattr(arguments, flag.lstrip("-").replace("-", "_"))
            # one reason is enough
            if value and value != (usual or {}).get(flag) and flag not in named:
                idle.append(flag)
        named.update(idle)
        if idle:
            verb = "changes" if len(idle) == 1 else "change"
            say(f"viscy-compat {command}: {' and '.join(idle)} {verb} nothing {row.why}", to="stderr")


WITHOUT_A_CLONE = IdleFlags(
    ("--trust-repo",),
    lambda given: not (given.repo or (os.environ.get("VISCY_COMPAT_REPO") and not getattr(given, "wheel", None))),
    "where no clone is read (--repo, $VISCY_COMPAT_REPO)",
)

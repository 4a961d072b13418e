"""Flags that change nothing beside others: whoever types one means something by it, so it is refused and not passed over."""

from __future__ import annotations

import os

from viscy_compat.annotations import TYPE_CHECKING, Any, Callable, Mapping, Sequence
from viscy_compat.errors import UsageError
from viscy_compat.named import NamedTuple

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


def refuse_idle(arguments: Namespace, rows: Sequence[IdleFlags], usual: Mapping[str, Any] | None = None) -> None:
    """Refuse flags that were given and change nothing.

    Parameters
    ----------
    arguments : Namespace
        The words of a command, read.
    rows : Sequence[IdleFlags]
        What changes nothing in this command, and when.
    usual : Mapping[str, Any], optional
        Defaults that are not empty, by flag: that value counts as not given.

    Raises
    ------
    UsageError
        Names the first such flag.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> row = IdleFlags(("--repo",), lambda given: not given.prove, "without --prove")
    >>> refuse_idle(SimpleNamespace(repo=None, prove=False), [row])
    >>> refuse_idle(SimpleNamespace(repo="VisCy", prove=False), [row])
    Traceback (most recent call last):
    viscy_compat.errors.UsageError: --repo changes nothing without --prove; leave it out
    """
    for row in rows:
        for flag in row.flags if row.case(arguments) else ():
            value = getattr(arguments, flag.lstrip("-").replace("-", "_"))
            if value and value != (usual or {}).get(flag):
                raise UsageError(f"{flag} changes nothing {row.why}", fix="leave it out")


WITHOUT_A_CLONE = IdleFlags(
    ("--trust-repo",),
    lambda given: not (given.repo or (os.environ.get("VISCY_COMPAT_REPO") and not getattr(given, "wheel", None))),
    "where no clone is read (--repo, $VISCY_COMPAT_REPO)",
)

"""Addresses: one text that says which set of weights in a file is meant, `PATH` or `PATH:PREFIX`.

`PATH` is the dotted path of a state dict in the file, empty for the top, a dot for an entry whose name is empty. `PREFIX` is
what the names of the set begin with in that state dict, with its dot; it may be empty (the names that stand at the top of a
state dict which holds other sets below prefixes). The path of a state dict always counts as it is, before anything is split
at a colon.
"""

from __future__ import annotations

from itertools import chain

from viscy_compat.annotations import Callable, Iterable, Iterator
from viscy_compat.checkpoint.facts import Checkpoint
from viscy_compat.errors import UnreadableCheckpoint
from viscy_compat.layout import printable
from viscy_compat.named import NamedTuple

_LISTED = 12
"""Addresses in an error: a screen full, where a file holds hundreds."""

NamesAt = Callable[[str], Iterable[str]]
"""The names of the tensors in the state dict at a path."""


class Address(NamedTuple):
    """The path of a state dict, and the prefix of a set in it; None stands for the state dict as a whole.

    Examples
    --------
    >>> str(Address("state_dict", "ema.model.")), str(Address("ema")), str(Address("", "teacher."))
    ('state_dict:ema.model.', 'ema', ':teacher.')
    """

    path: str
    prefix: str | None = None

    def __str__(self) -> str:
        return self.path if self.prefix is None else f"{self.path}:{self.prefix}"


def select_set(checkpoint: Checkpoint, text: str) -> Checkpoint:
    """Return the same file with another set of weights; the file is not read again.

    Raises
    ------
    UnreadableCheckpoint
        VC446 where there is none at that address.
    """
    if checkpoint.select is not None:
        return checkpoint.select(text)
    address = resolve_address(text, [checkpoint.site], lambda _: checkpoint.beside, checkpoint.path)
    copy = checkpoint.below(address.prefix)
    copy.stated = True
    return copy


def resolve_address(text: str, paths: list[str], names_of: NamesAt, where: str) -> Address:
    """Return the address that a text means in a file.

    Parameters
    ----------
    text : str
        As the user has it: an address, or short for one (`ema`, `state_dict.ema`), where only one set can be meant.
    paths : list[str]
        Paths of the state dicts in the file.
    names_of : NamesAt
        The names in each.
    where : str
        The file, for error messages.

    Raises
    ------
    UnreadableCheckpoint
        VC446 where nothing, or more than one set, could be meant.

    Examples
    --------
    >>> names = {"state_dict": ["model.w", "ema.model.w"], "other": ["w"]}
    >>> [str(resolve_address(text, list(names), names.get, "f")) for text in ("other", "ema", "state_dict.ema.model")]
    ['other', 'state_dict:ema.', 'state_dict:ema.model.']
    """
    if text in paths:
        return Address(text)
    spelled = [path for path in paths if text == printable(path)]
    if len(spelled) == 1:  # a control character, as reports print it
        return Address(spelled[0])
    # cut at a colon first: what is written out counts before what it could be short for
    cut = (_below(path, text[len(path) + 1 :], names_of) for path in paths if text.startswith(f"{path}:"))
    matches = list(dict.fromkeys(chain.from_iterable(cut))) or list(dict.fromkeys(_complete(text, paths, names_of)))
    if len(matches) == 1:
        return matches[0]
    choices = ", ".join(repr(str(each)) for each in (matches or map(Address, paths[:_LISTED])))
    problem = f"{text!a} could mean {len(matches)} sets of weights" if matches else f"no state dict at {text!a}"
    fix = f"choose one of: {choices}" if paths else "the file holds none: give one that does"
    if not matches and paths:
        fix += "; a set inside one is named PATH:PREFIX"
    raise UnreadableCheckpoint(problem, where=where, fix=fix, code="VC446")


def _complete(text: str, paths: list[str], names_of: NamesAt) -> Iterator[Address]:
    """Yield what a text could be short for: the end of a path, or a prefix with a dot for the colon, or without path."""
    bare = text.strip(".")
    for path in paths:
        if not text and path == ".":  # as long as the top of the file is no state dict
            yield Address(path)
        if bare and (path == bare or path.endswith(f".{bare}")):
            yield Address(path)
        elif bare and path and bare.startswith(f"{path}."):
            yield from _below(path, bare[len(path) + 1 :], names_of)
        elif bare:
            yield from _below(path, bare, names_of)


def _below(path: str, prefix: str, names_of: NamesAt) -> Iterator[Address]:
    start = prefix if prefix.endswith(".") or not prefix else f"{prefix}."
    if any(name.startswith(start) for name in names_of(path)):
        yield Address(path, start)

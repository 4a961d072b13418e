"""Look things up without a judgement: what a file holds, what a configuration does, what is published, what a code means.

The commands of these names print the same reports.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from viscy_compat.architectures import asking, find
from viscy_compat.architectures.asking import Answer
from viscy_compat.checkpoint import open_checkpoint
from viscy_compat.checkpoint.inspection import Inspection, inspect_checkpoint
from viscy_compat.checkpoint.limits import DEFAULT_LIMITS, Limits
from viscy_compat.checkpoint.locations import public_name
from viscy_compat.diagnosis.sets import choose_set, facts_of
from viscy_compat.diagnosis.zoo import ZooEntry
from viscy_compat.diagnosis.zoo import zoo as list_published
from viscy_compat.errors import UnreadableCheckpoint, UsageError
from viscy_compat.findings import CATALOGUE, Explanation, Report
from viscy_compat.stated import with_tuples


def inspect(
    path: str | os.PathLike[str], *, state_dict: str | None = None, every_byte: bool = False
) -> Report[Inspection]:
    """Say what is in a file, without torch: wrapper, tensors, hyper-parameters, optimizer state, names in the pickle.

    Parameters
    ----------
    path : str or os.PathLike
        The checkpoint.
    state_dict : str, optional
        The address of the set of weights that is meant, where the file holds several.
    every_byte : bool, optional
        Verify every stored checksum.

    Returns
    -------
    Report[Inspection]
        A file that cannot be read is a result too.

    Examples
    --------
    >>> inspect("nowhere.ckpt").results[0].exit_code
    2
    """
    return Report("inspect", [inspection_of(os.fspath(path), state_dict=state_dict, every_byte=every_byte)])


def inspection_of(
    path: str, *, limits: Limits = DEFAULT_LIMITS, state_dict: str | None = None, every_byte: bool = False
) -> Inspection:
    """Return what is in one file, or why it cannot be read."""
    path = public_name(path)
    try:
        checkpoint = open_checkpoint(path, limits=limits, state_dict=state_dict)
        return inspect_checkpoint(checkpoint, every_byte=every_byte, sets=facts_of(choose_set(checkpoint)))
    except UnreadableCheckpoint as error:
        return Inspection(path, error=error)


def ask(
    class_name: str,
    config: Mapping[str, Any] | None = None,
    *,
    input: Iterable[int] | None = None,
    **arguments: Any,
) -> Report[Answer]:
    """Say what a configuration does with an input, before anybody trains it; without torch.

    Parameters
    ----------
    class_name : str
        The class.
    config : Mapping[str, Any], optional
        Constructor arguments; defaults stand for the rest.
    input : Iterable[int], optional
        The shape of the input, batch first; by default the one that the configuration is made for.
    **arguments : Any
        The same as `config`, as keywords.

    Raises
    ------
    UsageError
        Where there is no such class or argument, or a required one is missing.

    Examples
    --------
    >>> answer = ask("BetaVae25D", backbone="convnext_tiny").results[0]
    >>> answer.outcome.exact, answer.outcome.outputs["recon_x"], dict(answer.nearby[0])
    (False, (2, 2, 16, 512, 512), {'decoder_stages': 3})
    """
    stated = {name: with_tuples(value) for name, value in {**(config or {}), **arguments}.items()}
    return Report("explore", [asking.ask(find(class_name), stated, None if input is None else tuple(input))])


def zoo(*words: str) -> Report[ZooEntry]:
    """List the published checkpoints; with words, those whose nickname, file or class has one of them.

    Raises
    ------
    UsageError
        Where a word is in none of them.

    Examples
    --------
    >>> [entry.class_name for entry in zoo("vscyto2d").results]
    ['FullyConvolutionalMAE']
    """
    return Report("zoo", list_published(words))


def explain(*codes: str) -> Report[Explanation]:
    """Say what finding codes mean and what to do; all of them without one.

    Raises
    ------
    UsageError
        Where there is no such code.

    Examples
    --------
    >>> explain("VC105").results[0].entry.title
    'the layout is that of an older generation'
    """
    return Report("explain", explanations_of(codes))


def explanations_of(codes: Iterable[str]) -> Iterator[Explanation]:
    """Yield the entries of the catalogue that are asked for; without a code a line of each."""
    entries = []
    for code in codes:
        entry = CATALOGUE.get(code.upper())
        if entry is None:
            raise UsageError(f"there is no finding code {code!r}", fix="viscy-compat explain lists them all")
        entries.append(entry)
    for entry in entries or CATALOGUE.values():
        yield Explanation(entry, shortened=not entries)

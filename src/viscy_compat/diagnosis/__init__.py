"""What a checkpoint is: class, generation, configuration, verdict, plan. This is `check`.

Identification goes by keys and shapes alone; file names, hyper-parameters and what the user states only confirm or
contradict. Facts come from `viscy_compat.checkpoint`, knowledge from `viscy_compat.architectures`.
"""

from __future__ import annotations

import os

from viscy_compat.annotations import Any, Final, Iterable, Iterator, Literal, Mapping
from viscy_compat.architectures import find
from viscy_compat.checkpoint import open_checkpoint
from viscy_compat.checkpoint.limits import DEFAULT_LIMITS, Limits, with_limits
from viscy_compat.checkpoint.locations import public_name
from viscy_compat.diagnosis.folders import checkpoint_files
from viscy_compat.diagnosis.judgement import judge, unreadable
from viscy_compat.diagnosis.result import CheckResult, Diagnosis, Identity, Recognised, Stranger, Unreadable
from viscy_compat.errors import UnreadableCheckpoint
from viscy_compat.findings import Aside, Report
from viscy_compat.stated import Statement, config_statements

Depth = Literal["verdict", "every byte"]

_OF_A_TENSOR: Final = "torch.storage._load_from_bytes"
"""What ``pickle.dump`` writes for a tensor."""

__all__ = [
    "CheckResult",
    "Diagnosis",
    "Identity",
    "Recognised",
    "Stranger",
    "Unreadable",
    "check",
    "check_paths",
    "diagnose",
    "judge",
]


def check(
    path: str | os.PathLike[str],
    *,
    class_name: str = "",
    config: Mapping[str, Any] | None = None,
    state_dict: str | None = None,
) -> Report[CheckResult]:
    """Say whether a checkpoint loads into the migrated class, without torch.

    Parameters
    ----------
    path : str or os.PathLike
        The checkpoint, or a folder that holds some.
    class_name : str, optional
        The class that it is stated to be.
    config : Mapping[str, Any], optional
        Constructor arguments that are stated.
    state_dict : str, optional
        The address of the set of weights that is meant, where the file holds several (``"state_dict_ema"``,
        ``"state_dict:ema.model."``).

    Returns
    -------
    Report
        With `verdict` and `findings`; true where the exit code would be 0. A file that cannot be read is a result
        (``unreadable``), not an exception.

    Examples
    --------
    >>> report = check("nowhere.ckpt")
    >>> report.verdict, bool(report)
    ('unreadable', False)
    """
    statements = config_statements(config)
    aside: list[Aside] = []
    results = list(
        check_paths([os.fspath(path)], class_name=class_name, statements=statements, state_dict=state_dict, aside=aside)
    )
    return Report("check", results, aside=aside)


def check_paths(
    paths: Iterable[str],
    *,
    class_name: str | None = None,
    statements: tuple[Statement, ...] = (),
    state_dict: str | None = None,
    limits: Iterable[str] = (),
    strict: bool = False,
    depth: Depth = "verdict",
    aside: list[Aside] | None = None,
) -> Iterator[CheckResult]:
    """Check files, and every checkpoint below folders, one after the other; a bad one never stops the rest.

    Parameters
    ----------
    paths : Iterable[str]
        Files and folders.
    class_name, statements, state_dict
        As `diagnose` has them, for each of the files.
    limits : Iterable[str], optional
        Limits of the reader, as ``NAME=VALUE``.
    strict : bool, optional
        Whether a file is a finding whose predictions depend on something that is not known.
    depth : {"verdict", "every byte"}, optional
        As `diagnose` has it.
    aside : list[Aside], optional
        What lies in a folder and is no checkpoint (the state of an optimizer, of random numbers) is added to it.

    Raises
    ------
    UsageError
        Where a limit or the class is not known, a folder holds no checkpoint, or what is stated cannot be meant: no
        class has an argument of that name or, for one file alone, its class has not.
    """
    reader_limits = with_limits(list(limits))
    aside = [] if aside is None else aside
    names_given = list(paths)
    # what is stated for one file is refused where it cannot be meant; for a folder it may be meant for another
    # file
    alone = len(names_given) == 1 and not os.path.isdir(names_given[0])
    passed_over: list[tuple[Aside, CheckResult]] = []
    weights = False
    for path, is_named in checkpoint_files(names_given, aside):
        diagnosis = diagnose(
            path,
            class_name=class_name or "",
            statements=statements,
            state_dict=state_dict,
            limits=reader_limits,
            alone=alone,
            depth=depth,
        )
        if isinstance(diagnosis, Unreadable) and diagnosis.bystander and not is_named:
            passed_over.append((Aside(path, diagnosis.bystander), diagnosis.result))
            aside.append(passed_over[-1][0])
        else:
            weights = True
            yield diagnosis.result._replace(strict=strict)
    if not weights:
        # beside nothing, the state of an optimizer is no bystander: nothing was found to load
        aside[:] = [row for row in aside if row not in [each for each, _ in passed_over]]
        yield from (result._replace(strict=strict) for _, result in passed_over)


def diagnose(
    path: str,
    *,
    class_name: str = "",
    statements: tuple[Statement, ...] = (),
    state_dict: str | None = None,
    limits: Limits = DEFAULT_LIMITS,
    drops: tuple[str, ...] = (),
    alone: bool = True,
    depth: Depth = "verdict",
) -> Diagnosis:
    """Read one checkpoint and judge it.

    Parameters
    ----------
    path : str
        The file.
    class_name : str, optional
        The class that the user states.
    statements : tuple[Statement, ...], optional
        Constructor arguments that the user states, the most binding first.
    state_dict : str, optional
        The address of the set of weights that is meant.
    limits : Limits, optional
        Of the reader.
    drops : tuple[str, ...], optional
        Tensors that the user takes out of the model (``--drop``).
    alone : bool, optional
        Whether the statements are meant for this file: then what is not about its class is refused, and not only said.
    depth : {"verdict", "every byte"}, optional
        How much of the file is read: what the verdict needs, or all that it keeps checksums of too.

    Returns
    -------
    Diagnosis
        A file that cannot be read gives the verdict ``unreadable``, not an exception.

    Raises
    ------
    UsageError
        Where the class is not known, or what is stated cannot be meant.
    """
    # find() refuses a class that is not known before a file is opened
    class_name, path = find(class_name).name if class_name else "", public_name(path)
    try:
        checkpoint = open_checkpoint(path, limits=limits, state_dict=state_dict, undecided="read")
        # a verdict needs names and shapes; `audit` also asks whether the bytes are those that were written
        if depth == "every byte":
            from viscy_compat.checkpoint.thorough import refuse_damage

            refuse_damage(checkpoint)
        diagnosis = judge(checkpoint, class_name=class_name, statements=statements, drops=drops, alone=alone)
    except UnreadableCheckpoint as error:
        return Unreadable(unreadable(path, error), bystander=_bystander(path, error))
    if not isinstance(diagnosis, Stranger):
        return diagnosis
    from viscy_compat.diagnosis.by_structure import reconsider

    return reconsider(diagnosis, class_name, statements)


def _bystander(path: str, error: UnreadableCheckpoint) -> str:
    """Return what a file is that lies beside checkpoints without being one; empty for what should be one."""
    from viscy_compat.checkpoint.foreign import ForeignPickle, NotWeights

    if isinstance(error, NotWeights):
        # accelerate's sampler.bin and a script's own counters hold no tensor; a .ckpt without one is no checkpoint
        beside = error.role == "beside" or (error.role == "tensorless" and not path.lower().endswith(".ckpt"))
        return error.what if beside else ""
    # endings that programs use for anything: a .ckpt or .pt that is no checkpoint is worth an error
    vague = path.lower().endswith((".bin", ".pkl", ".tar"))
    tensors = _OF_A_TENSOR in error.message
    return (
        error.message if vague and not tensors and (error.code == "VC407" or isinstance(error, ForeignPickle)) else ""
    )

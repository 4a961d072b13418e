"""Checkpoints as torch objects: the state dict of the migrated class, or the model itself, strictly.

The file is read by our own reader, so nothing that it names is imported or called, and its CRCs are verified. Bytes are
read and not mapped into memory, unless that is asked for: a file that is cut while it is mapped kills the process.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from viscy_compat.architectures import find
from viscy_compat.checkpoint.locations import public_name
from viscy_compat.checkpoint.tensor_bytes import TensorReader
from viscy_compat.diagnosis import Identity
from viscy_compat.diagnosis.address_flags import flag
from viscy_compat.diagnosis.causes import settings
from viscy_compat.errors import CompatError, MissingExtra, PlanRefused, UnreadableCheckpoint, UsageError, install_line
from viscy_compat.layout import quote_path
from viscy_compat.plans.streams import target_tensors
from viscy_compat.rewrite.choosing import FilePlan, NoPlan, RemapRequest, choose
from viscy_compat.rewrite.write import stored_tensors, verify_partly_read
from viscy_compat.stated import config_statements, spell

if TYPE_CHECKING:
    import torch


def load_state_dict(
    path: str | os.PathLike[str],
    *,
    class_name: str = "",
    config: Mapping[str, Any] | None = None,
    state_dict: str | None = None,
    mmap: bool = False,
) -> dict[str, torch.Tensor]:
    """Return the weights of a checkpoint with the names, shapes and dtypes of the migrated class.

    Parameters
    ----------
    path : str or os.PathLike
        The checkpoint, of any generation and in any wrapper.
    class_name, config, state_dict
        As `viscy_compat.check` has them.
    mmap : bool, optional
        Map the file into memory instead of copying its tensors. Every CRC-32 that the file states is verified before
        this returns, by reading; what the disc, or somebody else, changes in the file afterwards is in the tensors, and
        where the file is cut while they are in use, the system ends the process (SIGBUS). The map is private: writing
        to a tensor changes no file. Tensors that are no plain run of bytes in a file of this machine (cast, put
        together, transposed, compressed, shared with another name, misaligned, behind an address) are copied as ever.

    Returns
    -------
    dict[str, torch.Tensor]
        On the CPU, contiguous, in the order of the class's own ``state_dict()``; it loads with ``strict=True``.

    Raises
    ------
    PlanRefused
        Where the file has no total plan to the migrated class.
    UnreadableCheckpoint
        Where the file cannot be read, is damaged, or is of no known class.
    MissingExtra
        Without torch.

    Examples
    --------
    >>> load_state_dict("nowhere.ckpt")
    Traceback (most recent call last):
    viscy_compat.errors.UnreadableCheckpoint: nowhere.ckpt: No such file or directory; check the path
    """
    return _tensors(_choose(path, class_name, config, state_dict), maps_file=mmap)


def load_model(
    path: str | os.PathLike[str],
    *,
    class_name: str = "",
    config: Mapping[str, Any] | None = None,
    state_dict: str | None = None,
) -> torch.nn.Module:
    """Return the migrated model with the weights of a checkpoint, in eval mode.

    Parameters
    ----------
    path : str or os.PathLike
        The checkpoint, of any generation and in any wrapper.
    class_name, config, state_dict
        As `viscy_compat.check` has them. `config` must state the arguments that weights do not tell and that change
        predictions.

    Raises
    ------
    UsageError
        Where such an argument is not stated: its candidates are listed.
    PlanRefused, UnreadableCheckpoint, MissingExtra
        As `load_state_dict`.

    Warns
    -----
    UserWarning
        Names the arguments that were assumed and change no prediction.
    """
    choice = _choose(path, class_name, config, state_dict)
    identity = choice.result.identity if choice.result else None
    if identity is None:
        raise PlanRefused("no class was recognised", where=choice.checkpoint.path, fix="state it: class_name=...")
    # before torch is imported: who must state something first does not wait for that
    _refuse_open_choices(identity, choice.checkpoint.path)
    architecture = find(identity.class_name)
    build = _import(identity.target, architecture.install)
    _torch()
    from viscy_compat.building import build_to_fill, can_assign

    model = build_to_fill(lambda: build(**architecture.with_lists(identity.config, list)))
    model.load_state_dict(_tensors(choice), strict=True, assign=can_assign(model))
    return model.eval()


def _choose(
    path: str | os.PathLike[str], class_name: str, config: Mapping[str, Any] | None, state_dict: str | None
) -> FilePlan:
    found = choose(RemapRequest(public_name(os.fspath(path)), class_name, config_statements(config), state_dict))
    if isinstance(found, NoPlan):
        raise _refusal(found)
    return found


def _refusal(found: NoPlan) -> CompatError:
    """Return the error that says what the verdict says; the first finding is the most severe."""
    result = found.result
    first = result.findings[0]
    errors = "; ".join(finding.message for finding in result.findings if finding.severity == "error")
    address = flag(result.state_dict if len(result.sets) > 1 else None)
    fix = first.fix or f"viscy-compat check {quote_path(result.file)}{address} says more"
    kind = PlanRefused if result.verdict == "incompatible" else UnreadableCheckpoint
    return kind(errors or first.message, where=result.file, fix=fix, code=first.code)


def _refuse_open_choices(identity: Identity, path: str) -> None:
    """Refuse to guess what would change predictions; say what else was assumed."""
    rows = identity.undetermined.values()
    unknown = [row for row in rows if row.changes_predictions]
    abouts = {argument.name: argument.about for argument in find(identity.class_name).arguments}
    meanings = []
    for row in unknown:
        # six candidates can be told apart in a line; the class's documentation has the others
        candidates = ", or ".join(dict.fromkeys(map(settings, row.candidates[:6])))
        more = ", or others" if len(row.candidates) > 6 or not row.complete else ""
        about = f"; {abouts[row.name]}" if abouts[row.name] else ""
        meanings.append(f"{row.name}: {row.why}{about}; candidates: {candidates}{more}")
    if unknown:
        raise UsageError(
            f"the weights do not tell {' and '.join(row.name for row in unknown)}, and predictions depend on it: "
            + "; ".join(meanings),
            where=path,
            fix=f"state it: config={{{', '.join(f'{row.name!r}: ...' for row in unknown)}}}",
        )
    assumed = [f"{row.name}={spell(row.assumed)}" for row in rows]
    if assumed:
        text = ", ".join(assumed)
        # level 4: the line of the user's that called load_model, through the wrapper of the public functions
        warnings.warn(f"{path}: assumed, and no prediction depends on it: {text}", stacklevel=4)


def _tensors(choice: FilePlan, *, maps_file: bool = False) -> dict[str, torch.Tensor]:
    targets = target_tensors(choice.plan, stored_tensors(choice.checkpoint, choice.keys))
    _torch()
    from viscy_compat.tensors import read_tensors

    with TensorReader(choice.checkpoint) as reader:
        tensors = read_tensors(targets, reader, maps_file=maps_file)
        # reading a part of a storage verifies nothing: its CRC is that of the whole
        verify_partly_read(targets, reader)
    return tensors


def _import(path: str, install: str) -> Any:
    """Import a class; ``install`` is how it is installed where another package than ours has it."""
    from importlib import import_module

    module, _, name = path.rpartition(".")
    try:
        return getattr(import_module(module), name)
    except ImportError as error:
        raise (MissingExtra(f"{path} is not installed", fix=install) if install else _missing_extra(error)) from error
    except AttributeError as error:
        if not install:
            raise
        message = f"{path} is not installed: the viscy_models that was imported is another package"
        raise MissingExtra(message, fix=f"{install} in an environment of its own") from error


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise _missing_extra(error) from error
    return torch


def _missing_extra(error: ImportError) -> MissingExtra:
    fix = f"{install_line('models')}, then try again"
    return MissingExtra(f"{error.name or 'a package'} is not installed", fix=fix)

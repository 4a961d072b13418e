"""Bytes to `Checkpoint`: reads any checkpoint with the standard library alone; nothing that a file names is called.

`open_checkpoint` reads the facts, `TensorReader` the bytes of tensors.
"""

from __future__ import annotations

from viscy_compat.annotations import Literal
from viscy_compat.checkpoint.facts import Checkpoint
from viscy_compat.checkpoint.limits import DEFAULT_LIMITS, Limits

__all__ = ["Checkpoint", "Limits", "open_checkpoint"]


def open_checkpoint(
    path: str,
    *,
    limits: Limits = DEFAULT_LIMITS,
    state_dict: str | None = None,
    undecided: Literal["refuse", "read"] = "refuse",
) -> Checkpoint:
    """Read what a file says about itself: a few kilobytes of it, never a tensor's bytes.

    Parameters
    ----------
    path : str
        A torch file (zip or pre-1.6), a whole-module pickle, safetensors, or a sharded ``*.index.json``.
    limits : Limits, optional
        Beyond these the file is refused (VC404).
    state_dict : str, optional
        Which set of weights is meant, as an address (`viscy_compat.checkpoint.address`): the dotted path of a state dict
        (``"ema.state_dict"``; ``""`` for the top), or that and a prefix (``"state_dict:ema.model."``).
    undecided : {"refuse", "read"}, optional
        What happens where several state dicts are there and none is the usual one: an error (VC445), or the first one
        is read, and `Checkpoint.decided` is False.

    Returns
    -------
    Checkpoint
        With at least one tensor, or with `Checkpoint.unreadable` saying why there is none.

    Raises
    ------
    UnreadableCheckpoint
        With a VC4xx code: no checkpoint, damaged, hostile, or beyond a limit.
    """
    from viscy_compat.checkpoint.reading import read_checkpoint

    checkpoint = read_checkpoint(path, limits, state_dict)
    if undecided == "refuse" and not checkpoint.decided:
        from viscy_compat.checkpoint.state_dicts import several_state_dicts

        raise several_state_dicts(checkpoint)
    return checkpoint

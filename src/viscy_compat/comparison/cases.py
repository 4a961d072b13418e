"""Two answers to one case, compared: layouts, seeded weights, outputs, and what a pass leaves behind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from viscy_compat.architectures.architecture import AcceptedDifference, Case
from viscy_compat.comparison.failures import UNDECIDED, Failure, Judgement
from viscy_compat.comparison.layouts import layout_failures
from viscy_compat.layout import fold, printable, spell_count
from viscy_compat.workers.answers import MODES, Mode, Pass, Raised, WorkerAnswer, name_outputs


def compare(
    old: WorkerAnswer, new: WorkerAnswer, case: Case, rows: Sequence[AcceptedDifference] = (), names: Sequence[str] = ()
) -> Judgement:
    """Compare what the two sides said of one case.

    Parameters
    ----------
    old, new : WorkerAnswer
        With layout, initial weights and passes, where the model was built.
    case : Case
        The case; failures name it.
    rows : Sequence[AcceptedDifference]
        The accepted differences that apply to the case.
    names : Sequence[str]
        What the class calls its outputs, in order.
    """
    if gaps := [f"{side} {what}" for side, answer in _with_labels(old, new) for what in _gaps(answer)]:
        return Judgement((Failure(UNDECIDED, f"nothing can be said: {', '.join(gaps)}", case),))
    if old.error or new.error:
        return refusals(old.error, new.error, case, rows, ran=False)
    failures = list(layout_failures(old.layout, new.layout, case))
    failures += _initial_failures(old, new, case)
    # nobody can have trained it, so that no checkpoint depends on what differs
    if failures and never_ran(old.passes.values()):
        return Judgement((free(failures, case),))
    if {failure.code for failure in failures} & {"VC111", "VC211", "VC212"}:
        # weights are filled by name and shape: other names mean other weights, and the outputs would say nothing
        return Judgement(tuple(failures))
    judgements = [_modes(old, new, mode, case, rows, names) for mode in MODES]
    ids = tuple(name for judgement in judgements for name in judgement.accepted)
    return Judgement((*failures, *(f for judgement in judgements for f in judgement.failures)), ids)


def never_ran(passes: Iterable[object]) -> bool:
    """Whether a class raised at every forward pass, so that nobody can have trained it.

    Examples
    --------
    >>> never_ran([Raised("forward", "TypeError", "")]), never_ran([])
    (True, False)
    """
    outcomes = list(passes)
    return bool(outcomes) and all(isinstance(row, Raised) for row in outcomes)


def free(failures: Sequence[Failure], case: Case) -> Failure:
    """Return the note that stands for failures in a configuration of which there is no checkpoint."""
    differences = "; ".join(failure.message for failure in failures)
    keys = dict.fromkeys(key for failure in failures for key in failure.keys)
    return Failure("VC340", f"the old class never ran here: {differences}", case, tuple(keys))


def _gaps(answer: WorkerAnswer) -> Iterator[str]:
    """Say what an answer does not hold that a comparison needs: two sides that say nothing are not equal."""
    if answer.error:
        return
    if not answer.layout:
        yield "has no tensors"
    if answer.initial is None or len(answer.initial.digests) != len(answer.layout):
        yield "did not tell its initial weights"
    for mode in MODES:
        ran = answer.passes.get(mode)
        if ran is None or (isinstance(ran, Pass) and not all(output.digest for output in ran.outputs)):
            yield f"did not tell its outputs in {mode} mode"
        elif isinstance(ran, Pass) and not ran.outputs:
            yield f"returned no tensor in {mode} mode"


def refusals(
    old: Raised | None, new: Raised | None, case: Case, rows: Sequence[AcceptedDifference], *, ran: bool = True
) -> Judgement:
    """Judge two refusals, or one: both must refuse alike, or an accepted difference must say that one of them may.

    ``ran`` is false where the old class never ran: a candidate that runs there breaks no checkpoint.
    """
    if old and new and old.kind == new.kind:
        return Judgement()
    # the first row that names this side, this stage and this error; its id says in a report why it is wanted
    for row in rows:
        refusal = old if row.side == "old-refuses" else new
        if refusal and refusal.kind == (row.stage, row.error):
            return Judgement(accepted=(row.id,))
    sentences = [
        f"{side} {f'raises {printable(str(error))}' if error else 'runs'}" for side, error in _with_labels(old, new)
    ]
    code = "VC340" if old and not new and not ran else "VC504"
    return Judgement((Failure(code, ", ".join(sentences), case),))


def _with_labels(old: Any, new: Any) -> Iterable[tuple[str, Any]]:
    return (("the old class", old), ("the candidate", new))


def _initial_failures(old: WorkerAnswer, new: WorkerAnswer, case: Case) -> list[Failure]:
    if old.initial is None or new.initial is None:
        return []
    ours = dict(zip(old.layout, old.initial.digests, strict=True))
    theirs = dict(zip(new.layout, new.initial.digests, strict=True))
    same = [name for name in ours if name in theirs and old.layout[name] == new.layout[name]]
    differ = [name for name in same if ours[name] != theirs[name]]
    if differ:
        message = f"{len(differ)} of {len(same)} seeded initial weights differ, from {differ[0]} on"
        return [Failure("VC502", message, case, tuple(fold(differ)))]
    # other layers draw otherwise: the generator is compared only where every tensor stands on both sides
    if old.initial.generator != new.initial.generator and len(same) == len(ours) == len(theirs):
        return [Failure("VC502", "construction draws another number of random numbers", case)]
    return []


def _modes(
    old: WorkerAnswer,
    new: WorkerAnswer,
    mode: Mode,
    case: Case,
    rows: Sequence[AcceptedDifference],
    names: Sequence[str],
) -> Judgement:
    ours, theirs = old.passes[mode], new.passes[mode]
    if isinstance(ours, Raised) or isinstance(theirs, Raised):
        errors = [side if isinstance(side, Raised) else None for side in (ours, theirs)]
        judgement = refusals(errors[0], errors[1], case, rows, ran=not never_ran(old.passes.values()))
        failures = tuple(Failure(f.code, f"in {mode} mode {f.message}", case, mode=mode) for f in judgement.failures)
        return Judgement(failures, judgement.accepted)
    return Judgement(tuple(_pass_failures(ours, theirs, mode, case, names)))


def _pass_failures(old: Pass, new: Pass, mode: Mode, case: Case, called: Sequence[str]) -> Iterator[Failure]:
    if _form(old) != _form(new):
        yield Failure("VC507", f"forward returned {_spell(old)} and returns {_spell(new)}", case, mode=mode)
        return
    pairs = zip(name_outputs(old.outputs, called).items(), new.outputs, strict=True)
    differ = [name for (name, ours), theirs in pairs if ours.digest != theirs.digest]
    unrepeatable = old.unrepeatable or new.unrepeatable
    if unrepeatable:
        yield _by_distance(old, new, mode, case, unrepeatable)
    elif differ:
        names = ", ".join(differ)
        yield Failure("VC501", f"in {mode} mode the outputs differ ({names})", case, mode=mode)
    elif wild := [output.name for output in old.outputs if not output.finite]:
        yield Failure("VC505", f"in {mode} mode {', '.join(wild)} is not finite on both sides", case, mode=mode)
    # equal outputs do not show what a pass leaves behind: running statistics, and how many numbers it drew
    others = [name for name, digest in old.buffers.items() if new.buffers.get(name) != digest]
    if others:
        message = f"after a pass in {mode} mode {spell_count(len(others), 'buffer', 'differs', 'differ')}, from {others[0]} on"
        yield Failure("VC503", message, case, keys=tuple(fold(others)), mode=mode)
    if old.generator != new.generator:
        yield Failure("VC503", f"a pass in {mode} mode draws another number of random numbers", case, mode=mode)


FAR = 1e-4
"""How far outputs may be that no algorithm repeats, in units of the root mean square: float32 of an H100 is up to 1.6e-6
of the largest value away from that of a CPU."""


def _by_distance(old: Pass, new: Pass, mode: Mode, case: Case, unrepeatable: str) -> Failure:
    """Compare numbers where bytes say nothing, since the device has no repeatable algorithm for the pass."""
    distances = [
        abs(mine - theirs) / (ours.norm or 1.0)
        for ours, other in zip(old.outputs, new.outputs, strict=True)
        for mine, theirs in zip(ours.samples, other.samples, strict=True)
    ]
    farthest = max(distances, default=0.0)
    opening = f"in {mode} mode nothing repeats on this device ({printable(unrepeatable)})"
    # the largest of several does not show one that is no number
    if not all(distance <= FAR for distance in distances):
        return Failure("VC501", f"{opening}, and the outputs are {farthest:.2g} apart", case, mode=mode)
    return Failure("VC354", f"{opening}: compared by distance, {farthest:.2g}", case, mode=mode)


def _form(result: Pass) -> tuple[Any, ...]:
    # two classes of namespaces with the same fields are read alike by whoever calls the model
    kind = "namespace" if result.type.endswith("Namespace") else result.type
    return kind, *((output.name, output.shape, output.dtype) for output in result.outputs)


def _spell(result: Pass) -> str:
    return f"{result.type} of " + ", ".join(f"{output.name} {output.shape} {output.dtype}" for output in result.outputs)

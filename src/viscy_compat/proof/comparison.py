"""Two answers to one case, compared: failures as data, and the module where two models part. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from viscy_compat.architectures.architecture import AcceptedDifference, Case
from viscy_compat.errors import lacking
from viscy_compat.layout import Layout, fold, printable
from viscy_compat.proof.amounts import Amount
from viscy_compat.proof.answers import MODES, Answer, Call, Mode, Parameter, Pass, Raised, named

UNDECIDED = "VC631"
"""The code of a case in which a side said too little to compare."""


@dataclass(frozen=True)
class Failure:
    """One way in which the two sides differ in one case.

    Parameters
    ----------
    code : str
        The finding code.
    message : str
        What differs, in a sentence.
    case : Case or None
        The case; None where it is about the class as a whole.
    keys : tuple[str, ...]
        Tensor names, folded.
    mode : {"eval", "train", ""}
        The mode of the forward pass, where it is about one.
    module : str
        The first module whose output differs.
    amounts : tuple[Amount, ...]
        How far each output is from the old one, where that was measured.
    """

    code: str
    message: str
    case: Case | None = None
    keys: tuple[str, ...] = ()
    mode: Mode | str = ""
    module: str = ""
    amounts: tuple[Amount, ...] = ()

    @property
    def sentence(self) -> str:
        """The message, with how much and where it begins."""
        amounts = "; ".join(map(str, self.amounts))
        where = f"they part in {self.module}" if self.module else ""
        return "; ".join(filter(None, [self.message, amounts, where]))

    def to_dict(self) -> dict[str, Any]:
        """Return the failure as the JSON of the contract has it."""
        about = {"case": self.case.name, "config": _listed(self.case.config)} if self.case else {"config": {}}
        amounts = [amount.to_dict() for amount in self.amounts]
        more = {"keys": list(self.keys), "mode": self.mode, "module": self.module, "amounts": amounts}
        told = {"code": self.code, "message": self.sentence}
        return {**about, **told, **{name: value for name, value in more.items() if value}}


@dataclass(frozen=True)
class Judgement:
    """What comparing one case came to: failures, and the accepted differences that were used."""

    failures: tuple[Failure, ...] = ()
    accepted: tuple[str, ...] = ()


def compare(
    old: Answer, new: Answer, case: Case, rows: Sequence[AcceptedDifference] = (), names: Sequence[str] = ()
) -> Judgement:
    """Compare what the two sides said of one case.

    Parameters
    ----------
    old, new : Answer
        With layout, initial weights and passes, where the model was built.
    case : Case
        The case; failures name it.
    rows : Sequence[AcceptedDifference]
        The accepted differences that apply to the case.
    names : Sequence[str]
        What the class calls its outputs, in order.
    """
    if lacking := [f"{side} {what}" for side, told in _sides(old, new) for what in _lacking(told)]:
        return Judgement((Failure(UNDECIDED, f"nothing can be said: {', '.join(lacking)}", case),))
    if old.error or new.error:
        return refusals(old.error, new.error, case, rows, ran=False)
    failures = list(layout_failures(old.layout, new.layout, case))
    failures += _initial_failures(old, new, case)
    if failures and never_ran(old.passes.values()):
        return Judgement((free(failures, case),))
    if {failure.code for failure in failures} & {"VC111", "VC211", "VC212"}:
        # weights are filled by name and shape: other names mean other weights, and the outputs would say nothing
        return Judgement(tuple(failures))
    judgements = [_modes(old, new, mode, case, rows, names) for mode in MODES]
    used = tuple(name for judgement in judgements for name in judgement.accepted)
    return Judgement((*failures, *(f for judgement in judgements for f in judgement.failures)), used)


def never_ran(passes: Iterable[object]) -> bool:
    """Whether a class raised at every forward pass, so that nobody can have trained it.

    Examples
    --------
    >>> never_ran([Raised("forward", "TypeError", "")]), never_ran([])
    (True, False)
    """
    told = list(passes)
    return bool(told) and all(isinstance(row, Raised) for row in told)


def free(failures: Sequence[Failure], case: Case) -> Failure:
    """Return the note that stands for failures in a configuration of which there is no checkpoint."""
    told = "; ".join(failure.message for failure in failures)
    keys = dict.fromkeys(key for failure in failures for key in failure.keys)
    return Failure("VC340", f"the old class never ran here: {told}", case, tuple(keys))


def layout_failures(old: Layout, new: Layout, case: Case | None) -> Iterator[Failure]:
    """Say how two layouts differ, by DeepDiff: names, order, shapes, dtypes, a failure for each kind.

    Examples
    --------
    >>> from viscy_compat.layout import TensorSpec
    >>> old = {"a": TensorSpec((2,)), "b.0": TensorSpec((3,)), "b.1": TensorSpec((3,))}
    >>> new = {"c": TensorSpec((2,)), "b.0": TensorSpec((4,)), "b.1": TensorSpec((4,))}
    >>> for failure in layout_failures(old, new, None):
    ...     print(failure.code, failure.message)
    VC111 1 tensor is missing (a), 1 is new (c)
    VC211 2 tensors have another shape (b.{0..1}): (3,) became (4,)
    """
    if list(old.items()) == list(new.items()):
        return
    try:
        from deepdiff import DeepDiff
    except ModuleNotFoundError as error:
        raise lacking("saying how two layouts differ", error.name, "gate") from error
    # by default DeepDiff calls two dictionaries with few common names one changed value
    found = DeepDiff(_told(old), _told(new), view="tree", threshold_to_diff_deeper=0)
    gone, come = (_names(found, f"dictionary_item_{kind}") for kind in ("removed", "added"))
    if gone or come:
        yield Failure("VC111", _renamed(gone, come), case, tuple(fold([*gone, *come])))
    for code, what in (("VC211", "shape"), ("VC212", "dtype")):
        changed = {
            row.path(output_format="list")[0]: row for row in found.get("values_changed", ()) if _about(row, what)
        }
        if changed:
            row = next(iter(changed.values()))
            names = tuple(fold(name for name in old if name in changed))
            message = f"{_some(len(changed))} another {what} ({_short(names)}): {row.t1} became {row.t2}"
            yield Failure(code, message, case, names)
    moved = [mine for mine, theirs in zip(_common(old, new), _common(new, old), strict=True) if mine != theirs]
    if moved:
        yield Failure("VC112", f"{_some(len(moved))} another place, from {moved[0]} on", case, tuple(fold(moved)))


def signature_failures(old: Sequence[Parameter], new: Sequence[Parameter]) -> Iterator[Failure]:
    """Say what old calls of the constructor would mean something else now; arguments added at the end are fine.

    Examples
    --------
    >>> old = (Parameter("width", "POSITIONAL_OR_KEYWORD", True, 4),)
    >>> new = (Parameter("width", "POSITIONAL_OR_KEYWORD", True, 8),)
    >>> [failure.message for failure in signature_failures(old, new)]
    ['argument 1 was width=4 and is width=8']
    """
    known = [row for row in new if not row.kind.startswith("VAR_")]
    for place, was in enumerate(row for row in old if not row.kind.startswith("VAR_")):
        now = known[place] if place < len(known) else None
        if (
            now is None
            or (now.name, now.kind, now.optional) != (was.name, was.kind, was.optional)
            or _plain(now) != _plain(was)
        ):
            yield Failure("VC311", f"argument {place + 1} was {was} and is {now or 'gone'}", keys=(was.name,))
    for row in known[len([row for row in old if not row.kind.startswith("VAR_")]) :]:
        if not row.optional:
            yield Failure("VC311", f"{row.name} is a new argument without a default", keys=(row.name,))
    if {row.kind for row in old if row.kind.startswith("VAR_")} - {row.kind for row in new}:
        yield Failure("VC311", "further keyword arguments are not taken any more")


def parting(old: Sequence[Call], new: Sequence[Call]) -> str:
    """Return the first module where two models part, by the calls of their submodules in the order in which they ended.

    A module whose output differs although it was given the same is named itself. Where its input differs already, the
    difference arose between modules, in the code of the innermost module around it that was still given the same.

    Examples
    --------
    >>> old = [Call("a", "Linear", "1", "2"), Call("b", "ReLU", "2", "3"), Call("", "Model", "1", "3")]
    >>> parting(old, [old[0], Call("b", "Identity", "2", "2"), Call("", "Model", "1", "2")])
    'b'
    >>> parting(old, [old[0], Call("b", "ReLU", "9", "9"), Call("", "Model", "1", "9")])
    '(the whole model)'
    >>> parting(old, old)
    ''
    """
    theirs, ours = _numbered(new), _numbered(old)
    for key, call in ours.items():
        other = theirs.get(key)
        if other is None:
            return _shown(_around(call.module, ours, theirs))
        if other.returned != call.returned:
            return _shown(call.module if other.given == call.given else _around(call.module, ours, theirs))
    return ""


# --- what is missing ---------------------------------------------------------------------------------------------


def _lacking(told: Answer) -> Iterator[str]:
    """Say what an answer does not hold that a comparison needs: two sides that say nothing are not equal."""
    if told.error:
        return
    if not told.layout:
        yield "has no tensors"
    if told.initial is None or len(told.initial.digests) != len(told.layout):
        yield "did not tell its initial weights"
    for mode in MODES:
        ran = told.passes.get(mode)
        if ran is None or (isinstance(ran, Pass) and not all(output.digest for output in ran.outputs)):
            yield f"did not tell its outputs in {mode} mode"
        elif isinstance(ran, Pass) and not ran.outputs:
            yield f"returned no tensor in {mode} mode"


# --- refusals ----------------------------------------------------------------------------------------------------


def refusals(
    old: Raised | None, new: Raised | None, case: Case, rows: Sequence[AcceptedDifference], *, ran: bool = True
) -> Judgement:
    """Judge two refusals, or one: both must refuse alike, or an accepted difference must say that one of them may.

    ``ran`` is false where the old class never ran: a candidate that runs there breaks no checkpoint.
    """
    if old and new and old.kind == new.kind:
        return Judgement()
    for row in rows:
        refusal = old if row.side == "old-refuses" else new
        if refusal and refusal.kind == (row.stage, row.error):
            return Judgement(accepted=(row.id,))
    told = [f"{side} {f'raises {printable(str(error))}' if error else 'runs'}" for side, error in _sides(old, new)]
    code = "VC340" if old and not new and not ran else "VC504"
    return Judgement((Failure(code, ", ".join(told), case),))


def _sides(old: Any, new: Any) -> Iterable[tuple[str, Any]]:
    return (("the old class", old), ("the candidate", new))


# --- numbers -----------------------------------------------------------------------------------------------------


def _initial_failures(old: Answer, new: Answer, case: Case) -> list[Failure]:
    if old.initial is None or new.initial is None:
        return []
    ours = dict(zip(old.layout, old.initial.digests, strict=True))
    theirs = dict(zip(new.layout, new.initial.digests, strict=True))
    same = [name for name in ours if name in theirs and old.layout[name] == new.layout[name]]
    differ = [name for name in same if ours[name] != theirs[name]]
    if differ:
        message = f"{len(differ)} of {len(same)} seeded initial weights differ, from {differ[0]} on"
        return [Failure("VC502", message, case, tuple(fold(differ)))]
    if old.initial.generator != new.initial.generator and len(same) == len(ours) == len(theirs):
        return [Failure("VC502", "construction draws another number of random numbers", case)]
    return []


def _modes(
    old: Answer, new: Answer, mode: Mode, case: Case, rows: Sequence[AcceptedDifference], names: Sequence[str]
) -> Judgement:
    ours, theirs = old.passes[mode], new.passes[mode]
    if isinstance(ours, Raised) or isinstance(theirs, Raised):
        errors = [side if isinstance(side, Raised) else None for side in (ours, theirs)]
        judged = refusals(errors[0], errors[1], case, rows, ran=not never_ran(old.passes.values()))
        told = tuple(Failure(f.code, f"in {mode} mode {f.message}", case, mode=mode) for f in judged.failures)
        return Judgement(told, judged.accepted)
    return Judgement(tuple(_pass_failures(ours, theirs, mode, case, names)))


def _pass_failures(old: Pass, new: Pass, mode: Mode, case: Case, called: Sequence[str]) -> Iterator[Failure]:
    if _form(old) != _form(new):
        yield Failure("VC507", f"forward returned {_spelled(old)} and returns {_spelled(new)}", case, mode=mode)
        return
    pairs = zip(named(old.outputs, called).items(), new.outputs, strict=True)
    differ = [name for (name, ours), theirs in pairs if ours.digest != theirs.digest]
    if differ:
        names = ", ".join(differ)
        yield Failure("VC501", f"in {mode} mode the outputs differ ({names})", case, mode=mode)
    elif wild := [output.name for output in old.outputs if not output.finite]:
        yield Failure("VC505", f"in {mode} mode {', '.join(wild)} is not finite on both sides", case, mode=mode)
    yield from _left_behind(old, new, mode, case)


def _left_behind(old: Pass, new: Pass, mode: Mode, case: Case) -> Iterator[Failure]:
    moved = [name for name, digest in old.buffers.items() if new.buffers.get(name) != digest]
    if moved:
        message = f"after a pass in {mode} mode {len(moved)} buffers differ, from {moved[0]} on"
        yield Failure("VC503", message, case, tuple(fold(moved)), mode)
    if old.generator != new.generator:
        yield Failure("VC503", f"a pass in {mode} mode draws another number of random numbers", case, mode=mode)


def _form(told: Pass) -> tuple[Any, ...]:
    kind = "namespace" if told.type.endswith("Namespace") else told.type
    return kind, *((output.name, output.shape, output.dtype) for output in told.outputs)


def _spelled(told: Pass) -> str:
    return f"{told.type} of " + ", ".join(f"{output.name} {output.shape} {output.dtype}" for output in told.outputs)


# --- words -------------------------------------------------------------------------------------------------------


def _told(layout: Layout) -> dict[str, dict[str, str]]:
    return {name: {"shape": str(spec.shape), "dtype": spec.dtype} for name, spec in layout.items()}


def _names(found: Any, kind: str) -> list[str]:
    return [row.path(output_format="list")[0] for row in found.get(kind, ())]


def _about(row: Any, what: str) -> bool:
    return bool(row.path(output_format="list")[-1] == what)


def _renamed(gone: Sequence[str], come: Sequence[str]) -> str:
    verbs = ("is", "are")
    parts = [f"{len(gone)} tensor{'s' * (len(gone) > 1)} {verbs[len(gone) > 1]} missing ({_short(fold(gone))})"] * bool(
        gone
    )
    parts += [f"{len(come)} {verbs[len(come) > 1]} new ({_short(fold(come))})"] * bool(come)
    return ", ".join(parts)


def _some(count: int) -> str:
    return f"{count} tensors have" if count > 1 else "1 tensor has"


def _short(names: Sequence[str]) -> str:
    return ", ".join(map(printable, names[:3])) + (", ..." if len(names) > 3 else "")


def _common(layout: Layout, other: Layout) -> list[str]:
    return [name for name in layout if name in other]


def _plain(parameter: Parameter) -> Any:
    return _listed({"default": parameter.default})


def _listed(config: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _list(value) for name, value in config.items()}


def _list(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_list(item) for item in value]
    return _listed(value) if isinstance(value, Mapping) else value


# --- calls -------------------------------------------------------------------------------------------------------


def _numbered(calls: Sequence[Call]) -> dict[tuple[str, int], Call]:
    """Key the calls by module and by how often it had been called before."""
    seen: dict[str, int] = {}
    numbered = {}
    for call in calls:
        seen[call.module] = seen.get(call.module, -1) + 1
        numbered[call.module, seen[call.module]] = call
    return numbered


def _around(module: str, old: Mapping[tuple[str, int], Call], new: Mapping[tuple[str, int], Call]) -> str:
    """Return the innermost module around this one that both sides gave the same."""
    while module:
        module = module.rpartition(".")[0]
        ours, theirs = old.get((module, 0)), new.get((module, 0))
        if ours and theirs and ours.given == theirs.given:
            return module
    return ""


def _shown(module: str) -> str:
    return module or "(the whole model)"

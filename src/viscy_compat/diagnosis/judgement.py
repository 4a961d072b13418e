"""Facts to verdict: which class, generation and configuration a checkpoint holds, and what that means for loading it."""

from __future__ import annotations

import os

from viscy_compat.annotations import Any, Iterable, Iterator
from viscy_compat.architectures.inference import Inference
from viscy_compat.checkpoint.facts import Checkpoint, View
from viscy_compat.checkpoint.locations import is_address, name_of
from viscy_compat.checkpoint.wrapper import is_recognised, layout_of
from viscy_compat.diagnosis import causes, strictness
from viscy_compat.diagnosis.address_flags import flag, keyword, needed_address
from viscy_compat.diagnosis.result import CheckResult, Diagnosis, Recognised, Stranger, Unreadable, summary_of
from viscy_compat.diagnosis.sets import choose_set, facts_of
from viscy_compat.diagnosis.settlement import SettledConfig, settle
from viscy_compat.diagnosis.weight_set import SetChoice
from viscy_compat.errors import CompatError, PlanRefused
from viscy_compat.findings import Finding, Verdict
from viscy_compat.layout import quote_path, quote_word
from viscy_compat.plans.maker import known_plan, unmade_by
from viscy_compat.plans.plan import Plan
from viscy_compat.stated import Statement, spell


def judge(
    checkpoint: Checkpoint,
    *,
    class_name: str = "",
    statements: tuple[Statement, ...] = (),
    drops: tuple[str, ...] = (),
    alone: bool = True,
) -> Diagnosis:
    """Judge a checkpoint that was read; see `diagnose`. What is dropped stands outside of the model, dropped."""
    lean = checkpoint
    if drops:
        from viscy_compat.plans.drops import keys_of, with_dropped

        lean = checkpoint.without(keys_of(drops, checkpoint))
    choice = choose_set(lean, class_name)
    # nobody knows which set is meant: a verdict on one of them would be a guess
    row = choice.pick
    if row is None:
        return _ask_which_set(checkpoint, choice)
    whole, view = with_dropped(checkpoint, lean, row.checkpoint, row.view) if drops else (row.checkpoint, row.view)
    if row.inference is None:
        return _stranger(row.checkpoint, class_name, choice)._replace(checkpoint=whole)
    config = settle(whole, layout_of(whole, view), row.inference, statements, alone=alone)
    return _of_known_class(whole, view, config, choice, user_states=bool(statements))


def _stranger(checkpoint: Checkpoint, class_name: str, choice: SetChoice) -> Stranger:
    """Judge a file that is of no known class as it stands: its weights may be parametrised."""
    from viscy_compat.diagnosis.several import views_to_try

    views = views_to_try(checkpoint, class_name)
    # parametrised weights first: as they stand they look like a class with the wrong tensors
    baked = _of_parametrised_class(checkpoint, views, class_name, choice)
    return baked or _not_recognised(checkpoint, views, class_name, choice)


def _of_parametrised_class(
    checkpoint: Checkpoint, views: list[View], class_name: str, choice: SetChoice
) -> Stranger | None:
    """Judge a file of a known class whose weights are parametrised; None where it is none."""
    from viscy_compat.diagnosis import computed_weights

    whole = computed_weights.recognise_baked(checkpoint, views, class_name)
    if whole is None:
        return None
    findings = (*causes.about_container(checkpoint, whole.view), *computed_weights.about_parts(whole.parts))
    result = CheckResult(
        checkpoint.path,
        "unreadable" if causes.forbid_loading(findings) else "incompatible",
        causes.most_severe_first(findings),
        **_facts(checkpoint, whole.view, choice),
        identity=SettledConfig(whole.inference, whole.inference).identity,
        next=f"viscy-compat inspect {quote_path(checkpoint.path)}{flag(needed_address(choice))}",
    )
    return Stranger(result, checkpoint=checkpoint, view=whole.view, choice=choice)


def _of_known_class(
    checkpoint: Checkpoint, view: View, config: SettledConfig, choice: SetChoice, *, user_states: bool
) -> Recognised:
    """Judge a file whose names and shapes are those of a known class."""
    inference, address = config.inference, needed_address(choice)
    plan, refusals = _plan(checkpoint, view, inference, address)
    # a plan is total: it makes every name of today's layout
    unmade = () if plan else unmade_by(layout_of(checkpoint, view), inference)
    findings = (
        *causes.about_container(checkpoint, view),
        *causes.about_the_rest(checkpoint, choice),
        *refusals,
        *config.ignored,
        *causes.about_statements(inference, config.refuted, config.knowledge),
        *causes.about_layout(view, inference, unmade),
        *strictness.about_counters(checkpoint, view, inference),
        *strictness.about_entries(checkpoint),
        *_about_surroundings(checkpoint, view, config, user_states=user_states),
    )
    # torch loads what stands behind the usual wrappers with a line of the user's; other prefixes need a remap
    # and no reader of safetensors takes a file that begins with something else
    in_front = any(finding.code == "VC370" for finding in checkpoint.findings)
    loads = is_recognised(view) and not in_front and strictness.loads_strictly(checkpoint, view, inference, plan)
    verdict = _verdict(plan, findings, loads)
    result = CheckResult(
        checkpoint.path,
        verdict,
        causes.most_severe_first(findings),
        **_facts(checkpoint, view, choice),
        identity=config.identity,
        plan=summary_of(plan) if plan and verdict != "incompatible" else None,
        next=_next_command(checkpoint, view, verdict, config, address),
        python=_load_line(checkpoint, config, address) if verdict in _LOADABLE else "",
    )
    return Recognised(result, checkpoint=checkpoint, view=view, inference=inference, plan=plan, choice=choice)


def _about_surroundings(
    checkpoint: Checkpoint, view: View, config: SettledConfig, *, user_states: bool
) -> Iterator[Finding]:
    """Yield what adapters, open arguments and class paths give rise to.

    Each import stands behind its condition: most files meet none of them, and `check` starts without these modules.
    """
    inference = config.inference
    if view.outside:
        from viscy_compat.diagnosis.computed_weights import about_adapters_outside

        yield from about_adapters_outside(checkpoint, view)
    yield from causes.about_choices(inference, config.knowledge)
    yield from causes.about_caveats(inference)
    if any(row.changes_predictions for row in inference.undetermined):
        from viscy_compat.diagnosis.offers import about_offers

        yield from about_offers(checkpoint, inference, config.knowledge, user_states=user_states)
    if checkpoint.hyper_parameters is not None:
        from viscy_compat.diagnosis.class_paths import about_class_path

        yield from about_class_path(checkpoint, inference.architecture.target)


_LOADABLE = ("compatible", "remappable")


def _ask_which_set(checkpoint: Checkpoint, choice: SetChoice) -> Unreadable:
    """Say that a file holds several sets, and that nobody can know which one is meant: all are listed."""
    question = causes.about_several_sets(checkpoint, [row.address for row in choice.sets])
    # VC448 says which one was read: here none counts before another
    rest = (finding for finding in checkpoint.findings if finding.code != "VC448")
    findings = causes.most_severe_first((question, *causes.about_the_rest(checkpoint, choice), *rest))
    result = CheckResult(
        checkpoint.path,
        verdict="unreadable" if causes.forbid_loading(findings) else "unknown",
        findings=findings,
        format=checkpoint.format,
        tensors=len(checkpoint.tensors),
        bytes=checkpoint.tensor_bytes,
        sets=facts_of(choice),
        next=f"viscy-compat check {quote_path(checkpoint.path)} --state-dict ADDRESS",
    )
    return Unreadable(result)


def _not_recognised(checkpoint: Checkpoint, views: list[View], class_name: str, choice: SetChoice) -> Stranger:
    """Judge a file that no known class accepts: name the nearest class, or say that there is none."""
    from viscy_compat.architectures.nearest_class import distance, nearest
    from viscy_compat.diagnosis import computed_weights
    from viscy_compat.plans.parametrisations import find_parametrisations

    pairs = [(view, nearest(layout_of(checkpoint, view), class_name)) for view in views]
    near = min(
        ((view, near) for view, near in pairs if near), key=lambda pair: distance(pair[1].differences), default=None
    )
    view = near[0] if near else views[0]
    findings = [
        *causes.about_container(checkpoint, view),
        *computed_weights.about_parts(find_parametrisations(layout_of(checkpoint, view))),
        *(computed_weights.about_slopes(near[1].differences.unexpected, view, checkpoint) if near else []),
        *(causes.about_the_nearest(near[1]) if near else []),
    ]
    # a fifth of the tensors at fault: beyond that, names that are shared by chance weigh too much
    is_close = near is not None and (4 * distance(near[1].differences) <= near[1].shared or bool(near[1].custom))
    verdict: Verdict = "incompatible" if is_close else "unknown"
    if causes.forbid_loading(findings):
        verdict = "unreadable"
    if verdict == "unknown":
        # what the file is comes before what it lacks
        findings.insert(0, causes.about_a_stranger(checkpoint, view, near[1] if near else None, class_name))
    file = quote_path(checkpoint.path) + flag(needed_address(choice))
    # no plan and no flag makes tensors that are not in the file, or cannot be read
    can_be_made = (
        near and not checkpoint.unreadable and (near[1].differences.unexpected or near[1].differences.reshaped)
    )
    result = CheckResult(
        checkpoint.path,
        verdict,
        causes.most_severe_first(findings),
        **_facts(checkpoint, view, choice),
        next=f"viscy-compat remap {file} --as {near[1].architecture.name}"
        if near and can_be_made
        else f"viscy-compat inspect {file}",
    )
    return Stranger(result, checkpoint=checkpoint, view=view, choice=choice)


def _verdict(plan: Plan | None, findings: Iterable[Finding], loads: bool) -> Verdict:
    """Return the verdict on a recognised file: `compatible` where it loads strictly once the usual wrappers are off.

    A file that would run something is not for loading, whatever its tensors are; a remap writes them without it.
    """
    # first: no plan makes a file safe to load that would run something
    if causes.forbid_loading(findings):
        return "unreadable"
    if plan is None or causes.forbid_remap(findings):
        return "incompatible"
    return "compatible" if loads else "remappable"


def _plan(
    checkpoint: Checkpoint, view: View, inference: Inference, address: str | None
) -> tuple[Plan | None, list[Finding]]:
    """Return the total plan to today's layout, or say in findings why there is none."""
    try:
        return known_plan(checkpoint, view, inference, state_dict=address), causes.about_halves(inference)
    except PlanRefused as error:
        explained = {*unmade_by(layout_of(checkpoint, view), inference), *(pair.name for pair in inference.retyped)}
        # what has a finding of its own is not told a second time as a leftover
        leftovers = tuple((name, reason) for name, reason in error.leftovers if name not in explained)
        return None, [
            *causes.about_halves(inference),
            *causes.about_dtypes(inference),
            *strictness.about_leftovers(leftovers),
        ]


def unreadable(path: str, error: CompatError) -> CheckResult:
    """Return the verdict on a file that the reader refused."""
    message = f"{error.where}: {error.message}" if error.where and error.where != path else error.message
    return CheckResult(path, "unreadable", (Finding(error.code, message, fix=error.fix),))


def _facts(checkpoint: Checkpoint, view: View, choice: SetChoice) -> dict[str, Any]:
    wrapper = {"kind": checkpoint.wrapper.kind, "prefix": view.prefix, "version": checkpoint.wrapper.version}
    return {
        "format": checkpoint.format,
        "wrapper": wrapper,
        "tensors": len(checkpoint.tensors),
        "bytes": checkpoint.tensor_bytes,
        "state_dict": choice.pick.address if choice.pick else None,
        "sets": facts_of(choice),
    }


def _next_command(
    checkpoint: Checkpoint, view: View, verdict: Verdict, config: SettledConfig, address: str | None
) -> str:
    """Return the command that comes next: a value that predictions depend on and nobody knows is left to fill in."""
    path = quote_path(checkpoint.path)
    if verdict == "incompatible":
        return f"viscy-compat inspect {path}{flag(address)}"
    settings, unknown = settings_of(config)
    if checkpoint.hyper_parameters is not None:
        from viscy_compat.diagnosis.class_paths import class_path_command

        command = class_path_command(checkpoint)
        if command:
            # what was stated stands in that command already
            return command + ("" if checkpoint.stated else flag(address)) + settings + unknown
    # a prefix or a set among several still has to be taken out by a remap before torch loads the file
    stays = not view.prefix and not view.inner and not (checkpoint.stated and address is not None)
    if verdict == "compatible" and stays:
        return f"viscy-compat check {path}{flag(address)}{settings}{unknown}" if unknown else ""
    out = quote_path(target_beside(checkpoint.path))
    return f"viscy-compat remap {path}{flag(address)} -o {out}{settings}{unknown}"


def settings_of(config: SettledConfig) -> tuple[str, str]:
    """Spell as options what the user states and predictions depend on, and what is to be filled in."""
    values = config.knowledge.values
    stated_values = {name: values[name].value for name in config.open_names if name in values and values[name].binding}
    settings = "".join(f" --set {quote_word(f'{name}={spell(value)}')}" for name, value in stated_values.items())
    rows = config.inference.undetermined
    return settings, "".join(f" --set {row.name}=VALUE" for row in rows if row.changes_predictions)


def target_beside(path: str) -> str:
    """Return the file that a printed command writes, beside the source: a folder may be given with its slash.

    What comes from an address is written where the command is typed.
    """
    stem, ending = os.path.splitext(name_of(path) if is_address(path) else path.rstrip("/" + os.sep))
    return f"{stem}.remapped{ending}" if ending == ".safetensors" else f"{stem}.safetensors"


def _load_line(checkpoint: Checkpoint, config: SettledConfig, address: str | None) -> str:
    """Return the line of Python that loads the file, with ``...`` for what predictions depend on and nobody knows.

    What was open and now differs in no prediction is left out: `load_model` assumes it, and says so.
    """
    inference = config.inference
    rows = {row.name: row.changes_predictions for row in inference.undetermined}
    names = [name for name in config.open_names if rows.get(name, True)]
    values = ", ".join(f"{name!r}: {'...' if name in rows else repr(inference.config[name])}" for name in names)
    return (
        f"model = viscy_compat.load_model({checkpoint.path!r}{values and f', config={{{values}}}'}{keyword(address)})"
    )

"""What a file with other names is, given its class: the configuration by shapes and structure, as far as it is certain."""

from __future__ import annotations

from viscy_compat.annotations import Any
from viscy_compat.architectures import find, resolve_class
from viscy_compat.architectures.architecture import REQUIRED, Architecture, Config, complete
from viscy_compat.architectures.bags import TooManyWays
from viscy_compat.architectures.inference import Inference, infer
from viscy_compat.architectures.nearest_class import nearest
from viscy_compat.architectures.structure import alike, classes_alike
from viscy_compat.checkpoint.facts import Checkpoint, View
from viscy_compat.checkpoint.wrapper import layout_of, views_of
from viscy_compat.diagnosis import causes
from viscy_compat.diagnosis.address_flags import flag, needed_address
from viscy_compat.diagnosis.judgement import settings_of, target_beside
from viscy_compat.diagnosis.knowledge import gather, refuse_foreign, refuse_texts
from viscy_compat.diagnosis.result import CheckResult, Stranger, summary_of
from viscy_compat.diagnosis.settlement import SettledConfig, settle, settle_with
from viscy_compat.errors import PlanRefused, Unbuildable
from viscy_compat.findings import Finding
from viscy_compat.layout import Layout, quote_path
from viscy_compat.matching.hints import dropped_by
from viscy_compat.plans.maker import infer_plan, plan_source, route_to_class
from viscy_compat.stated import ARGUMENT, SETTING, Statement, spell


def reconsider(found: Stranger, class_name: str, statements: tuple[Statement, ...]) -> Stranger:
    """Look at the shapes of a file whose names are of no known class: they may be those of one, or of the stated one.

    Only a stated class makes a file `remappable`: without names, shapes are what they look like.
    """
    # what would run something, or holds no weights, stays so whatever its shapes are
    if found.result.verdict == "unreadable":
        return found
    if class_name:
        return _as_stated(found, class_name, statements)
    for view in views_of(found.checkpoint) if found.result.verdict == "unknown" else ():
        names = classes_alike(layout_of(found.checkpoint, view))
        # two classes with the same shapes: neither is more than a guess
        if len(names) == 1:
            message = f"the shapes are exactly those of {names[0]}, under other names"
            findings = causes.most_severe_first([*found.result.findings, Finding("VC114", message)])
            address = needed_address(found.choice)
            command = f"viscy-compat remap {quote_path(found.checkpoint.path)} --as {names[0]}{flag(address)}"
            return found._replace(result=found.result._replace(findings=findings, next=command))
    return found


def _as_stated(found: Stranger, class_name: str, statements: tuple[Statement, ...]) -> Stranger:
    """Judge a file under other names than those of the class that it is stated to be."""
    checkpoint, address = found.checkpoint, needed_address(found.choice)
    try:
        view, config = find_meaning(checkpoint, class_name, statements, ())
        source = plan_source(checkpoint, view, state_dict=address)
        plan = infer_plan(route_to_class(source, view, config.inference)).plan
    # the first verdict stands: it says more than that a class does not fit
    except PlanRefused:
        return found
    result = verdict_by_shapes(found.result, checkpoint, view, config)
    if result.verdict == "remappable":
        result = result._replace(plan=summary_of(plan), next=_command(checkpoint.path, class_name, config, address))
    return found._replace(result=result, view=view)


def _command(path: str, class_name: str, config: SettledConfig, address: str | None) -> str:
    """Return the command that writes a file under other names; what was stated is stated again."""
    settings, unknown = settings_of(config)
    out = quote_path(target_beside(path))
    return f"viscy-compat remap {quote_path(path)} --as {class_name} -o {out}{settings}{unknown}{flag(address)}"


def shown_settings(inference: Inference) -> str:
    """Spell the arguments that the tensors of a file show."""
    # a value that is one of several is not shown by the tensors
    left_open = {name for row in inference.undetermined for name in (row.name, *row.candidates[0])}
    return causes.settings({name: value for name, value in inference.config.items() if name not in left_open})


def find_meaning(
    checkpoint: Checkpoint, class_name: str, statements: tuple[Statement, ...], hints: tuple[str, ...]
) -> tuple[View, SettledConfig]:
    """Return the view and the only configuration of a class that a file can be meant to have.

    Raises
    ------
    PlanRefused
        Where no configuration has the shapes of the file, or several have and neither the tree of modules nor the order
        tells them apart.
    UsageError
        Where the class, or an argument of it, is not known.
    """
    architecture = find(class_name)
    for view in views_of(checkpoint):
        layout = _without_drops(layout_of(checkpoint, view), hints)
        fits = _fits(architecture, layout, checkpoint, statements)
        if len(fits) > 1:
            raise _many_configurations(architecture, [one.inference for one in fits], checkpoint.path)
        if fits:
            return view, fits[0]
    return views_of(checkpoint)[0], _as_named(checkpoint, architecture, statements, hints)


def verdict_by_shapes(result: CheckResult, checkpoint: Checkpoint, view: View, config: SettledConfig) -> CheckResult:
    """Return the verdict on a file once it is known what it is: what was said about its names no longer counts."""
    choices = causes.about_choices(config.inference, config.knowledge)
    findings = (*causes.about_container(checkpoint, view), *config.ignored, *choices)
    # any other verdict was about more than names: a file that must not be loaded stays so
    verdict = "remappable" if result.verdict in ("unknown", "incompatible") else result.verdict
    return result._replace(verdict=verdict, identity=config.identity, findings=causes.most_severe_first(findings))


def _without_drops(layout: Layout, hints: tuple[str, ...]) -> Layout:
    """Leave out what a hint drops."""
    drops = dropped_by(hints, layout)
    return {name: spec for name, spec in layout.items() if name not in drops}


def _fits(
    architecture: Architecture, layout: Layout, checkpoint: Checkpoint, statements: tuple[Statement, ...]
) -> list[SettledConfig]:
    """Return what each configuration with these shapes is, but for those that contradict what the user states."""
    fits = []
    try:
        rows = alike(architecture, layout)
    except TooManyWays as error:
        # `_as_named` builds what is stated in full, as far as the class has no defaults: there is nothing to search for
        arguments = _statements_of(architecture, statements)
        if arguments and all(row.default is not REQUIRED or row.name in arguments for row in architecture.arguments):
            return []
        raise PlanRefused(
            f"the shapes allow more configurations of {architecture.name} than can be looked at",
            where=checkpoint.path,
            fix="state the configuration: --config FILE.yml, or --set for every argument that has no default",
        ) from error
    for one in rows:
        inference = infer(architecture, one.layout)
        config = settle(checkpoint, one.layout, inference, statements) if inference else None
        if config is not None and not config.inference.contradictions:
            fits.append(config)
    return fits


def _many_configurations(architecture: Architecture, inferences: list[Inference], where: str) -> PlanRefused:
    """Return the error that says in which arguments several configurations differ."""
    names = [
        argument.name
        for argument in architecture.arguments
        if any(one.config[argument.name] != inferences[0].config[argument.name] for one in inferences)
    ]
    # four alternatives show what differs; the arguments to state are named in full
    rows = [", ".join(f"{name}={spell(one.config[name])}" for name in names) for one in inferences[:4]]
    in_short = "; or ".join(rows) + ("; ..." if len(inferences) > 4 else "")
    return PlanRefused(
        f"{len(inferences)} configurations of {architecture.name} have exactly these shapes: {in_short}",
        where=where,
        fix=f"state what the file was trained with: {' '.join(f'--set {name}=VALUE' for name in names)}",
    )


def _as_named(
    checkpoint: Checkpoint, architecture: Architecture, statements: tuple[Statement, ...], hints: tuple[str, ...]
) -> SettledConfig:
    """Return the configuration that is stated in full, or that the names show: a total plan will prove it or not.

    Raises
    ------
    PlanRefused
        Where neither is there.
    UsageError
        Where the user states an argument that the class does not have.
    """
    layout = _without_drops(layout_of(checkpoint, views_of(checkpoint)[0]), hints)
    # what the names show is a start; what the user states goes over it
    near = nearest(layout, architecture.name)
    arguments = _statements_of(architecture, statements)
    config = complete(architecture, {**(near.config if near else {}), **arguments})
    needs = [argument.name for argument in architecture.arguments if argument.default is REQUIRED]
    fitting_config = (
        _build(architecture, config, statements) if (near or arguments) and config.keys() >= set(needs) else None
    )
    if fitting_config is None:
        statement = (
            f" with {' '.join(f'{name}={spell(value)}' for name, value in arguments.items())}" if arguments else ""
        )
        tensors = "this tensor" if len(layout) == 1 else f"these {len(layout)} tensors"
        raise PlanRefused(
            f"no configuration of {architecture.name}{statement} has exactly the shapes of {tensors}",
            where=checkpoint.path,
            fix="if it is a fork with other layers, state every argument (--set NAME=VALUE) and the rest with --hint OLD=NEW",
        )
    return fitting_config


def _statements_of(architecture: Architecture, statements: tuple[Statement, ...]) -> dict[str, Any]:
    """Return what the user states for a class; there is no configuration yet to hold it against."""
    names = [argument.name for argument in architecture.arguments]
    direct = [row for row in statements if row.origin in (SETTING, ARGUMENT)]
    of_class = [row for row in statements if row not in direct and resolve_class(row.class_name) == architecture.name]
    refuse_foreign(architecture, [name for row in direct for name in row.arguments if name not in names])
    for row in direct:
        refuse_texts(architecture, row)
    # reversed, since later rows win here: the user's own word goes before that of a configuration file
    rows = [row.arguments for row in reversed([*direct, *of_class])]
    return {name: value for row in rows for name, value in row.items() if name in names}


def _build(architecture: Architecture, config: Config, statements: tuple[Statement, ...]) -> SettledConfig | None:
    try:
        layout = architecture.layout(config)
    except Unbuildable:
        return None
    inference = infer(architecture, layout)
    if inference is None:
        return None
    return settle_with(layout, inference, gather(architecture, config, inference.generation.name, statements))

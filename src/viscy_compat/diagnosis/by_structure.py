"""What a file with other names is, given its class: the configuration by shapes and structure, as far as it is certain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from viscy_compat.architectures import find, resolve_class
from viscy_compat.architectures.architecture import REQUIRED, Architecture, Config, complete
from viscy_compat.architectures.bags import TooManyWays
from viscy_compat.architectures.inference import Inference, infer, nearest
from viscy_compat.architectures.structure import alike, classes_alike
from viscy_compat.checkpoint.facts import Checkpoint, View
from viscy_compat.checkpoint.wrapper import layout_of, views_of
from viscy_compat.diagnosis import causes
from viscy_compat.diagnosis.addressing import flag, needed_address
from viscy_compat.diagnosis.judgement import settings_of, target_beside
from viscy_compat.diagnosis.knowledge import gather, refuse_foreign
from viscy_compat.diagnosis.result import CheckResult, Stranger
from viscy_compat.diagnosis.settling import SettledConfig, settle, settle_with
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
    if found.result.verdict == "unreadable":
        return found
    if class_name:
        return _as_stated(found, class_name, statements)
    for view in views_of(found.checkpoint) if found.result.verdict == "unknown" else ():
        names = classes_alike(layout_of(found.checkpoint, view))
        if len(names) == 1:
            said = f"the shapes are exactly those of {names[0]}, under other names"
            findings = causes.most_severe_first([*found.result.findings, Finding("VC114", said)])
            address = needed_address(found.choice)
            command = f"viscy-compat remap {quote_path(found.checkpoint.path)} --as {names[0]}{flag(address)}"
            return found._replace(result=found.result._replace(findings=findings, next=command))
    return found


def _as_stated(found: Stranger, class_name: str, statements: tuple[Statement, ...]) -> Stranger:
    """Judge a file under other names than those of the class that it is stated to be."""
    checkpoint, address = found.checkpoint, needed_address(found.choice)
    try:
        view, settled = find_meaning(checkpoint, class_name, statements, ())
        source = plan_source(checkpoint, view, state_dict=address)
        plan = infer_plan(route_to_class(source, view, settled.inference)).plan
    except PlanRefused:
        return found
    result = verdict_by_shapes(found.result, checkpoint, view, settled)
    if result.verdict == "remappable":
        result = result._replace(plan=plan, next=_command(checkpoint.path, class_name, settled, address))
    return found._replace(result=result, view=view)


def _command(path: str, class_name: str, settled: SettledConfig, address: str | None) -> str:
    """Return the command that writes a file under other names; what was stated is stated again."""
    known, unknown = settings_of(settled)
    out = quote_path(target_beside(path))
    return f"viscy-compat remap {quote_path(path)} --as {class_name} -o {out}{known}{unknown}{flag(address)}"


def shown_settings(found: Inference) -> str:
    """Spell the arguments that the tensors of a file show."""
    left_open = {name for row in found.undetermined for name in (row.name, *row.candidates[0])}
    return causes.settings({name: value for name, value in found.config.items() if name not in left_open})


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
        layout = _held(layout_of(checkpoint, view), hints)
        found = _fitting(architecture, layout, checkpoint, statements)
        if len(found) > 1:
            raise _undecided(architecture, [one.inference for one in found], checkpoint.path)
        if found:
            return view, found[0]
    return views_of(checkpoint)[0], _as_named(checkpoint, architecture, statements, hints)


def verdict_by_shapes(result: CheckResult, checkpoint: Checkpoint, view: View, settled: SettledConfig) -> CheckResult:
    """Return the verdict on a file once it is known what it is: what was said about its names no longer counts."""
    choices = causes.about_choices(settled.inference, settled.knowledge)
    findings = (*causes.about_container(checkpoint, view), *settled.passed_over, *choices)
    verdict = "remappable" if result.verdict in ("unknown", "incompatible") else result.verdict
    return result._replace(verdict=verdict, identity=settled.identity, findings=causes.most_severe_first(findings))


def _held(layout: Layout, hints: tuple[str, ...]) -> Layout:
    """Leave out what a hint drops."""
    dropped = dropped_by(hints, layout)
    return {name: spec for name, spec in layout.items() if name not in dropped}


def _fitting(
    architecture: Architecture, layout: Layout, checkpoint: Checkpoint, statements: tuple[Statement, ...]
) -> list[SettledConfig]:
    """Return what each configuration with these shapes is, but for those that contradict what the user states."""
    found = []
    try:
        rows = alike(architecture, layout)
    except TooManyWays as error:
        if _is_stated(architecture, _stated(architecture, statements)):
            return []
        raise _too_many(architecture, checkpoint.path) from error
    for one in rows:
        shown = infer(architecture, one.layout)
        settled = settle(checkpoint, one.layout, shown, statements) if shown else None
        if settled is not None and not settled.inference.contradictions:
            found.append(settled)
    return found


def _is_stated(architecture: Architecture, binding: Mapping[str, Any]) -> bool:
    """Whether the user states a configuration in full, as far as the class has no defaults."""
    return bool(binding) and all(row.default is not REQUIRED or row.name in binding for row in architecture.arguments)


def _too_many(architecture: Architecture, where: str) -> PlanRefused:
    return PlanRefused(
        f"the shapes allow more configurations of {architecture.name} than can be looked at",
        where=where,
        fix="state the configuration: --config FILE.yml, or --set for every argument that has no default",
    )


def _undecided(architecture: Architecture, found: list[Inference], where: str) -> PlanRefused:
    """Return the error that says in which arguments several configurations differ."""
    names = [
        argument.name
        for argument in architecture.arguments
        if any(one.config[argument.name] != found[0].config[argument.name] for one in found)
    ]
    rows = [", ".join(f"{name}={spell(one.config[name])}" for name in names) for one in found[:4]]
    shown = "; or ".join(rows) + ("; ..." if len(found) > 4 else "")
    return PlanRefused(
        f"{len(found)} configurations of {architecture.name} have exactly these shapes: {shown}",
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
    layout = _held(layout_of(checkpoint, views_of(checkpoint)[0]), hints)
    near = nearest(layout, architecture.name)
    binding = _stated(architecture, statements)
    config = complete(architecture, {**(near.config if near else {}), **binding})
    required = [argument.name for argument in architecture.arguments if argument.default is REQUIRED]
    settled = _built(architecture, config, statements) if (near or binding) and config.keys() >= set(required) else None
    if settled is None:
        raise _nothing_fits(architecture, layout, binding, checkpoint.path)
    return settled


def _stated(architecture: Architecture, statements: tuple[Statement, ...]) -> dict[str, Any]:
    """Return what the user states for a class; there is no configuration yet to hold it against."""
    names = [argument.name for argument in architecture.arguments]
    direct = [row for row in statements if row.origin in (SETTING, ARGUMENT)]
    named = [row for row in statements if row not in direct and resolve_class(row.class_name) == architecture.name]
    refuse_foreign(architecture, [name for row in direct for name in row.arguments if name not in names])
    rows = [row.arguments for row in reversed([*direct, *named])]
    return {name: value for row in rows for name, value in row.items() if name in names}


def _built(architecture: Architecture, config: Config, statements: tuple[Statement, ...]) -> SettledConfig | None:
    try:
        layout = architecture.layout(config)
    except Unbuildable:
        return None
    shown = infer(architecture, layout)
    if shown is None:
        return None
    return settle_with(layout, shown, gather(architecture, config, shown.generation.name, statements))


def _nothing_fits(architecture: Architecture, layout: Layout, binding: Mapping[str, Any], where: str) -> PlanRefused:
    stated = f" with {' '.join(f'{name}={spell(value)}' for name, value in binding.items())}" if binding else ""
    return PlanRefused(
        f"no configuration of {architecture.name}{stated} has exactly the shapes of these {len(layout)} tensors",
        where=where,
        fix="if it is a fork with other layers, state every argument (--set NAME=VALUE) and the rest with --hint OLD=NEW",
    )

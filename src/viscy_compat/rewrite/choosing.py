"""Which plan a file gets: that of its generation, one out of a file, one that leads back, or one to another layout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

from viscy_compat.architectures.architecture import Generation
from viscy_compat.checkpoint import open_checkpoint
from viscy_compat.checkpoint.facts import Checkpoint, View
from viscy_compat.checkpoint.limits import DEFAULT_LIMITS, Limits
from viscy_compat.checkpoint.tensor_bytes import TensorReader
from viscy_compat.diagnosis import CheckResult, Diagnosis, diagnose
from viscy_compat.errors import PlanRefused, Unbuildable, UnreadableCheckpoint, UsageError
from viscy_compat.layout import Layout
from viscy_compat.migration.plan import Plan, Side, fitted, identity_rows, inverse_of, plan_of, with_casts
from viscy_compat.migration.plan_file import read_plan
from viscy_compat.operations import Drop, Operation
from viscy_compat.rewrite.streams import refuse_changed_fills
from viscy_compat.stated import Statement

Direction = Literal["forward", "back"]


class Question(NamedTuple):
    """What is asked about a file: what is stated, and which plan is meant.

    Parameters
    ----------
    path : str
        The file.
    class_name : str, optional
        The class that is stated.
    statements : tuple[Statement, ...], optional
        Constructor arguments that are stated.
    state_dict : str, optional
        Which of several state dicts is meant.
    limits : Limits, optional
        Of the reader.
    plan : str, optional
        A plan file.
    against : str, optional
        A file whose layout is the target.
    direction : {"forward", "back"}, optional
        ``back`` undoes the plan.
    """

    path: str
    class_name: str = ""
    statements: tuple[Statement, ...] = ()
    state_dict: str | None = None
    limits: Limits = DEFAULT_LIMITS
    plan: str = ""
    against: str = ""
    direction: Direction = "forward"


class Chosen(NamedTuple):
    """A plan that fits a file, with what is needed to apply it.

    ``keys`` are the raw keys by the names of the plan; ``prefix`` is the wrapper prefix of the file; ``order`` lists
    the source tensors in the order in which its class registers them; ``result`` is the verdict on the source.
    """

    checkpoint: Checkpoint
    keys: Mapping[str, str]
    plan: Plan
    prefix: str
    order: Layout
    result: CheckResult | None = None


class NoPlan(NamedTuple):
    """There is no plan; the verdict on the file says why."""

    result: CheckResult


def choose(question: Question) -> Chosen | NoPlan:
    """Return the plan that is meant.

    Raises
    ------
    PlanRefused
        Where a given plan does not fit the file, cannot be reversed, or no plan leads to the layout asked for.
    UnreadableCheckpoint
        Where a file cannot be read.
    """
    if question.plan:
        return _from_file(question)
    if question.against:
        return _against(question)
    return _back(question) if question.direction == "back" else _forward(question)


def _forward(question: Question) -> Chosen | NoPlan:
    found = _diagnosed(question)
    if found.checkpoint is None or found.view is None or found.inference is None or found.plan is None:
        return NoPlan(found.result)
    blocking = {finding.code for finding in found.result.findings if finding.severity == "error"}
    if blocking - _CURED:
        return NoPlan(found.result)
    order = found.inference.generation.layout(found.inference.config)
    return Chosen(found.checkpoint, _keys(found.view), found.plan, found.view.prefix, order, found.result)


_CURED = {"VC105", "VC202", "VC430"}
"""Errors that a remap cures: an older generation, half precision; weights alone cannot run anything."""


def _diagnosed(question: Question) -> Diagnosis:
    return diagnose(
        question.path,
        class_name=question.class_name,
        statements=question.statements,
        state_dict=question.state_dict,
        limits=question.limits,
    )


def _from_file(question: Question) -> Chosen:
    plan = read_plan(question.plan)
    plan = inverse_of(plan) if question.direction == "back" else plan
    checkpoint = open_checkpoint(question.path, limits=question.limits, state_dict=question.state_dict)
    _refuse_unreadable(checkpoint)
    view = _fitting_view(checkpoint, plan, question.path)
    return Chosen(checkpoint, _keys(view), plan, view.prefix, plan.source.layout)


def _fitting_view(checkpoint: Checkpoint, plan: Plan, where: str) -> View:
    """Return the view that a plan was made for, the prefix that it names first."""
    views = sorted(checkpoint.views, key=lambda view: view.prefix != plan.source.prefix)
    for view in views:
        try:
            fitted(plan, layout_with_outside(checkpoint, view))
        except PlanRefused:
            continue
        return view
    try:
        fitted(plan, layout_with_outside(checkpoint, views[0]))
    except PlanRefused as error:
        raise PlanRefused(
            error.message, where=where, fix="make a plan for this file: --write-plan", leftovers=error.leftovers
        ) from error
    return views[0]


def _against(question: Question) -> Chosen:
    wanted = open_checkpoint(question.against, limits=question.limits)
    checkpoint = open_checkpoint(question.path, limits=question.limits, state_dict=question.state_dict)
    _refuse_unreadable(checkpoint)
    view, there = checkpoint.views[0], wanted.layout
    here = layout_with_outside(checkpoint, view)
    rows = (*_rows_between(checkpoint.layout_of(view), there), *_outside_drops(view))
    plan = plan_of(Side(here, prefix=view.prefix), Side(there), with_casts(rows, here, there))
    if question.direction == "back":
        raise UsageError("--against and --reverse exclude each other", fix="give the files the other way round")
    return Chosen(checkpoint, _keys(view), plan, view.prefix, checkpoint.layout_of(view))


def _rows_between(here: Layout, there: Layout) -> tuple[Operation, ...]:
    return identity_rows(here)


def _back(question: Question) -> Chosen | NoPlan:
    """Undo what the rows of the only older generation did whose fills the file still holds."""
    found = _diagnosed(question)
    if found.checkpoint is None or found.view is None or found.inference is None:
        return NoPlan(found.result)
    refusals: list[PlanRefused] = []
    for generation in reversed(found.inference.architecture.generations):
        try:
            chosen = _undone(found, generation)
        except (PlanRefused, Unbuildable) as error:
            refusals += [error] if isinstance(error, PlanRefused) else []
        else:
            if chosen is not None:
                return chosen
    if refusals:
        raise refusals[0]
    name = found.inference.architecture.name
    raise PlanRefused(
        f"{name} has no older generation that this file could have come from", where=question.path, fix="give --plan"
    )


def _undone(found: Diagnosis, generation: Generation) -> Chosen | None:
    """Return the way back to one generation; None where it has today's layout."""
    if generation.to_today is None or found.inference is None or found.checkpoint is None or found.view is None:
        return None
    here, config = found.checkpoint.layout_of(found.view), found.inference.config
    older, name = generation.layout(config), found.inference.architecture.name
    today = found.inference.generation.name
    plan = inverse_of(
        plan_of(Side(older, name, generation.name, config), Side(here, name, today), generation.to_today(older))
    )
    if found.view.outside:
        raise PlanRefused(f"{found.view.outside[0]!a} stands outside the model", where=found.checkpoint.path)
    keys = _keys(found.view)
    with TensorReader(found.checkpoint) as reader:
        refuse_changed_fills(plan, {name: found.checkpoint.tensors[key] for name, key in keys.items()}, reader)
    return Chosen(found.checkpoint, keys, plan, found.view.prefix, plan.source.layout, found.result)


def layout_with_outside(checkpoint: Checkpoint, view: View) -> Layout:
    """Return the layout that a plan's source has: the view's, and then the raw keys outside of it."""
    return {**checkpoint.layout_of(view), **{key: checkpoint.tensors[key].spec for key in view.outside}}


def _outside_drops(view: View) -> Iterator[Drop]:
    return (Drop(key, "it stands outside the model") for key in view.outside)


def _keys(view: View) -> dict[str, str]:
    return {**view.keys, **{key: key for key in view.outside}}


def _refuse_unreadable(checkpoint: Checkpoint) -> None:
    for tensor in checkpoint.unreadable:
        raise UnreadableCheckpoint(
            f"{tensor.key!a} cannot be read exactly: {tensor.reason}", where=checkpoint.path, code=tensor.code
        )

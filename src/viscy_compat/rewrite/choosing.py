"""Which plan a file gets: that of its generation, one out of a file, one that leads back, or one to another layout."""

from __future__ import annotations

from viscy_compat.annotations import TYPE_CHECKING, Callable, Literal
from viscy_compat.architectures import find
from viscy_compat.architectures.architecture import Generation
from viscy_compat.checkpoint import open_checkpoint
from viscy_compat.checkpoint.facts import Checkpoint, View
from viscy_compat.checkpoint.limits import DEFAULT_LIMITS, Limits
from viscy_compat.checkpoint.tensor_bytes import TensorReader
from viscy_compat.checkpoint.wrapper import layout_of, views_of
from viscy_compat.checkpoint.zeros import lacks_its_sums
from viscy_compat.diagnosis import CheckResult, Diagnosis, Recognised, Stranger, diagnose
from viscy_compat.diagnosis.address_flags import needed_address
from viscy_compat.diagnosis.causes import about_absent_weights, about_several_sets, forbid_remap
from viscy_compat.diagnosis.computed_weights import about_adapters_outside
from viscy_compat.diagnosis.sets import choose_set
from viscy_compat.diagnosis.weight_set import SetChoice, WeightSet
from viscy_compat.errors import PlanRefused, Unbuildable, UnreadableCheckpoint, UsageError
from viscy_compat.layout import Layout, printable
from viscy_compat.named import NamedTuple
from viscy_compat.plans.drops import keys_of, view_without, with_dropped, with_effects
from viscy_compat.plans.maker import Route, infer_plan, plan_back, plan_source, route_to_class, sources_of_view
from viscy_compat.plans.plan import Plan, PlanEnd, inverse_of, require_fit
from viscy_compat.plans.plan_file import read_plan
from viscy_compat.plans.streams import refuse_changed_fills
from viscy_compat.stated import ARGUMENT, SETTING, Statement

if TYPE_CHECKING:
    from collections.abc import Mapping

Direction = Literal["forward", "back"]


class RemapRequest(NamedTuple):
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
    hints : tuple[str, ...], optional
        ``OLD=NEW`` patterns, where renames are inferred.
    drops : tuple[str, ...], optional
        Tensors that the user takes out of the model, though they may compute something.
    """

    path: str
    class_name: str = ""
    statements: tuple[Statement, ...] = ()
    state_dict: str | None = None
    limits: Limits = DEFAULT_LIMITS
    plan: str = ""
    against: str = ""
    direction: Direction = "forward"
    hints: tuple[str, ...] = ()
    drops: tuple[str, ...] = ()


class FilePlan(NamedTuple):
    """A plan that fits a file, with what is needed to apply it.

    ``keys`` are the raw keys by the names of the plan; ``prefix`` is the wrapper prefix of the file; ``order`` lists
    the source tensors in the order in which its class registers them; ``result`` is the verdict on the source;
    ``grounds`` says why each target tensor has its source, where that was inferred; ``choice`` lists the sets of
    weights in the file, and says which one this is.
    """

    checkpoint: Checkpoint
    keys: Mapping[str, str]
    plan: Plan
    prefix: str
    order: Layout
    result: CheckResult | None = None
    grounds: Mapping[str, str] = {}
    choice: SetChoice | None = None


class NoPlan(NamedTuple):
    """There is no plan; the verdict on the file says why."""

    result: CheckResult


def choose(question: RemapRequest, *, trial: Callable[[FilePlan], bool] | None = None) -> FilePlan | NoPlan:
    """Return the plan that is meant.

    Parameters
    ----------
    question : RemapRequest
        What is asked.
    trial : Callable[[FilePlan], bool], optional
        Says whether a candidate gives the outputs that are expected; asked where renames stay undecided.

    Raises
    ------
    PlanRefused
        Where a given plan does not fit the file, cannot be reversed, or no plan leads to the layout asked for.
    UnreadableCheckpoint
        Where a file cannot be read.
    """
    _refuse_contradictions(question)
    if question.plan:
        return _from_file(question)
    if question.against:
        return _against(question, trial)
    return _back(question) if question.direction == "back" else _forward(question, trial)


def _refuse_contradictions(question: RemapRequest) -> None:
    flags = [name for name, value in (("--plan", question.plan), ("--against", question.against)) if value]
    if question.direction == "back" and question.against:
        raise UsageError("--against and --reverse exclude each other", fix="give the files the other way round")
    if len(flags) > 1 or (flags and question.class_name):
        raise UsageError(f"{' and '.join([*flags, '--as'][:2])} exclude each other", fix="give one of them")
    if question.hints and (question.plan or question.direction == "back"):
        raise UsageError("--hint is for renames that are inferred, and this plan is given", fix="leave it out")
    if question.drops and (question.plan or question.direction == "back"):
        raise UsageError("--drop is for plans that are made here, and this plan is given", fix="leave it out")
    if question.hints and not (question.against or question.class_name):
        raise UsageError("--hint needs to know the target", fix="say it: --as CLASS or --against FILE")


def _forward(question: RemapRequest, trial: Callable[[FilePlan], bool] | None) -> FilePlan | NoPlan:
    diagnosis = _diagnose(question)
    if isinstance(diagnosis, Stranger) and question.class_name:
        return _to_class(question, diagnosis, trial)
    if not isinstance(diagnosis, Recognised):
        return NoPlan(diagnosis.result)
    # hints say that the names mislead, however well they fit a class
    if question.class_name and question.hints:
        return _to_class(question, diagnosis, trial)
    if diagnosis.plan is None or forbid_remap(diagnosis.result.findings):
        return NoPlan(diagnosis.result)
    return _file_plan(diagnosis, diagnosis.plan, diagnosis.inference.written)


def _file_plan(diagnosis: Recognised, plan: Plan, order: Layout) -> FilePlan:
    """Return a plan for the set of weights that was judged."""
    return FilePlan(
        diagnosis.checkpoint,
        keys=sources_of_view(diagnosis.checkpoint, diagnosis.view).keys,
        plan=plan,
        prefix=diagnosis.view.prefix,
        order=order,
        result=diagnosis.result,
        choice=diagnosis.choice,
    )


def _diagnose(question: RemapRequest) -> Diagnosis:
    return diagnose(
        question.path,
        class_name=question.class_name,
        statements=question.statements,
        state_dict=question.state_dict,
        limits=question.limits,
        drops=question.drops,
    )


def _from_file(question: RemapRequest) -> FilePlan:
    plan = read_plan(question.plan)
    _refuse_foreign_settings(question, plan.target.class_name)
    plan = inverse_of(plan) if question.direction == "back" else plan
    choice, row = _set_meant(question, plan.source.state_dict)
    view = _fitting_view(row, plan, question.path)
    keys = sources_of_view(row.checkpoint, view).keys
    plan = with_effects(plan, view.outside)
    # the prefix that the plan names may be another one than the set was found below
    pick = row._replace(view=view)
    sets = tuple(pick if each is row else each for each in choice.sets)
    choice_made = choice._replace(pick=pick, sets=sets)
    return FilePlan(
        row.checkpoint, keys=keys, plan=plan, prefix=view.prefix, order=plan.source.layout, choice=choice_made
    )


def _refuse_foreign_settings(question: RemapRequest, class_name: str) -> None:
    """Refuse ``--set`` for what the class of a given plan does not have; without a class, for what no class has."""
    from viscy_compat.diagnosis.knowledge import is_any_argument, refuse_foreign

    names = [name for row in question.statements if row.origin in (SETTING, ARGUMENT) for name in row.arguments]
    if class_name:
        architecture = find(class_name)
        own = {argument.name for argument in architecture.arguments}
        refuse_foreign(architecture, [name for name in names if name not in own])
    for name in names:
        if not is_any_argument(name):
            raise UsageError(
                f"no known class has an argument {printable(name)}", fix="correct the name, or leave it out"
            )


def _set_meant(question: RemapRequest, plan_address: str | None = None) -> tuple[SetChoice, WeightSet]:
    """Return the sets of a file, and the one that is meant: what is stated, what the plan was made for, else the usual.

    Raises
    ------
    PlanRefused
        Where the plan was made for a set that the file does not have.
    UnreadableCheckpoint
        Where nobody can know which set is meant.
    """
    address = plan_address if question.state_dict is None else question.state_dict
    try:
        checkpoint = open_checkpoint(question.path, limits=question.limits, state_dict=address, undecided="read")
    except UnreadableCheckpoint as error:
        # only an address that the plan brought is explained by the plan
        if question.state_dict is not None or plan_address is None or error.code != "VC446":
            raise
        message = f"the plan was made for the set of weights {plan_address!a}, which this file does not have"
        raise PlanRefused(
            message, where=question.path, fix="state the set that it is for: --state-dict ADDRESS"
        ) from error
    _refuse_unreadable(checkpoint)
    choice = choose_set(checkpoint)
    if choice.pick is None:
        finding = about_several_sets(checkpoint, [row.address for row in choice.sets])
        raise UnreadableCheckpoint(finding.message, where=question.path, fix=finding.fix, code=finding.code)
    return choice, choice.pick


def _fitting_view(row: WeightSet, plan: Plan, where: str) -> View:
    """Return the view that a plan was made for, the prefix that it names first."""
    checkpoint = row.checkpoint
    # sorted is stable: behind the prefix of the plan the usual view stays first
    views = sorted((row.view, *views_of(checkpoint)), key=lambda view: view.prefix != plan.source.prefix)
    refusals: list[PlanRefused] = []
    for view in views:
        try:
            require_fit(plan, sources_of_view(checkpoint, view).layout)
        except PlanRefused as error:
            refusals.append(error)
        else:
            return view
    # the first view is the likeliest, so its misfits are the ones to read
    first = refusals[0]
    fix = "make a plan for this file: --write-plan"
    raise PlanRefused(first.message, where=where, fix=fix, leftovers=first.leftovers) from first


def _to_class(
    question: RemapRequest, diagnosis: Recognised | Stranger, trial: Callable[[FilePlan], bool] | None
) -> FilePlan:
    """Infer the renames that lead from a fork's names to those of the class."""
    from viscy_compat.diagnosis.by_structure import find_meaning, shown_settings, verdict_by_shapes

    checkpoint = diagnosis.checkpoint
    _refuse_unreadable(checkpoint)
    # what is dropped has no place in the class, and must not stand in the way of what has
    lean = checkpoint.without(keys_of(question.drops, checkpoint))
    view, config = find_meaning(lean, question.class_name, question.statements, question.hints)
    checkpoint, view = with_dropped(checkpoint, lean, lean, view)
    for finding in about_adapters_outside(checkpoint, view):  # left out, it would change what the model computes
        raise PlanRefused(finding.message, where=checkpoint.path, fix=finding.fix, code=finding.code)
    address = needed_address(diagnosis.choice)
    route = route_to_class(plan_source(checkpoint, view, state_dict=address), view, config.inference)
    try:
        file_plan = _infer(question, checkpoint, view, route, trial)
    except PlanRefused as error:
        # where a tensor has no other of its shape, this is what the names come nearest to, or what is stated
        fits = all("undecided" in reason for _, reason in error.leftovers)
        which = "by its shapes it is" if fits else "compared with"
        description = f"{which} {question.class_name} with {shown_settings(config.inference)}"
        message = f"{error.message}; {description}"
        raise PlanRefused(
            message, where=question.path, fix=error.fix, leftovers=error.leftovers, code=error.code
        ) from error
    return file_plan._replace(
        result=verdict_by_shapes(diagnosis.result, checkpoint, view, config), choice=diagnosis.choice
    )


def _against(question: RemapRequest, trial: Callable[[FilePlan], bool] | None) -> FilePlan:
    _refuse_foreign_settings(question, "")
    target = open_checkpoint(question.against, limits=question.limits)
    choice, row = _set_meant(question)
    usual = row.view if row.inference or row.checkpoint.base is not None else views_of(row.checkpoint)[0]
    view = view_without(usual, keys_of(question.drops, row.checkpoint))
    here = plan_source(row.checkpoint, view, state_dict=needed_address(choice))
    route = Route(
        here, target=PlanEnd(layout_of(target, views_of(target)[0])), outside=view.dropped, dropped=view.dropped
    )
    return _infer(question, row.checkpoint, view, route, trial)._replace(choice=choice)


def _infer(
    question: RemapRequest, checkpoint: Checkpoint, view: View, route: Route, trial: Callable[[FilePlan], bool] | None
) -> FilePlan:
    keys = sources_of_view(checkpoint, view).keys

    def file_plan(plan: Plan) -> FilePlan:
        return FilePlan(checkpoint, keys=keys, plan=plan, prefix=view.prefix, order=route.source.layout)

    holds = (lambda plan: trial(file_plan(plan))) if trial else None
    inferred_plan = infer_plan(route, hints=question.hints, trial=holds, where=question.path)
    return file_plan(inferred_plan.plan)._replace(grounds=inferred_plan.grounds)


def _back(question: RemapRequest) -> FilePlan | NoPlan:
    """Undo what the rows of an older generation did: of the one that our record names, or whose fills the file still holds."""
    diagnosis = _diagnose(question)
    if not isinstance(diagnosis, Recognised):
        return NoPlan(diagnosis.result)
    refusals: list[PlanRefused] = []
    origin = diagnosis.checkpoint.metadata.get("viscy_compat.source_generation")
    newest_first = reversed(diagnosis.inference.architecture.generations)
    # forms that others wrote are no older states of the class, and renames alone fit every file: they come last
    for generation in sorted(newest_first, key=lambda row: (row.name != origin, row.is_frozen)):
        try:
            file_plan = _plan_back_to(diagnosis, generation)
        except (PlanRefused, Unbuildable) as error:
            # an older state that could not even be built in this configuration explains nothing
            refusals += [error] if isinstance(error, PlanRefused) else []
        else:
            if file_plan is not None:
                return file_plan
    if refusals:
        raise refusals[0]
    name = diagnosis.inference.architecture.name
    raise PlanRefused(
        f"{name} has no older generation that this file could have come from", where=question.path, fix="give --plan"
    )


def _plan_back_to(diagnosis: Recognised, generation: Generation) -> FilePlan | None:
    """Return the way back to one generation; None where it has today's layout."""
    if generation.to_today is None:
        return None
    plan = plan_back(diagnosis.checkpoint, diagnosis.view, diagnosis.inference, generation)
    keys = sources_of_view(diagnosis.checkpoint, diagnosis.view).keys
    with TensorReader(diagnosis.checkpoint) as reader:
        refuse_changed_fills(plan, {name: diagnosis.checkpoint.tensors[key] for name, key in keys.items()}, reader)
    return _file_plan(diagnosis, plan, plan.source.layout)


def _refuse_unreadable(checkpoint: Checkpoint) -> None:
    for tensor in checkpoint.unreadable:
        raise UnreadableCheckpoint(
            f"{tensor.key!a} cannot be read exactly: {tensor.reason}", where=checkpoint.path, code=tensor.code
        )
    if lacks_its_sums(checkpoint):
        for finding in about_absent_weights(checkpoint):
            raise UnreadableCheckpoint(finding.message, where=checkpoint.path, fix=finding.fix, code=finding.code)

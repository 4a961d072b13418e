"""Whether a checkpoint has the layout of another one, or a remap gives it: `check --against FILE`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from viscy_compat.checkpoint import open_checkpoint
from viscy_compat.checkpoint.limits import DEFAULT_LIMITS, Limits
from viscy_compat.checkpoint.locations import public_name
from viscy_compat.checkpoint.wrapper import layout_of, views_of
from viscy_compat.diagnosis.difference import layout_findings
from viscy_compat.diagnosis.judgement import unreadable
from viscy_compat.diagnosis.result import CheckResult
from viscy_compat.errors import PlanRefused, UnreadableCheckpoint
from viscy_compat.findings import Finding, Verdict
from viscy_compat.layout import differences, quote_path
from viscy_compat.plans.plan import Plan
from viscy_compat.rewrite.choosing import FilePlan, RemapRequest, choose


def check_against(
    paths: Iterable[str], other: str, *, state_dict: str | None = None, limits: Limits = DEFAULT_LIMITS
) -> Iterator[CheckResult]:
    """Yield the verdict on each file: whether it has the layout of the other one, as it is or after a remap.

    Raises
    ------
    UnreadableCheckpoint
        Where the other file cannot be read.
    """
    other = public_name(other)
    # first: a fault of the other file is no verdict on each of these
    open_checkpoint(other, limits=limits)
    for path in map(public_name, paths):
        try:
            yield _verdict(RemapRequest(path=path, against=other, state_dict=state_dict, limits=limits))
        except UnreadableCheckpoint as error:
            yield unreadable(path, error)


def _verdict(question: RemapRequest) -> CheckResult:
    checkpoint = open_checkpoint(question.path, limits=question.limits, state_dict=question.state_dict)
    wanted = open_checkpoint(question.against, limits=question.limits)
    view = views_of(checkpoint)[0]
    gap = differences(layout_of(checkpoint, view), layout_of(wanted, views_of(wanted)[0]))
    plan, refusal = _plan(question)
    findings = [*layout_findings(gap, question.path, question.against)]
    verdict: Verdict = "incompatible"
    following = f"viscy-compat diff {quote_path(question.path)} {quote_path(question.against)}"
    if plan is not None and findings:
        verdict = "remappable"
        verb = "is one" if len(plan.changes) == 1 else "are those"
        message = f"{len(plan.changes)} of its tensors {verb} of {question.against} by another name"
        findings = [Finding("VC393", message)]
        following = f"viscy-compat remap {quote_path(question.path)} --against {quote_path(question.against)} -o OUT.safetensors"
    elif not findings:
        verdict, following = "compatible", ""
    elif refusal:
        # why no remap leads there belongs to what keeps the file from loading
        findings[0] = findings[0]._replace(fix=refusal)
    return CheckResult(
        file=checkpoint.path,
        verdict=verdict,
        findings=tuple(findings),
        format=checkpoint.format,
        wrapper={"kind": checkpoint.wrapper.kind, "prefix": view.prefix, "version": checkpoint.wrapper.version},
        tensors=len(checkpoint.tensors),
        bytes=checkpoint.tensor_bytes,
        next=following,
        against=question.against,
    )


def _plan(question: RemapRequest) -> tuple[Plan | None, str]:
    """Return the plan that leads to the other layout, or why there is none."""
    try:
        chosen = choose(question)
    except PlanRefused as error:
        return None, f"no remap to it: {error.message}"
    return (chosen.plan, "") if isinstance(chosen, FilePlan) else (None, "")

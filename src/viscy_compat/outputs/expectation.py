"""A checkpoint beside outputs that the user has: which configuration gives them, in which precision, and what else would."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from tempfile import TemporaryDirectory
from typing import Any, Literal

from viscy_compat.agreement import Agreement, Precision
from viscy_compat.architectures import find
from viscy_compat.diagnosis import CheckResult, diagnose
from viscy_compat.errors import OutputsOfAnother, PlanRefused, UsageError
from viscy_compat.findings import Finding
from viscy_compat.outputs.bench import Bench, Build
from viscy_compat.outputs.inquiry import Inquiry
from viscy_compat.outputs.user_file import read_user_outputs
from viscy_compat.outputs.verdict import findings_about, refuse
from viscy_compat.plans.plan_file import plan_id
from viscy_compat.proof.old_class import target_weights
from viscy_compat.report.text_expect import describe_output
from viscy_compat.rewrite.choosing import FilePlan, NoPlan, RemapRequest, choose
from viscy_compat.rewrite.remapping import NewFile, RemapResult, Wish, fulfil
from viscy_compat.rewrite.write import Job, OutputSet, write
from viscy_compat.stated import EXPECT, Statement
from viscy_compat.workers.candidate import Candidate
from viscy_compat.workers.worker import Worker


class Expectation:
    """Inputs and outputs that the user has; a context manager that holds one worker.

    Parameters
    ----------
    path : str
        A safetensors file with the tensor ``input`` and at least one output under the name that the class gives it.
    class_name : str, optional
        The class, where it is stated.
    candidate : Candidate, optional
        The package that holds the migrated classes.
    precision : str, optional
        In which precision the outputs were made, where the user states it.
    tell : Callable[[str], None], optional
        Gets a line before anything is run that takes long.

    Raises
    ------
    UsageError
        Where the file lacks the input.
    UnreadableCheckpoint
        Where it cannot be read.
    """

    def __init__(
        self,
        path: str,
        *,
        class_name: str = "",
        candidate: Candidate | None = None,
        precision: str = "",
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self.class_name, self.candidate = class_name, candidate or Candidate()
        self.user = read_user_outputs(path, precision=precision)
        self.tell = tell or (lambda line: None)
        self.agreement: Agreement | None = None
        self._stack, self._count = ExitStack(), 0
        self._settled: dict[str, bool] = {}
        self._best = ""

    def __enter__(self) -> Expectation:
        # whatever comes in between, a signal too: without this nothing would end the worker that has begun
        with ExitStack() as stack:
            self._folder = stack.enter_context(TemporaryDirectory(prefix="viscy-compat-"))
            self._worker = stack.enter_context(Worker("candidate", cache=1))
            self.candidate.prepare(self._worker)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def settles(self, chosen: FilePlan) -> bool:
        """Say whether a candidate plan gives the expected outputs, in whatever precision explains them."""
        # by what a plan says: the search comes back to one that it has asked about, and each answer costs forward passes
        identity = plan_id(chosen.plan)
        if identity not in self._settled:
            self._settled[identity] = self._inquiry(chosen, self._weights(chosen)).holds()
        return self._settled[identity]

    def judge(self, chosen: FilePlan) -> Agreement:
        """Find out which configuration and precision give the outputs, and what they leave open.

        Raises
        ------
        PlanRefused
            Where the class does not run on the input.
        UsageError
            Where the class is not known, or no output of it is in the file.
        """
        inquiry = self._inquiry(chosen, self._weights(chosen))
        self.agreement = inquiry.judge(self.tell)
        self._best = inquiry.best
        return self.agreement

    def __call__(self, chosen: FilePlan, finished: NewFile) -> Mapping[str, Any]:
        """Prove a new file: it must give what was judged.

        Raises
        ------
        PlanRefused
            Where the outputs are not those of the model.
        """
        agreement = self.agreement or self.judge(chosen)
        refuse(agreement)
        inquiry = self._inquiry(chosen, target_weights(finished, self._folder))
        inquiry.refuse_others(agreement, self._best)
        return {"expected": {row.name: describe_output(row) for row in agreement.outputs}}

    def _inquiry(self, chosen: FilePlan, weights: str) -> Inquiry:
        name = self.class_name or chosen.plan.target.class_name
        if not name:
            raise UsageError("--expect needs to know the class", fix="state it: --as CLASS")
        architecture = find(name)
        return Inquiry(
            bench=Bench(self._worker, self.user),
            architecture=architecture,
            build=Build(self.candidate.target(architecture), dict(chosen.plan.target.config), weights),
            identity=chosen.result.identity if chosen.result else None,
            loses=bool(chosen.plan.loses),
        )

    def _weights(self, chosen: FilePlan) -> str:
        """Write the weights as the plan makes them, under a name of their own: the worker remembers what it has read."""
        self._count += 1
        out = os.path.join(self._folder, f"plan {self._count}.safetensors")
        weights = OutputSet(chosen.checkpoint, keys=chosen.keys, plan=chosen.plan)
        write(Job(weights, out=out, format="safetensors", if_exists="overwrite"), lambda path: None)
        return out


def remap_expecting(request: RemapRequest, wish: Wish, expectation: Expectation) -> RemapResult:
    """Remap a file that gives the expected outputs; what the weights do not tell, and they do, goes into the new file.

    Raises
    ------
    PlanRefused
        Where the outputs are not those of the model, and whatever `viscy_compat.rewrite.remapping.fulfil` raises.
    """
    chosen = choose(request, trial=expectation.settles)
    # nothing to hold the outputs against: the refusal is that of an ordinary remap
    if isinstance(chosen, NoPlan):
        return fulfil(request, wish)
    agreement = expectation.judge(chosen)
    refuse(agreement)
    # a plan file, or a file to be alike, says itself what the configuration is
    known = request if request.plan or request.against else _with_settled(request, agreement)
    result = fulfil(known, wish, prover=expectation, trial=expectation.settles)
    return result._replace(expect=agreement, findings=(*result.findings, *findings_about(agreement)))


def check_expecting(
    result: CheckResult, request: RemapRequest, expectation: Expectation, *, among: Literal["one", "several"] = "one"
) -> CheckResult:
    """Say how the outputs agree with a file that loads, or loads once it is remapped; others stay as they are.

    Raises
    ------
    OutputsOfAnother
        Where the outputs cannot be those of the class. Among several files that is an answer about this one.
    """
    if result.verdict not in ("compatible", "remappable"):
        return result
    try:
        chosen = choose(request, trial=expectation.settles)
        if isinstance(chosen, NoPlan):
            return result
        agreement = expectation.judge(chosen)
    except (PlanRefused, OutputsOfAnother) as error:
        if isinstance(error, OutputsOfAnother) and among == "one":
            raise
        message, fix = error.message, error.fix
        if isinstance(error, OutputsOfAnother):  # which of the files they are of is what is asked
            message, fix = f"outputs of another model: {message}", ""
        refused = Agreement(expectation.user.path, Precision(""), refusal=message, code="VC350")
        finding = Finding(error.code or "VC350", message, fix=fix)
        return result._replace(expect=refused, findings=(*result.findings, finding))
    if agreement.settled:
        # judged anew with what the outputs settle: findings about what the weights leave open would be stale
        known = _with_settled(request, agreement)
        found = diagnose(
            request.path,
            class_name=request.class_name,
            statements=known.statements,
            state_dict=request.state_dict,
            limits=request.limits,
        )
        result = found.result._replace(strict=result.strict)
    return result._replace(expect=agreement, findings=(*result.findings, *findings_about(agreement)))


def _with_settled(request: RemapRequest, agreement: Agreement) -> RemapRequest:
    """State what the outputs settle, after everything that the user states."""
    if not agreement.settled:
        return request
    return request._replace(statements=(*request.statements, Statement(EXPECT, agreement.settled)))

"""What `check` answers about one file."""

from __future__ import annotations

from viscy_compat.annotations import TYPE_CHECKING, Any
from viscy_compat.architectures.inference import Inference, Undetermined
from viscy_compat.checkpoint.facts import Checkpoint, View, WeightsFacts
from viscy_compat.diagnosis.weight_set import SetChoice
from viscy_compat.findings import CATALOGUE, EXIT_CODES, Finding, Verdict, html_of, line_of
from viscy_compat.named import NamedTuple
from viscy_compat.operations import Cast, Drop, Fill, Rename
from viscy_compat.plans.plan import Plan

if TYPE_CHECKING:
    from collections.abc import Mapping

    from viscy_compat.agreement import Agreement


class Identity(NamedTuple):
    """The class, generation and configuration that a file holds, with what its weights cannot tell.

    ``sources`` says of each argument where its value comes from: who states it, ``weights``, ``follows`` (from the
    weights and what is stated), ``assumed`` (no prediction depends on it), or ``not known``.
    """

    class_name: str
    target: str
    generation: str
    written_by: str
    config: Mapping[str, Any]
    undetermined: Mapping[str, Undetermined]
    evidence: tuple[str, ...]
    sources: Mapping[str, str] = {}

    def to_dict(self) -> dict[str, Any]:
        """Return the ``architecture`` object of the contract."""
        return {
            "class": self.class_name,
            "target": self.target,
            "generation": self.generation,
            "written_by": self.written_by,
            "config": dict(self.config),
            "undetermined": {name: row.to_dict() for name, row in self.undetermined.items()},
            "sources": dict(self.sources),
            "evidence": list(self.evidence),
        }


class PlanSummary(NamedTuple):
    """How many tensors a total plan renames, drops, fills and casts, and what it does to all names at once.

    A result keeps this and not the plan: the rows and layouts of one are a hundred kilobytes, and a folder has thousands.
    """

    renames: int = 0
    drops: int = 0
    fills: int = 0
    casts: int = 0
    prefix_rows: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the ``plan`` object of the contract."""
        counts = {"renames": self.renames, "drops": self.drops, "fills": self.fills, "casts": self.casts}
        return {"total": True, **counts, **({"prefix": list(self.prefix_rows)} if self.prefix_rows else {})}


def summary_of(plan: Plan) -> PlanSummary:
    """Count what a plan does.

    Examples
    --------
    >>> from viscy_compat.layout import TensorSpec
    >>> from viscy_compat.plans.plan import PlanEnd, plan_of
    >>> here, there = PlanEnd({"a": TensorSpec((2,))}), PlanEnd({"b": TensorSpec((2,))})
    >>> summary_of(plan_of(here, there, [Rename("a", "b")])).to_dict()
    {'total': True, 'renames': 1, 'drops': 0, 'fills': 0, 'casts': 0}
    """
    kinds = [type(row) for row in plan.changes]
    return PlanSummary(
        renames=kinds.count(Rename),
        drops=kinds.count(Drop),
        fills=kinds.count(Fill),
        casts=kinds.count(Cast),
        prefix_rows=plan.prefix_rows,
    )


class CheckResult(NamedTuple):
    """The verdict on one file, as `check` reports it."""

    file: str
    verdict: Verdict
    findings: tuple[Finding, ...] = ()
    format: str = ""
    wrapper: Mapping[str, str] = {}
    identity: Identity | None = None
    tensors: int = 0
    bytes: int = 0
    plan: PlanSummary | None = None
    next: str = ""
    python: str = ""
    state_dict: str | None = None
    sets: tuple[WeightsFacts, ...] = ()
    strict: bool = False
    expect: Agreement | None = None
    against: str = ""
    ignored: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The file."""
        return self.file

    @property
    def uncertain(self) -> bool:
        """Whether predictions depend on something that is not known."""
        return any(CATALOGUE[finding.code].predictions for finding in self.findings)

    @property
    def exit_code(self) -> int:
        """That of the verdict; with ``--strict`` what is uncertain is a finding, and other outputs than expected always."""
        refused = self.expect is not None and bool(self.expect.refusal)
        return EXIT_CODES[self.verdict] or int(refused or (self.strict and self.uncertain))

    def __repr__(self) -> str:
        return line_of(self, f"{self.identity.class_name} {self.identity.generation}" if self.identity else "")

    def _repr_html_(self) -> str:
        return html_of("check", self)

    def to_dict(self) -> dict[str, Any]:
        """Return the result as the JSON of the contract has it; keys without a value are left out."""
        fields = {
            "file": self.file,
            "verdict": self.verdict,
            "format": self.format,
            "wrapper": dict(self.wrapper),
            "architecture": self.identity.to_dict() if self.identity else None,
            "tensors": self.tensors,
            "bytes": self.bytes,
            "state_dict": self.state_dict,
            "sets": [row.to_dict() for row in self.sets],
            "plan": self.plan.to_dict() if self.plan else None,
            "expect": self.expect.to_dict() if self.expect else None,
            "against": self.against,
            "findings": [finding.to_dict() for finding in self.findings],
            "ignored": list(self.ignored),
            "next": self.next,
            "python": self.python,
        }
        always = ("findings", "next", "tensors", "bytes", *(() if self.state_dict is None else ("state_dict",)))
        return {name: value for name, value in fields.items() if value or name in always}


class Recognised(NamedTuple):
    """A file whose names and shapes are those of a known class, with the facts that `remap` goes on from.

    ``plan`` is the total plan to today's layout, or None where there is none; the result has it only where the verdict
    lets it be applied as it stands. ``choice`` lists the sets of weights in the file, and says which one was judged.
    """

    result: CheckResult
    checkpoint: Checkpoint
    view: View
    inference: Inference
    plan: Plan | None
    choice: SetChoice


class Stranger(NamedTuple):
    """A file that was read and whose names are of no known class; `view` is how it was looked at."""

    result: CheckResult
    checkpoint: Checkpoint
    view: View
    choice: SetChoice


class Unreadable(NamedTuple):
    """What nobody can judge: the reader refuses the file, or nothing says which of its sets of weights is meant.

    ``bystander`` says what a file is that lies beside checkpoints without being one.
    """

    result: CheckResult
    bystander: str = ""


Diagnosis = Recognised | Stranger | Unreadable
"""What `check` found out about one file."""

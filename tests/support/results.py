"""Reports of commands that need torch, git, or another machine, of results that are stated here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date

from viscy_compat.agreement import Agreement, Alternative, OutputAgreement, Precision
from viscy_compat.architectures import find
from viscy_compat.architectures.architecture import Case
from viscy_compat.comparison.amounts import Amount
from viscy_compat.comparison.failures import Failure
from viscy_compat.comparison.results import ClassResult, Origin
from viscy_compat.diagnosis import CheckResult, check
from viscy_compat.errors import SourceUnavailable
from viscy_compat.exhibits import Fact
from viscy_compat.findings import Finding, Report, Result
from viscy_compat.fleet.remap_ledger import LedgerRemap
from viscy_compat.gating.engine import gate
from viscy_compat.gating.stage import Setting, Stage, StageResult, Workshop
from viscy_compat.outputs.verdict import findings_about
from viscy_compat.readiness import Readiness, Requirement, Surroundings
from viscy_compat.references.recording import ReferenceResult
from viscy_compat.references.records import RecordedCase, RecordedRefusal, Reference
from viscy_compat.report.maps import map_of
from viscy_compat.rewrite.remapping import RemapResult, remap
from viscy_compat.waivers import Waiver
from viscy_compat.workers.candidate import Candidate
from viscy_compat.workers.worker import Conditions

OLD = Conditions(
    python="3.12.4",
    torch="2.9.1",
    timm="1.0.22",
    monai="1.5.1",
    cpu="AVX512",
    threads=1,
    isolation=("own process", "no network"),
)
SMALL = Case("resnet10", {"backbone": "resnet10", "latent_dim": 250}, (2, 1, 16, 64, 64))
OTHER = Case("resnet18", {"backbone": "resnet18"}, (2, 2, 16, 64, 64))
APART = Amount("projection", largest=0.003, scale=0.52)
FAILURES = (
    Failure("VC501", "the outputs differ (projection)", SMALL, mode="eval", module="projection.4", amounts=(APART,)),
    Failure("VC501", "the outputs differ (projection)", OTHER, mode="eval", module="projection.4", amounts=(APART,)),
    Failure("VC111", "the candidate has other tensors", SMALL, keys=("head.0.weight", "head.0.bias")),
)
BLOBS = {"viscy/representation/contrastive.py": "1f5a2c9d", "viscy/unet/networks/Unet2D.py": "77ab01c4"}


def verify() -> Report[ClassResult]:
    """A class that is equal, one that differs, one that could not be decided."""
    git = Origin("git", "fe7a5da^", BLOBS, proven=True, conditions=(OLD, OLD))
    note = Finding("VC630", "3 of 5 files are those of the recorded generation", ("viscy/data/hcs.py",))
    results = (
        ClassResult("BetaVae25D", "v0.4", git, 14, accepted=("pretrained: the old class fetched weights",)),
        ClassResult("ResNet3dEncoder", "v0.4", git, 12, failures=FAILURES, notes=(note,)),
        ClassResult("BetaVaeMonai", "v0.4", git, 18, failures=(Failure("VC631", "the old side said nothing", OTHER),)),
    )
    return Report("verify", results, headline="viscy_models against git fe7a5da^ of ../VisCy, proven by git blob ids")


def verify_by_record() -> Report[ClassResult]:
    """Recorded references that nobody asked for: equal, and yet undecided."""
    origin = Origin("recorded", "v0.4", {}, proven=True, conditions=(OLD,))
    result = ClassResult("BetaVaeMonai", "v0.4", origin, 18)
    return Report("verify", [result], headline="viscy_models against the recorded references", exit_code=2)


RECORD = RecordedCase(
    name="resnet10",
    release="0.4.0",
    config=SMALL.config,
    arguments={},
    input=SMALL.input,
    refusal=RecordedRefusal("constructor", "ValueError"),
    weights=(),
    generator="",
    passes={},
)


def record() -> Report[ReferenceResult]:
    """A reference that is as before, one that was written anew, one that was only compared and would change."""
    states = (("BetaVae25D", False, False), ("BetaVaeMonai", True, False), ("ResNet3dEncoder", True, True))
    results = [
        ReferenceResult(
            reference=Reference(name, "v0.4", {}, {}, {}, cases=(RECORD,) * 12),
            where=f"legacy_refs/{name}/v0.4.json",
            changed=changed,
            checked=checked,
            size=48_213,
            left_out=("0.4.0a1",) * (name == "BetaVae25D"),
        )
        for name, changed, checked in states
    ]
    return Report("record", results, headline="references in legacy_refs")


def gate_of_three_stages() -> Report[StageResult]:
    """Every word of the matrix: what holds, differs, is waived, was left out, and was not decided."""
    interface = _stage(
        "interface",
        StageResult("interface", "BetaVae25D"),
        StageResult("interface", "ResNet3dEncoder", (Finding("VC311", "in_channels: 1 became 2", ("in_channels",)),)),
        StageResult(
            "interface",
            "",
            (Finding("VC341", "exported and not judged: Unet3d", ("Unet3d",)),),
            details={"names": ["viscy_models.contrastive.encoder:projection_mlp"]},
        ),
    )
    failures = [failure.to_dict() for failure in FAILURES[:1]]
    details = {"generation": "v0.4", "configurations": 12, "failures": failures}
    differs = Finding("VC501", FAILURES[0].sentence, fix="look for what changed in projection.4")
    numbers = _stage(
        "verify",
        StageResult("verify", "BetaVae25D", (differs,), details=details, maps=(map_of(find("BetaVae25D"), {}),)),
        StageResult("verify", "ResNet3dEncoder", (Finding("VC501", "the outputs differ (embedding)"),)),
        StageResult("verify", "", headline="viscy_models against wheel viscy 0.4.0, proven by git blob ids"),
    )
    waiver = Waiver("new-eps", "BetaVae25D", "VC501", "eps follows timm", date(2027, 1, 31))
    idle = Waiver("old-stem", "ResNet3dEncoder", "VC201", "the stem is as it was", "1.2.0")
    setting = Setting(
        tuple(map(find, ("BetaVae25D", "ResNet3dEncoder", "BetaVaeMonai"))), Candidate(), {"recorded": True}
    )
    stages = (interface, numbers, _stage("remap", runs_old_code=True))
    return gate(setting, stages, (waiver, idle), whole=True)


def _stage(name: str, *results: StageResult, runs_old_code: bool = False) -> Stage:
    def run(_: Workshop) -> Iterator[StageResult]:
        yield from results
        if runs_old_code:
            raise SourceUnavailable("it runs the old classes, and --recorded leaves them out", code="VC601")

    return Stage(name, "static", f"what {name} makes sure of", run, runs_old_code=runs_old_code)


AGREEMENT = Agreement(
    "io.safetensors",
    Precision("tf32", ratio=0.93, bound=1.5, likeness=0.82, noise=6e-4, others=("tf32-all",)),
    distance=5.6e-4,
    outputs=(
        OutputAgreement("mean", largest=1e-3, scale=2.0, distance=5e-4),
        OutputAgreement("logvar", equal=True, scale=3.0),
        OutputAgreement("z", left_out="drawn at random"),
    ),
    missing=("recon_x",),
    extra=("loss",),
    settled={"stem_stride": (5, 4, 4)},
    candidates=(Alternative("stem_stride=2,4,4", "excluded", coefficient=0.01, spread=0.02, size=0.4),),
    left_open={"task": ("seg", "reg")},
    alterations=(
        Alternative("another eps in stem.norm", "excluded", coefficient=0.01, spread=0.02, size=1e-3),
        Alternative("GELU by tanh", "undecided", coefficient=0.3, spread=0.4, size=1e-5),
        Alternative("a bias in projection.0", "no effect"),
    ),
    passes=7,
    made={"device": "cuda", "seed": "0"},
)
REFUSAL = Agreement(
    "io.safetensors",
    Precision("float32", ratio=41.0, bound=1.5, likeness=0.1, noise=6e-7),
    distance=0.3,
    outputs=(OutputAgreement("mean", largest=0.4, scale=2.0, distance=0.31),),
    begins="encoder.stages.1",
    refusal="the outputs are not those of this model in any precision; the difference begins in encoder.stages.1",
    code="VC350",
    passes=5,
)


def check_expecting() -> Report[CheckResult]:
    """Outputs that agree, and outputs that do not."""
    result = check("new.safetensors", config={"stem_stride": (5, 4, 4)}).results[0]
    return Report("check", [_with_outputs(result, AGREEMENT), _with_outputs(result, REFUSAL)])


def _with_outputs(result: CheckResult, agreement: Agreement) -> CheckResult:
    return result._replace(expect=agreement, findings=(*result.findings, *findings_about(agreement)))


def remap_expecting() -> Report[RemapResult]:
    """A file that was written because its outputs agree."""
    written = remap(
        "new.safetensors", "../expected.safetensors", config={"stem_stride": (5, 4, 4)}, force=True
    ).results[0]
    findings = (*written.findings, *findings_about(AGREEMENT))
    return Report("remap", [written._replace(expect=AGREEMENT, findings=findings)])


def remap_of_a_ledger() -> Report[LedgerRemap]:
    """A file that was written, one that was refused, one that is another than it was."""
    rows = (
        LedgerRemap("runs/a.ckpt", "written", "new/runs/a.safetensors", size=1_204_000, modified_ns=17, mark="m"),
        LedgerRemap(
            "runs/b.ckpt", "refused", code="VC101", message="3 tensors are missing", fix="look at check's list"
        ),
        LedgerRemap(
            "runs/c.ckpt", "changed", code="VC402", message="the file was changed since the audit", fix="audit again"
        ),
    )
    return Report("remap_ledger", rows)


def doctor() -> Report[Readiness | Surroundings]:
    """A machine on which one package is missing, one too old, and the cache not to be written."""
    places = {"viscy-compat": "0.1.0", "python": "3.12.4 (/usr/bin/python3)", "cache": "/var/cache/viscy-compat"}
    blocked = Finding("VC398", "the cache /var/cache cannot be written: no permission", fix="set VISCY_COMPAT_CACHE")
    surroundings = Surroundings(tuple(Fact(name, text) for name, text in places.items()), (blocked,))
    torch, timm = Requirement("torch", "2.4", "2.9.1"), Requirement("timm", "1.0", None)
    outdated = Requirement("torch", "2.4", "2.1.0")
    old = Finding(
        "VC396", "torch is 2.1.0, and 2.4 or newer is needed", fix="pip install --upgrade 'viscy-compat[models]'"
    )
    rows = (
        Readiness("check", (), (), ()),
        Readiness("explore", ("explore",), (torch, timm), ("timm is not installed",)),
        Readiness("verify", ("models",), (outdated,), (old.message,), (old,)),
    )
    return Report("doctor", [surroundings, *rows])


REPORTS: dict[str, Callable[[], Report[Result]]] = {
    "check expect": check_expecting,
    "doctor": doctor,
    "gate": gate_of_three_stages,
    "record": record,
    "remap expect": remap_expecting,
    "remap ledger": remap_of_a_ledger,
    "verify": verify,
    "verify by record": verify_by_record,
}
"""By the command that makes such a report, and what sets it apart."""

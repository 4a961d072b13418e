"""`record` gives the same bytes twice; `verify --recorded` passes the migrated classes and stops careless copies."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from math import isclose
from pathlib import Path
from typing import Any

import pytest

from support.architectures import variant
from support.mutants import Edit, mutant
from support.old_checkpoints import cache
from support.old_history import assemble
from viscy_compat.architectures import find
from viscy_compat.cli import main
from viscy_compat.comparison.results import ClassResult
from viscy_compat.errors import CompatError, OutputRefused, SourceUnavailable, UsageError
from viscy_compat.old_code.origin import Wanted
from viscy_compat.proof.equivalence import verify
from viscy_compat.references import records
from viscy_compat.references.agreement import judge_by_reference
from viscy_compat.references.recording import Recorder, record
from viscy_compat.workers import worker as workers
from viscy_compat.workers.candidate import read_candidate
from viscy_compat.workers.worker import Worker

pytestmark = [pytest.mark.torch, pytest.mark.index, pytest.mark.usefixtures("warm")]

SRC = Path(__file__).resolve().parents[2] / "src"
ROOT = SRC.parent / "legacy_refs"


@pytest.fixture(scope="module", autouse=True)
def wheel_cache() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VISCY_COMPAT_CACHE", str(cache().parent))
        patch.delenv("VISCY_COMPAT_REPO", raising=False)
        yield


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    with Worker("candidate", cache=1) as started:
        yield started


def against_references(worker: Worker, folder: Path, name: str, *cases: str) -> ClassResult:
    """Compare one class with its reference, in the named cases alone."""
    package = read_candidate(str(folder))
    package.prepare(worker)
    architecture = find(name)
    reference = records.read(name, architecture.generations[-1].name)
    kept = tuple(case for case in reference.cases if not cases or case.name in cases)
    assert kept
    whole = records.Reference(
        reference.name, reference.generation, reference.recipe, reference.sources, reference.signatures, kept
    )
    return judge_by_reference(worker, architecture, whole, package, lambda line: None)


@pytest.mark.parametrize(
    ("name", "cases"),
    [
        ("ContrastiveEncoder", ("defaults", "resnet50", "second-convnext", "batch-of-one", "thin-stack")),
        ("ResNet3dEncoder", ("resnet10", "one-voxel", "batch-of-one")),
        ("BetaVae25D", ("convnext-exact", "deconv-instance", "small-latent")),
        ("BetaVaeMonai", ()),
    ],
)
def test_the_migrated_class_agrees_with_its_reference(worker: Worker, name: str, cases: tuple[str, ...]) -> None:
    result = against_references(worker, SRC, name, *cases)
    assert result.failures == ()
    assert result.configurations == (len(cases) or len(records.read(name, "v0.4").cases))
    assert (result.origin.kind, result.origin.proven) == ("recorded", False)


@pytest.mark.parametrize(
    ("edit", "code"),
    [
        (Edit("contrastive/encoder.py", "nn.ReLU(inplace=True)", "nn.Identity()"), "VC506"),
        (
            Edit(
                "contrastive/encoder.py", "nn.Linear(hidden_dims, out_dims)", "nn.Linear(hidden_dims, out_dims, False)"
            ),
            "VC111",
        ),
        (
            Edit(
                "contrastive/resnet3d.py", "self.encoder.avgpool(deepest).flatten(1)", "deepest.mean((2, 3, 4)) * 1.001"
            ),
            "VC506",
        ),
        (
            Edit("contrastive/resnet3d.py", "return embedding, self", "return embedding[:, :8], self"),
            "VC507",
        ),
        (Edit("contrastive/resnet3d.py", "        *_, deepest", "        raise OSError\n        *_, deepest"), "VC504"),
    ],
)
def test_a_careless_copy_does_not(worker: Worker, tmp_path: Path, edit: Edit, code: str) -> None:
    result = against_references(worker, mutant(tmp_path, edit), "ResNet3dEncoder", "resnet10")
    assert code in {failure.code for failure in result.failures}
    assert result.exit_code == 1


def test_a_pass_that_hangs_on_last_bits_is_no_difference_and_a_careless_copy_still_is(
    worker: Worker, tmp_path: Path
) -> None:
    """Fifty batch norms over two numbers each: another processor, of whatever maker, gives an output of another sign."""
    cases = ("resnet50", "one-voxel-resnet50")
    result = against_references(worker, SRC, "ResNet3dEncoder", *cases)
    assert {failure.code for failure in result.failures} <= {"VC505"}
    assert result.exit_code == 0
    edit = Edit(
        "contrastive/resnet3d.py", "self.encoder.avgpool(deepest).flatten(1)", "deepest.mean((2, 3, 4)) * 1.001"
    )
    careless = against_references(worker, mutant(tmp_path, edit), "ResNet3dEncoder", *cases)
    assert {(failure.code, failure.mode) for failure in careless.failures} >= {("VC506", "eval")}
    assert careless.exit_code == 1


@pytest.mark.parametrize("capability", ["default", "avx2"])
def test_another_cpu_still_agrees(capability: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch's kernels for lesser processors give other bytes; the tolerance covers them."""
    built = workers._environment
    monkeypatch.setattr(workers, "_environment", lambda *given: {**built(*given), "ATEN_CPU_CAPABILITY": capability})
    with Worker("candidate") as lesser:
        assert lesser.conditions.cpu.lower().replace("_", "") in ("default", "noavx", "avx2")
        for name, cases in (("ContrastiveEncoder", ("defaults", "second-convnext")), ("BetaVaeMonai", ())):
            assert against_references(lesser, SRC, name, *cases).failures == ()


# --- recording ---------------------------------------------------------------------------------------------------


def test_recording_again_gives_the_bytes_that_are_stored_from_both_sources(tmp_path: Path) -> None:
    """The stored files were made under the versions that they name; elsewhere only this run counts.

    A recipe names what the processor can do and not its maker, whose arithmetic may round the last bit otherwise: then
    the numbers must be close, and all else the same.
    """
    architecture = find("BetaVaeMonai")
    assembled = assemble(tmp_path / "VisCy")
    state = architecture.generations[-1]
    release = state.releases[0]._replace(revision="v0.4.0")
    here = variant(architecture, generations=(state._replace(releases=(release,)),))
    texts = []
    for where in (Wanted(), Wanted(repo=str(assembled))):
        with Worker("old", cache=1) as worker:
            recorder = Recorder(worker, where)
            texts.append(records.write(recorder.draft(here, here.generations[-1]).reference))
    assert texts[0] == texts[1]
    assert len(records.parse(texts[0]).cases) == len(architecture.cases)
    stored = records.read("BetaVaeMonai", "v0.4", root=ROOT)
    if records.parse(texts[0]).recipe == stored.recipe:
        told, kept = json.loads(texts[0]), json.loads((ROOT / stored.path).read_text())
        assert told == kept or different(told, kept) == []


def different(told: Any, kept: Any, place: str = "") -> list[str]:
    """Where two references differ by more than the last bits of numbers, and digests of such numbers."""
    if isinstance(told, dict) and isinstance(kept, dict) and list(told) == list(kept):
        return [row for key in told for row in different(told[key], kept[key], f"{place}/{key}")]
    if isinstance(told, list) and isinstance(kept, list) and len(told) == len(kept):
        return [
            row for key, pair in enumerate(zip(told, kept, strict=True)) for row in different(*pair, f"{place}/{key}")
        ]
    if isinstance(told, float) and isinstance(kept, float):
        return [] if isclose(told, kept, rel_tol=1e-4, abs_tol=1e-5) else [place]
    digests = isinstance(told, str) and isinstance(kept, str) and all(map(DIGEST.fullmatch, (told, kept)))
    return [] if told == kept or digests else [place]


DIGEST = re.compile(r"[0-9a-f]{12}|[0-9a-f]{64}")


def test_what_is_different_is_found() -> None:
    kept = {"a": ["float32", "0" * 12, 0.5], "b": [1, 2]}
    assert different({"a": ["float32", "1" * 12, 0.500001], "b": [1, 2]}, kept) == []
    assert different({"a": ["float16", "1" * 12, 0.6], "b": [1, 3]}, kept) == ["/a/0", "/a/2", "/b/1"]
    assert different({"a": ["float32", "0" * 12, 0.5]}, kept) == [""]


def test_a_candidate_is_frozen_as_a_generation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--candidate", str(SRC), "--generation", "v1.0", "--to", str(tmp_path), "--format", "json"]
    assert main(["record", "BetaVaeMonai", *words]) == 0
    (result,) = json.loads(capsys.readouterr().out)["results"]
    assert (result["generation"], result["changed"]) == ("v1.0", True)
    frozen = records.read("BetaVaeMonai", "v1.0", root=tmp_path)
    assert "viscy_models/vae/beta_vae_monai.py" in frozen.sources["v1.0"]
    assert frozen.signatures["v1.0"][:2] == ("spatial_dims", "in_shape")
    stored = records.read("BetaVaeMonai", "v0.4", root=ROOT)
    layouts = [{case.name: case.layout for case in reference.cases} for reference in (frozen, stored)]
    assert layouts[0] == layouts[1]
    assert main(["record", "BetaVaeMonai", *words, "--check"]) == 0
    path = tmp_path / "BetaVaeMonai" / "v1.0.json"
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1'))
    assert main(["record", "BetaVaeMonai", *words, "--check"]) == 1
    assert '"seed": 1' in path.read_text()


def test_a_generation_that_exists_is_not_frozen_over() -> None:
    with pytest.raises(UsageError, match="has a generation"):
        record(["BetaVaeMonai"], candidate=str(SRC), generation="v0.4")


def refused(kind: type[CompatError], **options: str) -> str:
    with pytest.raises(kind) as raised:
        record(["BetaVaeMonai"], **options)  # type: ignore[arg-type]
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_freezing_needs_a_name() -> None:
    assert "--candidate and --generation go together" in refused(UsageError, candidate=str(SRC))


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot be written" in refused(OutputRefused, to=str(tmp_path / "file" / "below"))


# --- fall-backs --------------------------------------------------------------------------------------------------


def test_falling_back_is_said_first_and_exits_2_unless_it_is_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VISCY_COMPAT_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert main(["verify", "BetaVaeMonai", "--candidate", str(SRC)]) == 2
    said = capsys.readouterr()
    assert "fell back to what was recorded" in said.out.splitlines()[0]
    assert "undecided: 18 cases agree with what was recorded" in said.out
    assert "verify: falling back to the recorded references" in said.err
    report = verify(["BetaVaeMonai"], candidate=str(SRC), allow_recorded=True)
    assert (report.exit_code, "fell back" in report.headline) == (0, True)


def test_recorded_on_request_is_a_source(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "BetaVaeMonai", "--candidate", str(SRC), "--recorded"]) == 0
    assert "no old code was run" in capsys.readouterr().out.splitlines()[0]


def test_a_clone_or_a_release_that_was_named_is_never_replaced_by_the_references(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("VISCY_COMPAT_CACHE", str(tmp_path))
    for options in ({"repo": str(tmp_path)}, {"wheel": "0.4.0"}):
        with pytest.raises(SourceUnavailable):
            verify(["BetaVaeMonai"], allow_recorded=True, **options)  # type: ignore[arg-type]


def test_the_references_hold_for_their_own_seed_only() -> None:
    with pytest.raises(UsageError, match="recorded with seed 0"):
        verify(["BetaVaeMonai"], recorded=True, seed=3)

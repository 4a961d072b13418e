"""`verify` passes for the migrated classes, and names what a careless copy of them breaks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from support.architectures import variant
from support.mutants import Edit, mutant
from support.old_checkpoints import cache
from support.old_history import assemble
from viscy_compat.architectures import find, migrated_names
from viscy_compat.architectures.architecture import Architecture, complete
from viscy_compat.cli import main
from viscy_compat.comparison.evidence import Evidence
from viscy_compat.comparison.results import ClassResult
from viscy_compat.errors import CompatError, SourceUnavailable, UsageError, WorkerFailed
from viscy_compat.findings import Report
from viscy_compat.old_code.cases import cases_of
from viscy_compat.old_code.origin import Wanted, resolve
from viscy_compat.proof.equivalence import Verification, verify
from viscy_compat.workers.answers import REPORT, Run
from viscy_compat.workers.candidate import Candidate, read_candidate
from viscy_compat.workers.sides import Setup, Sides, sides, source_name

pytestmark = [pytest.mark.torch, pytest.mark.index, pytest.mark.usefixtures("warm")]

ENCODER, RESNET, VAE = "contrastive/encoder.py", "contrastive/resnet3d.py", "vae/beta_vae_25d.py"
SRC = Path(__file__).resolve().parents[2] / "src"


@pytest.fixture(scope="module", autouse=True)
def wheel_cache() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VISCY_COMPAT_CACHE", str(cache().parent))
        patch.delenv("VISCY_COMPAT_REPO", raising=False)
        yield


@pytest.fixture(scope="module")
def assembled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return assemble(tmp_path_factory.mktemp("history") / "VisCy")


@pytest.fixture(scope="module")
def both(wheel_cache: None) -> Iterator[Sides]:
    with sides(Setup(), read_candidate(str(SRC))) as started:
        yield started


def trimmed(name: str, *cases: str) -> Architecture:
    """A class with the named cases alone, in their order."""
    architecture = find(name)
    by_name = {case.name: case for case in architecture.cases}
    kept = tuple(by_name[case] for case in cases)
    return variant(architecture, cases=kept, publications=(), accepted_differences=())


def judged(both: Sides, package: Candidate, architecture: Architecture, **where: str) -> ClassResult:
    """Compare one class, on the workers that all tests share."""
    both.take(package)
    wanted = Wanted(**where)  # type: ignore[arg-type]
    olds = resolve([architecture], wanted)
    comparison = Verification([architecture], olds, package, seed=0, evidence=Evidence(), tell=lambda line: None)
    return comparison.judge(both, architecture)


# --- the migrated classes ----------------------------------------------------------------------------------------

TOUR = {
    "ContrastiveEncoder": ("defaults", "resnet50", "second-convnext", "batch-of-one"),
    "ResNet3dEncoder": ("resnet10", "one-voxel"),
    "BetaVae25D": ("convnext-exact", "deconv", "pre-conv-pool-instance"),
    "BetaVaeMonai": ("flat", "deep-residual-batch", "dropout", "fed-another-aspect"),
}


@pytest.mark.parametrize("name", TOUR)
def test_the_migrated_class_is_equal_from_the_wheel_and_from_a_clone(both: Sides, assembled: Path, name: str) -> None:
    """Every case runs in the tests of the models and in the gate; here a few, through both sources."""
    architecture = variant(trimmed(name, *TOUR[name]), accepted_differences=find(name).accepted_differences)
    package = read_candidate(str(SRC))
    from_wheel = judged(both, package, architecture)
    from_git = judged(both, package, architecture, repo=str(assembled))
    assert (from_wheel.failures, from_git.failures) == ((), ())
    assert from_wheel.configurations == from_git.configurations >= len(TOUR[name])
    assert from_wheel.origin.proven
    assert from_git.origin.proven
    assert from_wheel.origin.blobs == from_git.origin.blobs
    assert (from_wheel.origin.kind, from_git.origin.kind) == ("wheel", "git")


def test_both_sources_give_the_same_digests(both: Sides, assembled: Path) -> None:
    architecture = trimmed("BetaVaeMonai", "deep-residual-batch", "sigmoid")
    told = []
    for where in (Wanted(), Wanted(repo=str(assembled))):
        old = resolve([architecture], where)[architecture.name]
        both.describe(architecture, old)
        runs = [Run(source_name(architecture, old), old.target, c.config, c.input, REPORT) for c in architecture.cases]
        mine = [
            Run("candidate", Candidate().target(architecture), c.config, c.input, REPORT) for c in architecture.cases
        ]
        answers = [ours for ours, _ in both.both(list(zip(runs, mine, strict=True)))]
        told.append([(answer.initial, answer.passes) for answer in answers])
    assert told[0] == told[1]
    assert len({initial.digests for initial, _ in told[0] if initial}) == 2


@pytest.mark.parametrize("name", migrated_names())
def test_every_class_has_twelve_cases_its_published_checkpoints_and_its_accepted_differences(name: str) -> None:
    architecture = find(name)
    old = resolve([architecture], Wanted())[name]
    cases = cases_of(architecture, old)
    assert len(architecture.cases) >= 12
    configs = [complete(architecture, case.config) for case in cases]
    for row in architecture.publications:
        assert row.generation != old.generation.name or complete(architecture, row.config) in configs
    for accepted in architecture.accepted_differences:
        wanted = not accepted.generations or old.generation.name in accepted.generations
        assert not wanted or complete(architecture, accepted.example.config) in configs


# --- careless copies ---------------------------------------------------------------------------------------------

SWAPPED_STATISTICS = """
class _Swapped(nn.BatchNorm1d):
    def forward(self, input):
        if self.training:
            return super().forward(input)
        mean, variance = self.running_var, self.running_mean.abs()
        return nn.functional.batch_norm(input, mean, variance, self.weight, self.bias, False, 0.0, self.eps)


def projection_mlp("""

OTHER_EPSILON = """        encoder.reset_classifier(0)
        for module in encoder.modules():
            if getattr(module, "eps", None) == 1e-6:
                module.eps = 1e-5
"""

MU = "        self.fc_mu = nn.Linear(latent_dim, latent_dim)\n"
LOGVAR = "        self.fc_logvar = nn.Linear(latent_dim, latent_dim)\n"
LATER = "        later = nn.Linear(latent_dim, latent_dim)\n" + MU + "        self.fc_logvar = later\n"


def broken(both: Sides, folder: Path, edits: Sequence[Edit], architecture: Architecture) -> ClassResult:
    result = judged(both, read_candidate(str(mutant(folder, *edits))), architecture)
    assert result.exit_code == 1
    return result


def codes(result: ClassResult) -> set[str]:
    return {failure.code for failure in result.failures}


def test_a_renamed_attribute(both: Sides, tmp_path: Path) -> None:
    edits = [
        Edit(ENCODER, "self.projection = projection", "self.head = projection"),
        Edit(ENCODER, "self.projection(embedding)", "self.head(embedding)"),
    ]
    result = broken(both, tmp_path, edits, trimmed("ContrastiveEncoder", "defaults"))
    assert codes(result) == {"VC111"}
    (failure,) = result.failures
    assert {key.partition(".")[0] for key in failure.keys} == {"projection", "head"}
    assert "14 tensors are missing" in failure.message
    assert "14 are new" in failure.message


def test_equal_shapes_registered_in_another_order(both: Sides, tmp_path: Path) -> None:
    edits = [Edit(VAE, MU + LOGVAR, LOGVAR + MU)]
    result = broken(both, tmp_path, edits, trimmed("BetaVae25D", "convnext-exact"))
    moved = [failure for failure in result.failures if failure.code == "VC112"]
    assert [set(failure.keys) for failure in moved] == [
        {f"encoder.fc_{name}.{part}" for name in ("mu", "logvar") for part in ("weight", "bias")}
    ]
    assert codes(result) == {"VC112", "VC502"}


def test_built_in_another_order_but_registered_in_the_same(both: Sides, tmp_path: Path) -> None:
    result = broken(both, tmp_path, [Edit(VAE, MU + LOGVAR, LATER)], trimmed("BetaVae25D", "convnext-exact"))
    assert codes(result) == {"VC502"}
    (failure,) = result.failures
    assert set(failure.keys) == {
        f"encoder.fc_{name}.{part}" for name in ("mu", "logvar") for part in ("weight", "bias")
    }


def test_another_epsilon(both: Sides, tmp_path: Path) -> None:
    edits = [Edit(ENCODER, "        encoder.reset_classifier(0)\n", OTHER_EPSILON)]
    result = broken(both, tmp_path, edits, trimmed("ContrastiveEncoder", "defaults"))
    outputs = [failure for failure in result.failures if failure.code == "VC501"]
    assert {(failure.mode, failure.module) for failure in outputs} == {
        ("eval", "encoder.stem.1"),
        ("train", "encoder.stem.1"),
    }


def test_a_relu_left_out(both: Sides, tmp_path: Path) -> None:
    edits = [Edit(ENCODER, "nn.ReLU(inplace=True)", "nn.Identity()")]
    result = broken(both, tmp_path, edits, trimmed("ResNet3dEncoder", "resnet10"))
    outputs = [failure for failure in result.failures if failure.code == "VC501"]
    assert {failure.module for failure in outputs} == {"projection.2"}
    assert all("(projection)" in failure.message for failure in outputs)
    assert all([amount.output for amount in failure.amounts] == ["projection"] for failure in outputs)


def test_a_dropout_moved_shows_in_train_mode_only(both: Sides, tmp_path: Path) -> None:
    edits = [Edit(ENCODER, "drop_path_rate=drop_path_rate", "drop_rate=drop_path_rate")]
    result = broken(both, tmp_path, edits, trimmed("ContrastiveEncoder", "defaults", "second-convnext"))
    assert {failure.case.name for failure in result.failures if failure.case} == {"second-convnext"}
    assert {failure.mode for failure in result.failures} == {"train"}
    assert codes(result) == {"VC501", "VC503"}


def test_a_changed_default(both: Sides, tmp_path: Path) -> None:
    edits = [Edit(RESNET, "projection_dim: int = 128", "projection_dim: int = 64")]
    result = broken(both, tmp_path, edits, trimmed("ResNet3dEncoder", "resnet10"))
    assert "argument 4 was projection_dim=128 and is projection_dim=64" in [f.message for f in result.failures]
    assert codes(result) == {"VC311", "VC211", "VC502"} - (set() if "VC502" in codes(result) else {"VC502"})


def test_swapped_running_statistics_show_in_eval_mode_only(both: Sides, tmp_path: Path) -> None:
    edits = [
        Edit(ENCODER, "\ndef projection_mlp(", SWAPPED_STATISTICS),
        Edit(ENCODER, "nn.BatchNorm1d(out_dims)", "_Swapped(out_dims)"),
    ]
    result = broken(both, tmp_path, edits, trimmed("ContrastiveEncoder", "defaults"))
    assert codes(result) == {"VC501"}
    assert {(failure.mode, failure.module) for failure in result.failures} == {("eval", "projection.4")}


def test_a_difference_between_modules_names_the_module_around_it(both: Sides, tmp_path: Path) -> None:
    edits = [Edit(VAE, "z = self.reparameterize(mean, log_covariance)", "z = self.reparameterize(mean, mean)")]
    result = broken(both, tmp_path, edits, trimmed("BetaVae25D", "convnext-exact"))
    assert {failure.module for failure in result.failures} == {"encoder"}


def test_another_kind_of_output(both: Sides, tmp_path: Path) -> None:
    edits = [
        Edit(RESNET, "return embedding, self.projection(embedding)", "return self.projection(embedding), embedding")
    ]
    result = broken(both, tmp_path, edits, trimmed("ResNet3dEncoder", "resnet10"))
    assert codes(result) == {"VC507"}


def test_another_refusal(both: Sides, tmp_path: Path) -> None:
    architecture = trimmed("ResNet3dEncoder", "resnet10", "batch-of-one")
    edits = [
        Edit(
            RESNET,
            "        *_, deepest",
            "        if len(x) == 1:\n            raise IndexError(len(x))\n        *_, deepest",
        )
    ]
    result = broken(both, tmp_path, edits, architecture)
    assert codes(result) == {"VC504"}
    assert {failure.case.name for failure in result.failures if failure.case} == {"batch-of-one"}


def test_a_class_that_cannot_be_imported(both: Sides, tmp_path: Path) -> None:
    edits = [Edit("contrastive/__init__.py", '"ResNet3dEncoder"', '"Nobody"')]
    folder = mutant(tmp_path, *edits)
    init = folder / "viscy_models" / "contrastive" / "__init__.py"
    init.write_text("from viscy_models.contrastive.encoder import ContrastiveEncoder\n")
    (folder / "viscy_models" / "__init__.py").write_text("")
    result = judged(both, read_candidate(str(folder)), trimmed("ResNet3dEncoder", "resnet10"))
    assert (result.exit_code, codes(result)) == (1, {"VC312"})


# --- generations -------------------------------------------------------------------------------------------------


def test_the_change_of_generation_is_found_between_the_commits(both: Sides, assembled: Path) -> None:
    package = read_candidate(str(SRC))
    same = judged(both, package, trimmed("ContrastiveEncoder", "defaults"), repo=str(assembled), rev="v0.3.4")
    assert (same.failures, same.generation, same.origin.proven) == ((), "v0.3", False)
    older = find("ContrastiveEncoder")
    older = variant(older, generations=tuple(row._replace(cases=row.cases[:5]) for row in older.generations))
    changed = judged(both, package, older, repo=str(assembled), rev="v0.2.1")
    assert (changed.generation, changed.exit_code, changed.origin.proven) == ("v0.2", 1, True)
    assert codes(changed) == {"VC111"}
    assert "2 tensors are missing (projection.2.weight, projection.2.bias)" in changed.failures[0].message
    assert [note.code for note in changed.notes] == ["VC609"]


def test_a_class_that_a_revision_lacks_is_refused(both: Sides, assembled: Path) -> None:
    architecture = trimmed("ResNet3dEncoder", "resnet10")
    with pytest.raises(SourceUnavailable) as raised:
        judged(both, read_candidate(str(SRC)), architecture, repo=str(assembled), rev="v0.3.4")
    assert "cannot import viscy.representation.contrastive:ResNet3dEncoder" in str(raised.value)


# --- the whole run -----------------------------------------------------------------------------------------------


def test_the_command_prints_the_contract(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = mutant(tmp_path, Edit("vae/beta_vae_monai.py", *SIGMOID))
    evidence = tmp_path / "evidence"
    words = ["verify", "BetaVaeMonai", "--candidate", str(folder), "--save-evidence", str(evidence), "--format", "json"]
    assert main(words) == 1
    told = capsys.readouterr()
    assert "BetaVaeMonai: 18 cases, " in told.err
    (result,) = json.loads(told.out)["results"]
    assert (result["class"], result["generation"], result["configurations"]) == ("BetaVaeMonai", "v0.4", 18)
    assert (result["source"]["kind"], result["source"]["revision"]) == ("wheel", "0.4.0")
    assert result["source"]["blobs"]["viscy/representation/vae.py"] == "f34c2828d565814b93eb8c1d1296efa9ab88c98f"
    assert {failure["code"] for failure in result["failures"]} == {"VC501"}
    assert {failure["case"] for failure in result["failures"]} == {"sigmoid"}
    assert all(failure["config"]["use_sigmoid"] and failure["module"] for failure in result["failures"])
    kept = {path.name for path in (evidence / "BetaVaeMonai" / "sigmoid").iterdir()}
    assert kept == {"old.safetensors", "candidate.safetensors", "failures.json"}
    assert [path.name for path in (evidence / "BetaVaeMonai").iterdir()] == ["sigmoid"]
    assert_evidence_shows_it(evidence / "BetaVaeMonai" / "sigmoid")


SIGMOID = ("use_sigmoid=use_sigmoid", "use_sigmoid=False")


def assert_evidence_shows_it(folder: Path) -> None:
    from safetensors.torch import load_file

    old, new = (load_file(folder / f"{side}.safetensors") for side in ("old", "candidate"))
    assert set(old) == set(new)
    equal = {name for name in old if old[name].equal(new[name])}
    assert {name for name in old if name.startswith(("weights/", "input/"))} <= equal
    assert "eval/recon_x" not in equal


def test_more_workers_come_to_the_same() -> None:
    report = verify(["BetaVaeMonai", "Unet2d"], jobs=4, candidate=str(SRC))
    assert [result.title for result in report.results] == ["BetaVaeMonai", "Unet2d"]
    assert [len(result.findings) for result in report.results] == [0, 0]
    assert report


def test_one_side_after_the_other_comes_to_the_same(both: Sides, monkeypatch: pytest.MonkeyPatch) -> None:
    architecture = trimmed("BetaVaeMonai", "flat", "dropout")
    at_once = judged(both, read_candidate(str(SRC)), architecture)
    monkeypatch.setattr(both, "_at_once", False)
    assert judged(both, read_candidate(str(SRC)), architecture) == at_once
    assert at_once.configurations == 2


# --- refusals ----------------------------------------------------------------------------------------------------


def refusal(kind: type[CompatError], *words: str) -> str:
    options = dict(zip(words[::2], words[1::2], strict=True))
    with pytest.raises(kind) as raised:
        verify(["BetaVaeMonai"], **options)  # type: ignore[arg-type]
    assert "\n" not in str(raised.value)
    assert raised.value.exit_code == 2
    return str(raised.value)


def test_two_sources_are_one_too_many(assembled: Path) -> None:
    assert "name two sources" in refusal(UsageError, "repo", str(assembled), "wheel", "0.4.0")
    assert "--rev names a revision of a clone" in refusal(UsageError, "rev", "v0.4.0", "wheel", "0.4.0")
    assert "no clone is given" in refusal(UsageError, "rev", "v0.4.0")


def test_the_clone_of_the_environment_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VISCY_COMPAT_REPO", str(tmp_path))
    with pytest.raises(SourceUnavailable, match="is no git repository"):
        verify(["BetaVaeMonai"])


def test_a_candidate_that_is_nowhere_is_refused(both: Sides, tmp_path: Path) -> None:
    assert "there is no package viscy_models in" in refusal(UsageError, "candidate", str(tmp_path))
    inside = str(SRC / "viscy_models")
    assert refusal(UsageError, "candidate", inside).endswith(f"did you mean {SRC}?")
    assert refusal(UsageError, "candidate", str(SRC.parent)).endswith(f"did you mean {SRC.parent}/src?")
    with pytest.raises(WorkerFailed, match="cannot import no_such_package"):
        both.take(read_candidate("no_such_package"))


def test_another_candidate_than_the_one_that_was_asked_for_is_refused(both: Sides, tmp_path: Path) -> None:
    elsewhere = mutant(tmp_path / "elsewhere")
    asked = tmp_path / "asked" / "viscy_models"
    asked.mkdir(parents=True)
    # a package that puts another one in its place
    asked.joinpath("__init__.py").write_text(
        "import importlib.util, sys\n"
        f"spec = importlib.util.spec_from_file_location('viscy_models', {str(elsewhere / 'viscy_models/__init__.py')!r})\n"
        "sys.modules['viscy_models'] = importlib.util.module_from_spec(spec)\n"
    )
    with pytest.raises(WorkerFailed) as raised:
        both.take(read_candidate(str(asked.parent)))
    assert raised.value.code == "VC604"
    assert f"but {elsewhere}/viscy_models/__init__.py was imported" in str(raised.value)


def test_an_unknown_class_is_refused() -> None:
    with pytest.raises(UsageError, match="no class 'Nobody' is known"):
        verify(["Nobody"])


def test_a_wheel_that_is_not_the_recorded_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import zipfile

    forged = tmp_path / "wheels" / "viscy-0.4.0-py3-none-any.whl"
    forged.parent.mkdir()
    with zipfile.ZipFile(forged, "w") as archive:
        archive.writestr("viscy/representation/vae.py", "import torch\n")
    monkeypatch.setenv("VISCY_COMPAT_CACHE", str(tmp_path))
    line = refusal(SourceUnavailable)
    assert "viscy 0.4.0 does not hold the recorded files of BetaVaeMonai" in line


def test_the_report_is_true_only_where_everything_holds() -> None:
    assert bool(Report("verify", []))

"""A package arranged like upstream's passes unchanged and without a waiver; what would break old checkpoints is stopped.

Faults of its environment are told apart from faults of its code: one line, exit 2, with what to install.
"""

from __future__ import annotations

import json
import os
import sys
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.architectures import variant
from support.mutants import Edit, changed, like_upstream
from support.old_checkpoints import cache
from viscy_compat.architectures import find
from viscy_compat.architectures.architecture import Architecture
from viscy_compat.cli import main
from viscy_compat.comparison.evidence import Evidence
from viscy_compat.exploring.exploration import Settings, explore_class
from viscy_compat.exploring.laws import LAWS, Subject
from viscy_compat.findings import Finding
from viscy_compat.gating import check
from viscy_compat.gating.engine import gate, results_of
from viscy_compat.gating.source_tree import tree_of
from viscy_compat.gating.stage import Setting, Workshop
from viscy_compat.gating.stages import stages_of
from viscy_compat.old_code.origin import Wanted, resolve
from viscy_compat.proof.equivalence import Verification
from viscy_compat.references.own_classes import own_references
from viscy_compat.references.recording import Frozen
from viscy_compat.references.records import store
from viscy_compat.workers.candidate import Candidate, read_candidate
from viscy_compat.workers.sides import Sides
from viscy_compat.workers.worker import Worker

pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("warm")]

ENCODER, RESNET, VAE, UNEXT = (
    "contrastive/encoder.py",
    "contrastive/resnet3d.py",
    "vae/beta_vae_25d.py",
    "unet/unext2.py",
)

STATIC = {
    "attribute": (
        (Edit(RESNET, "self.projection = ", "self.head = "), Edit(RESNET, "self.projection(", "self.head(")),
        "VC111",
        "projection.",
    ),
    "a default": ((Edit(RESNET, "in_channels: int = 1,", "in_channels: int = 2,"),), "VC311", "in_channels"),
    "another default": (
        (Edit(RESNET, "projection_dim: int = 128,", "projection_dim: int = 64,"),),
        "VC311",
        "projection_dim",
    ),
}
NUMERIC = {
    "eps": (Edit(ENCODER, "nn.BatchNorm1d(out_dims)", "nn.BatchNorm1d(out_dims, eps=1e-4)"), "projection.4"),
    "activation": (Edit(ENCODER, "nn.ReLU(inplace=True)", "nn.GELU()"), "projection.2"),
}


class Bench:
    """One pair of workers for every candidate: torch is imported once a side."""

    def __init__(self, old: Worker, new: Worker) -> None:
        self.old, self.new = old, new

    def static(self, folder: Path, *names: str) -> list[dict[str, Any]]:
        """What the static stages that look at the candidate say, as JSON."""
        setting = Setting(tuple(map(find, names)), read_candidate(str(folder)))
        stages = [stage for stage in stages_of(["static"]) if stage.name != check.NAME]
        with Workshop(setting, self.new) as workshop:
            return [result.to_dict() for stage in stages for result in results_of(stage, workshop)]

    def sides(self, package: Candidate) -> Sides:
        both = Sides(self.old, self.new, package, at_once=True)
        both.take(package)
        return both

    def verified(self, folder: Path, architecture: Architecture) -> list[Finding]:
        package = read_candidate(str(folder))
        olds = resolve([architecture], Wanted())
        comparison = Verification([architecture], olds, package, seed=0, evidence=Evidence(), tell=lambda line: None)
        return list(comparison.judge(self.sides(package), architecture).findings)


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VISCY_COMPAT_CACHE", str(cache().parent))
        patch.delenv("VISCY_COMPAT_REPO", raising=False)
        with Worker("old", cache=1) as old, Worker("candidate", cache=1) as new:
            yield Bench(old, new)


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return like_upstream(tmp_path_factory.mktemp("theirs"))


def trimmed(name: str, *cases: str) -> Architecture:
    kept = tuple(case for case in find(name).cases if case.name in cases)
    assert len(kept) == len(cases)
    return variant(find(name), cases=kept, publications=(), accepted_differences=())


# --- unchanged -------------------------------------------------------------------------------------------------------


def test_the_static_half_finds_nothing_and_names_what_it_does_not_judge(bench: Bench, theirs: Path) -> None:
    results = bench.static(theirs, "ResNet3dEncoder", "BetaVae25D", "BetaVaeMonai")
    told = [row for result in results for row in result["findings"]]
    assert [row["code"] for row in told] == ["VC341"]
    assert told[0]["severity"] == "note"
    assert told[0]["message"] == "exported and not judged: Unet3d"


@pytest.mark.index
def test_the_laws_hold_although_an_argument_of_ours_is_lacking(bench: Bench, theirs: Path) -> None:
    architecture, package = find("BetaVae25D"), read_candidate(str(theirs))
    laws = tuple(law for law in LAWS if law.id in ("old-equals-new", "shape-rule", "batch-and-mode"))
    old = resolve([architecture], Wanted())[architecture.name]
    subject = Subject(architecture, old, bench.sides(package), package)
    told = explore_class(subject, Settings(examples=8, laws=laws, shrink=False), progress=lambda line: None)
    assert told.broken == ()
    assert subject.lacking == {"pretrained"}
    assert sum(told.cases.values()) > 0


# --- five mutants ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", STATIC)
def test_a_mutant_is_stopped_without_any_number(what: str, bench: Bench, tmp_path: Path) -> None:
    edits, code, culprit = STATIC[what]
    results = bench.static(like_upstream(tmp_path, *edits), "ResNet3dEncoder")
    told = [row for result in results for row in result["findings"] if row["severity"] == "error"]
    assert culprit in json.dumps([row for row in told if row["code"] == code])


@pytest.mark.index
@pytest.mark.parametrize("what", NUMERIC)
def test_a_mutant_is_stopped_by_the_numbers(what: str, bench: Bench, tmp_path: Path) -> None:
    edit, culprit = NUMERIC[what]
    found = bench.verified(like_upstream(tmp_path, edit), trimmed("ResNet3dEncoder", "resnet10"))
    assert "VC501" in {finding.code for finding in found}
    told = next(finding.message for finding in found if finding.code == "VC501")
    assert "the outputs differ (projection)" in told
    assert culprit in told
    assert "projection by up to " in told
    assert " % of its largest value " in told


# --- the contract is configurable ------------------------------------------------------------------------------------


def test_a_project_lists_the_names_that_it_promises(bench: Bench, theirs: Path) -> None:
    promised = ("viscy_models.components.heads:PixelToVoxelHead", "viscy_models.components.heads:Nothing")
    setting = Setting((), read_candidate(str(theirs)), names=promised)
    (stage,) = [stage for stage in stages_of(["static"]) if stage.name == "interface"]
    with Workshop(setting, bench.new) as workshop:
        (result,) = results_of(stage, workshop)
    assert [row.keys for row in result.findings if row.code == "VC312"] == [promised[1:]]


# --- without torch ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with nothing installed."""
    folder = tmp_path_factory.mktemp("bare") / "empty"
    venv.create(folder)
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


@pytest.mark.parametrize("what", [None, *STATIC])
def test_read_as_text_the_package_is_judged_as_when_it_is_imported(
    what: str | None, bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edits, code, culprit = STATIC[what] if what else ((), "", "")
    folder = like_upstream(tmp_path, *edits)
    monkeypatch.setattr(sys, "executable", str(bare))
    report = gate(Setting((find("ResNet3dEncoder"),), read_candidate(str(folder)), reads=True), stages_of(["static"]))
    told = [finding for finding in report.findings if finding.severity == "error"]
    # what only a built model shows is left out, and said to be
    assert {finding.code for finding in told} == {code} - {"", "VC111"}
    assert "layouts left out" in report.headline
    assert "Unet3d" in "".join(finding.message for finding in report.findings if finding.code == "VC341")
    if told:
        assert culprit in told[0].message


def test_reading_follows_re_exports_and_finds_every_constructor(theirs: Path) -> None:
    tree = tree_of("viscy_models", str(theirs))
    found = tree.find("viscy_models:BetaVae25D")
    assert found is not None
    assert [row.name for row in tree.signature(found) or ()][:2] == ["backbone", "in_channels"]
    assert tree.find("viscy_models.contrastive.encoder:projection_mlp") is not None
    assert tree.find("viscy_models:Nothing") is None


# --- the environment -------------------------------------------------------------------------------------------------


def told_by(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What a command prints that ends with exit code 2, in one line about the fault."""
    assert main(words) == 2
    shown = capsys.readouterr()
    told = shown.out + shown.err
    assert "Traceback" not in told
    return told


FAULTS = {
    "metadata": ("viscy_models/__init__.py", "import importlib.metadata as m; m.version('not-there')\n", "not-there"),
    "dependency": ("viscy_models/vae/__init__.py", "import not_there_at_all\n", "not_there_at_all"),
    "raises": ("viscy_models/__init__.py", "raise OSError('no disc')\n", "OSError: no disc"),
    "python": ("viscy_models/__init__.py", "type Alias[T] = +\n", "needs Python >=9.0"),
}


def faulty(folder: Path, what: str) -> Path:
    """A project whose package has this fault."""
    name, line, _ = FAULTS[what]
    source = like_upstream(folder / "project" / "src")
    (folder / "project" / "pyproject.toml").write_text('[project]\nname = "theirs"\nrequires-python = ">=9.0"\n')
    path = source / name
    path.write_text(line + path.read_text())
    return source


@pytest.mark.parametrize("what", FAULTS)
def test_a_fault_of_the_environment_is_told_once_and_decides_nothing(what: str, bench: Bench, tmp_path: Path) -> None:
    setting = Setting((find("BetaVaeMonai"),), read_candidate(str(faulty(tmp_path, what))), reads=True)
    results = []
    for stage in stages_of(["static"])[1:]:
        with Workshop(setting, bench.new) as workshop:
            results += results_of(stage, workshop)
    assert [result.exit_code for result in results] == [2, 2]
    (told,) = results[0].findings
    assert told.code == "VC342"
    assert FAULTS[what][2] in told.message
    if what in ("metadata", "dependency"):
        assert told.fix.startswith("install it first: ")
        assert told.fix.endswith(f" -e {tmp_path / 'project'}")


def test_verify_says_the_same_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(faulty(tmp_path, "dependency"))
    told = told_by(["verify", "--recorded", "BetaVaeMonai", "-q", "--candidate", folder], capsys)
    assert told.count("\n") == 1
    assert "needs not_there_at_all" in told


@pytest.mark.parametrize("place", ["viscy_models", "..", "../.."])
def test_a_folder_one_level_off_names_the_right_one(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "packages" / "src"
    (folder / "viscy_models").mkdir(parents=True)
    (folder / "viscy_models" / "__init__.py").write_text("")
    for command in ("gate", "verify", "explore"):
        told = told_by([command, "--candidate", os.path.normpath(folder / place)], capsys)
        assert f"did you mean {folder}?" in told
    monkeypatch.chdir(folder.parent)
    assert "did you mean src?" in told_by(["gate", "--candidate", "src/viscy_models"], capsys)


# --- a state of their own --------------------------------------------------------------------------------------------


@pytest.mark.index
def test_a_maintainer_elsewhere_freezes_a_state_of_hers_and_the_gate_opens(bench: Bench, tmp_path: Path) -> None:
    """`ResNet3dEncoder.projection` becomes `head` in her package: recorded in her folder, without any change here."""
    folder = like_upstream(tmp_path, *STATIC["attribute"][0])
    architecture, package = trimmed("ResNet3dEncoder", "resnet10"), read_candidate(str(folder))
    package.prepare(bench.new)
    store(Frozen(bench.new, package).draft(architecture, "v1.0").reference, tmp_path / "refs")
    setting = Setting((architecture,), package, {}, references=own_references(tmp_path / "refs"))
    told = {}
    for stage in stages_of():
        if not stage.strangers and stage.name != "check":
            with Workshop(setting, bench.new, bench.old) as workshop:
                told[stage.name] = results_of(stage, workshop)
    assert [
        row for results in told.values() for result in results for row in result.findings if row.severity == "error"
    ] == []
    assert [result.verdict for result in told["explore"]] == ["left out"]
    assert told["verify"][0].headline == "ResNet3dEncoder against v1.0 of your own references"
    # and what she breaks afterwards is found
    changed(folder, Edit(ENCODER, "nn.ReLU(inplace=True)", "nn.GELU()"))
    package.prepare(bench.new)
    with Workshop(setting, bench.new, bench.old) as workshop:
        found = {
            stage.name: {row.code for result in results_of(stage, workshop) for row in result.findings}
            for stage in stages_of(["numeric"])
            if stage.name in ("verify", "remap")
        }
    assert ("VC506" in found["verify"], "VC501" in found["remap"]) == (True, True)

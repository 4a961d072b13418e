"""The gate blocks: careless copies of the migrated package are stopped, and the culprit is named."""

from __future__ import annotations

import json
import os
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from support.mutants import Edit, mutant
from viscy_compat.architectures import find
from viscy_compat.cli import main
from viscy_compat.errors import PlanRefused
from viscy_compat.gating import check, explore
from viscy_compat.gating import remap as remap_stage
from viscy_compat.gating.engine import gate, results_of
from viscy_compat.gating.stage import Setting, Workshop
from viscy_compat.gating.stages import stages_of
from viscy_compat.workers.candidate import read_candidate
from viscy_compat.workers.worker import Worker

pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("warm")]


ENCODER, RESNET, PACKAGE = "contrastive/encoder.py", "contrastive/resnet3d.py", "contrastive/__init__.py"
HIT = "ResNet3dEncoder"


class Careless(NamedTuple):
    """Edits that hit `HIT`, and the code and words that must come out of the static stages."""

    edits: tuple[Edit, ...]
    code: str
    culprit: str


STATIC = {
    "a renamed attribute": Careless(
        (Edit(RESNET, "self.projection = ", "self.head = "), Edit(RESNET, "self.projection(", "self.head(")),
        "VC111",
        "projection.",
    ),
    "a reordered Sequential": Careless(
        (Edit(ENCODER, "nn.Sequential(*widen, *narrow)", "nn.Sequential(*widen, narrow[1], narrow[0])"),),
        "VC111",
        "projection.3.running_mean",
    ),
    "another order of registration": Careless(
        (
            Edit(RESNET, "        self.encoder = ResNetFeatures", "        encoder = ResNetFeatures"),
            Edit(RESNET, "width = self.encoder.in_planes", "width = encoder.in_planes"),
            Edit(
                RESNET,
                "        self.projection = projection_mlp(embedding_dim, embedding_dim, projection_dim)\n",
                "        self.projection = projection_mlp(embedding_dim, embedding_dim, projection_dim)\n"
                "        self.encoder = encoder\n",
            ),
        ),
        "VC112",
        "encoder.",
    ),
    "a tensor less": Careless(
        (Edit(ENCODER, "nn.Linear(hidden_dims, out_dims)", "nn.Linear(hidden_dims, out_dims, bias=False)"),),
        "VC111",
        "projection.3.bias",
    ),
    "another width": Careless(
        (Edit(ENCODER, "nn.BatchNorm1d(out_dims)", "nn.BatchNorm1d(out_dims + 1)"),),
        "VC211",
        "projection.4",
    ),
    "a changed default": Careless(
        (Edit(RESNET, "in_channels: int = 1,", "in_channels: int = 2,"),),
        "VC311",
        "in_channels",
    ),
    "arguments that changed places": Careless(
        (
            Edit(
                RESNET,
                "        embedding_dim: int = 512,\n        projection_dim: int = 128,\n",
                "        projection_dim: int = 128,\n        embedding_dim: int = 512,\n",
            ),
        ),
        "VC311",
        "embedding_dim",
    ),
    "a removed public name": Careless(
        (
            Edit(PACKAGE, "from viscy_models.contrastive.resnet3d import ResNet3dEncoder\n", ""),
            Edit("__init__.py", "ContrastiveEncoder, ResNet3dEncoder\n", "ContrastiveEncoder\n"),
        ),
        "VC312",
        "viscy_models.ResNet3dEncoder",
    ),
    "a removed function": Careless(
        (
            Edit(ENCODER, "def projection_mlp(", "def make_projection("),
            Edit(ENCODER, "projection = projection_mlp(", "projection = make_projection("),
            Edit(RESNET, "encoder import projection_mlp", "encoder import make_projection as projection_mlp"),
        ),
        "VC312",
        "viscy_models.contrastive.encoder.projection_mlp",
    ),
}


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    """One worker for all mutants: it imports torch once and takes one candidate after the other."""
    with Worker("candidate") as started:
        yield started


def static_results(folder: Path, worker: Worker) -> list[dict[str, object]]:
    """What the static stages that look at the candidate say of one class of a copy, as JSON."""
    setting = Setting((find(HIT),), read_candidate(str(folder)))
    stages = [stage for stage in stages_of(["static"]) if stage.name != check.NAME]
    with Workshop(setting, worker) as workshop:
        return [result.to_dict() for stage in stages for result in results_of(stage, workshop)]


def findings(results: list[dict[str, object]]) -> list[dict[str, object]]:
    return [finding for result in results for finding in result["findings"]]  # type: ignore[attr-defined]


def test_an_untouched_copy_passes(tmp_path: Path, worker: Worker) -> None:
    results = static_results(mutant(tmp_path), worker)
    assert findings(results) == []
    assert {result["stage"] for result in results} == {"interface", "layouts"}


@pytest.mark.parametrize("what", STATIC)
def test_the_static_stages_alone_stop(what: str, tmp_path: Path, worker: Worker) -> None:
    careless = STATIC[what]
    told = findings(static_results(mutant(tmp_path, *careless.edits), worker))
    named = [row for row in told if row["code"] == careless.code]
    assert named, told
    assert careless.culprit in json.dumps(named)


def test_the_command_exits_1_and_names_the_culprit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = mutant(tmp_path, *STATIC["a renamed attribute"].edits)
    assert main(["gate", "--static", "--candidate", str(folder), HIT, "-q"]) == 1
    told = capsys.readouterr().out
    assert "projection." in told
    assert told.rstrip().splitlines()[-1].startswith("gate: blocked.")


# --- numbers -----------------------------------------------------------------------------------------------------


@pytest.mark.index
def test_a_changed_epsilon_is_stopped_by_the_numbers(tmp_path: Path) -> None:
    folder = mutant(tmp_path, Edit(ENCODER, "nn.BatchNorm1d(out_dims)", "nn.BatchNorm1d(out_dims, eps=1e-4)"))
    # explore stops it too, but takes its time to find the smallest case
    stages = [stage for stage in stages_of(["numeric"]) if stage.name != explore.NAME]
    report = gate(Setting((find(HIT),), read_candidate(str(folder))), stages)
    assert report.exit_code == 1
    results = report.to_dict()["results"]
    assert {row["stage"] for row in results if row["verdict"] == "findings"} == {"verify", "remap"}
    told = [row for row in findings(results) if row["code"] == "VC501"]
    assert "projection.4" in json.dumps(told)


@pytest.mark.index
def test_a_plan_that_is_refused_is_stopped(tmp_path: Path, worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: str, out: str) -> None:
        raise PlanRefused("no total plan")

    monkeypatch.setattr(remap_stage, "remap", refused)
    with Workshop(Setting((find("BetaVaeMonai"),), read_candidate()), worker) as workshop:
        (result,) = remap_stage.run(workshop)
    assert [finding.code for finding in result.findings] == ["VC624"]


# --- waivers -----------------------------------------------------------------------------------------------------


def test_an_expired_waiver_is_stopped_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = tmp_path / "rows.toml"
    rows.write_text(
        '[accepted.old-row]\nclass = "ResNet3dEncoder"\ncode = "VC111"\nreason = "once"\nexpires = 2020-01-01\n'
    )
    assert main(["gate", "--static", "--waivers", str(rows), HIT, "-q"]) == 1
    told = capsys.readouterr().out
    assert "VC621" in told
    assert "old-row" in told


# --- sources that cannot be had ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--repo", "{folder}/no-clone"], "no-clone"),
        (["--wheel", "99.99.99"], "99.99.99"),
    ],
)
def test_a_source_that_cannot_be_had_is_never_a_pass(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISCY_COMPAT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("VISCY_COMPAT_REPO", raising=False)
    filled = [word.format(folder=tmp_path) for word in words]
    assert main(["gate", "--numeric", HIT, *filled]) == 2
    out = capsys.readouterr().out
    assert said in out
    assert out.rstrip().splitlines()[-1].startswith("gate: undecided: blocked.")


@pytest.mark.parametrize(("words", "code"), [([], 2), (["--allow-recorded"], 0), (["--recorded"], 0)])
def test_the_records_stand_for_the_old_classes_only_where_they_were_accepted(
    words: list[str], code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISCY_COMPAT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.delenv("VISCY_COMPAT_REPO", raising=False)
    assert main(["gate", "--numeric", "BetaVaeMonai", *words]) == code
    out = capsys.readouterr().out
    assert "recorded" in out.splitlines()[0]
    assert ("explore left out" in out) is (code == 0)


def test_an_interpreter_that_is_not_there_is_never_a_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gate", "--static", HIT, "--candidate-python", str(tmp_path / "no-python")]) == 2
    assert "no-python" in capsys.readouterr().out


def test_an_interpreter_without_torch_is_never_a_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    venv.create(tmp_path / "empty")
    python = tmp_path / "empty" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    assert main(["gate", "--static", HIT, "--candidate-python", str(python)]) == 2
    assert "pip install 'viscy-compat[models]'" in capsys.readouterr().out

"""Any class of any package is recorded as it is, and judged by that from then on: the module that changed is blamed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from viscy_compat.cli import main
from viscy_compat.errors import UsageError, WorkerFailed
from viscy_compat.findings import Finding
from viscy_compat.references import records
from viscy_compat.references.own_classes import (
    judge_own_class,
    own_references,
    package_for,
    package_of,
    read_cases,
    reference_of,
)
from viscy_compat.references.records import Reference
from viscy_compat.workers.candidate import Candidate
from viscy_compat.workers.worker import Worker

pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("warm")]

MODEL = """
import torch


class Net(torch.nn.Module):
    def __init__(self, widths, depth=2):
        super().__init__()
        layers = [torch.nn.Sequential(torch.nn.Linear(w, w), torch.nn.BatchNorm1d(w), torch.nn.ReLU()) for w in widths + []]
        self.layers = torch.nn.ModuleList(layers)
        self.last = torch.nn.Linear(widths[-1], depth)

    def forward(self, x, shift):
        for layer in self.layers:
            x = layer(x)
        return self.last(x + shift)
"""
CASES = """
[narrow]
config = { widths = [3, 3] }
input = [4, 3]
tensors = { shift = [4, 3] }
[deep]
config = { widths = [5], depth = 4 }
input = [2, 5]
tensors = { shift = [1, 5] }
"""


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    """One worker for everything: it takes one candidate after the other."""
    with Worker("candidate") as started:
        yield started


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A folder with a package of its own and cases of its class."""
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "__init__.py").write_text(MODEL)
    (tmp_path / "cases.toml").write_text(CASES)
    return tmp_path


def recorded(worker: Worker, target: str, cases: Path, folder: Path | None = None) -> Reference:
    package = package_of(target, str(folder) if folder else None)
    package.prepare(worker)
    return reference_of(worker, package, target, "v1", read_cases(cases))


def found(worker: Worker, reference: Reference, folder: Path | None = None) -> list[Finding]:
    package = Candidate(reference.name.partition(".")[0], str(folder or ""))
    package.prepare(worker)
    return list(judge_own_class(worker, package, reference).findings)


def edited(theirs: Path, old: str, new: str) -> None:
    assert MODEL.count(old) == 1
    (theirs / "theirs" / "__init__.py").write_text(MODEL.replace(old, new))


def test_what_was_recorded_is_written_read_and_found_again(worker: Worker, theirs: Path) -> None:
    reference = recorded(worker, "theirs:Net", theirs / "cases.toml", theirs)
    records.store(reference, theirs / "refs")
    assert (theirs / "refs" / "theirs.Net" / "v1.json").is_file()
    (again,) = own_references(theirs / "refs")
    # JSON has lists where records have tuples
    assert records.write(again) == records.write(reference)
    assert again.cases[0].modules[0].module == "layers.0.0"
    assert found(worker, again, theirs) == []


@pytest.mark.parametrize(
    ("old", "new", "code", "said"),
    [
        ("BatchNorm1d(w)", "BatchNorm1d(w, eps=0.1)", "VC506", "they part in layers.0.1"),
        ("torch.nn.ReLU()", "torch.nn.GELU()", "VC506", "they part in layers.0.2"),
        ("self.last(x + shift)", "self.last(x - shift)", "VC506", "they part in (the whole model)"),
        ("depth=2", "depth=3", "VC311", "depth=2 and is depth=3"),
        ("widths, depth=2", "widths, depth=2, more=1, *, must", "VC311", "must is a new argument"),
        ("self.layers = torch", "self.blocks = self.layers = torch", "VC111", "blocks"),
        ("class Net(", "class Other(", "VC312", "theirs:Net"),
    ],
)
def test_what_changed_is_found_and_the_module_is_blamed(
    old: str, new: str, code: str, said: str, worker: Worker, theirs: Path
) -> None:
    reference = recorded(worker, "theirs:Net", theirs / "cases.toml", theirs)
    edited(theirs, old, new)
    told = [row for row in found(worker, reference, theirs) if row.code == code]
    assert any(said in row.message for row in told), told
    if code == "VC506":
        assert "of its recorded root mean square" in told[0].message


def test_an_argument_may_be_added_at_the_end(worker: Worker, theirs: Path) -> None:
    reference = recorded(worker, "theirs:Net", theirs / "cases.toml", theirs)
    edited(theirs, "widths, depth=2", "widths, depth=2, more=1, **kwargs")
    assert found(worker, reference, theirs) == []


def test_a_class_of_torchvision_is_judged_as_it_is_installed(worker: Worker, tmp_path: Path) -> None:
    cases = tmp_path / "cases.toml"
    cases.write_text("[small]\ninput = [2, 3, 32, 32]\nconfig = { num_classes = 5 }\n")
    reference = recorded(worker, "torchvision.models.squeezenet:SqueezeNet", cases)
    assert reference.name == "torchvision.models.squeezenet.SqueezeNet"
    assert found(worker, reference) == []
    weights = reference.cases[0].weights
    moved = replace(reference.cases[0], weights=(weights[1], weights[0], *weights[2:]))
    assert {row.code for row in found(worker, replace(reference, cases=(moved,)))} == {"VC112"}


@pytest.mark.index
def test_a_class_of_monai_is_the_same_in_two_releases_one_after_the_other(worker: Worker, tmp_path: Path) -> None:
    older = tmp_path / "older"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(older), "monai==1.5.2"]
    subprocess.run(pip, check=True, capture_output=True)
    cases = tmp_path / "cases.toml"
    cases.write_text(
        "[flat]\ninput = [2, 1, 16, 16]\n"
        "config = { spatial_dims = 2, in_channels = 1, out_channels = 2, channels = [4, 8], strides = [2] }\n"
    )
    target = "monai.networks.nets:UNet"
    reference = recorded(worker, target, cases, older)
    assert str(older) not in records.write(reference)
    assert found(worker, reference) == []
    # and the older release, which stands before the installed one, is really the one that is judged
    unet = older / "monai" / "networks" / "nets" / "unet.py"
    text, line = unet.read_text(), "        x = self.model(x)\n"
    assert text.count(line) == 1
    unet.write_text(text.replace(line, "        x = self.model(x * x)\n"))
    assert {row.code for row in found(worker, reference, older)} == {"VC506"}
    assert found(worker, reference) == []


# --- asked wrongly ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["theirs.Net", "theirs:", ":Net", "the irs:Net", "theirs:Net()"])
def test_what_is_no_class_is_refused(target: str) -> None:
    with pytest.raises(UsageError, match="is no class"):
        package_of(target)


@pytest.mark.parametrize(
    "text",
    ["", "nonsense", "a = 1", "[a]\nconfig = {}", "[a]\ninput = [0]", "[a]\ninput = [1]\nother = 1", "[a]\ninput = []"],
)
def test_what_are_no_cases_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "cases.toml").write_text(text)
    with pytest.raises(UsageError, match=r"cases\.toml"):
        read_cases(tmp_path / "cases.toml")


def test_a_case_that_cannot_be_built_is_refused(worker: Worker, theirs: Path) -> None:
    (theirs / "cases.toml").write_text("[bad]\ninput = [1]\nconfig = { widths = 3 }\n")
    with pytest.raises(WorkerFailed, match="case bad"):
        recorded(worker, "theirs:Net", theirs / "cases.toml", theirs)


def test_a_candidate_has_our_package_and_what_is_installed_has_the_others() -> None:
    ours, other = (Reference(name, "v1", {}, {}, {}, ()) for name in ("viscy_models.unet.Unet3d", "monai.nets.UNet"))
    candidate = Candidate(folder="/somewhere")
    assert package_for(ours, candidate) is candidate
    assert package_for(other, candidate) == Candidate("monai")


def test_the_commands_record_and_judge(theirs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["record", "--class", "theirs:Net", "--cases", str(theirs / "cases.toml"), "--candidate", str(theirs)]
    assert main([*words, "--to", str(theirs / "refs")]) == 0
    assert "theirs.Net v1" in capsys.readouterr().out
    assert main(["record", "--class", "theirs:Net"]) == 2
    assert "--cases" in capsys.readouterr().err
    assert main(["gate", "--references", str(theirs / "nowhere")]) == 2
    assert "there are no references" in capsys.readouterr().err

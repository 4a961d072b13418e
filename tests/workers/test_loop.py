"""Every request is answered alike with and without the confinement; without it, coverage sees the program's lines.

The open program (tests/support/open_program) is the same loop, in the same environment but for the variables with which
coverage reaches processes. Answers are compared whole: numbers, digests, errors.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from viscy_compat.errors import WorkerFailed
from viscy_compat.workers import worker as workers
from viscy_compat.workers.worker import Worker
from workers.test_worker import FILES, SRC, run

pytestmark = pytest.mark.torch

OPEN = Path(__file__).resolve().parents[1] / "support" / "open_program"
ENCODER = {
    "op": "run",
    "source": "models",
    "class": "viscy_models.contrastive:ResNet3dEncoder",
    "config": {"backbone": "resnet10"},
    "input": [2, 1, 4, 8, 8],
    "seed": 3,
    "report": ["layout", "initial", "train"],
}
EVERYTHING = ("layout", "initial", "eval", "train", "gradients", "modules")
TOY: Mapping[str, Any] = {
    "op": "run",
    "source": "toys",
    "class": "toys.toy:Toy",
    "config": {},
    "input": [3, 4],
    "seed": 5,
}


class Pair(NamedTuple):
    """The same program behind its confinement, and without it."""

    confined: Worker
    open: Worker

    def answers(self, **request: Any) -> list[Any]:
        """Both answers without what no two runs share."""
        found = [json.loads(json.dumps(worker.request(request))) for worker in self]
        for answer in found:
            answer.pop("seconds", None)
        return found

    def same(self, **request: Any) -> Any:
        """The answer that both give."""
        confined, unconfined = self.answers(**request)
        assert confined == unconfined
        return confined


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    def environment(folder: str, device: workers.Device) -> dict[str, str]:
        reach = {name: text for name, text in os.environ.items() if name.startswith("COVERAGE_")}
        return {**built(folder, device), **reach}

    built = workers._environment
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers, "PROGRAM", OPEN)
        patch.setattr(workers, "_environment", environment)
        unconfined = Worker("candidate", cache=2)
    with Worker("old", cache=2) as confined, unconfined:
        for worker in (confined, unconfined):
            worker.source("toys", root="toys", files=FILES)
            worker.source("models", root="viscy_models", folder=str(SRC))
        yield Pair(confined, unconfined)
        unconfined.request({"op": "measure"})


def test_only_the_isolation_differs(pair: Pair) -> None:
    assert pair.confined.conditions.stack == pair.open.conditions.stack
    assert pair.open.conditions.isolation[0] == "nothing at all"
    assert "nothing at all" not in pair.confined.conditions.isolation


def test_everything_about_a_model_is_the_same(pair: Pair) -> None:
    answer = pair.same(**TOY, report=EVERYTHING)
    assert {*answer} == {*EVERYTHING, "loaded"}
    assert [row["name"] for row in answer["eval"]["outputs"]] == ["hidden", "pair.0", "pair.1"]
    assert answer["loaded"] == 10


def test_numbers_and_norms_are_the_same(pair: Pair) -> None:
    answer = pair.same(**TOY, report=["initial", "eval", "modules"], samples=3, norms=True, modes=["eval"])
    assert len(answer["initial"]["samples"]) == len(answer["initial"]["norms"]) == 10
    assert {*answer["modules"]} == {"eval"}
    assert len(answer["modules"]["eval"]["numbers"]) == len(answer["modules"]["eval"]["calls"])


def test_a_model_that_is_kept_answers_as_one_that_is_built(pair: Pair) -> None:
    first, *others = (pair.same(**ENCODER) for _ in range(3))
    assert others == [first, first]
    for _ in range(2):
        for worker in pair:
            worker.source("models", root="viscy_models", folder=str(SRC))
        assert pair.same(**ENCODER) == first


def test_the_meta_device_has_shapes_alone(pair: Pair) -> None:
    answer = pair.same(**{**TOY, "input": [7, 4]}, report=["layout", "eval"], device="meta")
    assert [row["shape"] for row in answer["eval"]["outputs"]] == [[7, 8], [7, 2], []]


@pytest.mark.parametrize(
    ("change", "stage", "kind"),
    [
        ({"class": "toys.absent:Toy"}, "build", "ModuleNotFoundError"),
        ({"class": "toys.toy:Nobody"}, "build", "AttributeError"),
        ({"config": {"width": 0}}, "build", "ValueError"),
        ({"config": {"sizes": {"list": [1, 2]}}}, "build", "TypeError"),
        ({"load": [["first.weight", [1, 1], "float32"]]}, "load", "RuntimeError"),
    ],
)
def test_what_a_model_raises_is_told_with_its_stage(
    pair: Pair, change: Mapping[str, Any], stage: str, kind: str
) -> None:
    error = pair.same(**{**TOY, **change}, report=["eval"])["error"]
    assert (error["stage"], error["type"]) == (stage, kind)


def test_a_pass_that_raises_leaves_the_other_passes(pair: Pair) -> None:
    answer = pair.same(**{**TOY, "input": [3, 9]}, report=["layout", *EVERYTHING[2:]])
    assert answer["eval"]["error"]["stage"] == answer["train"]["error"]["stage"] == "forward"
    assert answer["gradients"]["eval"]["error"]["stage"] == "forward"
    assert answer["modules"]["train"]["error"]["type"] == "RuntimeError"
    assert len(answer["layout"]) == 10


def test_classes_and_names_are_described_alike(pair: Pair) -> None:
    described = pair.same(op="class", source="toys", **{"class": "toys.toy:Toy"})
    assert described["signature"][1] == ["sizes", "POSITIONAL_OR_KEYWORD", True, [1, 2]]
    missing = pair.same(op="class", source="toys", **{"class": "toys.missing:Toy"})
    assert (missing["error"]["stage"], missing["error"]["type"]) == ("import", "ModuleNotFoundError")
    names = ["toys.toy:Toy", "toys.missing", "toys.absent"]
    found = pair.same(op="names", source="toys", names=names)["names"]
    assert [found[name] and found[name]["type"] for name in names] == [
        None,
        "ModuleNotFoundError",
        "ModuleNotFoundError",
    ]


def test_tensors_that_are_saved_are_the_same_and_load_again(pair: Pair, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    keep = ["initial", "weights", "input", "eval", "train", "buffers"]
    files = []
    for place, worker in enumerate(pair):
        files.append(str(tmp_path / f"{place}.safetensors"))
        run(worker, "Toy", "initial", "eval", "train", save=files[-1], keep=keep)
    one, other = (load_file(file) for file in files)
    assert {name.partition("/")[0] for name in one} == {*keep}
    assert one.keys() == other.keys()
    assert all(one[name].equal(other[name]) for name in one)


def outputs_file(folder: Path) -> Path:
    """An input, and what a model might have made of it."""
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(1)
    path = folder / "io.safetensors"
    save_file({"input": torch.randn(3, 4), "hidden": torch.zeros(3, 8), "pair.0": torch.ones(3, 2)}, path)
    return path


def weights_file(folder: Path, worker: Worker) -> Path:
    from safetensors.torch import load_file, save_file

    saved, path = folder / "saved.safetensors", folder / "weights.safetensors"
    run(worker, "Toy", "eval", save=str(saved), keep=["weights"])
    save_file({name.partition("/")[2]: tensor for name, tensor in load_file(saved).items()}, path)
    return path


def test_a_users_weights_and_inputs_are_run_and_compared_alike(pair: Pair, tmp_path: Path) -> None:
    io, weights = str(outputs_file(tmp_path)), str(weights_file(tmp_path, pair.confined))
    answer = pair.same(**TOY, report=["eval"], weights=weights, inputs=io)
    assert answer["loaded"] == 10
    request = {"source": "toys", "class": "toys.toy:Toy", "config": {}, "weights": weights, "inputs": io}
    names = ["hidden", "pair.0", "pair.1"]
    listed: list[Any] = []
    labels: dict[str, dict[str, Any]] = {"plain": {"list": True}, "again": {}, "bfloat16": {"precision": "bfloat16"}}
    for label, extra in labels.items():
        more = {"seed": 0, "precision": "", "alteration": None, "modules": ["first"], "list": False, **extra}
        kept = pair.same(op="outputs", label=label, names=names, **request, **more)
        assert {"hidden", "pair.0", "pair.1"} <= {*kept["outputs"]}
        listed += kept.get("alterations", [])
    assert listed
    compared = pair.same(op="compare", expected=io, names=["hidden", "pair.0"], labels=[*labels], unit=[])["outputs"]
    assert {*compared} == {"hidden", "pair.0"}
    assert not compared["hidden"]["equal"]
    for place, alteration in enumerate(listed):
        altered = {"precision": "", "alteration": alteration, "modules": [], "list": False, "seed": 0}
        assert pair.same(op="outputs", label=f"altered {place}", names=names, **request, **altered)["outputs"]
    broken = pair.same(op="outputs", label="x", names=names, **{**request, "config": {"width": 0}}, **more)
    assert (broken["error"]["stage"], broken["error"]["type"]) == ("build", "ValueError")


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"op": "dance"}, "no such request: 'dance'"),
        ({**TOY, "source": "nobody", "report": []}, "no such source: 'nobody'"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_ends_the_worker(request_: Mapping[str, Any], words: str) -> None:
    """By a program of its own: whoever asks for what cannot be meant is not answered any more."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers, "PROGRAM", OPEN)
        started = Worker("candidate")
    with started as worker, pytest.raises(WorkerFailed, match=words):
        worker.request(request_)

"""A worker answers with facts, alike in every run; whatever goes wrong in it is one line of its parent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from support.lifeline import Lifeline
from viscy_compat.errors import MissingExtra, WorkerFailed
from viscy_compat.workers import worker as workers
from viscy_compat.workers.worker import Worker, WorkerLimits

TOY = """
import os, socket, subprocess, sys
import torch
from torch import nn
from toys.parts.width import WIDTH

class Toy(nn.Module):
    def __init__(self, width=WIDTH, sizes=(1, 2), *, kind="plain", pretrained=False):
        super().__init__()
        if not isinstance(sizes, tuple):
            raise TypeError("sizes is no tuple")
        if width < 1:
            raise ValueError(f"width {width} is too small")
        self.first = nn.Linear(4, width)
        self.norm = nn.BatchNorm1d(width)
        self.act = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(0.5)
        self.last = nn.Linear(width, 2)
        self.register_buffer("index", torch.arange(3))

    def forward(self, x):
        hidden = self.act(self.norm(self.first(x)))
        return {"hidden": hidden, "pair": (self.last(self.drop(hidden)), x.mean())}

class Skips(Toy):
    def forward(self, x):
        # the second row and the last column are never read, the first column twice
        return x[:, :, ::2, :-1].sum() + x[:, :, ::2, 0].sum()

class Flat(Toy):
    def forward(self, x):
        return x.detach() + 1

class Noisy(Toy):
    def forward(self, x):
        print("what old code prints")
        os.write(1, b"what it writes to the descriptor")
        return x

class Reaches(Toy):
    def forward(self, x):
        socket.create_connection(("127.0.0.1", 9), timeout=1)

class Spawns(Toy):
    def forward(self, x):
        subprocess.run(["true"])

class Exits(Toy):
    def forward(self, x):
        os._exit(3)

class Forges(Toy):
    def forward(self, x):
        for descriptor in range(64):
            try:
                os.write(descriptor, b'{"eval": {"type": "Tensor", "outputs": []}}\\n')
            except OSError:
                pass
        return x

class Writes(Toy):
    def forward(self, x):
        with open(OUTSIDE, "w") as stream:
            stream.write("changed")

class Grows(Toy):
    def forward(self, x):
        return torch.zeros(1 << 40)

class Environment(Toy):
    def forward(self, x):
        raise RuntimeError(",".join(sorted(os.environ)))

class Reads(Toy):
    def forward(self, x):
        raise RuntimeError(repr(sys.stdin.read()))
"""
LEFT_OUT = """
import sys
import torch
from torch import nn

LOADED = ("torch._dynamo.eval_frame", "matplotlib", "gdown", "jsonschema", "requests", "bs4", "cuda")

class Lists(nn.Linear):
    def forward(self, x):
        raise RuntimeError(repr([name for name in LOADED if name in sys.modules]))

class Compiles(nn.Linear):
    def forward(self, x):
        import matplotlib.pyplot, torch._dynamo.config
        return torch.compile(super().forward, backend="eager")(x)
"""
"""What tells whether the compiler and what draws were imported, and what wants both."""

CONDITIONS: dict[str, Any] = {
    **dict.fromkeys(("python", "torch", "timm", "monai", "cpu"), "1"),
    "threads": 1,
    "isolation": [],
}
SRC = Path(__file__).resolve().parents[2] / "src"
FILES = {"toys/toy.py": TOY, "toys/parts/width.py": "WIDTH = 8\n", "toys/missing.py": "import nowhere_at_all\n"}


def run(worker: Worker, name: str = "Toy", *report: str, **extra: Any) -> dict[str, Any]:
    request = {"op": "run", "source": "toys", "class": f"toys.toy:{name}", "config": {}, "input": [3, 4], "seed": 5}
    return worker.request({**request, "report": list(report) or ["eval"], **extra})


def start(**extra: Any) -> Worker:
    worker = Worker("old", **extra)
    worker.source("toys", root="toys", files=FILES)
    return worker


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    with start(cache=2) as started:
        yield started


@pytest.mark.torch
class TestFacts:
    """What a worker says of a model."""

    def test_the_conditions_are_those_under_which_bytes_compare(self, worker: Worker) -> None:
        conditions = worker.conditions
        assert conditions.threads == 1
        assert conditions.python.split(".") == [str(part) for part in sys.version_info[:3]]
        always = {"own process", "isolated interpreter", "sockets and processes blocked in Python", "built environment"}
        assert always <= {*conditions.isolation}

    def test_the_layout_is_that_of_the_state_dict(self, worker: Worker) -> None:
        layout = run(worker, "Toy", "layout", config={"width": 5})["layout"]
        # a module's own buffers stand before its children
        assert layout[:4] == [
            ["index", [3], "int64"],
            ["first.weight", [5, 4], "float32"],
            ["first.bias", [5], "float32"],
            ["norm.weight", [5], "float32"],
        ]
        assert layout[7:] == [
            ["norm.num_batches_tracked", [], "int64"],
            ["last.weight", [2, 5], "float32"],
            ["last.bias", [2], "float32"],
        ]

    def test_the_same_request_has_the_same_answer(self, worker: Worker) -> None:
        report = ("layout", "initial", "eval", "train", "gradients", "modules")
        ours, theirs = run(worker, "Toy", *report), run(worker, "Toy", *report)
        del ours["seconds"], theirs["seconds"]
        assert ours == theirs

    def test_the_seed_moves_initial_weights_and_dropout_only(self, worker: Worker) -> None:
        ours, theirs = (run(worker, "Toy", "initial", "eval", "train", seed=seed) for seed in (5, 6))
        pairs = list(zip(ours["initial"]["digests"], theirs["initial"]["digests"], strict=True))
        # the two linear layers are random; the norm, its buffers and the index are not
        assert [one == two for one, two in pairs] == [True] + [False] * 2 + [True] * 5 + [False] * 2
        assert ours["eval"]["outputs"] == theirs["eval"]["outputs"]
        assert ours["train"]["outputs"][0] == theirs["train"]["outputs"][0]
        assert ours["train"]["outputs"][1] != theirs["train"]["outputs"][1]

    def test_outputs_are_named_by_key_and_place(self, worker: Worker) -> None:
        outputs = run(worker)["eval"]["outputs"]
        assert [(row["name"], row["shape"], row["finite"]) for row in outputs] == [
            ("hidden", [3, 8], True),
            ("pair.0", [3, 2], True),
            ("pair.1", [], True),
        ]

    def test_train_mode_moves_buffers_and_eval_mode_does_not(self, worker: Worker) -> None:
        answer = run(worker, "Toy", "eval", "train")
        still, moved = answer["eval"]["buffers"], answer["train"]["buffers"]
        changed = {name for name in still if still[name] != moved[name]}
        assert changed == {"norm.running_mean", "norm.running_var", "norm.num_batches_tracked"}
        assert answer["eval"]["generator"] != answer["train"]["generator"]

    def test_modules_end_innermost_first_and_in_place_work_is_seen(self, worker: Worker) -> None:
        calls = run(worker, "Toy", "modules")["modules"]["eval"]["calls"]
        assert [call[0] for call in calls] == ["first", "norm", "act", "drop", "last", ""]
        given, returned = zip(*[call[2:] for call in calls[:4]], strict=True)
        assert list(given[1:3]) == list(returned[0:2])
        assert returned[1] != returned[2]

    def test_gradients_reach_every_parameter_that_counts(self, worker: Worker) -> None:
        told = run(worker, "Toy", "gradients")["gradients"]
        parameters = {"first.weight", "first.bias", "norm.weight", "norm.bias", "last.weight", "last.bias"}
        for mode in ("eval", "train"):
            assert set(told[mode]["parameters"]) == parameters
            assert None not in told[mode]["parameters"].values()
        assert told["eval"]["scalar"] != told["train"]["scalar"]

    def test_slopes_are_nothing_where_nothing_is_read(self, worker: Worker) -> None:
        rows, columns = run(worker, "Skips", "slopes", input=[2, 1, 3, 4])["slopes"]
        assert [bool(slope) for slope in rows] == [True, False, True]
        assert [bool(slope) for slope in columns] == [True, True, True, False]
        assert columns[0] == pytest.approx(2 * columns[1])

    def test_slopes_that_cannot_be_told_are_none(self, worker: Worker) -> None:
        assert run(worker, "Flat", "slopes", input=[2, 1, 3, 4])["slopes"] == []

    def test_the_signature_is_told_with_its_defaults(self, worker: Worker) -> None:
        told = worker.request({"op": "class", "source": "toys", "class": "toys.toy:Toy"})
        assert told["file"] == "<toys/toy.py>"
        assert told["signature"] == [
            ["width", "POSITIONAL_OR_KEYWORD", True, 8],
            ["sizes", "POSITIONAL_OR_KEYWORD", True, [1, 2]],
            ["kind", "KEYWORD_ONLY", True, "plain"],
            ["pretrained", "KEYWORD_ONLY", True, False],
        ]

    def test_names_say_what_can_be_imported(self, worker: Worker) -> None:
        names = ["toys.toy:Toy", "toys.toy:Nobody", "toys.missing", "toys.absent"]
        told = worker.request({"op": "names", "source": "toys", "names": names})["names"]
        assert [told[name] and told[name]["type"] for name in names] == [
            None,
            "AttributeError",
            "ModuleNotFoundError",
            "ModuleNotFoundError",
        ]

    def test_the_meta_device_tells_shapes_without_numbers(self, worker: Worker) -> None:
        answer = run(worker, "Toy", "layout", "eval", device="meta", input=[7, 4])
        assert [row["shape"] for row in answer["eval"]["outputs"]] == [[7, 8], [7, 2], []]
        assert "digest" not in answer["eval"]["outputs"][0]
        assert answer["layout"] == run(worker, "Toy", "layout")["layout"]


@pytest.mark.torch
def test_a_remembered_backbone_is_the_one_that_would_be_built(worker: Worker) -> None:
    """Built anew and remembered, then twice remembered: the same weights, generator and outputs."""
    worker.source("models", root="viscy_models", folder=str(SRC))
    stem = {"backbone": "convnext_tiny", "in_channels": 1, "in_stack_depth": 5}
    asked = (
        ("ContrastiveEncoder", stem, [2, 1, 5, 32, 32]),
        ("ResNet3dEncoder", {"backbone": "resnet10"}, [2, 1, 4, 8, 8]),
    )
    for name, config, shape in asked:
        request = {"op": "run", "source": "models", "class": f"viscy_models.contrastive:{name}", "config": config}
        told = []
        for _ in range(3):
            report = {"input": shape, "seed": 3, "report": ["layout", "initial", "train"]}
            told.append(worker.request({**request, **report}))
            # forgets the built models, and keeps the backbones
            worker.source("models", root="viscy_models", folder=str(SRC))
        for answer in told:
            del answer["seconds"]
        assert told[0] == told[1] == told[2]
        assert len(told[0]["initial"]["digests"]) > 50


@pytest.mark.torch
def test_weights_that_were_not_drawn_change_no_answer_and_are_drawn_when_they_are_asked_for(worker: Worker) -> None:
    """With a remembered backbone and without, for a kept model and a new one."""
    asked: dict[str, Any] = {"op": "run", "source": "models", "class": "viscy_models.contrastive:ContrastiveEncoder"}
    asked |= {
        "config": {"backbone": "convnext_atto", "in_channels": 1, "in_stack_depth": 5},
        "input": [2, 1, 5, 32, 32],
    }

    def answer(*report: str) -> dict[str, Any]:
        found = worker.request({**asked, "seed": 4, "report": [*report]})
        return {name: found[name] for name in report}

    def forget_models() -> None:
        worker.source("models", root="viscy_models", folder=str(SRC))

    forget_models()
    undrawn = answer("eval", "train")
    drawn = answer("initial", "eval", "train")
    assert {name: drawn[name] for name in undrawn} == undrawn
    for report in (("eval", "train"), ("initial",), ("eval",), ("initial", "eval", "train")):
        forget_models()
        assert answer(*report) == {name: drawn[name] for name in report}


@pytest.mark.torch
@pytest.mark.parametrize("size", [1, 2, 3, 4, 16, 17, 1001])
def test_a_remembered_digest_is_given_to_the_very_same_bytes_alone(size: int) -> None:
    """Numbers that are equal may have other bytes (zeros), and the same bytes may be no equal numbers (NaN)."""
    import torch

    from viscy_compat.workers.program.backbones import BackboneMemory, KeptBackbone, KnownTensor
    from viscy_compat.workers.program.digests import byte_view, digest_of, head_of

    kept = torch.linspace(-1, 1, size)
    kept[size // 2], kept[-1] = 0.0, float("nan")
    memory = BackboneMemory()
    flats = [byte_view(tensor) for tensor in (kept, torch.zeros(7))]
    tensors = {head_of(flat): KnownTensor(flat) for flat in flats}
    memory.built["a backbone"] = KeptBackbone(None, None, 0, tensors)
    assert memory.digest(kept.clone()) == digest_of(kept)
    for known in tensors.values():
        known.digest = "remembered"
    room = torch.cat([torch.ones(1), kept])
    assert memory.digest(kept.clone()) == memory.digest(kept[None]) == memory.digest(room[1:]) == "remembered"
    for place in range(size):
        other = kept.clone()
        other.view(torch.int32)[place] ^= 1 if place else -(1 << 31)
        assert memory.digest(other) == digest_of(other), place
    assert memory.digest(-torch.zeros(7)) == digest_of(-torch.zeros(7))
    assert memory.digest(kept[:-1]) == digest_of(kept[:-1])


@pytest.mark.torch
def test_backbones_with_the_same_bytes_share_a_digest() -> None:
    import torch

    from viscy_compat.workers.program.backbones import BackboneMemory, KeptBackbone, KnownTensor
    from viscy_compat.workers.program.digests import byte_view, head_of

    memory = BackboneMemory()
    flat = byte_view(torch.linspace(-1, 1, 9))
    for name, told in (("older", ""), ("newer", "remembered")):
        known = KnownTensor(flat.clone())
        known.digest = told
        memory.built[name] = KeptBackbone(None, None, 0, {head_of(flat): known})
    assert memory.digest(torch.linspace(-1, 1, 9)) == "remembered"


@pytest.mark.torch
def test_a_backbone_that_is_asked_for_once_drives_out_none_that_others_share() -> None:
    import torch
    from torch import nn

    from viscy_compat.workers.program.backbones import BackboneMemory

    memory, built = BackboneMemory(), []

    def make(name: str) -> Any:
        built.append(name)
        return nn.Linear(24, 4)  # 400 bytes

    memory.room = 1000
    recall = memory._before(make, make)
    for name in ("shared", "shared", "once", "odd", "shared", "odd", "once", "shared"):
        torch.manual_seed(0)
        recall(name)
    assert built == ["shared", "once", "odd", "once"]


@pytest.mark.torch
def test_what_is_remembered_goes_with_its_class_and_for_a_model_that_is_larger() -> None:
    import torch

    from viscy_compat.workers.program.backbones import KeptBackbone
    from viscy_compat.workers.program.loop import Desk

    desk = Desk(0)
    desk._backbones.room = 4000

    def is_remembered_after(name: str, width: int) -> bool:
        desk._backbones.built["a backbone"] = KeptBackbone(None, None, 0, {})
        source: Any = nullcontext()
        source.find = lambda name: lambda width: torch.nn.Linear(width, 1)
        desk._model_for({"class": name, "config": {"width": width}, "report": []}, source)
        return bool(desk._backbones.built)

    classes = ("old.One", 10), ("new.One", 10), ("new.Two", 10), ("old.Two", 10), ("old.Two", 2000)
    assert [is_remembered_after(*row) for row in classes] == [False, True, False, True, False]


@pytest.mark.torch
class TestFill:
    """The weights that both sides compute from the tensors' names."""

    def kept(self, worker: Worker, folder: Path, name: str = "Toy", **extra: Any) -> dict[str, Any]:
        from safetensors.torch import load_file

        path = folder / "kept.safetensors"
        keep = ["weights", "input", "initial", "eval"]
        run(worker, name, "initial", "eval", save=str(path), keep=keep, **extra)
        return load_file(path)

    def test_every_element_of_every_tensor_is_different(self, worker: Worker, tmp_path: Path) -> None:
        for name, tensor in self.kept(worker, tmp_path, config={"width": 3000}).items():
            floats = name.startswith(("weights/", "input/")) and tensor.is_floating_point()
            assert not floats or tensor.unique().numel() == tensor.numel(), name

    def test_more_elements_than_the_pool_are_still_different(self, worker: Worker, tmp_path: Path) -> None:
        weight = self.kept(worker, tmp_path, config={"width": (1 << 22) + 99})["weights/first.weight"]
        assert weight.numel() > 1 << 24
        assert weight.unique().numel() == weight.numel()

    def test_variances_are_positive_and_counters_count(self, worker: Worker, tmp_path: Path) -> None:
        kept = self.kept(worker, tmp_path)
        assert 0.75 <= kept["weights/norm.running_var"].min() <= kept["weights/norm.running_var"].max() < 1.25
        assert 1 <= kept["weights/norm.num_batches_tracked"] <= 7
        assert kept["weights/index"].tolist() == [0, 1, 2]

    def test_what_is_kept_are_the_tensors_of_the_digests(self, worker: Worker, tmp_path: Path) -> None:
        import hashlib

        kept = self.kept(worker, tmp_path)
        answer = run(worker, "Toy", "eval", "initial")
        digest = hashlib.sha256(kept["eval/hidden"].numpy().tobytes()).hexdigest()
        assert digest == answer["eval"]["outputs"][0]["digest"]
        digest = hashlib.sha256(kept["initial/first.weight"].numpy().tobytes()).hexdigest()
        assert digest == answer["initial"]["digests"][1]

    def test_the_state_dict_of_another_layout_is_loaded_strictly(self, worker: Worker) -> None:
        layout = run(worker, "Toy", "layout")["layout"]
        assert run(worker, "Toy", "eval", load=layout)["eval"] == run(worker)["eval"]
        error = run(worker, "Toy", "eval", load=[layout[0], *layout[2:]])["error"]
        assert (error["stage"], error["type"]) == ("load", "RuntimeError")
        assert "first.weight" in error["message"]

    def test_saved_weights_and_inputs_are_taken(self, worker: Worker, tmp_path: Path) -> None:
        from safetensors.torch import save_file

        kept = self.kept(worker, tmp_path)
        weights = {name[len("weights/") :]: tensor for name, tensor in kept.items() if name.startswith("weights/")}
        save_file(weights, tmp_path / "weights.safetensors")
        save_file({"input": kept["input/input"]}, tmp_path / "input.safetensors")
        files = {"weights": str(tmp_path / "weights.safetensors"), "inputs": str(tmp_path / "input.safetensors")}
        assert run(worker, "Toy", "eval", **files)["eval"] == run(worker)["eval"]


@pytest.mark.torch
class TestStrangeCode:
    """Whatever a class does, the answer is data or one line."""

    def error(self, worker: Worker, name: str, **extra: Any) -> tuple[str, str, str]:
        answer = run(worker, name, **extra)
        error = answer.get("error") or answer["eval"]["error"]
        return error["stage"], error["type"], error["message"]

    def test_what_it_raises_is_told_with_its_stage(self, worker: Worker) -> None:
        assert self.error(worker, "Toy", config={"width": 0}) == ("build", "ValueError", "width 0 is too small")
        assert self.error(worker, "Toy", input=[3, 5])[:2] == ("forward", "RuntimeError")

    def test_lists_stand_for_tuples(self, worker: Worker) -> None:
        assert "error" not in run(worker, "Toy", config={"sizes": [1, 2]})

    def test_what_it_prints_does_not_mix_with_the_answers(self, worker: Worker) -> None:
        assert run(worker, "Noisy")["eval"]["outputs"][0]["shape"] == [3, 4]

    def test_it_cannot_read_the_requests(self, worker: Worker) -> None:
        assert self.error(worker, "Reads")[2] == "''"

    def test_the_network_and_new_processes_are_refused(self, worker: Worker) -> None:
        for name in ("Reaches", "Spawns"):
            stage, kind, message = self.error(worker, name)
            assert (stage, kind) == ("forward", "PermissionError"), message
            assert "refused in this worker" in message

    def test_a_file_of_somebody_else_is_not_changed(self, worker: Worker, tmp_path: Path) -> None:
        """Where the kernel has a layer for it; where it has none, the isolation line says what can be written."""
        precious = tmp_path / "precious"
        precious.write_text("precious")
        worker.source("writing", root="toys", files={**FILES, "toys/toy.py": f"OUTSIDE = {str(precious)!r}\n{TOY}"})
        told = run(worker, "Writes", source="writing")["eval"]
        if any("read-only" in line for line in worker.conditions.isolation):
            assert told["error"]["type"] in ("OSError", "PermissionError")
            assert precious.read_text() == "precious"
        else:
            assert any(line.startswith("writable") for line in worker.conditions.isolation)

    def test_what_no_model_computes_with_is_left_out_until_it_is_asked_for(self) -> None:
        with start() as started:
            started.source("left", root="left", files={"left/out.py": LEFT_OUT})
            asked: dict[str, Any] = {"source": "left", "config": {"in_features": 4, "out_features": 4}}
            seen: list[Any] = []
            for name in ("Lists", "Compiles", "Lists"):
                seen.append(run(started, **asked, **{"class": f"left.out:{name}"})["eval"])
        assert seen[0]["error"]["message"] == "[]"
        assert seen[1]["outputs"][0]["shape"] == [3, 4]
        assert seen[2]["error"]["message"] == "['torch._dynamo.eval_frame', 'matplotlib']"

    def test_a_line_that_old_code_writes_is_not_taken_for_an_answer(self) -> None:
        with start() as started, pytest.raises(WorkerFailed) as raised:
            run(started, "Forges")
        assert "the old worker: answered what it was not asked" in str(raised.value)

    def test_memory_is_limited(self, worker: Worker) -> None:
        assert self.error(worker, "Grows")[:2] == ("forward", "RuntimeError")

    def test_the_environment_is_built_from_nothing(self, worker: Worker) -> None:
        os.environ["A_SECRET"] = "x"
        names = self.error(worker, "Environment")[2].split(",")
        del os.environ["A_SECRET"]
        assert "HOME" in names
        assert not [name for name in names if "SECRET" in name or name.startswith(("GIT", "AWS", "SSH"))]

    def test_a_class_that_ends_the_worker_is_one_line_now_and_later(self) -> None:
        with start() as started:
            for _ in range(2):
                with pytest.raises(WorkerFailed) as raised:
                    run(started, "Exits")
                assert str(raised.value) == "the old worker: ended with exit code 3"
                assert raised.value.exit_code == 2


MARK = """read -r question; mark=${question##*'"mark": "'}; mark=${mark%%'"'*}"""
"""What a shell needs to know the mark of the question that it was asked."""


def said(**answer: Any) -> str:
    """A line of shell that answers the question that was read last."""
    return f"""printf '%s\\n' '{json.dumps(answer)[:-1]}{"," * bool(answer)} "mark": "'"$mark"'"}}'"""


def pretender(folder: Path, script: str) -> str:
    """An interpreter that is none."""
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.skipif(os.name != "posix", reason="the pretenders are shell scripts")
class TestPretenders:
    """Interpreters that do not do what they should."""

    def failure(self, folder: Path, script: str, **limits: Any) -> str:
        with (
            Worker("candidate", python=pretender(folder, script), limits=WorkerLimits(**limits)) as started,
            pytest.raises((WorkerFailed, MissingExtra)) as raised,
        ):
            started.conditions  # noqa: B018
        # it was ended: its own end, after a minute, was not waited for
        assert started._process.wait() != 0
        assert raised.value.exit_code == 2
        assert "\n" not in str(raised.value)
        return str(raised.value)

    def test_garbage(self, tmp_path: Path) -> None:
        line = self.failure(tmp_path, "echo garbage; sleep 60")
        assert line == "the candidate worker: answered with something that is not JSON"
        assert "not an object" in self.failure(tmp_path, "echo '[1]'; sleep 60")
        assert "did not say under what conditions" in self.failure(tmp_path, f"{MARK}; {said()}; sleep 60")
        deep = "head -c 100000 /dev/zero | tr '\\0' '['; echo"
        assert "is not JSON" in self.failure(tmp_path, f"{deep}; sleep 60")

    def test_an_answer_to_no_question(self, tmp_path: Path) -> None:
        """A line that somebody else writes where the answers go: it cannot know the mark."""
        for script in (f"mark=x; {said(**CONDITIONS)}", f"echo '{json.dumps(CONDITIONS)}'", "echo '{}'"):
            line = self.failure(tmp_path, f"{script}; sleep 60")
            assert "the candidate worker: answered what it was not asked" in line
        twice = f"{MARK}; {said(**CONDITIONS)}; {said(layout=[])}; sleep 60"
        with Worker("old", python=pretender(tmp_path, twice)) as worker:
            assert worker.conditions.threads == 1
            with pytest.raises(WorkerFailed, match="answered what it was not asked"):
                worker.request({"op": "run"})

    @pytest.mark.parametrize(
        "wrong",
        [
            {"threads": "1"},
            {"threads": True},
            {"isolation": "all"},
            {"isolation": [1]},
            {"cpu": None},
            {"torch": "9" * 999},
        ],
    )
    def test_conditions_of_another_shape(self, tmp_path: Path, wrong: dict[str, Any]) -> None:
        line = self.failure(tmp_path, f"{MARK}; {said(**{**CONDITIONS, **wrong})}; sleep 60")
        assert "did not say under what conditions" in line

    @pytest.mark.parametrize("failed", ["words", [1], 7, {"message": "\x1b[31m"}, {"type": [[]]}])
    def test_a_refusal_of_another_shape(self, tmp_path: Path, failed: object) -> None:
        line = self.failure(tmp_path, f"{MARK}; {said(failed=failed)}; sleep 60")
        assert "refused a request" in line
        assert line.isprintable()

    def test_silence(self, tmp_path: Path) -> None:
        assert "gave no answer within 0.5 s" in self.failure(tmp_path, "sleep 60", start=0.5)

    def test_a_flood_of_answers(self, tmp_path: Path) -> None:
        flood = "exec cat /dev/zero"
        assert "printed more than" in self.failure(tmp_path, flood, answer=1 << 20)

    def test_a_flood_of_noise(self, tmp_path: Path) -> None:
        assert "printed more than" in self.failure(tmp_path, "cat /dev/zero >&2; sleep 60", noise=1 << 20)

    def test_death_with_last_words(self, tmp_path: Path) -> None:
        line = self.failure(tmp_path, "echo first >&2; printf 'no \\033[31mtorch' >&2; exit 7")
        assert line == "the candidate worker: ended with exit code 7, last words: no \\x1b[31mtorch"

    def test_what_ends_after_it_has_started(self, tmp_path: Path) -> None:
        started = said(**CONDITIONS)
        for script, patience, words in (
            ("kill -9 $$", 600, "signal 9 (SIGKILL)"),
            ("sleep 60", 0.5, "gave no answer within 0.5 s"),
        ):
            python = pretender(tmp_path, f"{MARK}; {started}; {script}")
            with Worker("old", python=python) as worker, pytest.raises(WorkerFailed) as raised:
                worker.request({"op": "run"}, timeout=patience)
            assert words in str(raised.value)

    def test_a_missing_stack(self, tmp_path: Path) -> None:
        answer = said(failed={"type": "ModuleNotFoundError", "message": "No module named timm"})
        line = self.failure(tmp_path, f"{MARK}; {answer}; sleep 60")
        assert line.endswith("pip install 'viscy-compat[models]'")

    def test_no_interpreter(self, tmp_path: Path) -> None:
        with pytest.raises(WorkerFailed) as raised:
            Worker("old", python=str(tmp_path / "nothing"))
        assert "cannot be started with" in str(raised.value)

    def test_children_end_with_the_worker(self, tmp_path: Path) -> None:
        child = Lifeline(tmp_path)
        self.failure(tmp_path, f"{child.words} & {child.until_it_lives}; echo garbage; sleep 60")
        assert child.was_cut()


WITHOUT_NAMESPACES = """#!{python} -SE
import os, sys
sys.path.insert(0, {folder!r})
import launcher
launcher.enter_namespaces = lambda: False
launcher._end_like(launcher.main(sys.argv[1], sys.argv[2:]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the launcher is for Linux")
class TestStrangers:
    """A child with a session of its own, which holds the pipes of the answers, ends with its worker."""

    def script(self, child: Lifeline, last: str) -> str:
        """A line of shell that starts such a child, waits until it lives, and answers; its own parent leaves it at once."""
        return f"{MARK}; (setsid {child.words} &) ; {child.until_it_lives}; {said(**CONDITIONS)}; {last}"

    def without_namespaces(self, folder: Path) -> Path:
        path = folder / "own_launcher.py"
        path.write_text(WITHOUT_NAMESPACES.format(python=sys.executable, folder=str(workers.LAUNCHER.parent)))
        return path

    @pytest.mark.parametrize("end", ["closed", "died", "hung up"])
    @pytest.mark.parametrize("namespaces", [True, False])
    def test_it_ends(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, namespaces: bool, end: str) -> None:
        if not namespaces:
            monkeypatch.setattr(workers, "LAUNCHER", self.without_namespaces(tmp_path))
        last = "exit 5" if end == "died" else "sleep 60"
        child = Lifeline(tmp_path)
        worker = Worker("old", python=pretender(tmp_path, self.script(child, last)))
        folder = Path(worker._folder)
        try:
            assert worker.conditions.threads == 1
            if end == "died":
                with pytest.raises(WorkerFailed, match="ended with exit code 5"):
                    worker.request({"op": "run"})
            elif end == "hung up":
                worker._pipes.hang_up()
                worker._process.wait()
                assert not folder.exists()
            else:
                assert child.holds()
        finally:
            worker.close()
        assert child.was_cut()
        assert not folder.exists()

    def test_a_parent_that_is_killed_leaves_nothing_behind(self, tmp_path: Path) -> None:
        child = Lifeline(tmp_path)
        python = pretender(tmp_path, self.script(child, "sleep 60"))
        program = f"""
import sys, time
from viscy_compat.workers.worker import Worker
worker = Worker("old", python={python!r})
print(worker._folder, worker.conditions.threads, flush=True)
time.sleep(600)
"""
        parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        assert parent.stdout is not None
        folder = Path(parent.stdout.readline().split()[0])
        assert child.holds()
        parent.kill()
        parent.communicate()
        assert child.was_cut()
        until = time.monotonic() + 600
        while folder.exists():
            assert time.monotonic() < until
            time.sleep(0.05)

    def test_a_worker_that_takes_no_request_blocks_nobody(self, tmp_path: Path) -> None:
        with Worker("old", python=pretender(tmp_path, "sleep 60"), limits=WorkerLimits(start=0.5)) as worker:
            worker.send({"op": "source", "files": {"a.py": "#" * (1 << 20)}})
            with pytest.raises(WorkerFailed, match="gave no answer"):
                worker.receive()
        # it was ended: its own end, after a minute, was not waited for
        assert worker._process.wait() != 0

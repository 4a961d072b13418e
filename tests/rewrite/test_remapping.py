"""`remap` as a command and a call: it prints plans, writes or refuses, imports no torch, and knows no paths of a plan."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.assembly import call, lightning, mapping, name, safetensors, storage, tensor, text, zipped
from support.files import floats, renaming_plan, torch_file
from support.layouts import hollow, layout_of
from viscy_compat import remap
from viscy_compat.architectures import find
from viscy_compat.architectures.architecture import complete
from viscy_compat.checkpoint import open_checkpoint
from viscy_compat.cli import main
from viscy_compat.errors import CompatError, PlanRefused, UsageError
from viscy_compat.layout import TensorSpec
from viscy_compat.operations import Drop, Fill, Operation, Rename
from viscy_compat.plans.optimizer import parameters_of
from viscy_compat.plans.plan import PlanEnd, plan_of, with_casts
from viscy_compat.plans.plan_file import dumps
from viscy_compat.plans.shim_source import shim_source

SIZES = [3, 5]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    torch_file(tmp_path / "old.ckpt", SIZES, wrapped=True)
    renaming_plan(tmp_path / "plan.json", SIZES)
    return tmp_path


def test_a_plan_without_an_output_is_printed_and_nothing_written(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(place.iterdir())
    assert main(["remap", str(place / "old.ckpt"), "--plan", str(place / "plan.json")]) == 0
    assert "t.{i} -> u.{i}" in capsys.readouterr().out
    assert sorted(place.iterdir()) == before


@pytest.mark.parametrize("more", [["--plan", "plan.json"], ["--against", "new.ckpt"]])
def test_the_command_that_a_plan_leads_to_writes_it(
    more: list[str], place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    assert main(["remap", "old.ckpt", "-o", "new.ckpt", "--plan", "plan.json", "-q"]) == 0
    assert main(["remap", "old.ckpt", *more, "--format", "json"]) == 0
    command = json.loads(capsys.readouterr().out)["results"][0]["next"]
    assert shlex.split(command) == ["viscy-compat", "remap", "old.ckpt", "-o", "old.safetensors", *more]
    assert main(shlex.split(command)[1:]) == 0
    assert "next" not in capsys.readouterr().out
    assert (place / "old.safetensors").exists()


def test_the_command_says_how_the_plan_was_asked_for(place: Path) -> None:
    hints, encoder = ["net.x=body.x"], find("ContrastiveEncoder")
    hollow(place / "a.safetensors", {"net.x": TensorSpec((2, 2))})
    hollow(place / "b.safetensors", {"body.x": TensorSpec((2, 2))})
    (result,) = remap(place / "a.safetensors", against=place / "b.safetensors", hints=hints).results
    assert result.next.endswith(f"--against {place / 'b.safetensors'} --hint net.x=body.x")
    generation = encoder.generations[-1]
    hollow(place / "c.safetensors", generation.layout(complete(encoder, encoder.cases[0].config)))
    (back,) = remap(place / "c.safetensors", reverse=True, class_name="ContrastiveEncoder").results
    assert back.next.endswith(" --as ContrastiveEncoder --reverse")


def test_json_says_what_was_written(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = place / "new.safetensors"
    words = ["remap", str(place / "old.ckpt"), "--plan", str(place / "plan.json"), "-o", str(out), "--format", "json"]
    assert main(words) == 0
    result = json.loads(capsys.readouterr().out)["results"][0]
    assert (result["written"], result["bytes"], result["tensors"]) == (str(out), out.stat().st_size, 2)
    assert result["plan"]["renames"] == 2
    assert result["left_behind"] == ["epoch", "pytorch-lightning_version"]


def test_json_counts_the_tensors_that_are_cast(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    halves = {f"t.{place}": TensorSpec((size,), "float16") for place, size in enumerate(SIZES)}
    wide = {name: TensorSpec(spec.shape) for name, spec in halves.items()}
    header = {
        "t.0": {"dtype": "F16", "shape": [3], "data_offsets": [0, 6]},
        "t.1": {"dtype": "F16", "shape": [5], "data_offsets": [6, 16]},
    }
    (tmp_path / "old.safetensors").write_bytes(safetensors(header, bytes(16)))
    rows = with_casts([Rename("t.0", "t.0"), Rename("t.1", "t.1")], halves, wide)
    (tmp_path / "plan.json").write_text(dumps(plan_of(PlanEnd(halves), PlanEnd(wide), rows)))
    words = ["--plan", str(tmp_path / "plan.json"), "-o", str(tmp_path / "new.safetensors"), "--format", "json"]
    assert main(["remap", str(tmp_path / "old.safetensors"), *words]) == 0
    assert json.loads(capsys.readouterr().out)["results"][0]["plan"]["casts"] == 2


def test_a_file_of_no_known_class_is_exit_2_and_writes_nothing(place: Path) -> None:
    assert main(["remap", str(place / "old.ckpt"), "-o", str(place / "new.ckpt")]) == 2
    assert not (place / "new.ckpt").exists()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("--against old.ckpt --plan plan.json", "--plan and --against exclude each other; give one of them"),
        (
            "--against old.ckpt --reverse",
            "--against and --reverse exclude each other; give the files the other way round",
        ),
        ("--hint a=b", "--hint needs to know the target; say it: --as CLASS or --against FILE"),
        ("--weights-only", "--weights-only says how to write, and nothing is written; add -o OUT or --in-place"),
        (
            "--plan plan.json -o new.txt",
            "new.txt: the ending '.txt' says no format; choose one of .safetensors, .ckpt, .pt, .pth, .bin",
        ),
    ],
)
def test_what_cannot_be_meant_is_exit_2_and_one_line(
    place: Path, words: str, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    assert main(["remap", "old.ckpt", *words.split()]) == 2
    assert capsys.readouterr().err == f"viscy-compat: {line}\n"


@pytest.mark.parametrize("way", ["--plan", "--against"])
def test_a_setting_that_no_class_has_is_refused_beside_a_given_target(
    place: Path, capsys: pytest.CaptureFixture[str], way: str
) -> None:
    given = {"--plan": place / "plan.json", "--against": place / "old.ckpt"}[way]
    words = ["remap", str(place / "old.ckpt"), way, str(given), "--set"]
    assert main([*words, "head_pol=true"]) == 2
    assert "no known class has an argument head_pol" in capsys.readouterr().err
    assert main([*words, "head_pool=true"]) == 0


def test_a_setting_that_the_class_of_a_plan_has_not_is_refused_with_the_nearest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, plan = str(hollow(tmp_path / "a.safetensors", layout_of("Unet2d"))), str(tmp_path / "plan.json")
    assert main(["remap", old, "--write-plan", plan]) == 0
    capsys.readouterr()
    assert main(["remap", old, "--plan", plan, "--set", "num_block=2"]) == 2
    assert "Unet2d has no argument num_block; did you mean num_blocks?" in capsys.readouterr().err


def test_a_plan_for_another_layout_is_exit_1(place: Path) -> None:
    torch_file(place / "other.ckpt", [3, 6])
    words = ["remap", str(place / "other.ckpt"), "--plan", str(place / "plan.json"), "-o", str(place / "n.ckpt")]
    assert main(words) == 1
    assert not (place / "n.ckpt").exists()


def test_a_plan_goes_there_and_back(place: Path) -> None:
    there, back = place / "there.ckpt", place / "back.ckpt"
    remap(place / "old.ckpt", there, plan=place / "plan.json")
    assert list(open_checkpoint(str(there)).tensors) == ["model.u.0", "model.u.1"]
    remap(there, back, plan=place / "plan.json", reverse=True)
    assert list(open_checkpoint(str(back)).tensors) == ["model.t.0", "model.t.1"]


def test_in_place_keeps_the_original(place: Path) -> None:
    original = (place / "old.ckpt").read_bytes()
    remap(place / "old.ckpt", in_place=True, plan=place / "plan.json")
    assert (place / "old.ckpt.bak").read_bytes() == original
    assert list(open_checkpoint(str(place / "old.ckpt")).tensors) == ["model.u.0", "model.u.1"]


def test_what_would_run_is_not_copied_but_weights_are(place: Path) -> None:
    entries = {f"model.t.{i}": tensor((n,), (1,), of=storage(str(i), elements=n)) for i, n in enumerate(SIZES)}
    calls = lightning(state_dict=mapping(entries), bad=call(name("os", "system"), text("true")))
    (place / "bad.ckpt").write_bytes(zipped(calls, {str(i): floats(i, n) for i, n in enumerate(SIZES)}))
    with pytest.raises(PlanRefused, match=r"would call os\.system, and so would a copy") as caught:
        remap(place / "bad.ckpt", place / "new.ckpt", plan=place / "plan.json")
    assert caught.value.code == "VC430"
    for out in ("new.ckpt", "new.safetensors"):
        remap(place / "bad.ckpt", place / out, plan=place / "plan.json", weights_only=True)
        assert b"system" not in (place / out).read_bytes()


def test_neither_torch_nor_numpy_is_imported(place: Path) -> None:
    code = (
        "import sys; from viscy_compat.cli import main; code = main(sys.argv[1:]); "
        "heavy = {'torch', 'numpy', 'deepdiff', 'git', 'hypothesis', 'yaml', 'safetensors'} & set(sys.modules); "
        "sys.exit(str(heavy) if heavy else code)"
    )
    words = ["remap", str(place / "old.ckpt"), "--plan", str(place / "plan.json"), "-o", str(place / "new.ckpt")]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_names_against_another_file_are_inferred_or_refused(place: Path) -> None:
    torch_file(place / "wanted.ckpt", SIZES)
    report = remap(place / "old.ckpt", place / "new.safetensors", against=place / "wanted.ckpt")
    assert list(open_checkpoint(str(place / "new.safetensors")).tensors) == ["t.0", "t.1"]
    assert len(report.results[0].grounds) == 2
    torch_file(place / "shorter.ckpt", [3])
    with pytest.raises(PlanRefused, match="without a place"):
        remap(place / "old.ckpt", place / "n.safetensors", against=place / "shorter.ckpt")
    with pytest.raises(CompatError):
        remap(place / "old.ckpt", against=place / "wanted.ckpt", hints=["nothing=here"])


def test_an_output_and_in_place_exclude_each_other(place: Path) -> None:
    with pytest.raises(UsageError, match="an output and in_place=True exclude each other"):
        remap(place / "old.ckpt", place / "new.ckpt", in_place=True)


@pytest.mark.uncounted
@pytest.mark.long
def test_twenty_thousand_tensors_come_out(tmp_path: Path) -> None:
    sizes = [4] * 20_000
    torch_file(tmp_path / "many.ckpt", sizes)
    renaming_plan(tmp_path / "plan.json", sizes)
    remap(tmp_path / "many.ckpt", tmp_path / "new.ckpt", plan=tmp_path / "plan.json")
    assert list(open_checkpoint(str(tmp_path / "new.ckpt")).tensors) == [f"u.{place}" for place in range(20_000)]


def hostile_shim() -> str:
    """A shim out of a plan whose texts try to end the docstring, a comment and a string."""
    bad = 'x"""\nraise SystemExit("ran")\n"""\\'
    here = {bad: TensorSpec((1,)), "d": TensorSpec((1,))}
    there = {f"{bad}'": TensorSpec((1,)), "f": TensorSpec((1,))}
    rows: list[Operation] = [Rename(bad, f"{bad}'"), Drop("d", bad), Fill("f", (1,), "float32", 0.5, bad)]
    source, target = PlanEnd(here, bad, bad), PlanEnd(there, bad, "other")
    return shim_source(plan_of(source, target, rows, loses=[bad]))


def test_no_text_of_a_plan_becomes_code_of_the_shim() -> None:
    compiled = compile(hostile_shim(), "shim.py", "exec")
    space: dict[str, Any] = {"__name__": "shim"}
    sys.modules.setdefault("torch", type(sys)("torch"))
    try:
        exec(compiled, space)
    finally:
        if not hasattr(sys.modules["torch"], "Tensor"):
            del sys.modules["torch"]
    assert len(space["SOURCE"]) == len(space["TARGET"]) == 2


def test_parameters_are_counted_without_buffers() -> None:
    spec = TensorSpec((2,))
    layout = dict.fromkeys(("a.weight", "b.running_mean", "b.num_batches_tracked", "c.bias"), spec)
    assert parameters_of(layout, {}) == ["a.weight", "c.bias"]

"""Folders as people have them: what is checked, what is set aside, and what changes the exit code."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from hostile.generator import HONEST, HONEST_SAFETENSORS
from support.assembly import (
    built,
    call,
    mapping,
    name,
    number,
    pickled,
    safetensors,
    state,
    storage,
    tensor,
    text,
    zipped,
)
from support.folders import close_folders, distributed, whole
from support.layouts import hollow, layout_of
from viscy_compat import check
from viscy_compat.checkpoint import facts
from viscy_compat.cli import main
from viscy_compat.diagnosis import check_paths
from viscy_compat.diagnosis.folders import NamedPath, checkpoint_files
from viscy_compat.diagnosis.judgement import target_beside
from viscy_compat.errors import UsageError
from viscy_compat.findings import Aside, ClosedFolder
from viscy_compat.report.text_inspect import _WITHOUT_SUMS

SMALL = layout_of(
    "BetaVaeMonai",
    spatial_dims=2,
    in_shape=(1, 32, 32),
    out_channels=1,
    latent_size=8,
    channels=(8, 16),
    strides=(2, 2),
)
RESOURCE = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        " + bytes(100)
ADAM = zipped(mapping({"state": b"}", "param_groups": b"]"}))
SCHEDULER = zipped(mapping({"last_epoch": number(1)}))
RANDOM = zipped(
    mapping({"cpu": tensor((16,), (1,), of=storage("0", name("torch", "ByteStorage"), 16))}), {"0": bytes(16)}
)
ARGUMENTS = zipped(built(name("argparse", "Namespace"), b"}"))


def weights(path: Path) -> Path:
    """A file that is compatible, whatever its name is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return hollow(path, SMALL)


def written(folder: Path, files: Mapping[str, bytes]) -> None:
    for file, content in files.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(content)


def checked(folder: Path) -> tuple[dict[str, str], list[str], int]:
    """Verdicts by names below the folder, what was set aside, and the exit code."""
    report = check(folder)
    verdicts: dict[str, str] = {os.path.relpath(row.file, folder): row.verdict for row in report.results}
    return verdicts, [os.path.relpath(row.file, folder) for row in report.aside], report.exit_code


def test_what_a_trainer_saves_beside_the_weights_is_set_aside(tmp_path: Path) -> None:
    weights(tmp_path / "pytorch_model.bin")
    beside = {
        "optimizer.pt": ADAM,
        "optimizer.bin": ADAM,
        "scheduler.pt": SCHEDULER,
        "rng_state.pth": RANDOM,
        "training_args.bin": ARGUMENTS,
        "random_states_0.pkl": pickled(mapping({"python": number(1)})),
        "mesh.bin": bytes(range(200, 256)),
    }
    written(tmp_path, beside)
    verdicts, aside, code = checked(tmp_path)
    assert (verdicts, sorted(aside), code) == ({"pytorch_model.bin": "compatible"}, sorted(beside), 0)


def test_a_broken_checkpoint_is_not_set_aside_whatever_its_ending_is(tmp_path: Path) -> None:
    weights(tmp_path / "a.safetensors")
    broken = {"cut.bin": HONEST[:300], "pointer.bin": b"version https://git-lfs.github.com/spec/v1\n", "empty.pt": b""}
    written(tmp_path, broken)
    verdicts, aside, code = checked(tmp_path)
    assert (aside, code) == ([], 2)
    assert verdicts == {"a.safetensors": "compatible", **dict.fromkeys(broken, "unreadable")}


def test_a_file_that_the_user_names_is_answered_and_not_set_aside(tmp_path: Path) -> None:
    written(tmp_path, {"optimizer.pt": ADAM})
    aside: list[Aside] = []
    (result,) = check_paths([str(tmp_path / "optimizer.pt")], aside=aside)
    assert (result.verdict, result.findings[0].code, aside) == ("unreadable", "VC444", [])


def test_resource_files_of_a_mac_are_skipped_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights(tmp_path / "a.pt")
    written(tmp_path, {"._a.pt": RESOURCE, "__MACOSX/._a.pt": RESOURCE, "__MACOSX/b.pt": HONEST})
    verdicts, aside, code = checked(tmp_path)
    assert (verdicts, aside, code) == ({"a.pt": "compatible"}, ["."], 0)
    assert main(["check", str(tmp_path)]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "Mac" in line]
    assert lines == [f"aside {tmp_path}: resource files that a Mac left are skipped: {tmp_path}/__MACOSX and 1 more"]
    # the near miss: a checkpoint whose name begins like that
    weights(tmp_path / "._b.pt")
    assert checked(tmp_path)[0] == {"a.pt": "compatible", "._b.pt": "compatible"}


def test_what_holds_no_tensor_is_set_aside_but_for_a_checkpoint_by_its_name(tmp_path: Path) -> None:
    counters = zipped(mapping({"_iterator_finished": number(0)}))
    weights(tmp_path / "a.bin")
    written(tmp_path, {"sampler.bin": counters})
    assert checked(tmp_path) == ({"a.bin": "compatible"}, ["sampler.bin"], 0)
    written(tmp_path, {"b.ckpt": counters})
    assert checked(tmp_path) == ({"a.bin": "compatible", "b.ckpt": "unreadable"}, ["sampler.bin"], 2)


def test_where_there_is_nothing_beside_them_such_files_are_results(tmp_path: Path) -> None:
    written(tmp_path, {"optimizer.pt": ADAM, "scheduler.pt": SCHEDULER})
    assert checked(tmp_path) == ({"optimizer.pt": "unreadable", "scheduler.pt": "unreadable"}, [], 2)


def test_tensors_of_pickle_dump_are_never_set_aside(tmp_path: Path) -> None:
    """What is pickled by others has no tensors to us, and a state dict that `pickle.dump` wrote has."""
    weights(tmp_path / "a.bin")
    loaded = call(name("torch.storage", "_load_from_bytes"), text("bytes"))
    written(tmp_path, {"b.pkl": pickled(mapping({"w": loaded})), "c.pkl": pickled(mapping({"w": number(1)}))})
    assert checked(tmp_path) == ({"a.bin": "compatible", "b.pkl": "unreadable"}, ["c.pkl"], 2)


def test_the_parts_of_a_distributed_checkpoint_without_its_table_are_named(tmp_path: Path) -> None:
    folder = distributed(tmp_path / "run", {"w": whole((3,), (1.0, 2.0, 3.0))})
    assert checked(folder)[2] == 2
    assert [row.code for row in check(folder).findings if row.code == "VC462"] == []
    (folder / ".metadata").unlink()
    found = check(folder)
    assert [(row.code, "without its table of contents" in row.message) for row in found.findings] == [("VC462", True)]


def test_endings_are_taken_in_capitals_and_packed_names_by_content(tmp_path: Path) -> None:
    names = ["a.CKPT", "b.pth.tar", "c.pkl", "d.bin", "e.PT", "f.Safetensors"]
    for file in names:
        weights(tmp_path / file)
    written(tmp_path, {"readme.txt": b"x", "g.tar": b"x"})
    assert checked(tmp_path) == (dict.fromkeys(names, "compatible"), [], 0)


def test_a_link_to_nothing_is_named(tmp_path: Path) -> None:
    weights(tmp_path / "a.ckpt")
    os.symlink("epoch=3.ckpt", tmp_path / "last.ckpt")
    report = check(tmp_path)
    assert (report.exit_code, report.results[1].findings[0].code) == (2, "VC401")
    assert "a link to epoch=3.ckpt" in report.results[1].findings[0].message


def test_a_distributed_folder_is_one_checkpoint_and_its_record_no_other(tmp_path: Path) -> None:
    entries = {"state_dict.w": whole((1,), (1.0,))}
    distributed(tmp_path / "run.ckpt", entries)
    written(tmp_path, {"run.ckpt/meta.pt": HONEST, "run.ckpt/optimizer.pt": ADAM})
    distributed(tmp_path / "other", entries)
    verdicts, aside, code = checked(tmp_path)
    assert (verdicts, aside, code) == ({"run.ckpt": "unknown", "other": "unknown"}, ["run.ckpt/optimizer.pt"], 2)
    assert set(checked(tmp_path / "run.ckpt")[0]) == {"."}


def test_the_commands_for_a_folder_write_beside_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run.ckpt"
    distributed(folder, {"state_dict.w": whole((1,), (1.0,))})
    assert target_beside(f"{folder}/") == f"{tmp_path}/run.safetensors"
    assert main(["remap", str(folder), "--in-place"]) == 2
    said = "a folder is not replaced by a file; -o"
    assert f"{folder}: {said} {tmp_path}/run.safetensors" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "fix"),
    [
        (["a.pt", "new.safetensors"], "the output goes after -o: viscy-compat remap a.pt -o new.safetensors"),
        (["a.pt", "b.pt"], "one after the other, each with its -o: viscy-compat remap a.pt -o OUT"),
        (["a.pt", "-o", "out/"], "out/: this is a folder, and -o takes a file; -o out/a.safetensors"),
        (["a.pt", "-o", "."], ".: this is a folder, and -o takes a file; -o ./a.safetensors"),
    ],
)
def test_remap_answers_odd_paths_with_the_line_that_was_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], fix: str
) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path, {"a.pt": HONEST, "b.pt": HONEST})
    assert main(["remap", *words]) == 2
    assert fix in capsys.readouterr().err


def test_inspect_shows_every_kind_of_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    info = {"DCP_SHARDING_INFO": json.dumps({"w": {"saved_offsets": [0, 0]}})}
    part = safetensors({"__metadata__": info, "w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}})
    distributed(tmp_path / "torch", {"state_dict.w": whole((1,), (1.0,))})
    written(tmp_path, {"hub/shard-00001-model-00001-of-00001.safetensors": part})
    written(tmp_path, {"unpacked/data.pkl": pickled(state()), "unpacked/data/0": bytes(range(24))})
    sums = {"torch": "CRC-32 of 1 record", "hub": "safetensors has no room", "unpacked": "in the archive that was"}
    for kind, said in sums.items():
        for flags in ([], ["--crc"]):
            assert main(["inspect", str(tmp_path / kind), *flags]) == 0
            assert said in capsys.readouterr().out
    # annotations are not evaluated when a module is imported, so the formats are read where they are declared
    declared = re.search(
        r"^Format = Literal\[(.*?)\]", Path(facts.__file__).read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    assert declared is not None
    assert set(_WITHOUT_SUMS) == set(re.findall(r'"([^"]+)"', declared[1]))


def test_every_code_that_is_asked_for_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "VC464", "vc471"]) == 0
    text = capsys.readouterr().out
    assert [line.split()[0] for line in text.splitlines() if line.startswith("VC4")] == ["VC464", "VC471"]


def test_the_parts_of_a_hub_folder_are_one_checkpoint_and_other_files_are_not_hidden(tmp_path: Path) -> None:
    info = {"DCP_SHARDING_INFO": json.dumps({"w": {"saved_offsets": [0, 0]}})}
    part = safetensors({"__metadata__": info, "w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}})
    written(tmp_path, {"hub/shard-00001-model-00001-of-00001.safetensors": part})
    weights(tmp_path / "hub" / "model.safetensors")
    assert checked(tmp_path)[0] == {"hub": "unknown", "hub/model.safetensors": "compatible"}


@pytest.mark.parametrize("below", ["", "whole"])
def test_an_unpacked_torch_file_is_read(tmp_path: Path, below: str) -> None:
    folder = tmp_path / "a" / below
    written(
        folder, {"data.pkl": pickled(state()), "data/0": bytes(range(24)), "version": b"3\n", "byteorder": b"little"}
    )
    written(tmp_path, {"readme.txt": b"x"})
    assert checked(tmp_path)[0] == {"a": "unknown"}
    (result,) = check(tmp_path / "a").results
    assert (result.format, result.tensors) == ("unpacked-torch", 1)
    (lone,) = check(folder / "data.pkl").results
    assert lone.tensors == 1
    shutil.rmtree(folder / "data")
    (lone,) = check(folder / "data.pkl").results
    assert lone.findings[0].message.startswith("this is the pickle of an unpacked torch file")


def deepspeed(folder: Path, tag: str, files: Mapping[str, bytes]) -> None:
    written(folder, {"latest": tag.encode(), **{f"{tag}/{file}": content for file, content in files.items()}})


def test_the_whole_model_of_deepspeed_is_read_and_its_optimizer_is_no_file_of_its_own(tmp_path: Path) -> None:
    shards = zipped(mapping({"optimizer_state_dict": mapping({"zero_stage": number(2)})}))
    files = {
        "mp_rank_00_model_states.pt": zipped(mapping({"module": state(), "ds_version": text("0.14")})),
        "zero_pp_rank_0_mp_rank_00_optim_states.pt": shards,
        "bf16_zero_pp_rank_1_mp_rank_00_optim_states.pt": shards,
    }
    deepspeed(tmp_path / "run.ckpt", "checkpoint", files)
    (result,) = check(tmp_path).results
    assert (result.file, result.tensors, result.verdict) == (str(tmp_path / "run.ckpt"), 1, "unknown")
    assert checked(tmp_path / "run.ckpt" / "checkpoint")[0] == {".": "unknown"}


@pytest.mark.parametrize("script", [True, False])
def test_a_deepspeed_checkpoint_in_pieces_names_the_command_that_puts_it_together(tmp_path: Path, script: bool) -> None:
    run = tmp_path / "run.ckpt"
    piece = zipped(mapping({"module": mapping({"w": tensor((0,), (1,))}), "ds_version": text("0.14")}))
    files = {f"zero_pp_rank_{rank}_mp_rank_00_model_states.pt": piece for rank in (0, 1)}
    deepspeed(run, "global_step3", {**files, "zero_pp_rank_0_mp_rank_00_optim_states.pt": ADAM})
    if script:
        (run / "zero_to_fp32.py").write_text("")
    program = f"python {run}/zero_to_fp32.py" if script else "python -m deepspeed.utils.zero_to_fp32"
    for path in (tmp_path, run, run / "global_step3"):
        (finding,) = check(path).findings
        assert (finding.code, finding.fix) == ("VC472", f"make one file of it: {program} {run} {run}.fp32")


def test_one_shard_names_its_index(tmp_path: Path) -> None:
    shard = tmp_path / "model-00001-of-00002.safetensors"
    shard.write_bytes(HONEST_SAFETENSORS)
    told = {finding.code: finding for finding in check(shard).findings}
    assert told["VC474"].fix == "fetch model.safetensors.index.json and the others"
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"w": shard.name, "v": "model-00002-of-00002.safetensors"}}))
    told = {finding.code: finding for finding in check(shard).findings}
    assert told["VC474"].fix.endswith(f"viscy_compat.check({str(index)!r})")


def test_a_folder_without_a_checkpoint_says_what_was_looked_for(tmp_path: Path) -> None:
    written(tmp_path, {"a.txt": b"x"})
    with pytest.raises(UsageError) as caught:
        check(tmp_path)
    endings = ".ckpt, .pt, .pth, .bin, .pkl, .pth.tar, .pt.tar, .ckpt.tar, .safetensors, "
    endings += ".safetensors.index.json, .bin.index.json"
    assert str(caught.value) == f"{tmp_path}: no checkpoint below this folder; looked for {endings}"


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (["runs/b.ckpt.part"], "runs/b.ckpt.part (by its name a download that did not finish)"),
        (["a.ckpt.dvc", "b.txt"], "a.ckpt.dvc (a pointer to another file)"),
        (["data/model.pt2", "MLmodel"], "data/model.pt2 (an exported model)"),
        (["b.CKPT.ZST", "a.mar"], "a.mar (packed) and 1 more"),
    ],
)
def test_what_may_stand_for_a_checkpoint_is_named_where_a_folder_has_none(
    tmp_path: Path, names: list[str], what: str
) -> None:
    written(tmp_path, dict.fromkeys(names, b"-"))
    with pytest.raises(UsageError) as caught:
        list(checkpoint_files([str(tmp_path)]))
    assert caught.value.message == f"no checkpoint below this folder, but {what}"
    first = what.partition(" (")[0]
    assert caught.value.fix.startswith(f"viscy-compat check {tmp_path / first} says what it is; looked for ")


def test_files_keep_their_place_among_folders_and_which_of_them_the_user_named(tmp_path: Path) -> None:
    written(tmp_path, {"run/epoch=10.ckpt": b"", "run/epoch=2.ckpt": b"", "a.txt": b"", "run/b.txt": b""})
    one, other, run = str(tmp_path / "a.txt"), str(tmp_path / "gone.ckpt"), tmp_path / "run"
    assert list(checkpoint_files([one, str(run), other])) == [
        NamedPath(one, is_named=True),
        NamedPath(str(run / "epoch=2.ckpt"), is_named=False),
        NamedPath(str(run / "epoch=10.ckpt"), is_named=False),
        NamedPath(other, is_named=True),
    ]


def test_a_folder_that_cannot_be_listed_is_named_and_alone_it_is_the_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights(tmp_path / "a.pt")
    weights(tmp_path / "shut" / "b.pt")
    # what a link leads to is not looked into either, and that is no fault
    (tmp_path / "elsewhere").symlink_to(tmp_path / "shut")
    close_folders(monkeypatch)
    report = check(tmp_path)
    what = "this folder cannot be listed (Permission denied)"
    assert ([row.verdict for row in report.results], report.exit_code) == (["compatible"], 2)
    assert [(type(row), *row) for row in report.aside] == [(ClosedFolder, str(tmp_path / "shut"), what)]
    with pytest.raises(UsageError) as caught:
        check(tmp_path / "shut")
    assert str(caught.value) == f"{tmp_path / 'shut'}: {what}; run this as a user who may list it"


def test_asides_are_in_the_json_and_not_in_a_quiet_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights(tmp_path / "a.pt")
    written(tmp_path, {"optimizer.pt": ADAM})
    assert main(["check", str(tmp_path), "--format", "json"]) == 0
    row = {"file": str(tmp_path / "optimizer.pt"), "what": "an optimizer's state"}
    assert json.loads(capsys.readouterr().out)["aside"] == [row]
    assert main(["check", str(tmp_path), "-q"]) == 0
    assert "optimizer.pt" not in capsys.readouterr().out

"""A flag that changes nothing beside the others is refused by its name, in every command that has such flags."""

from __future__ import annotations

from pathlib import Path

import pytest

import viscy_compat
from support.layouts import hollow, layout_of
from viscy_compat.cli import main
from viscy_compat.errors import UsageError

HUNTING = "--profile ci|--examples 3|--law inference|--waivers w.toml|--seed 3|--jobs 3|--timeout 5"
OLD_CODE = "--repo r|--rev v|--wheel 0.4.0|--trust-repo|--legacy-python python"
OF_ONE_FILE = (
    "--in-place|--plan p.json|--against b.ckpt|--reverse|--write-plan p.json|--shim s.py|--prove|--repo r"
    "|--legacy-python python|--expect io.safetensors|--expect-precision tf32|--card c.md|--state-dict s|--hint a=b|--drop d"
)
IDLE = {
    "check model.safetensors --against model.safetensors": "--strict|--thorough",
    "remap model.safetensors": "--repo r|--legacy-python python|--force",
    "remap model.safetensors --in-place": "--force",
    "remap --from-ledger l.jsonl": OF_ONE_FILE.replace("--in-place|", ""),
    "verify BetaVaeMonai --recorded": "--legacy-python python|--trust-repo|--save-evidence e|--wheel 0.4.0|--repo r|--rev v",
    "verify BetaVaeMonai": "--trust-repo",
    "verify BetaVaeMonai --wheel 0.4.0": "--trust-repo|--rev v",
    "explore BetaVae25D --ask backbone=resnet50": f"{HUNTING}|{OLD_CODE}|--recorded|--allow-recorded|--candidate c",
    "explore BetaVae25D --input 1,1,16,64,64": f"{HUNTING}|{OLD_CODE}|--candidate-python python",
    "explore BetaVae25D --plot map.html": f"{HUNTING}|{OLD_CODE}|--input 1,1,16,64,64",
    "explore BetaVae25D": "--trust-repo",
    "gate": "--trust-repo",
    "record --class a:B --cases c.toml": "--repo r|--trust-repo|--legacy-python python",
    "record --candidate c --generation v9": "--repo r|--trust-repo|--legacy-python python",
    "record": "--candidate-python python|--trust-repo",
    "audit model.safetensors --on slurm": "--jobs 3",
}
ROWS = [(words, flag) for words, flags in IDLE.items() for flag in flags.split("|")]


@pytest.mark.parametrize(("words", "flag"), ROWS, ids=[f"{words} {flag}" for words, flag in ROWS])
def test_a_flag_that_changes_nothing_is_refused_by_its_name(
    words: str, flag: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VISCY_COMPAT_REPO", raising=False)
    hollow(tmp_path / "model.safetensors", layout_of("Unet2d"))
    before = sorted(tmp_path.iterdir())
    assert main([*words.split(), *flag.split()]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert flag.split(maxsplit=1)[0].rsplit("-", maxsplit=1)[-1] in line
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "words",
    [
        "explore BetaVae25D --ask backbone=resnet50 --seed 0 --profile dev --jobs 2",
        "remap model.safetensors --write-plan p.json --force",
        "check model.safetensors --against model.safetensors --state-dict ",
    ],
)
def test_what_says_the_usual_or_has_an_effect_is_taken(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    hollow(tmp_path / "model.safetensors", layout_of("Unet2d"))
    assert main(words.split(" ")) == 0


def test_a_clone_in_the_environment_may_be_trusted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VISCY_COMPAT_REPO", str(tmp_path / "absent"))
    with pytest.raises(viscy_compat.errors.SourceUnavailable):
        viscy_compat.verify(["BetaVaeMonai"], trust_repo=True)


@pytest.mark.parametrize("option", ["legacy_python", "save_evidence"])
def test_in_python_too(option: str) -> None:
    with pytest.raises(UsageError, match=f"{option}=.* changes nothing beside recorded=True"):
        viscy_compat.verify(["BetaVaeMonai"], recorded=True, **{option: "x"})  # type: ignore[arg-type]

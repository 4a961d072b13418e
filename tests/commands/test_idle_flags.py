"""A flag that changes nothing beside the others is named, in every command that has such flags; the command goes on."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import viscy_compat
from support.layouts import hollow, layout_of
from viscy_compat.cli import main
from viscy_compat.commands import idle_flags
from viscy_compat.commands.idle_flags import name_idle
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
    "verify BetaVaeMonai --recorded": "--legacy-python python|--trust-repo|--save-evidence e",
    "verify BetaVaeMonai": "--trust-repo",
    "verify BetaVaeMonai --wheel 0.4.0": "--trust-repo",
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
CONTRADICTORY = {
    "remap --from-ledger l.jsonl": OF_ONE_FILE.replace("--in-place|", ""),
    "verify BetaVaeMonai --recorded": "--wheel 0.4.0|--repo r|--rev v",
    "verify BetaVaeMonai --wheel 0.4.0": "--rev v",
}


def rows(table: dict[str, str]) -> list[tuple[str, str]]:
    return [(words, flag) for words, flags in table.items() for flag in flags.split("|")]


class Enough(Exception):
    """The flags were looked at; the command itself has its own tests."""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with a model's layout in it and no clone anywhere."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VISCY_COMPAT_REPO", raising=False)
    hollow(tmp_path / "model.safetensors", layout_of("Unet2d"))
    return tmp_path


@pytest.mark.parametrize(("words", "flag"), rows(IDLE))
@pytest.mark.usefixtures("here")
def test_a_flag_that_changes_nothing_is_named(
    words: str, flag: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def named(*arguments: Any) -> None:
        name_idle(*arguments)
        raise Enough

    for module in (idle_flags, import_module(f"viscy_compat.commands.{words.split(maxsplit=1)[0]}")):
        monkeypatch.setattr(module, "name_idle", named, raising=module is idle_flags)
    with pytest.raises(Enough):
        main([*words.split(), *flag.split()])
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert line.startswith(f"viscy-compat {words.split(maxsplit=1)[0]}: {flag.split(maxsplit=1)[0]} changes nothing ")
    assert captured.out == ""


@pytest.mark.usefixtures("here")
def test_the_command_goes_on_as_without_them(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["explore", "BetaVae25D", "--ask", "backbone=resnet50", "--format", "json"]
    assert main(words) == 0
    without = capsys.readouterr()
    assert main([*words, "--seed", "3", "--repo", "r"]) == 0
    captured = capsys.readouterr()
    assert captured.out == without.out
    assert without.err == ""
    assert captured.err == (
        "viscy-compat explore: --seed and --repo change nothing beside --ask, --input and --plot, which ask the shape rule "
        "and run no model\n"
    )


@pytest.mark.parametrize(("words", "flag"), rows(CONTRADICTORY))
def test_what_contradicts_another_flag_is_refused(
    words: str, flag: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(here.iterdir())
    assert main([*words.split(), *flag.split()]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert flag.split(maxsplit=1)[0].rsplit("-", maxsplit=1)[-1] in line
    assert sorted(here.iterdir()) == before


@pytest.mark.parametrize(
    "words",
    [
        "explore BetaVae25D --ask backbone=resnet50 --seed 0 --profile dev --jobs 2",
        "remap model.safetensors --write-plan p.json --force",
        "check model.safetensors --against model.safetensors --state-dict ",
    ],
)
@pytest.mark.usefixtures("here")
def test_what_says_the_usual_or_has_an_effect_is_not_named(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words.split(" ")) == 0
    assert "change" not in capsys.readouterr().err


def test_a_clone_in_the_environment_may_be_trusted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VISCY_COMPAT_REPO", str(tmp_path / "absent"))
    # past the flag: what is wrong is the clone
    with pytest.raises(viscy_compat.errors.SourceUnavailable, match="absent: there is no such folder"):
        viscy_compat.verify(["BetaVaeMonai"], trust_repo=True)


@pytest.mark.parametrize("option", ["legacy_python", "save_evidence"])
def test_in_python_it_is_a_warning_where_the_function_was_called(option: str) -> None:
    with (
        pytest.warns(UserWarning, match=f"{option} changes nothing beside recorded=True") as caught,
        pytest.raises(UsageError, match="no-such-candidate"),
    ):
        viscy_compat.verify(["BetaVaeMonai"], recorded=True, candidate="./no-such-candidate", **{option: "x"})  # type: ignore[arg-type]
    assert caught[0].filename == __file__

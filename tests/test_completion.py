"""The scripts complete what the parsers take, in the shell itself where it is here."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from viscy_compat.architectures import class_names
from viscy_compat.cli import main
from viscy_compat.commands import COMMANDS
from viscy_compat.completion import SHELLS


def script(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["completion", shell]) == 0
    return capsys.readouterr().out


def completed(text: str, *words: str) -> list[str]:
    """What bash offers for the last word."""
    typed = " ".join(f"'{word}'" for word in ("viscy-compat", *words))
    asked = f"{text}\nCOMP_WORDS=({typed}); COMP_CWORD={len(words)}; _shtab_viscy_compat; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_bash_completes_commands_flags_classes_and_codes(capsys: pytest.CaptureFixture[str]) -> None:
    if not shutil.which("bash"):
        pytest.skip("no bash on this machine")
    text = script("bash", capsys)
    assert set(completed(text, "")) >= set(COMMANDS)
    assert completed(text, "che") == ["check"]
    assert "--strict" in completed(text, "check", "--s")
    assert completed(text, "check", "--as", "BetaVae2") == ["BetaVae25D"]
    assert completed(text, "explain", "VC46")[:1] == ["VC460"]


@pytest.mark.parametrize("shell", SHELLS)
def test_every_script_knows_commands_and_classes(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = script(shell, capsys)
    assert [word for word in (*COMMANDS, *class_names()) if word not in text] == []


@pytest.mark.parametrize("shell", SHELLS)
def test_every_script_is_one_that_its_shell_reads(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    if not shutil.which(shell):
        pytest.skip(f"no {shell} on this machine")
    subprocess.run([shell, "-n"], input=script(shell, capsys), text=True, check=True)


def test_without_shtab_the_line_that_installs_it_is_printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["completion", "bash"]) == 2
    said = capsys.readouterr().err
    assert (
        said == "viscy-compat: completion needs shtab, which is not installed; pip install 'viscy-compat[completion]'\n"
    )

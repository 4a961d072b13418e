"""What each command answers is rendered in every format, and the file or class that it is about is named there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import fromstring

import pytest

from support.assembly import lightning, list_of, mapping, tensor, text, zipped
from support.results import REPORTS
from viscy_compat.architectures import find
from viscy_compat.architectures.architecture import complete
from viscy_compat.cli import main
from viscy_compat.gating.check import hollow
from viscy_compat.layout import TensorSpec
from viscy_compat.report import FORMATS, render
from viscy_compat.report.terminal import Style


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a whole file, a file of an older generation, and one that is no checkpoint."""
    place = tmp_path_factory.mktemp("commands")
    encoder = find("ContrastiveEncoder")
    for generation in (encoder.generations[0], encoder.generations[-1]):
        case = (generation.cases or encoder.cases)[0]
        hollow(str(place / f"{generation.name}.safetensors"), generation.layout(complete(encoder, case.config)))
    (place / "page.ckpt").write_text("<html>not found</html>")
    return place


COMMANDS = {
    "check": (["check", "{folder}"], "page.ckpt", 2),
    "a file that loads": (["check", "{folder}/v0.3.safetensors"], "v0.3.safetensors", 0),
    "remap": (["remap", "{folder}/v0.2.safetensors"], "v0.2.safetensors", 0),
    "inspect": (["inspect", "{folder}/v0.3.safetensors"], "v0.3.safetensors", 0),
    "zoo": (["zoo"], "VSCyto3D", 0),
    "explore": (["explore", "BetaVae25D", "--ask", "backbone=resnet50"], "BetaVae25D", 0),
}


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_speaks_every_format(
    command: str, format: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words, named, code = COMMANDS[command]
    assert main([*(word.format(folder=folder) for word in words), "--format", format]) == code
    out = capsys.readouterr().out
    if not (format in ("github", "sarif") and code == 0):
        # these two are made of findings, and there may be none
        assert named in out
    if format in ("json", "sarif"):
        assert json.loads(out)
    if format == "junit":
        assert fromstring(out).tag == "testsuites"


EVIL = ("::error file=a::x", "  ::add-mask::x", "##vso[task.setvariable variable=x]y", "##[error]x", "a ##teamcity[x]")


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    "words", [["inspect", "-v"], ["inspect"], ["check", "-v"], ["check"], ["remap", "--weights-only"]]
)
def test_no_name_in_a_file_is_a_command_of_a_runner(
    format: str, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """GitHub obeys lines that begin with ``::``, Azure ``##vso[`` anywhere; the file and its name may hold either."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    names = [*EVIL, *(f"{name}.weight" for name in EVIL), "model.weight"]
    entries = {name: tensor() for name in names}
    root = lightning(state_dict=mapping(entries), hyper_parameters=mapping({name: text(name) for name in EVIL}))
    Path("::error::a.ckpt").write_bytes(zipped(root, {"0": bytes(64)}))
    main([*words, "::error::a.ckpt", "--format", format])
    out, err = capsys.readouterr()
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line).strip() for line in (out + err).splitlines()]
    ours = {"::error", "::warning", "::notice"}
    begun = {line.split(" ")[0].removesuffix("::") for line in lines if line.startswith("::")}
    assert begun <= (ours if format == "github" else set())
    assert not [line for line in lines if re.search(r"##\w*\[", line)]
    if format == "json" and words[0] == "inspect":
        assert EVIL[2] in json.dumps(json.loads(out))


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("words", [["inspect", "-v"], ["inspect"], ["check", "-v"]])
def test_no_text_in_a_file_acts_on_a_terminal_or_begins_a_line(
    format: str, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    evil = text("a\nbegins\x1b[31m\u202e")
    named = mapping({"a\nbegins\x1b[31m\u202e": evil})
    rates = list_of(mapping({"state": mapping({}), "param_groups": list_of(mapping({"lr": evil}))}))
    root = lightning(optimizer_states=rates, hyper_parameters=named, **{"pytorch-lightning_version": evil})
    Path("a.ckpt").write_bytes(zipped(root))
    main([*words, "a.ckpt", "--format", format])
    out, err = capsys.readouterr()
    assert not re.search(r"^begins|[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e]", out + err, re.MULTILINE)


def test_every_mark_of_the_matrix_of_a_gate_leads_to_what_is_said_of_it() -> None:
    page = render(REPORTS["gate"](), "html", Style())
    matrix = page[page.index("<table") : page.index("</table>")]
    assert matrix.count('class="mark') == matrix.count("<a href=") == 9
    for place in re.findall('href="#(result-[0-9]+)"', matrix):
        assert f'<section id="{place}"' in page
    # what was left out is no check mark
    assert '\u25cb <span class="word">left out' in matrix


def test_a_command_that_is_stopped_is_not_said_to_hold() -> None:
    for format in ("html", "markdown", "junit", "github"):
        document = render(REPORTS["doctor"](), format, Style())
        assert "Stopped here: explore, verify; broken: surroundings." in document
    assert "| `explore` | stopped |" in render(REPORTS["doctor"](), "markdown", Style())


def test_the_page_of_a_script_holds_it_to_copy(capsys: pytest.CaptureFixture[str]) -> None:
    script = {}
    for format in ("text", "html", "markdown", "junit", "github"):
        assert main(["completion", "bash", "--format", format]) == 0
        script[format] = capsys.readouterr().out
    assert script["text"].strip() in unescape(script["html"])
    assert f"```\n{script['text'].strip()}\n```" in script["markdown"]
    for format in ("html", "markdown", "junit", "github"):
        assert "lines that completes the command line in bash." in script[format]


@pytest.mark.parametrize("command", ["check", "inspect"])
def test_what_is_said_of_a_file_is_looked_for_in_what_is_said_of_it_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """Of thousands of files, looking in the text of all would take the square of the time."""
    looked_in: list[int] = []

    def measured(data: Any, words: str, style: Any) -> Iterator[str]:
        looked_in.append(len(words))
        return iter(())

    monkeypatch.setattr("viscy_compat.report.remainder.remainder_lines", measured)
    monkeypatch.chdir(tmp_path)
    names = [f"{place}.safetensors" for place in range(8)]
    for name in names:
        hollow(name, {"w": TensorSpec((3,))})
    main([command, "-v", *names[:2]])
    few = sum(looked_in)
    main([command, "-v", *names])
    assert sum(looked_in) - few == 4 * few

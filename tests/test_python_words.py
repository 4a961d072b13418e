"""Those who typed Python read of keywords and calls, those who typed a command of flags."""

from __future__ import annotations

import inspect as python_inspect
import re
from html import unescape
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import viscy_compat as vc
from support.assembly import mapping, tensor, zipped
from support.layouts import hollow
from viscy_compat.architectures import find
from viscy_compat.architectures.architecture import complete
from viscy_compat.cli import main
from viscy_compat.comparison.failures import Failure
from viscy_compat.comparison.results import ClassResult, Origin
from viscy_compat.findings import CATALOGUE, Finding, Report
from viscy_compat.layout import quote_path
from viscy_compat.python_words import call_of, in_python, speak_python
from viscy_compat.references.recording import ReferenceResult


@pytest.mark.parametrize(
    ("flags", "keywords"),
    [
        ("add --set stem_stride=VALUE", "add config={'stem_stride': ...}"),
        ("add --ask a=VALUE --ask b=5,4,4", "add config={'a': ..., 'b': (5, 4, 4)}"),
        ("state --as CLASS, or --state-dict ADDRESS", "state class_name=CLASS, or state_dict=ADDRESS"),
        ("--weights-only says how to write", "weights_only=True says how to write"),
        ("'viscy-compat remap F --as CLASS' does; --force", "viscy_compat.remap(F, class_name=CLASS) does; force=True"),
        ("a -- b, epoch--3.ckpt", "a -- b, epoch--3.ckpt"),
        ("--config FILE.yml", "what FILE.yml has as config={...}"),
        ("the rest with --hint OLD=NEW", "the rest with hints=['OLD=NEW']"),
        ("another (--set NAME=VALUE) or (--against FILE)", "another (config={'NAME': ...}) or (against=FILE)"),
        ("add --set stem_stride=(5,4,4), then", "add config={'stem_stride': (5, 4, 4)}, then"),
        ("--drop NAME, if it may change", "drop=[NAME], if it may change"),
        ("prove it: --expect IO.safetensors", "prove it: the command's --expect IO.safetensors"),
        ("viscy-compat remap FILE -o OUT writes it", "viscy_compat.remap(FILE, OUT) writes it"),
        ("viscy-compat check old says why", "viscy-compat check old says why"),
        ("viscy-compat check runs/a.ckpt says why", "viscy_compat.check('runs/a.ckpt') says why"),
        ("viscy-compat inspect old", "viscy_compat.inspect('old')"),
        ("viscy-compat explain lists them all", "viscy-compat explain lists them all"),
        ("pip install 'viscy-compat[models]'", "pip install 'viscy-compat[models]'"),
    ],
)
def test_flags_become_keywords_and_commands_calls(flags: str, keywords: str) -> None:
    assert in_python(flags) == keywords


@pytest.mark.parametrize(
    ("command", "call"),
    [
        ("viscy-compat check a.ckpt --strict", None),
        ("viscy-compat remap a.ckpt b.ckpt", None),
        ("viscy-compat remap a.ckpt --in-place", "viscy_compat.remap('a.ckpt', in_place=True)"),
        ("viscy-compat remap a.ckpt --set backbone='1'", "viscy_compat.remap('a.ckpt', config={'backbone': 1})"),
        ("viscy-compat explain VC201", "viscy_compat.explain('VC201')"),
        ("viscy-compat remap 'a", None),
        ("viscy-compat remap a.ckpt --plan", None),
    ],
)
def test_a_command_becomes_the_call_that_does_the_same_or_stays(command: str, call: str | None) -> None:
    assert call_of(command) == call


@pytest.mark.parametrize(
    "path", ["a\nb'\\.ckpt", "\udcff.ckpt", "tab\té.ckpt", "a b\u202e\U0001f600", "it's $'x'.ckpt"]
)
def test_a_call_names_the_file_that_the_command_names_whatever_it_is_called(path: str) -> None:
    call = call_of(f"viscy-compat remap {quote_path(path)} -o {quote_path(path + '.safetensors')}")
    assert call == f"viscy_compat.remap({path!r}, {path + '.safetensors'!r})"


def keywords_of_functions() -> set[str]:
    functions = (getattr(vc, name) for name in vc.__all__ if name != "__version__")
    return {name for function in functions for name in python_inspect.signature(function).parameters}


@pytest.mark.parametrize("code", CATALOGUE)
def test_no_remedy_in_python_names_a_flag_or_a_keyword_that_no_function_has(code: str) -> None:
    words = in_python(CATALOGUE[code].remedy)
    named = set(re.findall(r"(?<![\w'])([a-z_]+)=(?=[\[{(A-Z'T.])", words))
    assert named <= keywords_of_functions() | {"weights_only", "full_state_dict"}, "those of torch aside"
    # what only a command does stays its flag
    rest = re.sub(r"the command's --[\w-]+|viscy-compat [^';]*", "", words)
    assert "--" not in rest


@pytest.fixture
def old(tmp_path: Path) -> Path:
    encoder = find("ContrastiveEncoder")
    generation = encoder.generations[0]
    config = (generation.cases or encoder.cases)[0].config
    hollow(tmp_path / "old.safetensors", generation.layout(complete(encoder, config)))
    return tmp_path / "old.safetensors"


def fixes(report: Any) -> str:
    return "\n".join(finding.fix for finding in report.findings)


def test_findings_of_functions_speak_of_keywords_and_those_of_commands_of_flags(
    old: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = vc.check(old)
    assert "config={'stem_stride': ...}" in fixes(report)
    assert "--" not in fixes(report)
    assert f"viscy_compat.remap('{old}', '{old.with_suffix('.remapped.safetensors')}'" in unescape(report._repr_html_())
    for shown in (report._repr_html_(), report.results[0]._repr_html_()):
        assert "--set" not in shown
        assert "stem_stride" in shown
    main(["check", str(old)])
    assert "--set stem_stride=VALUE" in capsys.readouterr().out


def test_what_a_refused_remap_found_speaks_python_too(old: Path) -> None:
    (result,) = vc.remap(old).results
    assert result.check is not None
    assert "--" not in "\n".join(finding.fix for finding in (*result.findings, *result.check.findings))


def test_what_inspect_finds_speaks_python_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = mapping({"w": tensor((2, 3), (3, 1))})
    twice = tmp_path / "twice.ckpt"
    twice.write_bytes(zipped(mapping({"a": state, "b": state})))
    (tmp_path / "wide.ckpt").write_bytes(zipped(mapping({"k" * 5000: tensor((2, 3), (3, 1))})))
    for file, flag, keyword in ((twice, "--state-dict", "state_dict="), (tmp_path / "wide.ckpt", "--limit", "--limit")):
        main(["inspect", str(file)])
        assert flag in "".join(capsys.readouterr())
        report = vc.inspect(file)
        for shown in (fixes(report), str(report), report._repr_html_()):
            assert keyword in shown
            assert "the command's the command's" not in unescape(shown)
            assert flag not in unescape(shown).replace("the command's --limit", "")


@pytest.mark.parametrize("code", ["VC605", "VC601", "VC604"])
def test_what_verify_finds_speaks_python_too(code: str) -> None:
    origin = Origin("recorded", "v0.4", {}, proven=False)
    note = Finding("VC503", "a note", fix="state --seed N")
    result = ClassResult("BetaVaeMonai", "v0.4", origin, 1, (Failure(code, "one"),), notes=(note,))
    said = fixes(Report("verify", [result]))
    assert "--" in said
    report = Report("verify", [result])
    speak_python(report)
    assert "--" not in fixes(report)
    assert "seed=N" in fixes(report)
    assert report.results[0] == result


def test_what_record_finds_is_a_call() -> None:
    reference: Any = SimpleNamespace(name="BetaVaeMonai", generation="v0.4")
    report = Report("record", [ReferenceResult(reference, "f.json", changed=True, checked=True, size=1)])
    assert fixes(report) == "viscy-compat record"
    speak_python(report)
    assert fixes(report) == "viscy_compat.record()"

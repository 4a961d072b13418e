"""What Python users call, see and type: the looking-up functions, what results look like, errors, types."""

from __future__ import annotations

from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest

import viscy_compat as vc
from viscy_compat.architectures import find
from viscy_compat.architectures.architecture import complete
from viscy_compat.errors import CompatError, UsageError
from viscy_compat.gating.check import hollow


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of an older generation."""
    path = tmp_path_factory.mktemp("lookup") / "old.safetensors"
    encoder = find("ContrastiveEncoder")
    generation = encoder.generations[0]
    case = (generation.cases or encoder.cases)[0]
    hollow(str(path), generation.layout(complete(encoder, case.config)))
    return path


def test_each_command_that_looks_up_is_a_function_with_the_same_report(
    old: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from viscy_compat.cli import main

    pairs = (
        (vc.inspect(old), ["inspect", str(old)]),
        (vc.zoo("vscyto2d"), ["zoo", "vscyto2d"]),
        (vc.explain("vc105"), ["explain", "VC105"]),
        (vc.explain(), ["explain"]),
        (vc.ask("BetaVae25D", latent_dim=256), ["explore", "BetaVae25D", "--ask", "latent_dim=256"]),
        (vc.ask("BetaVae25D", {"latent_dim": 256}, input=[2, 2, 16, 96, 96]), None),
    )
    for report, words in pairs:
        if words:
            assert main(words) == report.exit_code
            assert capsys.readouterr().out == f"{report}\n"
    assert pairs[-1][0].results[0].input == (2, 2, 16, 96, 96)


def test_a_list_stands_for_a_tuple() -> None:
    asked = vc.ask("BetaVae25D", {"stem_stride": [2, 4, 4]}).results[0]
    assert asked.config["stem_stride"] == (2, 4, 4)


def test_a_repr_is_a_line_that_says_what_and_how(old: Path) -> None:
    result = vc.check(old).results[0]
    assert repr(result) == f"<CheckResult {old}: remappable, ContrastiveEncoder v0.2, VC105 VC466 VC302>"
    assert repr(vc.check(old)) == f"<Report of check: 1 result, exit code 1>\n  {result!r}"
    assert repr(vc.inspect(old).results[0]) == f"<Inspection {old}: safetensors, 184 tensors>"
    assert repr(vc.inspect("nowhere.pt").results[0]).startswith("<Inspection nowhere.pt: not readable, VC4")
    assert repr(vc.ask("BetaVae25D").results[0]) == "<Answer BetaVae25D: exact>"
    assert repr(vc.remap(old).results[0]) == f"<RemapResult {old}: remappable, nothing was written, VC466 VC302>"
    assert repr(vc.explain()).splitlines()[-1].startswith("  ... and ")


class Tags(HTMLParser):
    """The tags of a fragment, and whether each is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in ("br", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_a_notebook_shows_a_fragment_whose_styles_touch_nothing_else(old: Path) -> None:
    report = vc.check(old)
    for shown in (report, report.results[0], vc.zoo().results[0], vc.ask("BetaVae25D"), vc.explain("VC105").results[0]):
        html = shown._repr_html_()
        parsed = Tags(html)
        assert parsed.open == []
        assert parsed.tags & {"html", "body", "script", "title", "link"} == set()
        style = html[html.index("<style>") + 7 : html.index("</style>")]
        assert all(part.strip().startswith((".vc", "@media")) for part in outermost(style)), outermost(style)
    assert "remappable" in report._repr_html_()
    assert f"viscy_compat.remap('{old}'" in unescape(report._repr_html_())


def outermost(style: str) -> list[str]:
    """What stands before each outermost brace."""
    found, depth, word = [], 0, ""
    for char in style:
        if char == "{" and not depth:
            found.append(word)
        depth += {"{": 1, "}": -1}.get(char, 0)
        word = "" if char in "{}" else word + char
    return found


def test_errors_of_functions_speak_of_keywords_and_those_of_commands_of_flags(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from viscy_compat.cli import main

    with pytest.raises(UsageError) as raised:
        vc.ask("BetaVaeMonai")
    assert "--" not in str(raised.value)
    assert raised.value.fix.startswith("add config={'spatial_dims': ..., ")
    assert main(["explore", "BetaVaeMonai", "--ask", "spatial_dims=2"]) == 2
    assert "--ask in_shape=VALUE" in capsys.readouterr().err


def test_a_function_of_the_package_keeps_its_name_its_words_and_its_identity() -> None:
    assert (vc.ask.__name__, vc.ask is vc.ask) == ("ask", True)
    assert "without torch" in str(vc.ask.__doc__)
    with pytest.raises(CompatError):
        vc.zoo("no such word")

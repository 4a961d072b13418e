"""Every command says everything in every format: what its JSON holds is in its text, its Markdown and its page."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from support.schema import assert_described
from support.typed import NAMES, furnish, printed
from viscy_compat.report.terminal import Style, size


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the commands are typed."""
    place = tmp_path_factory.mktemp("facts")
    furnish(place)
    return place


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every value that is no container, with the name that it has, or that its list has."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, key)
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        for item in value:
            yield from leaves(item, name)
    else:
        yield name, value


def is_said(words: str, format: str, name: str, value: Any) -> bool:
    """Whether a value stands in a report; in the cells of a table it stands without its name, but as a word."""
    if isinstance(value, bool):
        if format == "text":
            return any(
                said in words for word in (("yes", "true") if value else ("no", "false")) for said in pairs(name, word)
            )
        return name in words or name.replace("_", " ") in words
    if isinstance(value, list):
        texts = [sign.join(map(str, value)) for sign in (", ", ",", "; ")]
        return any(text in words for text in texts) or all(is_said(words, format, name, item) for item in value)
    if isinstance(value, int) and name in ("bytes", "size") and size(value) in words:
        return True
    if value == 1 and re.fullmatch(r"VC\d{3}", name):
        # a finding that stands there was found once
        return name in words
    text = re.sub(r"\s+", " ", str(value))
    if len(text) > 3 and text in words:
        return True
    if format == "text":
        return any(said in words for said in pairs(name, text))
    if name == "configurations" and f"{text} cases" in words:
        return True
    return re.search(rf"(?<![\w.]){re.escape(text)}(?![\w.])", words) is not None


def pairs(name: str, text: str) -> list[str]:
    """A value beside its name, in the ways that our formats have; reports count configurations as cases."""
    names = (name, name.removesuffix("s" if text == "1" else "\0"), {"configurations": "cases"}.get(name, name))
    return [
        said
        for name in names
        for said in (f"{name}={text}", f"{name}: {text}", f"{name} {text}", f"{text} {name}", f"{name}{text}")
    ]


class Text(HTMLParser):
    """What a page says, without its tags; cells follow each other with a blank."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.feed(page)

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def plain(format: str, document: str) -> str:
    """What a document says, without its markup and its line breaks."""
    if format == "html":
        body = document[document.index("<body>") : document.index("<script>")]
        document = " ".join(Text(body).words)
    if format == "markdown":
        document = unescape(re.sub(r"\\(.)", r"\1", document)).replace("\u200b", "").replace("`", "")
        document = document.replace(" | ", " ").replace("| ", "")
    return re.sub(r"\s+", " ", document)


IN_OTHER_WORDS = {"severity", "readable", "builds", "runs", "exact", "trains", "equal", "chosen", "total"} | {
    "predictions",
    "remap_cures",
}
"""What a report says with a word, a sign or a colour of its own."""

OF_THE_LEDGER = {"schema", "mtime_ns", "modified_ns", "mark", "inode", "tool", "folder"}
"""By what an audit knows a file again: for programs alone."""


@pytest.mark.parametrize("format", ["text", "markdown", "html"])
@pytest.mark.parametrize("name", NAMES)
def test_nothing_of_the_json_is_lost(
    name: str, format: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    report = json.loads(printed(name, capsys, monkeypatch, format="json", style=Style()))
    assert_described(report)
    document = printed(name, capsys, monkeypatch, format=format, style=Style(verbose=True))
    words = plain(format, document)
    lost = [
        f"{leaf}={value!r}"
        for leaf, value in leaves(report["results"])
        if value not in (None, "", [], {}) and leaf not in IN_OTHER_WORDS | OF_THE_LEDGER
        if not is_said(words, format, leaf, value) and (name.split(maxsplit=1)[0], leaf) != ("remap", "verdict")
    ]
    assert lost == []


@pytest.mark.parametrize("format", ["text", "markdown", "html", "junit", "github"])
@pytest.mark.parametrize("name", NAMES)
def test_no_finding_and_no_command_is_added(
    name: str, format: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    report = printed(name, capsys, monkeypatch, format="json", style=Style())
    document = printed(name, capsys, monkeypatch, format=format, style=Style(verbose=True))
    assert {*re.findall(r"VC\d{3}", document)} <= {*re.findall(r"VC\d{3}", report)}
    assert {row["code"] for result in json.loads(report)["results"] for row in result.get("findings", ())} <= {
        *re.findall(r"VC\d{3}", document)
    }


@pytest.mark.parametrize("format", ["github", "junit"])
@pytest.mark.parametrize("name", ["ask", "ask exact", "ask impossible", "zoo", "explain", "inspect", "diff"])
def test_what_was_asked_for_is_in_the_formats_of_runners_too(
    name: str, format: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    document = unescape(printed(name, capsys, monkeypatch, format=format, style=Style()))
    answer = {
        "ask": "height 200 comes back as 384",
        "ask exact": "exact",
        "ask impossible": "does not run",
        "zoo": "UNeXt2, generation v0.1",
        "explain": "the layout is that of an older generation",
        "inspect": "4 tensors",
        "diff": "3 tensors of the same name, shape and dtype",
    }[name]
    assert answer in document.replace("%25", "%").replace("%2C", ",")

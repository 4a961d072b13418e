"""The page that checks checkpoints in a browser says what the command says, reads little, and asks no other host.

It runs in headless Chromium on the loopback; `python3 tools/dev.py try --test` installs what it needs.
"""

from __future__ import annotations

import importlib.util
import json
import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

from hostile.generator import MARKER, cases_of, execution
from support.browser import Browser, program, served
from support.huge import zip64
from support.old_checkpoints import make
from viscy_compat.architectures import find
from viscy_compat.architectures.architecture import complete
from viscy_compat.gating.check import hollow
from viscy_compat.layout import TensorSpec

ROOT = Path(__file__).resolve().parents[2]
ENCODER = {"backbone": "convnext_tiny", "in_channels": 2, "in_stack_depth": 15, "stem_kernel_size": [5, 4, 4]}
MOST_READ = 4_000_000
"""Bytes that a verdict on a file of any size may read."""


def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_try", ROOT / "tools" / "build_try.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Answer(NamedTuple):
    """What the page shows of the newest drop."""

    json: str
    read: int
    text: str


class Page:
    """The page in one Chromium."""

    def __init__(self, browser: Browser, address: str, folder: Path) -> None:
        self.browser, self.address, self.folder = browser, address, folder

    def fresh(self) -> None:
        self.browser.open(self.address)

    def choose(self, files: Sequence[Path], *, selector: str = "#files") -> Answer:
        count = self.browser.value("document.querySelectorAll('.run').length")
        self.browser.choose(selector, files)
        return self.shown(count + 1)

    def drop(self, files: Sequence[Path]) -> Answer:
        count = self.browser.value("document.querySelectorAll('.run').length")
        self.browser.drop("#drop", files)
        return self.shown(count + 1)

    def shown(self, count: int) -> Answer:
        self.browser.wait(f"document.querySelectorAll('.run').length == {count}")
        return self.answer(1)

    def again(self) -> Answer:
        """Press the button below the newest drop, and wait for what it brings."""
        before = int(self.browser.value("document.querySelector('.run').dataset.answers"))
        self.browser.value("document.querySelector('.states button').click()")
        return self.answer(before + 1)

    def answer(self, number: int) -> Answer:
        self.browser.wait(f"document.querySelector('.run').dataset.answers == {number}")
        first = "document.querySelector('.run')"
        json = self.browser.value(f"{first}.querySelector('pre.json')?.textContent ?? ''")
        read = self.browser.value(f"Number({first}.querySelector('.read')?.dataset.bytes ?? -1)")
        return Answer(json, read, self.browser.value(f"{first}.innerText"))

    def inspected(self) -> str:
        """Open what is in the first file of the newest drop: the JSON of ``inspect``."""
        self.browser.value("document.querySelector('.run').querySelector('.card > details').open = true")
        return str(self.browser.wait("document.querySelector('.run').querySelector('pre.inspected-json')?.textContent"))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The page, built and open."""
    if program() is None:
        pytest.skip("no Chromium on this machine")
    build_try = tool()
    try:
        folder = build_try.build(tmp_path_factory.mktemp("try") / "built")
    except build_try.NotBuilt as reason:
        pytest.skip(str(reason))
    with served(folder) as (address, _), Browser(tmp_path_factory.mktemp("profile")) as browser:
        page = Page(browser, address, folder)
        page.fresh()
        yield page
        # the policy of the page was never tried by the page itself, and nothing was fetched from elsewhere
        assert browser.said == []
        assert {
            where for where in browser.fetched if not where.startswith((address, f"blob:{address}", "data:"))
        } == set()


def printed(folder: Path, *words: str) -> str:
    """What the command prints, without its last newline."""
    command = [sys.executable, "-m", "viscy_compat", *words]
    environment = {
        name: text for name, text in os.environ.items() if name not in ("FORCE_COLOR", "GITHUB_STEP_SUMMARY")
    }
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True).stdout.rstrip("\n")


def check(folder: Path, *names: str) -> str:
    return printed(folder, "check", "--format", "json", "--", *names)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A file of a known class that needs no torch to be written."""
    architecture = find("BetaVaeMonai")
    hollow(
        str(tmp_path / "small.safetensors"), architecture.layout(complete(architecture, architecture.cases[0].config))
    )
    return tmp_path / "small.safetensors"


def test_the_bridge_runs_commands_without_a_browser_too(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(small.parent)  # which is also gone back from
    bridge = runpy.run_path(str(ROOT / "docs" / "try" / "bridge.py"))
    assert "ContrastiveEncoder" in bridge["about"]()["classes"]
    got = bridge["answer"](str(small.parent), ["check", "--format", "json", "--", small.name])
    assert (got["code"], got["errors"], got["out"].rstrip("\n")) == (0, "", check(small.parent, small.name))
    assert got["text"].startswith(f"{small.name}: compatible")
    wrong = bridge["answer"](str(small.parent), ["check", "--nonsense", "a.ckpt"])
    assert (wrong["code"], wrong["out"]) == (2, "")
    assert "--nonsense" in wrong["errors"]


@pytest.mark.torch
@pytest.mark.index
def test_real_old_checkpoints_get_the_json_of_the_command(page: Page, tmp_path: Path) -> None:
    vae = {
        "class": "BetaVae25D",
        "config": {"backbone": "resnet50", "in_stack_depth": 16, "input_spatial_size": [64, 64]},
    }
    names = ["last.ckpt", "epoch=48-step=18130.safetensors", "a folder/best model (1).ckpt", "legacy.pth"]
    (tmp_path / "a folder").mkdir()
    encoder = {"class": "ContrastiveEncoder", "config": ENCODER, "optimizer": False}
    make("0.2.1", [{**encoder, "out": tmp_path / names[0], "flavour": "lightning", "optimizer": True}])
    jobs = [
        {**encoder, "out": tmp_path / names[1], "flavour": "safetensors"},
        {**vae, "out": tmp_path / names[2], "flavour": "ddp", "optimizer": False},
        {**encoder, "out": tmp_path / names[3], "flavour": "legacy"},
    ]
    make("0.4.0", jobs)
    for name in names:
        path = tmp_path / name
        answer = page.choose([path])
        assert answer.json == check(path.parent, path.name)
        assert answer.read <= MOST_READ
        assert page.inspected() == printed(path.parent, "inspect", "--format", "json", "--", path.name)
    together = page.drop([tmp_path / names[0], tmp_path / "a folder", tmp_path / names[3]])
    assert together.json == check(tmp_path, "a folder", names[0], names[3])


def test_what_is_pasted_and_what_is_not_known_is_shown(page: Page, tmp_path: Path) -> None:
    encoder = find("ContrastiveEncoder")
    old = encoder.generations[0]
    hollow(str(tmp_path / "old.safetensors"), old.layout(complete(encoder, (old.cases or encoder.cases)[0].config)))
    answer = page.choose([tmp_path / "old.safetensors"])
    result = json.loads(answer.json)["results"][0]
    assert (result["verdict"], result["architecture"]["sources"]["stem_stride"]) == ("remappable", "not known")
    for line in ("remappable: it loads once it is rewritten", result["next"], result["python"], "VC302"):
        assert line in answer.text
    cells = "[...document.querySelectorAll('.run tr')].find((row) => row.innerText.startsWith('stem_stride')).innerText"
    assert page.browser.value(cells).split() == ["stem_stride", "...", "not", "known"]


def test_what_is_stated_counts_as_on_the_command_line(page: Page, tmp_path: Path) -> None:
    encoder = find("ContrastiveEncoder")
    hollow(str(tmp_path / "new.safetensors"), encoder.layout(complete(encoder, encoder.cases[0].config)))
    page.choose([tmp_path / "new.safetensors"])
    page.browser.value("document.querySelector('.states textarea').value = 'stem_stride=5,4,4\\n'")
    page.browser.value("document.querySelector('.states select').value = 'ContrastiveEncoder'")
    got = page.again().json
    stated = ("--as", "ContrastiveEncoder", "--set", "stem_stride=5,4,4")
    assert got == printed(tmp_path, "check", "--format", "json", *stated, "--", "new.safetensors")
    page.browser.value("document.querySelector('.states textarea').value = 'stem_strid=5,4,4'")
    refused = page.again()
    assert refused.json == ""
    assert "stem_stride" in page.browser.value("document.querySelector('.run').querySelector('.error').textContent")


def test_hostile_files_run_nothing_and_get_the_json_of_the_command(page: Page, tmp_path: Path) -> None:
    files = []
    for row in execution():
        if row.name in ("os.system", "eval", "dotted name"):
            files.append(tmp_path / f"{row.name}.ckpt")
            files[-1].write_bytes(row.content)
    (tmp_path / "page.ckpt").write_text("<!doctype html><img src=x onerror=alert(1)>")
    (tmp_path / "<img src=x onerror=alert(1)>.ckpt").write_bytes(b"")
    answer = page.drop([*files, tmp_path / "page.ckpt", tmp_path / "<img src=x onerror=alert(1)>.ckpt"])
    assert answer.json == check(tmp_path, *sorted(path.name for path in tmp_path.iterdir()))
    assert not list(tmp_path.rglob(MARKER))
    assert page.browser.value("document.querySelectorAll('.run img').length") == 0


def test_a_file_that_ends_python_is_a_sentence_and_the_page_goes_on(page: Page, small: Path) -> None:
    """Modules within modules overflow the stack of the browser when they are let go, where a terminal has room."""
    deep = next(row for row in cases_of("bombs") if row.name == "deep modules")
    (small.parent / "deep.ckpt").write_bytes(deep.content)
    answer = page.choose([small.parent / "deep.ckpt"])
    assert answer.json == ""
    said = "Python ended while it read deep.ckpt (Maximum call stack size exceeded). It was started again"
    assert said in answer.text
    answer = page.choose([small, small.parent / "deep.ckpt"])
    assert said in answer.text
    assert answer.json == check(small.parent, small.name)
    del page.browser.said[:]  # Pyodide writes where it ended


def test_a_file_that_ends_python_costs_its_folder_no_other_verdict(page: Page, small: Path) -> None:
    runs = small.parent / "runs"
    (runs / "b").mkdir(parents=True)
    small.rename(runs / "a.safetensors")
    shutil.copy(runs / "a.safetensors", runs / "b" / "last.safetensors")
    deep = next(row for row in cases_of("bombs") if row.name == "deep modules")
    without = check(small.parent, "runs")
    for name in ("0.ckpt", "b/deep.ckpt"):
        (runs / name).write_bytes(deep.content)
    for answer in (page.drop([runs]), page.choose([runs], selector="#folder")):
        assert answer.json == without
        for name in ("0.ckpt", "b/deep.ckpt"):
            assert f"Python ended while it read runs/{name} (" in answer.text
    del page.browser.said[:]  # Pyodide writes where it ended


def test_the_page_says_which_file_of_a_drop_it_reads(page: Page, small: Path) -> None:
    files = [small]
    for name in ("b", "c"):
        files.append(small.with_name(f"{name}.safetensors"))
        shutil.copy(small, files[-1])
    page.browser.value(
        "window.said = []; new MutationObserver(() => said.push(document.getElementById('status').textContent))"
        ".observe(document.getElementById('status'), {childList: true}); 0"
    )
    page.choose(files)
    said = page.browser.value("said.filter((line) => line.includes(' of 3)')).sort()")
    names = sorted(path.name for path in files)
    assert said == [f"Reading {name} ({place} of 3) ..." for place, name in enumerate(names, 1)]


SLOW = """
window.late = [];
const later = setTimeout;
window.setTimeout = (call, time, ...rest) => time >= 180000 ? -late.push(call) : later(call, time, ...rest);
window.Worker = class extends Worker {
  postMessage(question, ...rest) {
    if (!question.files.some(([path]) => path === "slow.ckpt")) return super.postMessage(question, ...rest);
    const data = { kind: "reading", id: question.id, file: "slow.ckpt" };
    later(() => this.dispatchEvent(new MessageEvent("message", { data })));
  }
};
"""
"""A worker that never answers about one file; the timers of files are run by hand."""


def test_a_file_that_takes_too_long_is_left_out_and_named(page: Page, small: Path) -> None:
    (small.parent / "slow.ckpt").write_bytes(b"")
    script = page.browser.ask("Page.addScriptToEvaluateOnNewDocument", source=SLOW)["identifier"]
    try:
        page.fresh()
        page.browser.wait("document.getElementById('status').textContent == 'Ready.'")
        page.browser.choose("#files", [small, small.parent / "slow.ckpt"])
        page.browser.wait("document.getElementById('status').textContent.startsWith('Reading slow.ckpt (1 of 2)')")
        page.browser.value("late.at(-1)()")
        answer = page.shown(1)
    finally:
        page.browser.ask("Page.removeScriptToEvaluateOnNewDocument", identifier=script)
        page.fresh()
    assert "Python ended while it read slow.ckpt (it took longer than three minutes)." in answer.text
    assert answer.json == check(small.parent, small.name)


def test_a_file_of_gigabytes_is_read_by_slices(page: Page, tmp_path: Path) -> None:
    encoder = find("ContrastiveEncoder")
    layout = encoder.layout(complete(encoder, encoder.cases[0].config))
    hollow(str(tmp_path / "trained.safetensors"), {**layout, "optimizer.moments": TensorSpec((750_000_000,))})
    assert (tmp_path / "trained.safetensors").stat().st_size > 3_000_000_000
    zip64(tmp_path / "beyond.ckpt")
    for name in ("trained.safetensors", "beyond.ckpt"):
        answer = page.choose([tmp_path / name])
        assert answer.json == check(tmp_path, name)
        assert 0 < answer.read <= MOST_READ


def test_a_folder_is_walked_as_the_command_walks_it(page: Page, small: Path) -> None:
    folder = small.parent / "runs" / "constructor" / "__proto__"
    folder.mkdir(parents=True)
    small.rename(folder / "last.safetensors")
    (small.parent / "runs" / "notes.txt").write_text("no checkpoint")
    (small.parent / "runs" / "broken.ckpt").write_bytes(b"PK\x03\x04")
    want = check(small.parent, "runs")
    assert '"compatible"' in want
    assert page.drop([small.parent / "runs"]).json == want
    assert page.choose([small.parent / "runs"], selector="#folder").json == want
    assert "2 checkpoints: 1 unreadable, 1 compatible" in page.browser.value(
        "document.querySelector('.tally').textContent"
    )


def test_a_file_that_changes_is_a_sentence(page: Page, small: Path) -> None:
    answer = page.choose([small])
    assert '"compatible"' in answer.json
    os.utime(small, ns=(1, 1))
    small.write_bytes(small.read_bytes() + b"x")
    assert json.loads(page.again().json)["results"][0]["findings"][0]["code"] == "VC402"


def test_a_run_can_be_stopped_and_the_page_goes_on(page: Page, small: Path) -> None:
    # pressed the moment it appears, which is before any answer can be heard
    page.browser.value("""const stop = document.getElementById('stop');
        const press = (_, watch) => { watch.disconnect(); stop.click(); };
        new MutationObserver(press).observe(stop, {attributeFilter: ['hidden']});""")
    page.browser.choose("#files", [small])
    assert "it was stopped" in page.browser.wait("document.querySelector('.run').querySelector('.error')?.textContent")
    answer = page.choose([small])
    assert '"compatible"' in answer.json


def test_text_that_is_dropped_is_a_sentence(page: Page) -> None:
    page.browser.value("""document.getElementById('drop').dispatchEvent(Object.assign(new Event('drop', {bubbles: true}),
        {dataTransfer: {items: [{webkitGetAsEntry: () => null}]}}))""")
    assert page.browser.wait("document.getElementById('status').textContent.startsWith('That was not a file')")


def test_the_page_says_which_versions_it_runs(page: Page) -> None:
    from viscy_compat import __version__

    page.fresh()
    page.browser.wait("document.body.dataset.whole")
    said = page.browser.value("document.getElementById('versions').textContent")
    wheel = f"viscy_compat-{__version__}-py3-none-any.whl"
    assert said.startswith(f"viscy-compat {__version__} ({wheel}), Pyodide {tool().PYODIDE}, Python 3.")


def test_no_other_host_can_be_asked(page: Page) -> None:
    """The policy holds in the page and in workers made as the page makes its own: asked, the browser refuses."""
    ask = f"""new Promise((heard) => {{
        const worker = new Worker(URL.createObjectURL(new Blob([{json.dumps(SPY)}], {{type: 'text/javascript'}})));
        worker.onmessage = (event) => heard(event.data);
    }})"""
    assert page.browser.value(ask) == "refused by connect-src"
    del page.browser.said[:]  # the browser complains in its console of what was tried here
    page.browser.fetched[:] = [where for where in page.browser.fetched if not where.startswith("http://127.0.0.1:1/")]


SPY = """addEventListener('securitypolicyviolation', (event) => postMessage('refused by ' + event.effectiveDirective));
const ended = (how) => setTimeout(() => postMessage(how), 1000);
fetch('http://127.0.0.1:1/').then(() => ended('asked'), () => ended('failed without a policy'));
"""


@pytest.mark.parametrize("memory", ["none", "cut"])
def test_without_a_whole_snapshot_python_is_started(page: Page, small: Path, memory: str, tmp_path: Path) -> None:
    page.browser.open(page.address)
    assert page.browser.wait("document.body.dataset.snapshot") == "true"
    folder = shutil.copytree(page.folder, tmp_path / "copy")
    kept = (folder / "snapshot.bin.gz").read_bytes()
    (folder / "snapshot.bin.gz").write_bytes(kept[: len(kept) // 2])
    if memory == "none":
        (folder / "snapshot.bin.gz").unlink()
    with served(folder) as (address, _):
        other = Page(page.browser, address, folder)
        other.fresh()
        assert other.choose([small]).json == check(small.parent, small.name)
        assert page.browser.value("document.body.dataset.snapshot") == "false"
    page.browser.fetched[:] = [where for where in page.browser.fetched if address not in where]
    # what the page notes of it for whoever looks into the console
    assert [line for line in page.browser.said if "starting without the snapshot" not in line] == []
    del page.browser.said[:]
    page.fresh()


def test_a_missing_part_of_the_folder_is_a_sentence(page: Page, tmp_path: Path) -> None:
    for part in ("index.html", "page.css", "page.js", "cards.js", "gather.js", "worker.js"):
        (tmp_path / part).write_bytes((ROOT / "docs" / "try" / part).read_bytes())
    with served(tmp_path) as (address, _):
        page.browser.open(address)
        said = page.browser.wait(
            "(s => s.startsWith('Python could not') && s)(document.getElementById('status').textContent)"
        )
        assert "versions.json is missing beside this page (404): build the folder again" in said
    page.browser.fetched[:] = [where for where in page.browser.fetched if address not in where]
    page.fresh()

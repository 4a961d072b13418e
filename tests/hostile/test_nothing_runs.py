"""Nothing that a file names is imported or called: an audit hook sees every import, open and process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hostile.generator import HONEST_LIGHTNING, HONEST_SAFETENSORS, HONEST_STREAM, MARKER, execution
from support.assembly import call, lightning, name, text, zipped

WATCH = """
import json, os, sys
seen = []
def hook(event, args):
    if event == "import" or event.split(".")[0] in ("exec", "compile", "subprocess", "ctypes", "socket") or event in (
        "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.mkdir", "os.remove", "pty.spawn", "shutil.rmtree",
    ):
        seen.append((event, str(args[0])[:80] if args else ""))
    if event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        seen.append((event, str(args[0])))
"""

READ = (
    WATCH
    + """
import importlib, pkgutil, viscy_compat.checkpoint
for module in pkgutil.iter_modules(viscy_compat.checkpoint.__path__, "viscy_compat.checkpoint."):
    importlib.import_module(module.name)  # our own rooms, some of which are entered late
from viscy_compat.checkpoint import open_checkpoint
from viscy_compat.checkpoint.inspection import inspect_checkpoint
from viscy_compat.errors import UnreadableCheckpoint
from viscy_compat.findings import Report
from viscy_compat.report import render
from viscy_compat.report.terminal import Style
def read(path):
    try:
        result = inspect_checkpoint(open_checkpoint(path), every_byte=True)
    except UnreadableCheckpoint:
        return
    for format in ("text", "json"):
        render(Report("inspect", [result]), format, Style(verbose=True))
honest, hostile = sys.argv[1:4], sys.argv[4:]
for path in honest:
    read(path)  # what the reader itself imports when it first meets a kind of file is not the file's doing
sys.addaudithook(hook)
for path in hostile:
    seen.clear()
    read(path)
    print(json.dumps(seen))
"""
)

LOAD = (
    WATCH
    + """
import pickle, zipfile
class Loader(pickle.Unpickler):
    def persistent_load(self, identity):
        return identity
    def find_class(self, module, name):
        return (lambda *args: None) if module.startswith("torch") else super().find_class(module, name)
archive = zipfile.ZipFile(sys.argv[1])
sys.addaudithook(hook)
with archive.open("archive/data.pkl") as file:
    try:
        Loader(file).load()
    except Exception:
        pass
print(json.dumps(seen))
"""
)

HONEST = (HONEST_LIGHTNING, HONEST_STREAM, HONEST_SAFETENSORS)


def watched(program: str, folder: Path, *paths: Path) -> list[list[list[str]]]:
    command = [sys.executable, "-c", program, *map(str, paths)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_reading_hostile_files_imports_and_calls_nothing_that_they_name(tmp_path: Path) -> None:
    cases = list(execution())
    contents = [*HONEST, *(case.content for case in cases)]
    paths = [tmp_path / f"{index}.ckpt" for index in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    for case, events in zip(cases, watched(READ, tmp_path, *paths), strict=True):
        assert not events, case.name
    assert not (tmp_path / MARKER).exists()


@pytest.mark.parametrize(
    ("module", "attribute", "argument", "event"),
    [("os", "system", f"touch {MARKER}", "os.system"), ("os", "mkdir", MARKER, "os.mkdir")],
)
def test_the_hook_fires_and_the_marker_appears_when_the_same_file_is_unpickled(
    tmp_path: Path, module: str, attribute: str, argument: str, event: str
) -> None:
    """The positive control: the payloads do what they say."""
    path = tmp_path / "a.ckpt"
    path.write_bytes(zipped(lightning(x=call(name(module, attribute), text(argument)))))
    (events,) = watched(LOAD, tmp_path, path)
    assert event in [seen for seen, _ in events]
    assert (tmp_path / MARKER).exists()


def test_the_hook_sees_an_import_when_the_same_file_is_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    path.write_bytes(zipped(lightning(x=name("this_package_is_nowhere", "x"))))
    (events,) = watched(LOAD, tmp_path, path)
    assert ["import", "this_package_is_nowhere"] in events

"""What the isolation line says is what a try comes to, layer by layer; old code cannot undo it. No torch is imported."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from viscy_compat.workers import worker as workers
from viscy_compat.workers.program import confinement as program

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="namespaces and Landlock are Linux's")

PROBE = """
import ctypes, json, os, sys
spec_path, folder, outside, layers = sys.argv[1:5]
import importlib.util
spec = importlib.util.spec_from_file_location("confinement", spec_path)
program = importlib.util.module_from_spec(spec)
spec.loader.exec_module(program)
if "namespaces" not in layers:
    program._unshare = lambda flags: False
if "landlock" not in layers:
    program._landlock = lambda folder: False
program._places = lambda: {"home": outside}
confinement = program.Confinement()
confinement.enter()
confinement.seal(folder)

def tried(what):
    try:
        what()
        return "done"
    except OSError as error:
        return os.strerror(error.errno)

def write(path, mode="w"):
    with open(path, mode) as stream:
        stream.write("changed")

def native():
    # what strange code would do that does not go through Python's own functions
    descriptor = ctypes.CDLL(None, use_errno=True).open(f"{outside}/native".encode(), os.O_CREAT | os.O_WRONLY, 0o600)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), "open")

def undo():
    if not program._set_mount(b"/", program.AT_RECURSIVE, clear=program.MOUNT_ATTR_RDONLY):
        raise OSError(ctypes.get_errno(), "mount_setattr")

def anew():
    # a namespace of one's own gives capabilities again, but not over what was locked outside it
    if ctypes.CDLL(None, use_errno=True).unshare(program.CLONE_NEWUSER | program.CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    undo()
    write(f"{outside}/anew")

print(json.dumps({
    "said": list(confinement.measured(folder)),
    "new": tried(lambda: write(f"{outside}/new")),
    "existing": tried(lambda: write(f"{outside}/precious")),
    "append": tried(lambda: write(f"{outside}/precious", "a")),
    "remove": tried(lambda: os.unlink(f"{outside}/precious")),
    "rename": tried(lambda: os.rename(f"{folder}/own", f"{outside}/moved")),
    "native": tried(native),
    "undo": tried(undo),
    "own": tried(lambda: write(f"{folder}/own")),
    "nothing": tried(lambda: write(os.devnull)),
    "read": tried(lambda: open(f"{outside}/precious").close()),
    "program": tried(lambda: os.execv("/bin/true", ["true"]) if "landlock" in layers else None),
    "anew": tried(anew),
    "processes": sorted(int(name) for name in os.listdir("/proc") if name.isdigit()),
}))
"""

ALLOWED = ("own", "nothing", "read")
CHANGES = ("new", "existing", "append", "remove", "rename", "native")


def has_namespaces() -> bool:
    return subprocess.run([sys.executable, "-c", UNSHARES], capture_output=True).returncode == 0


def has_landlock() -> bool:
    return int(program._libc().syscall(program.SYS_LANDLOCK_CREATE, None, ctypes.c_size_t(0), 1)) >= 3


UNSHARES = f"""
import ctypes, sys
sys.exit(ctypes.CDLL(None).unshare({program.CLONE_NEWUSER | program.CLONE_NEWNET | program.CLONE_NEWNS | 0x20000000}))
"""
needs_namespaces = pytest.mark.skipif(
    sys.platform == "linux" and not has_namespaces(), reason="no user namespaces here"
)
needs_landlock = pytest.mark.skipif(sys.platform == "linux" and not has_landlock(), reason="no Landlock here")


def probed(tmp_path: Path, layers: str, *, launched: bool = False) -> dict[str, Any]:
    """Confine a process with these layers alone, and let it try what it must not do."""
    folder, outside = tmp_path / "own folder", tmp_path / "outside"
    for place in (folder, outside):
        place.mkdir()
    (folder / "own").touch()
    (outside / "precious").write_text("precious")
    words = [sys.executable, "-SE", "-c", PROBE, program.__file__, str(folder), str(outside), layers]
    launcher = workers._launcher(str(tmp_path / "nowhere")) if launched else []
    done = subprocess.run([*launcher, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    told["precious"] = (outside / "precious").read_text() if (outside / "precious").exists() else None
    told["left"] = sorted(path.name for path in outside.iterdir())
    return told


@pytest.mark.parametrize(
    ("layers", "named"),
    [
        pytest.param("namespaces", "mount namespace", marks=needs_namespaces),
        pytest.param("landlock", "Landlock", marks=needs_landlock),
        pytest.param("namespaces landlock", "mount namespace, Landlock", marks=[needs_namespaces, needs_landlock]),
    ],
)
def test_each_layer_alone_keeps_files_as_they_are(tmp_path: Path, layers: str, named: str) -> None:
    told = probed(tmp_path, layers)
    assert f"files read-only but for its own folder ({named})" in told["said"]
    assert {name: told[name] for name in ALLOWED} == dict.fromkeys(ALLOWED, "done")
    assert "done" not in [told[name] for name in (*CHANGES, "undo", "anew")]
    assert (told["precious"], told["left"]) == ("precious", ["precious"])


def test_without_any_layer_it_says_what_can_be_written(tmp_path: Path) -> None:
    """The honest twin: nothing is called protected that is not."""
    told = probed(tmp_path, "none")
    assert "writable: home" in told["said"]
    assert "network blocked in Python alone" in told["said"]
    assert not [line for line in told["said"] if "read-only" in line or "Landlock" in line or "namespace" in line]
    assert told["new"] == told["native"] == "done"


@needs_namespaces
def test_the_network_is_gone_for_native_code_too(tmp_path: Path) -> None:
    assert "no network (namespace)" in probed(tmp_path, "namespaces")["said"]


@needs_landlock
def test_no_program_can_be_started(tmp_path: Path) -> None:
    told = probed(tmp_path, "landlock")
    assert "no new programs (Landlock)" in told["said"]
    assert told["program"] == "Permission denied"


@needs_namespaces
def test_behind_the_launcher_no_other_process_is_in_sight(tmp_path: Path) -> None:
    for name in ("launched", "bare"):
        (tmp_path / name).mkdir()
    told = probed(tmp_path / "launched", "namespaces landlock", launched=True)
    assert "no other process in sight (PID namespace)" in told["said"]
    assert len(told["processes"]) == 2
    assert "other processes in sight" in probed(tmp_path / "bare", "namespaces")["said"]


def test_what_a_kernel_does_not_know_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An older kernel answers -1 to every call that it does not have."""

    class Older:
        def __getattr__(self, name: str) -> Any:
            return lambda *_: -1

    monkeypatch.setattr(program, "_libc", Older)
    monkeypatch.setattr(program, "_places", lambda: {"home": str(tmp_path)})
    confinement = program.Confinement()
    confinement.enter()
    confinement.seal(str(tmp_path))
    assert (confinement.network, confinement.mounts, confinement.layers) == (False, False, [])
    assert "writable: home" in list(confinement.measured(str(tmp_path)))
    assert os.listdir(tmp_path) == []

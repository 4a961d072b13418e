"""Killed at any moment, on a full disc, under a limit, without permission, twice at once: the input is untouched, the
output is whole or absent, and the next run sweeps what is left."""

from __future__ import annotations

import os
import resource
import signal
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from support.duress import Place, in_a_child
from support.uncounted import uncounted
from viscy_compat.errors import OutputRefused
from viscy_compat.rewrite import copies, write
from viscy_compat.rewrite.output import ENDING

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(params=[".safetensors", ".ckpt"])
def place(tmp_path: Path, request: pytest.FixtureRequest) -> Place:
    return Place(tmp_path, request.param)


@pytest.mark.long
@pytest.mark.parametrize("ending", [".safetensors", ".ckpt"])
def test_killed_at_a_hundred_random_moments_fifty_for_each_format(tmp_path: Path, ending: str) -> None:
    holds_in_a_small_process("killed at random moments", tmp_path, ending)


@pytest.mark.long
@pytest.mark.parametrize("ending", [".safetensors", ".ckpt"])
@pytest.mark.parametrize("law", ["killed at each call", "killed at each call in place"])
def test_killed_at_each_call_of_the_system(tmp_path: Path, ending: str, law: str) -> None:
    holds_in_a_small_process(law, tmp_path, ending)


def holds_in_a_small_process(law: str, folder: Path, ending: str) -> None:
    """A fork costs what its process holds: these are hundreds, and the process of the tests may hold torch."""
    words = [sys.executable, "-c", "from support import duress; duress.main()", law, str(folder), ending]
    environment = {**uncounted(), "PYTHONPATH": str(ROOT / "tests")}
    done = subprocess.run(words, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_that_asks_to_end_leaves_nothing_behind(place: Place, number: int) -> None:
    """It comes while the second piece is being written; the next run has nothing to sweep."""

    def ended() -> None:
        from viscy_compat.cli import main

        written, pieces = os.pwrite, []

        def writing(descriptor: int, data: Any, position: int, /) -> int:
            if any(name.endswith(ENDING) for name in place.left()):
                pieces.append(descriptor)
            if len(pieces) == 2:
                os.kill(os.getpid(), number)
            return written(descriptor, data, position)

        os.pwrite = writing
        os._exit(main(["remap", str(place.source), "-o", str(place.out), "--plan", str(place.plan), "-q"]))

    _, status = os.waitpid(in_a_child(ended), 0)
    assert os.waitstatus_to_exitcode(status) == 128 + number
    assert place.left() == []
    assert place.source.read_bytes() == place.original


def test_a_limit_on_file_sizes_is_said_and_leaves_nothing(place: Place) -> None:
    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        with pytest.raises(OutputRefused, match="File too large; nothing was written; raise the limit"):
            place.run()
        os._exit(7)

    _, status = os.waitpid(in_a_child(limited), 0)
    assert os.waitstatus_to_exitcode(status) == 7
    assert place.left() == []
    assert place.holds()


def test_a_full_disc_is_said_and_leaves_nothing(place: Place) -> None:
    """On a tmpfs of 1 MB in a mount namespace of its own."""
    command = (
        f"mount -t tmpfs -o size=1m none {place.out.parent} && "
        f"{sys.executable} -m viscy_compat remap {place.source} --plan {place.plan} -o {place.out}; "
        f"echo exit $? left $(ls -A {place.out.parent})"
    )
    done = subprocess.run(["unshare", "-m", "-r", "sh", "-c", command], capture_output=True, text=True)
    if "mount:" in done.stderr or "unshare:" in done.stderr:
        pytest.skip("no mount namespaces here")
    assert done.stdout.splitlines()[-1] == "exit 2 left"
    assert "the disc has" in done.stderr
    assert "make room" in done.stderr


def test_a_disc_that_fills_up_on_the_way_leaves_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The free space that the system states is not always what one gets (quotas)."""
    real, left = os.pwrite, [1 << 20]

    def full(descriptor: int, data: bytes, position: int) -> int:
        left[0] -= len(data)
        if left[0] < 0:
            raise OSError(28, "No space left on device")
        return real(descriptor, data, position)

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OutputRefused, match="No space left on device; nothing was written; make room"):
        place.run()
    assert place.left() == []


def test_short_writes_are_continued(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwrite

    def half(descriptor: int, data: bytes, position: int) -> int:
        return real(descriptor, data[: max(1, len(data) // 2)], position)

    monkeypatch.setattr(os, "pwrite", half)
    place.run()
    assert place.out.read_bytes() == place.whole


@pytest.mark.parametrize("ending", [".safetensors", ".ckpt"])
def test_a_read_only_folder_is_said(ending: str) -> None:
    def unprivileged() -> None:
        if os.getuid() == 0:
            os.setuid(65534)
        with pytest.raises(OutputRefused, match="Permission denied; nothing was written; choose a folder"):
            target.run()
        os._exit(7)

    with tempfile.TemporaryDirectory() as folder:
        target = Place(Path(folder), ending)
        target.folder.chmod(0o755)
        target.out.parent.chmod(0o555)
        _, status = os.waitpid(in_a_child(unprivileged), 0)
        assert os.waitstatus_to_exitcode(status) == 7
        assert target.left() == []


def test_of_two_runs_at_once_one_writes_and_the_other_is_refused(place: Place) -> None:
    def timid() -> None:
        try:
            place.run()
        except OutputRefused:
            os._exit(2)
        os._exit(0)

    for _ in range(5):
        place.out.unlink(missing_ok=True)
        children = [in_a_child(timid) for _ in range(3)]
        codes = sorted(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children)
        assert codes[0] == 0
        assert set(codes) <= {0, 2}
        assert codes.count(0) == 1
        assert place.holds()
        assert place.left() == [place.out.name]


def test_an_input_that_changes_meanwhile_gives_no_output(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    from viscy_compat.errors import UnreadableCheckpoint
    from viscy_compat.rewrite.output import Output

    sync = Output.sync

    def disturbed(output: Output) -> None:
        sync(output)
        os.utime(place.source)

    monkeypatch.setattr(Output, "sync", disturbed)
    with pytest.raises(UnreadableCheckpoint, match="changed while it was read"):
        place.run()
    assert place.left() == []


@pytest.fixture(params=["one thread", "threads"])
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the small files of this page be read, settled and compared as large ones are, and as they are."""
    if request.param == "threads":
        monkeypatch.setattr(write, "WORTHWHILE", 0)
        monkeypatch.setattr(copies, "SLICE", 1 << 16)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("where", ["header", "middle", "end"])
def test_bytes_that_the_disc_turns_are_noticed(place: Place, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from viscy_compat.errors import CompatError
    from viscy_compat.rewrite.output import Output

    sync = Output.sync

    def turned(output: Output) -> None:
        position = {"header": 20, "middle": output.position // 2, "end": output.position - 200}[where]
        with open(output.temporary, "r+b") as file:
            file.seek(position)
            byte = file.read(1)
            file.seek(position)
            file.write(bytes((byte[0] ^ 4,)))
        sync(output)

    monkeypatch.setattr(Output, "sync", turned)
    with pytest.raises(CompatError):
        place.run()
    assert place.left() == []
    assert place.source.read_bytes() == place.original


@pytest.mark.usefixtures("threads")
def test_a_quiet_run_gives_the_same_file_with_threads_and_without(place: Place) -> None:
    place.run()
    assert place.out.read_bytes() == place.whole


@pytest.mark.usefixtures("threads")
def test_a_flipped_bit_in_the_source_is_refused(place: Place) -> None:
    from viscy_compat.errors import UnreadableCheckpoint

    data = bytearray(place.original)
    position = data.index(struct.pack("<3f", 3005, 3006, 3007))
    data[position] ^= 1
    place.source.write_bytes(bytes(data))
    with pytest.raises(UnreadableCheckpoint, match="is damaged") as caught:
        place.run()
    assert caught.value.code == "VC414"
    assert place.left() == []

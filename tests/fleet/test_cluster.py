"""Real engines on the loopback, started with the lines of docs/fleet.md: each file is judged once, and nothing is lost."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from socket import socket

import pytest

from support.assembly import state, zipped
from support.servers import begins_to_listen, deaf_port, free_port
from viscy_compat.errors import UsageError, WorkerFailed
from viscy_compat.fleet.cluster import cluster

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "fleet.md").read_text()
LINES = re.findall(r"```sh\n(.*?)\n```", DOCUMENT, re.DOTALL)


def line_with(*words: str) -> str:
    """The one line of the document that has these words."""
    (line,) = (line for line in LINES if all(word in line for word in words))
    return str(line)


def files_in(folder: Path, count: int) -> list[str]:
    folder.mkdir()
    for number in range(count):
        (folder / f"epoch={number}.ckpt").write_bytes(zipped(state()))
    return [str(folder / f"epoch={number}.ckpt") for number in range(count)]


def environment(place: Path, **more: object) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "VISCY_COMPAT_CACHE": str(place), **{k: str(v) for k, v in more.items()}}


def ledger_of(place: Path) -> list[str]:
    rows = [json.loads(line) for line in (place / "audit.jsonl").read_text().splitlines()]
    assert {row["verdict"] for row in rows} == {"unknown"}
    return [row["file"] for row in rows]


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[tuple[dict[str, str], list[subprocess.Popen[bytes]]]]:
    """A scheduler with two workers; yields the variables of the document, and the processes of all three."""
    pytest.importorskip("distributed")
    processes: list[subprocess.Popen[bytes]] = []

    def start(line: str) -> subprocess.Popen[bytes]:
        quiet = subprocess.DEVNULL
        process = subprocess.Popen(f"exec {line}", shell=True, cwd=tmp_path, env=variables, stdout=quiet, stderr=quiet)
        processes.append(process)
        return process

    for port in (free_port() for _ in range(5)):
        variables = environment(tmp_path, HOST="127.0.0.1", PORT=port, MODELS=tmp_path / "models")
        # a command that comes before the scheduler listens is told after a while that there is none
        if begins_to_listen(start(line_with("dask scheduler")), port):
            break
        # somebody else was quicker to take the port
        processes.clear()
    else:
        pytest.fail("no scheduler begins to listen")
    start(line_with("dask worker"))
    start(line_with("dask worker"))
    yield variables, processes
    for process in processes:
        process.kill()
        process.wait()


@pytest.mark.uncounted
def test_a_worker_of_dask_that_is_killed_costs_no_file(
    tmp_path: Path, scheduler: tuple[dict[str, str], list[subprocess.Popen[bytes]]]
) -> None:
    variables, (_, *workers) = scheduler
    files = files_in(tmp_path / "models", 1_500)
    line = line_with("audit", "dask://")
    audit = subprocess.Popen(f"exec {line}", shell=True, cwd=tmp_path, env=variables, stdout=-1, stderr=-1, text=True)
    ledger = tmp_path / "audit.jsonl"
    while audit.poll() is None and not (ledger.exists() and ledger.read_bytes().count(b"\n") > 100):
        time.sleep(0.02)
    workers[0].kill()
    out, said = audit.communicate(timeout=1200)
    assert audit.returncode == 2, said
    assert "Traceback" not in said
    assert ledger_of(tmp_path) == files
    assert [line.split()[1] for line in out.splitlines() if line.startswith("unknown ")] == files


def test_a_scheduler_that_is_gone_is_one_line(
    scheduler: tuple[dict[str, str], list[subprocess.Popen[bytes]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    variables, processes = scheduler
    monkeypatch.setattr("viscy_compat.fleet.cluster._PATIENCE", 1)
    engine = cluster(f"dask://127.0.0.1:{variables['PORT']}")
    engine.renew()
    processes[0].kill()

    def ask_until_it_notices() -> None:
        while True:
            engine.renew()

    with pytest.raises(WorkerFailed, match="the Dask scheduler is gone"):
        ask_until_it_notices()
    engine.close(at_once=True)


def test_submitit_judges_every_file_in_an_array_of_jobs(tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    files = files_in(tmp_path / "models", 1_203)
    variables = environment(tmp_path, MODELS=tmp_path / "models")
    done = subprocess.run(
        line_with("executor=local"),
        shell=True,
        cwd=tmp_path,
        env=variables,
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.returncode == 2, done.stderr
    assert ledger_of(tmp_path) == files
    assert len(list((tmp_path / "viscy-compat-jobs").glob("*_result.pkl"))) == 2
    # addresses stand in there with their credentials
    assert (tmp_path / "viscy-compat-jobs").stat().st_mode & 0o777 == 0o700
    again = subprocess.run(
        line_with("executor=local"),
        shell=True,
        cwd=tmp_path,
        env=variables,
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert again.stdout == done.stdout
    assert "1,203 known from an earlier run" in again.stderr


def test_a_place_that_is_none_is_one_line_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for place, said in (("pbs", "is no place"), ("slurm", "cannot hand jobs to slurm")):
        monkeypatch.setenv("PATH", "")
        pytest.importorskip("submitit")
        with pytest.raises(UsageError, match=said):
            cluster(place)
    monkeypatch.setenv("VISCY_COMPAT_SLURM", "partition")
    with pytest.raises(UsageError, match="NAME=VALUE"):
        cluster("slurm")
    assert list(tmp_path.iterdir()) == []


def test_no_scheduler_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr("viscy_compat.fleet.cluster._PATIENCE", 1)
    with deaf_port() as port, pytest.raises(UsageError, match="there is no Dask scheduler"):
        cluster(f"dask://127.0.0.1:{port}")
    # somebody else, who takes a connection and waits for what is said to him
    with socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        with pytest.raises(UsageError, match="there is no Dask scheduler"):
            cluster(f"dask://127.0.0.1:{mute.getsockname()[1]}")


def test_a_scheduler_of_another_version_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    distributed = pytest.importorskip("distributed")

    def of_another_version(*_: object, **__: object) -> None:
        raise TypeError("Scheduler.identity() got an unexpected keyword argument 'n_workers'")

    monkeypatch.setattr(distributed, "Client", of_another_version)
    monkeypatch.setattr(distributed.core, "rpc", of_another_version)
    with pytest.raises(UsageError, match="the scheduler does not understand this Dask"):
        cluster("dask://127.0.0.1:1")

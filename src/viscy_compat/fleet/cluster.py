"""Other machines, through engines that exist: a Dask scheduler that runs already, or Slurm by submitit."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Final

from viscy_compat.errors import UsageError, WorkerFailed, lacking
from viscy_compat.fleet.judging import AuditQuestion, judge_shard
from viscy_compat.fleet.target import Target

_SHARD_OF_DASK: Final = 25
"""Files of one task: about a tenth of a second, against a millisecond that Dask takes for a task."""
_SHARD_OF_SLURM: Final = 1_000
"""Files of one job of an array: some ten seconds, against as many that a scheduler takes to start one."""
_LOOK: Final = 0.2
"""Seconds between two looks at the jobs, as files on a shared disc say how they stand."""
_PATIENCE: Final = 10
"""Seconds for a scheduler to answer."""


class Dask:
    """Judges in the workers of a Dask scheduler; a shard whose worker dies goes to another one."""

    shard, window, falls_together = _SHARD_OF_DASK, 1_000, False

    def __init__(self, address: str) -> None:
        try:
            from distributed import Client
        except ImportError as error:
            raise lacking(f"--on dask://{address}", "distributed", "dask") from error
        connect: Any = Client
        _silence("distributed", "tornado", "asyncio")
        try:
            asyncio.run(asyncio.wait_for(_greet(f"tcp://{address}"), _PATIENCE))
            self._client: Any = connect(f"tcp://{address}", timeout=_PATIENCE, set_as_default=False)
        except (OSError, ValueError) as error:
            fix = "start one: dask scheduler, and dask worker tcp://HOST:8786 on each machine"
            raise UsageError("there is no Dask scheduler", where=f"dask://{address}", fix=fix) from error
        # what a scheduler of another version does not know is an error of any kind, and comes back as it is
        except (TypeError, AttributeError, LookupError, ImportError, RuntimeError) as error:
            fix = "install the same version of distributed here and there"
            raise UsageError(
                f"the scheduler does not understand this Dask ({error})", where=f"dask://{address}", fix=fix
            ) from error
        self._pool = self._client.get_executor(pure=False)
        self._where = f"dask://{address}"

    def submit(self, question: AuditQuestion, targets: Sequence[Target]) -> Future[list[bytes]]:
        """Have a shard judged."""
        future: Future[list[bytes]] = self._pool.submit(judge_shard, question, list(targets))
        return future

    def renew(self) -> None:
        """Go on where the scheduler is still there; it starts nothing anew itself."""
        # a connection that broke is tried again for as long as the first one was
        until = time.monotonic() + 2 * _PATIENCE
        while self._client.status == "connecting" and time.monotonic() < until:
            time.sleep(_LOOK)
        self.refuse_absence()

    def refuse_absence(self) -> None:
        """Raise `WorkerFailed` where the scheduler is gone."""
        if self._client.status not in ("running", "connecting"):
            raise WorkerFailed(
                "the Dask scheduler is gone",
                where=self._where,
                fix="start it anew, and run the same audit once more: it goes on from its ledger",
            )

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self, *, at_once: bool) -> None:
        """Leave the scheduler to whoever started it, without what nobody waits for any more."""
        # a scheduler that is gone, or goes meanwhile, is told nothing
        with suppress(RuntimeError, OSError):
            if self._client.status == "running":
                self._pool.shutdown(wait=not at_once)
            self._client.close(timeout=1 if at_once else 10)


async def _greet(address: str) -> None:
    """Ask who is there: a client waits without end for somebody who takes a connection and says nothing."""
    from distributed.core import rpc

    ask: Any = rpc
    async with ask(address, timeout=_PATIENCE) as scheduler:
        await scheduler.identity()


class Slurm:
    """Judges in arrays of jobs, each with a shard; submitit writes their scripts, and gathers what they answer.

    ``$VISCY_COMPAT_SLURM`` has what ``sbatch`` shall be told, ``partition=cpu,time=30``; ``executor=local`` runs the
    jobs on this machine.
    """

    shard, window, falls_together = _SHARD_OF_SLURM, 1 << 30, False

    def __init__(self, settings: str) -> None:
        try:
            import submitit
        except ImportError as error:
            raise lacking("--on slurm", "submitit", "slurm") from error
        settings_of_jobs = _slurm_options(settings)
        kind = settings_of_jobs.pop("executor", "slurm")
        folder = str(settings_of_jobs.pop("folder", os.path.join(os.getcwd(), "viscy-compat-jobs")))
        is_new = not os.path.lexists(folder)
        # what is handed in holds addresses as they were given, with their credentials
        with suppress(OSError):
            os.makedirs(folder, mode=0o700, exist_ok=True)
        try:
            self._executor = submitit.AutoExecutor(folder=folder, cluster=kind)
            slurm = {
                name if name.startswith("slurm_") else f"slurm_{name}": value
                for name, value in settings_of_jobs.items()
            }
            self._executor.update_parameters(name="viscy-compat", **(slurm if kind == "slurm" else {}))
        except (RuntimeError, ValueError, NotImplementedError, TypeError) as error:
            with suppress(OSError):
                if is_new:
                    os.rmdir(folder)
            fix = "run it where sbatch is, and correct $VISCY_COMPAT_SLURM (NAME=VALUE,...)"
            raise UsageError(f"submitit cannot hand jobs to {kind}: {error}", fix=fix) from error
        self._held: list[tuple[AuditQuestion, list[Target], Future[list[bytes]]]] = []
        self._jobs: list[tuple[Any, Future[list[bytes]]]] = []
        self._ended = threading.Event()
        self._watch: threading.Thread | None = None

    def submit(self, question: AuditQuestion, targets: Sequence[Target]) -> Future[list[bytes]]:
        """Hold a shard until `flush`: an array is handed in as a whole."""
        future: Future[list[bytes]] = Future()
        self._held.append((question, list(targets), future))
        return future

    def renew(self) -> None:
        """Each job has a process of its own."""

    def refuse_absence(self) -> None:
        """Whoever waits for a queue cannot know how long it is."""

    def flush(self) -> None:
        """Hand in what was held as one array."""
        if self._held:
            questions, shards, futures = zip(*self._held, strict=True)
            self._held = []
            self._jobs += zip(self._executor.map_array(judge_shard, questions, shards), futures, strict=True)
        if self._watch is None:
            self._watch = threading.Thread(target=self._gather, daemon=True)
            self._watch.start()

    def close(self, *, at_once: bool) -> None:
        """Stop looking; jobs that still run are taken back where nobody waits for them."""
        self._ended.set()
        for job, future in self._jobs if at_once else ():
            if not future.done():
                job.cancel(check=False)

    def _gather(self) -> None:
        """Give each future what its job answers, until the end."""
        while not self._ended.is_set():
            for row in [row for row in self._jobs if row[0].done()]:
                job, future = row
                self._jobs.remove(row)
                problem = job.exception()
                if problem is None:
                    future.set_result(job.result())
                else:
                    future.set_exception(problem)
            time.sleep(_LOOK)


def _silence(*packages: str) -> None:
    """Have packages log nothing: what goes wrong is said here, in one line, and a traceback of theirs tells users nothing."""
    import logging
    import warnings

    # a client that found nobody to talk to says so once more when it is thrown away
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
    for name in logging.root.manager.loggerDict:
        if name.partition(".")[0] in packages:
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def _slurm_options(text: str) -> dict[str, Any]:
    """Return ``NAME=VALUE,...`` as a mapping; whole numbers are numbers."""
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    if any(not equals for _, equals, _ in pairs):
        raise UsageError(f"$VISCY_COMPAT_SLURM is {text!a}", fix="write NAME=VALUE,NAME=VALUE")
    return {name.strip(): int(value) if value.strip().isdigit() else value.strip() for name, _, value in pairs}


def cluster(place: str) -> Dask | Slurm:
    """Return the engine of ``--on``: ``dask://HOST:PORT`` or ``slurm``.

    Raises
    ------
    UsageError
        Where there is no such place, or nobody answers there.
    MissingExtra
        Where its package is not installed.
    """
    if place.startswith("dask://"):
        return Dask(place.removeprefix("dask://"))
    if place == "slurm":
        return Slurm(os.environ.get("VISCY_COMPAT_SLURM", ""))
    raise UsageError(f"--on {place!a} is no place", fix="dask://HOST:PORT or slurm")

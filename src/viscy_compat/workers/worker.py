"""The parent of worker processes: starts them, isolates and limits them, talks to them. Imports no torch.

The old code is arbitrary code that wants the import name ``viscy``, and the candidate may be another package in another
interpreter, so each side runs in a process of its own (`viscy_compat.workers.program`).
"""

from __future__ import annotations

import errno
import json
import os
import queue
import secrets
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple

from viscy_compat.errors import CompatError, MissingExtra, OutputRefused, UsageError, WorkerFailed, install_line
from viscy_compat.layout import printable
from viscy_compat.workers.pipes import Pipes

Side = Literal["old", "candidate"]
Device = Literal["cpu", "cuda"]

PROGRAM = Path(__file__).with_name("program")
"""The folder that both sides run: a program of its own, which imports nothing of ours."""

LAUNCHER = Path(__file__).with_name("launcher.py")
"""The program that starts it on Linux, and ends what it leaves behind."""

_KEPT_VARIABLES = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "PATHEXT", "WINDIR")
"""Without these an interpreter may not find its own libraries; nothing else of the environment is passed on."""

_ABOUT_IT = ("built environment", *(["everything it starts ends with it"] if sys.platform == "linux" else []))
"""What the parent knows of the isolation of a worker, since it does it."""

_LONGEST = 300
_PATIENCE = 10.0
"""Seconds in which a process that was told to end must have ended: it takes milliseconds, but on a crowded machine."""


@dataclass(frozen=True)
class WorkerLimits:
    """What a worker may use.

    Parameters
    ----------
    start, request : float
        Seconds for the import of the stack, and for one request.
    memory, file : int
        Bytes of private memory and of any file that it writes; where the platform has such limits.
    answer, noise : int
        Bytes of one answer, and of everything that is printed.
    """

    start: float = 300.0
    request: float = 600.0
    memory: int = 12 << 30
    file: int = 8 << 30
    answer: int = 16 << 20
    noise: int = 16 << 20


@dataclass(frozen=True)
class Conditions:
    """Under what conditions a worker computes, in its own words.

    Parameters
    ----------
    python, torch, timm, monai : str
        Versions.
    cpu : str
        torch's name of the CPU capability (``"AVX512"``).
    threads : int
        torch's threads: 1.
    isolation : tuple[str, ...]
        What keeps the worker apart, as far as the platform gave it.
    """

    python: str
    torch: str
    timm: str
    monai: str
    cpu: str
    threads: int
    isolation: tuple[str, ...]

    @property
    def stack(self) -> dict[str, str | int]:
        """What numbers depend on, by name: all but the isolation."""
        return {name: getattr(self, name) for name in ("python", "torch", "timm", "monai", "cpu", "threads")}


class Worker:
    """One worker process; it imports the stack while the caller does something else.

    Parameters
    ----------
    side : {"old", "candidate"}
        Which side it plays; named in messages.
    python : str, optional
        The interpreter; the running one by default.
    cache : int, optional
        How many built models it keeps for further requests.
    limits : WorkerLimits, optional
        Time and memory.
    namespace : bool, optional
        Whether it asks the kernel for namespaces of its own for network and mounts.
    device : {"cpu", "cuda"}, optional
        Whether it may have a GPU.

    Raises
    ------
    WorkerFailed
        The interpreter cannot be started. Later requests raise it where the process died, hung, flooded or answered
        with garbage.
    MissingExtra
        The interpreter lacks torch, timm or MONAI.

    Notes
    -----
    Requests and answers are described in `viscy_compat.workers.program`. `send` any number of them, then `receive` as many
    answers in the same order, so that two workers compute at once.
    """

    def __init__(
        self,
        side: Side,
        *,
        python: str | None = None,
        cache: int = 0,
        limits: WorkerLimits | None = None,
        namespace: bool = True,
        device: Device = "cpu",
    ) -> None:
        self.device = device
        self.side, self.python, self.limits = side, interpreter(python), limits or WorkerLimits()
        self._conditions: Conditions | None = None
        self._end: CompatError | None = None
        self._questions: deque[_Question] = deque()
        self._folder = tempfile.mkdtemp(prefix="viscy-compat-worker-")
        self._process = self._launch()
        self._pipes = Pipes(
            self._process, answer=self.limits.answer, noise=self.limits.noise, flooded=partial(_end, self._process)
        )
        self.send(
            {
                "op": "start",
                "cache": cache,
                "namespace": namespace,
                "folder": self._folder,
                "device": device,
                # a driver maps more than a limit on private memory allows for
                **({"memory": self.limits.memory} if device == "cpu" else {}),
                "file": self.limits.file,
                "core": 0,
            }
        )

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def conditions(self) -> Conditions:
        """The conditions under which it computes; waits for the import of the stack."""
        if self._conditions is None:
            answer = self._next(self.limits.start)
            try:
                texts = {name: _word(answer[name]) for name in ("python", "torch", "timm", "monai", "cpu")}
                isolation, threads = answer["isolation"], answer["threads"]
                if not isinstance(isolation, list) or type(threads) is not int:
                    raise TypeError
                layers = (*map(_word, isolation), *_ABOUT_IT)
            except (KeyError, TypeError, ValueError) as error:
                raise self._failure("did not say under what conditions it computes") from error
            self._conditions = Conditions(**texts, threads=threads, isolation=layers)
        return self._conditions

    def source(
        self,
        name: str,
        *,
        root: str,
        files: Mapping[str, str] | None = None,
        folder: str | None = None,
        pretrained: bool = True,
    ) -> None:
        """Name a source for further requests: texts by path, or a folder first on the path, or what is installed."""
        message = {"op": "source", "id": name, "root": root, "folder": folder, "pretrained": pretrained}
        self.request({**message, "files": dict(files or {})})

    def request(self, message: Mapping[str, Any], *, timeout: float | None = None) -> dict[str, Any]:
        """Send one request and wait for its answer."""
        self.send(message)
        return self.receive(timeout=timeout)

    def send(self, message: Mapping[str, Any]) -> None:
        """Send one request without waiting; its answer must repeat a mark that nobody could know before."""
        question = _Question(secrets.token_hex(16), str(message.get("save") or ""))
        self._questions.append(question)
        place = {"save": self._place_of(question)} if question.save else {}
        self._pipes.send(json.dumps({**message, **place, "mark": question.mark}).encode())

    def receive(self, *, timeout: float | None = None) -> dict[str, Any]:
        """Return the answer to the oldest request that is still without one."""
        self.conditions  # noqa: B018  the first answer is about the start
        return self._next(timeout or self.limits.request)

    @property
    def is_over(self) -> bool:
        """Whether it can answer no more."""
        return self._end is not None or self._process.poll() is not None

    def end(self) -> None:
        """End the process, from whatever thread: whoever waits for an answer is told that there will be none."""
        _end(self._process)

    def close(self) -> None:
        """End the process and everything it started, and remove what it left behind; nothing is waited for long."""
        self._pipes.hang_up()
        _end(self._process)
        self._pipes.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _launch(self) -> subprocess.Popen[bytes]:
        pipe = subprocess.PIPE
        try:
            # on Linux the launcher is what is started, and would start: the errors of its command are raised here
            if not os.path.exists(self.python):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            if os.path.isdir(self.python) or not os.access(self.python, os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            return subprocess.Popen(
                [*_launcher(self._folder), self.python, "-I", str(PROGRAM)],
                stdin=pipe,
                stdout=pipe,
                stderr=pipe,
                cwd=self._folder,
                env=_environment(self._folder, self.device),
                start_new_session=os.name == "posix",
            )
        except OSError as error:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise self._failure(f"cannot be started with {self.python}: {error.strerror or error}") from error

    def _place_of(self, question: _Question) -> str:
        """Return the place in the worker's own folder of what it is to save: it may write nowhere else."""
        return os.path.join(self._folder, f"{question.mark}.safetensors")

    def _next(self, timeout: float) -> dict[str, Any]:
        if self._end is None:
            answer = self._line(timeout)
            if isinstance(answer, dict):
                return answer
            _end(self._process)
            self._end = answer
        raise self._end

    def _line(self, timeout: float) -> dict[str, Any] | CompatError:
        """Return the next answer, or what ended the worker."""
        try:
            line = self._pipes.line(timeout)
        except queue.Empty:
            fix = "raise --timeout, or name fewer classes"
            return self._failure(f"gave no answer within {timeout:g} s", fix=fix)
        if line == "flooded":
            return self._failure("printed more than an answer may hold")
        return self._death() if line == "ended" else self._parse(line)

    def _parse(self, line: bytes | str) -> dict[str, Any] | CompatError:
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError):
            return self._failure("answered with something that is not JSON")
        if not isinstance(answer, dict):
            return self._failure("answered with something that is not an object")
        question = self._questions.popleft() if self._questions else None
        if question is None or answer.pop("mark", None) != question.mark:
            return self._failure("answered what it was not asked", fix="look at what the code of this side prints")
        if answer.get("failed"):
            return self._refusal(answer["failed"])
        return self._fetch(question) or answer

    def _fetch(self, question: _Question) -> CompatError | None:
        """Move what was saved to where it was asked for; whatever else stands there is not followed."""
        place = self._place_of(question)
        if not question.save or not os.path.lexists(place):
            return None
        if not stat.S_ISREG(os.lstat(place).st_mode):
            return self._failure("saved something that is not a file")
        try:
            shutil.move(place, question.save)
        except OSError as error:
            message = f"what the worker saved cannot be written ({error.strerror or error})"
            return OutputRefused(message, where=question.save, fix="choose another place")
        return None

    def _refusal(self, refusal: Any) -> WorkerFailed | MissingExtra | UsageError:
        words = refusal if isinstance(refusal, dict) else {"message": refusal}
        kind = words.get("type")
        message = printable(f"{kind}: {words.get('message')}")[:_LONGEST]
        if kind in ("ModuleNotFoundError", "ImportError") and self._conditions is None:
            return MissingExtra(
                f"{self.python} cannot import the stack ({message})", fix=f"install it: {install_line('models')}"
            )
        if kind == "NoGpu":
            fix = "leave it out: on the CPU everything is compared too"
            return UsageError(f"torch of {self.python} sees no GPU", where="--device cuda", fix=fix)
        return self._failure(f"refused a request ({message})")

    def _death(self) -> WorkerFailed:
        with _Ignoring():
            self._process.wait(timeout=_PATIENCE)
        code = self._process.poll()
        if code is None:
            return self._failure("closed its answers and went on")
        # real-time signals have no names, but for the first and the last one
        names = {row.value: row.name for row in signal.Signals}
        name = names.get(-code, "unknown")
        how = f"was ended by signal {-code} ({name})" if code < 0 else f"ended with exit code {code}"
        words = self._pipes.last_words()
        return self._failure(how + (f", last words: {printable(words[-1])[:200]}" if words else ""))

    def _failure(self, message: str, *, fix: str = "") -> WorkerFailed:
        return WorkerFailed(message, where=f"the {self.side} worker", fix=fix, code="VC603")


class _Question(NamedTuple):
    """A request that is still without an answer: the mark that the answer must repeat, and where to save tensors."""

    mark: str
    save: str


class Crew:
    """Workers that several threads use, to be ended together."""

    def __init__(self) -> None:
        self._lock, self._workers, self._ended = threading.Lock(), list[Worker](), False

    def add(self, worker: Worker) -> None:
        """Take a worker in.

        Raises
        ------
        WorkerFailed
            The crew was ended.
        """
        with self._lock:
            self._workers.append(worker)
            ended = self._ended
        if ended:
            raise WorkerFailed("was not needed any more", where=f"the {worker.side} worker", code="VC603")

    def end(self) -> None:
        """End all workers; those that are taken in later are refused."""
        with self._lock:
            self._ended = True
        for worker in self._workers:
            worker.end()


def interpreter(python: str | None) -> str:
    """Return the whole path of an interpreter: a worker runs in a folder of its own.

    Links are not followed, since a virtual environment is known by the path of its link.

    Examples
    --------
    >>> interpreter(None) == sys.executable
    True
    >>> os.path.isabs(interpreter(".venv/bin/python"))
    True
    """
    if not python:
        return sys.executable
    path = os.path.expanduser(python)
    found = path if os.path.dirname(path) else shutil.which(path)
    return os.path.abspath(found or path)


class _Ignoring:
    """Closing what is already closed, and killing what is already dead, is no failure."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: object) -> bool:
        return kind is not None and issubclass(kind, (OSError, subprocess.TimeoutExpired))


def _launcher(folder: str) -> list[str]:
    """Return what stands before the command: where there is nothing like it, the group of the process is ended."""
    return [sys.executable, "-I", "-S", str(LAUNCHER), folder] if sys.platform == "linux" else []


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process with everything that it started: asked first, since the launcher sweeps, and then made to."""
    if process.poll() is not None:
        return
    with _Ignoring():
        if sys.platform == "linux":
            process.terminate()
            process.wait(timeout=_PATIENCE)
    with _Ignoring():
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    with _Ignoring():
        process.wait(timeout=_PATIENCE)


def _word(value: Any) -> str:
    """Return a short printable text; raises `TypeError` for anything else."""
    if not isinstance(value, str) or len(value) > _LONGEST:
        raise TypeError
    return printable(value)


def _environment(folder: str, device: Device) -> dict[str, str]:
    """Build the environment of a worker from nothing; only what an interpreter needs to start is taken over."""
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    one = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    homes = dict.fromkeys(
        ("HOME", "USERPROFILE", "TMPDIR", "TMP", "TEMP", "TORCH_HOME", "HF_HOME", "MPLCONFIGDIR"), folder
    )
    # a model's memory is kept for the next one: fresh pages would cost as much as the numbers in them
    kept.update(dict.fromkeys(("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"), str(4 << 30)))
    quiet = {"HF_HUB_OFFLINE": "1", "LC_ALL": "C.UTF-8", "PYTHONUTF8": "1"}
    if device == "cpu":
        quiet["CUDA_VISIBLE_DEVICES"] = ""
    else:
        # without it cuBLAS may sum in another order at every call
        quiet["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
        kept.update({name: os.environ[name] for name in ("CUDA_VISIBLE_DEVICES",) if name in os.environ})
    return {"PATH": os.defpath, **kept, **one, **homes, **quiet}

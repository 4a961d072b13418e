"""The parent of worker processes: starts them, isolates and limits them, talks to them. Imports no torch.

The old code is arbitrary code that wants the import name ``viscy``, and the candidate may be another package in another
interpreter, so each side runs in a process of its own (`viscy_compat.proof.worker`).
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal

from viscy_compat.errors import CompatError, MissingExtra, WorkerFailed
from viscy_compat.layout import printable

Side = Literal["old", "candidate"]

PROGRAM = Path(__file__).with_name("worker.py")
"""The standalone program that both sides run."""

STACK = "pip install 'viscy-compat[models]'"
_KEPT_VARIABLES = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "PATHEXT", "WINDIR")
_CHUNK = 1 << 16


@dataclass(frozen=True)
class Limits:
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
    answer: int = 64 << 20
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


@dataclass
class _Streams:
    """What the reading threads have collected."""

    answers: queue.Queue[bytes | str] = field(default_factory=queue.Queue)
    noise: bytes = b""
    noisy: int = 0


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
    limits : Limits, optional
        Time and memory.
    namespace : bool, optional
        Whether it asks the kernel for a network namespace.

    Raises
    ------
    WorkerFailed
        The interpreter cannot be started. Later requests raise it where the process died, hung, flooded or answered
        with garbage.
    MissingExtra
        The interpreter lacks torch, timm or MONAI.

    Notes
    -----
    Requests and answers are described in `viscy_compat.proof.worker`. `send` any number of them, then `receive` as many
    answers in the same order, so that two workers compute at once.
    """

    def __init__(
        self,
        side: Side,
        *,
        python: str | None = None,
        cache: int = 0,
        limits: Limits | None = None,
        namespace: bool = True,
    ) -> None:
        self.side, self.python, self.limits = side, python or sys.executable, limits or Limits()
        self._conditions: Conditions | None = None
        self._streams = _Streams()
        self._end: CompatError | None = None
        self._folder = tempfile.mkdtemp(prefix="viscy-compat-worker-")
        self._process = self._launch()
        self._threads = [self._thread(self._read_answers), self._thread(self._read_noise)]
        self.send(
            {
                "op": "start",
                "cache": cache,
                "namespace": namespace,
                "memory": self.limits.memory,
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
            self._conditions = self._understood(self._next(self.limits.start))
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
        """Send one request without waiting."""
        pipe = self._process.stdin
        assert pipe is not None
        # what became of a worker that reads no more is said by the next answer
        with _Ignoring():
            pipe.write(json.dumps(message).encode() + b"\n")
            pipe.flush()

    def receive(self, *, timeout: float | None = None) -> dict[str, Any]:
        """Return the answer to the oldest request that is still without one."""
        self.conditions  # noqa: B018  the first answer is about the start
        return self._next(timeout or self.limits.request)

    def close(self) -> None:
        """End the process and everything it started, and remove what it left behind."""
        if self._process.stdin and not self._process.stdin.closed:
            with _Ignoring():
                self._process.stdin.close()
        self._kill()
        self._process.wait()
        for thread in self._threads:
            thread.join()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe:
                pipe.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _understood(self, answer: Mapping[str, Any]) -> Conditions:
        try:
            return _conditions(answer)
        except (KeyError, TypeError) as error:
            raise self._failed("did not say under what conditions it computes") from error

    def _launch(self) -> subprocess.Popen[bytes]:
        arguments = [self.python, "-I", str(PROGRAM)]
        pipe = subprocess.PIPE
        try:
            return subprocess.Popen(
                arguments,
                stdin=pipe,
                stdout=pipe,
                stderr=pipe,
                cwd=self._folder,
                env=_environment(self._folder),
                start_new_session=os.name == "posix",
            )
        except OSError as error:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise self._failed(f"cannot be started with {self.python}: {error.strerror or error}") from error

    def _thread(self, target: Any) -> threading.Thread:
        thread = threading.Thread(target=target, daemon=True)
        thread.start()
        return thread

    def _read_answers(self) -> None:
        stream: IO[bytes] = self._process.stdout  # type: ignore[assignment]
        line = b""
        while chunk := _read(stream):
            line += chunk
            while b"\n" in line:
                whole, _, line = line.partition(b"\n")
                self._streams.answers.put(whole)
            if len(line) > self.limits.answer:
                self._streams.answers.put("flooded")
                return self._kill()
        self._streams.answers.put("ended")

    def _read_noise(self) -> None:
        stream: IO[bytes] = self._process.stderr  # type: ignore[assignment]
        while chunk := _read(stream):
            self._streams.noise = (self._streams.noise + chunk)[-8192:]
            self._streams.noisy += len(chunk)
            if self._streams.noisy > self.limits.noise:
                self._streams.answers.put("flooded")
                return self._kill()

    def _next(self, timeout: float) -> dict[str, Any]:
        if self._end is None:
            answer = self._line(timeout)
            if isinstance(answer, dict):
                return answer
            self._kill()
            self._end = answer
        raise self._end

    def _line(self, timeout: float) -> dict[str, Any] | CompatError:
        """Return the next answer, or what ended the worker."""
        try:
            line = self._streams.answers.get(timeout=timeout)
        except queue.Empty:
            fix = "raise --timeout, or name fewer classes"
            return self._failed(f"gave no answer within {timeout:g} s", fix=fix)
        if line == "flooded":
            return self._failed("printed more than an answer may hold")
        return self._died() if line == "ended" else self._parsed(line)

    def _parsed(self, line: bytes | str) -> dict[str, Any] | CompatError:
        try:
            answer = json.loads(line)
        except ValueError:
            return self._failed("answered with something that is not JSON")
        if not isinstance(answer, dict):
            return self._failed("answered with something that is not an object")
        return self._refused(answer["failed"]) if answer.get("failed") else answer

    def _refused(self, failed: Mapping[str, Any]) -> WorkerFailed | MissingExtra:
        message = printable(f"{failed.get('type')}: {failed.get('message')}")
        if failed.get("type") in ("ModuleNotFoundError", "ImportError") and self._conditions is None:
            return MissingExtra(f"{self.python} cannot import the stack ({message})", fix=f"install it: {STACK}")
        return self._failed(f"refused a request ({message})")

    def _died(self) -> WorkerFailed:
        with _Ignoring():
            self._process.wait(timeout=5)
        if self._process.poll() is None:
            return self._failed("closed its answers and went on")
        code = self._process.wait()
        how = f"was ended by signal {-code} ({_signal(-code)})" if code < 0 else f"ended with exit code {code}"
        self._threads[1].join(timeout=1)
        said = self._streams.noise.decode(errors="replace").strip().splitlines()
        return self._failed(how + (f", last words: {printable(said[-1])[:200]}" if said else ""))

    def _failed(self, message: str, *, fix: str = "") -> WorkerFailed:
        return WorkerFailed(message, where=f"the {self.side} worker", fix=fix, code="VC603")

    def _kill(self) -> None:
        """End the process with everything that it started."""
        if self._process.poll() is not None:
            return
        with _Ignoring():
            if os.name == "posix":
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()


class _Ignoring:
    """Closing what is already closed, and killing what is already dead, is no failure."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: object) -> bool:
        return kind is not None and issubclass(kind, (OSError, subprocess.TimeoutExpired))


def _read(stream: IO[bytes]) -> bytes:
    return os.read(stream.fileno(), _CHUNK)


def _conditions(answer: Mapping[str, Any]) -> Conditions:
    names = ("python", "torch", "timm", "monai", "cpu", "threads")
    return Conditions(**{name: answer[name] for name in names}, isolation=(*answer["isolation"], "built environment"))


def _environment(folder: str) -> dict[str, str]:
    """Build the environment of a worker from nothing; only what an interpreter needs to start is taken over."""
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    one = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    homes = dict.fromkeys(
        ("HOME", "USERPROFILE", "TMPDIR", "TMP", "TEMP", "TORCH_HOME", "HF_HOME", "MPLCONFIGDIR"), folder
    )
    # a model's memory is kept for the next one: fresh pages would cost as much as the numbers in them
    kept.update(dict.fromkeys(("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"), str(4 << 30)))
    quiet = {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "LC_ALL": "C.UTF-8", "PYTHONUTF8": "1"}
    return {"PATH": os.defpath, **kept, **one, **homes, **quiet}


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"

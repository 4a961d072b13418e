"""What a worker can be asked, and the loop that answers.

Requests are JSON objects, one a line, on standard input; answers are JSON objects, one a line, on what was standard
output when it started. Whatever the models print goes to standard error.

Requests (``op``):

``start``
    Must come first. Takes the isolation (``namespace``, ``memory``, ``file``), imports the stack with one thread, and
    makes everything read-only but for ``folder``.
    ``cache`` is how many built models are kept, ``backbones`` how many bytes of backbones are remembered.
    Answers with the versions, the CPU capability and the ``isolation`` that is in force.
``source``
    Names a source (``id``): ``files`` maps paths to texts that are imported under their dotted names, packages without
    a file included; or ``folder`` comes first on ``sys.path``; or neither. ``pretrained: false`` switches off the
    pretrained downloads of `timm.create_model` and MONAI's `ResNetFeatures`. ``root`` is the import name of it all.
``class``
    Describes a class of a source (``class`` is ``"package.module:Name"``): its constructor and its file.
``names``
    Lists which dotted names of a source can be imported.
``run``
    Builds one class with one configuration and reports what was asked for.

    The request has ``source``, ``class``, ``config``, ``seed`` and ``report``, a list of:

    - ``layout``: ordered ``[name, shape, dtype]`` of the state dict;
    - ``initial``: digests of the seeded initial weights, in the same order, and the generator's digest after building;
    - ``eval``, ``train``: outputs for ``input`` (a shape) under filled weights, buffers and generator afterwards;
    - ``gradients``: for each of the two modes, the digests of the gradients of a scalar of the outputs;
    - ``modules``: for each of the two modes, every submodule's call in the order in which the calls ended;
    - ``slopes``: for each axis of the input behind the channels and each index along it, the largest derivative in eval mode
      of a scalar of the outputs by what stands there; empty where it has none.

    Options: ``device`` (``"cpu"`` or ``"meta"``), ``samples`` (how many elements of each tensor are reported as
    numbers), ``norms`` (whether the root mean square of each goes with them), ``load`` (the layout of a state dict to
    load strictly instead of the model's own), ``weights`` (a safetensors file to load strictly), ``inputs`` (a
    safetensors file with the tensor ``input``), ``arguments`` (what ``forward`` gets besides the input), ``tensors``
    (shapes of further tensors that it gets, by name; with ``samples``, ``modules`` has numbers of every call), ``modes``
    (which of eval and train the gradients and modules are about), ``save`` (a safetensors file to write, with
    ``keep``: any of initial, weights, input, eval, train, buffers), ``nudge`` (whether the last bits of the input are others).

``outputs``
    Runs a class in eval mode, in a ``precision`` or with an ``alteration``, and keeps what it returned under a ``label``.
``compare``
    Compares what was kept with the outputs in a file. See `emulation`, as for ``outputs``.

Each answer repeats the ``mark`` of its request.
"""

from __future__ import annotations

import functools
import gc
import inspect
import json
import os
import queue
import sys
import threading
from typing import Any

from .backbones import ROOM, BackboneMemory
from .digests import byte_count, tensors_in
from .guard import BadRequest, Guard, Json
from .isolation import Isolation
from .models import BuiltModel, ModelCache
from .session import Session
from .sources import Source
from .stack import import_stack, start_gpu
from .values import filled_tensors, set_seed


class Desk:
    """Answers requests, one after the other.

    Parameters
    ----------
    capacity : int
        How many built models are kept.
    """

    def __init__(self, capacity: int) -> None:
        self._sources: dict[str, Source] = {}
        self._models = ModelCache(capacity)
        self._backbones = BackboneMemory()
        self._class_name = ""
        self._has_process = False

    def answer(self, request: Json) -> Json:
        """Answer one request; a worker that cannot says why."""
        operations = {
            "start": self._start,
            "source": self._name_source,
            "class": self._describe,
            "names": self._import_all,
            "run": self._run,
            "outputs": self._keep_outputs,
            "compare": self._compare_outputs,
        }
        guard = Guard("worker")
        with guard:
            if request.get("op") not in operations:
                raise BadRequest(f"no such request: {request.get('op')!r}")
            return {**operations[request["op"]](request), "mark": request.get("mark")}
        return {"failed": guard.error, "mark": request.get("mark")}

    def _start(self, request: Json) -> Json:
        """Isolate, import the stack, and say under what conditions the numbers will be made."""
        self._has_process = True
        isolation = Isolation(request)
        isolation.enter()
        versions = import_stack(request.get("device", "cpu"))
        if request.get("device") == "cuda":
            start_gpu()
        self._backbones.room = int(request.get("backbones", ROOM))
        self._backbones.install()
        layers = isolation.seal()
        import torch

        return {
            "python": ".".join(map(str, sys.version_info[:3])),
            "executable": sys.executable,
            **versions,
            "cpu": torch.backends.cpu.get_cpu_capability(),
            "threads": torch.get_num_threads(),
            "isolation": layers,
        }

    def _name_source(self, request: Json) -> Json:
        self._sources[request["id"]] = Source(request)
        if not request.get("pretrained", True):
            self._backbones.downloads = False
        # models of another source that had this name
        self._models.clear()
        return {}

    def _describe(self, request: Json) -> Json:
        """Describe the constructor of a class: ``[name, kind, has a default, the default as JSON or its repr]``."""
        guard = Guard("import")
        with guard:
            found = self._sources[request["source"]].find(request["class"])
            name = getattr(found, "__module__", request["class"])
            module = self._sources[request["source"]].modules.get(name) or sys.modules.get(name)
            parameters = inspect.signature(found).parameters.values() if callable(found) else ()
            rows = [[p.name, p.kind.name, p.default is not p.empty, _as_json(p.default)] for p in parameters]
            return {"file": getattr(module, "__file__", None), "module": name, "signature": rows}
        return {"error": guard.error}

    def _import_all(self, request: Json) -> Json:
        errors = {}
        for dotted in request["names"]:
            guard = Guard("import")
            with guard:
                self._sources[request["source"]].find(dotted)
            errors[dotted] = guard.error
        return {"names": errors}

    @functools.cached_property
    def _gallery(self) -> Any:
        # it subclasses what torch has, so it can be imported only after the stack
        from .emulation import Gallery

        return Gallery(tensors_in, set_seed)

    def _keep_outputs(self, request: Json) -> Json:
        source = self._source_of(request)
        guard = Guard("build")
        with guard:
            model = self._model_for({**request, "report": []}, source)
            guard.stage = "forward"
            with source:
                kept: Json = self._gallery.run(model.module, request)
                return kept
        return {"error": guard.error}

    def _compare_outputs(self, request: Json) -> Json:
        return self._gallery.compare(request)

    def _source_of(self, request: Json) -> Source:
        if request["source"] not in self._sources:
            raise BadRequest(f"no such source: {request['source']!r}")
        return self._sources[request["source"]]

    def _model_for(self, request: Json, source: Source) -> BuiltModel:
        """Return a model; where another class comes, what was remembered for the last one goes, for they share little."""
        name = request["class"].rpartition(".")[2]
        if name != self._class_name:
            self._class_name = name
            self._models.clear()
            self._forget()
            if self._has_process:
                # no model is there now: what was imported since stays, and the collector need not walk it for each model
                gc.freeze()
        model = self._models.model_for(request, source)
        is_fresh = model.seconds and request.get("device") != "meta"
        sizes = map(byte_count, model.module.state_dict().values()) if is_fresh else ()
        # one of the largest, its weights and what is remembered are too much side by side
        if sum(sizes) > self._backbones.room:
            self._forget()
        return model

    def _forget(self) -> None:
        """Make room: what goes is made again where it is wanted again."""
        self._backbones.built.clear()
        filled_tensors.clear()
        # what it frees is kept for the next model: fresh pages would cost a tenth of a run
        gc.collect()

    def _run(self, request: Json) -> Json:
        source = self._source_of(request)
        guard = Guard("build")
        with guard:
            model = self._model_for(request, source)
        if guard.error:
            return {"error": guard.error}
        with source:
            return Session(request, model, self._backbones).answer()


def _as_json(value: Any) -> Json:
    if value is inspect.Parameter.empty:
        return None
    if isinstance(value, (list, tuple)):
        return [_as_json(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else repr(value)


def _listen(stream: Any, requests: queue.Queue[Any]) -> None:
    """Read requests while the main thread computes; None stands for the end of them."""
    for line in stream:
        requests.put(line)
    requests.put(None)


def main() -> int:
    """Answer requests until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
    lines = os.fdopen(os.dup(0), "r", encoding="utf-8", newline="\n")
    # what strange code prints or reads must not mix with the answers
    os.dup2(2, 1)
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    first = json.loads(lines.readline())
    desk = Desk(int(first.get("cache", 0)))
    answer = desk.answer(first)
    # only now: a process with threads can enter no namespace
    requests: queue.Queue[Any] = queue.Queue()
    threading.Thread(target=_listen, args=(lines, requests), daemon=True).start()
    while True:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
        line = requests.get()
        if line is None:
            return 0
        answer = desk.answer(json.loads(line))

"""A standalone program that builds models and says what they do: one for the old side, one for the candidate.

It is run as a file by any interpreter that has torch, timm, monai and safetensors, and imports nothing of this
project, so it keeps to the syntax of Python 3.9. Requests are JSON objects, one a line, on standard input; answers are
JSON objects, one a line, on what was standard output when it started. Whatever the models print goes to standard error.

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
    Builds one class with one configuration and reports what was asked for. See `_run`.
``outputs``
    Runs a class in eval mode, in a ``precision`` or with an ``alteration``, and keeps what it returned under a ``label``.
``compare``
    Compares what was kept with the outputs in a file. See the file ``emulation.py``, as for ``outputs``.

Each answer repeats the ``mark`` of its request.

Everything is deterministic: the weights are filled from the names of the tensors, inputs from their shapes, and the
seed is set right before every forward pass.
"""

from __future__ import annotations

import contextlib
import copy
import gc
import hashlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import inspect
import json
import math
import os
import queue
import random
import sys
import threading
import time
import traceback
from collections import OrderedDict
from typing import Any, Callable, Iterator, NamedTuple

Json = Any
State = "dict[str, Any]"

POOL = 24
"""The pool of fill values has ``2 ** POOL`` members, all different and all exact in float32."""

_NETWORK = (
    "socket.connect",
    "socket.bind",
    "socket.sendto",
    "socket.sendmsg",
    "socket.getaddrinfo",
    "socket.gethostby",
)
_PROCESSES = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "pty.spawn")


class Refused(Exception):
    """A request that cannot be meant."""


class _Attempt:
    """Run strange code; keep what it raises as data.

    Old code may raise anything, so no list of types would do. Exits and interrupts pass through.
    """

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self.error: Any = None

    def __enter__(self) -> _Attempt:
        return self

    def __exit__(self, kind: Any, value: Any, trace: Any) -> bool:
        if kind is None or not issubclass(kind, Exception):
            return False
        self.error = {"stage": self.stage, "type": kind.__name__, "message": str(value)[:2000]}
        self.error["trace"] = [f"{f.filename}:{f.lineno} {f.name}" for f in traceback.extract_tb(trace)[-4:]]
        # a traceback keeps every tensor of the failed frames alive
        traceback.clear_frames(trace)
        return True


# --- isolation ---------------------------------------------------------------------------------------------------


def _neighbour(name: str) -> Any:
    """Load a file beside this one: an isolated interpreter does not look for modules there."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), f"{name}.py")
    spec: Any = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _limited(request: Json) -> Iterator[str]:
    """Set the limits that the platform has, and say which are in force."""
    for name, key in (("RLIMIT_DATA", "memory"), ("RLIMIT_FSIZE", "file"), ("RLIMIT_CORE", "core")):
        if key in request and _limit(name, int(request[key])):
            yield f"{key} limit {request[key]}"


def _limit(name: str, value: int) -> bool:
    try:
        import resource
    except ImportError:
        return False
    kind = getattr(resource, name, None)
    if kind is None:
        return False
    hard = resource.getrlimit(kind)[1]
    if hard != resource.RLIM_INFINITY and hard < value:
        return True
    try:
        resource.setrlimit(kind, (value, value))
    except (ValueError, OSError):
        return False
    return True


_sealed = False


def _audit(event: str, arguments: Any) -> None:
    """Refuse the network always, and new processes once the stack is imported. An audit hook cannot be taken off."""
    if event.startswith(_NETWORK):
        raise PermissionError(f"{event} is refused in this worker")
    if _sealed and event.startswith(_PROCESSES):
        raise PermissionError(f"{event} is refused in this worker")


def _start(request: Json) -> Json:
    """Isolate, import the stack, and say under what conditions the numbers will be made."""
    global _sealed
    confinement = _neighbour("confinement").Confinement()
    if request.get("namespace", True):
        confinement.enter()
    sys.addaudithook(_audit)
    limits = list(_limited(request))
    import torch

    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    versions = {name: getattr(importlib.import_module(name), "__version__", "") for name in ("torch", "timm", "monai")}
    import monai.networks.nets  # noqa: F401  the old classes need it, and it is part of the price of the import

    _backbones.room = int(request.get("backbones", _backbones.room))
    _backbones.install()
    gc.freeze()
    sys.dont_write_bytecode = True
    folder = request.get("folder") or os.getcwd()
    confinement.seal(folder)
    measured = list(confinement.measured(folder))
    _sealed = True
    isolated = "isolated interpreter" if sys.flags.isolated else "interpreter not isolated"
    return {
        "python": ".".join(map(str, sys.version_info[:3])),
        "executable": sys.executable,
        **versions,
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "isolation": ["own process", isolated, *measured, "sockets and processes blocked in Python", *limits],
    }


# --- sources -----------------------------------------------------------------------------------------------------


class _Blobs(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Import modules from texts. A package without a file of its own is an empty one."""

    def __init__(self, files: dict[str, str]) -> None:
        self.texts: dict[str, str | None] = {}
        self.paths: dict[str, str] = {}
        self.packages: set[str] = set()
        for path, text in files.items():
            self._add(path, text)

    def _add(self, path: str, text: str) -> None:
        parts = path[: -len(".py")].split("/")
        if parts[-1] == "__init__":
            parts.pop()
            self.packages.add(".".join(parts))
        for end in range(1, len(parts)):
            self.packages.add(".".join(parts[:end]))
            self.texts.setdefault(".".join(parts[:end]), None)
        self.texts[".".join(parts)], self.paths[".".join(parts)] = text, path

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if fullname not in self.texts:
            return None
        spec = importlib.machinery.ModuleSpec(fullname, self, is_package=fullname in self.packages)
        spec.origin = f"<{self.paths.get(fullname, fullname)}>"
        return spec

    def create_module(self, spec: Any) -> None:
        return None

    def exec_module(self, module: Any) -> None:
        text = self.texts[module.__name__]
        module.__file__ = module.__spec__.origin
        exec(compile(text or "", module.__file__, "exec", dont_inherit=True), module.__dict__)


class _Source:
    """Where classes come from; its modules stay alive when another source takes their names."""

    def __init__(self, request: Json) -> None:
        self.root = request["root"]
        self.finder = _Blobs(request["files"]) if request.get("files") else None
        self.folder = request.get("folder")
        self.modules: dict[str, Any] = {}
        self.displaced: dict[str, Any] = {}
        self.classes: dict[str, Any] = {}
        if not request.get("pretrained", True):
            _backbones.downloads = False

    def __enter__(self) -> None:
        """Give this source the import names that it wants."""
        if self.finder:
            sys.meta_path.insert(0, self.finder)
        if self.folder:
            sys.path.insert(0, self.folder)
        importlib.invalidate_caches()
        if self.folder or self.finder:
            # a package of that name may be there already, as part of the stack
            self.displaced = self._taken()
        sys.modules.update(self.modules)

    def __exit__(self, *_: Any) -> None:
        self.modules = self._taken()
        sys.modules.update(self.displaced)
        if self.finder:
            sys.meta_path.remove(self.finder)
        if self.folder:
            sys.path.remove(self.folder)

    def _taken(self) -> dict[str, Any]:
        """Take every module below the root out of those that are imported."""
        mine = [name for name in sys.modules if name == self.root or name.startswith(self.root + ".")]
        return {name: sys.modules.pop(name) for name in mine}

    def find(self, dotted: str) -> Any:
        """Import ``"package.module:Name"`` or ``"package.module"``."""
        if dotted not in self.classes:
            module, _, name = dotted.partition(":")
            with self:
                found = importlib.import_module(module)
                for part in filter(None, name.split(".")):
                    found = getattr(found, part)
            self.classes[dotted] = found
        return self.classes[dotted]


class _Backbones:
    """The backbones that timm and MONAI build for models, remembered: building one anew is most of a case.

    What a constructor builds is told by its arguments and the random-number generator. Where both are as they were
    before, a copy of what was built then is returned, and the generator is left as it was left then. Models change
    their copies, never what is remembered.
    """

    def __init__(self) -> None:
        self.downloads, self.room = True, 640 << 20
        self.built: OrderedDict[str, _Backbone] = OrderedDict()

    def install(self) -> None:
        """Stand before `timm.create_model` and MONAI's `ResNetFeatures`."""
        import timm
        from monai.networks.nets import resnet

        create = timm.create_model
        timm.create_model = self._before(create, create)
        features = getattr(resnet, "ResNetFeatures", None)  # MONAI has it since 1.4
        if features is None:
            return
        initialise = features.__init__

        def make(*args: Any, **kwargs: Any) -> Any:
            fresh = features.__new__(features)
            initialise(fresh, *args, **kwargs)
            return fresh

        remembered = self._before(make, features)

        def initialise_alike(module: Any, *args: Any, **kwargs: Any) -> None:
            if type(module) is features:
                module.__dict__.update(remembered(*args, **kwargs).__dict__)
            else:
                initialise(module, *args, **kwargs)

        initialise_alike.__signature__ = inspect.signature(initialise)  # type: ignore[attr-defined]
        features.__init__ = initialise_alike

    def _before(self, make: Callable[..., Any], described: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(described)

        def remembered(*args: Any, **kwargs: Any) -> Any:
            bound = signature.bind(*args, **kwargs)
            if not self.downloads:
                bound.arguments["pretrained"] = False
            return self._recall(described.__name__, bound, make)

        remembered.__signature__ = signature  # type: ignore[attr-defined]
        return remembered

    def _recall(self, name: str, bound: Any, make: Callable[..., Any]) -> Any:
        import torch

        key = _key(name, bound.arguments)
        if not key:
            return make(*bound.args, **bound.kwargs)
        if key not in self.built:
            module = make(*bound.args, **bound.kwargs)
            self._remember(key, module)
            return module
        self.built.move_to_end(key)
        torch.set_rng_state(self.built[key].generator)
        return copy.deepcopy(self.built[key].module)

    def _remember(self, key: str, module: Any) -> None:
        import torch

        size = sum(map(_bytes_of, module.state_dict().values()))
        if size > self.room:
            return
        kept = copy.deepcopy(module)
        tensors = {_head(flat): _Known(flat) for flat in map(_bytes, kept.state_dict().values())}
        self.built[key] = _Backbone(kept, torch.get_rng_state(), size, tensors)
        while sum(row.size for row in self.built.values()) > self.room:
            self.built.popitem(last=False)

    def digest(self, tensor: Any) -> str:
        """Return the SHA-256 of a tensor; where remembered bytes are the same, which is quicker to see, theirs."""
        flat = _bytes(tensor)
        head = _head(flat)
        alike = [row.tensors[head] for row in self.built.values() if head in row.tensors]
        # one backbone may have the tensors of another one: those whose digest is known come first
        for known in sorted(alike, key=lambda known: not known.told):
            if _same(flat, known.flat):
                known.told = known.told or _digest(flat)
                return known.told
        return _digest(flat)


class _Known:
    """The bytes of a remembered tensor, and their digest once it was asked for."""

    __slots__ = ("flat", "told")

    def __init__(self, flat: Any) -> None:
        self.flat, self.told = flat, ""


class _Backbone(NamedTuple):
    """A backbone as it was built, the generator afterwards, its size in bytes, and its tensors by their heads."""

    module: Any
    generator: Any
    size: int
    tensors: dict[tuple[int, bytes], _Known]


def _key(name: str, arguments: Any) -> str:
    """Tell a construction by its arguments and the generator; empty where it cannot or must not be remembered."""
    import torch

    if arguments.get("pretrained") or torch.empty(0).device.type != "cpu":
        return ""
    try:
        told = json.dumps(arguments, sort_keys=True)
    except (TypeError, ValueError):
        return ""
    return f"{name} {told} {_digest(torch.get_rng_state())}"


_backbones = _Backbones()


# --- values ------------------------------------------------------------------------------------------------------


_STEPS = ((0x3779B1, 12), (0xEBCA6B, 11))


class _Pool:
    """``2 ** POOL`` values in (-1, 1), all different, in a fixed shuffled order; slices of it fill tensors."""

    def __init__(self) -> None:
        self.values: Any = None

    def _make(self) -> Any:
        import torch

        mask, size = (1 << POOL) - 1, 1 << 16
        values = torch.empty(1 << POOL, dtype=torch.float32)
        # every step is a bijection on POOL bits: odd factors and shifted xors. Only these bits of a product count, so
        # int32 may overflow; blocks stay in the processor's cache
        for start in range(0, 1 << POOL, size):
            ranks = torch.arange(start, start + size, dtype=torch.int32)
            for factor, shift in _STEPS:
                ranks.mul_(factor).bitwise_and_(mask)
                ranks.bitwise_xor_(ranks >> shift)
            values[start : start + size] = ranks.mul_(2).add_(1 - (1 << POOL))
        return values.mul_(2.0**-POOL)

    def fill(self, flat: Any, name: str, scale: float) -> None:
        """Write values of the pool times a power of two; each further poolful is halved, so that none repeats."""
        import torch

        if self.values is None:
            self.values = self._make()
        size, place, done = len(self.values), _number(name) % (1 << POOL), 0
        while done < flat.numel():
            count = min(flat.numel() - done, size - place, size - done % size)
            factor = scale * 2.0 ** -(done // size)
            torch.mul(self.values[place : place + count], factor, out=flat[done : done + count])
            done, place = done + count, (place + count) % size


_pool = _Pool()


def _number(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()[:8], "big")


def _filled(name: str, tensor: Any) -> Any:
    """Return a tensor of the same shape and dtype with different values everywhere, told by the name alone.

    Weights have a spread that keeps activations near one; what scales or divides lies in [0.75, 1.25). Integers that
    count batches get a small count, and other integers and booleans (indices, masks) keep their values.
    """
    import torch

    last = name.rpartition(".")[2]
    if not tensor.is_floating_point():
        return torch.full_like(tensor, 1 + _number(name) % 7) if last == "num_batches_tracked" else tensor
    if tensor.is_complex() or tensor.numel() == 0:
        return tensor
    values = torch.empty(tensor.numel(), dtype=torch.float32)
    if tensor.dim() < 2 and last not in ("bias", "running_mean"):
        _near_one(values, name)
    else:
        _pool.fill(values, name, _spread(tensor, last))
    return values.reshape(tensor.shape).to(tensor.dtype)


def _near_one(flat: Any, name: str) -> None:
    import torch

    bits = max(1, (flat.numel() - 1).bit_length())
    ranks = torch.arange(flat.numel(), dtype=torch.int64) * 0x9E3779B1 + _number(name) % (1 << bits)
    flat.copy_((ranks % (1 << bits)).to(torch.float32) * 2.0 ** -(bits + 1) + 0.75)


def _spread(tensor: Any, last: str) -> float:
    """Return a power of two, so that scaling keeps different values different."""
    if tensor.dim() < 2:
        return 0.125
    fan_in = max(1, tensor.numel() // max(1, tensor.shape[0]))
    return float(2.0 ** round(math.log2(math.sqrt(3.0 / fan_in))))


def _digest(tensor: Any) -> str:
    """Return the SHA-256 of the elements' bytes in row-major order."""
    return hashlib.sha256(memoryview(_bytes(tensor).numpy())).hexdigest()


def _bytes(tensor: Any) -> Any:
    """Return the elements' bytes in row-major order, as a tensor of one axis."""
    import torch

    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)


def _bytes_of(tensor: Any) -> int:
    return int(tensor.numel() * tensor.element_size())


def _head(flat: Any) -> tuple[int, bytes]:
    """Return what two tensors must share to be the same: how many bytes, and the first of them."""
    return flat.numel(), bytes(flat[:64].numpy())


def _same(first: Any, second: Any) -> bool:
    """Compare bytes: as integers, since numbers that are equal may have other bytes; eight at a time where that goes."""
    import torch

    words = first.numel() - first.numel() % 8
    if any(flat.storage_offset() % 8 for flat in (first, second)):
        return torch.equal(first, second)
    heads = [flat[:words].view(torch.int64) for flat in (first, second)]
    return torch.equal(*heads) and torch.equal(first[words:], second[words:])


def _dtype(tensor: Any) -> str:
    return str(tensor.dtype)[len("torch.") :]


def _layout(state: Any) -> list[Json]:
    return [[name, list(tensor.shape), _dtype(tensor)] for name, tensor in state.items()]


def _samples(tensor: Any, count: int) -> list[float]:
    """Return up to ``count`` elements at evenly spread places; nine digits tell every float32 exactly."""
    flat = tensor.detach().cpu().reshape(-1)
    total = flat.numel()
    places = sorted({(2 * index + 1) * total // (2 * count) for index in range(count)}) if total else []
    return [float(f"{float(flat[place]):.9g}") for place in places]


def _state_of(layout: list[Json], own: Any) -> Any:
    """Return the filled state dict of a layout, own tensors lending integers their values."""
    import torch

    state: OrderedDict[str, Any] = OrderedDict()
    for name, shape, dtype in layout:
        mine = own.get(name)
        known = mine is not None and list(mine.shape) == list(shape) and _dtype(mine) == dtype
        state[name] = _fills.of(name, mine if known else torch.zeros(shape, dtype=getattr(torch, dtype)))
    return state


class _Fills:
    """Filled tensors, remembered: cases of one class share most names and shapes. Models copy them, nothing changes them."""

    room = 512 << 20

    def __init__(self) -> None:
        self.made: OrderedDict[Any, Any] = OrderedDict()
        self.size = 0

    def of(self, name: str, like: Any) -> Any:
        """Return the filled tensor of a name, of the shape and dtype of another one."""
        if not like.is_floating_point():
            return _filled(name, like)
        key = (name, like.shape, like.dtype)
        if key not in self.made:
            self.made[key] = _filled(name, like)
            self.size += _bytes_of(like)
        self.made.move_to_end(key)
        while self.size > self.room and len(self.made) > 1:
            self.size -= _bytes_of(self.made.popitem(last=False)[1])
        return self.made[key]


_fills = _Fills()


# --- running -----------------------------------------------------------------------------------------------------


class _Model(NamedTuple):
    """A built model, how long that took just now, and what was told of it while its weights were the initial ones."""

    module: Any
    seconds: float
    told: dict[str, Json]


_sources: dict[str, _Source] = {}
_models: OrderedDict[str, _Model] = OrderedDict()
_capacity = 0


def _tuples(value: Json) -> Any:
    """Lists stand for tuples, at any depth; ``{"list": [...]}`` for a list, where old code takes nothing else."""
    if isinstance(value, list):
        return tuple(_tuples(item) for item in value)
    if isinstance(value, dict) and list(value) == ["list"]:
        return list(_tuples(value["list"]))
    return {key: _tuples(item) for key, item in value.items()} if isinstance(value, dict) else value


def _seed(seed: int) -> None:
    import numpy
    import torch

    random.seed(seed)
    numpy.random.seed(seed % (1 << 32))
    torch.manual_seed(seed)


def _run(request: Json) -> Json:
    """Build one class with one configuration, and report.

    The request has ``source``, ``class``, ``config``, ``seed`` and ``report``, a list of:

    - ``layout``: ordered ``[name, shape, dtype]`` of the state dict;
    - ``initial``: digests of the seeded initial weights, in the same order, and the generator's digest after building;
    - ``eval``, ``train``: outputs for ``input`` (a shape) under filled weights, buffers and generator afterwards;
    - ``gradients``: for each of the two modes, the digests of the gradients of a scalar of the outputs;
    - ``modules``: for each of the two modes, every submodule's call in the order in which the calls ended.

    Options: ``device`` (``"cpu"`` or ``"meta"``), ``samples`` (how many elements of each tensor are reported as
    numbers), ``norms`` (whether the root mean square of each goes with them), ``load`` (the layout of a state dict to
    load strictly instead of the model's own), ``weights`` (a safetensors file to load strictly), ``inputs`` (a
    safetensors file with the tensor ``input``), ``arguments`` (what ``forward`` gets besides the input), ``tensors``
    (shapes of further tensors that it gets, by name; with ``samples``, ``modules`` has numbers of every call), ``modes``
    (which of eval and train the gradients and modules are about), ``save`` (a safetensors file to write, with
    ``keep``: any of initial, weights, input, eval, train, buffers).
    """
    if request["source"] not in _sources:
        raise Refused(f"no such source: {request['source']!r}")
    attempt = _Attempt("build")
    with attempt:
        model = _built(request)
    if attempt.error:
        return {"error": attempt.error}
    with _sources[request["source"]]:
        return _Session(request, model).answer()


def _built(request: Json) -> _Model:
    wanted = {key: request.get(key) for key in ("source", "class", "config", "seed", "device")}
    key = json.dumps(wanted, sort_keys=True)
    if key in _models and ("initial" not in request["report"] or _retold(_models[key], request)):
        _models.move_to_end(key)
        return _models[key]._replace(seconds=0.0)
    _models.pop(key, None)
    while len(_models) >= max(1, _capacity):
        _models.popitem(last=False)
    model = _build(request)
    if _capacity:
        _models[key] = model
    return model


def _retold(model: _Model, request: Json) -> bool:
    """Whether the initial weights of a reused model, which is filled by now, were told as they are asked for now."""
    return not request.get("save") and request.get("samples", 0) == model.told.get("samples")


def _build(request: Json) -> _Model:
    import torch

    source = _sources[request["source"]]
    kind = source.find(request["class"])
    config = _tuples(request["config"])
    # modules may lie in cycles; without this the last models stay until some later collection
    gc.collect()
    begun = time.perf_counter()
    # torch looks at every call while a device is chosen, so the ordinary one is not
    device = torch.device(request["device"]) if request.get("device") else contextlib.nullcontext()
    with source, device:
        _seed(int(request.get("seed", 0)))
        module = kind(**config)
    return _Model(module, time.perf_counter() - begun, {})


class _Session:
    """One ``run`` request at work."""

    def __init__(self, request: Json, model: _Model) -> None:
        self.request, self.module, self.told = request, model.module, model.told
        self.report = set(request["report"])
        self.samples = int(request.get("samples", 0))
        self.meta = request.get("device") == "meta"
        self.keep = set(request.get("keep", ())) if request.get("save") else set()
        self.kept: dict[str, Any] = {}
        self.seconds: dict[str, float] = {"build": model.seconds}
        self.filled: Any = None

    def answer(self) -> Json:
        import torch

        generator = torch.get_rng_state()
        result: Json = {"layout": _layout(self.module.state_dict())} if "layout" in self.report else {}
        if "initial" in self.report:
            result["initial"] = self.told.get("initial") or self._timed("digest", self._initial, generator)
            self.told.update(initial=result["initial"], samples=self.samples)
        if self.report & {"eval", "train", "gradients", "modules"}:
            result.update(self._passes())
        if self.kept:
            self._save()
        return {**result, "seconds": {key: round(value, 4) for key, value in self.seconds.items()}}

    def _timed(self, name: str, function: Callable[..., Any], *args: Any) -> Any:
        begun = time.perf_counter()
        result = function(*args)
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begun
        return result

    def _initial(self, generator: Any) -> Json:
        state = self.module.state_dict()
        self._keep("initial", state)
        result: Json = {"digests": list(map(_backbones.digest, state.values())), "generator": _digest(generator)}
        if self.samples:
            result["samples"] = [_samples(tensor, self.samples) for tensor in state.values()]
            result["norms"] = [_norm(tensor) for tensor in state.values()] if self.request.get("norms") else []
        return result

    def _passes(self) -> Json:
        loading = _Attempt("load")
        with loading:
            self._timed("fill", self._load)
        if loading.error:
            return {"error": loading.error}
        result: Json = {"loaded": len(self.filled)}
        for mode in ("eval", "train"):
            if mode in self.report:
                result[mode] = self._timed(mode, self._forward, mode)
        for name, function in (("gradients", self._gradients), ("modules", self._modules)):
            if name in self.report:
                result[name] = {mode: self._timed(name, function, mode) for mode in self._modes()}
        return result

    def _modes(self) -> list[str]:
        asked = self.request.get("modes") or [mode for mode in ("eval", "train") if mode in self.report]
        return list(asked) or ["eval", "train"]

    def _load(self) -> None:
        """Fill the weights, by a strict load of a state dict of this layout or of another one's."""
        own = self.module.state_dict()
        if self.request.get("weights"):
            from safetensors.torch import load_file

            self.filled = load_file(self.request["weights"])
        elif self.meta:
            self.filled = own
            return
        else:
            self.filled = _state_of(self.request.get("load") or _layout(own), own)
        self._keep("weights", self.filled)
        self.module.load_state_dict(self.filled, strict=True)

    def _restore(self) -> None:
        """Bring the buffers back to their filled values: a pass in train mode moves them."""
        import torch

        with torch.no_grad():
            for name, buffer in self.module.named_buffers():
                if name in self.filled and not self.meta:
                    buffer.copy_(self.filled[name])

    def _input(self) -> Any:
        if self.request.get("inputs"):
            from safetensors.torch import load_file

            # a tensor of a file may begin at an odd address, where some kernels add up in another order
            return load_file(self.request["inputs"])["input"].clone()
        return self._tensor("input", self.request["input"])

    def _tensor(self, name: str, shape: Any) -> Any:
        import torch

        if self.meta:
            return torch.empty(list(shape), device="meta")
        values = torch.empty(list(shape), dtype=torch.float32)
        _pool.fill(values.reshape(-1), name, 1.0)
        return values

    def _call(self, mode: str, x: Any) -> Any:
        self._restore()
        self.module.train(mode == "train")
        _seed(int(self.request.get("seed", 0)))
        more = {name: self._tensor(name, shape) for name, shape in self.request.get("tensors", {}).items()}
        return self.module(x, **more, **self.request.get("arguments", {}))

    def _forward(self, mode: str) -> Json:
        import torch

        attempt = _Attempt("forward")
        with attempt, torch.no_grad():
            x = self._input()
            self._keep("input", {"input": x})
            outputs = self._call(mode, x)
            return self._told(mode, outputs)
        return {"error": attempt.error}

    def _told(self, mode: str, outputs: Any) -> Json:
        import torch

        named = list(_tensors(outputs))
        generator = torch.get_rng_state()
        self._keep(mode, dict(named))
        told: Json = {"type": type(outputs).__name__, "outputs": [self._described(name, out) for name, out in named]}
        if self.meta:
            return told
        buffers = {name: buffer for name, buffer in self.module.named_buffers() if name in self.filled}
        self._keep("buffers", buffers if mode == "train" else {})
        told["generator"] = _digest(generator)
        told["buffers"] = {name: _digest(buffer) for name, buffer in buffers.items()}
        return told

    def _described(self, name: str, tensor: Any) -> Json:
        import torch

        told: Json = {"name": name, "shape": list(tensor.shape), "dtype": _dtype(tensor)}
        if not self.meta:
            told["digest"] = _digest(tensor)
            told["finite"] = bool(torch.isfinite(tensor).all())
        if self.samples and not self.meta:
            told["samples"], told["norm"] = _samples(tensor, 4 * self.samples), _norm(tensor)
        return told

    def _gradients(self, mode: str) -> Json:
        attempt = _Attempt("forward")
        with attempt:
            self.module.zero_grad(set_to_none=True)
            x = self._input().requires_grad_(True)
            scalar = _scalar(self._call(mode, x))
            attempt.stage = "backward"
            scalar.backward()
            named = {name: parameter.grad for name, parameter in self.module.named_parameters()}
            digests = {name: None if grad is None else _digest(grad) for name, grad in named.items()}
            self.module.zero_grad(set_to_none=True)
            return {"scalar": _digest(scalar), "input": _digest(x.grad), "parameters": digests}
        return {"error": attempt.error}

    def _modules(self, mode: str) -> Json:
        import torch

        trace = _Trace(self.module, self.samples)
        attempt = _Attempt("forward")
        with trace, attempt, torch.no_grad():
            self._call(mode, self._input())
        return {"calls": trace.calls, "numbers": trace.numbers, **({"error": attempt.error} if attempt.error else {})}

    def _keep(self, kind: str, tensors: Any) -> None:
        if kind in self.keep:
            self.kept.update(
                {f"{kind}/{name}": tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
            )

    def _save(self) -> None:
        from safetensors.torch import save_file

        save_file(self.kept, self.request["save"])


class _Trace:
    """Hooks on every submodule that note its calls, in the order in which they ended, innermost first."""

    def __init__(self, module: Any, samples: int = 0) -> None:
        self.module, self.samples = module, samples
        self.calls: list[Json] = []
        self.numbers: list[Json] = []
        self.stack: list[tuple[str, list[float]]] = []
        self.handles: list[Any] = []

    def __enter__(self) -> None:
        for name, module in self.module.named_modules():
            self.handles.append(module.register_forward_pre_hook(self._begin))
            self.handles.append(module.register_forward_hook(self._end(name)))

    def __exit__(self, *_: Any) -> None:
        for handle in self.handles:
            handle.remove()

    def _begin(self, module: Any, inputs: Any) -> None:
        # digests are taken before the call, since a module may work in place
        given = inputs[0] if len(inputs) == 1 else inputs
        self.stack.append((_combined(given), self._told(given)))

    def _end(self, name: str) -> Callable[[Any, Any, Any], None]:
        def note(module: Any, inputs: Any, outputs: Any) -> None:
            digest, told = self.stack.pop()
            self.calls.append([name, type(module).__name__, digest, _combined(outputs)])
            self.numbers.append([told, self._told(outputs)])

        return note

    def _told(self, value: Any) -> list[float]:
        """Return root mean square and a few elements of each tensor; nothing where no samples are asked for."""
        tensors = _tensors(value) if self.samples else ()
        return [number for _, tensor in tensors for number in (_norm(tensor), *_samples(tensor.float(), self.samples))]


def _combined(value: Any) -> str:
    whole = hashlib.sha256()
    for name, tensor in _tensors(value):
        whole.update(f"{name}:{_dtype(tensor)}:{tuple(tensor.shape)}:{_digest(tensor)};".encode())
    return whole.hexdigest()


def _tensors(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Name every tensor in what a forward pass returned: by attribute, key or place; a lone tensor is ``output``."""
    import torch

    if isinstance(value, torch.Tensor):
        yield prefix or "output", value
        return
    items = value if isinstance(value, dict) else getattr(value, "__dict__", None)
    if isinstance(value, (list, tuple)):
        items = dict(enumerate(value))
    for name, item in (items or {}).items():
        yield from _tensors(item, f"{prefix}.{name}" if prefix else str(name))


def _scalar(outputs: Any) -> Any:
    """Return one number that depends on every element of every output, each with a weight of its own."""
    import torch

    total = torch.zeros(())
    for name, tensor in _tensors(outputs):
        weight = torch.empty(tensor.shape, dtype=torch.float32)
        _pool.fill(weight.reshape(-1), f"scalar {name}", 1.0)
        total = total + (tensor.float() * weight).sum()
    return total


def _norm(tensor: Any) -> float:
    """Return the root mean square of the elements."""
    import torch

    if tensor.numel() == 0:
        return 0.0
    return float(f"{float(tensor.detach().to(torch.float64).square().mean().sqrt()):.6g}")


# --- requests ----------------------------------------------------------------------------------------------------


def _source(request: Json) -> Json:
    _sources[request["id"]] = _Source(request)
    # models of another source that had this name
    _models.clear()
    return {}


def _class(request: Json) -> Json:
    """Describe the constructor of a class: ``[name, kind, has a default, the default as JSON or its repr]``."""
    attempt = _Attempt("import")
    with attempt:
        found = _sources[request["source"]].find(request["class"])
        name = getattr(found, "__module__", request["class"])
        module = _sources[request["source"]].modules.get(name) or sys.modules.get(name)
        parameters = inspect.signature(found).parameters.values() if callable(found) else ()
        rows = [[p.name, p.kind.name, p.default is not p.empty, _plain(p.default)] for p in parameters]
        return {"file": getattr(module, "__file__", None), "module": name, "signature": rows}
    return {"error": attempt.error}


def _plain(value: Any) -> Json:
    if value is inspect.Parameter.empty:
        return None
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else repr(value)


def _names(request: Json) -> Json:
    found = {}
    for dotted in request["names"]:
        attempt = _Attempt("import")
        with attempt:
            _sources[request["source"]].find(dotted)
        found[dotted] = attempt.error
    return {"names": found}


_galleries: list[Any] = []


def _gallery() -> Any:
    if not _galleries:
        _galleries.append(_neighbour("emulation").Gallery(_tensors, _seed))
    return _galleries[0]


def _outputs(request: Json) -> Json:
    if request["source"] not in _sources:
        raise Refused(f"no such source: {request['source']!r}")
    attempt = _Attempt("build")
    with attempt:
        model = _built({**request, "report": []})
        attempt.stage = "forward"
        with _sources[request["source"]]:
            return _gallery().run(model.module, request)
    return {"error": attempt.error}


def _compare(request: Json) -> Json:
    return _gallery().compare(request)


def _answer(request: Json) -> Json:
    operations = {
        "start": _start,
        "source": _source,
        "class": _class,
        "names": _names,
        "run": _run,
        "outputs": _outputs,
        "compare": _compare,
    }
    if request.get("op") not in operations:
        raise Refused(f"no such request: {request.get('op')!r}")
    return operations[request["op"]](request)


def _listen(stream: Any, requests: queue.Queue[Any]) -> None:
    """Read requests while the main thread computes; end the process once nobody can ask any more."""
    for line in stream:
        requests.put(line)
    requests.put(None)


def main() -> int:
    """Answer requests until standard input ends."""
    global _capacity
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
    asked = os.fdopen(os.dup(0), "r", encoding="utf-8", newline="\n")
    # what strange code prints or reads must not mix with the answers
    os.dup2(2, 1)
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    first = json.loads(asked.readline())
    _capacity = int(first.get("cache", 0))
    answer = _attempted(first)
    requests: queue.Queue[Any] = queue.Queue()
    threading.Thread(target=_listen, args=(asked, requests), daemon=True).start()
    while True:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
        line = requests.get()
        if line is None:
            return 0
        answer = _attempted(json.loads(line))


def _attempted(request: Json) -> Json:
    attempt = _Attempt("worker")
    with attempt:
        return {**_answer(request), "mark": request.get("mark")}
    return {"failed": attempt.error, "mark": request.get("mark")}


if __name__ == "__main__":
    sys.exit(main())

"""Models: built under a seed, and some of them kept for further requests."""

from __future__ import annotations

import contextlib
import gc
import json
import time
from collections import OrderedDict
from typing import Any, NamedTuple

from .guard import Json
from .sources import Source
from .values import set_seed


class BuiltModel(NamedTuple):
    """A model, how long building took just now, and what was said of it while its weights were the initial ones."""

    module: Any
    seconds: float
    initial_facts: dict[str, Json]


class ModelCache:
    """The last models that were built.

    Parameters
    ----------
    capacity : int
        How many are kept; with 0, none outlives its request.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._models: OrderedDict[str, BuiltModel] = OrderedDict()

    def clear(self) -> None:
        """Forget all: a source has another meaning now."""
        self._models.clear()

    def model_for(self, request: Json, source: Source) -> BuiltModel:
        """Return a kept model where it will do, else a new one."""
        wanted = {key: request.get(key) for key in ("source", "class", "config", "seed", "device")}
        key = json.dumps(wanted, sort_keys=True)
        if key in self._models and ("initial" not in request["report"] or _knows(self._models[key], request)):
            self._models.move_to_end(key)
            return self._models[key]._replace(seconds=0.0)
        self._models.pop(key, None)
        # room is made first: two of the largest models side by side are what fills a worker
        while len(self._models) >= max(1, self._capacity):
            self._models.popitem(last=False)
        model = build(request, source)
        if self._capacity:
            self._models[key] = model
        return model


def _knows(model: BuiltModel, request: Json) -> bool:
    """Whether the initial weights of a kept model, which is filled by now, were told as they are asked for now."""
    return not request.get("save") and request.get("samples", 0) == model.initial_facts.get("samples")


def build(request: Json, source: Source) -> BuiltModel:
    """Build one class with one configuration; where the initial weights are not asked for, none are drawn."""
    import torch

    from .draws import WithoutDraws

    kind = source.find(request["class"])
    config = as_tuples(request["config"])
    # modules may lie in cycles; without this the last models stay until some later collection
    gc.collect()
    begun = time.perf_counter()
    # torch looks at every call while a device is chosen, so the ordinary one is not
    device = torch.device(request["device"]) if request.get("device") else contextlib.nullcontext()
    # other weights take the place of those that nobody asks for
    drawing = contextlib.nullcontext() if "initial" in request["report"] else WithoutDraws()
    with source, device, drawing:
        set_seed(int(request.get("seed", 0)))
        module = kind(**config)
    return BuiltModel(module=module, seconds=time.perf_counter() - begun, initial_facts={})


def as_tuples(value: Json) -> Any:
    """Lists stand for tuples, at any depth; ``{"list": [...]}`` for a list, where old code takes nothing else."""
    if isinstance(value, list):
        return tuple(as_tuples(item) for item in value)
    if isinstance(value, dict) and list(value) == ["list"]:
        return list(as_tuples(value["list"]))
    return {key: as_tuples(item) for key, item in value.items()} if isinstance(value, dict) else value

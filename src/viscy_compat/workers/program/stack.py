"""Imports what models are made of, and leaves out what no model computes with: half of the time of a plain import.

Nothing is replaced for good: what is left out is imported as soon as somebody asks for it.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
from typing import Any, Callable, Iterator

COMPILER = "torch._dynamo"
"""torch's compiler. timm and torchvision import it for decorators that mean something in compiled code alone."""

OF_A_GPU = ("cuda",)
"""The package by which torch and MONAI call a GPU's driver, where it is there."""

LEFT_OUT = ("matplotlib", "gdown", "requests", "bs4", "jsonschema")
"""What MONAI draws training curves with, fetches data sets with and checks its bundles with, where it is there."""


def import_stack(device: str = "cpu") -> dict[str, str]:
    """Import torch, timm and MONAI with one thread, and return their versions."""
    # an import makes no garbage that matters, and looking for it takes a fifth of the time
    gc.disable()
    of_a_gpu = () if device == "cuda" else OF_A_GPU
    with _without(of_a_gpu):
        import torch

    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    _defer_compiler(torch)
    import timm

    # by now what timm itself wants of them is there
    with _without((*of_a_gpu, *LEFT_OUT)):
        import monai
        import monai.networks.nets  # the old classes need it, and it is part of the price of the import
    # what was imported stays: switched on, the collector would begin by walking all of it, a sixth of the time once more
    gc.freeze()
    gc.enable()
    return {module.__name__: getattr(module, "__version__", "") for module in (torch, timm, monai)}


class NoGpu(Exception):
    """torch sees no GPU."""


def start_gpu() -> None:
    """Take the GPU before anything is sealed, and repeatable algorithms alone: its driver opens devices and threads."""
    import torch

    if not torch.cuda.is_available():
        raise NoGpu("torch sees no GPU")
    torch.use_deterministic_algorithms(True)
    torch.zeros(1, device="cuda")


@contextlib.contextmanager
def _without(names: tuple[str, ...]) -> Iterator[None]:
    """Let packages that are optional for those who import them here be absent for a while."""
    finder = _Absence(names)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _Absence(importlib.abc.MetaPathFinder):
    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        if fullname in self._names:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


class DeferredModule(types.ModuleType):
    """Stands for a module until anything is asked of it that it does not have itself; from then on, for that module.

    Parameters
    ----------
    spec : importlib.machinery.ModuleSpec
        The module that it stands for.
    load : Callable[[], None]
        Takes the stand-ins away.
    """

    def __init__(self, spec: Any, load: Callable[[], None]) -> None:
        super().__init__(spec.name)
        self.__dict__.update(__spec__=spec, __file__=spec.origin, _load=load)

    def __getattr__(self, name: str) -> Any:
        # who looks at every module that is imported asks for such names; of a package, the path is asked for its modules
        spec: Any = self.__spec__
        if name.startswith("__") and not (name == "__path__" and spec.submodule_search_locations):
            raise AttributeError(name)
        self._load()
        return getattr(importlib.import_module(self.__name__), name)


def _defer_compiler(torch: Any) -> None:
    """Put stand-ins in the place of the compiler, with the two functions that an import calls."""
    names = (COMPILER, f"{COMPILER}.utils")
    specs = [importlib.util.find_spec(COMPILER)]
    if COMPILER in sys.modules or specs[0] is None:
        return
    folder = specs[0].submodule_search_locations
    specs.append(importlib.machinery.PathFinder.find_spec(names[1], folder))
    if specs[1] is None:
        return

    def load() -> None:
        for name in names:
            if isinstance(sys.modules.get(name), DeferredModule):
                del sys.modules[name]
        torch._dynamo = importlib.import_module(COMPILER)

    def disable(fn: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Where nothing is compiled, a function that must not be compiled is the function itself."""
        return fn if fn is not None else lambda decorated: decorated

    def is_compile_supported(device: Any) -> Any:
        load()
        return importlib.import_module(names[1]).is_compile_supported(device)

    compiler, utils = (DeferredModule(spec, load) for spec in specs)
    compiler.__dict__.update(disable=disable, utils=utils)
    utils.__dict__.update(is_compile_supported=is_compile_supported)
    sys.modules.update(zip(names, (compiler, utils)))
    torch._dynamo = compiler

"""The calls of every submodule in one forward pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .guard import Json
from .digests import digest_of_all, norm_of, samples_of, tensors_in


class ModuleTrace:
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

    def __exit__(self, *_: object) -> None:
        for handle in self.handles:
            handle.remove()

    def _begin(self, module: Any, inputs: Any) -> None:
        # digests are taken before the call, since a module may work in place
        given = inputs[0] if len(inputs) == 1 else inputs
        self.stack.append((digest_of_all(given), self._numbers(given)))

    def _end(self, name: str) -> Callable[[Any, Any, Any], None]:
        def note(module: Any, inputs: Any, outputs: Any) -> None:
            digest, numbers = self.stack.pop()
            self.calls.append([name, type(module).__name__, digest, digest_of_all(outputs)])
            self.numbers.append([numbers, self._numbers(outputs)])

        return note

    def _numbers(self, value: Any) -> list[float]:
        """Return root mean square and a few elements of each tensor; nothing where no samples are asked for."""
        tensors = tensors_in(value) if self.samples else ()
        return [
            number for _, tensor in tensors for number in (norm_of(tensor), *samples_of(tensor.float(), self.samples))
        ]

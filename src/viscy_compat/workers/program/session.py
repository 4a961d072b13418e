"""One ``run`` request at work: initial weights, a strict load of filled ones, and what the passes give."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from .backbones import BackboneMemory
from .digests import digest_of, dtype_of, layout_of, norm_of, samples_of, tensors_in
from .guard import Guard, Json
from .models import BuiltModel
from .sharing import place
from .trace import ModuleTrace
from .values import fill_state, pool, scalar_of, set_seed


class Session:
    """One ``run`` request at work.

    Parameters
    ----------
    request : dict
        See `viscy_compat.workers.program.loop`.
    model : BuiltModel
        The model; freshly built where its initial weights are asked for.
    backbones : BackboneMemory
        Knows the digests of many initial weights.
    """

    def __init__(self, request: Json, model: BuiltModel, backbones: BackboneMemory) -> None:
        self.request, self.module, self.facts = request, model.module, model.initial_facts
        self.backbones = backbones
        self.report = set(request["report"])
        self.samples = int(request.get("samples", 0))
        self.meta = request.get("device") == "meta"
        self.place = request.get("place") or "cpu"
        self.keep = set(request.get("keep", ())) if request.get("save") else set()
        self.kept: dict[str, Any] = {}
        self.seconds: dict[str, float] = {"build": model.seconds}
        self.filled: Any = None

    def answer(self) -> Json:
        """Report what was asked for, with the seconds of each part."""
        import torch

        generator = torch.get_rng_state()
        result: Json = {"layout": layout_of(self.module.state_dict())} if "layout" in self.report else {}
        if "initial" in self.report:
            result["initial"] = self.facts.get("initial") or self._time("digest", self._initial, generator)
            self.facts.update(initial=result["initial"], samples=self.samples)
        if self.report & {"eval", "train", "gradients", "modules", "slopes"}:
            result.update(self._passes())
        if self.kept:
            from safetensors.torch import save_file

            save_file(self.kept, self.request["save"])
        return {**result, "seconds": {key: round(value, 4) for key, value in self.seconds.items()}}

    def _time(self, name: str, function: Callable[..., Any], *args: Any) -> Any:
        begun = time.perf_counter()
        result = function(*args)
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begun
        return result

    def _initial(self, generator: Any) -> Json:
        state = self.module.state_dict()
        self._keep("initial", state)
        result: Json = {"digests": list(map(self.backbones.digest, state.values())), "generator": digest_of(generator)}
        if self.samples:
            result["samples"] = [samples_of(tensor, self.samples) for tensor in state.values()]
            result["norms"] = [norm_of(tensor) for tensor in state.values()] if self.request.get("norms") else []
        return result

    def _passes(self) -> Json:
        guard = Guard("load")
        with guard:
            result: Json = {"loaded": self._time("fill", self._load)}
        if guard.error:
            return {"error": guard.error}
        for mode in ("eval", "train"):
            if mode in self.report:
                result[mode] = self._time(mode, self._forward, mode)
        for name, function in (("gradients", self._gradients), ("modules", self._modules)):
            if name in self.report:
                result[name] = {mode: self._time(name, function, mode) for mode in self._modes()}
        if "slopes" in self.report:
            result["slopes"] = self._time("slopes", self._slopes)
        return result

    def _modes(self) -> list[str]:
        modes = self.request.get("modes") or [mode for mode in ("eval", "train") if mode in self.report]
        return list(modes) or ["eval", "train"]

    def _load(self) -> int:
        """Fill the weights, by a strict load of a state dict of this layout or of another one's, and count them."""
        own = self.module.state_dict()
        known = self.facts.pop("filled", {})
        is_its_own = not (self.request.get("weights") or self.request.get("load"))
        if self.request.get("weights"):
            from safetensors.torch import load_file

            self.filled = load_file(self.request["weights"])
        elif self.meta:
            self.filled = own
            return len(own)
        elif known and is_its_own:
            self.filled = {name: known.get(name, tensor) for name, tensor in own.items()}
        else:
            self.filled = fill_state(self.request.get("load") or layout_of(own), own)
        self._keep("weights", self.filled)
        # what lies in a file may begin at an odd address, where some kernels add up in another order
        if is_its_own and self.place == "cpu" and place(self.module, own, self.filled):
            # on the memory of the model itself: its next input needs no other
            self.facts["filled"] = {name: tensor for name, tensor in self.filled.items() if tensor is not own[name]}
        else:
            self.module.load_state_dict(self.filled, strict=True)
            self.module.to(self.place)
        # only buffers are filled once more, and the weights of a large model would stand here twice
        buffers = {name for name, _ in self.module.named_buffers()}
        self.filled = {name: tensor for name, tensor in self.filled.items() if name in buffers}
        return len(own)

    def _buffers(self) -> dict[str, Any]:
        """Return the buffers that were filled, as they are now: a pass may have put others in their place."""
        # most backbones have none, and finding that out means to walk through all modules
        named = self.module.named_buffers() if self.filled and not self.meta else ()
        return {name: buffer for name, buffer in named if name in self.filled}

    def _input(self) -> Any:
        if self.request.get("inputs"):
            from safetensors.torch import load_file

            # a tensor of a file may begin at an odd address, where some kernels add up in another order
            return load_file(self.request["inputs"])["input"].clone().to(self.place)
        x = self._tensor("input", self.request["input"])
        # about as much as another processor may round an input's last bit otherwise
        return x + self._tensor("nudge", self.request["input"]) * 2.0**-23 if self.request.get("nudge") else x

    def _tensor(self, name: str, shape: Any) -> Any:
        import torch

        if self.meta:
            return torch.empty(list(shape), device="meta")
        values = torch.empty(list(shape), dtype=torch.float32)
        pool.fill(values.reshape(-1), name, 1.0)
        return values.to(self.place)

    def _call(self, mode: str, x: Any) -> Any:
        import torch

        # a pass in train mode moves the buffers: each pass begins with the filled values
        with torch.no_grad():
            for name, buffer in self._buffers().items():
                buffer.copy_(self.filled[name])
        self.module.train(mode == "train")
        set_seed(int(self.request.get("seed", 0)))
        more = {name: self._tensor(name, shape) for name, shape in self.request.get("tensors", {}).items()}
        return self.module(x, **more, **self.request.get("arguments", {}))

    def _forward(self, mode: str) -> Json:
        import torch

        guard = Guard("forward")
        with guard, torch.no_grad():
            x = self._input()
            self._keep("input", {"input": x})
            outputs = self._call(mode, x)
            return self._describe_pass(mode, outputs)
        # torch names use_deterministic_algorithms where an operation on the GPU has no repeatable form
        if self.place != "cpu" and "deterministic" in guard.error["message"]:
            return self._unrepeatable(mode, guard.error["message"])
        return {"error": guard.error}

    def _unrepeatable(self, mode: str, reason: str) -> Json:
        """Run a pass for which torch has no repeatable algorithm, and say so: it can be compared by distance alone."""
        import torch

        torch.use_deterministic_algorithms(True, warn_only=True)
        try:
            guard = Guard("forward")
            with guard, torch.no_grad():
                return {**self._describe_pass(mode, self._call(mode, self._input())), "unrepeatable": reason[:200]}
            return {"error": guard.error}
        finally:
            torch.use_deterministic_algorithms(True)

    def _describe_pass(self, mode: str, outputs: Any) -> Json:
        import torch

        generator = torch.cuda.get_rng_state() if self.place == "cuda" else torch.get_rng_state()
        tensors = list(tensors_in(outputs))
        self._keep(mode, dict(tensors))
        rows = [self._describe(name, tensor) for name, tensor in tensors]
        facts: Json = {"type": type(outputs).__name__, "outputs": rows}
        if self.meta:
            return facts
        buffers = self._buffers()
        self._keep("buffers", buffers if mode == "train" else {})
        facts["generator"] = digest_of(generator)
        facts["buffers"] = {name: digest_of(buffer) for name, buffer in buffers.items()}
        return facts

    def _describe(self, name: str, tensor: Any) -> Json:
        import torch

        facts: Json = {"name": name, "shape": list(tensor.shape), "dtype": dtype_of(tensor)}
        if not self.meta:
            facts["digest"] = digest_of(tensor)
            facts["finite"] = bool(torch.isfinite(tensor).all())
        if self.samples and not self.meta:
            facts["samples"], facts["norm"] = samples_of(tensor, 4 * self.samples), norm_of(tensor)
        return facts

    def _gradients(self, mode: str) -> Json:
        guard = Guard("forward")
        with guard:
            self.module.zero_grad(set_to_none=True)
            x = self._input().requires_grad_(True)
            scalar = scalar_of(self._call(mode, x))
            guard.stage = "backward"
            scalar.backward()
            gradients = {name: parameter.grad for name, parameter in self.module.named_parameters()}
            digests = {name: None if grad is None else digest_of(grad) for name, grad in gradients.items()}
            self.module.zero_grad(set_to_none=True)
            return {"scalar": digest_of(scalar), "input": digest_of(x.grad), "parameters": digests}
        return {"error": guard.error}

    def _slopes(self) -> Json:
        """Say of each index behind the channels how steep the outputs are there; nothing where that cannot be told."""
        import torch

        # what cannot be told here is none of the pass's faults: nothing is answered in its place
        with Guard("backward"):
            x = self._input().requires_grad_(True)
            # only the way back to the input is gone, not those to the weights
            (slope,) = torch.autograd.grad(scalar_of(self._call("eval", x)), x)
            return [slope.abs().movedim(axis, 0).flatten(1).amax(1).tolist() for axis in range(2, x.dim())]
        return []

    def _modules(self, mode: str) -> Json:
        import torch

        trace = ModuleTrace(self.module, self.samples)
        guard = Guard("forward")
        with trace, guard, torch.no_grad():
            self._call(mode, self._input())
        return {"calls": trace.calls, "numbers": trace.numbers, **({"error": guard.error} if guard.error else {})}

    def _keep(self, kind: str, tensors: Any) -> None:
        if kind in self.keep:
            self.kept.update(
                {f"{kind}/{name}": tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
            )

"""What a worker knows about precisions: it emulates them on the CPU, alters models, and compares what came out.

`Gallery` keeps the outputs of forward passes by label, and answers with inner products of their differences from what a
user expects: no tensor travels.
"""

from __future__ import annotations

import collections
import contextlib
import copy
import time
from typing import Any, Callable, Iterator

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from .guard import Json

HALVES = {"float16": torch.float16, "bfloat16": torch.bfloat16}
OF_MODELS = {"float16-model": torch.float16, "bfloat16-model": torch.bfloat16}
"""Precisions in which the weights are halved too, and everything between the layers with them."""

_PRODUCTS = ("mm", "addmm", "bmm", "baddbmm")
"""How ATen calls the matrix products that a linear layer or an attention ends in."""

_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Linear)

PIECES = 16
"""Pieces that each output is cut into: how much they disagree says how far a projection can be trusted."""

SAMPLE = 4
"""How many layers of a kind are altered: each costs a forward pass."""


# --- precisions --------------------------------------------------------------------------------------------------


class Rounding(TorchDispatchMode):
    """Computes convolutions and matrix products as a GPU would in a precision.

    ``tf32`` rounds what goes into convolutions to 10 bits, nearest even, but for depthwise ones (measured on an H100:
    those stay in float32); ``tf32-all`` matrix products too. A product of halves, under autocast or in a model of halves,
    is summed in float32, as a GPU does it, and rounded once. ``float32`` sums in float64 and rounds once: what another
    order of summing may change at most is of that size.
    """

    def __init__(self, name: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.name = name

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        kind = function.overloadpacket.__name__
        if kind != "convolution" and kind not in _PRODUCTS:
            return self._as_it_stands(function, args, kwargs)
        if self.name == "float32" or self.name in HALVES or self.name in OF_MODELS:
            wide = torch.float64 if self.name == "float32" else torch.float32
            floats = [isinstance(value, torch.Tensor) and value.is_floating_point() for value in args]
            wide_args = [value.to(wide) if is_float else value for value, is_float in zip(args, floats)]
            return function(*wide_args, **kwargs).to(args[1].dtype)
        if kind == "convolution":
            # ATen's arguments: input, weight, bias, stride, padding, dilation, transposed, output padding, groups
            depthwise = args[8] > 1 and args[8] == args[0].shape[1]
            return function(*(args if depthwise else _round_to_tf32(args, (0, 1))), **kwargs)
        if self.name == "tf32-all":
            # addmm and baddbmm begin with what is added to the product
            args = _round_to_tf32(args, (1, 2) if kind in ("addmm", "baddbmm") else (0, 1))
        return function(*args, **kwargs)

    def _as_it_stands(self, function: Any, args: Any, kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except NotImplementedError:
            # avg_pool3d and others take no halves on the CPU, and do on a GPU, which sums them in float32
            half = OF_MODELS.get(self.name)
            if half is None:
                raise
            halves = [isinstance(value, torch.Tensor) and value.dtype == half for value in args]
            return function(
                *(value.float() if is_half else value for value, is_half in zip(args, halves)), **kwargs
            ).to(half)


def _round_to_tf32(args: Any, places: Any) -> Any:
    return [_to_tf32(value) if place in places else value for place, value in enumerate(args)]


def _to_tf32(tensor: Any) -> Any:
    """Round float32 to the 10 bits of TF32, nearest even."""
    if tensor.dtype != torch.float32:
        return tensor
    # 13 of the 23 bits go: half a step less one is added, and one more where the last bit that stays is odd
    bits = tensor.contiguous().view(torch.int32)
    return ((bits + 0xFFF + ((bits >> 13) & 1)) & ~0x1FFF).view(torch.float32)


@contextlib.contextmanager
def computing_in(name: str) -> Iterator[None]:
    """Compute in a precision; as the processor does it without one."""
    with contextlib.ExitStack() as stack:
        if name in HALVES:
            stack.enter_context(torch.autocast("cpu", dtype=HALVES[name]))
        if name:
            stack.enter_context(Rounding(name))
        yield


# --- alterations -------------------------------------------------------------------------------------------------


class _OtherGelu(TorchDispatchMode):
    """Computes every GELU by the other formula: tanh for erf, erf for tanh."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if function.overloadpacket.__name__ == "gelu":
            kwargs["approximate"] = "none" if kwargs.get("approximate") == "tanh" else "tanh"
        return function(*args, **kwargs)


def alterations(module: Any, channels: int) -> Iterator[Json]:
    """Name small changes that migrations really make and that no layout shows, as far as the model has the place for them."""
    with_eps = [part for part in module.modules() if isinstance(getattr(part, "eps", None), float)]
    for (kind, eps), count in collections.Counter((type(part).__name__, part.eps) for part in with_eps).items():
        # torch has 1e-5, timm's ConvNeXt 1e-6, TensorFlow's batch norm 1e-3
        usual = (1e-6, 1e-5, 1e-3) if "Batch" in kind else (1e-6, 1e-5)
        for other in [value for value in usual if value != eps]:
            yield {"kind": "eps", "type": kind, "from": eps, "to": other, "modules": count}
    if any("gelu" in type(part).__name__.lower() for part in module.modules()):
        yield {"kind": "gelu"}
    layers = [(name, layer) for name, layer in module.named_modules() if isinstance(layer, _LAYERS)]
    with_bias = [name for name, layer in layers if layer.bias is not None and bool(layer.bias.any())]
    wide = [name for name, layer in layers if layer.weight.shape[0] > 1]
    pairs = list(_equal_neighbours(module))
    for kind, places in (("bias", with_bias), ("swap", pairs), ("channels", wide)):
        yield from ({"kind": kind, "at": place, "of": len(places)} for place in _spread(places))
    if channels > 1:
        yield {"kind": "input"}
    moving = sum(getattr(part, "running_mean", None) is not None for part in module.modules())
    if moving:
        yield {"kind": "momentum", "modules": moving}


def _spread(names: list[Any]) -> list[Any]:
    """Return up to `SAMPLE` of them, the first and the last among them."""
    if len(names) <= SAMPLE:
        return names
    return [names[place * (len(names) - 1) // (SAMPLE - 1)] for place in range(SAMPLE)]


def _equal_neighbours(module: Any) -> Iterator[list[str]]:
    """Yield pairs of siblings, one after the other, whose state has one layout and is not the same."""
    for name, parent in module.named_modules():
        children = [(f"{name}.{own}" if name else own, child) for own, child in parent.named_children()]
        for (first, one), (second, other) in zip(children, children[1:]):
            states = [{key: value.shape for key, value in part.state_dict().items()} for part in (one, other)]
            if states[0] and states[0] == states[1]:
                yield [first, second]


@contextlib.contextmanager
def altered(module: Any, change: Json) -> Iterator[None]:
    """Change a model; weights are loaded anew before every pass, everything else is put back here."""
    kind = change["kind"] if change else ""
    with contextlib.ExitStack() as stack, torch.no_grad():
        if kind == "eps":
            for part in module.modules():
                if type(part).__name__ == change["type"] and getattr(part, "eps", None) == change["from"]:
                    part.eps = change["to"]
                    stack.callback(setattr, part, "eps", change["from"])
        elif kind == "gelu":
            stack.enter_context(_OtherGelu())  # type: ignore[no-untyped-call]
        elif kind == "bias":
            module.get_submodule(change["at"]).bias.zero_()
        elif kind == "swap":
            one, other = (module.get_submodule(name) for name in change["at"])
            kept = {key: value.clone() for key, value in one.state_dict().items()}
            one.load_state_dict(other.state_dict(), strict=True)
            other.load_state_dict(kept, strict=True)
        elif kind == "channels":
            _exchange(module.get_submodule(change["at"]))
        yield


def _exchange(layer: Any) -> None:
    """Exchange the first two output channels of a layer."""
    # a transposed convolution has its weight the other way round: inputs first
    axis = 1 if "Transpose" in type(layer).__name__ else 0
    order = torch.arange(layer.weight.shape[axis])
    order[:2] = torch.tensor([1, 0]) if len(order) > 1 else 0
    layer.weight.copy_(layer.weight.index_select(axis, order))
    if layer.bias is not None and len(layer.bias) == len(order):
        layer.bias.copy_(layer.bias[order])


# --- comparing ---------------------------------------------------------------------------------------------------


class Gallery:
    """Outputs of forward passes, by label, with those of inner modules that the user has too."""

    def __init__(self, named: Callable[[Any], Iterator[tuple[str, Any]]], seed: Callable[[int], None]) -> None:
        self.named, self.seed = named, seed
        self.held: dict[str, dict[str, Any]] = {}
        self.weights: tuple[str, Any] = ("", None)

    def run(self, module: Any, request: Json) -> Json:
        """Run a model once and keep what it returned under the label; say what came and what could be altered."""
        from safetensors.torch import load_file

        if self.weights[0] != request["weights"]:
            self.weights = request["weights"], load_file(request["weights"])
        module.load_state_dict(self.weights[1], strict=True)
        module.eval()
        x = load_file(request["inputs"])["input"].float().clone()
        change = request.get("alteration")
        if change and change["kind"] == "input":
            x = x[:, [1, 0, *range(2, x.shape[1])]]
        start = time.perf_counter()
        with altered(module, change):
            outputs, inner, drawn = self._pass(module, x, request)
        seconds = time.perf_counter() - start
        held = {**outputs, **{f"modules/{name}": tensor for name, tensor in inner.items()}}
        self.held[request["label"]] = held
        shapes = {name: [list(tensor.shape), str(tensor.dtype)[len("torch.") :]] for name, tensor in held.items()}
        finite = bool(torch.isfinite(x).all())
        answer = {"outputs": shapes, "draws": drawn, "seconds": seconds, "finite": finite}
        if request.get("list"):
            answer["alterations"] = list(alterations(module, x.shape[1] if x.dim() > 1 else 1))
        return answer

    def _pass(self, module: Any, x: Any, request: Json) -> Any:
        inner: dict[str, Any] = {}
        half = OF_MODELS.get(request.get("precision", ""))
        if half is not None:
            # a copy: no load brings back the bits of a buffer that is not saved
            module, x = copy.deepcopy(module).to(half), x.to(half)

        def note(name: str) -> Callable[[Any, Any, Any], None]:
            def hook(part: Any, given: Any, returned: Any) -> None:
                for own, tensor in self.named(returned):
                    # an output of a module may be overwritten later, in place
                    inner[name if own == "output" else f"{name}.{own}"] = tensor.detach().float().clone()

            return hook

        wanted = {name for name, _ in module.named_modules()} & set(request.get("modules", ()))
        handles = [module.get_submodule(name).register_forward_hook(note(name)) for name in sorted(wanted)]
        try:
            self.seed(int(request.get("seed", 0)))
            before = torch.get_rng_state()
            with torch.no_grad(), computing_in(request.get("precision", "")):
                returned = module(x)
            drawn = not torch.equal(before, torch.get_rng_state())
        finally:
            for handle in handles:
                handle.remove()
        # what the class calls its outputs, in their order: a tuple has places alone
        names, tensors = list(request.get("names", ())), dict(self.named(returned))
        outputs = {}
        for name, tensor in zip([*names, *list(tensors)[len(names) :]], tensors.values()):
            plain = tensor.detach().cpu()
            # halves and booleans are compared as numbers
            is_number = plain.is_floating_point() or plain.dtype == torch.bool
            outputs[name] = (plain.float() if is_number else plain).clone().contiguous()
        return outputs, inner, drawn

    def compare(self, request: Json) -> Json:
        """Answer with inner products of differences, piece by piece.

        The rows and columns of a piece are, in this
        order: expected less the first label, then each other label less the first; all in units of the expected norm.
        Rows of outputs in ``unit`` are brought to length 1 first, as an older class returned them.
        """
        from safetensors.torch import load_file

        expected = load_file(request["expected"])
        rows = {}
        for name in request["names"]:
            shown: list[Any] = [self.held[label].get(name) for label in request["labels"]]
            if name in request.get("unit", ()):
                shown = [tensor / tensor.norm(dim=-1, keepdim=True) for tensor in shown]
            rows[name] = self._compared(expected[name], shown)
        return {"outputs": rows}

    def _compared(self, expected: Any, shown: list[Any]) -> Json:
        base, expected = shown[0], expected.float() if expected.dtype == torch.bool else expected
        if base is None or base.shape != expected.shape:
            return {"shape": None if base is None else list(base.shape)}
        # a user who saved halves saved rounded numbers: all sides are rounded alike
        alike = [tensor.to(expected.dtype) if expected.dtype in HALVES.values() else tensor for tensor in shown]
        wide = expected.double().flatten()
        scale = float(wide.norm()) or 1.0
        first, *others = (tensor.flatten() for tensor in alike)
        pieces = []
        for start in range(PIECES):
            # made wide piece by piece: two dozen whole outputs in float64 are gigabytes
            here = slice(start * len(wide) // PIECES, (start + 1) * len(wide) // PIECES)
            rows = torch.stack([wide[here], *(other[here].double() for other in others)]) - first[here].double()
            rows /= scale
            pieces.append((rows @ rows.T).tolist())
        difference = (wide - first.double()).abs()
        # bytes, not numbers: torch.equal takes 0.0 for -0.0, and no NaN for another one
        views = (tensor.contiguous().view(torch.uint8) for tensor in (alike[0], expected))
        return {
            "shape": list(base.shape),
            "equal": alike[0].dtype == expected.dtype and bool(torch.equal(*views)),
            "largest": float(difference.max()) if len(difference) else 0.0,
            "scale": float(wide.abs().max()) if len(wide) else 0.0,
            "finite": bool(torch.isfinite(wide).all()),
            "pieces": pieces,
        }

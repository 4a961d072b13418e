"""The backbones that timm and MONAI build for models, remembered: building one anew is most of a case."""

from __future__ import annotations

import inspect
import json
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

from .digests import byte_count, byte_view, digest_of, have_same_bytes, head_of
from .sharing import shared_copy, twin_of

ROOM = 256 << 20
"""Bytes of backbones that are remembered, the one that was asked for least going first: two of ordinary size."""


class BackboneMemory:
    """The backbones that timm and MONAI build for models, remembered: building one anew is most of a case.

    What a constructor builds is told by its arguments and the random-number generator. Where both are as they were
    before, a copy of what was built then is returned, and the generator is left as it was left then. Models change
    their copies, never what is remembered.
    """

    def __init__(self) -> None:
        self.downloads, self.room = True, ROOM
        self.built: OrderedDict[str, KeptBackbone] = OrderedDict()

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

        recall = self._before(make, features)

        def initialise_alike(module: Any, *args: Any, **kwargs: Any) -> None:
            if type(module) is features:
                module.__dict__.update(recall(*args, **kwargs).__dict__)
            else:
                initialise(module, *args, **kwargs)

        initialise_alike.__signature__ = inspect.signature(initialise)  # type: ignore[attr-defined]
        features.__init__ = initialise_alike

    def _before(self, make: Callable[..., Any], pattern: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(pattern)

        def recall(*args: Any, **kwargs: Any) -> Any:
            bound = signature.bind(*args, **kwargs)
            if not self.downloads:
                bound.arguments["pretrained"] = False
            return self._recall(pattern.__name__, bound, make)

        recall.__signature__ = signature  # type: ignore[attr-defined]
        return recall

    def _recall(self, name: str, bound: Any, make: Callable[..., Any]) -> Any:
        import torch

        key = _key_of(name, bound.arguments)
        if not key:
            return make(*bound.args, **bound.kwargs)
        if key not in self.built:
            module = make(*bound.args, **bound.kwargs)
            self._remember(key, module)
            return module
        self.built.move_to_end(key)
        kept = self.built[key] = self.built[key]._replace(uses=self.built[key].uses + 1)
        torch.set_rng_state(kept.generator)
        return twin_of(kept.module)

    def _remember(self, key: str, module: Any) -> None:
        import torch

        size = sum(0 if tensor.is_meta else byte_count(tensor) for tensor in module.state_dict().values())
        if size > self.room:
            return
        kept = twin_of(module)
        # copies of their own: a tensor that further ones refer to is not shared again
        flats = [byte_view(shared_copy(tensor)) for tensor in kept.state_dict().values() if not tensor.is_meta]
        tensors = {head_of(flat): KnownTensor(flat) for flat in flats}
        while self.built and sum(row.size for row in self.built.values()) + size > self.room:
            # of those asked for equally often the oldest; one odd case must not drive out what the next ones share
            del self.built[min(self.built, key=lambda name: self.built[name].uses)]
        generator = torch.get_rng_state()
        self.built[key] = KeptBackbone(module=kept, generator=generator, size=size, tensors=tensors)

    def digest(self, tensor: Any) -> str:
        """Return the SHA-256 of a tensor; where remembered bytes are the same, which is quicker to see, theirs."""
        flat = byte_view(tensor)
        head = head_of(flat)
        alike = [row.tensors[head] for row in self.built.values() if head in row.tensors]
        # one backbone may have the tensors of another one: those whose digest is known come first
        for known in sorted(alike, key=lambda known: not known.digest):
            if have_same_bytes(flat, known.flat):
                known.digest = known.digest or digest_of(flat)
                return known.digest
        return digest_of(flat)


class KnownTensor:
    """The bytes of a remembered tensor, and their digest once it was asked for."""

    __slots__ = ("digest", "flat")

    def __init__(self, flat: Any) -> None:
        self.flat, self.digest = flat, ""


class KeptBackbone(NamedTuple):
    """A backbone as it was built, the generator afterwards, its size in bytes, its tensors by their heads, and its copies."""

    module: Any
    generator: Any
    size: int
    tensors: dict[tuple[int, bytes], KnownTensor]
    uses: int = 0


def _key_of(name: str, arguments: Any) -> str:
    """Tell a construction by its arguments and the generator; empty where it cannot or must not be remembered."""
    import torch

    from .draws import WithoutDraws

    device = torch.empty(0).device.type
    if arguments.get("pretrained") or device not in ("cpu", "meta"):
        return ""
    try:
        text = json.dumps(arguments, sort_keys=True)
    except (TypeError, ValueError):
        return ""
    drawing = "undrawn" if WithoutDraws.is_on else digest_of(torch.get_rng_state())
    return f"{name} {device} {text} {drawing}"

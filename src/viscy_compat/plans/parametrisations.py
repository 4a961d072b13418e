"""Tensors that a weight is computed from, or that change what a module computes: known by their names and structure.

A file of such a model has no plain weights to rename. Whoever drops one of these tensors changes the function.
Sources: ``torch.nn.utils`` (weight_norm, spectral_norm, parametrize, prune), ``torch.ao`` 2.x, PEFT 0.5 to 0.17,
bitsandbytes 0.41 to 0.48, GPTQ, AWQ and compressed-tensors, as they name tensors in state dicts.
"""

from __future__ import annotations

import re

from viscy_compat.annotations import TYPE_CHECKING, Final, Iterator, Literal
from viscy_compat.layout import Layout, TensorSpec
from viscy_compat.named import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

Family = Literal["weights", "adapter", "quantised", "slopes"]
"""What can be said about them together: a finding code each."""


class Parametrisation(NamedTuple):
    """One way to have other tensors than the plain weights.

    ``name`` is what it is called, ``formula`` what the module computes, ``call`` what bakes it into plain weights, with
    ``{module}`` and ``{weight}`` to be filled in.
    """

    name: str
    family: Family
    formula: str
    call: str


class ParametrisedModule(NamedTuple):
    """The tensors of one module that belong together.

    ``module`` is the path of the module, ``weight`` the name in it that is computed (empty where there is none),
    ``plain`` what a baked state dict has in place of the tensors.
    """

    kind: Parametrisation
    module: str
    weight: str
    tensors: tuple[str, ...]
    plain: Mapping[str, TensorSpec] = {}

    @property
    def call(self) -> str:
        """The call that bakes it, for a model called ``model``."""
        # a line of Python to paste: children of a Sequential are indexed
        owner = re.sub(r"\.(\d+)(?=\.|$)", r"[\1]", f"model.{self.module}" if self.module else "model")
        weight_argument = f', "{self.weight}"' if self.weight != "weight" else ""
        return self.kind.call.format(module=owner, weight=self.weight, named=weight_argument)

    @property
    def remedy(self) -> str:
        """What makes plain weights of it, in words."""
        if self.kind.family in ("quantised", "slopes"):
            return self.kind.call
        return f"in the program that builds the model: {self.call}, then save model.state_dict()"


_PARAMETRIZE: Final = 'torch.nn.utils.parametrize.remove_parametrizations({module}, "{weight}")'
_FLOATS: Final = "save the float model instead, from before it was quantised"

WEIGHT_NORM: Final = Parametrisation(
    "weight_norm",
    family="weights",
    formula="magnitude * direction / |direction|",
    call="torch.nn.utils.remove_weight_norm({module}{named})",
)
WEIGHT_NORM_NEW: Final = Parametrisation(
    "weight_norm", family="weights", formula="original0 * original1 / |original1|", call=_PARAMETRIZE
)
SPECTRAL_NORM: Final = Parametrisation(
    "spectral_norm",
    family="weights",
    formula="orig / its largest singular value",
    call="torch.nn.utils.remove_spectral_norm({module}{named})",
)
SPECTRAL_NORM_NEW: Final = Parametrisation(
    "spectral_norm", family="weights", formula="original / its largest singular value", call=_PARAMETRIZE
)
ORTHOGONAL: Final = Parametrisation(
    "orthogonal", family="weights", formula="base times an orthogonal matrix made of original", call=_PARAMETRIZE
)
PARAMETRIZATION: Final = Parametrisation(
    "a parametrization", family="weights", formula="a function of original", call=_PARAMETRIZE
)
PRUNING: Final = Parametrisation(
    "pruning",
    family="weights",
    formula="orig * mask",
    call='from torch.nn.utils import prune; prune.remove({module}, "{weight}")',
)
LORA: Final = Parametrisation(
    "LoRA", family="adapter", formula="the base's plus scale * B @ A", call="model = model.merge_and_unload()"
)
LORALIB: Final = Parametrisation(
    "LoRA of loralib",
    family="adapter",
    # eval() adds the product to the weight, and the flag that remembers it is in no state dict (loralib 0.1.2)
    formula="the base's plus scale * B @ A, which is in the base's already if it was saved in eval mode",
    call="load this file, and call model.eval() after that if it was saved in train mode, before that if in eval mode",
)
ADAPTER: Final = Parametrisation(
    "a PEFT adapter",
    family="adapter",
    formula="the base's, changed by the adapter",
    call="model = model.merge_and_unload()",
)
SAVED_MODULE: Final = Parametrisation(
    "modules_to_save of PEFT",
    family="adapter",
    formula="the saved copy, not original_module",
    call="model = model.merge_and_unload()",
)
AO: Final = Parametrisation(
    "torch.ao's quantisation", family="quantised", formula="rounded to scale * (integers - zero_point)", call=_FLOATS
)
FAKE_QUANT: Final = Parametrisation(
    "torch.ao's observers or fake quantisation",
    family="quantised",
    formula="rounded where fake quantisation is on",
    call=_FLOATS,
)
BITSANDBYTES: Final = Parametrisation(
    "bitsandbytes",
    family="quantised",
    formula="integers times blockwise scales",
    call="save model.dequantize().state_dict(), or: " + _FLOATS,
)
PACKED: Final = Parametrisation(
    "packed integers (GPTQ, AWQ, fp8)", family="quantised", formula="integers times scales", call=_FLOATS
)
PRELU: Final = Parametrisation(
    "slopes of a PReLU",
    family="slopes",
    formula="x below 0 times the slope",
    call="build the class with this activation",
)

# Texts and not compiled patterns: `check` imports them and nearly never needs one; `re` remembers what it compiled.
_ADAPTERS: Final = (
    r"^(lora_(?P<side>[AB]|embedding_[AB]|magnitude_vector|E|ranknum)|ia3_l|hada_[wt]\d.*|lokr_[wt]\d.*|oft_[rR]|boft_[Rs]"
    r"|vera_lambda_[bd]|vera_[AB]|randlora_.*|trainable_tokens_delta|adaption_(gate|prompt)|prompt_embeddings)$"
)
_BITSANDBYTES: Final = (
    r"^(?:(?P<module>.*?)\.)??(weight\.(absmax|quant_map|nested_absmax|nested_quant_map|quant_state\..+)|SCB|CB)$"
)
_OBSERVED: Final = r"^(?P<module>.*?)\.?\b(activation_post_process|weight_fake_quant|\w*activation_post_process_\d+)\."
_SLOPED: Final = r"(?i)^(A|p?relu|act|acts|activation|act_fn|non_?lin\w*)_?\d*$"
_PACKED: Final = ("qweight", "qzeros", "scales", "g_idx")
"""GPTQ and AWQ."""

_SCALES: Final = ("weight_scale", "weight_scale_inv", "input_scale", "weight_zero_point", "W_q")
"""compressed-tensors, fp8 (``weight_scale_inv``: blockwise), HQQ."""

_SIGNS: Final = (
    "parametrizations",
    *("lora_", "ia_l", "hada_", "lokr_", "oft_", "vera_", "trainable_tokens_delta", "adaption_", "prompt_embeddings"),
    *("base_layer", "modules_to_save", "original_module"),
    *("activation_post_process", "weight_fake_quant"),
    *("zero_point", "qweight", "_scale", "W_q", "absmax", "quant_map", "quant_state", "SCB", "CB"),
)
"""A name of every kind of part holds one of them once its digits are gone, or ends as `_NORM_ENDINGS`."""
_NORM_ENDINGS: Final = ("g", "orig")
_NO_DIGITS: Final = str.maketrans("", "", "0123456789")


def find_parametrisations(layout: Layout) -> tuple[ParametrisedModule, ...]:
    """Return what in a layout is no plain weight, module by module.

    Examples
    --------
    >>> flat, full = TensorSpec((8, 1, 1)), TensorSpec((8, 4, 3))
    >>> (part,) = find_parametrisations({"net.0.weight_g": flat, "net.0.weight_v": full, "net.0.bias": TensorSpec((8,))})
    >>> part.kind.name, part.module, part.plain
    ('weight_norm', 'net.0', {'net.0.weight': TensorSpec(shape=(8, 4, 3), dtype='float32')})
    >>> part.call
    'torch.nn.utils.remove_weight_norm(model.net[0])'
    """
    if not _has_signs(layout):
        return ()
    modules = _modules(layout)
    candidates = (
        *_norms(modules),
        *_parametrizations(layout, modules),
        *_adapters(layout),
        # what torch.ao hung on modules to watch or to round what passes
        *_modules_by_pattern(FAKE_QUANT, _OBSERVED, layout),
        *_quantisations(layout, modules),
    )
    # the order of the candidates decides where two would claim a tensor: torch's own forms before those of
    # libraries
    used: set[str] = set()
    parts = []
    for part in candidates:
        if not used.intersection(part.tensors):
            used.update(part.tensors)
            parts.append(part)
    return tuple(parts)


def find_slopes(layout: Layout) -> tuple[ParametrisedModule, ...]:
    """Return the activations with slopes; a class that has such an argument has them in its layout too.

    Examples
    --------
    >>> [part.module for part in find_slopes({"a.act.weight": TensorSpec((1,)), "a.norm.weight": TensorSpec((8,))})]
    ['a.act']
    """
    parts = []
    for module, names in _modules(layout).items():
        last = module.rpartition(".")[2]
        # one vector alone under an activation's name; in a Sequential an activation has a number for a name, and one
        # number alone is then the only sign
        alone = [*names] == ["weight"] and len(names["weight"].shape) == 1
        if alone and (re.match(_SLOPED, last) or (last.isdigit() and names["weight"].shape == (1,))):
            parts.append(ParametrisedModule(PRELU, module=module, weight="weight", tensors=(f"{module}.weight",)))
    return tuple(parts)


def bake(layout: Layout, parts: tuple[ParametrisedModule, ...]) -> Layout:
    """Return the layout that is left once every part is baked: plain weights where the first of its tensors stood.

    Examples
    --------
    >>> both = {"a.weight_orig": TensorSpec((2, 2)), "a.weight_mask": TensorSpec((2, 2)), "b": TensorSpec((3,))}
    >>> bake(both, find_parametrisations(both))
    {'a.weight': TensorSpec(shape=(2, 2), dtype='float32'), 'b': TensorSpec(shape=(3,), dtype='float32')}
    """
    owners = {name: part for part in parts for name in part.tensors}
    plain: dict[str, TensorSpec] = {}
    for name, spec in layout.items():
        plain.update(owners[name].plain if name in owners else {name: spec})
    return plain


def _has_signs(layout: Layout) -> bool:
    """Whether some name could be that of a part: 20,000 names without digits are some dozens, quickly looked through."""
    names = {*"\n".join(layout).translate(_NO_DIGITS).split("\n")}
    return any(
        name.rpartition(".")[2].rpartition("_")[2] in _NORM_ENDINGS or any(sign in name for sign in _SIGNS)
        for name in names
    )


def _modules(layout: Layout) -> dict[str, dict[str, TensorSpec]]:
    """Return the tensors right below each module, by their last part."""
    modules: dict[str, dict[str, TensorSpec]] = {}
    for name, spec in layout.items():
        module, _, last = name.rpartition(".")
        modules.setdefault(module, {})[last] = spec
    return modules


def _norms(modules: Mapping[str, Mapping[str, TensorSpec]]) -> Iterator[ParametrisedModule]:
    """Yield the old forms, whose tensors stand in the module itself: ``weight_g`` and ``weight_v``, ``weight_orig``."""
    for module, names in modules.items():
        for last in names:
            weight, _, ending = last.rpartition("_")
            # shapes are asked too: `_g` and `_v` are names that anybody may give
            if ending == "g" and f"{weight}_v" in names and _is_magnitude(names[last], names[f"{weight}_v"]):
                yield _part(WEIGHT_NORM, module, weight, (last, f"{weight}_v"), names[f"{weight}_v"])
            # spectral norm before pruning: both call the weight `_orig`, and only one has a vector `_u`
            elif ending == "orig" and f"{weight}_u" in names:
                others = tuple(each for each in (last, f"{weight}_u", f"{weight}_v") if each in names)
                yield _part(SPECTRAL_NORM, module, weight, others, names[last])
            elif ending == "orig" and names.get(f"{weight}_mask", TensorSpec(())).shape == names[last].shape:
                yield _part(PRUNING, module, weight, (last, f"{weight}_mask"), names[last])


def _part(
    kind: Parametrisation, module: str, weight: str, lasts: tuple[str, ...], spec: TensorSpec
) -> ParametrisedModule:
    before = f"{module}." if module else ""
    return ParametrisedModule(
        kind,
        module=module,
        weight=weight,
        tensors=tuple(before + last for last in lasts),
        plain={before + weight: spec},
    )


def _is_magnitude(magnitude: TensorSpec, direction: TensorSpec) -> bool:
    """Whether a tensor has one number for each slice of another one along an axis, or one number for all of it."""
    if magnitude.elements == 1 or len(magnitude.shape) != len(direction.shape):
        return magnitude.elements == 1
    pairs = zip(magnitude.shape, direction.shape, strict=True)
    axes = [mine == theirs for mine, theirs in pairs if mine != 1]
    return len(axes) <= 1 and all(axes)


_PARAMETRIZED: Final = r"^(?:(?P<module>.*)\.)?parametrizations\.(?P<weight>[^.]+)\.(?P<rest>.+)$"


def _parametrizations(layout: Layout, modules: Mapping[str, Mapping[str, TensorSpec]]) -> Iterator[ParametrisedModule]:
    """Yield what ``torch.nn.utils.parametrize`` registered: everything below ``parametrizations.NAME``."""
    groups: dict[tuple[str, str], dict[str, str]] = {}
    for name in layout:
        match = re.match(_PARAMETRIZED, name)
        if match:
            groups.setdefault((match["module"] or "", match["weight"]), {})[match["rest"]] = name
    for (module, weight), names in groups.items():
        kind, original = _parametrization(names, layout)
        before = f"{module}." if module else ""
        plain = {before + weight: layout[original]} if original else {}
        yield ParametrisedModule(kind, module=module, weight=weight, tensors=tuple(names.values()), plain=plain)


def _parametrization(names: Mapping[str, str], layout: Layout) -> tuple[Parametrisation, str]:
    """Return the kind, and the tensor whose shape is that of the weight; an empty text where none is known to be."""
    original = names.get("original", "")
    if {"original0", "original1"} == {*names} and _is_magnitude(layout[names["original0"]], layout[names["original1"]]):
        return WEIGHT_NORM_NEW, names["original1"]
    # torch names what a parametrization keeps by its place in the list: the first is 0
    if original and "0._u" in names:
        return SPECTRAL_NORM_NEW, original
    if original and "0.base" in names:
        return ORTHOGONAL, original
    return PARAMETRIZATION, original


def _adapters(layout: Layout) -> Iterator[ParametrisedModule]:
    """Yield what PEFT hung on each module: adapters, with the base layer where the file has it, and saved copies."""
    parts_by_name = {name: name.split(".") for name in layout}
    # each part once: thousands of names are made of some dozens
    distinct = {part for parts in parts_by_name.values() for part in parts}
    marks = {part for part in distinct if re.match(_ADAPTERS, part) or part in _HOLDERS}
    groups: dict[str, dict[str, str]] = {}
    for name, parts in parts_by_name.items() if marks else ():
        place = next((place for place, part in enumerate(parts) if part in marks), None)
        if place is not None:
            groups.setdefault(".".join(parts[:place]), {})[".".join(parts[place:])] = name
    for module, names in groups.items():
        firsts = {rest.partition(".")[0] for rest in names}
        # a saved copy first: an adapter may hang on it as well
        if firsts & _COPIES == _COPIES:
            yield _adapted_module(SAVED_MODULE, module, names, layout, "original_module.")
        elif firsts - {*_HOLDERS}:
            low_rank = any(rest.startswith("lora_") for rest in names)
            # PEFT's factors are modules, with a name of their own below; loralib's are parameters of the layer itself
            kind = LORALIB if names.keys() == {"lora_A", "lora_B"} else LORA if low_rank else ADAPTER
            yield _adapted_module(kind, module, names, layout, "base_layer.")


_COPIES: Final = frozenset(("modules_to_save", "original_module"))
"""Both stand where PEFT's `modules_to_save` keeps a module twice."""

_HOLDERS: Final = ("base_layer", *sorted(_COPIES))


def _adapted_module(
    kind: Parametrisation, module: str, names: Mapping[str, str], layout: Layout, holder: str
) -> ParametrisedModule:
    """Return a module that PEFT changed, and the plain tensors that its original keeps below a holder."""
    before = f"{module}." if module else ""
    plain = {
        before + rest.removeprefix(holder): layout[name] for rest, name in names.items() if rest.startswith(holder)
    }
    return ParametrisedModule(kind, module=module, weight="", tensors=tuple(names.values()), plain=plain)


def _modules_by_pattern(kind: Parametrisation, pattern: str, layout: Layout) -> Iterator[ParametrisedModule]:
    """Yield the modules that have tensors whose names fit a pattern with a group ``module``."""
    groups: dict[str, list[str]] = {}
    for name in layout:
        match = re.match(pattern, name)
        if match:
            groups.setdefault(match["module"] or "", []).append(name)
    for module, names in groups.items():
        yield ParametrisedModule(kind, module=module, weight="", tensors=tuple(names))


def _quantisations(layout: Layout, modules: Mapping[str, Mapping[str, TensorSpec]]) -> Iterator[ParametrisedModule]:
    """Yield integers with their scales, by the names that each library gives to them."""
    for module, names in modules.items():
        before = f"{module}." if module else ""
        if {"scale", "zero_point"} <= {*names}:
            yield ParametrisedModule(AO, module=module, weight="", tensors=(f"{before}scale", f"{before}zero_point"))
        # `scales` alone may be anybody's; with `qweight` it is GPTQ's or AWQ's
        tensors = tuple(before + last for last in (*_PACKED, *_SCALES) if last in names)
        if tensors and ({"qweight", "scales"} <= {*names} or {*_SCALES} & {*names}):
            yield ParametrisedModule(PACKED, module=module, weight="", tensors=tensors)
    yield from _modules_by_pattern(BITSANDBYTES, _BITSANDBYTES, layout)

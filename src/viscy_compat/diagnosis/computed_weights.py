"""Findings about tensors that are no plain weights: what they are, on which modules, and what bakes them."""

from __future__ import annotations

from viscy_compat.annotations import Iterable, Mapping
from viscy_compat.architectures import find
from viscy_compat.architectures.inference import Inference, identify, infer
from viscy_compat.checkpoint.facts import Checkpoint, View
from viscy_compat.checkpoint.wrapper import layout_of, names_without_wrappers, view_below
from viscy_compat.findings import Finding
from viscy_compat.layout import fold, in_short, spell_count
from viscy_compat.named import NamedTuple
from viscy_compat.plans.parametrisations import (
    Family,
    Parametrisation,
    ParametrisedModule,
    bake,
    find_parametrisations,
    find_slopes,
)

_CODES: dict[Family, str] = {"weights": "VC120", "adapter": "VC121", "quantised": "VC122", "slopes": "VC123"}
_PEFT_TOP = "base_model."
_PEFT = _PEFT_TOP + "model."
"""What a `PeftModel` puts in front of every name of the model that it adapts."""

_RECORD = "viscy_compat.changes_predictions"


class BakedSet(NamedTuple):
    """A set of weights that is a known class's once its parts are baked."""

    view: View
    inference: Inference
    parts: tuple[ParametrisedModule, ...]


def recognise_baked(checkpoint: Checkpoint, views: Iterable[View], class_name: str) -> BakedSet | None:
    """Find the class that a file has once its parametrised weights are baked; None where it is none."""
    # last what PEFT adapted: usual wrappers are far more common, and a view costs a pass over all names
    # (wrappers may stand in the middle of it)
    names = checkpoint.tensors if _PEFT_TOP in "\n".join(checkpoint.tensors) else ()
    adapter_view = view_below(names_without_wrappers(names), _PEFT, raw=names)
    for view in (*views, *([adapter_view] if adapter_view.keys else ())):
        layout = layout_of(checkpoint, view)
        parts = find_parametrisations(layout)
        plain = bake(layout, parts) if parts else {}
        inference = (infer(find(class_name), plain) if class_name else identify(plain)) if plain else None
        if inference:
            return BakedSet(view, inference, parts)
    return None


def about_parts(parts: Iterable[ParametrisedModule]) -> list[Finding]:
    """Say what parametrised tensors are: a finding for each kind.

    Examples
    --------
    >>> from viscy_compat.layout import TensorSpec
    >>> both = {"a.weight_orig": TensorSpec((2, 2)), "a.weight_mask": TensorSpec((2, 2))}
    >>> (finding,) = about_parts(find_parametrisations(both))
    >>> finding.code, finding.message
    ('VC120', 'pruning on 1 module (a): what it computes with is orig * mask, and no plain weight is in the file')
    """
    kinds: dict[Parametrisation, list[ParametrisedModule]] = {}
    for part in parts:
        kinds.setdefault(part.kind, []).append(part)
    drop = "'viscy-compat remap --drop NAME' leaves tensors out, and changes predictions"
    findings = []
    for kind, members in kinds.items():
        modules = in_short(dict.fromkeys(part.module or "the model itself" for part in members))
        names = tuple(fold(name for part in members for name in part.tensors))
        formula = {
            "weights": f"what it computes with is {kind.formula}, and no plain weight is in the file",
            "adapter": f"what it computes with is {kind.formula}",
            "quantised": f"the numbers are {kind.formula}; no plain float weight stands for them",
            "slopes": f"{kind.formula}; the class has no such argument, or another value of it",
        }[kind.family]
        message = f"{kind.name} on {spell_count(len(members), 'module')} ({modules}): {formula}"
        # one call as an example: a model of a hundred modules would fill screens with those that differ in the name
        calls = len({part.call for part in members})
        more = f" (and so for {calls - 1} more)" if calls > 1 else ""
        fix = f"{members[0].remedy}{more}; {drop}"
        findings.append(Finding(_CODES[kind.family], message, keys=names, fix=fix))
    return findings


def about_slopes(unexpected: Iterable[str], layout: View, checkpoint: Checkpoint) -> list[Finding]:
    """Say which of the tensors that have no place are slopes of an activation."""
    leftovers = {name: checkpoint.tensors[layout.keys[name]].spec for name in unexpected if name in layout.keys}
    alone = find_slopes(leftovers)
    return about_parts(alone)


def about_adapters_outside(checkpoint: Checkpoint, view: View) -> list[Finding]:
    """Say that adapters of the model stand outside of it: left out, they would change what it computes.

    An adapter beside a base layer of its own belongs to another model.
    """
    outside = {key: checkpoint.tensors[key].spec for key in view.outside if key not in view.dropped}
    return about_parts(
        part for part in find_parametrisations(outside) if part.kind.family == "adapter" and not part.plain
    )


def dropped_before(metadata: Mapping[str, str]) -> list[str]:
    """Return what a remap left out of a file though it computes, as the file says.

    Examples
    --------
    >>> dropped_before({"viscy_compat.changes_predictions": '["a.weight_g"]'}), dropped_before({})
    (['a.weight_g'], [])
    """
    text = metadata.get(_RECORD, "")
    if not text:
        return []
    from json import loads

    try:
        names = loads(text)
    except ValueError:
        names = [text]
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def about_dropped(checkpoint: Checkpoint) -> list[Finding]:
    """Say that a file was written without tensors that compute: its predictions are not those of its source."""
    names = dropped_before(checkpoint.metadata)
    if not names:
        return []
    compute = "computes" if len(names) == 1 else "compute"
    count = spell_count(len(names), "tensor")
    message = f"a remap left {count} out that {compute} something (--drop): it changes predictions"
    return [Finding("VC125", message, keys=tuple(names), fix="compare its outputs with those of the source")]

"""Findings about a checkpoint: one for each cause, in the words of its keys and numbers."""

from __future__ import annotations

import os

from viscy_compat.annotations import TYPE_CHECKING, Any, Iterable, Mapping
from viscy_compat.architectures.inference import Contradiction, Inference
from viscy_compat.checkpoint.facts import Checkpoint, View
from viscy_compat.checkpoint.wrapper import is_recognised
from viscy_compat.checkpoint.zeros import absence_of_weights
from viscy_compat.findings import CATALOGUE, Finding
from viscy_compat.layout import Mismatch, fold, printable, quote_path, spell_count
from viscy_compat.operations import casts_exactly
from viscy_compat.stated import Knowledge, spell

if TYPE_CHECKING:
    from viscy_compat.architectures.nearest_class import Nearest
    from viscy_compat.diagnosis.weight_set import SetChoice

_SEVERITIES = ("error", "warning", "note")
"""The order in which findings are told."""


def most_severe_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Sort findings by severity, and leave equal ones in their order.

    Examples
    --------
    >>> [finding.code for finding in most_severe_first([Finding("VC103", ""), Finding("VC201", "")])]
    ['VC201', 'VC103']
    """
    return tuple(sorted(findings, key=lambda finding: _SEVERITIES.index(finding.severity)))


def forbid_remap(findings: Iterable[Finding]) -> bool:
    """Whether a remap would leave an error in the new file: the catalogue says which it cures.

    Examples
    --------
    >>> forbid_remap([Finding("VC105", ""), Finding("VC302", "")]), forbid_remap([Finding("VC304", "")])
    (False, True)
    """
    return any(finding.severity == "error" and not CATALOGUE[finding.code].remap_cures for finding in findings)


def forbid_loading(findings: Iterable[Finding]) -> bool:
    """Whether a file is not for loading, whatever its layout is: it would run something, or has no values."""
    return any(finding.code in ("VC430", "VC465") for finding in findings)


def about_halves(inference: Inference) -> list[Finding]:
    """Say which tensors are floats of 16 or 8 bits, and which counters are floats."""
    findings = []
    for code, needed, word, why in (
        ("VC202", "float32", "tensor", "float32 holds every such value exactly"),
        ("VC381", "int64", "batch counter", "the class counts in int64"),
    ):
        pairs = [pair for pair in inference.retyped if pair.expected.dtype == needed and _is_cast(pair)]
        if pairs:
            dtypes = " and ".join(sorted({pair.found.dtype for pair in pairs}))
            message = f"{spell_count(len(pairs), word, 'is', 'are')} {dtypes}; {why}"
            findings.append(Finding(code, message, keys=tuple(fold(pair.name for pair in pairs))))
    return findings


def about_dtypes(inference: Inference) -> list[Finding]:
    """Say which tensors have a dtype from which there is no exact way to the class's."""
    others = [pair for pair in inference.retyped if not _is_cast(pair)]
    causes: dict[tuple[str, str], list[str]] = {}
    for pair in others:
        causes.setdefault((pair.found.dtype, pair.expected.dtype), []).append(pair.name)
    return [
        Finding(
            "VC203",
            f"{spell_count(len(names), 'tensor', 'is', 'are')} {has}, and there is no exact way to {needs}",
            keys=tuple(fold(names)),
        )
        for (has, needs), names in causes.items()
    ]


def _is_cast(pair: Mismatch) -> bool:
    return casts_exactly(pair.found.dtype, pair.expected.dtype, pair.found.shape)


def about_container(checkpoint: Checkpoint, view: View) -> list[Finding]:
    """Say what the reader found, and which tensors stand outside the model."""
    findings = [
        *checkpoint.findings,
        *about_absent_weights(checkpoint),
        *about_a_shard(checkpoint),
        *about_outside(checkpoint, view),
    ]
    # what a remap dropped stands in the metadata of what it wrote: most files have none, and spare the import
    if checkpoint.metadata:
        from viscy_compat.diagnosis.computed_weights import about_dropped

        findings += about_dropped(checkpoint)
    return findings + _about_packed_records(checkpoint) + _about_torch_defaults(checkpoint)


def about_outside(checkpoint: Checkpoint, view: View) -> list[Finding]:
    """Say which tensors stand outside the model, and how large they are."""
    outside = [key for key in view.outside if key not in view.dropped]
    if not outside:
        return []
    held = sum(checkpoint.tensors[key].nbytes for key in outside if key in checkpoint.tensors)
    stand, them = ("stands", "it") if len(outside) == 1 else ("stand", "them")
    message = f"{spell_count(len(outside), 'tensor')} ({_megabytes(held)}) {stand} outside '{view.prefix}', where the model is"
    return [Finding("VC106", f"{message}; a remap leaves {them} out", keys=tuple(fold(outside)))]


def about_absent_weights(checkpoint: Checkpoint) -> list[Finding]:
    """Say that a file has the layout of weights and no weights."""
    absence = absence_of_weights(checkpoint)
    if absence == "skipped":
        message = "the file was saved under torch.serialization.skip_data: it has room for the weights, and they are not in it"
        return [
            Finding("VC465", message, fix="save it again without skip_data, or let the program that made it fill it in")
        ]
    if absence == "zeros":
        return [Finding("VC466", "every weight is zero", fix="compare the file with the one it was copied from")]
    return []


_PLAIN_NAMES = frozenset(
    (
        "collections.OrderedDict",
        "torch._utils._rebuild_tensor_v2",
        "torch._utils._rebuild_parameter",
        "torch.FloatStorage",
        "torch.HalfStorage",
        "torch.LongStorage",
    )
)
"""Names that nearly every file has and torch's default admits: with nothing else there is no table to look into."""


def _about_packed_records(checkpoint: Checkpoint) -> list[Finding]:
    """Say that a zip program packed the file again: torch 2.15.0 maps packed bytes as if they were the numbers."""
    storages = () if checkpoint.plain_storages else checkpoint.storages.values()
    packed = sum(storage.compressed for storage in storages)
    if not packed:
        return []
    message = f"{spell_count(packed, 'tensor record', 'is', 'are')} compressed, as no torch writes them"
    return [Finding("VC334", f"{message}: torch.load(mmap=True) reads other numbers, or refuses it")]


def _about_torch_defaults(checkpoint: Checkpoint) -> list[Finding]:
    """Say which names in the file torch's default refuses; what would run something has a finding of its own."""
    if checkpoint.format == "distributed-torch":
        return []  # torch.load never sees such a folder
    if all(use.path in _PLAIN_NAMES for use in checkpoint.globals):
        return []
    from viscy_compat.checkpoint.torch_names import refused_names

    names = refused_names(checkpoint.globals)
    if not names or any(use.role == "call" for use in checkpoint.globals):
        return []
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    message = f"torch.load's default (weights_only=True) refuses this file: it names {', '.join(names[:3])}{more}"
    return [Finding("VC333", message, keys=names)]


def about_statements(inference: Inference, dismissed: Inference | None, knowledge: Knowledge) -> list[Finding]:
    """Say what was stated and cannot be, by the user (an error) or by the file itself (a warning), or was not taken.

    Parameters
    ----------
    inference : Inference
        What the weights show beside what the user states.
    dismissed : Inference or None
        What they show beside everything that is stated, where something within the file contradicts them.
    knowledge : Knowledge
        What the sources give.
    """
    errors = [_contradiction("VC304", row) for row in inference.contradictions]
    own = [row for row in (dismissed.contradictions if dismissed else ()) if row not in inference.contradictions]
    warnings = [_contradiction("VC305", row) for row in own]
    conflicts = [
        Finding(
            "VC315",
            f"{knowledge.values[name]} gives {name}={spell(knowledge.values[name].value)}, which is taken; "
            f"{loser} gives {name}={spell(loser.value)}",
        )
        for name, loser in knowledge.overruled
        if name in knowledge.values
    ]
    return [*errors, *warnings, *conflicts]


def _contradiction(code: str, row: Contradiction) -> Finding:
    """Say what contradicts the weights, with a tensor that shows it."""
    shape = "".join(f"; {pair.name} is {pair.found.shape}, not {pair.expected.shape}" for pair in row.mismatches[:1])
    message = f"{settings(row.stated)} contradicts the weights, which show {settings(row.shown)}: {row.why}{shape}"
    return Finding(code, message, keys=tuple(fold(pair.name for pair in row.mismatches)))


def about_layout(view: View, inference: Inference, unmade: tuple[str, ...] = ()) -> list[Finding]:
    """Say what generation, wrapper and order the names show; ``unmade`` is what no row makes of an older one."""
    findings, generation = [], inference.generation
    if generation.to_today:
        message = f"written by {generation.written_by}: the layout of {generation.name}, not today's"
        losses = "; ".join(generation.loses)
        if unmade:
            have = "has" if len(unmade) == 1 else "have"
            message += f", and {spell_count(len(unmade), 'tensor')} of today's {have} no source"
            findings.append(Finding("VC107", message + (f"; {losses}" if losses else ""), keys=tuple(fold(unmade))))
        else:
            findings.append(Finding("VC105", message + (f"; a remap loses this: {losses}" if losses else "")))
    if view.prefix or view.inner or view.lacks:
        findings.append(_about_prefix(view))
    if inference.reordered:
        findings.append(Finding("VC104", "the tensors do not stand in the order of state_dict(); loading goes by name"))
    return findings


def about_caveats(inference: Inference) -> list[Finding]:
    """Say what outputs depend on that no file tells; an older generation says what it loses instead."""
    return [Finding("VC380", text) for text in inference.architecture.caveats if not inference.generation.to_today]


def _about_prefix(view: View) -> Finding:
    """Say what stands in front of the names, or inside them, and what they lack."""
    example = next(iter(view.keys.values()))
    wrappers = " and ".join(filter(None, (view.prefix, *fold(view.inner))))
    if is_recognised(view):
        return Finding("VC103", f"{spell_count(len(view.keys), 'key')}: prefix {wrappers}", keys=(example,))
    message = f"{spell_count(len(view.keys), 'key', 'is one', 'are those')} of the class"
    message += f" behind {wrappers}" if wrappers else ""
    return Finding(
        "VC321", message + (f" without their first name {view.lacks}" if view.lacks else ""), keys=(example,)
    )


def about_several_sets(checkpoint: Checkpoint, addresses: list[str]) -> Finding:
    """Say that nobody can know which set is meant, and how each one is called."""
    # a dozen fit on a screen; the finding's keys have all
    some = ", ".join(map(repr, addresses[:12]))
    code = "VC320" if checkpoint.decided else "VC445"
    what = "sets of weights" if checkpoint.decided else "state dicts"
    message = f"{len(addresses)} {what} in this file, and nothing says which one is meant: {some}"
    return Finding(
        code,
        message,
        keys=tuple(map(repr, addresses)),
        fix="choose one with --state-dict ADDRESS (in Python: state_dict=ADDRESS)",
    )


def about_the_rest(checkpoint: Checkpoint, choice: SetChoice) -> list[Finding]:
    """Say which tensors of a state dict are of none of its sets of weights, and how large they are."""
    if len(choice.sets) < 2:
        return []
    from viscy_compat.diagnosis.several import in_no_set

    rest = in_no_set(checkpoint, choice)
    if not rest:
        return []
    count, held = spell_count(len(rest), "tensor"), _megabytes(sum(checkpoint.beside[key].nbytes for key in rest))
    belongs, them = ("belongs", "it") if len(rest) == 1 else ("belong", "them")
    message = f"{count} ({held}) {belongs} to none of these sets of weights; a remap of one of them leaves {them} out"
    return [Finding("VC106", message, keys=tuple(fold(rest)))]


def about_choices(inference: Inference, knowledge: Knowledge) -> list[Finding]:
    """Say which arguments are not known: those that change predictions one by one, the rest in one line."""
    abouts = {argument.name: argument.about for argument in inference.architecture.arguments}
    findings = []
    for row in inference.undetermined:
        if row.changes_predictions:
            means = f"; {abouts[row.name]}" if abouts[row.name] else ""
            # four alternatives show what is at stake; the argument to state is named in any case, and there may be hundreds
            candidates: dict[str, None] = {}
            for option in row.candidates:
                if len(candidates) <= 4:
                    candidates[settings(option)] = None
            more = "; ..." if len(candidates) > 4 or not row.complete else ""
            differ = f"Predictions differ between {'; '.join([*candidates][:4])}{more}"
            fix = f"state it: --set {row.name}=VALUE, or --config FILE.yml"
            findings.append(Finding("VC302", f"{row.name} is not known: {row.why}{means}. {differ}", fix=fix))
    return findings + _about_the_rest(inference, knowledge)


def _about_the_rest(inference: Inference, knowledge: Knowledge) -> list[Finding]:
    """Say what stands in a source and was not read, and what is assumed because no prediction depends on it."""
    findings = []
    names = {row.name for row in inference.undetermined}
    for row in knowledge.not_read:
        if row.name in names:
            place = f" ({row.source.place})" if row.source.place else ""
            message = f"{row.name} stands in {row.source}{place} and is not read: it is {row.what}"
            findings.append(Finding("VC309", message))
    unknown = open_names(inference)
    harmless = [f"{row.name}={spell(row.assumed)}" for row in inference.undetermined if row.name not in unknown]
    if harmless:
        message = "assumed; other values that fit the weights give the same predictions"
        findings.append(Finding("VC303", f"{message}: {', '.join(harmless)}"))
    return findings


def open_names(inference: Inference) -> dict[str, None]:
    """Return the arguments whose value is not known although predictions depend on it, and those that hang on them."""
    rows = [row for row in inference.undetermined if row.changes_predictions]
    joint = (
        name for row in rows for option in row.candidates for name in option if option[name] != inference.config[name]
    )
    return dict.fromkeys((*(row.name for row in rows), *joint))


def about_a_shard(checkpoint: Checkpoint) -> list[Finding]:
    """Say that a file is one of several, by its name, and which index names them."""
    folder, name = os.path.split(checkpoint.path)
    if "-of-0" not in name or checkpoint.format not in ("safetensors", "torch-zip", "torch-legacy"):
        return []
    from re import fullmatch

    parts = fullmatch(r"(.+)-(\d{5})-of-(\d{5})(\.[a-z]+)", name)
    if not parts or int(parts[3]) < 2:
        return []
    index = os.path.join(folder, f"{parts[1]}{parts[4]}.index.json")
    message = f"this is file {int(parts[2])} of {int(parts[3])}, and holds a part of the tensors"
    if os.path.isfile(index):
        return [
            Finding(
                "VC474", message, fix=f"give the index, which names them all: viscy-compat check {quote_path(index)}"
            )
        ]
    return [
        Finding(
            "VC474", f"{message}; its index is not beside it", fix=f"fetch {os.path.basename(index)} and the others"
        )
    ]


def about_the_nearest(near: Nearest) -> list[Finding]:
    """Say in which tensors a file differs from the nearest configuration of a class."""
    differences, whose = near.differences, settings(near.config)
    findings = [Finding("VC307", near.custom)] if near.custom else []
    if differences.missing:
        findings.append(
            Finding(
                "VC101",
                f"{near}: {spell_count(len(differences.missing), 'tensor', 'is', 'are')} missing",
                keys=tuple(fold(differences.missing)),
            )
        )
    if differences.unexpected:
        message = f"{near}: {spell_count(len(differences.unexpected), 'tensor', 'has', 'have')} no place"
        findings.append(Finding("VC102", message, keys=tuple(fold(differences.unexpected))))
    if differences.reshaped:
        lines = tuple(f"{pair.name}: {pair.found.shape}, needs {pair.expected.shape}" for pair in differences.reshaped)
        findings.append(
            Finding(
                "VC201",
                f"{near}: {spell_count(len(lines), 'tensor', 'has', 'have')} another shape than with {whose}",
                keys=lines,
            )
        )
    return findings


def about_a_stranger(checkpoint: Checkpoint, view: View, near: Nearest | None, class_name: str) -> Finding:
    """Say that no class accepts a file, and what its tensors are called."""
    whom = class_name or "any class that this version knows"
    message = f"{spell_count(len(checkpoint.tensors), 'tensor')}, not those of {whom}"
    if not checkpoint.tensors:
        message = "no tensor can be read, so that no class can be told"
    if near:
        message += f"; nearest is {near}"
    elif part := _as_a_part(view, class_name):
        message += f"; {part}"
    architecture = _architecture_in(checkpoint)
    message += f"; the hyper-parameters name {architecture}" if architecture else ""
    tops: dict[str, list[int]] = {}
    for name, key in view.keys.items():
        top, dot, _ = name.partition(".")
        tops.setdefault(f"{top}.*" if dot else top, []).append(checkpoint.tensors[key].nbytes)
    first = list(tops)[:12]
    if len(tops) > 1:
        parts = (f"{top} {spell_count(len(tops[top]), 'tensor')}, {_megabytes(sum(tops[top]))}" for top in first)
        message += f"; {'; '.join(parts)}{'; ...' if len(tops) > len(first) else ''}"
    return Finding("VC301", message, keys=tuple(first))


def _as_a_part(view: View, class_name: str) -> str:
    """Say of which classes these are some names, and what the nearest has besides; empty where of none."""
    from viscy_compat.architectures.parts import beginnings, wholes_of

    wholes = wholes_of(view.keys, class_name)
    if not wholes:
        return ""
    first = wholes[0]
    lacking = beginnings(first.missing, [first.prefix + name for name in view.keys])
    rest = ", ".join(lacking[:6]) + (f" and {len(lacking) - 6} more" if len(lacking) > 6 else "")
    behind = f" (there behind {first.prefix})" if first.prefix else ""
    classes = " and of ".join(whole.class_name for whole in wholes)
    return f"the names are those of a part of {classes}{behind}: {first.class_name} has {rest} besides"


def _architecture_in(checkpoint: Checkpoint) -> str:
    """Quote what the hyper-parameters call the class: an architecture of VisCy's modules, or the path of an encoder."""
    from viscy_compat.checkpoint.plain import plain

    held = plain(checkpoint.hyper_parameters)
    if not isinstance(held, dict):
        return ""
    encoder = held.get("encoder")
    path = encoder.get("class_path") if isinstance(encoder, dict) else None
    rows = (("architecture", held.get("architecture")), ("encoder", path))
    return ", ".join(f"{key}={printable(value)!r}" for key, value in rows if isinstance(value, str))


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count} bytes"


def settings(values: Mapping[str, Any]) -> str:
    """Spell arguments as a user would state them."""
    return " ".join(f"{name}={spell(value)}" for name, value in values.items())

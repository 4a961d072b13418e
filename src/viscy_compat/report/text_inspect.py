"""What `inspect` says, as a person reads it: what wrote the file, a folded tree of tensors, then the rest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from viscy_compat.checkpoint.plain import absolute_paths
from viscy_compat.findings import Report, Result
from viscy_compat.layout import printable, spell_count
from viscy_compat.report.terminal import (
    MARGIN,
    Style,
    finding_lines,
    sentence_lines,
    shorten,
    size,
)
from viscy_compat.report.text_check import set_lines
from viscy_compat.report.tree import Row, rows_of

if TYPE_CHECKING:
    from viscy_compat.checkpoint.facts import Checkpoint
    from viscy_compat.checkpoint.inspection import Inspection, OptimizerFacts

_LINES = 120
"""Lines of a tree: the largest class of ours, folded, has half as many."""
_ENTRIES = 20
_NAME_WIDTH = 60
"""The widest column of names; a longer name pushes its shape to the right."""


def render(report: Report[Result], style: Style) -> str:
    """Return a section for each file."""
    return "\n\n".join(paragraph(result, style) for result in report.results)  # type: ignore[arg-type]


def paragraph(result: Inspection, style: Style) -> str:
    """Return what is said of one file."""
    lines = [style.heading(result.path)]
    # a file that could not be read has nothing but its findings
    if result.checkpoint is not None:
        overview = _overview(result.checkpoint)
        lines += (line for text in overview for line in sentence_lines(text, style, first=MARGIN))
        lines += set_lines(result.sets, style) if len(result.sets) > 1 else ()
        lines += ["", *_tree_lines(result.checkpoint, style), *_rest(result, style)]
    for finding in result.findings:
        lines += ["", *finding_lines(finding, style)]
    return "\n".join(lines)


def _overview(checkpoint: Checkpoint) -> Iterator[str]:
    count = spell_count(len(checkpoint.tensors), "tensor")
    yield f"{checkpoint.format}, {size(checkpoint.size)}; {count}, {size(checkpoint.tensor_bytes)}"
    yield from _origin(checkpoint)


def _origin(checkpoint: Checkpoint) -> Iterator[str]:
    wrapper = checkpoint.wrapper
    if wrapper.kind == "lightning":
        yield f"saved by a Lightning trainer, version {printable(wrapper.version)}"
    if checkpoint.module_class:
        yield f"a whole module: {printable(checkpoint.module_class)}"
    if checkpoint.address:
        others = [printable(site.path or "(top)") for site in checkpoint.sites if site.path != checkpoint.site]
        also = f" (also: {', '.join(others)}; --state-dict chooses)" if others else ""
        yield f"state dict: {printable(checkpoint.address)}{also}"
    if wrapper.prefix:
        yield f"wrapper prefix: {printable(wrapper.prefix)}"
    if len(checkpoint.files) > 1:
        yield f"{len(checkpoint.files)} files"
    visible = {"archive": "torch file format", "pickle": "pickle protocol", "pytorch-lightning": "pytorch-lightning"}
    versions = [f"{visible[name]} {printable(text)}" for name, text in checkpoint.versions.items() if name in visible]
    if versions:
        yield f"versions: {', '.join(versions)}"


def _tree_lines(checkpoint: Checkpoint, style: Style) -> Iterator[str]:
    rows = list(rows_of({key: (one.spec, one.nbytes) for key, one in checkpoint.tensors.items()}))
    visible = rows if style.verbose else rows[:_LINES]
    width = min(max((2 * row.depth + len(printable(row.name)) for row in visible), default=0), _NAME_WIDTH)
    if style.terminal:
        widest = max((len(contents(row)) for row in visible), default=0)
        width = min(width, max(style.width - widest - 2 * len(MARGIN), 0))
    for row in visible:
        # on a narrow terminal what a long name holds stands below it
        name = MARGIN * (row.depth + 1) + printable(row.name)
        line = f"{name:<{width + 2}}  {contents(row)}"
        if row.tensor is None:
            yield style.paint(name, "dim")
        elif style.terminal and len(line) > style.width:
            yield name
            yield MARGIN * (row.depth + 2) + contents(row)
        else:
            yield line
    if len(rows) > len(visible):
        yield f"{MARGIN}... and {spell_count(len(rows) - len(visible), 'more line')} (-v shows all)"


def contents(row: Row) -> str:
    """Say what a row of the tree holds."""
    if row.tensor is None:
        return ""
    times = f"{row.copies} x " if row.copies > 1 else ""
    spec, count = row.tensor
    return f"{times}{spec}, {size(row.copies * count)}"


def _rest(result: Inspection, style: Style) -> Iterator[str]:
    """Tell everything that is in the file besides tensors."""
    from viscy_compat.checkpoint.inspection import optimizers_of, other_entries
    from viscy_compat.checkpoint.plain import plain

    checkpoint = result.checkpoint
    if checkpoint is None:
        return
    parts = {
        "not tensors": _values(checkpoint.extras, style),
        "hyper-parameters": _entries_of(plain(checkpoint.hyper_parameters), style),
        "optimizers": [_optimizer(optimizer) for optimizer in optimizers_of(checkpoint)],
        "other entries": _values(other_entries(checkpoint), style),
        "metadata": [f"{printable(name)}: {_cut_to_width(text, style)}" for name, text in checkpoint.metadata.items()],
        "names in the pickle": _names(checkpoint),
        "absolute paths": [printable(path) for path in absolute_paths(checkpoint.entries)],
        "checksums": list(_checksums(result)),
    }
    for title, lines in parts.items():
        if lines:
            yield ""
            yield MARGIN + style.paint(title, "bold")
            for line in shorten(lines, style, _ENTRIES):
                # what a file would run is what its reader must see first
                first, *more = sentence_lines(line, style, first=MARGIN * 2, rest=MARGIN * 4)
                yield first.replace(_ROLES["call"], style.tint("error", _ROLES["call"]))
                yield from more


def _values(nodes: Mapping[str, Any], style: Style) -> list[str]:
    from viscy_compat.checkpoint.plain import plain

    return [f"{printable(name)}: {_cut_to_width(plain(node, most=200), style)}" for name, node in nodes.items()]


def _entries_of(value: Any, style: Style) -> list[str]:
    if type(value) is dict:
        return [f"{printable(name)}: {_cut_to_width(item, style)}" for name, item in value.items()]
    return [] if value is None else [_cut_to_width(value, style)]


def _cut_to_width(value: Any, style: Style) -> str:
    text = printable(value if type(value) is str else repr(value))
    # a value may be megabytes long, and a line of a terminal is not
    room = 4096 if style.verbose else max(style.width - 24, 40)
    return text if len(text) <= room else f"{text[:room]} ..."


def _optimizer(optimizer: OptimizerFacts) -> str:
    slots = f" ({', '.join(map(printable, optimizer.slots))})" if optimizer.slots else ""
    rates = [group.get("lr") for group in optimizer.groups if type(group) is dict]
    settings = f", lr {printable(', '.join(map(str, rates)))}" if rates else ""
    # schedulefree 1.4.1 moves the weights of the model itself between those that it trains and those that it evaluates
    modes = [group.get("train_mode") for group in optimizer.groups if type(group) is dict]
    if "z" in optimizer.slots and any(mode is True for mode in modes):
        settings += "; schedule-free, in train mode: the weights of its evaluation are those after optimizer.eval()"
    return f"state of {spell_count(optimizer.parameters, 'parameter')}{slots}, {size(optimizer.nbytes)}{settings}"


_ROLES = {
    "call": "would run when the file is loaded the ordinary way",
    "class": "imported, and made into objects or only named",
    "data": "tensors and containers",
}


def _names(checkpoint: Checkpoint) -> list[str]:
    lines = []
    for role, words in _ROLES.items():
        names = [printable(use.path) for use in checkpoint.globals if use.role == role]
        if names:
            lines.append(f"{words}: {', '.join(names)}")
    return lines


_WITHOUT_SUMS = {
    "torch-zip": "torch was asked to leave them out",
    "torch-legacy": "streams of torch before 1.6 have no room for them",
    "safetensors": "safetensors has no room for them",
    "sharded-safetensors": "safetensors has no room for them",
    "sharded-torch": "the shards hold none",
    "distributed-safetensors": "safetensors has no room for them",
    "distributed-torch": "torch was asked to leave them out",
    "unpacked-torch": "they were in the archive that was unpacked",
}


def _checksums(result: Inspection) -> Iterator[str]:
    checkpoint = result.checkpoint
    if checkpoint is None:
        return
    sums = sum(record.crc is not None for record in (checkpoint.records or checkpoint.storages).values())
    if not sums:
        yield f"none ({_WITHOUT_SUMS[checkpoint.format]}): damage to the weights cannot be seen"
    elif result.damaged is None:
        others = "the pickle's is right, the others were not looked at (--crc reads them all)"
        yield f"CRC-32 of {spell_count(sums, 'record')}; {others}"
    else:
        verb = "is" if len(result.damaged) == 1 else "are"
        yield f"CRC-32 of {spell_count(sums, 'record')}, every byte read: {len(result.damaged)} {verb} wrong"

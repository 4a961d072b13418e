"""What `inspect` says, as a person reads it: what wrote the file, a folded tree of tensors, then the rest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from viscy_compat.checkpoint.plain import absolute_paths
from viscy_compat.findings import Report, Result
from viscy_compat.layout import fold, printable
from viscy_compat.named import NamedTuple
from viscy_compat.report.terminal import (
    MARGIN,
    Style,
    finding_lines,
    sentence_lines,
    shorten,
    size,
    spell_count,
)
from viscy_compat.report.text_check import set_lines

if TYPE_CHECKING:
    from viscy_compat.checkpoint.facts import Checkpoint, StoredTensor
    from viscy_compat.checkpoint.inspection import Inspection, OptimizerFacts

_LINES = 120
"""Lines of a tree: the largest class of ours, folded, has half as many."""
_DEEPEST = 40
"""Parts of a name that are branches; a hostile name has a million dots."""
_ENTRIES = 20
_NAME_WIDTH = 60
"""The widest column of names; a longer name pushes its shape to the right."""


def render(report: Report[Result], style: Style) -> str:
    """Return a section for each file."""
    return "\n\n".join("\n".join(_section(result, style)) for result in report.results)  # type: ignore[arg-type]


def _section(result: Inspection, style: Style) -> Iterator[str]:
    yield style.heading(result.path)
    if result.checkpoint is not None:
        for line in _head(result.checkpoint):
            yield from sentence_lines(line, style, first=MARGIN)
        if len(result.sets) > 1:
            yield from set_lines(result.sets, style)
        yield ""
        yield from _tree_lines(result.checkpoint, style)
        yield from _rest(result, style)
    for finding in result.findings:
        yield ""
        yield from finding_lines(finding, style)


def _head(checkpoint: Checkpoint) -> Iterator[str]:
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
    shown = {"archive": "torch file format", "pickle": "pickle protocol", "pytorch-lightning": "pytorch-lightning"}
    stated = [f"{shown[name]} {printable(text)}" for name, text in checkpoint.versions.items() if name in shown]
    if stated:
        yield f"versions: {', '.join(stated)}"


class _Branch:
    """What stands under one part of the names: more parts, and a tensor where a name ends here."""

    __slots__ = ("children", "leaf")

    def __init__(self) -> None:
        self.children: dict[str, _Branch] = {}
        self.leaf: StoredTensor | None = None

    def add(self, tensor: StoredTensor) -> None:
        """Hang a tensor under the parts of its name; the end of a very deep name stays in one piece."""
        branch = self
        for part in tensor.key.split(".", _DEEPEST):
            branch = branch.children.setdefault(part, _Branch())
        branch.leaf = tensor


class _Row(NamedTuple):
    """One line of the tree: a heading, or a tensor and how many alike it stands for."""

    depth: int
    name: str
    tensor: StoredTensor | None = None
    copies: int = 1


class _Tree:
    """Rows for a checkpoint's tensors; numbered children that hold the same, down to the last shape, share a row."""

    __slots__ = ("_known", "_root")

    def __init__(self, tensors: Iterable[StoredTensor]) -> None:
        self._root = _Branch()
        self._known: dict[object, int] = {}
        for tensor in tensors:
            self._root.add(tensor)

    def rows(self) -> Iterator[_Row]:
        return self._below(self._root, 0, 1)

    def _below(self, branch: _Branch, depth: int, copies: int) -> Iterator[_Row]:
        for members in self._alike(branch):
            first = branch.children[members[0]]
            yield from self._row(first, _joined(members), depth, copies * len(members))

    def _row(self, branch: _Branch, name: str, depth: int, copies: int) -> Iterator[_Row]:
        """Yield the rows of one branch; a branch with one child shares its row with it."""
        groups = self._alike(branch)
        if branch.leaf is not None:
            yield _Row(depth, name, branch.leaf, copies)
        elif len(groups) == 1:
            child = branch.children[groups[0][0]]
            yield from self._row(child, f"{name}.{_joined(groups[0])}", depth, copies * len(groups[0]))
            return
        else:
            yield _Row(depth, name)
        yield from self._below(branch, depth + 1, copies)

    def _alike(self, branch: _Branch) -> list[list[str]]:
        """Group numbered children that hold the same, in the order of the first of each group."""
        groups: dict[object, list[str]] = {}
        for name, child in branch.children.items():
            alike = self._content(child) if name.isdigit() else name
            groups.setdefault(alike, []).append(name)
        return list(groups.values())

    def _content(self, branch: _Branch) -> int:
        """Return a number that is the same for branches with the same names and shapes below them."""
        spec = branch.leaf.spec if branch.leaf is not None else None
        held = (spec, tuple((name, self._content(child)) for name, child in branch.children.items()))
        return self._known.setdefault(held, len(self._known))


def _joined(names: list[str]) -> str:
    return names[0] if len(names) == 1 else ",".join(fold(names))


def _tree_lines(checkpoint: Checkpoint, style: Style) -> Iterator[str]:
    rows = list(_Tree(checkpoint.tensors.values()).rows())
    shown = rows if style.verbose else rows[:_LINES]
    width = min(max((2 * row.depth + len(printable(row.name)) for row in shown), default=0), _NAME_WIDTH)
    if style.terminal:
        widest = max((len(_contents(row)) for row in shown), default=0)
        width = min(width, max(style.width - widest - 2 * len(MARGIN), 0))
    for row in shown:
        yield from _tree_row(row, width, style)
    if len(rows) > len(shown):
        yield f"{MARGIN}... and {len(rows) - len(shown)} more lines (-v shows all)"


def _contents(row: _Row) -> str:
    if row.tensor is None:
        return ""
    times = f"{row.copies} x " if row.copies > 1 else ""
    return f"{times}{row.tensor.spec}, {size(row.copies * row.tensor.nbytes)}"


def _tree_row(row: _Row, width: int, style: Style) -> Iterator[str]:
    """Yield a line; on a narrow terminal what a long name holds stands below it."""
    name = MARGIN * (row.depth + 1) + printable(row.name)
    line = f"{name:<{width + 2}}  {_contents(row)}"
    if row.tensor is None:
        yield style.paint(name, "dim")
    elif style.terminal and len(line) > style.width:
        yield name
        yield MARGIN * (row.depth + 2) + _contents(row)
    else:
        yield line


def _rest(result: Inspection, style: Style) -> Iterator[str]:
    """Tell everything that is in the file besides tensors."""
    from viscy_compat.checkpoint.inspection import optimizers_of, other_entries
    from viscy_compat.checkpoint.plain import plain

    checkpoint = result.checkpoint
    if checkpoint is None:
        return
    parts = {
        "not tensors": _values(checkpoint.extras, style),
        "hyper-parameters": _nested(plain(checkpoint.hyper_parameters), style),
        "optimizers": [_optimizer(optimizer) for optimizer in optimizers_of(checkpoint)],
        "other entries": _values(other_entries(checkpoint), style),
        "metadata": [f"{printable(name)}: {_short(text, style)}" for name, text in checkpoint.metadata.items()],
        "names in the pickle": _names(checkpoint),
        "absolute paths": [printable(path) for path in absolute_paths(checkpoint.entries)],
        "checksums": list(_checksums(result)),
    }
    for title, lines in parts.items():
        if lines:
            yield ""
            yield MARGIN + style.paint(title, "bold")
            for line in shorten(lines, style, _ENTRIES):
                first, *more = sentence_lines(line, style, first=MARGIN * 2, rest=MARGIN * 4)
                yield first.replace(_ROLES["call"], style.tint("error", _ROLES["call"]))
                yield from more


def _values(nodes: Mapping[str, Any], style: Style) -> list[str]:
    from viscy_compat.checkpoint.plain import plain

    return [f"{printable(name)}: {_short(plain(node, most=200), style)}" for name, node in nodes.items()]


def _nested(value: Any, style: Style) -> list[str]:
    if type(value) is dict:
        return [f"{printable(name)}: {_short(item, style)}" for name, item in value.items()]
    return [] if value is None else [_short(value, style)]


def _short(value: Any, style: Style) -> str:
    text = printable(value if type(value) is str else repr(value))
    room = 4096 if style.verbose else max(style.width - 24, 40)
    return text if len(text) <= room else f"{text[:room]} ..."


def _optimizer(optimizer: OptimizerFacts) -> str:
    slots = f" ({', '.join(map(printable, optimizer.slots))})" if optimizer.slots else ""
    rates = [group.get("lr") for group in optimizer.groups if type(group) is dict]
    settings = f", lr {', '.join(map(str, rates))}" if rates else ""
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
    stored = sum(record.crc is not None for record in (checkpoint.records or checkpoint.storages).values())
    if not stored:
        yield f"none ({_WITHOUT_SUMS[checkpoint.format]}): damage to the weights cannot be seen"
    elif result.damaged is None:
        yield f"CRC-32 of {stored} records; the pickle's is right, the others were not looked at (--crc reads them all)"
    else:
        yield f"CRC-32 of {stored} records, every byte read: {len(result.damaged)} are wrong"

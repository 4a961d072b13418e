"""`legacy_refs`: what running the old classes told us, as text that diffs well. Data only, never their source.

One file for each class and generation. Each tensor is one line; equal runs of lines (the same backbone in many cases) are
written once. A digest at the end tells a hand-edited file.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from viscy_compat.architectures.architecture import Case
from viscy_compat.errors import SourceUnavailable
from viscy_compat.layout import Layout, TensorSpec
from viscy_compat.workers.answers import ModuleNumbers

SCHEMA = 1
"""The form of the files; another one gets another number."""

_SHORT = 12
"""Digits of a digest that are kept: 48 bits, by which two of a thousand tensors are alike once in 500 million times."""

_WIDEST = 240
"""Characters up to which a value stands in one line; what is longer is easier to compare in several."""


@dataclass(frozen=True)
class TensorRecord:
    """One recorded tensor: what it is called and shaped, a short digest of its bytes, and a few of its numbers.

    Parameters
    ----------
    name : str
        Name of a weight or of an output.
    shape, dtype
        As in a layout.
    digest : str
        The first 12 digits of the SHA-256 of its bytes.
    norm : float
        Root mean square of all its elements.
    samples : tuple[float, ...]
        Elements at evenly spread places.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    digest: str
    norm: float
    samples: tuple[float, ...]


@dataclass(frozen=True)
class RecordedRefusal:
    """What the old class raised, and at which stage."""

    stage: str
    type: str

    def to_row(self) -> dict[str, Any]:
        """Return it as a reference has it, of a case or of a pass."""
        return {"refusal": [self.stage, self.type]}


@dataclass(frozen=True)
class RecordedPass:
    """One forward pass: outputs, then short digests of the generator and of all buffers as they were left."""

    type: str
    outputs: tuple[TensorRecord, ...]
    generator: str
    buffers: str

    def to_row(self) -> dict[str, Any]:
        """Return it as a reference has it."""
        outputs = [_tensor_row(row) for row in self.outputs]
        return {"type": self.type, "generator": self.generator, "buffers": self.buffers, "outputs": outputs}


@dataclass(frozen=True)
class RecordedCase:
    """One case: arguments of both classes, the input's shape, and what came of it.

    Parameters
    ----------
    name : str
        The case's name in the architecture file.
    release : str
        The release that was run.
    config, arguments : Mapping[str, Any]
        Arguments of the migrated class, and of the old one.
    input : tuple[int, ...]
        The shape that was fed.
    refusal : RecordedRefusal or None
        What the constructor raised; then there is nothing else.
    weights : tuple[TensorRecord, ...]
        The seeded initial weights, in the order of the state dict.
    generator : str
        Short digest of the generator after construction.
    passes : Mapping[str, RecordedPass or RecordedRefusal]
        By mode (eval, train).
    modules : tuple[ModuleNumbers, ...]
        Numbers of every call of a submodule in eval mode; of classes alone whose old code is not run.
    """

    name: str
    release: str
    config: Mapping[str, Any]
    arguments: Mapping[str, Any]
    input: tuple[int, ...]
    refusal: RecordedRefusal | None
    weights: tuple[TensorRecord, ...]
    generator: str
    passes: Mapping[str, RecordedPass | RecordedRefusal]
    modules: tuple[ModuleNumbers, ...] = ()

    @property
    def case(self) -> Case:
        """The case as the architecture file has it: with tuples, for which JSON has lists."""
        return Case(self.name, {name: _with_tuples(value) for name, value in self.config.items()}, self.input)

    @property
    def layout(self) -> Layout:
        """The layout of the old class."""
        return {row.name: TensorSpec(row.shape, row.dtype) for row in self.weights}


@dataclass(frozen=True)
class Reference:
    """Everything recorded of one generation of one class.

    Parameters
    ----------
    name, generation : str
        Class and generation.
    recipe : Mapping[str, Any]
        How it was made: seed, versions, CPU capability, threads, the rule for weights and inputs.
    sources : Mapping[str, Mapping[str, str]]
        Git blob ids by path, for each release.
    signatures : Mapping[str, tuple[str, ...]]
        Constructor arguments with defaults, for each release.
    cases : tuple[RecordedCase, ...]
        In the order of the architecture file.
    """

    name: str
    generation: str
    recipe: Mapping[str, Any]
    sources: Mapping[str, Mapping[str, str]]
    signatures: Mapping[str, tuple[str, ...]]
    cases: tuple[RecordedCase, ...]

    @property
    def path(self) -> str:
        """Its file, below the root of the references.

        Examples
        --------
        >>> Reference("BetaVae25D", "v0.4", {}, {}, {}, ()).path
        'BetaVae25D/v0.4.json'
        """
        return f"{self.name}/{self.generation}.json"


def references_root() -> Path:
    """Return the folder of the references: inside an installed package, else beside ``src`` (sdist, editable install).

    Raises
    ------
    SourceUnavailable
        There is neither.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "legacy_refs", package.parents[1] / "legacy_refs"):
        if folder.is_dir():
            return folder
    raise SourceUnavailable("this installation has no legacy_refs", fix="install it again", code="VC608")


def short(digest: str) -> str:
    """Shorten a digest to what is recorded of it.

    Examples
    --------
    >>> short("0123456789abcdef")
    '0123456789ab'
    """
    return digest[:_SHORT]


def digest_together(digests: Mapping[str, str]) -> str:
    """Return one short digest for several named ones."""
    return short(hashlib.sha256(json.dumps(sorted(digests.items())).encode()).hexdigest())


def read(name: str, generation: str, *, root: Path | None = None) -> Reference:
    """Read one reference.

    Raises
    ------
    SourceUnavailable
        It is missing, damaged, or was edited by hand.
    """
    path = (root or references_root()) / f"{name}/{generation}.json"
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        message = f"no reference is recorded for {name} {generation}"
        raise SourceUnavailable(message, where=str(path), fix="viscy-compat record", code="VC608") from error
    return parse(text, str(path))


def parse(text: str, where: str = "") -> Reference:
    """Read the text of a reference; raises `SourceUnavailable` where it is damaged or was edited by hand."""
    try:
        document = json.loads(text)
        digest = document.pop("digest")
        reference = _reference(document)
        if digest != _digest(document) or text != write(reference):
            raise ValueError("its digest is another one")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        message = f"the reference is damaged or was edited by hand ({type(error).__name__})"
        raise SourceUnavailable(message, where=where, fix="viscy-compat record", code="VC607") from error
    return reference


def write(reference: Reference) -> str:
    """Return the text of a reference; the same reference gives the same text."""
    document = _document(reference)
    return _render({**document, "digest": _digest(document)}) + "\n"


def store(reference: Reference, root: Path) -> bool:
    """Write a reference below a root, and return whether that changed anything."""
    path, text = root / reference.path, write(reference)
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    # by our own number, so that two recordings at once do not write into one file
    fresh = path.with_suffix(f".{os.getpid()}.part")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)
    return True


def list_references(root: Path | None = None) -> list[tuple[str, str]]:
    """Return class and generation of every file below the root, in order."""
    return sorted((path.parent.name, path.stem) for path in (root or references_root()).glob("*/*.json"))


# --- to text -----------------------------------------------------------------------------------------------------


def _document(reference: Reference) -> dict[str, Any]:
    blocks: dict[str, list[Any]] = {}
    cases = [_case_row(case, blocks) for case in reference.cases]
    return {
        "schema": SCHEMA,
        "class": reference.name,
        "generation": reference.generation,
        "recipe": dict(reference.recipe),
        "sources": {release: dict(blobs) for release, blobs in reference.sources.items()},
        "signatures": {release: list(rows) for release, rows in reference.signatures.items()},
        "cases": cases,
        "blocks": blocks,
    }


def _case_row(case: RecordedCase, blocks: dict[str, list[Any]]) -> dict[str, Any]:
    facts = {
        "name": case.name,
        "release": case.release,
        "config": _as_json(case.config),
        "arguments": _as_json(case.arguments),
        "input": list(case.input),
    }
    if case.refusal:
        return {**facts, **case.refusal.to_row()}
    ids = []
    for rows in _runs(case.weights):
        ids.append(short(hashlib.sha256(json.dumps(rows).encode()).hexdigest()))
        blocks.setdefault(ids[-1], rows)
    passes = {mode: outcome.to_row() for mode, outcome in case.passes.items()}
    modules = [[row.module, row.type, list(row.given), list(row.returned)] for row in case.modules]
    more = {"modules": modules} if modules else {}
    return {**facts, "weights": ids, "generator": case.generator, "passes": passes, **more}


def _runs(rows: Iterable[TensorRecord]) -> Iterator[list[Any]]:
    """Cut the weights into runs of one part of the model; parts that many cases share are written once."""
    for _, run in groupby(rows, lambda row: row.name.split(".")[:2]):
        yield [_tensor_row(row) for row in run]


def _tensor_row(row: TensorRecord) -> list[Any]:
    return [row.name, list(row.shape), row.dtype, row.digest, row.norm, list(row.samples)]


def _as_json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _as_json(item) for name, item in value.items()}
    return [_as_json(item) for item in value] if isinstance(value, (list, tuple)) else value


def _digest(document: Mapping[str, Any]) -> str:
    # sorted, so that the order of a file's lines does not count: whatever else was edited by hand does
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def _render(value: Any, margin: str = "") -> str:
    """Write JSON with a line for what is short, and an item a line for what is not."""
    flat = json.dumps(value, ensure_ascii=True)
    if not isinstance(value, (dict, list)):
        return flat
    if len(flat) <= _WIDEST:
        # what reads well in one line: no objects in lists, and no lists of rows
        items = list(value.values() if isinstance(value, dict) else value)
        parts = [part for item in items if isinstance(item, list) for part in item]
        if not any(isinstance(item, dict) for item in items) and not any(isinstance(p, (dict, list)) for p in parts):
            return flat
    inner = margin + " "
    if isinstance(value, dict):
        items = [f"{inner}{json.dumps(name)}: {_render(item, inner)}" for name, item in value.items()]
        return "{\n" + ",\n".join(items) + f"\n{margin}}}"
    return "[\n" + ",\n".join(inner + _render(item, inner) for item in value) + f"\n{margin}]"


# --- from text ---------------------------------------------------------------------------------------------------


def _reference(document: Mapping[str, Any]) -> Reference:
    if document["schema"] != SCHEMA:
        raise ValueError(f"schema {document['schema']}")
    blocks = {name: [_row(row) for row in rows] for name, rows in document["blocks"].items()}
    return Reference(
        name=document["class"],
        generation=document["generation"],
        recipe=document["recipe"],
        sources=document["sources"],
        signatures={release: tuple(rows) for release, rows in document["signatures"].items()},
        cases=tuple(_recorded_case(case, blocks) for case in document["cases"]),
    )


def _recorded_case(row: Mapping[str, Any], blocks: Mapping[str, list[TensorRecord]]) -> RecordedCase:
    refusal = RecordedRefusal(*row["refusal"]) if "refusal" in row else None
    passes: dict[str, RecordedPass | RecordedRefusal] = {}
    for mode, ran in row.get("passes", {}).items():
        if "refusal" in ran:
            passes[mode] = RecordedRefusal(*ran["refusal"])
        else:
            passes[mode] = RecordedPass(ran["type"], tuple(map(_row, ran["outputs"])), ran["generator"], ran["buffers"])
    return RecordedCase(
        name=row["name"],
        release=row["release"],
        config=row["config"],
        arguments=row["arguments"],
        input=tuple(row["input"]),
        refusal=refusal,
        weights=tuple(tensor for name in row.get("weights", ()) for tensor in blocks[name]),
        generator=row.get("generator", ""),
        passes=passes,
        modules=tuple(ModuleNumbers(name, kind, tuple(a), tuple(b)) for name, kind, a, b in row.get("modules", ())),
    )


def _row(fields: list[Any]) -> TensorRecord:
    name, shape, dtype, digest, norm, samples = fields
    return TensorRecord(name=name, shape=tuple(shape), dtype=dtype, digest=digest, norm=norm, samples=tuple(samples))


def _with_tuples(value: Any) -> Any:
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value

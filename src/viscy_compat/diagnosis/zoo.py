"""The published checkpoints, and what each needs beyond its weights to give the predictions it was published for."""

from __future__ import annotations

from viscy_compat.annotations import Any, Iterable, Iterator, Mapping
from viscy_compat.architectures import class_names, find
from viscy_compat.architectures.architecture import Architecture, Publication, complete
from viscy_compat.architectures.inference import infer
from viscy_compat.checkpoint.dtypes import ITEMSIZES
from viscy_compat.errors import UsageError
from viscy_compat.findings import Finding, html_of, line_of
from viscy_compat.named import NamedTuple


class ZooEntry(NamedTuple):
    """One published checkpoint.

    Parameters
    ----------
    nickname, file : str
        What it is called, and the name of the published file.
    class_name, target, generation, written_by : str
        The class, the import path of the migrated one, and the generation that wrote the file.
    config : Mapping[str, Any]
        Every constructor argument, as it was trained.
    needs : Mapping[str, Any]
        The arguments that the weights do not tell and that change predictions, as they were trained.
    harmless : tuple[str, ...]
        The arguments that the weights do not tell either, and that change nothing in eval mode.
    tensors, bytes : int
        Of the weights alone; optimizer state triples the size of a file.
    changes : bool
        Whether the names must be remapped, beyond the prefix.
    source, url : str
        Where the configuration is said, and where upstream publishes the file (empty where it does not).
    contradicted_by : tuple[str, ...]
        What other sources say that this very file is: a class and the source, each.
    """

    nickname: str
    file: str
    class_name: str
    target: str
    generation: str
    written_by: str
    config: Mapping[str, Any]
    needs: Mapping[str, Any]
    harmless: tuple[str, ...]
    tensors: int
    bytes: int
    changes: bool
    source: str = ""
    url: str = ""
    contradicted_by: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The nickname and the file."""
        return f"{self.nickname} ({self.file})"

    @property
    def exit_code(self) -> int:
        """A list finds nothing wrong."""
        return 0

    @property
    def findings(self) -> tuple[Finding, ...]:
        """None."""
        return ()

    @property
    def python(self) -> str:
        """The line of Python that loads the file as it was meant."""
        config = f", config={dict(self.needs)!r}" if self.needs else ""
        return f"model = viscy_compat.load_model({self.file!r}{config})"

    def __repr__(self) -> str:
        return line_of(self, f"{self.class_name} {self.generation}")

    def _repr_html_(self) -> str:
        return html_of("zoo", self)

    def to_dict(self) -> dict[str, Any]:
        """Return the entry as the JSON has it."""
        return {
            "nickname": self.nickname,
            "file": self.file,
            "class": self.class_name,
            "target": self.target,
            "generation": self.generation,
            "written_by": self.written_by,
            "config": dict(self.config),
            "needs": dict(self.needs),
            "harmless": list(self.harmless),
            "tensors": self.tensors,
            "bytes": self.bytes,
            "remap": self.changes,
            "source": self.source,
            "url": self.url,
            "contradicted_by": list(self.contradicted_by),
            "python": self.python,
            "findings": [],
        }


def zoo(words: Iterable[str] = ()) -> tuple[ZooEntry, ...]:
    """List the published checkpoints; with words, those whose nickname, file or class has one of them.

    Raises
    ------
    UsageError
        Where a word is in none of them.

    Examples
    --------
    >>> [entry.class_name for entry in zoo(["vscyto3d"])]
    ['UNeXt2', 'UNeXt2', 'FullyConvolutionalMAE']
    >>> [(entry.class_name, entry.needs) for entry in zoo(["step=24960"])]
    [('UNeXt2', {'head_pool': True}), ('FullyConvolutionalMAE', {'pretraining': False, 'head_conv_pool': False})]
    """
    everything = tuple(_entries())
    needles = [word.lower() for word in words]
    for word in needles:
        if not any(_has(entry, word) for entry in everything):
            names = ", ".join(dict.fromkeys(entry.nickname for entry in everything))
            raise UsageError(
                f"no published checkpoint has {word!r} in its name, file or class", fix=f"there are {names}"
            )
    return tuple(entry for entry in everything if not needles or any(_has(entry, word) for word in needles))


def _has(entry: ZooEntry, word: str) -> bool:
    return any(word in text.lower() for text in (entry.nickname, entry.file, entry.class_name))


def _entries() -> Iterator[ZooEntry]:
    rows = [(architecture, row) for architecture in map(find, class_names()) for row in architecture.publications]
    for architecture, row in rows:
        others = [f"{other.name} ({its.source})" for other, its in rows if its.file == row.file and its is not row]
        yield _entry(architecture, row)._replace(contradicted_by=tuple(others))


def _entry(architecture: Architecture, row: Publication) -> ZooEntry:
    generation = next(generation for generation in architecture.generations if generation.name == row.generation)
    config = complete(architecture, row.config)
    layout = generation.layout(config)
    # what the weights of this layout leave open: it is needed where predictions depend on it, as it was trained
    inference = infer(architecture, layout)
    open_rows = inference.undetermined if inference else ()
    return ZooEntry(
        row.nickname,
        file=row.file,
        class_name=architecture.name,
        target=architecture.target,
        generation=generation.name,
        written_by=generation.written_by,
        config=config,
        needs={row.name: config[row.name] for row in open_rows if row.changes_predictions},
        harmless=tuple(row.name for row in open_rows if not row.changes_predictions),
        tensors=len(layout),
        bytes=sum(ITEMSIZES[spec.dtype] * spec.elements for spec in layout.values()),
        changes=generation is not architecture.generations[-1],
        source=row.source,
        url=row.url,
    )

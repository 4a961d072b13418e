"""What may tell an argument that nobody states: offered with the words to state it, and never adopted."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from viscy_compat.annotations import Final
from viscy_compat.architectures.architecture import REQUIRED, Publication, complete
from viscy_compat.architectures.inference import Inference
from viscy_compat.checkpoint.facts import Checkpoint
from viscy_compat.errors import Unbuildable
from viscy_compat.findings import Finding
from viscy_compat.layout import quote_path
from viscy_compat.stated import Knowledge, spell


def about_offers(checkpoint: Checkpoint, found: Inference, knowledge: Knowledge, *, stated: bool) -> list[Finding]:
    """Offer what published checkpoints, defaults and a configuration beside the file have for what is not known.

    Parameters
    ----------
    checkpoint : Checkpoint
        The file.
    found : Inference
        Its class and configuration.
    knowledge : Knowledge
        What the sources give.
    stated : bool
        Whether the user states anything: then a configuration beside the file was probably seen.
    """
    names = [row.name for row in found.undetermined if row.changes_predictions]
    if not names:
        return []
    findings = [*_published(checkpoint.path, found, names), *_defaults(found, knowledge, names)]
    place = None if stated else next(beside(checkpoint.path), None)
    if place:
        findings.append(
            Finding("VC308", f"{place} may tell what the weights do not", fix=f"--config {quote_path(place)}")
        )
    return findings


def _published(path: str, found: Inference, names: Iterable[str]) -> Iterator[Finding]:
    """Offer the published checkpoints of the same layout, those of the same file name first."""
    file = os.path.basename(path)
    alike = [row for row in found.architecture.publications if _same_layout(row, found)]
    for row in sorted(alike, key=lambda row: row.file != file):
        config = complete(found.architecture, row.config)
        values = [f"{name}={spell(config[name])}" for name in names]
        shared = "the layout and the file name are those" if row.file == file else "the layout is that"
        said = f"{shared} of {row.nickname} ({row.file}), which has {' '.join(values)}"
        yield Finding("VC314", said, fix=_settings(values))


def _settings(values: Iterable[str]) -> str:
    return " ".join(f"--set {quote_path(value)}" for value in values)


def _same_layout(row: Publication, found: Inference) -> bool:
    try:
        footprint = found.architecture.footprint(complete(found.architecture, row.config))
    except Unbuildable:
        return False
    return row.generation == found.generation.name and footprint == found.architecture.footprint(found.config)


def _defaults(found: Inference, knowledge: Knowledge, names: Iterable[str]) -> Iterator[Finding]:
    """Offer the defaults of what a configuration leaves out that names this very class."""
    defaults = {argument.name: argument.default for argument in found.architecture.arguments}
    for row in knowledge.named:
        left_out = [name for name in names if name not in row.arguments and defaults[name] is not REQUIRED]
        if left_out:
            values = [f"{name}={spell(defaults[name])}" for name in left_out]
            said = f"{row.origin} names {found.architecture.name} and leaves {', '.join(left_out)} to the default"
            yield Finding("VC313", f"{said}: {' '.join(values)}", fix=_settings(values))


def beside(path: str) -> Iterator[str]:
    """Yield the configurations that lie where training runs leave them: beside a file, or beside its folder.

    Only names are looked at: Lightning's loggers write ``hparams.yaml``, LightningCLI ``config.yaml``, Hydra
    ``.hydra/config.yaml``; exported models come with ``config.json``.
    """
    folder = os.path.dirname(path)
    for above in (folder, os.path.join(folder, os.pardir)):
        for name in _NAMES:
            place = os.path.join(above, name)
            if os.path.isfile(place):
                yield os.path.normpath(place)


_NAMES: Final = ("config.yaml", "config.yml", "hparams.yaml", "config.json", os.path.join(".hydra", "config.yaml"))

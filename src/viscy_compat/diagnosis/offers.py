"""What may tell an argument that nobody states: offered with the words to state it, and never adopted."""

from __future__ import annotations

import os

from viscy_compat.annotations import Final, Iterable, Iterator
from viscy_compat.architectures.architecture import REQUIRED, complete
from viscy_compat.architectures.inference import Inference
from viscy_compat.checkpoint.facts import Checkpoint
from viscy_compat.errors import Unbuildable
from viscy_compat.findings import Finding
from viscy_compat.layout import quote_path, quote_word
from viscy_compat.stated import Knowledge, spell


def about_offers(
    checkpoint: Checkpoint, inference: Inference, knowledge: Knowledge, *, user_states: bool
) -> list[Finding]:
    """Offer what published checkpoints, defaults and a configuration beside the file have for what is not known.

    Parameters
    ----------
    checkpoint : Checkpoint
        The file.
    inference : Inference
        Its class and configuration.
    knowledge : Knowledge
        What the sources give.
    user_states : bool
        Whether the user states anything: then a configuration beside the file was probably seen.
    """
    names = [row.name for row in inference.undetermined if row.changes_predictions]
    if not names:
        return []
    findings = [*_offers_of_published(checkpoint.path, inference, names), *_defaults(inference, knowledge, names)]
    place = None if user_states else next(beside(checkpoint.path), None)
    if place:
        findings.append(
            Finding("VC308", f"{place} may tell what the weights do not", fix=f"--config {quote_path(place)}")
        )
    return findings


def _offers_of_published(path: str, inference: Inference, names: Iterable[str]) -> Iterator[Finding]:
    """Offer the published checkpoints of the same layout, those of the same file name first."""
    file = os.path.basename(path)
    architecture, alike = inference.architecture, []
    for row in architecture.publications:
        try:
            footprint = architecture.footprint(complete(architecture, row.config))
        except Unbuildable:
            continue
        own = architecture.footprint(inference.config)
        if row.generation == inference.generation.name and footprint == own:
            alike.append(row)
    # a file may have been renamed, so that its name only sorts; the layout must be the same
    for row in sorted(alike, key=lambda row: row.file != file):
        config = complete(architecture, row.config)
        values = [f"{name}={spell(config[name])}" for name in names]
        likeness = "the layout and the file name are those" if row.file == file else "the layout is that"
        message = f"{likeness} of {row.nickname} ({row.file}), which has {' '.join(values)}"
        yield Finding("VC314", message, fix=_as_flags(values))


def _as_flags(values: Iterable[str]) -> str:
    return " ".join(f"--set {quote_word(value)}" for value in values)


def _defaults(inference: Inference, knowledge: Knowledge, names: Iterable[str]) -> Iterator[Finding]:
    """Offer the defaults of what a configuration leaves out that names this very class."""
    defaults = {argument.name: argument.default for argument in inference.architecture.arguments}
    for row in knowledge.named:
        left_out = [name for name in names if name not in row.arguments and defaults[name] is not REQUIRED]
        if left_out:
            values = [f"{name}={spell(defaults[name])}" for name in left_out]
            message = (
                f"{row.origin} names {inference.architecture.name} and leaves {', '.join(left_out)} to the default"
            )
            yield Finding("VC313", f"{message}: {' '.join(values)}", fix=_as_flags(values))


def beside(path: str) -> Iterator[str]:
    """Yield the configurations that lie where training runs leave them: beside a file, or beside its folder.

    Only names are looked at: Lightning's loggers write ``hparams.yaml``, LightningCLI ``config.yaml``, Hydra
    ``.hydra/config.yaml``; exported models come with ``config.json``.
    """
    folder = os.path.dirname(path)
    # Lightning writes checkpoints into <run>/checkpoints/, and its configuration beside that folder
    for above in (folder, os.path.join(folder, os.pardir)):
        for name in _NAMES:
            place = os.path.join(above, name)
            if os.path.isfile(place):
                yield os.path.normpath(place)


_NAMES: Final = ("config.yaml", "config.yml", "hparams.yaml", "config.json", os.path.join(".hydra", "config.yaml"))
"""What LightningCLI, Lightning's loggers, the hub and Hydra write beside a run."""

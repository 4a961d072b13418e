"""The cases in which an old class is compared, and its constructor's arguments for each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from viscy_compat.architectures.architecture import AcceptedDifference, Architecture, Case, Config, complete
from viscy_compat.findings import CATALOGUE, Finding
from viscy_compat.old_code.origin import OldClass


def cases_of(architecture: Architecture, old: OldClass) -> tuple[Case, ...]:
    """Return the cases of one class: those of the generation that its old source could have had.

    The cases of the class, its published checkpoints, and the examples of its accepted differences; equal ones once. Of
    classes that only upstream has the cases alone: what it publishes takes minutes.
    """
    generation = old.generation
    cases = list(generation.cases or architecture.cases)
    if not generation.cases and not architecture.install:
        for publication in architecture.publications:
            shape = architecture.input_shape(complete(architecture, publication.config))
            cases.append(Case(publication.nickname.lower().replace(" ", "-"), publication.config, shape))
        rows = [
            row
            for row in architecture.accepted_differences
            if not row.generations or generation.name in row.generations
        ]
        cases += [row.example for row in rows]
    possible = [case for case in cases if old.release.fits(complete(architecture, case.config))]
    unique: dict[str, Case] = {}
    for case in possible:
        unique.setdefault(f"{sorted(case.config.items())} {case.input}", case)
    # equal configurations in a row: the workers keep the last model
    order = {str(sorted(case.config.items())): place for place, case in reversed([*enumerate(unique.values())])}
    return tuple(sorted(unique.values(), key=lambda case: order[str(sorted(case.config.items()))]))


def old_arguments(architecture: Architecture, old: OldClass, config: Config) -> dict[str, Any]:
    """Return the old constructor's arguments for a configuration of the migrated class."""
    whole = config if old.release.old_config is None else complete(architecture, config)
    return old.release.arguments(whole)


def rows_for(architecture: Architecture, generation: str, config: Config) -> list[AcceptedDifference]:
    """Return the accepted differences that apply to a configuration."""
    whole = complete(architecture, config)
    rows = [row for row in architecture.accepted_differences if not row.generations or generation in row.generations]
    return [row for row in rows if row.applies(whole)]


def unproven(old: OldClass, architecture: Architecture) -> Iterator[Finding]:
    """Say of a source that it is not the recorded one, and name the files."""
    if old.strange:
        message = f"{old.title} does not hold the recorded files of {architecture.name}, and no others"
        yield Finding("VC630", message, old.strange, CATALOGUE["VC630"].remedy)

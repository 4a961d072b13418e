"""Stage ``check``: every recorded layout of every generation is what the architecture says, and is taken for what it is.

Each recorded layout becomes a file with a hole instead of numbers, so it costs nothing. Nothing here needs torch.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator

from viscy_compat.architectures.architecture import Architecture, Case, Config, Generation, complete
from viscy_compat.checkpoint.dtypes import ITEMSIZES
from viscy_compat.checkpoint.safetensors_writer import header_of
from viscy_compat.comparison.layouts import layout_failures
from viscy_compat.diagnosis import CheckResult, diagnose
from viscy_compat.errors import Unbuildable
from viscy_compat.findings import CATALOGUE, Finding
from viscy_compat.gating.stage import StageResult, Workshop
from viscy_compat.layout import Layout, TensorSpec
from viscy_compat.old_code.cases import rows_for
from viscy_compat.references.records import RecordedCase, read

NAME = "check"


def run(workshop: Workshop) -> Iterator[StageResult]:
    """Yield a result for each class.

    Raises
    ------
    SourceUnavailable
        A reference is missing or damaged.
    """
    with tempfile.TemporaryDirectory() as folder:
        for architecture in workshop.setting.classes:
            findings: list[Finding] = []
            files = 0
            for generation in architecture.reachable_generations:
                for record in recorded_layouts(architecture, generation):
                    findings += _complaints(folder, architecture, generation, record)
                    files += 1
            yield StageResult(NAME, architecture.name, tuple(findings), details={"files": files})


def recorded_layouts(architecture: Architecture, generation: Generation) -> list[RecordedCase]:
    """Return the recorded cases of a generation that both the old class and the migrated one build.

    Raises
    ------
    SourceUnavailable
        There is no reference, or it is damaged.
    """
    reference = read(architecture.name, generation.name)
    return [
        record
        for record in reference.cases
        if record.refusal is None and not rows_for(architecture, generation.name, record.case.config)
    ]


def hollow(path: str, layout: Layout) -> None:
    """Write a safetensors file with the tensors of a layout, all bytes of which are a hole.

    Parameters
    ----------
    path : str
        The file to write.
    layout : Layout
        Names, shapes and dtypes.
    """
    header = header_of(layout, {}, where=path)
    with open(path, "wb") as file:
        file.write(header)
        file.truncate(len(header) + sum(spec.elements * ITEMSIZES[spec.dtype] for spec in layout.values()))


def complaint_about(path: str, architecture: Architecture, generation: Generation, case: Case) -> Iterator[Finding]:
    """Check a file that holds the tensors of a generation, and say where the verdict is not what it should be.

    A generation with today's layout is compatible, and cannot be told from the others that have it too.
    """
    config = complete(architecture, case.config)
    layout = generation.layout(config)
    result = diagnose(path).result
    today = list(layout.items()) == list(architecture.layout(config).items())
    verdict = "compatible" if today else "remappable"
    # generations that have this very layout: a file cannot tell them apart
    names = [row.name for row in architecture.generations if _layout_in(row, config) == list(layout.items())]
    if result.verdict != verdict or _class_and_generation(result) not in {(architecture.name, name) for name in names}:
        seen = _class_and_generation(result)
        identity_words = f"{result.verdict}{f' as {seen[0]} {seen[1]}' if seen else ''}"
        message = f"a file of {architecture.name} {generation.name} ({case.name}) is {identity_words}, not {verdict}"
        yield Finding("VC623", message, fix=CATALOGUE["VC623"].remedy)


def _complaints(
    folder: str, architecture: Architecture, generation: Generation, record: RecordedCase
) -> Iterator[Finding]:
    case = record.case
    layout = generation.layout(complete(architecture, case.config))
    for failure in layout_failures(record.layout, layout, case):
        message = (
            f"{generation.name} {case.name}: the architecture file says otherwise than recorded: {failure.message}"
        )
        yield Finding("VC607", message, failure.keys, CATALOGUE["VC607"].remedy)
    path = os.path.join(folder, "sample.safetensors")
    hollow(path, record.layout)
    yield from complaint_about(path, architecture, generation, case)
    os.remove(path)


def _layout_in(generation: Generation, config: Config) -> list[tuple[str, TensorSpec]]:
    try:
        return list(generation.layout(config).items())
    except Unbuildable:
        return []


def _class_and_generation(result: CheckResult) -> tuple[str, str] | None:
    return (result.identity.class_name, result.identity.generation) if result.identity else None

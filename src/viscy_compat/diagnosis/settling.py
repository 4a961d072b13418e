"""A configuration settled: what the weights show beside everything that is stated, and where each value comes from."""

from __future__ import annotations

from collections.abc import Iterable

from viscy_compat.architectures.inference import Inference, infer
from viscy_compat.checkpoint.facts import Checkpoint
from viscy_compat.diagnosis import causes
from viscy_compat.diagnosis.result import Identity
from viscy_compat.errors import UsageError
from viscy_compat.findings import Finding
from viscy_compat.layout import Layout, quote_path
from viscy_compat.named import NamedTuple
from viscy_compat.stated import ENTRIES, Knowledge, Statement


class SettledConfig(NamedTuple):
    """What a file is beside what is stated about it.

    Parameters
    ----------
    inference : Inference
        The configuration, with what is still open.
    shown : Inference
        What the weights alone show.
    knowledge : Knowledge
        What the inference rests on, besides the weights.
    dismissed : Inference or None
        The inference that a source within the file had led to which contradicts the weights, and was dropped.
    passed_over : tuple[Finding, ...]
        What was stated and is not about the class.
    """

    inference: Inference
    shown: Inference
    knowledge: Knowledge = Knowledge()
    dismissed: Inference | None = None
    passed_over: tuple[Finding, ...] = ()

    @property
    def needed(self) -> tuple[str, ...]:
        """The arguments that change predictions and that the weights alone leave open, or leave open still."""
        rows = (*self.shown.undetermined, *self.inference.undetermined)
        return tuple(dict.fromkeys(row.name for row in rows if row.changes_predictions))

    @property
    def identity(self) -> Identity:
        """What is said about the class of the file."""
        found = self.inference
        return Identity(
            found.architecture.name,
            found.architecture.target,
            found.generation.name,
            found.generation.written_by,
            found.config,
            {row.name: row for row in found.undetermined},
            found.evidence,
            self.sources(),
        )

    def sources(self) -> dict[str, str]:
        """Say of every argument where its value comes from."""
        found, values = self.inference, self.knowledge.values
        unknown = causes.open_names(found)
        assumed = {row.name for row in found.undetermined} - unknown.keys()
        open_before = {row.name for row in self.shown.undetermined} | causes.open_names(self.shown).keys()

        def source(name: str) -> str:
            if name in values and name in open_before:
                return str(values[name])
            if name in unknown:
                return "not known"
            return "assumed" if name in assumed else "follows" if name in open_before else "weights"

        return {name: source(name) for name in found.config}


def settle(
    checkpoint: Checkpoint,
    layout: Layout,
    shown: Inference,
    statements: tuple[Statement, ...],
    *,
    alone: bool = True,
) -> SettledConfig:
    """Settle the configuration of a file of a known class.

    Parameters
    ----------
    checkpoint : Checkpoint
        The file, for what it says about itself.
    layout : Layout
        Its tensors under the names of the class.
    shown : Inference
        What the weights alone show.
    statements : tuple[Statement, ...]
        What the user states, the most binding first.
    alone : bool, optional
        Whether the statements are meant for this file: then what is not about its class is refused, and not only said.

    Raises
    ------
    UsageError
        Where the user states what cannot be meant.
    """
    if not statements and not _says_something(checkpoint):
        return SettledConfig(shown, shown)
    from viscy_compat.diagnosis.knowledge import gather, statements_of_file

    rows = (*statements, *statements_of_file(checkpoint))
    knowledge = gather(shown.architecture, shown.config, shown.generation.name, rows)
    passed_over = _passed_over(shown, knowledge, checkpoint.path, alone=alone)
    return settle_with(layout, shown, knowledge)._replace(passed_over=passed_over)


def _says_something(checkpoint: Checkpoint) -> bool:
    """Whether a file may say anything about itself: most say nothing, and cost no look."""
    entries = checkpoint.entries
    return (
        bool(checkpoint.metadata) or checkpoint.hyper_parameters is not None or any(name in entries for name in ENTRIES)
    )


def settle_with(layout: Layout, shown: Inference, knowledge: Knowledge) -> SettledConfig:
    """Infer again with what is known; a source within the file that contradicts the weights is dropped as a whole."""
    if not knowledge.values:
        return SettledConfig(shown, shown, knowledge)
    found = infer(shown.architecture, layout, knowledge.stated()) or shown
    kept = knowledge.without(_refuted(found))
    if len(kept.values) == len(knowledge.values):
        return SettledConfig(found, shown, _less(kept, _refuted(found)))
    settled = infer(shown.architecture, layout, kept.stated()) or shown
    return SettledConfig(settled, shown, _less(kept, _refuted(settled)), found)


def _refuted(found: Inference) -> list[str]:
    return [name for row in found.contradictions for name in row.stated]


def _less(knowledge: Knowledge, names: Iterable[str]) -> Knowledge:
    dropped = set(names)
    return knowledge._replace(values={name: row for name, row in knowledge.values.items() if name not in dropped})


def _passed_over(found: Inference, knowledge: Knowledge, path: str, *, alone: bool) -> tuple[Finding, ...]:
    """Refuse what the user states and cannot be about the class; beside other files, only say so."""
    if not knowledge.foreign and not knowledge.silent:
        return ()
    from viscy_compat.diagnosis.knowledge import is_any_argument, places_of, refuse_foreign

    architecture = found.architecture
    unheard = [name for name in knowledge.foreign if alone or not is_any_argument(name)]
    refuse_foreign(architecture, unheard)
    findings = []
    if knowledge.foreign:
        said = f"{architecture.name} has no argument {', '.join(knowledge.foreign)}, which is stated; it is passed over"
        findings.append(Finding("VC310", said))
    if knowledge.silent:
        origin = knowledge.silent[0].origin
        said = f"states nothing for {architecture.name}: looked at {places_of(knowledge.silent)}"
        if alone:
            raise UsageError(said, where=origin, fix=f"give the configuration that {quote_path(path)} was trained with")
        findings.append(Finding("VC310", f"{origin} {said}"))
    return tuple(findings)

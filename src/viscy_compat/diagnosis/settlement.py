"""A configuration settled: what the weights show beside everything that is stated, and where each value comes from."""

from __future__ import annotations

from viscy_compat.annotations import Iterable
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
    by_weights : Inference
        What the weights alone show.
    knowledge : Knowledge
        What the inference rests on, besides the weights.
    refuted : Inference or None
        The inference that a source within the file had led to which contradicts the weights, and was dropped.
    ignored : tuple[Finding, ...]
        What was stated and is not about the class.
    """

    inference: Inference
    by_weights: Inference
    knowledge: Knowledge = Knowledge()
    refuted: Inference | None = None
    ignored: tuple[Finding, ...] = ()

    @property
    def open_names(self) -> tuple[str, ...]:
        """The arguments that change predictions and that the weights alone leave open, or leave open still."""
        rows = (*self.by_weights.undetermined, *self.inference.undetermined)
        return tuple(dict.fromkeys(row.name for row in rows if row.changes_predictions))

    @property
    def identity(self) -> Identity:
        """What is said about the class of the file."""
        inference = self.inference
        return Identity(
            inference.architecture.name,
            target=inference.architecture.target,
            generation=inference.generation.name,
            written_by=inference.generation.written_by,
            config=inference.config,
            undetermined={row.name: row for row in inference.undetermined},
            evidence=inference.evidence,
            sources=self.sources(),
        )

    def sources(self) -> dict[str, str]:
        """Say of every argument where its value comes from."""
        inference, values = self.inference, self.knowledge.values
        open_now = causes.open_names(inference)
        assumed = {row.name for row in inference.undetermined} - open_now.keys()
        # a value that a source gives where the weights show it as well is said to come from the weights
        open_before = {row.name for row in self.by_weights.undetermined} | causes.open_names(self.by_weights).keys()

        def source(name: str) -> str:
            if name in values and name in open_before:
                return str(values[name])
            if name in open_now:
                return "not known"
            return "assumed" if name in assumed else "follows" if name in open_before else "weights"

        return {name: source(name) for name in inference.config}


def settle(
    checkpoint: Checkpoint,
    layout: Layout,
    by_weights: Inference,
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
    by_weights : Inference
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
    entries = checkpoint.entries
    says_something = (
        bool(checkpoint.metadata) or checkpoint.hyper_parameters is not None or any(name in entries for name in ENTRIES)
    )
    # most files say nothing about themselves, and cost no look and no import
    if not statements and not says_something:
        return SettledConfig(by_weights, by_weights)
    from viscy_compat.diagnosis.knowledge import gather, statements_of_file

    rows = (*statements, *statements_of_file(checkpoint))
    knowledge = gather(by_weights.architecture, by_weights.config, by_weights.generation.name, rows)
    ignored = _about_ignored_values(by_weights, knowledge, checkpoint.path, alone=alone)
    return settle_with(layout, by_weights, knowledge)._replace(ignored=ignored)


def settle_with(layout: Layout, by_weights: Inference, knowledge: Knowledge) -> SettledConfig:
    """Infer again with what is known; a source within the file that contradicts the weights is dropped as a whole."""
    if not knowledge.values:
        return SettledConfig(by_weights, by_weights, knowledge)
    inference = infer(by_weights.architecture, layout, knowledge.stated()) or by_weights
    consistent = knowledge.without(_contradicted_names(inference))
    if len(consistent.values) == len(knowledge.values):
        return SettledConfig(inference, by_weights, _knowledge_without(consistent, _contradicted_names(inference)))
    # without what the weights contradict, arguments that hung on it may be open again
    again = infer(by_weights.architecture, layout, consistent.stated()) or by_weights
    return SettledConfig(
        again,
        by_weights=by_weights,
        knowledge=_knowledge_without(consistent, _contradicted_names(again)),
        refuted=inference,
    )


def _contradicted_names(inference: Inference) -> list[str]:
    return [name for row in inference.contradictions for name in row.stated]


def _knowledge_without(knowledge: Knowledge, names: Iterable[str]) -> Knowledge:
    names_out = set(names)
    return knowledge._replace(values={name: row for name, row in knowledge.values.items() if name not in names_out})


def _about_ignored_values(inference: Inference, knowledge: Knowledge, path: str, *, alone: bool) -> tuple[Finding, ...]:
    """Refuse what the user states and cannot be about the class; beside other files, only say so."""
    if not knowledge.foreign and not knowledge.silent:
        return ()
    from viscy_compat.diagnosis.knowledge import is_any_argument, places_of, refuse_foreign

    architecture = inference.architecture
    # beside other files a statement may be meant for one of them, if any class at all has that argument
    unheard = [name for name in knowledge.foreign if alone or not is_any_argument(name)]
    refuse_foreign(architecture, unheard)
    findings = []
    if knowledge.foreign:
        message = (
            f"{architecture.name} has no argument {', '.join(knowledge.foreign)}, which is stated; it is passed over"
        )
        findings.append(Finding("VC310", message))
    if knowledge.silent:
        origin = knowledge.silent[0].origin
        message = f"states nothing for {architecture.name}: looked at {places_of(knowledge.silent)}"
        if alone:
            raise UsageError(
                message, where=origin, fix=f"give the configuration that {quote_path(path)} was trained with"
            )
        findings.append(Finding("VC310", f"{origin} {message}"))
    return tuple(findings)

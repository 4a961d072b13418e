"""`remap`: the plan for a checkpoint, and the file that loads. No torch."""

from __future__ import annotations

import os
from importlib import import_module

from viscy_compat.annotations import TYPE_CHECKING, Any, Callable, Iterable, Iterator, Literal
from viscy_compat.checkpoint import open_checkpoint
from viscy_compat.checkpoint.address import Address
from viscy_compat.checkpoint.facts import Checkpoint
from viscy_compat.checkpoint.locations import public_name
from viscy_compat.checkpoint.pickle_nodes import Node
from viscy_compat.diagnosis import CheckResult, Recognised, diagnose
from viscy_compat.diagnosis.address_flags import flag, option
from viscy_compat.diagnosis.causes import about_absent_weights
from viscy_compat.diagnosis.judgement import target_beside
from viscy_compat.errors import OutputRefused, PlanRefused, UsageError
from viscy_compat.findings import CATALOGUE, EXIT_CODES, Finding, Report, Verdict, html_of, line_of
from viscy_compat.layout import differences, fold, quote_path
from viscy_compat.named import NamedTuple
from viscy_compat.operations import Cast, Drop, Fill, Rename
from viscy_compat.plans.drops import changing_drops
from viscy_compat.plans.optimizer import entries_with_optimizers, reindex
from viscy_compat.plans.plan import Plan
from viscy_compat.plans.plan_file import dumps, plan_id
from viscy_compat.rewrite.admission import Admission
from viscy_compat.rewrite.choosing import FilePlan, NoPlan, RemapRequest, choose
from viscy_compat.rewrite.class_path import with_class_path
from viscy_compat.rewrite.leavings import about_admission, about_drops
from viscy_compat.rewrite.output import IfExists, open_output, refuse_target
from viscy_compat.rewrite.provenance import provenance
from viscy_compat.rewrite.siblings import Fate, Scope, fates_of, left_sites, scope_of, usual_site
from viscy_compat.rewrite.torch_graph import KEPT_ENTRIES
from viscy_compat.rewrite.write import (
    Job,
    OutputFormat,
    OutputSet,
    WrittenFile,
    becomes_plain,
    plain_output,
    stored_tensors,
    write,
)
from viscy_compat.stated import config_statements

if TYPE_CHECKING:
    from collections.abc import Mapping

    from viscy_compat.agreement import Agreement

ENDINGS: dict[str, OutputFormat] = {
    ".safetensors": "safetensors",
    ".ckpt": "torch",
    ".pt": "torch",
    ".pth": "torch",
    ".bin": "torch",
}
"""Formats by the ending of the output's name."""

LIGHTNING_PREFIX = "model."
"""The attribute in which VisCy's Lightning modules keep the network."""


class Wish(NamedTuple):
    """What shall become of the plan.

    Parameters
    ----------
    out : str, optional
        The new file; empty where only the plan is wanted.
    if_exists : {"refuse", "overwrite", "back up"}, optional
        What happens to a file that stands there; ``back up`` is ``--in-place``.
    weights_only : bool, optional
        Leave optimizer and trainer state out.
    plan_out, shim_out : str, optional
        Where the plan, and the Python shim, are written.
    class_path : str, optional
        The class path that the hyper-parameters shall name.
    keep_classes : bool, optional
        Keep entries that torch's default refuses.
    sets : {"", "all", "chosen"}, optional
        Which sets of weights the output holds: all of them, the chosen one alone, or (empty) all where the chosen one is
        what loaders take.
    """

    out: str = ""
    if_exists: IfExists = "refuse"
    weights_only: bool = False
    plan_out: str = ""
    shim_out: str = ""
    class_path: str = ""
    keep_classes: bool = False
    sets: Scope = ""


class RemapResult(NamedTuple):
    """What `remap` answers about one file.

    ``written`` is None where nothing was written; ``left_behind`` names what the new file does not hold besides its sets
    of weights; ``check`` is the verdict on the source, where its class was asked for; ``grounds`` says why each target
    tensor has its source, where that was inferred; ``state_dict`` is the address of the set that was remapped, ``fates``
    say what becomes of the others, ``place`` is the path of its state dict in the new file; ``expect`` says how outputs
    that the user has agree.
    """

    file: str
    verdict: Verdict
    plan: Plan | None = None
    written: WrittenFile | None = None
    left_behind: tuple[str, ...] = ()
    loses: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    files: Mapping[str, str] = {}
    check: CheckResult | None = None
    proof: Mapping[str, Any] | None = None
    grounds: Mapping[str, str] = {}
    next: str = ""
    state_dict: str | None = None
    fates: tuple[Fate, ...] = ()
    place: str = ""
    expect: Agreement | None = None

    @property
    def title(self) -> str:
        """The file."""
        return self.file

    @property
    def exit_code(self) -> int:
        """0 where there is a plan, and the file if one was asked for; else that of the verdict."""
        return 0 if self.plan is not None else EXIT_CODES[self.verdict]

    def __repr__(self) -> str:
        return line_of(self, f"written to {self.written.path}" if self.written else "nothing was written")

    def _repr_html_(self) -> str:
        return html_of("remap", self)

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON has it; keys without a value are left out."""
        identity = self.check.identity if self.check else None
        fields = {
            "file": self.file,
            "verdict": self.verdict,
            "written": self.written.path if self.written else None,
            "bytes": self.written.size if self.written else None,
            "tensors": self.written.tensors if self.written else None,
            "tied": dict(self.written.tied) if self.written else None,
            "architecture": identity.to_dict() if identity else None,
            "plan": plan_summary(self.plan) if self.plan else None,
            "state_dict": self.state_dict,
            "sets": [fate.to_dict() for fate in self.fates],
            "loses": list(self.loses),
            "left_behind": list(self.left_behind),
            "files": dict(self.files),
            "proof": dict(self.proof) if self.proof else None,
            "expect": self.expect.to_dict() if self.expect else None,
            "grounds": {ground: fold(names) for ground, names in names_by_ground(self.grounds).items()},
            "findings": [finding.to_dict() for finding in self.findings],
            "next": self.next,
        }
        # programs ask for these without looking whether they are there
        always = ("findings", "written", "next", *(() if self.state_dict is None else ("state_dict",)))
        return {name: value for name, value in fields.items() if value or name in always}


def names_by_ground(grounds: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the names that each ground decided.

    Examples
    --------
    >>> names_by_ground({"a": "same name", "b": "same name"})
    {'same name': ['a', 'b']}
    """
    groups: dict[str, list[str]] = {}
    for name, ground in grounds.items():
        groups.setdefault(ground, []).append(name)
    return groups


def plan_summary(plan: Plan) -> dict[str, Any]:
    """Return how many tensors a plan keeps, renames, drops, fills, casts and otherwise changes."""
    renames = sum(isinstance(row, Rename) for row in plan.changes)
    counts = {"renames": renames, "drops": plan.count(Drop), "fills": plan.count(Fill), "casts": plan.count(Cast)}
    others = len(plan.changes) - sum(counts.values())
    rows = {"prefix": list(plan.prefix_rows)} if plan.prefix_rows else {}
    kept = len(plan.operations) - len(plan.changes)
    changing_names = changing_drops(plan.operations)
    return {
        "id": plan_id(plan),
        "total": True,
        "kept": kept,
        **counts,
        **({"others": others} if others else {}),
        **rows,
        **({"changes_predictions": fold(changing_names)} if changing_names else {}),
    }


class NewFile(NamedTuple):
    """A new file before it takes its place: where it is, and how its tensors are found in it.

    ``site`` is the address of the set of weights, ``prefix`` stands in front of every name.
    """

    path: str
    site: str | None
    prefix: str


Prover = Callable[[FilePlan, NewFile], "Mapping[str, Any]"]
"""Proves that a new file does what the source did, and says how; raises where it does not."""


def remap(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    in_place: bool = False,
    force: bool = False,
    weights_only: bool = False,
    plan: str | os.PathLike[str] | None = None,
    reverse: bool = False,
    against: str | os.PathLike[str] | None = None,
    hints: Iterable[str] = (),
    drop: Iterable[str] = (),
    write_plan: str | os.PathLike[str] | None = None,
    shim: str | os.PathLike[str] | None = None,
    card: str | os.PathLike[str] | None = None,
    class_path: str = "",
    keep_classes: bool = False,
    sets: Literal["", "all", "chosen"] = "",
    class_name: str = "",
    config: Mapping[str, Any] | None = None,
    state_dict: str | None = None,
) -> Report[RemapResult]:
    """Write a checkpoint that loads into the migrated class, or only say how that would be done; without torch.

    Parameters
    ----------
    path : str or os.PathLike
        The checkpoint; it is never changed, unless `in_place`.
    out : str or os.PathLike, optional
        The new file; its ending says whether it is safetensors or a torch file.
    in_place : bool, optional
        Replace `path`, and keep it as ``PATH.bak``.
    force : bool, optional
        Replace what stands at `out`.
    weights_only : bool, optional
        Leave optimizer and trainer state out.
    plan : str or os.PathLike, optional
        A plan file to apply, in place of the plan that the class's history gives.
    reverse : bool, optional
        Go back to the older layout.
    against : str or os.PathLike, optional
        A checkpoint whose layout is the target.
    hints : Iterable[str], optional
        ``OLD=NEW`` patterns, where renames are inferred.
    drop : Iterable[str], optional
        Tensors, modules or patterns that are left out though they compute something: predictions change.
    write_plan, shim : str or os.PathLike, optional
        Where to write the plan as JSON, and as Python that needs torch alone.
    card : str or os.PathLike, optional
        Where to write a model card of the new file: what it is, where it comes from, digests.
    class_path : str, optional
        The import path that the hyper-parameters shall name, where LightningCLI wrote one.
    keep_classes : bool, optional
        Keep entries that torch's default (``weights_only=True``) refuses; then the new file needs
        ``weights_only=False``.
    sets : {"", "all", "chosen"}, optional
        Which sets of weights the new file holds, where `path` holds several: all of them, the chosen one alone, or (by
        default) all where the chosen one is what loaders take.
    class_name, config, state_dict
        As `viscy_compat.check` has them.

    Returns
    -------
    Report
        True where the exit code would be 0.

    Raises
    ------
    PlanRefused, OutputRefused, UnreadableCheckpoint, UsageError
        Where the plan does not fit, the output cannot be written, or a file cannot be read.

    Examples
    --------
    >>> remap("nowhere.ckpt").results[0].verdict
    'unreadable'
    """
    if in_place and out is not None:
        raise UsageError("an output and --in-place exclude each other", fix="give one of them")
    source = public_name(os.fspath(path))
    question = RemapRequest(
        source,
        class_name=class_name,
        statements=config_statements(config),
        state_dict=state_dict,
        plan=_path_text(plan),
        against=public_name(_path_text(against)),
        direction="back" if reverse else "forward",
        hints=tuple(hints),
        drops=tuple(drop),
    )
    wish = Wish(
        source if in_place else _path_text(out),
        if_exists="back up" if in_place else "overwrite" if force else "refuse",
        weights_only=weights_only,
        plan_out=_path_text(write_plan),
        shim_out=_path_text(shim),
        class_path=class_path,
        keep_classes=keep_classes,
        sets=sets,
    )
    if card is None:
        return Report("remap", [fulfil(question, wish)])
    if not wish.out:
        raise UsageError("--card is about a new file, and nothing is written", fix="give an output, or --in-place")
    # the words of a card are made above this room
    cards: Any = import_module("viscy_compat.report.card")
    if_exists: IfExists = "overwrite" if force else "refuse"
    digest = cards.source_digest(os.fspath(path), os.fspath(card), if_exists)
    return Report("remap", [cards.with_card(fulfil(question, wish), digest, os.fspath(card), if_exists)])


def fulfil(
    question: RemapRequest,
    wish: Wish,
    *,
    prover: Prover | None = None,
    trial: Callable[[FilePlan], bool] | None = None,
) -> RemapResult:
    """Choose the plan, write what is wished for, and say what was done; see `remap` for what is raised.

    Parameters
    ----------
    question : RemapRequest
        What is asked.
    wish : Wish
        What shall be written.
    prover : Callable[[FilePlan, NewFile], Mapping[str, Any]], optional
        Called with the new file before it takes its place; where no file is wished for, with one that is thrown away.
    trial : Callable[[FilePlan], bool], optional
        As `choose` has it.
    """
    chosen = choose(question, trial=trial)
    if isinstance(chosen, NoPlan):
        result = chosen.result
        return RemapResult(question.path, result.verdict, findings=result.findings, check=result, next=result.next)
    # before the file is written: a result is whole or absent, side files included
    for path in filter(None, (wish.plan_out, wish.shim_out)):
        refuse_target(path, _if_exists(wish), chosen.checkpoint.files)
    fates = _fates(chosen, wish)
    findings = _findings(chosen, wish)  # looks into the source, which --in-place replaces
    job, written, proof = _write_output(chosen, question, wish, prover)
    files = dict(_extra_files(chosen.plan, wish, chosen.checkpoint))
    admission = written.admission if written else Admission({})
    omissions = () if wish.keep_classes else tuple(row.place for row in admission.omissions)
    return RemapResult(
        question.path,
        verdict="compatible" if chosen.result and chosen.result.verdict == "compatible" else "remappable",
        plan=chosen.plan,
        written=written,
        left_behind=(*left_behind(chosen.checkpoint, job, fates), *omissions) if job else (),
        loses=chosen.plan.loses if question.direction == "forward" else (),
        findings=(
            *about_drops(chosen.plan.operations),
            *about_admission(admission, wish.out, keep_classes=wish.keep_classes),
            *findings,
        ),
        files=files,
        check=chosen.result,
        proof=proof or None,
        grounds=chosen.grounds,
        state_dict=chosen.choice.pick.address if chosen.choice and chosen.choice.pick else None,
        fates=fates,
        place=job.weights.site if job and not plain_output(job) else "",
        next="" if written else _writing_command(question, chosen.result),
    )


def _writing_command(question: RemapRequest, verdict: CheckResult | None) -> str:
    """Return the command that writes what was only planned: that of the verdict, with what this plan was asked with."""
    command = verdict.next if verdict else ""
    if not command.startswith("viscy-compat remap "):
        path, out = quote_path(question.path), quote_path(target_beside(question.path))
        command = f"viscy-compat remap {path}{flag(question.state_dict)} -o {out}"
    if question.class_name and " --as " not in command:
        command += f" --as {question.class_name}"
    values = (("plan", question.plan), ("against", question.against))
    lists = (*(("hint", text) for text in question.hints), *(("drop", name) for name in question.drops))
    words = [f" --{name} {quote_path(path)}" for name, path in values if path]
    words += [option(name, text) for name, text in lists if text]
    return command + " --reverse" * (question.direction == "back") + "".join(words)


def _fates(chosen: FilePlan, wish: Wish) -> tuple[Fate, ...]:
    """Return what becomes of the other sets of weights; in a file that is not written yet, what would."""
    checkpoint = chosen.checkpoint
    kind = kind_of(wish.out, checkpoint, wish.if_exists) if wish.out else "torch"
    scope = scope_of(wish.sets, checkpoint, chosen.choice)
    holds = ""
    if kind == "safetensors":
        holds = "a safetensors file holds one set"
    elif becomes_plain(checkpoint):
        holds = "the output is a plain state dict, which holds one set"
    elif wish.weights_only:
        holds = "--weights-only keeps one set"
    return fates_of(chosen.choice, chosen.plan, _prefix(chosen, scope, edits=True), scope=scope, holds=holds)


def _write_output(
    file_plan: FilePlan, question: RemapRequest, wish: Wish, prover: Prover | None
) -> tuple[Job | None, WrittenFile | None, dict[str, Any]]:
    if not wish.out and prover is None:
        return None, None, {}
    if not wish.out:
        from tempfile import TemporaryDirectory

        # a plan is proven by a file that is thrown away
        with TemporaryDirectory(prefix="viscy-compat-") as folder:
            aside = Wish(os.path.join(folder, "proven.safetensors"))
            return None, None, _write_output(file_plan, question, aside, prover)[2]
    proof: dict[str, Any] = {}
    job = _job(file_plan, question, wish)
    written = write(job, lambda path: proof.update(_recheck(file_plan, question, job, path, prover)))
    return job, written, proof


def kind_of(path: str, checkpoint: Checkpoint, if_exists: IfExists) -> OutputFormat:
    """Return the format that a file's ending asks for.

    Raises
    ------
    UsageError
        Where the ending is none of `ENDINGS`; in place, the format of the source is kept then.
    """
    ending = os.path.splitext(path)[1].lower()
    if ending in ENDINGS:
        return ENDINGS[ending]
    # in place there is no other ending to choose; a folder or index of shards is no single file to replace
    if if_exists == "back up" and not checkpoint.format.startswith("sharded"):
        return "safetensors" if checkpoint.format == "safetensors" else "torch"
    raise UsageError(f"the ending {ending!a} says no format", where=path, fix=f"choose one of {', '.join(ENDINGS)}")


def left_behind(checkpoint: Checkpoint, job: Job, fates: tuple[Fate, ...] = ()) -> tuple[str, ...]:
    """Return what the source holds besides its sets of weights and the new file does not, by name."""
    entries = [*checkpoint.entries]
    if job.format == "torch" and not becomes_plain(checkpoint):
        stays = KEPT_ENTRIES if checkpoint.wrapper.kind == "lightning" else ()
        entries = [name for name in entries if job.weights_only and name not in stays]
        old_site = checkpoint.site if job.weights.site != checkpoint.site else None
        entries += [path for path in job.removed if path not in entries and path != old_site]
    # tensors beside the chosen set, in its state dict, that belong to no other
    others = {
        key for fate in fates if fate.row.checkpoint.site == checkpoint.site for key in fate.row.view.keys.values()
    }
    in_no_set = (key for key in checkpoint.beside if key not in checkpoint.tensors and key not in others)
    return (*entries, *checkpoint.extras, *in_no_set)


def _job(chosen: FilePlan, question: RemapRequest, wish: Wish) -> Job:
    checkpoint, plan = chosen.checkpoint, chosen.plan
    format_ = kind_of(wish.out, checkpoint, wish.if_exists)
    # only a torch file from a torch file keeps what stands beside the weights
    edits = format_ == "torch" and not becomes_plain(checkpoint)
    if edits and (wish.keep_classes or not wish.weights_only):
        _refuse_to_copy_calls(checkpoint)
    if wish.class_path and not edits:
        message = "--class-path is about hyper-parameters, which the output does not hold"
        raise UsageError(message, where=wish.out, fix="write a .ckpt")
    scope, fates = scope_of(wish.sets, checkpoint, chosen.choice), _fates(chosen, wish)
    site = usual_site(checkpoint, chosen.choice) if edits and scope == "chosen" else checkpoint.site
    prefix = _prefix(chosen, scope, edits=edits)
    # optimizers of a state dict count the parameters of all that stands in it: of one part they say nothing
    is_part = scope == "chosen" and len(checkpoint.beside) > len(checkpoint.tensors)
    stale = entries_with_optimizers(checkpoint) if edits and not wish.weights_only and is_part else ()
    return Job(
        OutputSet(checkpoint, keys=chosen.keys, plan=plan, prefix=prefix, source_prefix=chosen.prefix, site=site),
        out=wish.out,
        format=format_,
        if_exists=wish.if_exists,
        weights_only=wish.weights_only,
        keep_classes=wish.keep_classes,
        replacements=_new_nodes(chosen, wish, prefix, follows=not wish.weights_only and not stale) if edits else {},
        metadata=provenance(chosen, question),
        limits=question.limits,
        siblings=tuple(fate.part for fate in fates if fate.part) if edits else (),
        removed=(*left_sites(fates, checkpoint, site), *stale) if edits else (),
    )


def _new_nodes(chosen: FilePlan, wish: Wish, prefix: str, *, follows: bool) -> dict[int, Node]:
    """Return what takes the place of nodes outside the state dicts, by ``id``: optimizer state, and a class path."""
    checkpoint, nodes = chosen.checkpoint, dict[int, Node]()
    if follows:
        stored = stored_tensors(checkpoint, chosen.keys)
        nodes.update(reindex(checkpoint, chosen.plan, stored, order=chosen.order, keys=chosen.keys, prefix=prefix))
    if wish.class_path:
        nodes.update(with_class_path(checkpoint, wish.class_path))
    return nodes


def _prefix(chosen: FilePlan, scope: Scope, *, edits: bool) -> str:
    """Return the prefix of the output: Lightning files keep theirs, since their module holds the model as before.

    A set that stands where Lightning loads gets the prefix of what stood there; one among others in a state dict keeps
    its own.
    """
    # a part of a state dict, or one that no loader takes by itself
    elsewhere = chosen.checkpoint.base is not None or chosen.checkpoint.site != usual_site(
        chosen.checkpoint, chosen.choice
    )
    if edits and scope == "all" and elsewhere:
        return chosen.prefix
    sets = chosen.choice.sets if chosen.choice else ()
    place = usual_site(chosen.checkpoint, chosen.choice)
    usual = any(row.view.prefix.startswith(LIGHTNING_PREFIX) for row in sets if row.checkpoint.site == place)
    held = usual or bool(chosen.prefix)
    return LIGHTNING_PREFIX if edits and is_lightning(chosen.checkpoint) and held else chosen.plan.target.prefix


def is_lightning(checkpoint: Checkpoint) -> bool:
    """Whether a trainer wrote the file, whichever of its state dicts this is."""
    return bool(checkpoint.wrapper.version)


def _refuse_to_copy_calls(checkpoint: Checkpoint) -> None:
    """Refuse to write again what would run when it is loaded."""
    calls = [use.path for use in checkpoint.globals if use.role == "call"]
    if calls or checkpoint.dropped:
        what = f"would call {calls[0]}" if calls else "makes calls and throws their results away"
        raise PlanRefused(
            f"loaded the ordinary way, the file {what}, and so would a copy",
            where=checkpoint.path,
            fix="--weights-only writes the weights alone",
            code="VC430",
        )


def _recheck(chosen: FilePlan, question: RemapRequest, job: Job, path: str, prover: Prover | None) -> Mapping[str, Any]:
    """Read the new file as `check` would, and hold it against the target of the plan."""
    target = chosen.plan.target
    part = job.weights
    shares = any(other.site == part.site for other in job.siblings)
    site = None if plain_output(job) else str(Address(part.site, part.prefix if shares else None))
    if target.class_name and question.direction == "forward":
        diagnosis = diagnose(path, class_name=target.class_name, state_dict=site, limits=question.limits)
        own = (
            bool(job.siblings)
            and isinstance(diagnosis, Recognised)
            and diagnosis.plan is not None
            and not diagnosis.plan.changes
        )
        if diagnosis.result.verdict != "compatible" and not own:
            raise _failure(job.out, "; ".join(finding.message for finding in diagnosis.result.findings))
    else:
        checkpoint = open_checkpoint(path, limits=question.limits, state_dict=site)
        layout_expected = {job.weights.prefix + name: spec for name, spec in target.layout.items()}
        layout = {key: tensor.spec for key, tensor in checkpoint.tensors.items()}
        if differences(layout, layout_expected):
            raise _failure(job.out, "its layout is not that of the plan")
    return prover(chosen, NewFile(path, site, job.weights.prefix)) if prover else {}


def _failure(out: str, why: str) -> OutputRefused:
    return OutputRefused(
        f"the new file did not pass its check and was removed: {why}",
        where=out,
        fix="please report this; viscy-compat inspect shows what the source holds",
    )


def _extra_files(plan: Plan, wish: Wish, checkpoint: Checkpoint) -> Iterator[tuple[str, str]]:
    """Write the plan and the shim, where they are wished for; they never replace a file without ``--force``."""
    if wish.plan_out:
        _write_text(wish.plan_out, dumps(plan), _if_exists(wish))
        yield "plan", wish.plan_out
    if wish.shim_out:
        from viscy_compat.plans.shim_source import shim_source

        module = os.path.splitext(os.path.basename(wish.shim_out))[0]
        text = shim_source(
            plan,
            module=module if module.isidentifier() else "shim",
            site=checkpoint.site,
            safetensors="safetensors" in checkpoint.format,
        )
        _write_text(wish.shim_out, text, _if_exists(wish))
        yield "shim", wish.shim_out


def _if_exists(wish: Wish) -> IfExists:
    """Return what happens to an existing plan or shim: there is no backup of those."""
    return "overwrite" if wish.if_exists == "overwrite" else "refuse"


def _write_text(path: str, text: str, if_exists: IfExists) -> None:
    with open_output(path, if_exists) as output:
        output.write(text.encode("utf-8"))
        output.sync()
        output.commit()


def _findings(chosen: FilePlan, wish: Wish) -> tuple[Finding, ...]:
    """Return what stays to be said about the source: not what the plan, or the new file, cures."""
    checkpoint = chosen.checkpoint
    findings = chosen.result.findings if chosen.result else (*checkpoint.findings, *about_absent_weights(checkpoint))
    # a new class path, or a format without hyper-parameters, is rid of the old class path
    rid_of_path = wish.class_path or ENDINGS.get(os.path.splitext(wish.out)[1].lower()) == "safetensors"
    return tuple(
        finding
        for finding in findings
        if finding.severity != "error"
        and not CATALOGUE[finding.code].remap_cures
        and not (rid_of_path and finding.code == "VC306")
    )


def _path_text(path: str | os.PathLike[str] | None) -> str:
    if path is None:
        return ""
    text = os.fspath(path)
    if not text:
        raise UsageError("an empty path names no file", fix="leave it out, or give a name")
    return text

"""What `remap` records in the files that it writes: where the tensors come from, and which arguments are known.

A safetensors file has it in its metadata; a torch file in a record of its own beside the pickle, which torch and
Lightning pass over. `check` and `load_model` read it, so that what was stated once need not be stated again.
"""

from __future__ import annotations

from viscy_compat.annotations import Any
from viscy_compat.architectures import find
from viscy_compat.architectures.inference import infer
from viscy_compat.checkpoint.facts import Checkpoint
from viscy_compat.diagnosis.computed_weights import dropped_before
from viscy_compat.diagnosis.knowledge import gather
from viscy_compat.diagnosis.settlement import settle_with
from viscy_compat.layout import fold
from viscy_compat.plans.drops import changing_drops
from viscy_compat.plans.plan import layout_digest
from viscy_compat.plans.plan_file import plan_id
from viscy_compat.rewrite.choosing import FilePlan, RemapRequest
from viscy_compat.version import __version__


def provenance(file_plan: FilePlan, question: RemapRequest) -> dict[str, str]:
    """Return the record of one remap: texts by name, those of ours behind ``viscy_compat.``.

    What the metadata of a safetensors source says besides is kept.
    """
    from json import dumps

    target = file_plan.plan.target
    config = known_arguments(file_plan, question)
    names = [*dropped_before(file_plan.checkpoint.metadata), *fold(changing_drops(file_plan.plan.operations))]
    drops = list(dict.fromkeys(names))
    record = {
        "class": target.class_name,
        "generation": target.generation,
        "config": dumps(config, sort_keys=True) if target.config else "",
        "source_generation": file_plan.plan.source.generation,
        "plan": plan_id(file_plan.plan),
        "state_dict": file_plan.plan.source.state_dict or "",
        "source": source_digest(file_plan.checkpoint),
        "version": __version__,
        "changes_predictions": dumps(drops) if drops else "",
    }
    # what an earlier remap recorded was about another file
    others = {key: value for key, value in file_plan.checkpoint.metadata.items() if not key.startswith("viscy_compat.")}
    return {"format": "pt", **others, **{f"viscy_compat.{name}": value for name, value in record.items() if value}}


def known_arguments(file_plan: FilePlan, question: RemapRequest) -> dict[str, Any]:
    """Return the constructor arguments that are stated or that the weights show; what is assumed is left out."""
    target = file_plan.plan.target
    if not target.class_name:
        return {}
    identity = file_plan.result.identity if file_plan.result else None
    config, sources = dict(target.config), identity.sources if identity else None
    # a plan out of a file comes without a verdict: what the target's weights show is found here
    if sources is None:
        by_weights = infer(find(target.class_name), target.layout)
        if by_weights is None:
            return {}
        rows = gather(by_weights.architecture, by_weights.config, by_weights.generation.name, question.statements)
        config_settled = settle_with(target.layout, by_weights, rows)
        config, sources = config_settled.inference.config, config_settled.sources()
    return {name: value for name, value in config.items() if sources.get(name) not in (None, "not known", "assumed")}


def source_digest(checkpoint: Checkpoint) -> str:
    """Return what identifies a source without reading all of it, with the name of what was digested.

    ``crc32:...`` is the SHA-256 over every record's name, size and CRC-32, which the file states and `remap` verifies;
    ``layout:...`` that over names, shapes and dtypes, where the format states no CRCs.
    """
    import hashlib

    records = [record for record in checkpoint.records.values() if record.crc is not None]
    if not records:
        return f"layout:{layout_digest({key: tensor.spec for key, tensor in checkpoint.tensors.items()})}"
    lines = sorted(f"{record.name!a} {record.nbytes} {record.crc:08x}\n" for record in records)
    return f"crc32:{hashlib.sha256(''.join(lines).encode()).hexdigest()}"

"""What `remap` records in the files that it writes: where the tensors come from, and which arguments are known.

A safetensors file has it in its metadata; a torch file in a record of its own beside the pickle, which torch and
Lightning pass over. `check` and `load_model` read it, so that what was stated once need not be stated again.
"""

from __future__ import annotations

from typing import Any

from viscy_compat.architectures import find
from viscy_compat.architectures.inference import infer
from viscy_compat.checkpoint.facts import Checkpoint
from viscy_compat.diagnosis.computing import dropped_before
from viscy_compat.diagnosis.knowledge import gather
from viscy_compat.diagnosis.settling import settle_with
from viscy_compat.layout import fold
from viscy_compat.plans.dropping import changing_drops
from viscy_compat.plans.plan import layout_digest
from viscy_compat.plans.plan_file import plan_id
from viscy_compat.rewrite.choosing import FilePlan, RemapRequest
from viscy_compat.version import __version__


def provenance(chosen: FilePlan, question: RemapRequest) -> dict[str, str]:
    """Return the record of one remap: texts by name, those of ours behind ``viscy_compat.``.

    What the metadata of a safetensors source says besides is kept.
    """
    from json import dumps

    target = chosen.plan.target
    config = known_arguments(chosen, question)
    names = [*dropped_before(chosen.checkpoint.metadata), *fold(changing_drops(chosen.plan.operations))]
    dropped = list(dict.fromkeys(names))
    recorded = {
        "class": target.class_name,
        "generation": target.generation,
        "config": dumps(config, sort_keys=True) if target.config else "",
        "source_generation": chosen.plan.source.generation,
        "plan": plan_id(chosen.plan),
        "state_dict": chosen.plan.source.state_dict or "",
        "source": source_digest(chosen.checkpoint),
        "version": __version__,
        "changes_predictions": dumps(dropped) if dropped else "",
    }
    kept = {key: value for key, value in chosen.checkpoint.metadata.items() if not key.startswith("viscy_compat.")}
    return {"format": "pt", **kept, **{f"viscy_compat.{name}": value for name, value in recorded.items() if value}}


def known_arguments(chosen: FilePlan, question: RemapRequest) -> dict[str, Any]:
    """Return the constructor arguments that are stated or that the weights show; what is assumed is left out."""
    target = chosen.plan.target
    if not target.class_name:
        return {}
    identity = chosen.result.identity if chosen.result else None
    config, sources = dict(target.config), identity.sources if identity else None
    if sources is None:
        shown = infer(find(target.class_name), target.layout)
        if shown is None:
            return {}
        rows = gather(shown.architecture, shown.config, shown.generation.name, question.statements)
        settled = settle_with(target.layout, shown, rows)
        config, sources = settled.inference.config, settled.sources()
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

"""A model card of a remapped file, as hubs show it: front matter, what it is, how it loads, where it comes from, digests.

Only what is known stands in it. What nobody but its owner can say (a licence, what it was trained on, how good it is) is
asked for in a comment.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from viscy_compat.findings import CATALOGUE
from viscy_compat.layout import spell_count
from viscy_compat.report.contents import contents_of, value_of
from viscy_compat.report.markdown import code, table, text
from viscy_compat.report.terminal import size
from viscy_compat.rewrite.output import IfExists, open_output, refuse_target
from viscy_compat.version import __version__

if TYPE_CHECKING:
    from viscy_compat.rewrite.remapping import RemapResult

_PIECE = 1 << 20
"""Bytes that are hashed at a time."""


def model_card(result: RemapResult, source_digest: str) -> str:
    """Return the card of the file that a remap wrote.

    Parameters
    ----------
    result : RemapResult
        What was written.
    source_digest : str
        The SHA-256 of the source, taken before it could be replaced.
    """
    class_name = _target(result).class_name
    tags = ["viscy", *([class_name] if class_name else [])]
    kind = "safetensors" if _path(result).endswith(".safetensors") else "pytorch"
    # texts of JSON are texts of YAML
    front = ["---", f"library_name: {json.dumps('viscy-models')}", "tags:"]
    front += [f"- {json.dumps(tag)}" for tag in (*tags, kind)]
    parts = ["\n".join([*front, "# license: yours to say", "---"]), *_identity(result), "## Loading"]
    contents = contents_of(result, "check", result.check.to_dict() if result.check else {})
    names = [row[0] for table in contents.tables for row in table.rows if row[1:2] == ("...",)]
    config = f", config={{{', '.join(f'{name!r}: ...' for name in names)}}}" if names else ""
    call = f"viscy_compat.load_model({os.path.basename(_path(result))!r}{config})"
    parts.append(f"```python\nimport viscy_compat\n\nmodel = {call}\n```")
    if names:
        parts.append("Three dots stand where the weights do not tell a value and predictions depend on it.")
    return "\n\n".join([*parts, *_origin(result, source_digest)]) + "\n"


def source_digest(source: str, card: str, if_exists: IfExists) -> str:
    """Return the digest of the source that a card names, before the source could be replaced.

    Raises
    ------
    OutputRefused
        Where the card cannot be written.
    """
    refuse_target(card, if_exists, ())
    # a source that has an address is read in pieces, and never as a whole
    return digest_of(source) if os.path.exists(source) else "not taken: the source is no local file"


def with_card(result: RemapResult, digest: str, card: str, if_exists: IfExists) -> RemapResult:
    """Write the card of what a remap wrote, and return the result that names it; where nothing was written, the result.

    Raises
    ------
    OutputRefused
        Where it cannot be written.
    """
    if result.written is None:
        return result
    with open_output(card, if_exists) as output:
        output.write(model_card(result, digest).encode("utf-8", "backslashreplace"))
        output.sync()
        output.commit()
    return result._replace(files={**result.files, "card": card})


def digest_of(path: str) -> str:
    """Return the SHA-256 of a file; that of a folder is over the names and digests of its files."""
    state = hashlib.sha256()
    if os.path.isdir(path):
        for folder, folders, files in os.walk(path):
            # os.walk has the order of the disc, which is another one after a copy
            folders.sort()
            for file in sorted(files):
                place = os.path.join(folder, file)
                state.update(f"{os.path.relpath(place, path)} {digest_of(place)}\n".encode("utf-8", "surrogateescape"))
        return state.hexdigest()
    with open(path, "rb") as file_object:
        while piece := file_object.read(_PIECE):
            state.update(piece)
    return state.hexdigest()


def _identity(result: RemapResult) -> Iterator[str]:
    target, new_file = _target(result), result.written
    count = f"{spell_count(new_file.tensors, 'tensor')}, {size(new_file.size)}" if new_file else ""
    yield f"# {text(os.path.basename(_path(result)))}"
    yield "<!-- What it predicts, from which images, and how well, is yours to say. -->"
    if not target.class_name:
        yield f"{count}, in the layout of another checkpoint."
        return
    identity = result.check.identity if result.check else None
    import_path = code(identity.target if identity else target.class_name)
    yield f"The weights of {import_path} ({text(target.generation)}): {count}."
    sources = identity.sources if identity else {}
    rows = [
        [
            code(name),
            code(value_of(value) if sources.get(name) != "not known" else "..."),
            text(sources.get(name, "-")),
        ]
        for name, value in dict(target.config or {}).items()
    ]
    if rows:
        yield "## Configuration"
        yield table(["argument", "value", "from"], rows)


def _origin(result: RemapResult, source_digest: str) -> Iterator[str]:
    plan = result.plan
    yield "## Origin"
    rows = [
        ["source", code(os.path.basename(result.file))],
        ["SHA-256 of the source", code(source_digest)],
        ["SHA-256 of this file", code(digest_of(_path(result)))],
        ["written by", text(f"viscy-compat {__version__}, every byte of every tensor compared")],
    ]
    if plan is not None and plan.source.generation:
        rows.insert(1, ["generation of the source", text(plan.source.generation)])
    yield table(["what", "value"], rows)
    changes = [
        row[0]
        for part in contents_of(result, "remap", result.to_dict()).tables
        if part.title == "changes"
        for row in part.rows
    ]
    if changes:
        yield "\n".join(["Tensors that are not as they were:", "", *(f"- {code(line)}" for line in changes)])
    if result.loses:
        yield "\n".join(["What is lost:", "", *(f"- {text(line)}" for line in result.loses)])
    if result.proof:
        yield f"Proven: {code(json.dumps(result.proof, default=str))}"
    warnings = [finding for finding in result.findings if CATALOGUE[finding.code].severity != "note"]
    if warnings:
        yield "\n".join(["Known of it:", "", *(f"- {row.code}: {text(row.message)}" for row in warnings)])


def _target(result: RemapResult) -> Any:
    return result.plan.target if result.plan is not None else None


def _path(result: RemapResult) -> str:
    return result.written.path if result.written else ""

"""An audit as one page for ten thousand rows: it filters and sorts in the reader's browser, without a network.

The rows are data in the page; only those in view are elements. The page's policy allows its own script, by its digest,
and nothing from anywhere else. Nothing that a file can have named is ever markup: the script sets text alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from html import escape
from importlib.resources import files
from typing import Any, Final

from viscy_compat.findings import CATALOGUE
from viscy_compat.fleet.outcome import AuditOutcome
from viscy_compat.fleet.row import AuditRow
from viscy_compat.layout import printable, spell_count
from viscy_compat.report.script import policy_digest
from viscy_compat.report.terminal import size
from viscy_compat.version import __version__

_FIELDS: Final = ("kind", "file", "class", "needs", "codes", "size", "message", "next", "facts")


def page(outcome: AuditOutcome) -> Iterator[str]:
    """Yield the page in pieces."""
    script, style = _resource("audit_page.js"), _resource("audit_page.css")
    allowed = f"default-src 'none'; script-src '{policy_digest(script)}'; style-src '{policy_digest(style)}'"
    tally = outcome.tally
    title = f"{spell_count(tally.files, 'checkpoint')}, {size(tally.bytes)}"
    yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    yield f'<meta http-equiv="Content-Security-Policy" content="{allowed}">\n'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    yield f"<title>viscy-compat audit: {escape(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n<main>\n"
    interrupted = "Interrupted; this is what was known by then: " if outcome.interrupted else ""
    yield f"<h1>{interrupted}{escape(title)}</h1>\n"
    yield from _summary_table(outcome)
    yield _CONTROLS
    yield '<script type="application/json" id="data">[\n'
    separator = ""
    for row in outcome.rows():
        yield separator + _data(row)
        separator = ",\n"
    yield "\n]</script>\n"
    yield f"<footer>viscy-compat {__version__}</footer>\n</main>\n<script>{script}</script>\n</body>\n</html>"


_CONTROLS: Final = """<form id="filter" role="search">
<label>Find <input id="text" type="search" placeholder="words of a name, class, code" autocomplete="off"></label>
<label>Verdict <select id="kind"><option value="">all</option></select></label>
<label>Class <select id="class"><option value="">all</option></select></label>
<label>Finding <select id="code"><option value="">all</option></select></label>
<output id="count" for="text kind class code"></output>
</form>
<p id="unprinted"></p>
<div id="view" tabindex="0" aria-label="files"><table><thead><tr>
<th scope="col"><button type="button" data-by="0">verdict</button></th>
<th scope="col"><button type="button" data-by="1">file</button></th>
<th scope="col"><button type="button" data-by="2">class</button></th>
<th scope="col">to be stated</th><th scope="col">findings</th>
<th scope="col"><button type="button" data-by="5">size</button></th></tr></thead><tbody id="rows"></tbody></table></div>
<noscript><p>The rows need JavaScript, which this page brings along; the table above does not.</p></noscript>
"""


def _summary_table(outcome: AuditOutcome) -> Iterator[str]:
    yield '<details open><summary>Summary</summary><div class="wide" tabindex="0" role="group" aria-label="summary">'
    yield '<table class="summary">'
    yield "<tr><th>by</th><th>value</th><th>files</th><th>bytes</th><th>for example</th></tr>\n"
    for row in outcome.tally.rows():
        examples = "<br>".join(escape(printable(name)) for name in row.examples)
        meaning = f"<small>{escape(CATALOGUE[row.value].title)}</small>" if row.value in CATALOGUE else ""
        amounts = f"<td>{row.files:,}</td><td>{size(row.bytes)}</td>"
        yield f"<tr><td>{row.group}</td><td>{escape(row.value)}{meaning}</td>{amounts}<td>{examples}</td></tr>\n"
    yield "</table></div></details>\n"


def _data(row: AuditRow) -> str:
    fields: dict[str, Any] = {
        "kind": row.kind,
        "file": printable(row.file),
        "class": f"{row.class_name} {row.generation}".strip(),
        "needs": ", ".join(row.needs),
        "codes": " ".join(row.codes),
        "size": row.size,
        "message": printable(row.foreign or row.message),
        "next": printable(row.next),
        "facts": f"{row.format}, {spell_count(row.tensors, 'tensor')}, {size(row.bytes)}" if row.format else "",
    }
    # a script element ends at "</script" whatever its type; JSON reads the escape as the sign itself
    text = json.dumps([fields[name] for name in _FIELDS], separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("##", "#\\u0023")


def _resource(name: str) -> str:
    return files("viscy_compat.report").joinpath(name).read_text(encoding="utf-8").strip()

"""The report as one page that needs nothing else: verdict first, the rest folded, readable on a phone.

No script, no font, no image is loaded, and the page forbids its reader's browser to load any. Everything that a file can
have named is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape

from viscy_compat.exhibits import Exhibits, Fact, Table
from viscy_compat.findings import Report, Result
from viscy_compat.layout import printable
from viscy_compat.report.drawing import drawing
from viscy_compat.report.page import WORDS, Message, Page, Section, page_of, shortened
from viscy_compat.report.runners import spelled_out
from viscy_compat.report.terminal import Style
from viscy_compat.version import __version__

KEYS = 12
TOGETHER = 6
"""From so many results on, those that hold are folded together."""

_STYLE = """
:root{color-scheme:light dark;--ink:#1c2126;--soft:#5a6570;--paper:#fff;--line:#d5dbe1;--tint:#f4f6f8;
--holds:#1a6e3c;--findings:#b3261e;--undecided:#8a5a00}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ec;--soft:#9aa5b0;--paper:#14181c;--line:#343c44;--tint:#1d2329;
--holds:#6fcf97;--findings:#ff8a80;--undecided:#ffca6b}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:70rem;margin:0 auto;padding:1.25rem 1rem 4rem}
header{border-left:.5rem solid;padding:.25rem 0 .25rem 1rem;margin-bottom:1.5rem}
h1{font-size:1.5rem;line-height:1.25;margin:0}
h2{font-size:1.1rem;line-height:1.3;margin:0;overflow-wrap:anywhere}
header p{margin:.25rem 0 0;color:var(--ink)}
p.lead{margin:.5rem 0}
small,footer{color:var(--soft);font-size:.875rem}
code{font:.875em ui-monospace,monospace;overflow-wrap:anywhere;background:var(--tint);border-radius:.2rem;padding:0 .2rem}
section{border-top:1px solid var(--line);padding:.75rem 0}
section h2{display:inline}
ul{padding-left:1.25rem;margin:.5rem 0}
li{margin:.5rem 0;overflow-wrap:anywhere}
details{margin:.5rem 0}
summary{cursor:pointer;padding:.25rem 0}
.wide{overflow-x:auto;max-width:100%;margin:.5rem 0 1.25rem}
table{border-collapse:collapse;font-size:.875rem}
caption{text-align:left;font-weight:600;padding:.25rem 0}
th,td{border:1px solid var(--line);padding:.3rem .55rem;text-align:left;vertical-align:top}
th{background:var(--tint);font-weight:600}
dl{display:grid;grid-template-columns:minmax(7rem,max-content) 1fr;gap:.2rem 1rem;font-size:.875rem;margin:.5rem 0}
dt{color:var(--soft);overflow-wrap:anywhere}dd{margin:0;overflow-wrap:anywhere}
.holds{color:var(--holds)}.findings{color:var(--findings)}.undecided{color:var(--undecided)}
.soft{color:var(--soft)}
.mark{font-weight:600;white-space:nowrap}
svg{min-width:34rem;max-width:100%;height:auto;display:block}
svg text{fill:var(--ink);font:11px system-ui,sans-serif}
@media(max-width:40rem){dl{grid-template-columns:1fr;gap:0}dd{margin-bottom:.4rem}h1{font-size:1.25rem}
.cells .word{display:none}
.matrix th:not(:first-child){writing-mode:vertical-rl;padding:.5rem .3rem}.matrix td,.matrix th{padding:.3rem .28rem}}
@media print{details>*{display:block}}
""".strip()

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_SIGNS = {"holds": "\u2713", "findings": "\u2717", "undecided": "?"}
_COLOURS = {"error": "findings", "warning": "undecided", "note": "soft"}


def render(report: Report[Result], style: Style) -> str:
    """Return the page."""
    page = page_of(report)
    title = text(f"{page.title}: {page.verdict}")
    head = [
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="referrer" content="no-referrer">',
        f"<title>{title}</title>",
        f"<style>{_STYLE}</style>",
    ]
    body = ["<main>", *_head(page), *_tables(page), *_sections(page)]
    body += _exhibits(page.exhibits._replace(tables=()))
    body += [f"<footer>viscy-compat {text(__version__)}</footer>", "</main>"]
    return "\n".join(
        ["<!doctype html>", '<html lang="en">', "<head>", *head, "</head>", "<body>", *body, "</body>", "</html>"]
    )


def text(words: str) -> str:
    """Escape words for the text or an attribute of the page.

    Examples
    --------
    >>> text("<a href='x'>")
    '&lt;a href=&#x27;x&#x27;&gt;'
    """
    return spelled_out(escape(printable(words)), "&#35;")


def mark(word: str) -> str:
    """Return one of the marks' words in its colour, with a sign for those who see no colours; others escaped.

    Examples
    --------
    >>> mark("holds"), mark("-")
    ('<span class="mark holds">✓ <span class="word">holds</span></span>', '-')
    """
    if word not in _SIGNS:
        return text(word)
    return f'<span class="mark {word}">{_SIGNS[word]} <span class="word">{word}</span></span>'


def _head(page: Page) -> Iterator[str]:
    yield f'<header class="{page.verdict}">'
    yield f"<h1>{text(page.title)}: {_SIGNS[page.verdict]} {page.verdict}</h1>"
    yield f"<p>{text(page.sentence)}</p>"
    if page.headline:
        yield f"<p>{text(page.headline)}</p>"
    yield "</header>"


def _tables(page: Page) -> Iterator[str]:
    """Show the tables that the report brings; else list every result."""
    if page.exhibits.tables:
        yield from map(_table, page.exhibits.tables)
    elif len(page.sections) > 1:
        rows = [[f"<code>{text(part.title)}</code>", _verdict(part), _codes(part)] for part in page.sections]
        yield _grid("", ("about", "verdict", "findings"), rows)


def _verdict(section: Section) -> str:
    word = WORDS[section.exit_code]
    return f'<span class="mark {word}">{_SIGNS[word]} {text(section.verdict)}</span>'


def _codes(section: Section) -> str:
    return text(", ".join(dict.fromkeys(message.code for message in section.messages if message.code)) or "-")


def _sections(page: Page) -> Iterator[str]:
    """What needs attention stands first; many that hold are folded together below."""
    calm = [section for section in page.sections if not section.exit_code]
    yield from (_section(section, unfolded=True) for section in page.sections if section.exit_code)
    shown = [_section(section, unfolded=len(page.sections) == 1) for section in calm]
    if len(calm) > TOGETHER:
        yield f"<details><summary>{len(calm)} that hold</summary>{''.join(shown)}</details>"
    else:
        yield from shown


def _section(section: Section, *, unfolded: bool) -> str:
    """Show a result; one that holds is folded to its line, unless it is the only one."""
    title = f"<h2><code>{text(section.title)}</code> {_verdict(section)}</h2>"
    inside = "".join(_inside(section))
    if unfolded or section.exhibits.maps:
        return f"<section>{title}{inside}</section>"
    return f"<section><details><summary>{title}</summary>{inside}</details></section>"


def _inside(section: Section) -> Iterator[str]:
    if section.lead:
        yield f'<p class="lead">{text(section.lead)}</p>'
    if section.messages:
        yield f"<ul>{''.join(map(_item, section.messages))}</ul>"
    if section.next:
        yield f"<p>Next: <code>{text(section.next)}</code></p>"
    yield from _exhibits(section.exhibits)


def _item(message: Message) -> str:
    told = f"{message.code} {message.severity}".strip()
    fix = f"<br><small>Fix: {text(message.fix)}</small>" if message.fix else ""
    name = f'<span class="mark {_COLOURS[message.severity]}">{told}</span>'
    return f"<li>{name} {text(message.message)}{_keys(message.keys)}{fix}</li>"


def _keys(keys: tuple[str, ...]) -> str:
    if not keys:
        return ""
    shown, left = shortened(keys, limit=KEYS)
    rest = _listed(keys[len(shown) :])
    folded = f"<details><summary>and {left} more</summary>{rest}</details>" if left else ""
    return f"<br>{_listed(shown)}{folded}"


def _listed(keys: Iterable[str]) -> str:
    return ", ".join(f"<code>{text(key)}</code>" for key in keys)


def _exhibits(exhibits: Exhibits) -> Iterator[str]:
    """Show failures at once, and the rest folded."""
    for table in exhibits.tables:
        failures = "code" in table.columns
        yield _table(table) if failures else _folded(f"{table.title} ({len(table.rows)})", _table(table))
    for drawn in exhibits.maps:
        picture = f'<div class="wide">{drawing(drawn)}</div>'
        yield picture if len(exhibits.maps) == 1 else _folded(f"map of {drawn.title}", picture)
    if exhibits.facts:
        yield _folded("facts", _facts(exhibits.facts))


def _folded(title: str, body: str) -> str:
    return f"<details><summary>{text(title)}</summary>{body}</details>"


def _facts(facts: tuple[Fact, ...]) -> str:
    return f"<dl>{''.join(f'<dt>{text(fact.name)}</dt><dd>{text(fact.value)}</dd>' for fact in facts)}</dl>"


def _table(table: Table) -> str:
    return _grid(table.title, table.columns, [[mark(cell) for cell in row] for row in table.rows])


def _grid(title: str, columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    caption = f"<caption>{text(title)}</caption>" if title else ""
    cells = [list(row) for row in rows]
    kind = "cells matrix" if _is_matrix(cells) else "cells"
    heads = "".join(f'<th scope="col">{text(column)}</th>' for column in columns)
    lines = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in cells)
    return f'<div class="wide"><table class="{kind}">{caption}<thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table></div>'


def _is_matrix(cells: list[list[str]]) -> bool:
    """Whether every cell behind the first column is a mark or a dash: the headings may then stand upright on a phone."""
    rest = [cell for row in cells for cell in row[1:]]
    return bool(rest) and all(cell == "-" or 'class="word"' in cell for cell in rest)

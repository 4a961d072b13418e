"""The report as one page that needs nothing else: verdict first, what to paste, the rest folded, readable on a phone.

No script but ours, no font and no image is loaded, and the page forbids its reader's browser to load any. Everything that
a file can have named is escaped. `fragment` is the same for a notebook, without the script.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from html import escape
from itertools import chain

from viscy_compat import __version__
from viscy_compat.exhibits import Branch, Exhibits, Paste, Table
from viscy_compat.findings import Report, Result
from viscy_compat.layout import printable
from viscy_compat.python_words import call_of, in_python
from viscy_compat.report.drawing import drawing
from viscy_compat.report.page import WORDS, Heading, Message, Page, Section, first_of, page_of
from viscy_compat.report.runners import spelled_out
from viscy_compat.report.script import SCRIPT, policy
from viscy_compat.report.styles import KINDS, SIGNS, STYLES
from viscy_compat.report.terminal import Style, separated

KEYS = 12
TOGETHER = 6
"""From so many results on, those that hold are folded together."""
_BESIDE = 2
"""So many maps stand beside each other; those of every class are folded."""
LONG = 12
"""Tables with more rows can be filtered."""

_UNFOLDED = ("configuration", "sets of weights", "exact nearby", "changes", "what the weights leave open")
"""Tables that people come for; others are folded to their titles."""
_COLOURS = {"error": "findings", "warning": "undecided", "note": "soft"}


def pieces(report: Report[Result], style: Style) -> Iterator[str]:
    """Yield the page, section by section."""
    page = page_of(report)
    head = [
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy()}">',
        '<meta name="referrer" content="no-referrer">',
        f"<title>{text(page.title)}: {page.word}</title>",
        f"<style>{STYLES}</style>",
    ]
    before = ["<!doctype html>", '<html lang="en">', "<head>", *head, "</head>", "<body>", '<main class="vc">']
    footer = [f"<footer>viscy-compat {text(__version__)}</footer>", "</main>"]
    after = [*footer, f"<script>{SCRIPT}</script>", "</body>", "</html>"]
    return chain((f"{line}\n" for line in before), _body(page), separated("\n", after))


def fragment(report: Report[Result]) -> str:
    """Return what a notebook shows: the page without a document around it, and without a script."""
    page = page_of(report)
    page = page._replace(sections=page.sections.changed_by(_in_python))
    return f'<div class="vc"><style>{STYLES[STYLES.index(".vc") :]}</style>\n{"".join(_body(page))}</div>'


def _in_python(section: Section) -> Section:
    """Return a section for those who typed Python: calls in place of commands, keywords in place of flags."""
    messages = tuple(message._replace(fix=in_python(message.fix)) for message in section.messages)
    calls = ((paste, call_of(paste.code)) for paste in section.exhibits.pastes)
    pastes = tuple(Paste("next call", call) if call else paste for paste, call in calls)
    exhibits = section.exhibits._replace(pastes=pastes)
    return section._replace(messages=messages, exhibits=exhibits, next=call_of(section.next) or section.next)


def text(words: str) -> str:
    """Escape words for the text or an attribute of the page.

    Examples
    --------
    >>> text("<a href='x'>")
    '&lt;a href=&#x27;x&#x27;&gt;'
    """
    return spelled_out(escape(printable(words)), "&#35;")


def mark(word: str) -> str:
    """Return one of the words for how something went in its colour, with a sign for those who see no colours.

    Examples
    --------
    >>> mark("holds"), mark("-")
    ('<span class="mark holds">✓ <span class="word">holds</span></span>', '-')
    """
    if word not in SIGNS:
        return text(word)
    return f'<span class="mark {KINDS.get(word, word)}">{SIGNS[word]} <span class="word">{word}</span></span>'


def _body(page: Page) -> Iterator[str]:
    """Yield what stands between the ends of a page, in lines that end with a line break or go on."""
    yield from (f"{block}\n" for block in chain(_head(page), _tables(page)))
    # what needs attention stands first; many that hold are folded together below
    sections, alone = page.sections, len(page.sections) == 1
    for number, part in sections.where(lambda heading: bool(heading.exit_code)):
        yield f"{_section(part, number, alone=alone, fold=False)}\n"
    count = sum(not heading.exit_code for heading in sections.headings)
    # a list is what was asked for: none of it is folded away
    together = count > TOGETHER and not page.is_list
    yield f"<details><summary>{count} that hold</summary>" if together else ""
    for number, part in sections.where(lambda heading: not heading.exit_code):
        yield _section(part, number, alone=alone, fold=not alone and not page.is_list) + ("" if together else "\n")
    yield "</details>\n" if together else ""
    yield from (f"{block}\n" for block in _exhibits(page.exhibits._replace(tables=())))


def _head(page: Page) -> Iterator[str]:
    sign = "" if page.is_list else f": {SIGNS[page.word]} {page.word}"
    yield f'<header class="{"soft" if page.is_list else KINDS.get(page.word, page.word)}">'
    yield f"<h1>{text(page.title)}{sign}</h1>"
    yield f"<p>{text(page.sentence)}</p>"
    if page.headline:
        yield f"<p>{text(page.headline)}</p>"
    yield "</header>"


def _tables(page: Page) -> Iterator[str]:
    """Show the tables that the report brings, with links from their marks; else list every result."""
    headings = page.sections.headings
    places = {(part.about, part.group): f"#result-{number}" for number, part in enumerate(headings)}
    if page.exhibits.tables:
        yield from (_table(table, places) for table in page.exhibits.tables)
    elif len(headings) > 1:
        rows = [
            [
                f'<a href="#result-{number}"><code>{text(part.title)}</code></a>',
                _verdict(part),
                text(part.kind or "-"),
                text(", ".join(part.codes) or "-"),
            ]
            for number, part in enumerate(headings)
        ]
        yield _grid("every result", ("about", "verdict", "what", "findings"), rows)


def _verdict(section: Section | Heading) -> str:
    word = section.verdict if section.verdict in KINDS else WORDS[section.exit_code]
    sign = SIGNS.get(word, SIGNS[WORDS[section.exit_code]])
    kind = KINDS.get(word, word)
    if section.is_listed:
        sign, kind = "", "soft"
    return f'<span class="mark {kind}">{sign} {text(section.verdict)}</span>'


def _section(section: Section, number: int, *, alone: bool, fold: bool) -> str:
    """Show a result; one that holds is folded to its line, unless it is the only one."""
    title = f'<h2 id="title-{number}"><code>{text(section.title)}</code> {_verdict(section)}</h2>'
    exhibits, parts = section.exhibits, [""]
    # what the only result is about stands in the header
    if exhibits.sentence and not alone:
        parts.append(f"<p>{text(exhibits.sentence)}</p>")
    if section.lead:
        parts.append(f"<p>{text(section.lead)}</p>")
    pastes = exhibits.pastes or ((Paste("next", section.next),) if section.next else ())
    parts += map(_paste, pastes)
    # what has no code repeats the sentence, which stands in the header then
    is_repeated = alone and bool(exhibits.sentence)
    messages = [message for message in section.messages if message.code or not is_repeated]
    if messages:
        parts.append(f"<ul>{''.join(map(_item, messages))}</ul>")
    inside = "".join([*parts, *_exhibits(exhibits)])
    if fold and not exhibits.maps:
        inside = f"<details><summary>{title}</summary>{inside}</details>"
    else:
        inside = f"{title}{inside}"
    return f'<section id="result-{number}" aria-labelledby="title-{number}">{inside}</section>'


def _paste(paste: Paste) -> str:
    lines = "\n".join(map(text, paste.code.split("\n")))
    code = f"<pre><code>{lines}</code></pre>"
    return f'<figure class="paste"><figcaption>{text(paste.label)}</figcaption><div>{code}</div></figure>'


def _item(message: Message) -> str:
    name = f"{message.code} {message.severity}".strip()
    fix = f"<br><small>Fix: {text(message.fix)}</small>" if message.fix else ""
    label = f'<span class="mark {_COLOURS[message.severity]}">{name}</span>'
    return f"<li>{label} {text(message.message)}{_keys(message.keys)}{fix}</li>"


def _keys(keys: tuple[str, ...]) -> str:
    if not keys:
        return ""
    first, more = first_of(keys, limit=KEYS)
    rest = _codes_of(keys[len(first) :])
    more_keys = f"<details><summary>and {more} more</summary>{rest}</details>" if more else ""
    return f"<br>{_codes_of(first)}{more_keys}"


def _codes_of(keys: Iterable[str]) -> str:
    return ", ".join(f"<code>{text(key)}</code>" for key in keys)


def _exhibits(exhibits: Exhibits) -> Iterator[str]:
    """Show failures and what people come for at once, and the rest folded."""
    for table in exhibits.tables:
        at_once = "code" in table.columns or table.title in _UNFOLDED
        yield _table(table) if at_once else _fold(f"{table.title} ({len(table.rows)})", _table(table))
    pictures = [f'<div class="wide">{drawing(picture)}</div>' for picture in exhibits.maps]
    if len(pictures) <= _BESIDE:
        yield f'<div class="maps">{"".join(pictures)}</div>' if pictures else ""
    else:
        yield from (_fold(f"map of {one.title}", block) for one, block in zip(exhibits.maps, pictures, strict=True))
    for tree in exhibits.trees:
        branches = f'<ul class="tree">{"".join(map(_branch, tree.branches))}</ul>'
        yield _fold(f"{tree.name}: {tree.detail}", branches)
    if exhibits.facts:
        rows = "".join(f"<dt>{text(fact.name)}</dt><dd>{text(fact.value)}</dd>" for fact in exhibits.facts)
        facts = f"<dl>{rows}</dl>"
        yield facts if len(exhibits.facts) <= LONG and exhibits.sentence else _fold("facts", facts)


def _branch(branch: Branch) -> str:
    line = f"<code>{text(branch.name)}</code> <small>{text(branch.detail)}</small>"
    if not branch.branches:
        return f"<li>{line}</li>"
    below = "".join(map(_branch, branch.branches))
    return f"<li><details open><summary>{line}</summary><ul>{below}</ul></details></li>"


def _fold(title: str, body: str) -> str:
    return f"<details><summary>{text(title)}</summary>{body}</details>"


def _table(table: Table, places: Mapping[tuple[str, str], str] | None = None) -> str:
    rows = [
        [
            _cell(cell, _place_of(row[0], column.strip(), places or {}))
            for cell, column in zip(row, table.columns, strict=True)
        ]
        for row in table.rows
    ]
    return _grid(table.title, table.columns, rows)


def _place_of(about: str, group: str, places: Mapping[tuple[str, str], str]) -> str:
    """Return where a cell is told: at what its stage says of the class, or of all classes together."""
    return places.get((about, group)) or places.get(("", group), "")


def _cell(words: str, place: str) -> str:
    return f'<a href="{place}">{mark(words)}</a>' if place and words in SIGNS else mark(words)


def _grid(title: str, columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    caption = f"<caption>{text(title)}</caption>" if title else ""
    cells = [list(row) for row in rows]
    rest = [cell for row in cells for cell in row[1:]]
    # of marks and dashes alone behind the first column, its headings may stand upright on a phone
    is_matrix = bool(rest) and all(cell == "-" or 'class="word"' in cell for cell in rest)
    kinds = [name for name, holds in (("matrix", is_matrix), ("long", len(cells) > LONG)) if holds]
    heads = "".join(f'<th scope="col">{text(column)}</th>' for column in columns)
    lines = "".join(
        f'<tr><th scope="row">{row[0]}</th>{"".join(f"<td>{cell}</td>" for cell in row[1:])}</tr>' for row in cells
    )
    table = f'<table class="{" ".join(kinds)}">{caption}<thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table>'
    # a table wider than a phone is scrolled, by the keyboard too: hence the tabindex
    return f'<div class="wide" tabindex="0" role="group" aria-label="{text(title)}">{table}</div>'

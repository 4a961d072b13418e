"""The terminal kit: what a finding, a size, a colour, a sentence and a table look like, in every command.

On a terminal nothing of ours is wider than it, but for a single word (a path) that is; what is to be pasted is broken
where its language goes on with the next line. A pipe gets every sentence whole, so that it can be searched.
"""

from __future__ import annotations

from viscy_compat.annotations import Iterable, Iterator, Literal, Protocol, Sequence
from viscy_compat.findings import CATALOGUE, Severity
from viscy_compat.layout import printable, spell_count
from viscy_compat.named import NamedTuple

Look = Literal["bold", "dim", "red", "green", "yellow", "magenta", "cyan"]

MARGIN = "  "
KEYS = 5
"""So many names of a finding say what it is about; the rest is for `-v`."""

_LABEL = 10
_NO_BREAK = "\N{NO-BREAK SPACE}"
"""Stands between a number and its unit while lines are broken; names of files are escaped and hold none."""
_CODES: dict[Look, int] = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33, "magenta": 35, "cyan": 36}
"""SGR parameters of ECMA-48; the colours are of the first eight, which every terminal lets its user choose."""

_LOOKS: dict[str, Look] = {
    **dict.fromkeys(("compatible", "holds", "equal", "in order", "exact", "written", "as before"), "green"),
    **dict.fromkeys(("remappable", "undecided", "waived", "left out", "changed", "warning"), "yellow"),
    **dict.fromkeys(("incompatible", "unreadable", "findings", "differs", "error"), "red"),
    "unknown": "magenta",
    "note": "cyan",
}
"""The colours of the words that say how something went."""


class Style(NamedTuple):
    """How a text report is written: with colours, shortened or in full, how wide, and whether a person looks on."""

    color: bool = False
    verbose: bool = False
    quiet: bool = False
    width: int = 100
    terminal: bool = False

    def paint(self, text: str, *looks: Look) -> str:
        """Wrap text in ANSI codes where colours are on.

        Examples
        --------
        >>> Style().paint("ok", "green"), Style(color=True).paint("ok", "green")
        ('ok', '\\x1b[32mok\\x1b[0m')
        """
        if not self.color or not looks:
            return text
        return f"\x1b[{';'.join(str(_CODES[look]) for look in looks)}m{text}\x1b[0m"

    def tint(self, word: str, text: str = "") -> str:
        """Paint a word, or a text that says it, in the colour that the word has everywhere."""
        return self.paint(text or word, *([_LOOKS[word]] if word in _LOOKS else []))

    def verdict(self, word: str, text: str = "") -> str:
        """Paint the word that says how something went, or a text that says it, so that it is seen first."""
        return self.paint(text or word, "bold", *([_LOOKS[word]] if word in _LOOKS else []))

    def heading(self, words: str) -> str:
        """Spell what a paragraph is about."""
        return self.paint(printable(words), "bold")


class Remark(Protocol):
    """What a finding has, and what a document makes of one."""

    @property
    def code(self) -> str:
        """The finding code, or nothing."""

    @property
    def severity(self) -> Severity:
        """How bad it is."""

    @property
    def message(self) -> str:
        """One sentence."""

    @property
    def keys(self) -> tuple[str, ...]:
        """What it is about."""

    @property
    def fix(self) -> str:
        """What to do."""


def finding_lines(finding: Remark, style: Style) -> Iterator[str]:
    """Yield a finding: its code and sentence, the names that it is about, and the fix."""
    label = f"{finding.severity} {finding.code}".rstrip()
    # broken before it is painted: the codes of colours have no width on the screen
    first, *rest = sentence_lines(f"{label}: {printable(finding.message)}", style, first=MARGIN)
    yield MARGIN + style.tint(finding.severity, label) + first[len(MARGIN) + len(label) :]
    yield from rest
    names = [printable(key) for key in finding.keys]
    yield from (line for name in shorten(names, style, KEYS) for line in sentence_lines(name, style, first=MARGIN * 2))
    if finding.fix:
        first, *rest = sentence_lines(f"fix: {printable(finding.fix)}", style, first=MARGIN * 2)
        yield first.replace("fix:", style.paint("fix:", "dim"), 1)
        yield from rest


def sentence_lines(text: str, style: Style, *, first: str = "", rest: str = MARGIN * 2) -> list[str]:
    """Break a sentence into the lines of a terminal, each behind its indent; a pipe gets it whole.

    Examples
    --------
    >>> sentence_lines("one two three", Style(width=10)), sentence_lines("one two three", Style(terminal=True, width=10))
    (['one two three'], ['one two', '    three'])
    """
    if not style.terminal or len(first) + len(text) <= style.width:
        return [first + text]
    from textwrap import wrap  # for the rare long sentence; most runs of `check` have none

    lines = wrap(
        text.replace(" %", f"{_NO_BREAK}%"),
        style.width,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace(_NO_BREAK, " ") for line in lines]


def explained(head: str, length: int, code: str, examples: Iterable[str], style: Style) -> list[str]:
    """Return a row of a table with what its code means and examples: beside it, or below where a terminal has no room.

    Examples
    --------
    >>> explained("VC201  3", 8, "VC201", ["a.ckpt"], Style())
    ['VC201  3  tensors have another shape  e.g. a.ckpt']
    >>> explained("none  3", 7, "", ["a.ckpt"], Style(terminal=True, width=10))
    ['none  3', '      e.g.', '      a.ckpt']
    """
    plain = [*([CATALOGUE[code].title] if code in CATALOGUE else []), f"e.g. {', '.join(examples)}"]
    lines = [head]
    for part, painted in zip(plain, [*plain[:-1], style.paint(plain[-1], "dim")], strict=True):
        length += 2 + len(part)
        if not style.terminal or length <= style.width:
            lines[-1] += f"  {painted}"
        else:
            lines += sentence_lines(painted, style, first=" " * 6, rest=" " * 6)
            length = style.width
    return lines


def labelled_lines(label: str, text: str, style: Style, *, margin: str = MARGIN) -> Iterator[str]:
    """Yield a sentence behind a label, and what does not fit beside the label below its beginning."""
    head = f"{label:<{_LABEL - 1}} "
    if " " not in text:
        # an address or a path stays beside its label, however long it is
        yield margin + style.paint(head, "dim") + text
        return
    first, *rest = sentence_lines(head + text, style, first=margin, rest=margin + " " * _LABEL)
    yield margin + style.paint(head, "dim") + first[len(margin) + len(head) :]
    yield from rest


_WORDS = {
    "shell": r"(?:'[^']*'|\"(?:\\.|[^\"\\])*\"|\\.|[^\s'\"\\])+\s*",
    "python": r"^[^(]*\(|(?:'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"|[^\s'\"])+\s*",
}
"""What stays in one piece: a word of the shell with its quotes; what stands before the first bracket of Python."""


def pasted_lines(label: str, code: str, style: Style, *, language: Literal["shell", "python"]) -> Iterator[str]:
    r"""Yield what is to be pasted, behind a label; what is too long for a terminal is broken so that it still runs.

    Examples
    --------
    >>> narrow = Style(terminal=True, width=40)
    >>> print("\n".join(pasted_lines("next", "viscy-compat remap 'a b.ckpt' -o new.safetensors", narrow, language="shell")))
      next      viscy-compat remap \
                  'a b.ckpt' -o \
                  new.safetensors
    """
    room = style.width - len(MARGIN) - _LABEL
    lines = [code]
    if style.terminal and len(code) > room:
        from re import findall

        lines = [""]
        for word in findall(_WORDS[language], code):
            # later lines are two further in, and a shell's need room for their backslash
            if lines[-1] and len(lines[-1]) + len(word.rstrip()) > room - 4:
                lines[-1:] = [lines[-1].rstrip(), ""]
            lines[-1] += word
    ends = " \\" if language == "shell" else ""
    for place, line in enumerate(lines):
        head = style.paint(f"{label:<{_LABEL}}", "dim") if not place else " " * (_LABEL + 2)
        yield f"{MARGIN}{head}{line}{ends if place < len(lines) - 1 else ''}"


def lay_out(words: Iterable[str], style: Style, *, margin: str = MARGIN) -> Iterator[str]:
    """Lay out words, two blanks apart, in lines as wide as the terminal, or as our pages where there is none.

    Examples
    --------
    >>> list(lay_out(["one", "two", "three"], Style(width=12)))
    ['  one  two', '  three']
    """
    line = margin
    for word in words:
        if line != margin and len(line) + len(word) + 2 > style.width:
            yield line
            line = margin
        line += word if line == margin else f"  {word}"
    yield line


def shorten(lines: Sequence[str], style: Style, most: int) -> list[str]:
    """Return the first lines, and one that says how many were left out; all of them with ``-v``.

    Examples
    --------
    >>> shorten(["a", "b", "c"], Style(), 1), shorten(["a", "b"], Style(verbose=True), 1)
    (['a', '... and 2 more (-v shows all)'], ['a', 'b'])
    """
    if style.verbose or len(lines) <= most:
        return [*lines]
    return [*lines[:most], f"... and {len(lines) - most} more (-v shows all)"]


def table_lines(columns: Sequence[str], rows: Sequence[Sequence[str]], style: Style) -> Iterator[str]:
    """Lay out cells under each other; what is too wide for a terminal goes on below, behind the first column again."""
    cells = [[printable(cell) for cell in row] for row in (columns, *rows)]
    widths = [max(len(row[place]) for row in cells) for place in range(len(columns))]
    for block in _blocks(widths, style):
        for number, row in enumerate(cells):
            line = [(row[place], row[place].ljust(widths[place])) for place in block]
            yield from _table_row(line, style, heading=number == 0)


def _blocks(widths: Sequence[int], style: Style) -> list[list[int]]:
    """Return the columns of each part of a table that fits the terminal; each begins with the first column."""
    blocks, room = [[0]], style.width - widths[0]
    for place in range(1, len(widths)):
        room -= widths[place] + len(MARGIN)
        # a part has two columns at least, however wide they are: the first alone says nothing
        if style.terminal and room < 0 and len(blocks[-1]) > 1:
            blocks.append([0])
            room = style.width - widths[0] - widths[place] - len(MARGIN)
        blocks[-1].append(place)
    return blocks


def _table_row(cells: Sequence[tuple[str, str]], style: Style, *, heading: bool) -> Iterator[str]:
    """Yield the line of a row; a last cell that is a sentence is broken below its own beginning."""
    before = MARGIN.join(cell for _, cell in cells[:-1])
    indent = " " * (len(before) + len(MARGIN)) if len(cells) > 1 else ""
    last, *more = sentence_lines(cells[-1][0], style, first=indent, rest=indent)
    heads = [style.paint(cell, "bold") if heading else style.tint(word, cell) for word, cell in cells[:-1]]
    end = style.paint(last.strip(), "bold") if heading else style.tint(cells[-1][0], last.strip())
    yield MARGIN.join([*heads, end]).rstrip()
    yield from more


def size(count: int) -> str:
    """Spell a number of bytes in decimal units.

    Examples
    --------
    >>> size(114_063_360), size(900), size(12_800), size(3_100_000_000)
    ('114.1 MB', '900 bytes', '12.8 kB', '3.10 GB')
    """
    if count < 1000:
        return spell_count(count, "byte")
    if count < 1e6:
        return f"{count / 1e3:.1f} kB"
    return f"{count / 1e6:.1f} MB" if count < 1e9 else f"{count / 1e9:.2f} GB"


def separated(separator: str, texts: Iterable[str]) -> Iterator[str]:
    """Yield texts with what stands between them: a long document is never one string.

    Examples
    --------
    >>> [*separated(", ", ["a", "b"])], [*separated(", ", [])]
    (['a', ', b'], [])
    """
    before = ""
    for text in texts:
        yield before + text
        before = separator

"""Write the tables of docs/which-class.md from what the tools know: python tools/write_which_class.py"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from viscy_compat.architectures import class_names, find
from viscy_compat.architectures.architecture import Generation
from viscy_compat.diagnosis.class_paths import MOVED
from viscy_compat.diagnosis.zoo import zoo
from viscy_compat.stated import spell

PAGE = Path(__file__).resolve().parents[1] / "docs" / "which-class.md"


def page() -> str:
    """Return the page with its tables as they are now."""
    tables = {"zoo": published(), "generations": generations(), "paths": paths()}
    text = PAGE.read_text(encoding="utf-8")
    for name, table in tables.items():
        fence = rf"(<!-- {name} -->\n).*?(<!-- end -->)"
        text = re.sub(fence, _fenced(table), text, flags=re.DOTALL)
    return text


def _fenced(table: str) -> Callable[[re.Match[str]], str]:
    """Put a table between the marks of a page."""
    return lambda match: f"{match[1]}{table}{match[2]}"


def published() -> str:
    """Return what `zoo` lists: a row for each published checkpoint."""
    rows = (
        (entry.nickname, f"`{entry.file}`", f"`{entry.class_name}` {entry.generation}", needs_of(entry.needs))
        for entry in zoo()
    )
    return _table(("called", "file", "class", "needs beyond its weights"), rows)


def needs_of(needs: Mapping[str, object]) -> str:
    """Spell what a file needs beyond its weights."""
    return ", ".join(f"`{name}={spell(value)}`" for name, value in needs.items()) or "nothing"


def generations() -> str:
    """Return who wrote which layout, and what leads from it to today's."""
    rows = (
        (f"`{name}`", generation.name, generation.written_by, way_of(generation, find(name).generations[-1]))
        for name in class_names()
        for generation in find(name).generations
    )
    return _table(("class", "generation", "written by", "to today's layout"), rows)


def way_of(generation: Generation, last: Generation) -> str:
    """Say in a word what a remap does, or that there is none."""
    if generation is last or generation.to_today is None:
        return "is today's"
    lost = generation.loses[0] if generation.loses else ""
    if generation.name == "v0.5a" and lost:
        return f"none: {lost}"
    return f"`remap`; {lost}" if lost else "`remap`, exact"


def paths() -> str:
    """Return where the monorepo has what old class paths name."""
    return _table(("class", "is now"), ((f"`{name}`", f"`{module}.{name}`") for name, module in MOVED.items()))


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = ("| " + " | ".join(row) + " |" for row in (head, ("---",) * len(head), *rows))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

"""The report as one JSON object, the contract of other programs."""

from __future__ import annotations

from json import dumps

from viscy_compat.annotations import Any, Iterable, Iterator
from viscy_compat.findings import Report, Result
from viscy_compat.report.runners import spelled_out
from viscy_compat.report.terminal import Style

_MARK = r"\u0023"


def pieces(report: Report[Result], style: Style) -> Iterator[str]:
    """Yield the object of the contract, indented, result by result: ``dumps(report.to_dict(), indent=2)`` to the letter."""
    # results one by one: those of thousands of files are never one string
    frame = report.without_results().to_dict()
    aside = {name: frame.pop(name) for name in ("aside",) if name in frame}
    yield spelled_out(dumps(frame, indent=2).removesuffix("[]\n}"), _MARK)
    results = (result.to_dict() for result in report.results)
    yield from (spelled_out(piece, _MARK) for piece in list_pieces(results, "  "))
    yield spelled_out("," + dumps(aside, indent=2)[1:] if aside else "\n}", _MARK)


def list_pieces(items: Iterable[Any], margin: str) -> Iterator[str]:
    """Yield an indented list, item by item; `margin` stands before its name.

    Examples
    --------
    >>> "".join(list_pieces([1, {"a": 2}], "")) == dumps([1, {"a": 2}], indent=2)
    True
    """
    before, line = "[", f"\n{margin}  "
    for item in items:
        yield before + line + dumps(item, indent=2).replace("\n", line)
        before = ","
    yield f"\n{margin}]" if before == "," else "[]"

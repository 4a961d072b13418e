"""The rows of an audit as documents, written row by row: JSON, JSON lines, CSV, Parquet, one page; and what all commands have."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Final, cast, overload

from viscy_compat.errors import UsageError, lacking
from viscy_compat.findings import Report
from viscy_compat.fleet.outcome import AuditOutcome, ReportedRow
from viscy_compat.fleet.row import AuditRow
from viscy_compat.report import FORMATS, write_whole
from viscy_compat.report import pieces as report_pieces
from viscy_compat.report.runners import spelled_out
from viscy_compat.report.terminal import Style, separated
from viscy_compat.version import __version__

AUDIT_FORMATS: Final = (*FORMATS, "csv", "parquet")

COLUMNS: Final = (
    "file",
    "verdict",
    "class",
    "generation",
    "needs",
    "codes",
    "size",
    "tensors",
    "bytes",
    "format",
    "foreign",
    "message",
    "next",
    "mtime_ns",
    "inode",
    "tool",
)
"""Of CSV and Parquet; lists are joined with a comma in CSV."""

_ROW_GROUP: Final = 10_000
"""Rows that are held at a time, and a group of Parquet's: a few megabytes."""
_NUMBERS: Final = ("size", "tensors", "bytes", "mtime_ns", "inode")


def pieces(outcome: AuditOutcome, format: str, style: Style) -> Iterator[str]:
    """Yield a document of text in pieces, without a final newline."""
    if format == "text":
        from viscy_compat.report.text_audit import row_line, summary

        if not style.quiet:
            yield from (row_line(row, style) + "\n" for row in outcome.rows())
        yield summary(outcome, style)
    elif format == "json":
        yield from _json(outcome)
    elif format == "jsonl":
        yield from separated("\n", (json_line(row) for row in outcome.rows()))
    elif format == "csv":
        yield from separated("\n", _csv(outcome))
    elif format == "html":
        from viscy_compat.report.audit_page import page

        yield from page(outcome)
    else:
        report = Report("audit", RowsReadAnew(outcome), interrupted=outcome.interrupted, aside=outcome.aside)
        yield from report_pieces(report, format, style)


class RowsReadAnew(Sequence[ReportedRow]):
    """The rows of an audit as results of a report, read from the ledger each time somebody goes through them."""

    def __init__(self, outcome: AuditOutcome) -> None:
        self._outcome = outcome

    def __len__(self) -> int:
        return self._outcome.tally.files

    def __iter__(self) -> Iterator[ReportedRow]:
        return (ReportedRow(row, self._outcome.policy.exit_code(row)) for row in self._outcome.rows())

    @overload
    def __getitem__(self, place: int) -> ReportedRow: ...
    @overload
    def __getitem__(self, place: slice) -> list[ReportedRow]: ...
    def __getitem__(self, place: int | slice) -> ReportedRow | list[ReportedRow]:
        """Return one row, or those of a slice."""
        return [*self][place]


def json_line(row: AuditRow) -> str:
    """Return a row as one line of JSON."""
    return spelled_out(json.dumps(row.to_dict()), r"\u0023")


def _json(outcome: AuditOutcome) -> Iterator[str]:
    head = {"schema": 1, "tool": {"name": "viscy-compat", "version": __version__, "command": "audit"}}
    if outcome.interrupted:
        head["interrupted"] = True
    yield json.dumps(head, indent=2).removesuffix("\n}") + ',\n  "results": [\n'
    yield from separated(",\n", (f"    {json_line(row)}" for row in outcome.rows()))
    tail: dict[str, Any] = {"summary": [row.to_dict() for row in outcome.tally.rows()]}
    if outcome.aside:
        tail["aside"] = [row._asdict() for row in outcome.aside]
    yield "\n  ],\n" + spelled_out(json.dumps(tail, indent=2), r"\u0023").removeprefix("{\n")


def _csv(outcome: AuditOutcome) -> Iterator[str]:
    yield ",".join(COLUMNS)
    for row in outcome.rows():
        text = io.StringIO()
        fields = row.to_dict()
        # csv quotes a letter that ends a line only where it is one of these
        csv.writer(text, lineterminator="\r\n").writerow([_cell(fields.get(name)) for name in COLUMNS])
        yield text.getvalue().removesuffix("\r\n")


def _cell(value: object) -> object:
    """Return what stands in a cell: names of lists, and of mappings, are joined."""
    return ",".join(cast("Sequence[str]", value)) if isinstance(value, (list, tuple, dict)) else value


def write_parquet(outcome: AuditOutcome, place: str) -> None:
    """Write the rows as a Parquet file, ten thousand a row group.

    Raises
    ------
    MissingExtra
        Without pyarrow.
    """
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ImportError as error:
        raise lacking("--format parquet", "pyarrow", "parquet") from error
    kinds = {name: arrow.int64() for name in _NUMBERS} | {"needs": arrow.list_(arrow.string())}
    # inodes of some file systems need all 64 bits
    kinds |= {"codes": arrow.list_(arrow.string()), "inode": arrow.uint64()}
    schema = arrow.schema([(name, kinds.get(name, arrow.string())) for name in COLUMNS])
    rows = outcome.rows()
    with parquet.ParquetWriter(place, schema) as writer:
        while group := [_parquet_row(row) for row in islice(rows, _ROW_GROUP)]:
            writer.write_table(arrow.Table.from_pylist(group, schema=schema))


def _parquet_row(row: AuditRow) -> dict[str, Any]:
    fields = row.to_dict()
    record: dict[str, Any] = {name: fields.get(name, 0 if name in _NUMBERS else "") for name in COLUMNS}
    record.update(needs=list(row.needs), codes=list(row.codes))
    # text in Parquet is UTF-8, and a name on a disc may be any bytes: two of them must not become one
    texts = {name: value for name, value in record.items() if isinstance(value, str)}
    return record | {name: text.encode("utf-8", "backslashreplace").decode() for name, text in texts.items()}


def write_file(outcome: AuditOutcome, format: str, path: str) -> None:
    """Write a document to a file, whole or not at all.

    Raises
    ------
    OutputRefused
        Where it cannot be written.
    """

    def write(place: str) -> None:
        if format == "parquet":
            write_parquet(outcome, place)
            return
        with open(place, "w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
            file.writelines(pieces(outcome, format, Style(verbose=True)))
            file.write("\n")

    write_whole(path, write)


def refuse_binary_on_a_terminal() -> UsageError:
    """Return the error for Parquet that would be printed."""
    return UsageError("--format parquet is no text", fix="write it to a file: --output parquet:audit.parquet")

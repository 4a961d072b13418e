"""What is said about outputs that a user saved."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from viscy_compat.agreement import PRECISIONS, Agreement, Alternative, OutputAgreement
from viscy_compat.layout import printable
from viscy_compat.report.terminal import Style, labelled_lines
from viscy_compat.stated import spell

if TYPE_CHECKING:
    from collections.abc import Iterable


def agreement_lines(agreement: Agreement, style: Style) -> Iterator[str]:
    """Yield how outputs agree, in which precision, and what they exclude. Never a bare "proven"."""
    yield from labelled_lines("expect", printable(agreement.file), style)
    if agreement.made:
        yield from labelled_lines(
            "made on", ", ".join(f"{name} {text}" for name, text in agreement.made.items()), style
        )
    if not agreement.refusal:
        yield from labelled_lines("made in", describe_precision(agreement), style)
    for row in agreement.outputs:
        yield from labelled_lines("output", f"{printable(row.name)}: {describe_output(row)}", style)
    for name, value in agreement.settled.items():
        yield from labelled_lines("settled", f"{name}={spell(value)}, by these outputs", style)
    for name, values in agreement.left_open.items():
        left = " or ".join(spell(value) for value in values)
        yield from labelled_lines("open", f"{name}={left}: these outputs do not tell them apart", style)
    yield from _list_outputs("excluded", (row for row in agreement.alterations if row.answer == "excluded"), style)
    yield from _list_outputs("not excl.", agreement.undecided, style)
    if agreement.resolution and not agreement.refusal:
        words = f"whatever else moves these outputs by less than {agreement.resolution:.2g} (relative L2)"
        yield from labelled_lines("not excl.", words, style)


def _list_outputs(label: str, rows: Iterable[Alternative], style: Style) -> Iterator[str]:
    """Yield alternatives, with their figures where they are asked for or decide nothing."""
    for row in rows:
        figures = (
            f" (coefficient {row.coefficient:.2g}, give or take {row.spread:.1g}; it moves outputs by {row.size:.2g})"
        )
        if row.answer == "no effect":
            figures = " (it does not move these outputs)"
        details = not row.why and (style.verbose or row.answer != "excluded")
        words = f"{printable(row.what)}{figures if details else ''}"
        yield from labelled_lines(label, words, style)


def describe_output(row: OutputAgreement) -> str:
    """Say in a line how an output agrees.

    Examples
    --------
    >>> describe_output(OutputAgreement("z", left_out="drawn")), describe_output(OutputAgreement("z", equal=True))
    ('not compared: drawn', 'equal, byte for byte')
    """
    if row.left_out:
        return f"not compared: {row.left_out}"
    if row.equal:
        return "equal, byte for byte"
    return f"largest difference {row.largest:.2g} (values up to {row.scale:.3g}), relative L2 {row.distance:.2g}"


def describe_precision(agreement: Agreement) -> str:
    """Say in a line how the outputs were made, with the figure and its bound.

    Examples
    --------
    >>> from viscy_compat.agreement import Precision
    >>> describe_precision(Agreement("io", Precision("tf32", ratio=0.93, bound=1.5, noise=6.3e-4)))
    "convolutions in TF32, as torch's defaults on a GPU give it: 0.93 of the rounding that explains (0.00063; bound 1.5)"
    """
    found = agreement.precision
    words = PRECISIONS[found.name]
    if found.name == "bytes":
        return words
    if f"{found.name}-model" in PRECISIONS and not found.stated:
        # nothing in outputs tells the two apart for sure
        words += f", or {PRECISIONS[f'{found.name}-model']}"
    said = f"{words}: {found.ratio:.2f} of the rounding that explains ({found.noise:.2g}; bound {found.bound:g})"
    said += ", as stated" if found.stated else ""
    return said + (f"; {' or '.join(found.others)} would explain it too" if found.others else "")

"""A report in which only the findings that a user wants to see are shown; what it came to stays what it is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from viscy_compat.exhibits import Exhibitor, Exhibits
from viscy_compat.findings import Finding, Report, Result, Selection

_FINDINGS = ("findings", "notes", "failures")
"""Where the JSON of a result has rows with finding codes."""


def in_selection(report: Report[Result], selection: Selection) -> Report[Result]:
    """Return a report with the same exit code, in which findings outside a selection are left out and named.

    Examples
    --------
    >>> from viscy_compat.findings import CATALOGUE, Explanation
    >>> row = Explanation(CATALOGUE["VC201"], exit_code=1, findings=(Finding("VC201", "a"), Finding("VC105", "b")))
    >>> shown = in_selection(Report("inspect", [row]), Selection(ignore=("VC2",)))
    >>> [finding.code for finding in shown.findings], shown.results[0].to_dict()["ignored"], shown.exit_code
    (['VC105'], ['VC201'], 1)
    """
    visible_results: list[Result] = []
    for result in report.results:
        nested = getattr(result, "check", None)
        ignored = _codes_outside((*result.findings, *(nested.findings if nested else ())), selection)
        # renderers ask whether a result has exhibits: a wrapper that has the method without them would say yes
        wrapper = _ExhibitorInSelection if isinstance(result, Exhibitor) else _ResultInSelection
        visible_results.append(wrapper(result, selection) if ignored else result)
    return Report(
        report.command,
        visible_results,
        headline=report.headline,
        exit_code=report.exit_code,
        exhibits=report.exhibits,
        interrupted=report.interrupted,
        aside=report.aside,
    )


def _codes_outside(findings: Iterable[Finding], selection: Selection) -> list[str]:
    return [*dict.fromkeys(finding.code for finding in findings if not selection.keeps(finding.code))]


class _ResultInSelection:
    """A result as renderers see it; everything that is not about findings is that of the whole."""

    def __init__(self, whole: Any, selection: Selection) -> None:
        self._whole, self._selection = whole, selection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._whole, name)

    @property
    def title(self) -> str:
        return str(self._whole.title)

    @property
    def exit_code(self) -> int:
        return int(self._whole.exit_code)

    @property
    def findings(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self._whole.findings if self._selection.keeps(finding.code))

    @property
    def check(self) -> Any:
        """The verdict that a refused remap shows."""
        verdict = self._whole.check
        return verdict and verdict._replace(
            findings=tuple(finding for finding in verdict.findings if self._selection.keeps(finding.code))
        )

    def to_dict(self) -> dict[str, Any]:
        data = dict(self._whole.to_dict())
        for name in _FINDINGS:
            if name in data:
                data[name] = [row for row in data[name] if self._selection.keeps(row.get("code", ""))]
        ignored = _codes_outside(self._whole.findings, self._selection)
        return {**data, "ignored": ignored} if ignored else data


class _ExhibitorInSelection(_ResultInSelection):
    def exhibits(self) -> Exhibits:
        exhibits: Exhibits = self._whole.exhibits()
        return exhibits

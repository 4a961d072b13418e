"""What `verify` says of the conditions under which it compared."""

from __future__ import annotations

from typing import Any

from viscy_compat.findings import Finding, Report
from viscy_compat.report import render

VERSIONS = {"torch": "2.15.0", "timm": "1.0.31", "monai": "1.6.1", "python": "3.11.7", "cpu": "AVX2", "threads": 1}
ROWS = ["own process", "no network", "memory limit 8 GB"]


class Compared:
    """One class that is equal, on two workers."""

    title, exit_code, findings = "BetaVaeMonai", 0, tuple[Finding, ...]()

    def __init__(self, *isolation: list[str]) -> None:
        self.isolation = isolation

    def to_dict(self) -> dict[str, Any]:
        return {
            "class": "BetaVaeMonai",
            "generation": "v0.4",
            "configurations": 18,
            "accepted": [],
            "conditions": [VERSIONS] * len(self.isolation),
            "isolation": list(self.isolation),
            "source": {"kind": "wheel", "title": "wheel viscy 0.4.0"},
        }


def lines(*isolation: list[str]) -> list[str]:
    text = render(Report("verify", [Compared(*isolation)]), "text")
    return [line for line in text.splitlines() if line.startswith(("isolation", "conditions"))]


def test_what_isolates_the_workers_is_said_once_where_both_have_the_same() -> None:
    stack = "conditions: torch 2.15.0, timm 1.0.31, MONAI 1.6.1, Python 3.11.7, AVX2, 1 thread"
    assert lines(ROWS, ROWS) == [stack, "isolation: own process, no network"]


def test_workers_that_are_isolated_otherwise_have_a_line_each() -> None:
    assert lines(ROWS, ["own process"])[1:] == ["isolation: own process, no network", "isolation: own process"]

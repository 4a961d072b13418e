"""Write docs/findings.md from the catalogue: python tools/write_findings.py"""

from __future__ import annotations

from pathlib import Path

from viscy_compat.findings import CATALOGUE

PAGE = Path(__file__).resolve().parents[1] / "docs" / "findings.md"
HEAD = "# Finding codes\n\nWritten by `tools/write_findings.py`; `viscy-compat explain CODE` says the same.\n"


def page() -> str:
    """Return the page: a section for each code."""
    rows = (
        f"## {entry.id}: {entry.title} ({entry.severity})\n\n{entry.meaning}\n\nWhat to do: {entry.remedy}\n"
        for entry in CATALOGUE.values()
    )
    return "\n".join([HEAD, *rows])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

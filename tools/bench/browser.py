"""How long the page in docs/try/ takes in headless Chromium, beside what Pyodide alone takes to start, in alternation.

    python3 tools/bench/browser.py FILE [--runs N]

First verdict: from going to the page, with an empty cache, to the verdict on FILE. Reload: until a file can be dropped.
"""

from __future__ import annotations

import sys
import tempfile
import time
from argparse import ArgumentParser
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tools")]

from build_try import build  # noqa: E402
from support.browser import Browser, served  # noqa: E402


def times(folder: Path, file: Path) -> dict[str, float]:
    """Return the seconds of one visit in a browser that was never here, and of a second one."""
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile,
        served(folder) as (address, _),
        Browser(Path(profile)) as browser,
    ):
        began = time.monotonic()
        browser.open(address)
        browser.choose("#files", [file])
        browser.wait("document.querySelector('.run .json')")
        verdict = time.monotonic() - began
        alone = float(browser.value("document.body.dataset.alone")) / 1000
        began = time.monotonic()
        browser.open(address)
        browser.wait("document.body.dataset.whole")
        return {"Python started": alone, "first verdict": verdict, "reload": time.monotonic() - began}


def main() -> int:
    """Print medians, with the snapshot and without."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        kinds = {"with the snapshot": build(Path(place) / "with"), "without": build(Path(place) / "without")}
        (kinds["without"] / "snapshot.bin.gz").unlink()
        rows: dict[str, list[dict[str, float]]] = {kind: [] for kind in kinds}
        for _ in range(arguments.runs):
            for kind, folder in kinds.items():
                rows[kind].append(times(folder, arguments.file.resolve()))
    for kind, seen in rows.items():
        print(kind, {name: f"{median(row[name] for row in seen):.1f} s" for name in seen[0]})
    return 0


if __name__ == "__main__":
    sys.exit(main())

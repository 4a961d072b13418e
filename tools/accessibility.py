"""Run axe-core over report pages, light and dark, at the widths of a desktop and of a phone: exit code 1 where it objects.

    python3 tools/accessibility.py                  a page that shows everything, and one of each command that is quick
    python3 tools/accessibility.py REPORT.html ...  these pages

axe-core comes from npm into .cache/axe, and Chromium from Debian; nothing of either is in a page. Printed besides: what is
wider than the window, and whether the buttons that copy and the fields that filter are there without a network.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from look import pages
from page_check import Tab, browser

ROOT = Path(__file__).resolve().parents[1]
PLACE = ROOT / ".cache" / "axe"
AXE = "axe-core@4.10.3"
WIDTHS = {"desktop": 1280, "phone": 390}
GRAVE = ("serious", "critical")

LOOK = """axe.run(document, {resultTypes: ["violations"]}).then(result => JSON.stringify({
  axe: result.violations.map(rule => [rule.impact, rule.id, rule.nodes.length, rule.nodes[0].html.slice(0, 160)]),
  wide: document.documentElement.scrollWidth > innerWidth,
  buttons: document.querySelectorAll(".paste button").length,
  pastes: document.querySelectorAll(".paste").length,
  filters: document.querySelectorAll("input[type=search]").length,
}))"""


def axe_source() -> str:
    """Return axe-core, fetched once by npm."""
    file = PLACE / "node_modules" / "axe-core" / "axe.min.js"
    if not file.exists():
        PLACE.mkdir(parents=True, exist_ok=True)
        words = ["npm", "install", "--no-save", "--no-audit", "--no-fund", "--prefix", str(PLACE), AXE]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    return file.read_text(encoding="utf-8")


def objections(page: Path, *, width: int, scheme: str, axe: str) -> dict[str, Any]:
    """Return what axe-core and the window say of a page."""
    with Tab(width) as tab:
        tab.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        tab.ask("Page.navigate", url=page.resolve().as_uri())
        while not tab.run("document.readyState === 'complete'"):
            pass
        # everything that folds is judged too
        tab.run("document.querySelectorAll('details').forEach(part => { part.open = true; })")
        tab.run(axe)
        found: dict[str, Any] = json.loads(tab.run(LOOK))
        return found | {"console": [line for line in tab.said if "net::" not in line]}


def main() -> int:
    """Judge the pages and print a line for each."""
    if browser() is None:
        print("[axe] no Chromium here: apt-get install chromium")
        return 2
    axe, grave = axe_source(), 0
    for page in [Path(word).resolve() for word in sys.argv[1:]] or pages():
        for name, width in WIDTHS.items():
            for scheme in ("light", "dark"):
                found = objections(page, width=width, scheme=scheme, axe=axe)
                grave += sum(row[0] in GRAVE for row in found["axe"]) + found["wide"] + len(found["console"])
                print(f"{page.name:<28}{name:<9}{scheme:<7}{json.dumps(found)}", flush=True)
    return int(grave > 0)


if __name__ == "__main__":
    sys.exit(main())

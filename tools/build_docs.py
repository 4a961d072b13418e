"""Build the documentation as a site, warnings taken for errors: pages of docs/, and the page that runs in a browser.

    python3 tools/dev.py docs                  into build/docs/, which any static host serves

Where Pyodide's npm package cannot be had, the site is built without ``try/``, and says so here.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from build_try import NotBuilt
from build_try import build as build_try

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / "docs"
OUT = ROOT / "build" / "docs"


def main() -> int:
    """Build the pages, then the page beside them; exit code 1 where Sphinx warns."""
    shutil.rmtree(OUT, ignore_errors=True)
    words = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", str(SOURCES), str(OUT)]
    if subprocess.run(words, cwd=ROOT).returncode:
        return 1
    try:
        build_try(OUT / "try")
    except NotBuilt as reason:
        print(f"[docs] without try/: {reason}", file=sys.stderr)
    print(f"[docs] {OUT.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

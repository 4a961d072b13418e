"""Take pictures of report pages in headless Chromium, at the widths of a desktop and of a phone.

    python3 tools/dev.py look                  a page that shows everything, and one of each command that is quick
    python3 tools/dev.py look REPORT.html ...  these pages

The pictures are written to .cache/look/. Chromium is installed with apt-get where it is missing and that is possible.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / ".cache" / "look"
WIDTHS = {"desktop": 1280, "phone": 390}
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def browser() -> str | None:
    """Return a Chromium, installing one where that is possible."""
    return _found() or (_found() if _install() else None)


def _found() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def _install() -> bool:
    if not shutil.which("apt-get") or not hasattr(os, "geteuid"):
        return False
    words = ["apt-get", "install", "-y", "-q", "chromium"]
    if os.geteuid() != 0:
        words = ["sudo", "-n", *words]
    print("[look] installing chromium", file=sys.stderr)
    return subprocess.run(words, stdout=subprocess.DEVNULL).returncode == 0


def height_of(program: str, page: Path, width: int) -> int:
    """Return the height of a page at a width, so that the picture shows all of it."""
    probe = page.with_suffix(f".{width}.probe.html")
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    script = "<script>document.title = document.documentElement.scrollHeight</script></body>"
    probe.write_text(page.read_text(encoding="utf-8").replace(policy, "").replace("</body>", script), encoding="utf-8")
    done = _run(program, f"--window-size={width},600", "--dump-dom", probe.as_uri())
    probe.unlink()
    title = done.partition("<title>")[2].partition("</title>")[0]
    return min(max(int(title) if title.isdigit() else 2000, 400), 8000)


def picture(program: str, page: Path, name: str, width: int) -> Path:
    """Write one picture and return its path."""
    target = OUT / f"{page.stem}-{name}.png"
    _run(program, f"--window-size={width},{height_of(program, page, width)}", f"--screenshot={target}", page.as_uri())
    return target


def _run(program: str, *words: str) -> str:
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    done = subprocess.run([program, *options, *words], capture_output=True, text=True, timeout=120)
    return done.stdout


def pages() -> list[Path]:
    """Write the pages that are looked at by default."""
    sys.path.insert(0, str(ROOT / "tests"))
    from support.reports import mixed
    from viscy_compat.report import render

    everything = OUT / "everything.html"
    everything.write_text(render(mixed(), "html"), encoding="utf-8")
    made = {
        "map": ["explore", "BetaVae25D", "--plot"],
        "zoo": ["zoo", "--output"],
        "gate": ["gate", "--static", "--output"],
    }
    for name, words in made.items():
        page = str(OUT / f"{name}.html")
        last = page if name == "map" else f"html:{page}"
        subprocess.run([sys.executable, "-m", "viscy_compat", *words, last], stdout=subprocess.DEVNULL)
    return [everything, *(OUT / f"{name}.html" for name in made if (OUT / f"{name}.html").exists())]


def main() -> int:
    """Take the pictures and print their paths."""
    OUT.mkdir(parents=True, exist_ok=True)
    program = browser()
    if program is None:
        print("[look] no Chromium here, and none could be installed: install chromium and run this again")
        return 2
    for page in [Path(word).resolve() for word in sys.argv[1:]] or pages():
        for name, width in WIDTHS.items():
            print(picture(program, page, name, width))
    return 0


if __name__ == "__main__":
    sys.exit(main())

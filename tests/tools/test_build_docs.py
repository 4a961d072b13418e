"""The site builds without a warning, and has every page."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_site_is_built_without_warnings_and_asks_no_other_host(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "-d", str(tmp_path / "doctrees")]
    done = subprocess.run([*words, str(ROOT / "docs"), str(tmp_path / "site")], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    pages = {page.stem for page in (ROOT / "docs").iterdir() if page.suffix in (".md", ".ipynb")}
    assert pages <= {page.stem for page in (tmp_path / "site").glob("*.html")}
    assert (tmp_path / "site" / "report.json").exists()
    for page in (tmp_path / "site").glob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert 'src="http' not in text, page
        assert 'rel="stylesheet" type="text/css" href="http' not in text, page
    every_function = (tmp_path / "site" / "api.html").read_text(encoding="utf-8")
    from viscy_compat import __all__ as public

    assert [name for name in public if f'id="viscy_compat.{name}"' not in every_function and name[0] != "_"] == []

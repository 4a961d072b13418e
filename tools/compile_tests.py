"""Write the bytecode of the tests as pytest rewrites them: python tools/compile_tests.py

pytest gives each assert the words of a failure. That takes 6 seconds of the processor for all files, in each process that
collects them, where PYTHONDONTWRITEBYTECODE forbids it to keep what it made. Where it works otherwise inside than pytest 9.2
does, nothing is written, and it does as ever.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

from _pytest.assertion import rewrite

TESTS = Path(__file__).resolve().parents[1] / "tests"


def compile_tests(folder: Path) -> int:
    """Write what there is to write for each file that pytest rewrites, and count the files."""
    silent = SimpleNamespace(trace=lambda line: None)
    files = [*folder.rglob("test_*.py"), *folder.rglob("conftest.py")]
    for path in files:
        place = rewrite.get_cache_dir(path)
        place.mkdir(parents=True, exist_ok=True)
        source, code = rewrite._rewrite_test(path, None)  # type: ignore[arg-type]
        rewrite._write_pyc(silent, code, source, place / (path.stem + rewrite.PYC_TAIL))  # type: ignore[arg-type]
    return len(files)


if __name__ == "__main__":
    try:
        compile_tests(TESTS)
    except (AttributeError, TypeError, ValueError) as error:
        print(
            f"pytest keeps its rewritten tests in another way ({error}): it will rewrite them itself", file=sys.stderr
        )

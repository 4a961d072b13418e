"""What `setup` writes of the tests is what pytest reads."""

from __future__ import annotations

import sys
from pathlib import Path

from _pytest.assertion import rewrite

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

from compile_tests import compile_tests


def test_pytest_takes_what_was_written_until_the_file_changes(tmp_path: Path) -> None:
    path = tmp_path / "test_one.py"
    path.write_text("def test_one():\n    assert 1 == 2\n")
    assert compile_tests(tmp_path) == 1
    written = rewrite.get_cache_dir(path) / f"test_one{rewrite.PYC_TAIL}"
    code = rewrite._read_pyc(path, written)
    assert code is not None
    # the module that its asserts ask for words
    assert "_pytest.assertion.rewrite" in code.co_names
    path.write_text("def test_one():\n    assert 1 == 1\n")
    assert rewrite._read_pyc(path, written) is None

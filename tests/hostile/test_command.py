"""The real command on hostile files: no traceback, within 256 MB and two seconds, and nothing heavy imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hostile.generator import HONEST_LIGHTNING, HONEST_SAFETENSORS, HONEST_STREAM, cases_of
from support.pace import slowness
from support.uncounted import uncounted
from viscy_compat.report.script import SCRIPT

COMMAND = Path(sys.executable).parent / "viscy-compat"
BOMBS = cases_of("bombs")
HEAVY = {
    "torch",
    "numpy",
    "deepdiff",
    "git",
    "hypothesis",
    "yaml",
    "pickle",
    "safetensors",
    "dataclasses",
    "pathlib",
}


LAUNCHER = """
import json, os, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
output = process.stdout.read().decode()
_, status, usage = os.wait4(process.pid, 0)
code, seconds = os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime
print(json.dumps([code, output, seconds, usage.ru_maxrss / 1024]))
"""


def measured(*words: str) -> tuple[int, str, float, float]:
    """Exit code, output, CPU seconds and megabytes of a command.

    A small process starts it: the peak memory of a process includes what its parent held when it was forked.
    """
    done = subprocess.run(
        [sys.executable, "-c", LAUNCHER, str(COMMAND), *words], capture_output=True, check=True, env=uncounted()
    )
    code, output, seconds, megabytes = json.loads(done.stdout)
    return code, output, seconds, megabytes


@pytest.mark.parametrize("case", BOMBS, ids=[case.name for case in BOMBS])
def test_a_bomb_costs_check_less_than_two_seconds_and_256_megabytes(tmp_path: Path, case: object) -> None:
    path = tmp_path / f"bomb{case.ending}"  # type: ignore[attr-defined]
    path.write_bytes(case.content)  # type: ignore[attr-defined]
    runs = [measured("check", str(path))]
    bound = 2.0
    while runs[-1][2] >= bound and len(runs) < 6:
        # A crowded machine doubles the CPU time of one run, not of all of them; a slow one that of whatever it runs.
        bound = max(bound, 2 * slowness())
        runs.append(measured("check", str(path)))
    assert all(code in (0, 1, 2) and "Traceback" not in output for code, output, _, _ in runs)
    assert min(seconds for _, _, seconds, _ in runs) < bound
    assert max(megabytes for _, _, _, megabytes in runs) < 256


def test_inspect_stays_within_256_megabytes_too(tmp_path: Path) -> None:
    (case,) = [case for case in BOMBS if case.name == "many dictionaries"]
    path = tmp_path / f"bomb{case.ending}"
    path.write_bytes(case.content)
    for words in (["inspect"], ["inspect", "--format", "json"]):
        code, output, _, megabytes = measured(*words, str(path))
        assert code in (0, 1, 2)
        assert "Traceback" not in output
        assert megabytes < 256


@pytest.mark.parametrize("format", ["text", "json", "jsonl", "markdown", "github", "junit", "sarif", "html"])
def test_inspect_shows_hostile_names_escaped_in_every_format(tmp_path: Path, format: str) -> None:
    from support.assembly import lightning, mapping, tensor, text, zipped

    evil = "a\x1b[31m\x07\n\u202e<script>"
    root = lightning(**{evil: text(evil)}, hyper_parameters=mapping({evil: text(evil)}))
    path = tmp_path / "evil.ckpt"
    path.write_bytes(
        zipped(root.replace(mapping({"model.w": tensor()}), mapping({evil: tensor(), "model.w": tensor()})))
    )
    code, output, _, _ = measured("inspect", "--format", format, str(path))
    assert code == 0
    assert not set("\x1b\x07\u202e") & set(output)
    ours = f"<script>{SCRIPT}</script>"
    assert "<script>" not in output.replace(ours, "") or format != "html"


@pytest.mark.parametrize("content", [HONEST_LIGHTNING, HONEST_STREAM, HONEST_SAFETENSORS])
@pytest.mark.parametrize("words", [["inspect"], ["inspect", "--format", "json"], ["inspect", "--crc"]])
def test_inspect_imports_nothing_heavy(tmp_path: Path, content: bytes, words: list[str]) -> None:
    path = tmp_path / "a.ckpt"
    path.write_bytes(content)
    program = (
        "import sys, json\nfrom viscy_compat.cli import main\n"
        "code = main(sys.argv[1:])\nprint(json.dumps(sorted(sys.modules)), file=sys.stderr)\nsys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *words, str(path)], capture_output=True, text=True, env=uncounted()
    )
    assert done.returncode == 0, done.stderr
    loaded = {module.partition(".")[0] for module in json.loads(done.stderr)}
    assert not loaded & HEAVY

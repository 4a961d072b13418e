"""A stand-in for an interpreter that has torch: it answers a worker's questions alike each time, within milliseconds.

`stand_in` writes an executable that the parent starts as it would start Python. What it says of every class and case is
the same made-up model, so that two of them agree.
"""

from __future__ import annotations

import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "src" / "viscy_models" / "__init__.py"

PROGRAM = """#!{python} -SE
import json, os, subprocess, sys, time

DIGEST = "0" * 64
PASS = {{"type": "Tensor", "generator": DIGEST, "buffers": {{}}}}
OUTPUT = {{"name": "output", "shape": [1], "dtype": "float32", "digest": DIGEST, "finite": True, "samples": [0.0], "norm": 0.0}}
START = {{name: "0" for name in ("python", "torch", "timm", "monai", "cpu")}}
ANSWERS = {{
    "start": {{**START, "threads": 1, "isolation": ["own process"]}},
    "source": {{}},
    "class": {{"file": {file!r}, "module": "viscy_models", "signature": []}},
    "run": {{
        "layout": [["w", [1], "float32"]],
        "initial": {{"digests": [DIGEST], "generator": DIGEST, "samples": [[0.0]], "norms": [0.0]}},
        "eval": {{**PASS, "outputs": [OUTPUT]}},
        "train": {{**PASS, "outputs": [OUTPUT]}},
    }},
}}
runs = 0
for line in sys.stdin:
    request = json.loads(line)
    answer = ANSWERS.get(request["op"])
    if request["op"] == "names":
        answer = {{"names": dict.fromkeys(request["names"])}}
    if request["op"] == "run":
        runs += 1
{extra}
    print(json.dumps({{"mark": request.get("mark"), **answer}}), flush=True)
"""

STUCK = """        if runs > {runs}:
            open({marker!r}, "w").close()
            time.sleep(600)
"""


def stand_in(path: Path, extra: str = "", *, file: Path = PACKAGE) -> Path:
    """Write the executable; ``extra`` is further Python that it runs before each answer to a ``run``."""
    path.write_text(PROGRAM.format(python=sys.executable, file=str(file), extra=extra))
    path.chmod(0o755)
    return path


def stuck(path: Path, marker: Path, *, runs: int = 0) -> Path:
    """Write one that answers some runs and then no more; it makes a file when it has come so far."""
    return stand_in(path, STUCK.format(runs=runs, marker=str(marker)))

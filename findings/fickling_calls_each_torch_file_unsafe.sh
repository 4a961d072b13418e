#!/bin/sh
# fickling 0.1.12 finds no pickle in a file of torch.save, and calls the pickle inside of one likely unsafe, whatever is in it.
#
# Guess that was wrong: a dictionary of one tensor is likely safe, as torch.load's own list of what it allows (weights_only) says,
# so that the exit code of --check-safety can stand in front of a folder of checkpoints.
# Seen: the zip archive that torch writes since 1.6 is "No pickle files detected", with exit code 2 and the advice not to trust
# it. Its data.pkl, taken out, and a file in the format before that are LIKELY_UNSAFE: torch._utils is no part of Python.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet uv==0.13.9
"$place/venv/bin/uv" pip install --quiet --python "$place/venv/bin/python" torch==2.15.0 numpy==2.4.6 fickling==0.1.12
cd "$place"
cat > program.py <<'PROGRAM'
import io
import subprocess
import sys
import zipfile
from pathlib import Path

import torch
from fickling.analysis import check_safety
from fickling.fickle import Pickled, StackedPickle

state = {"w": torch.zeros(2)}
torch.save(state, "new.pt")
torch.save(state, "old.pt", _use_new_zipfile_serialization=False)
inside = zipfile.ZipFile("new.pt").read("new/data.pkl")
tool = Path(sys.executable).with_name("fickling")
ran = subprocess.run([tool, "--check-safety", "new.pt"], capture_output=True, text=True)
answers = {
    "new.pt": (ran.returncode, "No pickle files detected" in ran.stdout + ran.stderr),
    "its data.pkl": check_safety(Pickled.load(io.BytesIO(inside))).severity.name,
    "old.pt": max(check_safety(part).severity for part in StackedPickle.load(open("old.pt", "rb"))).name,
    "a list": check_safety(Pickled.load(io.BytesIO(b"\x80\x02]."))).severity.name,
}
print(answers)
assert answers == {
    "new.pt": (2, True),
    "its data.pkl": "LIKELY_UNSAFE",
    "old.pt": "LIKELY_UNSAFE",
    "a list": "LIKELY_SAFE",
}, answers
PROGRAM
"$place/venv/bin/python" program.py

#!/bin/sh
# picklescan 1.0.5 counts a file as infected because a functools.partial is among its hyper-parameters.
#
# Guess that was wrong: what Hydra leaves there for "_partial_: true" (an optimizer whose parameters are still missing) is
# called suspicious at most, as argparse.Namespace, pathlib paths and modules of torch are.
# Seen: functools.partial is on the list of what is dangerous: one issue, one infected file, exit code 1. The same
# hyper-parameters as a plain dictionary are clean, and with a path they are suspicious, exit code 0.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet picklescan==1.0.5
cd "$place"
cat > program.py <<'PROGRAM'
import argparse
import collections
import functools
import pathlib
import pickle
import subprocess
import sys

from picklescan.scanner import scan_file_path


def answer(value):
    with open("a.pkl", "wb") as file:
        pickle.dump({"hyper_parameters": {"optimizer": value}}, file)
    found = scan_file_path("a.pkl")
    command = [sys.executable, "-m", "picklescan.cli", "--path", "a.pkl"]
    code = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode
    return [row.safety.value for row in found.globals], found.infected_files, code


found = {
    "dictionary": answer({"lr": 0.001}),
    "path": answer(pathlib.PurePosixPath("optimizer.yaml")),
    "namespace": answer(argparse.Namespace(lr=0.001)),
    "partial": answer(functools.partial(collections.OrderedDict, lr=0.001)),
}
print(found)
assert found["dictionary"] == ([], 0, 0), found
assert found["path"][1:] == found["namespace"][1:] == (0, 0), found
assert "dangerous" in found["partial"][0] and found["partial"][1:] == (1, 1), found
PROGRAM
"$place/venv/bin/python" program.py

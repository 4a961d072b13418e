#!/bin/sh
# safetensors 0.8.0 writes numpy arrays of float8 (ml_dtypes) that its own numpy reader cannot read.
#
# Guess that was wrong: safetensors.numpy.load_file gives back what safetensors.numpy.save_file took, ml_dtypes imported.
# Seen: bfloat16 does come back; float8_e4m3fn and float8_e5m2 are written as F8_E4M3 and F8_E5M2, and the reader looks for
# them in numpy itself: AttributeError. One such tensor hides all others of the file, for load_file reads them all.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet safetensors==0.8.0 numpy==2.4.6 ml_dtypes==0.6.0
cd "$place"
"$place/venv/bin/python" - <<'PROGRAM'
import json

import ml_dtypes
import numpy as np
from safetensors.numpy import load_file, save_file


def answer(dtype):
    save_file({"w": np.ones(2, dtype)}, "a.safetensors")
    with open("a.safetensors", "rb") as file:
        written = json.loads(file.read(int.from_bytes(file.read(8), "little")))["w"]["dtype"]
    try:
        return written, load_file("a.safetensors")["w"].dtype.name
    except AttributeError as error:
        return written, str(error)


found = [answer(dtype) for dtype in (ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2)]
print(*found, sep="\n")
assert found == [
    ("BF16", "bfloat16"),
    ("F8_E4M3", "module 'numpy' has no attribute 'float8_e4m3fn'"),
    ("F8_E5M2", "module 'numpy' has no attribute 'float8_e5m2'"),
], found
PROGRAM

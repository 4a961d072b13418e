#!/bin/sh
# safetensors 0.8.0 writes valid files whose first two bytes are 80 02, which is how every pickle of protocol 2 begins.
#
# Guess that was wrong: the first two bytes tell a pickle (a torch file from before 1.6) from a safetensors file.
# Seen: the file begins with the length of its header, 640 bytes here, so with 80 02 00 00 00 00 00 00. Lengths are padded
# to multiples of 8, so one in 32 begins with 80; 640 to 1,408 bytes are headers of five to fifteen tensors. pickle itself
# gives up at the third byte.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet safetensors==0.8.0 numpy==2.2.6
cd "$place"
"$place/venv/bin/python" - <<'PROGRAM'
import pickle

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

save_file({f"{'fc' * 21}{place}.weight": np.ones((2, 2), np.float32) for place in range(6)}, "head.safetensors")
with open("head.safetensors", "rb") as file:
    head = file.read(8)
with safe_open("head.safetensors", "np") as file:
    names = list(file.keys())
try:
    pickle.load(open("head.safetensors", "rb"))
    answer = "loaded"
except pickle.UnpicklingError as error:
    answer = str(error)
print(head.hex(), len(names), answer)
assert head == b"\x80\x02" + bytes(6), head
assert len(names) == 6
assert answer == "invalid load key, '\\x00'.", answer
PROGRAM

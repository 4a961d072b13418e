#!/bin/sh
# deepdiff 9.1.0 cannot compare two state dicts of torch: TypeError for any tensor, equal or not.
#
# Guess that was wrong: DeepDiff, which compares numpy arrays, compares tensors as well, or says that it does not.
# Seen: a tensor is taken for something to iterate over, down to its single numbers, which cannot be: "iteration over a 0-d
# tensor". The same numbers as numpy arrays are compared; there NaN differs from NaN unless ignore_nan_inequality is set.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet uv==0.13.9
"$place/venv/bin/uv" pip install --quiet --python "$place/venv/bin/python" torch==2.15.0 deepdiff==9.1.0 numpy==2.4.6
cd "$place"
cat > program.py <<'PROGRAM'
import numpy as np
import torch
from deepdiff import DeepDiff


def answer(one, other, **options):
    try:
        return sorted(DeepDiff({"w": one}, {"w": other}, **options))
    except TypeError as error:
        return str(error)


nan = np.array([np.nan])
found = {
    "equal tensors": answer(torch.ones(2), torch.ones(2)),
    "other tensors": answer(torch.ones(2), torch.zeros(2)),
    "equal arrays": answer(np.ones(2), np.ones(2)),
    "other arrays": answer(np.ones(2), np.zeros(2)),
    "NaN": answer(nan, nan.copy()),
    "NaN, ignored": answer(nan, nan.copy(), ignore_nan_inequality=True),
}
print(found)
assert found == {
    "equal tensors": "iteration over a 0-d tensor",
    "other tensors": "iteration over a 0-d tensor",
    "equal arrays": [],
    "other arrays": ["values_changed"],
    "NaN": ["values_changed"],
    "NaN, ignored": [],
}, found
PROGRAM
"$place/venv/bin/python" program.py

#!/bin/sh
# safetensors 0.8.0 writes a transposed numpy array with its numbers in the wrong places, and says nothing.
#
# Guess that was wrong: safetensors.numpy.save_file writes what the array holds, whatever its strides are, or refuses as
# safetensors.torch.save_file does for a tensor that is not contiguous.
# Seen: the bytes are taken as they lie in memory, under the shape of the array: A.T and an array in Fortran's order (what
# np.asfortranarray, many solvers and converters from other frameworks give) come back as other matrices. The digest of
# the file is that of a valid file. np.ascontiguousarray in front of the call cures it.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet safetensors==0.8.0 numpy==2.4.6
cd "$place"
"$place/venv/bin/python" - <<'PROGRAM'
import numpy as np
from safetensors.numpy import load_file, save_file


def read_back(array):
    save_file({"w": array}, "a.safetensors")
    return load_file("a.safetensors")["w"].tolist()


rows = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
found = {
    "as it is": read_back(rows) == rows.tolist(),
    "transposed": read_back(rows.T),
    "Fortran's order": read_back(np.asfortranarray(rows)),
    "transposed, made contiguous": read_back(np.ascontiguousarray(rows.T)) == rows.T.tolist(),
}
print(found)
assert found == {
    "as it is": True,
    "transposed": [[1, 2], [3, 4], [5, 6]],
    "Fortran's order": [[1, 4, 2], [5, 3, 6]],
    "transposed, made contiguous": True,
}, found
PROGRAM

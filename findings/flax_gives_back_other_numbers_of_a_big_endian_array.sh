#!/bin/sh
# flax 0.12.8: msgpack_serialize writes a big-endian array so that other numbers come back, and from_bytes takes an array of
# another shape and dtype than its target's.
#
# Guess that was wrong: the order of bytes is written down or changed, as .npy and safetensors do; from_bytes, which is given
# a target, refuses what does not fit it.
# Seen: the name of the dtype is written, "float32", with the bytes as they lie: 1.0 becomes 4.6e-41. A (2, 3) float32 array
# takes the place of a (5, 5) float64 one without a word; only the names of entries are compared.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet uv==0.13.9
"$place/venv/bin/uv" pip install --quiet --python "$place/venv/bin/python" flax==0.12.8 jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6
cd "$place"
cat > program.py <<'PROGRAM'
import numpy as np
from flax.serialization import from_bytes, msgpack_restore, msgpack_serialize, to_bytes

rows = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
little, big = (msgpack_restore(msgpack_serialize({"w": array}))["w"] for array in (rows, rows.astype(">f4")))
taken = from_bytes({"w": np.zeros((5, 5))}, to_bytes({"w": rows}))["w"]
try:
    from_bytes({"other": np.zeros((5, 5))}, to_bytes({"w": rows}))
    names = "not compared"
except ValueError as error:
    names = type(error).__name__
print(little.tolist(), big.dtype, big.tolist(), taken.shape, taken.dtype, names)
assert np.array_equal(little, rows)
assert big.dtype == np.float32 and np.array_equal(big.view(">f4"), rows)
assert (taken.shape, taken.dtype, names) == ((2, 3), np.float32, "ValueError")
PROGRAM
"$place/venv/bin/python" program.py

#!/bin/sh
# safetensors 0.8.0 with jax 0.10.2: safetensors.flax.load_file reads int64 and float64 tensors as int32 and float32, large
# numbers as others, without a warning.
#
# Guess that was wrong: what is read has the dtype that the header states, or the reader says that JAX has it switched off.
# Seen: 2**40 + 1 comes back as 1, 2.0**-200 as 0.0, with warnings turned into errors; the same file read by
# safetensors.numpy is right, and so is jax with jax_enable_x64 set.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet uv==0.13.9
"$place/venv/bin/uv" pip install --quiet --python "$place/venv/bin/python" safetensors==0.8.0 jax==0.10.2 jaxlib==0.10.2 flax==0.12.8 numpy==2.4.6
cd "$place"
cat > program.py <<'PROGRAM'
import warnings

import jax
import numpy as np
from safetensors.flax import load_file
from safetensors.numpy import save_file

warnings.simplefilter("error")
save_file({"steps": np.array([2**40 + 1]), "least": np.array([2.0**-200])}, "a.safetensors")


def answer():
    return {name: (str(array.dtype), array[0].item()) for name, array in load_file("a.safetensors").items()}


found = answer()
jax.config.update("jax_enable_x64", True)
exact = answer()
print(found, exact)
assert found == {"least": ("float32", 0.0), "steps": ("int32", 1)}, found
assert exact == {"least": ("float64", 2.0**-200), "steps": ("int64", 2**40 + 1)}, exact
PROGRAM
"$place/venv/bin/python" program.py

#!/usr/bin/env bash
# safetensors 0.8.0 with torch 2.15.0 (CPU): safetensors.torch.load_file gives tensors that begin at an address which is
# not a multiple of 16 wherever the header's length makes it so (torch's own memory begins at multiples of 64), and
# torch's linear layer then adds up in another order. So a tensor that was saved and loaded, and is equal to the one that
# was saved (torch.equal is True), gives other bytes in the same layer, by a unit in the last place; a clone() of it gives
# the same bytes again. Whoever compares outputs byte for byte must not feed what was loaded as it is.
#
# Guess that was wrong: equal inputs, one thread, the same weights in one process give equal outputs.
# Seen on x86-64 with AVX512. Exits 0 where it is so, 1 where that has changed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/python" -m pip install --quiet 'uv==0.13.9' || true
if [ -x "$place/venv/bin/uv" ]; then install=("$place/venv/bin/uv" pip install --quiet --python "$place/venv/bin/python"); else install=("$place/venv/bin/python" -m pip install --quiet); fi
"${install[@]}" 'torch==2.15.0' 'safetensors==0.8.0' 'numpy==2.4.6'
cat > "$place/show.py" <<'PYTHON'
import sys

import torch
from safetensors.torch import load_file, save_file

torch.set_num_threads(1)
torch.manual_seed(0)
saved, layer = torch.rand(3, 4), torch.nn.Linear(4, 8)
save_file({"input": saved}, sys.argv[1])
loaded = load_file(sys.argv[1])["input"]
outputs = [layer(x).detach() for x in (saved, loaded, loaded.clone())]
print("addresses modulo 16: saved", saved.data_ptr() % 16, "loaded", loaded.data_ptr() % 16)
print("equal inputs:", torch.equal(saved, loaded))
print("equal outputs:", torch.equal(outputs[0], outputs[1]), "largest difference", (outputs[0] - outputs[1]).abs().max().item())
print("equal outputs of a clone:", torch.equal(outputs[0], outputs[2]))
as_seen = loaded.data_ptr() % 16 and torch.equal(saved, loaded) and torch.equal(outputs[0], outputs[2])
sys.exit(0 if as_seen and not torch.equal(outputs[0], outputs[1]) else 1)
PYTHON
"$place/venv/bin/python" "$place/show.py" "$place/input.safetensors"

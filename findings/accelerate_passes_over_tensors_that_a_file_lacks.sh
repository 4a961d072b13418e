#!/bin/sh
# accelerate 1.15.0: load_checkpoint_in_model says which tensors of a file it did not use, and nothing of those that the file
# lacks.
#
# Guess that was wrong: a layer that the file has no weights for is at least named, as one that the model lacks is; and with
# strict=True it is refused.
# Seen: half of the model keeps its random weights, and not a line is logged, at any level, with strict=True too.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet uv==0.13.9
"$place/venv/bin/uv" pip install --quiet --python "$place/venv/bin/python" torch==2.15.0 accelerate==1.15.0 safetensors==0.8.0 numpy==2.4.6
cd "$place"
cat > program.py <<'PROGRAM'
import logging

import torch
from accelerate import load_checkpoint_in_model
from safetensors.torch import save_file

lines = []
handler = logging.Handler()
handler.emit = lambda record: lines.append(record.getMessage())
logging.basicConfig(level=logging.DEBUG, handlers=[handler])


def said(names, **options):
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    save_file({name: torch.zeros(2, 2) for name in names}, "a.safetensors", metadata={"format": "pt"})
    lines.clear()
    load_checkpoint_in_model(model, "a.safetensors", **options)
    return bool(model[1].weight.any()), [line[:42] for line in lines]


found = {
    "missing": said(["0.weight"]),
    "unexpected": said(["0.weight", "2.weight"]),
    "missing, strict": said(["0.weight"], strict=True),
}
print(found)
assert found["missing"] == (True, []), found
assert found["unexpected"] == (True, ["Some weights of the model checkpoint at a."]), found
assert found["missing, strict"] == (True, []), found
PROGRAM
"$place/venv/bin/python" program.py

#!/bin/sh
# huggingface_hub 2.4.0: load_torch_model(strict=True) refuses what save_torch_state_dict wrote of a model with tied weights.
#
# Guess that was wrong: the writer records which name stands for which, as safetensors' own save_model does, and its reader
# puts both back.
# Seen: one of the two names is in the file, the header says which other it stands for, and the reader does not look there:
# a missing key. With strict=False, the default, it loads.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet uv==0.13.9
"$place/venv/bin/uv" pip install --quiet --python "$place/venv/bin/python" torch==2.15.0 huggingface_hub==2.4.0 safetensors==0.8.0 numpy==2.4.6
mkdir "$place/model"
cd "$place"
cat > program.py <<'PROGRAM'
import torch
from huggingface_hub import load_torch_model, save_torch_state_dict
from safetensors import safe_open
from torch import nn


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.into, self.back = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
        self.back.weight = self.into.weight


def answer(strict):
    try:
        return load_torch_model(Tied(), "model", strict=strict).missing_keys
    except RuntimeError as error:
        return str(error).split("\t")[-1]


save_torch_state_dict(Tied().state_dict(), "model")
with safe_open("model/model.safetensors", "pt") as file:
    names, metadata = list(file.keys()), file.metadata()
found = answer(True), answer(False)
print(names, metadata, *found)
assert len(names) == 1 and sorted((*names, *(set(metadata) - {"format"}))) == ["back.weight", "into.weight"], metadata
assert found[0].startswith("Missing key(s) in state_dict:"), found
assert len(found[1]) == 1, found
PROGRAM
HF_HUB_OFFLINE=1 "$place/venv/bin/python" program.py

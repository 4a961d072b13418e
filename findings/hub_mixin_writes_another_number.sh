#!/bin/sh
# huggingface_hub 2.4.0: a model that went through PyTorchModelHubMixin comes back with other arguments, and other weights,
# without a word.
#
# Guess that was wrong: save_pretrained writes the arguments that the model was built with, or refuses those that JSON does
# not hold; from_pretrained refuses weights whose names are not those of the model.
# Seen: a numpy integer is written as the default of its argument (4 became 1 here, so the layer has another stride), a tuple
# comes back as a list. Weights under other names are passed over, so the model keeps its random ones: strict is False.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet uv==0.13.9
"$place/venv/bin/uv" pip install --quiet --python "$place/venv/bin/python" torch==2.15.0 huggingface_hub==2.4.0 safetensors==0.8.0 numpy==2.4.6
cd "$place"
cat > program.py <<'PROGRAM'
import json

import numpy as np
import torch
from huggingface_hub import PyTorchModelHubMixin
from safetensors.torch import load_file, save_file


class Stem(torch.nn.Module, PyTorchModelHubMixin):
    def __init__(self, kernel=(1, 1), stride=1):
        super().__init__()
        self.arguments = kernel, stride
        self.conv = torch.nn.Conv2d(1, 1, tuple(kernel), int(stride))


Stem(kernel=(3, 3), stride=np.int64(4)).save_pretrained("model")
with open("model/config.json") as file:
    written = json.load(file)
back = Stem.from_pretrained("model").arguments

weights = load_file("model/model.safetensors")
save_file({f"model.{name}": torch.zeros_like(tensor) for name, tensor in weights.items()}, "model/model.safetensors")
kept = Stem.from_pretrained("model").conv.weight
print(written, back, "weights of the file used:", not kept.any().item())
assert written == {"kernel": [3, 3], "stride": 1}, written
assert back == ([3, 3], 1), back
assert kept.any()
PROGRAM
HF_HUB_OFFLINE=1 "$place/venv/bin/python" program.py

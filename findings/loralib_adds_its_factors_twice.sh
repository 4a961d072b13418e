#!/bin/sh
# loralib 0.1.2 with torch 2.15.0: the state dict of a model in eval mode, loaded into a new model, gives other predictions, for the
# factors are added to the weight once more.
#
# Guess that was wrong: the state dict of a model is the same in train and in eval mode, and all keys matched means that the model
# that was saved is there again.
# Seen: eval() adds scale * B @ A to the weight itself, and a flag that is in no state dict remembers it. Saved then, which is when a
# model was just validated, both stand in the file; a new model takes it, and its own eval() adds them again. Nothing in the file
# tells which of the two it is. Loaded into a model that is in eval mode already it is right. (lora.Conv3d cannot be put into eval
# mode at all; train() and eval() return None.)
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet uv==0.13.9
"$place/venv/bin/uv" pip install --quiet --python "$place/venv/bin/python" torch==2.15.0 loralib==0.1.2 numpy==2.4.6
cd "$place"
cat > program.py <<'PROGRAM'
import copy

import loralib
import torch
from torch import nn


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = loralib.Conv2d(1, 2, 3, r=2)
        self.head = loralib.Linear(2, 2, r=1)

    def forward(self, x):
        return self.head(self.conv(x).mean((2, 3)))


def gap(model):
    with torch.no_grad():
        return (model(image) - expected).abs().max().item()


torch.manual_seed(0)
image = torch.rand(2, 1, 6, 6)
model = Model()
for name, parameter in model.named_parameters():
    if "lora" in name:
        nn.init.normal_(parameter)
in_training = copy.deepcopy(model.state_dict())
model.eval()
with torch.no_grad():
    expected = model(image)
in_eval = copy.deepcopy(model.state_dict())

of_training, late, early = Model(), Model(), Model()
answers = [str(of_training.load_state_dict(in_training)), str(late.load_state_dict(in_eval))]
of_training.eval()
late.eval()
early.eval()
early.load_state_dict(in_eval)
try:
    loralib.Conv3d(2, 2, 3, r=2).eval()
    refusal = ""
except RuntimeError as error:
    refusal = str(error)
found = {"saved in training": gap(of_training), "saved in eval": gap(late), "into a model in eval": gap(early)}
print(found, answers, [*in_eval], refusal)
assert answers == ["<All keys matched successfully>"] * 2 and [*in_eval] == [*in_training], answers
assert not torch.equal(in_eval["head.weight"], in_training["head.weight"])
assert found["saved in training"] < 1e-4 and found["into a model in eval"] < 1e-4, found
assert found["saved in eval"] > 0.1, found
assert "is invalid for input of size" in refusal and model.head.eval() is None, refusal
PROGRAM
"$place/venv/bin/python" program.py

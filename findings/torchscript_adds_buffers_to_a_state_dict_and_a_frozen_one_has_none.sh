#!/bin/sh
# torch 2.15.0: the state dict of a TorchScript module holds the buffers that the class keeps out of its own, and that of a frozen
# one is empty.
#
# Guess that was wrong: torch.jit.load(FILE).state_dict() is the state dict of the class that was traced or scripted, so a program
# whose class is at hand again can be turned back into a checkpoint.
# Seen: a buffer made with persistent=False is an entry like the others, which the class then refuses as unexpected. After
# torch.jit.freeze, and so after optimize_for_inference, no entry is left: the weights are constants of the code. torch.export
# keeps both as the class has them.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet uv==0.13.9
"$place/venv/bin/uv" pip install --quiet --python "$place/venv/bin/python" torch==2.15.0 numpy==2.4.6
cd "$place"
cat > program.py <<'PROGRAM'
import warnings

import torch
from torch import nn

warnings.filterwarnings("ignore")


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv3d(1, 2, 3, bias=False)
        self.register_buffer("scale", torch.ones(1), persistent=False)

    def forward(self, x):
        return self.conv(x) * self.scale


model, image = Model().eval(), torch.rand(1, 1, 4, 4, 4)
torch.export.save(torch.export.export(model, (image,)), "export.pt2")
programs = {
    "trace": torch.jit.trace(model, image),
    "script": torch.jit.script(model),
    "frozen": torch.jit.freeze(torch.jit.script(model)),
}
found = {"class": list(model.state_dict()), "export": list(torch.export.load("export.pt2").state_dict)}
for name, program in programs.items():
    program.save(f"{name}.pt")
    found[name] = list(torch.jit.load(f"{name}.pt").state_dict())
try:
    Model().load_state_dict(torch.jit.load("trace.pt").state_dict())
    answer = "loads"
except RuntimeError as error:
    answer = str(error).split("\t")[1].strip()
print(found, answer)
assert found["class"] == found["export"] == ["conv.weight"], found
assert sorted(found["trace"]) == sorted(found["script"]) == ["conv.weight", "scale"], found
assert found["frozen"] == [], found
assert answer == 'Unexpected key(s) in state_dict: "scale".', answer
PROGRAM
"$place/venv/bin/python" program.py

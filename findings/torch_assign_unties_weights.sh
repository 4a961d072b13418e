#!/bin/sh
# torch 2.15.0: after load_state_dict(assign=True) two tied weights are two parameters over one memory, and one step of an
# optimizer changes it twice.
#
# Guess that was wrong: assign=True gives the model that a plain load_state_dict gives, tied weights included.
# Seen: a module with one tied weight has one parameter before and two afterwards, at one address. Adam counts both, and the
# weight moves twice as far in its first step.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet uv==0.13.9
"$place/venv/bin/uv" pip install --quiet --python "$place/venv/bin/python" torch==2.15.0 numpy==2.4.6
cd "$place"
cat > program.py <<'PROGRAM'
import torch
from torch import nn


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.into, self.back = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
        self.back.weight = self.into.weight

    def forward(self, x):
        return self.back(self.into(x))


def first_step(assign):
    model = Tied()
    model.load_state_dict(torch.load("tied.pt"), assign=assign)
    before = model.into.weight.detach().clone()
    model(torch.ones(1, 2)).sum().backward()
    torch.optim.Adam(model.parameters(), lr=0.125).step()
    addresses = {parameter.data_ptr() for parameter in model.parameters()}
    moved = (model.into.weight - before).abs().max().item()
    return len(list(model.parameters())), len(addresses), round(moved, 4)


start = Tied()
nn.init.ones_(start.into.weight)
torch.save(start.state_dict(), "tied.pt")
found = {assign: first_step(assign) for assign in (False, True)}
print(found)
assert found == {False: (1, 1, 0.125), True: (2, 1, 0.25)}, found
PROGRAM
"$place/venv/bin/python" program.py

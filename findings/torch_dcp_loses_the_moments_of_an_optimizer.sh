#!/bin/sh
# torch 2.15.0: the state of an optimizer that went through torch.distributed.checkpoint loads, and no moment of it is used.
#
# Guess that was wrong: dcp.save and dcp_to_torch_save give back the dictionary that was saved (optimizer.state_dict() keeps
# its state by number), or load_state_dict refuses what came of it.
# Seen: the numbers 0, 1 have become the texts "0", "1", while the groups still list numbers; load_state_dict takes that
# without a word and keeps the moments under the texts, where no parameter finds them. An empty dictionary is gone.
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
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

warnings.filterwarnings("ignore")
layer = torch.nn.Linear(2, 1)
trained = torch.optim.AdamW(layer.parameters())
layer(torch.ones(1, 2)).sum().backward()
trained.step()

dcp.save({"optimizer": trained.state_dict(), "hyper_parameters": {}}, checkpoint_id="folder")
dcp_to_torch_save("folder", "file.pt")
saved = torch.load("file.pt")
state = saved["optimizer"]
resumed = torch.optim.AdamW(layer.parameters())
resumed.load_state_dict(state)

print("before", list(trained.state_dict()["state"]), "after", list(state["state"]), state["param_groups"][0]["params"])
print("moments of the weight:", list(trained.state[layer.weight]), "after:", list(resumed.state[layer.weight]))
print("entries:", list(saved))
assert list(trained.state_dict()["state"]) == [0, 1]
assert list(state["state"]) == ["0", "1"] and state["param_groups"][0]["params"] == [0, 1]
assert list(trained.state[layer.weight]) == ["step", "exp_avg", "exp_avg_sq"]
assert not resumed.state[layer.weight]
assert list(saved) == ["optimizer"]
PROGRAM
"$place/venv/bin/python" program.py

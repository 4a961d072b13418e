#!/bin/sh
# mmengine 0.10.7: in a checkpoint of EMAHook state_dict holds the averages, and ema_state_dict the weights in training.
#
# Guess that was wrong: each entry holds what it is called after, as in timm's files, where state_dict_ema is the average.
# Seen: the hook exchanges the two while it saves, so that whoever loads state_dict gets the averages; a tool that lists what a file
# holds, or a person who asks for the averages by their name, takes the weights of the last step. They are found out by arithmetic
# alone: no entry of the file says so.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet uv==0.13.9
"$place/venv/bin/uv" pip install --quiet --python "$place/venv/bin/python" torch==2.15.0 mmengine==0.10.7 numpy==2.4.6
cd "$place"
cat > program.py <<'PROGRAM'
import warnings

import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn

warnings.filterwarnings("ignore")


class Model(BaseModel):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, number, mode="loss"):
        return {"loss": (torch.stack(number) * self.weight).sum()}


# each step takes 1 off, and a momentum of 0.5 leaves the average the half of the way behind
steps = 4
runner = Runner(
    Model(),
    "work",
    train_dataloader={"dataset": [{"number": torch.ones(1)}] * steps, "batch_size": 1, "sampler": {"type": "DefaultSampler"}},
    train_cfg={"by_epoch": True, "max_epochs": 1},
    optim_wrapper={"optimizer": {"type": "SGD", "lr": 1.0}},
    custom_hooks=[{"type": "EMAHook", "momentum": 0.5}],
    log_level="ERROR",
)
runner.train()
saved = torch.load("work/epoch_1.pth", weights_only=False)
trained = runner.model.weight.item()
averages = [0.0]
for step in range(1, steps + 1):
    # the hook's first step copies
    averages.append(-1.0 if step == 1 else 0.5 * averages[-1] + 0.5 * -step)
found = {
    "trained": trained,
    "average": averages[-1],
    "state_dict": saved["state_dict"]["weight"].item(),
    "ema_state_dict": saved["ema_state_dict"]["module.weight"].item(),
}
print(found, sorted(saved))
assert found["trained"] == -steps != found["average"], found
assert found["state_dict"] == found["average"], found
assert found["ema_state_dict"] == found["trained"], found
PROGRAM
"$place/venv/bin/python" program.py

#!/bin/sh
# deepspeed 0.18.4 with torch 2.15.0: zero_to_fp32 turns buffers of integers into float32, so that an index beyond 2**24 is another
# one, and batch counters are no integers any more.
#
# Guess that was wrong: fp32 is about weights; what is an integer, as num_batches_tracked of a batch norm or a table of positions,
# stays one.
# Seen: every buffer is called .float() on, whatever it holds: int64 and bool come out as float32, 2**24 + 1 as 2**24. load_state_dict
# takes them, strict too, and rounds nothing back. deepspeed 0.17.6 does the same; 0.19.8 leaves integers alone.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet uv==0.13.9
"$place/venv/bin/uv" pip install --quiet --python "$place/venv/bin/python" torch==2.15.0 deepspeed==0.18.4 numpy==2.4.6
cd "$place"
cat > program.py <<'PROGRAM'
import logging
import os
import socket
import warnings

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    os.environ["MASTER_PORT"] = str(free.getsockname()[1])
os.environ.update(DS_ACCELERATOR="cpu", RANK="0", WORLD_SIZE="1", LOCAL_RANK="0", MASTER_ADDR="127.0.0.1")

import deepspeed
import torch
from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint
from torch import nn

deepspeed.init_distributed(dist_backend="gloo")
place = 2**24 + 1


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(2)
        self.register_buffer("places", torch.tensor([place]))
        self.register_buffer("mask", torch.tensor([True, False]))

    def forward(self, x):
        return self.norm(x)


settings = {
    "train_micro_batch_size_per_gpu": 4,
    "zero_optimization": {"stage": 2},
    "optimizer": {"type": "AdamW", "params": {"lr": 0.001, "torch_adam": True}},
}
model = Model()
engine, *_ = deepspeed.initialize(model=model, model_parameters=model.parameters(), config=settings)
engine.backward(engine(torch.rand(4, 2)).sum())
engine.step()
engine.save_checkpoint("run", tag="last")
state = get_fp32_state_dict_from_zero_checkpoint("run")
new = Model()
answer = str(new.load_state_dict(state))
found = {
    "dtypes": {str(state[name].dtype) for name in ("norm.num_batches_tracked", "places", "mask")},
    "count": state["norm.num_batches_tracked"].item(),
    "saved": torch.load("run/last/mp_rank_00_model_states.pt", weights_only=False)["module"]["places"].item() - place,
    "loaded": new.places.item() - place,
}
print(found, answer)
assert found == {"dtypes": {"torch.float32"}, "count": 1.0, "saved": 0, "loaded": -1}, found
assert answer == "<All keys matched successfully>", answer
PROGRAM
"$place/venv/bin/python" program.py

#!/bin/sh
# deepspeed 0.19.8 with torch 2.15.0: after a run of ZeRO stage 1 zero_to_fp32 makes a file without the frozen weights.
#
# Guess that was wrong: the file that zero_to_fp32 puts together holds the whole model, whatever the stage was, as its option
# exclude_frozen_parameters, which is off, says.
# Seen: in stages 2 and 3 it does; in stage 1 what was frozen (requires_grad=False: an encoder that was trained before) is left out,
# without a word, though it lies in mp_rank_00_model_states.pt, from which the buffers are taken. A load that is not strict then keeps
# random weights in their place. Buffers of float64 are rounded to float32 in all stages.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet uv==0.13.9
"$place/venv/bin/uv" pip install --quiet --python "$place/venv/bin/python" torch==2.15.0 deepspeed==0.19.8 numpy==2.4.6
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


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Conv3d(1, 2, 3).requires_grad_(False)
        self.norm = nn.BatchNorm3d(2)
        self.head = nn.Linear(2, 1)
        self.register_buffer("fine", torch.full((1,), 1 + 2.0**-40, dtype=torch.float64))

    def forward(self, image):
        return self.head(self.norm(self.encoder(image)).mean((2, 3, 4)))


def merged(stage):
    """The state dict of zero_to_fp32, and what rank 0 saved of the encoder, after a step of training."""
    model = Model()
    settings = {
        "train_micro_batch_size_per_gpu": 2,
        "zero_optimization": {"stage": stage},
        "optimizer": {"type": "AdamW", "params": {"lr": 0.001, "torch_adam": True}},
    }
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    engine, *_ = deepspeed.initialize(model=model, model_parameters=trained, config=settings)
    engine.backward(engine(torch.rand(2, 1, 4, 4, 4)).sum())
    engine.step()
    engine.save_checkpoint(f"stage{stage}", tag="last")
    state = get_fp32_state_dict_from_zero_checkpoint(f"stage{stage}")
    whole = f"stage{stage}/last/mp_rank_00_model_states.pt"
    held = "encoder.weight" in torch.load(whole, weights_only=False)["module"] if stage < 3 else None
    return sorted({*Model().state_dict()} - {*state}), state["fine"].dtype, held


found = {stage: merged(stage) for stage in (1, 2, 3)}
print(found)
rounded = torch.float32
assert found == {
    1: (["encoder.bias", "encoder.weight"], rounded, True),
    2: ([], rounded, True),
    3: ([], rounded, None),
}, found
PROGRAM
"$place/venv/bin/python" program.py

#!/bin/sh
# torch 2.15.0: the file of one rank of an FSDP2 run loads on its own, with every key matched, and holds a part of the numbers.
#
# Guess that was wrong: outside of its run a sharded state dict is refused, because the other parts and the process group are
# missing.
# Seen: with torch.distributed.tensor imported torch.load takes it (weights_only too), each tensor states the whole shape, and
# load_state_dict(assign=True) says that all keys matched; the sum of a weight is that of the rank's part, without a word about
# it. full_tensor() is refused, for it needs the other ranks.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet uv==0.13.9
"$place/venv/bin/uv" pip install --quiet --python "$place/venv/bin/python" torch==2.15.0 numpy==2.4.6
cd "$place"
cat > program.py <<'PROGRAM'
import os
import sys
import warnings

import torch
import torch.distributed as dist
import torch.distributed.tensor
import torch.multiprocessing as mp
from torch import nn

warnings.filterwarnings("ignore")


def filled():
    layer = nn.Linear(4, 4, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.arange(16.0).reshape(4, 4))
    return layer


def rank_of_two(rank, folder):
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import init_device_mesh

    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    layer = filled()
    fully_shard(layer, mesh=init_device_mesh("cpu", (2,)))
    torch.save(layer.state_dict(), f"{folder}/rank{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


def answer(function):
    try:
        return function()
    except RuntimeError as error:
        return type(error).__name__


if __name__ == "__main__":
    mp.spawn(rank_of_two, args=(os.getcwd(),), nprocs=2)
    found = []
    for rank in (0, 1):
        state = torch.load(f"rank{rank}.pt")
        weight = state["weight"]
        matched = nn.Linear(4, 4, bias=False).load_state_dict(state, assign=True)
        found.append((tuple(weight.shape), str(matched), weight.sum()._local_tensor.item(), answer(weight.full_tensor)))
    print(filled().weight.sum().item(), found)
    matched = "<All keys matched successfully>"
    assert filled().weight.sum().item() == 120
    assert found == [((4, 4), matched, part, "RuntimeError") for part in (28, 92)], found
PROGRAM
"$place/venv/bin/python" program.py

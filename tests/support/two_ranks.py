"""A program that two processes run at once: each saves its part of some tensors with torch.distributed.checkpoint.

``python two_ranks.py RANK FOLDER`` with RANK 0 and 1; they meet at a file in the folder, so that no port is needed.
"""

from __future__ import annotations

import os
import sys
import warnings

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor


def main(rank: int, folder: str) -> None:
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    full = torch.load(os.path.join(folder, "full.pt"))
    mesh = init_device_mesh("cpu", (2,))
    # rows of most, which need not divide by two; columns of one; copies of what is small
    placements = {name: Shard(0) if tensor.dim() else Replicate() for name, tensor in full.items()}
    placements["model.mu.weight"] = Shard(1)
    placements["model.mu.bias"] = Replicate()
    parts = {name: distribute_tensor(tensor, mesh, [placements[name]]) for name, tensor in full.items()}
    saved = {"state_dict": {f"model.{name}": part for name, part in parts.items()}, "epoch": 3}
    dcp.save(saved, checkpoint_id=os.path.join(folder, "two.ckpt"))
    dcp.save(parts, storage_writer=HuggingFaceStorageWriter(os.path.join(folder, "hub"), save_distributed=True))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])

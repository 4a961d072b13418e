#!/bin/sh
# torch 2.15.0: AveragedModel(use_buffers=True) leaves num_batches_tracked at 1 for ever, or far behind.
#
# Guess that was wrong: a counter of integers is copied, or rounded, so that it follows the trained model's.
# Seen: it is averaged as if it were a weight, and cut to an integer each time: after 50 batches the plain average has counted 1,
# an exponential one with a decay of 0.9 has counted 40, with 0.999 it has counted 1. In eval mode that changes nothing; a batch
# norm with momentum=None that trains on from there weighs its next batch by it. use_buffers=False copies every buffer.
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
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

warnings.filterwarnings("ignore")


def counted(**options):
    model = nn.BatchNorm1d(2)
    average = AveragedModel(model, **options)
    for _ in range(50):
        model(torch.rand(4, 2))
        average.update_parameters(model)
    return model.num_batches_tracked.item(), average.module.num_batches_tracked.item()


found = {
    "plain": counted(use_buffers=True),
    "0.9": counted(multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True),
    "0.999": counted(multi_avg_fn=get_ema_multi_avg_fn(0.999), use_buffers=True),
    "copied": counted(multi_avg_fn=get_ema_multi_avg_fn(0.9)),
}
print(found)
assert found == {"plain": (50, 1), "0.9": (50, 40), "0.999": (50, 1), "copied": (50, 50)}, found
PROGRAM
"$place/venv/bin/python" program.py

#!/bin/sh
# monai 1.6.1: CheckpointLoader(strict_shape=False) loads nothing at all from a file of CheckpointSaver.
#
# Guess that was wrong: strict_shape=False passes over the tensors that have another shape, and loads the others.
# Seen: the names of the tensors are looked for one level too high, where only the name of the network is: none is found, every
# weight stays random, and the run goes on, though each shape is right. What is said is one line of the log, "0 of 2 variables".
# With the default, and with strict=False, the same file loads.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet uv==0.13.9
"$place/venv/bin/uv" pip install --quiet --python "$place/venv/bin/python" torch==2.15.0 monai==1.6.1 pytorch-ignite==0.5.5 numpy==2.4.6
cd "$place"
cat > program.py <<'PROGRAM'
import logging
import warnings

import torch
from ignite.engine import Engine
from monai.handlers import CheckpointLoader, CheckpointSaver

warnings.filterwarnings("ignore")
logging.disable(logging.CRITICAL)


def run(handler):
    engine = Engine(lambda engine, batch: None)
    handler.attach(engine)
    engine.run([0], 1)


trained = torch.nn.Conv3d(1, 2, 3)
optimizer = torch.optim.Adam(trained.parameters())
run(CheckpointSaver(".", {"net": trained}, save_final=True, final_filename="one.pt"))
run(CheckpointSaver(".", {"net": trained, "optimizer": optimizer}, save_final=True, final_filename="two.pt"))


def loads(path, **options):
    net = torch.nn.Conv3d(1, 2, 3)
    run(CheckpointLoader(path, {"net": net}, **options))
    return torch.equal(net.weight, trained.weight)


found = {path: [loads(path), loads(path, strict=False), loads(path, strict_shape=False)] for path in ("one.pt", "two.pt")}
print(found)
assert found == {"one.pt": [True, True, False], "two.pt": [True, True, False]}, found
PROGRAM
"$place/venv/bin/python" program.py

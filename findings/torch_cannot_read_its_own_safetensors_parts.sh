#!/bin/sh
# torch 2.13.0 writes distributed checkpoints as safetensors that its own reader refuses.
#
# Guess that was wrong: FileSystemReader reads what FileSystemWriter wrote, in each serialization format that the writer has.
# Seen: with TORCH_SAVE it does; with SAFETENSORS the parts are written, and FileSystemReader raises UnpicklingError.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet torch==2.13.0 safetensors==0.8.0 numpy==2.4.1
cd "$place"
cat > program.py <<'PROGRAM'
import os
import pickle
import warnings

import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter, SerializationFormat

warnings.filterwarnings("ignore")


def answer(name):
    kind = SerializationFormat[name]
    dcp.save({"w": torch.arange(6.0)}, storage_writer=FileSystemWriter(name, serialization_format=kind))
    assert sorted(os.listdir(name)) == [".metadata", "__0_0.distcp"], os.listdir(name)
    state = {"w": torch.zeros(6)}
    try:
        dcp.load(state, storage_reader=FileSystemReader(name))
    except (pickle.UnpicklingError, CheckpointException) as error:
        return "UnpicklingError" if "UnpicklingError" in f"{type(error)} {error}" else repr(error)
    return state["w"].tolist()


found = {name: answer(name) for name in ("TORCH_SAVE", "SAFETENSORS")}
print(found)
assert found == {"TORCH_SAVE": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0], "SAFETENSORS": "UnpicklingError"}, found
PROGRAM
"$place/venv/bin/python" program.py

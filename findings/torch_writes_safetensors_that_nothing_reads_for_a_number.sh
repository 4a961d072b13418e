#!/bin/sh
# torch 2.15.0 with safetensors 0.8.0: HuggingFaceStorageWriter writes a file that nothing reads as soon as one number is saved
# beside the tensors.
#
# Guess that was wrong: what is no tensor (an epoch, the settings of an optimizer) is refused, is left out, or goes into the
# metadata; a file called .safetensors that was written without an error is one.
# Seen: dcp.save reports nothing. The number stands in front of the tensors, in an archive of torch.save, where the length of the
# header should be; HuggingFaceStorageReader and safetensors refuse the file ("header too large"), and the index lists the number
# among the tensors. The tensors follow whole: cut off what is in front, and safetensors reads them. With tensors alone all is
# well.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet uv==0.13.9
"$place/venv/bin/uv" pip install --quiet --python "$place/venv/bin/python" torch==2.15.0 safetensors==0.8.0 numpy==2.4.6
cd "$place"
cat > program.py <<'PROGRAM'
import json
import logging
import warnings
from pathlib import Path

import torch
import torch.distributed.checkpoint as dcp
from safetensors import SafetensorError
from safetensors.torch import load, load_file
from torch.distributed.checkpoint.api import CheckpointException

warnings.filterwarnings("ignore")
logging.disable(logging.CRITICAL)
weights = torch.arange(6.0).reshape(2, 3)


def answers(folder, **more):
    """Whether torch and safetensors read what was written, what the index lists, and the bytes of the file."""
    state = {"model": {"w": weights}, **more}
    dcp.save(state, storage_writer=dcp.HuggingFaceStorageWriter(folder), no_dist=True)
    (path,) = Path(folder).glob("*.safetensors")
    read = {"model": {"w": torch.zeros(2, 3)}}
    try:
        dcp.load(read, storage_reader=dcp.HuggingFaceStorageReader(folder), no_dist=True)
        by_torch = torch.equal(read["model"]["w"], weights)
    except CheckpointException as error:
        by_torch = "header too large" if "header too large" in str(error) else str(error)
    try:
        by_library = torch.equal(load_file(path)["model.w"], weights)
    except SafetensorError as error:
        by_library = str(error).rpartition(": ")[2]
    listed = json.loads((Path(folder) / "model.safetensors.index.json").read_text())["weight_map"]
    return (by_torch, by_library, sorted(listed)), path.read_bytes()


alone, _ = answers("alone")
beside, held = answers("beside", epoch=3)
behind = load(held[held.rindex(b"PK\5\6") + 22 :])
print(alone, beside, held[:4], {name: tensor.tolist() for name, tensor in behind.items()})
assert alone == (True, True, ["model.w"]), alone
assert beside == ("header too large", "header too large", ["epoch", "model.w"]), beside
assert held[:4] == b"PK\3\4" and torch.equal(behind["model.w"], weights)
PROGRAM
"$place/venv/bin/python" program.py

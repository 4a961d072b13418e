#!/bin/sh
# transformers 5.24.0: a tensor that the file does not hold is whatever lay in memory after from_pretrained, and so is each buffer
# that is made with persistent=False.
#
# Guess that was wrong: what __init__ put into a buffer or a parameter is there after from_pretrained, unless the file says
# otherwise, as with load_state_dict.
# Seen: the model is built without memory, and filled by the file and by _init_weights, which knows the layers of torch. A
# parameter or buffer of a class of one's own (a layer scale, a grid of positions) is never filled: save_pretrained and
# from_pretrained of one model give back other numbers, without a word where the tensor is not meant to be in the file.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet uv==0.13.9
"$place/venv/bin/uv" pip install --quiet --python "$place/venv/bin/python" torch==2.15.0 transformers==5.24.0 safetensors==0.8.0 numpy==2.4.6
cd "$place"
cat > program.py <<'PROGRAM'
import sys
import warnings

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.utils import logging

warnings.filterwarnings("ignore")
logging.set_verbosity_error()
logging.disable_progress_bar()
SIZE = 4096


class Config(PretrainedConfig):
    model_type = "encoder"


class Encoder(PreTrainedModel):
    config_class = Config

    def __init__(self, config):
        super().__init__(config)
        self.linear = nn.Linear(2, 2)
        self.gamma = nn.Parameter(torch.full((SIZE,), 7.0))
        self.register_buffer("grid", torch.arange(SIZE), persistent=False)
        self.post_init()


if sys.argv[1] == "save":
    Encoder(Config()).save_pretrained("whole")
    Encoder(Config()).save_pretrained("part")
    save_file({n: t for n, t in load_file("whole/model.safetensors").items() if n != "gamma"}, "part/model.safetensors")
else:
    found = {}
    for folder in ("whole", "part"):
        model, said = Encoder.from_pretrained(folder, output_loading_info=True)
        kept = [bool((model.gamma == 7).all()), torch.equal(model.grid, torch.arange(SIZE))]
        found[folder] = kept, sorted(said["missing_keys"])
    print("gamma and grid are as they were built:", found)
    assert found == {"whole": ([True, False], []), "part": ([False, False], ["gamma"])}, found
PROGRAM
"$place/venv/bin/python" program.py save
"$place/venv/bin/python" program.py load

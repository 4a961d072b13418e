#!/bin/sh
# torch 2.15.0 with onnxscript 0.7.2: torch.onnx.export writes a kernel under its own name with other numbers in it.
#
# Guess that was wrong: an initializer of the graph that has the name of a parameter holds that parameter, so weights can be read
# back out of an .onnx file by their names.
# Seen: a batch norm behind a convolution is multiplied into the kernel, which is still called 0.weight; the norm's own names are
# gone, and 0.weight_bias is new. A linear layer whose input has three axes loses its name, and is transposed. optimize=False
# keeps both under their names with their numbers; a parameter that the forward pass never reads is in neither.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet uv==0.13.9
"$place/venv/bin/uv" pip install --quiet --python "$place/venv/bin/python" torch==2.15.0 onnx==1.23.2 onnxscript==0.7.2 numpy==2.4.6
cd "$place"
cat > program.py <<'PROGRAM'
import logging
import warnings

import onnx
import torch
from onnx import numpy_helper
from torch import nn

warnings.filterwarnings("ignore")
logging.disable(logging.CRITICAL)
torch.manual_seed(0)


class Head(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 3, bias=False)
        self.unread = nn.Parameter(torch.ones(2))

    def forward(self, x):
        return self.linear(x.flatten(2).transpose(1, 2))


model = nn.Sequential(nn.Conv3d(2, 4, 3, bias=False), nn.BatchNorm3d(4), Head()).eval()
nn.init.uniform_(model[1].weight, 2, 3)
state = {name: tensor.numpy() for name, tensor in model.state_dict().items()}


def compared(**options):
    torch.onnx.export(model, (torch.rand(1, 2, 4, 8, 8),), "a.onnx", verbose=False, **options)
    graph = onnx.load("a.onnx").graph
    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    same = [name for name in state if name in held and (held[name] == state[name]).all()]
    return same, [name for name in state if name in held and name not in same], [name for name in state if name not in held]


found = {"default": compared(), "optimize=False": compared(optimize=False)}
print(found)
norm, counter = ["1.weight", "1.bias", "1.running_mean", "1.running_var"], "1.num_batches_tracked"
assert found["default"] == ([], ["0.weight"], [*norm, counter, "2.unread", "2.linear.weight"]), found
assert found["optimize=False"] == (["0.weight", *norm, "2.linear.weight"], [], [counter, "2.unread"]), found
PROGRAM
"$place/venv/bin/python" program.py

#!/bin/sh
# tensorizer 2.12.1: load_into_module puts a kernel of another size into a module, passes over a layer that the file lacks, and
# leaves a batch norm that cannot be trained.
#
# Guess that was wrong: it loads as load_state_dict does, so another shape and a missing tensor are refused, and what was a buffer
# is a buffer.
# Seen: a Conv3d of kernel 5 has the kernel of 3 afterwards, and still says kernel_size=(5, 5, 5); a Linear that the file lacks
# keeps its random weights; nothing is raised. Each buffer of floats is a parameter that asks for gradients, so that a batch norm in
# train mode is a RuntimeError. Only a tensor that the module has no place for is refused (KeyError).
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet uv==0.13.9
"$place/venv/bin/uv" pip install --quiet --python "$place/venv/bin/python" torch==2.15.0 tensorizer==2.12.1 numpy==2.4.6
cd "$place"
cat > program.py <<'PROGRAM'
import warnings

import torch
from tensorizer import TensorDeserializer, TensorSerializer
from torch import nn

warnings.filterwarnings("ignore")


class Model(nn.Module):
    def __init__(self, size=3, head=False):
        super().__init__()
        self.conv = nn.Conv3d(1, 2, size)
        self.norm = nn.BatchNorm3d(2)
        if head:
            self.head = nn.Linear(2, 2)

    def forward(self, x):
        return self.norm(self.conv(x))


def write(model):
    serializer = TensorSerializer("model.tensors")
    serializer.write_module(model)
    serializer.close()


def read(model):
    TensorDeserializer("model.tensors", device="cpu").load_into_module(model)
    return model


def refusal(function, kind):
    try:
        function()
    except kind as error:
        return str(error)[:43]
    return "none"


image = torch.rand(2, 1, 6, 6, 6)
assert Model()(image).shape == (2, 2, 4, 4, 4)
write(Model())
wide, headed, trained = read(Model(size=5)), Model(head=True), read(Model())
before = headed.head.weight.clone()
read(headed)
write(headed)
found = {
    "kernel": (tuple(wide.conv.weight.shape), wide.conv.kernel_size),
    "head is random": torch.equal(headed.head.weight, before),
    "train": refusal(lambda: trained(image), RuntimeError),
    "head unexpected": refusal(lambda: read(Model()), KeyError),
}
print(found)
assert found == {
    "kernel": ((2, 1, 3, 3, 3), (5, 5, 5)),
    "head is random": True,
    "train": "The function 'native_batch_norm' is not dif",
    "head unexpected": "'head'",
}, found
PROGRAM
"$place/venv/bin/python" program.py

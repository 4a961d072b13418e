#!/bin/sh
# timm 1.0.31: load_checkpoint(remap=True) puts the numbers of one kernel into a kernel of another shape, and drops what is left
# over of the file.
#
# Guess that was wrong: names are passed over, so shapes and their number must be those of the model.
# Seen: tensors are paired by their places, and one of as many numbers is reshaped: a Conv3d from 2 to 4 channels fills one from 4 to
# 2, a depthwise kernel a dense one, each number in another place. A file with a layer more loads, and "All keys matched
# successfully" is returned each time. Another count of numbers is refused (AssertionError), and so is a file with fewer tensors.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet uv==0.13.9
"$place/venv/bin/uv" pip install --quiet --python "$place/venv/bin/python" torch==2.15.0 torchvision==0.29.2 timm==1.0.31 numpy==2.4.6
cd "$place"
cat > program.py <<'PROGRAM'
import logging

import torch
from timm.models import load_checkpoint
from torch import nn

logging.disable(logging.CRITICAL)


def conv(into, out, groups=1):
    return nn.Conv3d(into, out, 3, groups=groups, bias=False)


def answer(trained, model):
    """What is returned or raised, the shapes of the model, and whether its numbers are those of the file in their order."""
    torch.save({"state_dict": nn.Sequential(*trained).state_dict()}, "a.pth")
    model = nn.Sequential(*model)
    try:
        said = str(load_checkpoint(model, "a.pth", remap=True))
    except (AssertionError, RuntimeError) as error:
        return type(error).__name__
    pairs = [(one.weight, other.weight) for one, other in zip(trained, model)]
    return said, all(torch.equal(one.flatten(), other.flatten()) for one, other in pairs)


found = {
    "turned": answer([conv(2, 4)], [conv(4, 2)]),
    "depthwise": answer([conv(4, 4, groups=4)], [conv(1, 4)]),
    "dense": answer([conv(4, 1)], [conv(4, 4, groups=4)]),
    "left over": answer([conv(2, 4), conv(4, 4)], [conv(2, 4)]),
    "fewer": answer([conv(2, 4)], [conv(2, 4), conv(4, 4)]),
    "larger": answer([conv(2, 4)], [conv(2, 8)]),
}
print(found)
taken = ("<All keys matched successfully>", True)
assert [found[name] for name in ("turned", "depthwise", "dense", "left over")] == [taken] * 4, found
assert (found["fewer"], found["larger"]) == ("RuntimeError", "AssertionError"), found
PROGRAM
"$place/venv/bin/python" program.py

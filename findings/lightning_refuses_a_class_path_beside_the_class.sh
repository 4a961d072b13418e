#!/bin/sh
# Lightning 2.6.6 refuses Model.load_from_checkpoint for a file of LightningCLI once the class has moved, though Model is given.
#
# Guess that was wrong: the class path among the hyper-parameters is for LightningCLI alone; load_from_checkpoint builds the
# class that it is called on.
# Seen: ValueError, because the path does not resolve to an imported subclass of Model; with a path that resolves it loads.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet torch==2.13.0 lightning==2.6.6 'jsonargparse[signatures]==4.41.0' numpy==2.4.1
cd "$place"
cat > program.py <<'PROGRAM'
import torch
from lightning.pytorch import LightningModule


class Model(LightningModule):
    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.net = torch.nn.Linear(width, 1)


def answer(class_path):
    told = {"width": 3, "_instantiator": "lightning.pytorch.cli.instantiate_module", "_class_path": class_path}
    held = {"state_dict": Model().state_dict(), "pytorch-lightning_version": "2.6.6", "hyper_parameters": told}
    torch.save(held, "model.ckpt")
    try:
        return type(Model.load_from_checkpoint("model.ckpt")).__name__
    except ValueError as error:
        return f"ValueError: {error}"


moved, here = answer("package.before.Model"), answer("__main__.Model")
print(moved[:100])
print(here)
assert moved.startswith("ValueError: The class 'package.before.Model' requested by the checkpoint does not resolve"), moved
assert here == "Model", here
PROGRAM
"$place/venv/bin/python" program.py

#!/bin/sh
# Lightning 2.6.6: under WeightAveraging the files of ModelCheckpoint(save_weights_only=True) hold the weights in training, though
# the score that chose them, and that their names state, was measured with the averages.
#
# Guess that was wrong: such a file holds the state_dict of the full checkpoint, without the optimizer beside it; and the last
# file of a run with StochasticWeightAveraging holds the averages that the run ends with.
# Seen: the averages are put in by a hook that is not called for weights alone, so they are in no file of the run, without a word.
# trainer.save_checkpoint after the run writes them. last.ckpt under StochasticWeightAveraging has the weights in training too; a
# full one keeps the averages among the callbacks' states.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet uv==0.13.9
"$place/venv/bin/uv" pip install --quiet --python "$place/venv/bin/python" torch==2.15.0 lightning==2.6.6 numpy==2.4.6
cd "$place"
cat > program.py <<'PROGRAM'
import logging
import warnings

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint, StochasticWeightAveraging
from torch.utils.data import DataLoader

warnings.filterwarnings("ignore")
logging.disable(logging.CRITICAL)


class Line(LightningModule):
    """One weight, which each step makes greater by 1."""

    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch):
        return -self.w.sum()

    def validation_step(self, batch):
        self.log("score", self.w.sum())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1.0)


def weight(path):
    return torch.load(path)["state_dict"]["w"].item()


def run(averaging, weights_only):
    """The score of the best file, what it, last.ckpt and a file saved after the run hold, and the last file whole."""
    files = ModelCheckpoint("files", monitor="score", mode="max", save_last=True, save_weights_only=weights_only)
    still = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    trainer = Trainer(max_epochs=4, callbacks=[averaging, files], **still)
    trainer.fit(Line(), DataLoader(torch.zeros(2, 1)), DataLoader(torch.zeros(1, 1)))
    trainer.save_checkpoint("after.ckpt", weights_only=True)
    held = [weight(path) for path in (files.best_model_path, files.last_model_path, "after.ckpt")]
    return [round(number, 2) for number in (files.best_model_score.item(), *held)], torch.load(files.last_model_path)


ema = [run(EMAWeightAveraging(decay=0.5), weights_only)[0] for weights_only in (False, True)]
swa, held = run(StochasticWeightAveraging(swa_lrs=1.0, swa_epoch_start=1), False)
average = held["callbacks"]["StochasticWeightAveraging"]["average_model_state"]["w"].item()
print("score, best, last, after the run:", *ema, swa, "among the callbacks:", average)
assert ema == [[7.01, 7.01, 7.01, 7.01], [7.01, 8.0, 8.0, 7.01]], ema
assert swa == [8.0, 8.0, 8.0, 3.0] and average == 3.0, (swa, average)
PROGRAM
"$place/venv/bin/python" program.py

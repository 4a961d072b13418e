#!/bin/sh
# Lightning 2.6.6 writes an hparams.yaml that its own reader refuses, and writes another one where OmegaConf is installed.
#
# Guess that was wrong: load_hparams_from_yaml reads what save_hparams_to_yaml (which the loggers call) has written, and what
# is written does not depend on a package that the hyper-parameters do not use.
# Seen: a numpy number is written with tags of Python, which full_load refuses (ConstructorError). A tuple is written as
# !!python/tuple, which safe_load refuses; with OmegaConf 2.4.0 installed the same tuple is written as a plain list.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet torch==2.13.0 lightning==2.6.6 numpy==2.4.1 pyyaml==6.0.4
cd "$place"
cat > program.py <<'PROGRAM'
import sys

import numpy as np
import yaml
from lightning.pytorch.core.saving import load_hparams_from_yaml, save_hparams_to_yaml


def reads(reader, value):
    save_hparams_to_yaml("hparams.yaml", {"stem_stride": value})
    try:
        return reader("hparams.yaml")["stem_stride"]
    except yaml.constructor.ConstructorError as error:
        return type(error).__name__


def safe(path):
    with open(path) as file:
        return yaml.safe_load(file)


found = (reads(load_hparams_from_yaml, np.int64(2)), reads(load_hparams_from_yaml, (5, 4, 4)), reads(safe, (5, 4, 4)))
print(sys.argv[1], found)
expected = {"without": (5, 4, 4), "with": [5, 4, 4]}[sys.argv[1]]
assert found[0] == "ConstructorError", found
assert found[1] == expected, found
assert found[2] == ("ConstructorError" if sys.argv[1] == "without" else [5, 4, 4]), found
PROGRAM
"$place/venv/bin/python" program.py without
"$place/venv/bin/pip" install --quiet omegaconf==2.4.0
"$place/venv/bin/python" program.py with

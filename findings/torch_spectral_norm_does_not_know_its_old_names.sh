#!/bin/sh
# torch 2.15.0: parametrizations.weight_norm loads a file of the old weight_norm, parametrizations.spectral_norm refuses one
# of the old spectral_norm.
#
# Guess that was wrong: what holds for the one holds for the other, since both replace a function of the same name in the
# same two modules.
# Seen: weight_g and weight_v are taken; weight_orig, weight_u and weight_v are unexpected, and three names are missing.
# Renamed by hand (original, 0._u, 0._v) they load, and the outputs are the same.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet uv==0.13.9
"$place/venv/bin/uv" pip install --quiet --python "$place/venv/bin/python" torch==2.15.0 numpy==2.4.6
cd "$place"
cat > program.py <<'PROGRAM'
import warnings

import torch
from torch import nn

warnings.filterwarnings("ignore")
torch.set_num_threads(1)
torch.manual_seed(0)


def pair(kind):
    old = getattr(nn.utils, kind)(nn.Conv2d(2, 3, 3)).eval()
    new = getattr(nn.utils.parametrizations, kind)(nn.Conv2d(2, 3, 3)).eval()
    return old, new


def answer(old, new, names):
    try:
        new.load_state_dict({names.get(name, name): tensor for name, tensor in old.state_dict().items()})
    except RuntimeError as error:
        return f"refused: {str(error).count('parametrizations.')} names missing"
    image = torch.rand(1, 2, 5, 5)
    return torch.allclose(old(image), new(image), rtol=1e-6)


here = "parametrizations.weight."
renames = {"weight_orig": f"{here}original", "weight_u": f"{here}0._u", "weight_v": f"{here}0._v"}
found = [answer(*pair("weight_norm"), {}), answer(*pair("spectral_norm"), {}), answer(*pair("spectral_norm"), renames)]
print(found)
assert found == [True, "refused: 3 names missing", True], found
PROGRAM
"$place/venv/bin/python" program.py

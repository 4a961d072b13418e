#!/bin/sh
# timm 1.0.31: create_model(features_only=True, checkpoint_path=FILE) refuses the file that pretrained=True takes, and what it
# loads from a file of timm's own training script are the averaged weights.
#
# Guess that was wrong: checkpoint_path loads as pretrained does, that is before the model is cut down to its features; of two
# sets of weights in a file state_dict is loaded, as in Lightning and in every other loader of such files.
# Seen: with checkpoint_path the names stem.0 and stages.0 of a whole model are refused, for the cut model's are stem_0 and
# stages_0; the same file as pretrained weights loads. state_dict_ema is loaded where there is one.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet uv==0.13.9
"$place/venv/bin/uv" pip install --quiet --python "$place/venv/bin/python" torch==2.15.0 torchvision==0.29.2 timm==1.0.31 numpy==2.4.6
cd "$place"
cat > program.py <<'PROGRAM'
import timm
import torch

NAME = "convnextv2_atto"
whole = timm.create_model(NAME).state_dict()
torch.save(whole, "whole.pth")


def answer(**options):
    try:
        model = timm.create_model(NAME, features_only=True, **options)
    except RuntimeError as error:
        return str(error).split("\t")[1][:48]
    return torch.equal(model.state_dict()["stem_0.weight"], whole["stem.0.weight"])


found = [answer(pretrained=True, pretrained_cfg_overlay={"file": "whole.pth"}), answer(checkpoint_path="whole.pth")]
sets = {
    name: {key: torch.full_like(tensor, value) for key, tensor in whole.items()}
    for name, value in (("state_dict", 1.0), ("state_dict_ema", 2.0))
}
torch.save(sets, "both.pth")
loaded = timm.create_model(NAME, checkpoint_path="both.pth").stem[0].bias[0].item()
print(*found, "loaded:", loaded)
assert found == [True, 'Missing key(s) in state_dict: "stem_0.weight", "'], found
assert loaded == 2.0, loaded
PROGRAM
HF_HUB_OFFLINE=1 "$place/venv/bin/python" program.py

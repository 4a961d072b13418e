#!/bin/sh
# monai 1.6.1: load_old_state_dict, made for files of MONAI Generative, leaves a layer random for which the file has no tensor, and
# passes over tensors that it knows no place for.
#
# Guess that was wrong: a function that carries old files over, and ends in load_state_dict(strict=True), refuses a file that does
# not give every tensor of the model.
# Seen: it starts from the state dict of the new model, so that nothing is ever missing; what the file calls otherwise keeps its
# random numbers, in AutoencoderKL as in DiffusionModelUNet, without a word (verbose=True prints names, and refuses nothing). Only
# a tensor of the attention layers that the file lacks is a KeyError. A right file loads whole.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet uv==0.13.9
"$place/venv/bin/uv" pip install --quiet --python "$place/venv/bin/python" torch==2.15.0 monai==1.6.1 einops==0.8.2 numpy==2.4.6
cd "$place"
cat > program.py <<'PROGRAM'
import contextlib
import io
import warnings

import torch
from monai.networks.nets import AutoencoderKL, DiffusionModelUNet

warnings.filterwarnings("ignore")
SMALL = {"spatial_dims": 3, "in_channels": 1, "out_channels": 1, "channels": (4, 4), "num_res_blocks": 1}
SMALL |= {"attention_levels": (False, True), "norm_num_groups": 2}
NETS = {"autoencoder": lambda: AutoencoderKL(latent_channels=2, **SMALL), "unet": lambda: DiffusionModelUNet(num_head_channels=2, **SMALL)}
OLD = ((".attn.to_", ".to_"), (".attn.out_proj", ".proj_attn"), ("postconv", "conv"))


def left_random(kind, change):
    """What of a trained model is not in the new one after its old file was changed so and loaded, and what was printed."""
    torch.manual_seed(0)
    trained, new = NETS[kind](), NETS[kind]()
    before = {name: tensor.clone() for name, tensor in new.state_dict().items()}
    held = {}
    for name, tensor in trained.state_dict().items():
        for now, then in OLD:
            name = name.replace(now, then)
        held[change(name)] = tensor
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        new.load_old_state_dict(held)
    true, found = trained.state_dict(), new.state_dict()
    other = [name for name in true if not torch.equal(found[name], true[name])]
    assert all(torch.equal(found[name], before[name]) for name in other)
    return other, printed.getvalue()


def refused(kind, change):
    try:
        return left_random(kind, change)
    except KeyError:
        return "KeyError"


found = {
    "autoencoder": refused("autoencoder", lambda name: name),
    "latent": refused("autoencoder", lambda name: name.replace("quant_conv_mu", "mean")),
    "attention": refused("autoencoder", lambda name: name.replace("to_q", "query")),
    "unet": refused("unet", lambda name: name),
    "time": refused("unet", lambda name: name.replace("time_embed", "time")),
}
print(found)
assert found["autoencoder"] == found["unet"] == ([], ""), found
assert found["latent"] == (["quant_conv_mu.conv.weight", "quant_conv_mu.conv.bias"], ""), found
assert found["time"] == ([f"time_embed.{layer}.{part}" for layer in (0, 2) for part in ("weight", "bias")], ""), found
assert found["attention"] == "KeyError", found
PROGRAM
"$place/venv/bin/python" program.py

#!/bin/sh
# safetensors 0.8.0 with torch 2.15.0: save_file writes a tensor that conj() or mH made as the numbers that it was made from.
#
# Guess that was wrong: what is saved is what torch.equal and print see; a view whose bytes are not its values is refused, as one
# that is not contiguous is.
# Seen: torch conjugates lazily, by a flag, and says that such a tensor is contiguous; its bytes are written without the flag, so
# that each imaginary part comes back with the other sign, without a word. torch.save keeps the flag, and resolve_conj() or clone()
# in front of save_file cures it. (Weights of Fourier layers are complex.)
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet uv==0.13.9
"$place/venv/bin/uv" pip install --quiet --python "$place/venv/bin/python" torch==2.15.0 safetensors==0.8.0 numpy==2.4.6
cd "$place"
cat > program.py <<'PROGRAM'
import torch
from safetensors.torch import load_file, save_file

held = torch.tensor([[1 + 2j, 3 - 4j]], dtype=torch.complex64)


def through(tensor):
    save_file({"w": tensor}, "a.safetensors")
    return load_file("a.safetensors")["w"]


def answer(tensor):
    try:
        return torch.equal(through(tensor), tensor)
    except ValueError as error:
        return str(error)[:47]


lazy = held.conj()
torch.save({"w": lazy}, "a.pt")
found = {
    "conj": answer(lazy),
    "mH": answer(held.mH),
    "mH of a row, transposed": answer(held.mH.T),
    "clone": answer(lazy.clone()),
    "resolve_conj": answer(lazy.resolve_conj()),
    "torch.save": torch.equal(torch.load("a.pt")["w"], lazy),
    "imaginary part": answer(lazy.imag),
}
print(lazy.is_contiguous(), found)
assert lazy.is_contiguous() and torch.equal(through(lazy), held)
refused = "You are trying to save a non contiguous tensor:"
assert found == {
    "conj": False,
    "mH": False,
    "mH of a row, transposed": False,
    "clone": True,
    "resolve_conj": True,
    "torch.save": True,
    "imaginary part": refused,
}, found
PROGRAM
"$place/venv/bin/python" program.py

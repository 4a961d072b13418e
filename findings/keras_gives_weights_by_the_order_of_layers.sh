#!/bin/sh
# keras 3.15.1 with torch 2.15.0: load_weights of a .weights.h5 gives a layer the weights of another one that bears another name, and
# drops those of the last layers of the file.
#
# Guess that was wrong: layers that were given names find their weights by them (the names are in the file), and a file of a longer
# model is refused, as that of a shorter one is.
# Seen: a layer is looked for by its class and by how many of that class stand before it: dense, dense_1. Two layers of one shape
# that changed places change their weights, each under its old name, and a model that lost its last layer loads the file of the whole
# one; nothing is said. The name that stands as an attribute in the file is not compared.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet uv==0.13.9
"$place/venv/bin/uv" pip install --quiet --python "$place/venv/bin/python" torch==2.15.0 keras==3.15.1 h5py==3.16.0 numpy==2.4.6
cd "$place"
cat > program.py <<'PROGRAM'
import os
os.environ["KERAS_BACKEND"] = "torch"
import h5py
import keras
import numpy


def model(*names):
    return keras.Sequential([keras.Input((2,)), *(keras.layers.Dense(2, name=name) for name in names)])


def numbers(model):
    return {layer.name: float(layer.get_weights()[0][0, 0]) for layer in model.layers}


whole = model("encoder", "decoder", "head")
for number, layer in enumerate(whole.layers):
    layer.set_weights([numpy.full((2, 2), number), numpy.full(2, number)])
whole.save_weights("whole.weights.h5")
with h5py.File("whole.weights.h5") as file:
    names = {place: group["vars"].attrs["name"] for place, group in file["layers"].items()}
exchanged, short, long = model("decoder", "encoder", "head"), model("encoder", "decoder"), model("encoder", "decoder", "head", "more")
exchanged.load_weights("whole.weights.h5")
short.load_weights("whole.weights.h5")
try:
    long.load_weights("whole.weights.h5")
    refusal = ""
except ValueError as error:
    refusal = str(error).splitlines()[0]
print(names, numbers(exchanged), numbers(short), refusal)
assert names == {"dense": "encoder", "dense_1": "decoder", "dense_2": "head"}, names
assert numbers(exchanged) == {"decoder": 0.0, "encoder": 1.0, "head": 2.0}, numbers(exchanged)
assert numbers(short) == {"encoder": 0.0, "decoder": 1.0}, numbers(short)
assert "could not be loaded" in refusal, refusal
PROGRAM
"$place/venv/bin/python" program.py

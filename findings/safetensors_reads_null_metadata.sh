#!/bin/sh
# safetensors 0.8.0 reads a file whose header says "__metadata__": null.
#
# Guess that was wrong: the format's README asks for a map of texts to texts there, so its library refuses anything else.
# Seen: null is read as no metadata; a number among the texts is refused, as the README says.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet safetensors==0.8.0 numpy==2.2.6
cd "$place"
"$place/venv/bin/python" - <<'PROGRAM'
import json
import struct

from safetensors import SafetensorError, safe_open


def answer(metadata):
    row = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    header = json.dumps({"__metadata__": metadata, "w": row}).encode()
    with open("a.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header + bytes(8))
    try:
        with safe_open("a.safetensors", "np") as file:
            return list(file.keys()), file.metadata()
    except SafetensorError as error:
        return type(error).__name__


print(answer(None), answer({"a": 1}))
assert answer(None) == (["w"], None), answer(None)
assert answer({"a": 1}) == "SafetensorError", answer({"a": 1})
PROGRAM

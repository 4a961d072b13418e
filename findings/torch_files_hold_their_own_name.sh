#!/bin/sh
# torch 2.15.0 writes the name of the file into the file: one state dict, saved under two names, has two digests.
#
# Guess that was wrong: the bytes that torch.save writes are those of what is saved, so equal SHA-256s mean equal weights
# and the other way round (as bioimageio's model descriptions and download caches use them).
# Seen: every record of the archive stands in a folder called like the file without its suffix; into a buffer, "archive".
# The name of the first save stays inside after a renaming. The same name gives the same bytes again.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet uv==0.13.9
"$place/venv/bin/uv" pip install --quiet --python "$place/venv/bin/python" torch==2.15.0 numpy==2.4.6
cd "$place"
cat > program.py <<'PROGRAM'
import hashlib
import io
import zipfile

import torch

state = {"w": torch.arange(3.0)}


def digest_and_root(target, file=None):
    torch.save(state, file or target)
    data = file.getvalue() if file else open(target, "rb").read()
    roots = {name.split("/")[0] for name in zipfile.ZipFile(io.BytesIO(data)).namelist()}
    return hashlib.sha256(data).hexdigest(), *roots


best, last, again, buffer = (
    digest_and_root("best.ckpt"),
    digest_and_root("last.ckpt"),
    digest_and_root("best.ckpt"),
    digest_and_root("", io.BytesIO()),
)
print(best, last, again, buffer, sep="\n")
assert (best[1], last[1], buffer[1]) == ("best", "last", "archive")
assert best == again
assert len({best[0], last[0], buffer[0]}) == 3
PROGRAM
"$place/venv/bin/python" program.py

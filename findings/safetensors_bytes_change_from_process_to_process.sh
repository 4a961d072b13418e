#!/bin/sh
# safetensors 0.8.0 writes other bytes in another process for the same tensors and the same metadata.
#
# Guess that was wrong: a file of equal tensors and equal metadata has one digest, so a SHA-256 tells whether two exports
# of a model are the same.
# Seen: with two or more entries of metadata their order in the header is drawn anew in each process; twelve processes gave
# several digests of one length. With one entry, or none, the digest is always the same.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet safetensors==0.8.0 numpy==2.4.6
cd "$place"
cat > one.py <<'PROGRAM'
import hashlib
import sys

import numpy as np
from safetensors.numpy import save

names = ["architecture", "epoch", "commit", "pixel size", "channel", "licence"][: int(sys.argv[1])]
data = save({"w": np.zeros(3, np.float32), "b": np.zeros(1, np.float32)}, metadata={name: "1" for name in names})
print(len(data), hashlib.sha256(data).hexdigest())
PROGRAM
cat > all.py <<'PROGRAM'
import subprocess
import sys


def answers(entries):
    return {subprocess.check_output([sys.executable, "one.py", str(entries)], text=True) for _ in range(12)}


found = {entries: answers(entries) for entries in (0, 1, 6)}
print({entries: len(lines) for entries, lines in found.items()})
assert len(found[0]) == 1 and len(found[1]) == 1, found
assert len(found[6]) > 1, found
assert len({line.split()[0] for line in found[6]}) == 1, found
PROGRAM
"$place/venv/bin/python" all.py

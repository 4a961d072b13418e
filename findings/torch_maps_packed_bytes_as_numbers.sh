#!/bin/sh
# torch 2.15.0: torch.load(mmap=True) of a checkpoint that a zip program has packed again gives other numbers, without an error.
#
# Guess that was wrong: where the records are deflated mapping is refused, or falls back to reading; and an added README does not
# matter, for records are looked for by their names.
# Seen: the packed bytes are taken for the numbers, of the right shape and dtype; without mmap the same file is read as it should
# be, also with its entries in another order and a comment. (A tensor that reaches beyond the end of the file is refused.) One
# entry beside the folder that torch made, a README or __MACOSX/ of a Mac, is a RuntimeError; inside of the folder it is passed over.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet uv==0.13.9
"$place/venv/bin/uv" pip install --quiet --python "$place/venv/bin/python" torch==2.15.0 numpy==2.4.6
cd "$place"
cat > program.py <<'PROGRAM'
import shutil
import warnings
import zipfile

import torch

warnings.filterwarnings("ignore")
state = {"w": torch.arange(6.0), "v": torch.rand(1000)}
torch.save(state, "best.pt")


def answer(**options):
    try:
        read = torch.load("other.pt", **options)["w"]
    except RuntimeError as error:
        return str(error).rpartition(" . ")[2][:40]
    return tuple(read.shape), read.dtype == torch.float32, torch.equal(read, state["w"])


def with_entry(name):
    shutil.copy("best.pt", "other.pt")
    with zipfile.ZipFile("other.pt", "a") as archive:
        archive.writestr(name, "plate 3")
    return answer()


found = {name: with_entry(name) for name in ("README.txt", "__MACOSX/._best", "best/README.txt")}
source = zipfile.ZipFile("best.pt")
with zipfile.ZipFile("other.pt", "w", zipfile.ZIP_DEFLATED) as archive:
    archive.comment = b"plate 3"
    for entry in reversed(source.infolist()):
        archive.writestr(entry.filename, source.read(entry))
found["packed"], found["packed, mapped"] = answer(), answer(mmap=True)
print(found)
assert found["packed"] == found["best/README.txt"] == ((6,), True, True), found
assert found["packed, mapped"] == ((6,), True, False), found
assert found["README.txt"] == found["__MACOSX/._best"] == "file in archive is not in a subdirectory", found
PROGRAM
"$place/venv/bin/python" program.py

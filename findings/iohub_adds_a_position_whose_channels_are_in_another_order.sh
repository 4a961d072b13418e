#!/bin/sh
# iohub 0.2.3.post1: a plate that is opened to be extended takes other channel names than its own, and its index of a channel is
# then another channel in the positions that were added.
#
# Guess that was wrong: channel_names are those of a new plate; an existing one, opened with mode="a" or "r+", refuses others, or
# keeps its own. And no plate has two channels of one name, as append_channel refuses the second.
# Seen: with the two names exchanged the new position has them exchanged, and nothing is said. The plate, opened again, states the
# names of its first position, and get_channel_index("Phase") gives 0, which is GFP in the second: what a model is trained or run
# on goes by that one index (source channels are among the hyper-parameters of its checkpoint by name only). Two channels called
# Phase can be created, and the index is that of the first. iohub 0.3.11, with Python 3.12, does all of it too.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet iohub==0.2.3.post1 zarr==2.18.7 numpy==2.4.6
cd "$place"
cat > program.py <<'PROGRAM'
import logging

import numpy as np
from iohub import open_ome_zarr

logging.disable(logging.CRITICAL)
VALUE = {"Phase": 1, "GFP": 2}


def add(mode, well, names):
    with open_ome_zarr("plate.zarr", layout="hcs", mode=mode, channel_names=names) as plate:
        image = np.stack([np.full((2, 4, 4), VALUE[name], np.float32) for name in names])[None]
        plate.create_position("A", well, "0").create_image("0", image)


add("w", "1", ["Phase", "GFP"])
add("a", "2", ["GFP", "Phase"])
add("r+", "3", ["GFP", "Phase"])
with open_ome_zarr("plate.zarr") as plate:
    index = plate.get_channel_index("Phase")
    seen = {name: int(position["0"][0, index].mean()) for name, position in plate.positions()}
    own = {name: position.get_channel_index("Phase") for name, position in plate.positions()}
    names = plate.channel_names
with open_ome_zarr("twice.zarr", layout="fov", mode="w", channel_names=["Phase", "Phase"]) as twice:
    first = twice.get_channel_index("Phase")
    try:
        twice.append_channel("Phase")
        appended = True
    except ValueError:
        appended = False
print(names, index, seen, own, first, appended)
assert (names, index) == (["Phase", "GFP"], 0), (names, index)
assert seen == {"A/1/0": VALUE["Phase"], "A/2/0": VALUE["GFP"], "A/3/0": VALUE["GFP"]}, seen
assert own == {"A/1/0": 0, "A/2/0": 1, "A/3/0": 1}, own
assert (first, appended) == (0, False), (first, appended)
PROGRAM
"$place/venv/bin/python" program.py

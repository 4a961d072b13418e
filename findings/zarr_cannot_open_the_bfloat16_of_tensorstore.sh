#!/bin/sh
# zarr 3.1.6 cannot open a bfloat16 array that tensorstore 0.1.86 writes, in either version of the format, ml_dtypes
# installed and imported.
#
# Guess that was wrong: two readers of one specification open each other's floats, and numpy has the type through ml_dtypes.
# Seen: ValueError for zarr 2 and zarr 3 alike; float16 goes through, and tensorstore reads both back.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet zarr==3.1.6 tensorstore==0.1.86 numpy==2.4.6 ml_dtypes==0.6.0
cd "$place"
cat > program.py <<'PROGRAM'
import os
import warnings

import ml_dtypes
import numpy as np
import tensorstore
import zarr

warnings.filterwarnings("ignore")
PLACES = {
    "zarr": lambda dtype: {"shape": [4], "dtype": dtype, "chunks": [2]},
    "zarr3": lambda dtype: {
        "shape": [4],
        "data_type": dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [2]}},
    },
}


def answer(driver, name, dtype):
    path = os.path.abspath(f"{driver}-{name}")
    metadata = PLACES[driver]("<f2" if (driver, name) == ("zarr", "float16") else name)
    spec = {"driver": driver, "kvstore": {"driver": "file", "path": path}, "metadata": metadata}
    array = tensorstore.open(spec, create=True).result()
    array[:] = np.ones(4, dtype)
    assert array[:].read().result().dtype == dtype
    try:
        return str(zarr.open(path, mode="r").dtype)
    except ValueError as error:
        return str(error)[:30]


types = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
found = {(driver, name): answer(driver, name, dtype) for driver in PLACES for name, dtype in types.items()}
print(found)
assert [found[driver, "float16"] for driver in PLACES] == ["float16", "float16"], found
assert [found[driver, "bfloat16"] for driver in PLACES] == ["No Zarr data type found that m"] * 2, found
PROGRAM
"$place/venv/bin/python" program.py

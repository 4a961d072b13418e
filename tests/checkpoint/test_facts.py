"""Files that torch 1.13.1 wrote (tools/write_torch_corpus.py) are read as that torch saw them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from viscy_compat.checkpoint import open_checkpoint
from viscy_compat.checkpoint.tensor_bytes import TensorReader

FOLDER = Path(__file__).parent / "torch_1_13"
FILES = json.loads((FOLDER / "facts.json").read_text())["files"]


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_torch_1_13_is_read_as_it_was_written(name: str) -> None:
    checkpoint = open_checkpoint(str(FOLDER / name))
    assert list(checkpoint.tensors) == list(FILES[name])
    with TensorReader(checkpoint) as reader:
        for key, tensor in checkpoint.tensors.items():
            found = [list(tensor.spec.shape), tensor.spec.dtype, list(tensor.stride), reader.digest(tensor)]
            assert found == FILES[name][key], key
            reader.verify(tensor.storage)


def test_every_committed_file_is_used() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {"facts.json", *FILES}

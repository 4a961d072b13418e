"""Damage at random, a bounded number of times: every file is answered. tools/fuzz_reader.py goes on for longer."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hostile.generator import HONEST, HONEST_LIGHTNING, HONEST_SAFETENSORS, HONEST_STREAM
from support.assembly import NUMBERS, archive, lightning, module, pickled, records, row, safetensors, state, tensor
from support.folders import Block, Entry, distributed, whole
from support.mutation import mutated

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
from fuzz_reader import answer

SEEDS = st.integers(0, 2**32)
PICKLES = [pickled(state()), pickled(lightning()), pickled(module({"w": tensor()}, {"a": module({"b": tensor()})}))]
FILES = [HONEST, HONEST_LIGHTNING, HONEST_STREAM, HONEST_SAFETENSORS]


def answered(path: Path, content: bytes) -> None:
    """Whatever else than an answer comes out of the reader is raised here."""
    path.write_bytes(content)
    assert answer(path)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "a.ckpt"


@given(seed=SEEDS)
@settings(max_examples=800)
def test_a_damaged_pickle_in_a_sound_archive_is_answered(path: Path, seed: int) -> None:
    dice = random.Random(seed)
    answered(path, archive(records(mutated(dice.choice(PICKLES), PICKLES, dice))))


@given(seed=SEEDS)
@settings(max_examples=600)
def test_a_damaged_file_is_answered(path: Path, seed: int) -> None:
    dice = random.Random(seed)
    answered(path, mutated(dice.choice(FILES), FILES, dice))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound folder of torch.distributed.checkpoint, with a tensor of two ranks and Lightning's record."""
    halves = (Block((0, 0), (2, 1), (0.0, 2.0)), Block((0, 1), (2, 1), (1.0, 3.0), "__1_0.distcp"))
    entries = {"state_dict.w": Entry((2, 2), halves), "state_dict.v": whole((2,), (1.0, 2.0))}
    place = distributed(tmp_path_factory.mktemp("fuzz") / "d", entries)
    (place / "meta.pt").write_bytes(HONEST_LIGHTNING)
    return place


@given(seed=SEEDS, name=st.sampled_from([".metadata", ".metadata", "meta.pt", "__0_0.distcp", "__1_0.distcp"]))
@settings(max_examples=400)
def test_a_damaged_file_of_a_distributed_folder_is_answered(folder: Path, seed: int, name: str) -> None:
    sound = (folder / name).read_bytes()
    (folder / name).write_bytes(mutated(sound, [sound, *PICKLES], random.Random(seed)))
    try:
        assert answer(folder)
    finally:
        (folder / name).write_bytes(sound)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(header=st.dictionaries(st.text(max_size=8), JSON | st.just(row()), max_size=4))
@settings(max_examples=300)
def test_any_json_as_a_safetensors_header_is_answered(path: Path, header: object) -> None:
    answered(path, safetensors(header))


@given(seed=SEEDS)
@settings(max_examples=500)
def test_a_damaged_safetensors_header_of_the_right_length_is_answered(path: Path, seed: int) -> None:
    dice = random.Random(seed)
    rows = {"a": row((3,), 0, 12), "b": row((3,), 12, 24), "__metadata__": {"format": "pt"}}
    header = mutated(json.dumps(rows).encode(), [b'{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}'], dice)
    answered(path, safetensors({}, NUMBERS, raw=header))

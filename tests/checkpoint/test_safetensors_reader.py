"""What the safetensors library reads, this reads too: alone and in shards."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from support.assembly import row, safetensors, state, tensor, zipped
from viscy_compat.checkpoint import open_checkpoint, safetensors_reader
from viscy_compat.checkpoint.dtypes import SAFETENSORS_DTYPES
from viscy_compat.checkpoint.safetensors_reader import parse_json
from viscy_compat.checkpoint.tensor_bytes import TensorReader
from viscy_compat.errors import UnreadableCheckpoint


@pytest.mark.torch
def test_reads_what_the_library_writes_and_reads(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    library = pytest.importorskip("safetensors.torch")
    tensors = {
        dtype: torch.arange(48, dtype=torch.uint8).remainder_(2).view(getattr(torch, dtype)).reshape(-1, 2)
        for dtype in SAFETENSORS_DTYPES.values()
    }
    tensors |= {"empty": torch.zeros(0, 3), "scalar": torch.tensor(1.5), "long.name.0.weight": torch.zeros(2, 1, 2)}
    path = str(tmp_path / "a.safetensors")
    library.save_file(tensors, path, metadata={"format": "pt", "note": "a b"})
    checkpoint = open_checkpoint(path)
    read = library.load_file(path)
    assert set(checkpoint.tensors) == set(read)
    assert checkpoint.metadata == {"format": "pt", "note": "a b"}
    with TensorReader(checkpoint) as reader:
        for key, found in checkpoint.tensors.items():
            assert found.spec.shape == tuple(read[key].shape)
            assert f"torch.{found.spec.dtype}" == str(read[key].dtype)
            assert found.stride == read[key].stride()
            raw = read[key].reshape(-1).view(torch.uint8).numpy().tobytes() if read[key].numel() else b""
            assert b"".join(reader.chunks(found)) == raw


def index(folder: Path, weights: Any, **more: Any) -> str:
    path = folder / "model.safetensors.index.json"
    path.write_text(json.dumps({"metadata": {"total_size": 48}, "weight_map": weights, **more}))
    return str(path)


def two_shards(folder: Path) -> dict[str, str]:
    (folder / "1.safetensors").write_bytes(safetensors({"b": row()}))
    (folder / "2.safetensors").write_bytes(safetensors({"a": row()}))
    return {"a": "2.safetensors", "b": "1.safetensors"}


def test_shards_are_read_as_one_checkpoint(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(index(tmp_path, two_shards(tmp_path)))
    assert checkpoint.format == "sharded-safetensors"
    assert sorted(checkpoint.tensors) == ["a", "b"]
    assert [os.path.basename(file.path) for file in checkpoint.files[1:]] == ["2.safetensors", "1.safetensors"]
    with TensorReader(checkpoint) as reader:
        assert len({reader.digest(found) for found in checkpoint.tensors.values()}) == 1


def test_shards_of_torch_files_are_read_as_one_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "1.bin").write_bytes(zipped(state()))
    (tmp_path / "2.bin").write_bytes(zipped(tensor_as("v")))
    checkpoint = open_checkpoint(index(tmp_path, {"w": "1.bin", "v": "2.bin"}))
    assert checkpoint.format == "sharded-torch"
    assert list(checkpoint.tensors) == ["w", "v"]
    assert len(checkpoint.storages) == 2


def tensor_as(key: str) -> bytes:
    return state(**{key: tensor()}).replace(b"X\x01\x00\x00\x00w" + tensor(), b"")


def refused(path: str) -> str:
    with pytest.raises(UnreadableCheckpoint) as caught:
        open_checkpoint(path)
    assert caught.value.fix
    return caught.value.code


LIES: dict[str, tuple[str, Any]] = {
    "a path upwards": ("VC461", {"a": "../1.safetensors", "b": "1.safetensors"}),
    "an absolute path": ("VC461", {"a": "/etc/passwd", "b": "1.safetensors"}),
    "a path downwards": ("VC461", {"a": "x/2.safetensors", "b": "1.safetensors"}),
    "a path of Windows": ("VC461", {"a": "x\\2.safetensors", "b": "1.safetensors"}),
    "a drive": ("VC461", {"a": "C:2.safetensors", "b": "1.safetensors"}),
    "the folder": ("VC461", {"a": "..", "b": "1.safetensors"}),
    "an empty name": ("VC461", {"a": "", "b": "1.safetensors"}),
    "a control character": ("VC460", {"a": "2\x1b.safetensors", "b": "1.safetensors"}),
    "a number": ("VC460", {"a": 2, "b": "1.safetensors"}),
    "a list": ("VC460", ["a", "b"]),
    "nothing": ("VC460", {}),
    "a missing shard": ("VC462", {"a": "3.safetensors", "b": "1.safetensors"}),
    "the wrong shard": ("VC463", {"a": "1.safetensors", "b": "2.safetensors"}),
    "a key of nowhere": ("VC463", {"a": "2.safetensors", "b": "1.safetensors", "c": "1.safetensors"}),
    "a key too few": ("VC463", {"a": "2.safetensors", "x": "1.safetensors"}),
    "the index itself": ("VC460", {"a": "model.safetensors.index.json"}),
}


@pytest.mark.parametrize("lie", LIES)
def test_an_index_that_lies_is_refused(tmp_path: Path, lie: str) -> None:
    two_shards(tmp_path)
    code, weights = LIES[lie]
    assert refused(index(tmp_path, weights)) == code


def test_an_index_with_unknown_fields_is_refused(tmp_path: Path) -> None:
    assert refused(index(tmp_path, two_shards(tmp_path), odd=1)) == "VC460"


def test_an_index_that_is_no_json_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.index.json"
    path.write_text('{"weight_map": ')
    assert refused(str(path)) == "VC460"


def test_a_key_in_two_shards_is_refused(tmp_path: Path) -> None:
    weights = two_shards(tmp_path)
    (tmp_path / "1.safetensors").write_bytes(safetensors({"b": row((3,), 0, 12), "a": row((3,), 12, 24)}))
    assert refused(index(tmp_path, weights)) == "VC463"


def test_a_shard_that_is_a_link_is_refused(tmp_path: Path) -> None:
    weights = two_shards(tmp_path)
    (tmp_path / "3.safetensors").symlink_to(tmp_path / "2.safetensors")
    assert refused(index(tmp_path, {**weights, "a": "3.safetensors"})) == "VC461"


def test_shards_of_two_kinds_are_refused(tmp_path: Path) -> None:
    weights = two_shards(tmp_path)
    (tmp_path / "2.safetensors").write_bytes(zipped(tensor_as("a")))
    assert refused(index(tmp_path, weights)) == "VC460"


def test_many_shards_are_refused_beyond_the_limit(tmp_path: Path) -> None:
    assert refused(index(tmp_path, {f"{place}": f"{place}.safetensors" for place in range(300)})) == "VC404"


@pytest.mark.parametrize(
    "text",
    [
        '{"a": {"b": 1, "b": 2}}',
        '{"a": 1, "a": 1}',
        '{"a" : 1, "a": 1}',
        '{"a": ":", "a": 1}',
        '{"a\\":": 1, "b": {"c" : 1, "c": 2}}',
        '{"a": [{"b": 1, "b": 2}]}',
        '{"a": {"b" :1}, "a": {"b" :1}}',
        '{"a":1,"b":{"c":1},"c" :{"d":1,"d":2}}',
    ],
)
def test_a_name_that_stands_twice_is_refused_however_colons_are_set(text: str) -> None:
    with pytest.raises(UnreadableCheckpoint, match="a name stands twice"):
        parse_json(text.encode(), "a")


@pytest.mark.parametrize("text", ['{"a":":"}', '{"a" : {"b":1}}', '{"a":[{"b":1},{"b":2}]}', '{"a\\":":{"b":":\\":"}}'])
def test_colons_in_texts_and_lists_are_no_second_names(text: str) -> None:
    assert parse_json(text.encode(), "a") == json.loads(text)


_TEXTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
).map(json.dumps)


@given(
    text=_TEXTS | st.text(alphabet='{}[]",:1e-. \ntN', max_size=8), tail=st.sampled_from(("", " \n", "\x0b", "x", "{}"))
)
@example(text="[" * 5000, tail="")
@example(text='{"a": NaN}', tail="")
@example(text=' {"a": 1}', tail="")
def test_a_header_is_parsed_as_json_parses_it_with_its_scanner_and_without(text: str, tail: str) -> None:
    def said(parse: Callable[[str], object]) -> str:
        try:
            return repr(parse(text + tail))
        except (ValueError, RecursionError) as error:
            return f"{type(error).__name__}: {error}" if isinstance(error, ValueError) else "RecursionError"

    expected = said(lambda whole: json.loads(whole, parse_constant=safetensors_reader._refuse_constant))
    assert said(safetensors_reader._loads) == expected
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "_json", None)
        assert said(safetensors_reader._loads) == expected


@pytest.mark.parametrize("text", ["{", '{"a"', "{a: 1}", '{"a": 1,}', '{"a": 1 "b": 2}', '{"a": "\\q"}', '["\\u12"]'])
def test_what_is_no_json_is_refused_by_a_program_that_has_not_imported_json(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python 3.11's scanner looks for the error that it raises among the modules that are there, and finds none."""
    for module in [name for name in sys.modules if name.partition(".")[0] == "json"]:
        monkeypatch.delitem(sys.modules, module)
    with pytest.raises(UnreadableCheckpoint, match=r"the header is no JSON: ") as caught:
        parse_json(text.encode(), "a")
    assert "line 1 column" in caught.value.message

"""Safetensors files are told from pickles by the whole of them, not by their first bytes."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from hostile.generator import MARKER, two_formats
from support.assembly import row, safetensors, state, stream, zipped
from viscy_compat.checkpoint import open_checkpoint
from viscy_compat.checkpoint.byte_source import ByteSource
from viscy_compat.checkpoint.limits import DEFAULT_LIMITS
from viscy_compat.checkpoint.two_formats import refuse_two_formats
from viscy_compat.errors import UnreadableCheckpoint

HEADER = json.dumps({"w": row()}).encode()


@pytest.mark.parametrize("first", [0x80, 0x58, 0x56, 0x50, 0x28, 0x88, 0x4B, 0x63, 0x30])
@pytest.mark.parametrize("second", [0x02, 0x03, 0x04, 0x05, 0x2E])
@pytest.mark.parametrize("third", [0, 1])
def test_a_header_of_any_length_is_read(tmp_path: Path, first: int, second: int, third: int) -> None:
    """128 + 512 bytes look like protocol 2; 0x2e is the end of a pickle."""
    path = tmp_path / "a.bin"
    length = first + 256 * second + 65536 * third
    path.write_bytes(safetensors({}, raw=HEADER.ljust(length)))
    assert path.read_bytes()[:3] == bytes([first, second, third])
    assert list(open_checkpoint(str(path)).tensors) == ["w"]


@pytest.mark.parametrize("first", range(256))
def test_a_long_header_of_any_length_is_read_where_a_line_ends_in_the_weights(tmp_path: Path, first: int) -> None:
    """``p`` and ``I`` make one number of the header, ``P`` and ``V`` a text; an unpickler fails or goes on behind it."""
    path = tmp_path / "a.safetensors"
    data = b"\x01\x80\n" + bytes(range(128, 256)) * 4
    header = json.dumps({"w": row((len(data),), 0, len(data), "U8")}).encode().ljust(0x5100 + first)
    path.write_bytes(safetensors({}, data, raw=header))
    assert list(open_checkpoint(str(path)).tensors) == ["w"]


def test_nine_megabytes_of_header_begin_like_a_text_of_2_to_the_62_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(safetensors({}, raw=HEADER.ljust(0x8D0280)))
    assert list(open_checkpoint(str(path)).tensors) == ["w"]


def test_what_an_unpickler_takes_for_a_text_is_looked_at_beyond_the_first_window(tmp_path: Path) -> None:
    """The line of text ends after a megabyte of tensor."""
    path = tmp_path / "a.safetensors"
    for ending, refused in ((b"\n0cos\nsystem\n.", True), (b"\n0cos\nsystem..", False)):
        data = bytes(1 << 20) + ending
        header = {"w": row((len(data),), 0, len(data), "U8")}
        path.write_bytes(safetensors({}, data, raw=json.dumps(header).encode().ljust(0x156)))
        with ByteSource(str(path)) as source:
            found = ""
            try:
                refuse_two_formats(source, source.read(0, 512), DEFAULT_LIMITS)
            except Exception as error:  # noqa: BLE001 (its code is what is looked at)
                found = getattr(error, "code", repr(error))
        assert found == ("VC464" if refused else "")


def test_a_stream_with_a_zip_archive_behind_it_is_refused(tmp_path: Path) -> None:
    """Torch takes the first, Python's zipfile the second; the same bytes without their end record are only unused."""
    path = tmp_path / "a.pt"
    second = zipped(state())
    for content, refused in ((stream(state()) + second, True), (stream(state()) + second[:-1], False)):
        path.write_bytes(content)
        try:
            open_checkpoint(str(path))
            code = ""
        except UnreadableCheckpoint as error:
            code = error.code
        assert code == ("VC464" if refused else "")


def test_the_payload_of_the_first_hostile_file_runs_when_it_is_unpickled(tmp_path: Path) -> None:
    """The positive control."""
    case = next(two_formats())
    (tmp_path / "a").write_bytes(case.content)
    program = "import pickle; pickle.load(open('a', 'rb'))"
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
    assert (tmp_path / MARKER).exists()


@pytest.mark.torch
def test_safetensors_writes_such_headers_and_reads_the_same(tmp_path: Path) -> None:
    """Case 04 of the collection: six small layers whose header has 640 bytes, and a note that makes it 66,176."""
    import torch
    from safetensors import safe_open
    from safetensors.torch import save_file

    plain, noted = tmp_path / "head.safetensors", tmp_path / "noted.safetensors"
    tensors = {f"{'fc' * 21}{index}.weight": torch.full((2, 2), float(index + 1)) for index in range(6)}
    save_file(tensors, plain)
    assert plain.read_bytes()[:2] == b"\x80\x02"
    save_file(tensors, noted, metadata={"n": ""})
    (shortest,) = struct.unpack("<Q", noted.read_bytes()[:8])
    save_file(tensors, noted, metadata={"n": "x" * (0x10280 - shortest)})
    assert noted.read_bytes()[:3] == b"\x80\x02\x01"
    for path in (plain, noted):
        with safe_open(path, "pt") as file:
            assert list(file.keys()) == sorted(open_checkpoint(str(path)).tensors)

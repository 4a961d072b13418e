"""A zip that we write is read alike by Python, by us, and by torch; entries are aligned; beyond 4 GiB it is zip64."""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from viscy_compat.checkpoint.byte_source import ByteSource
from viscy_compat.checkpoint.limits import DEFAULT_LIMITS
from viscy_compat.checkpoint.zip_archive import ZipArchive, start_of
from viscy_compat.checkpoint.zip_writer import ALIGNMENT, ZipWriter
from viscy_compat.rewrite.output import Output, open_output

if TYPE_CHECKING:
    import pytest


def written(path: Path, entries: dict[str, bytes], *, known_crc: bool) -> None:
    with open_output(str(path), "overwrite") as output:
        writer = ZipWriter(output)
        for number, (name, data) in enumerate(entries.items()):
            output.write_at(writer.reserve(name, len(data), crc=zlib.crc32(data) if known_crc else None), data)
            if not known_crc:
                writer.state_crc(number, zlib.crc32(data))
        writer.finish()
        output.commit()


@given(st.dictionaries(st.from_regex(r"[a-z\u00e9]{1,9}(/[a-z]{1,3})?", fullmatch=True), st.binary()), st.booleans())
def test_python_reads_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, entries: dict[str, bytes], known_crc: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.zip"
    written(path, entries, known_crc=known_crc)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == entries
        assert archive.namelist() == list(entries)


def test_our_strict_reader_agrees_and_every_entry_is_aligned(tmp_path: Path) -> None:
    entries = {f"archive/{name}": bytes(range(size)) for size, name in enumerate(["a", "long" * 30, "data/0", "e"])}
    written(tmp_path / "a.zip", entries, known_crc=False)
    with ByteSource(str(tmp_path / "a.zip")) as source:
        archive = ZipArchive(source, DEFAULT_LIMITS)
        assert {name: archive.read(name, 1000) for name in archive.entries} == entries
        assert all(start_of(source, entry) % ALIGNMENT == 0 for entry in archive.entries.values())


def test_more_than_4_gib_in_an_entry_and_before_one(tmp_path: Path) -> None:
    size = (1 << 32) + 12_345
    output = Output(str(tmp_path / "large.zip"), "refuse", ())
    output.begin()
    writer = ZipWriter(output)
    writer.reserve("archive/data/0", size, crc=0)  # room that nobody fills is a hole, which costs nothing
    output.write_at(writer.reserve("archive/data/1", 5, crc=zlib.crc32(b"after")), b"after")
    writer.finish()
    output.commit()
    output.close()
    with zipfile.ZipFile(tmp_path / "large.zip") as archive:
        assert [info.file_size for info in archive.infolist()] == [size, 5]
        assert archive.read("archive/data/1") == b"after"
    with ByteSource(str(tmp_path / "large.zip")) as source:
        entries = ZipArchive(source, DEFAULT_LIMITS).entries
        assert entries["archive/data/0"].nbytes == size
        assert start_of(source, entries["archive/data/1"]) > 1 << 32
        assert start_of(source, entries["archive/data/1"]) % ALIGNMENT == 0


def test_a_zip64_end_is_always_written(tmp_path: Path) -> None:
    written(tmp_path / "a.zip", {"a": b"b"}, known_crc=False)
    data = (tmp_path / "a.zip").read_bytes()
    assert data[-98:-94] == b"PK\x06\x06"
    assert struct.unpack("<Q", data[-98 + 32 : -98 + 40]) == (1,)

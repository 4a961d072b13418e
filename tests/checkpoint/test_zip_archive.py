"""The directory of an archive: what is unpacked in one go is what the look at each entry gives, and refuses what it refuses."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from viscy_compat.checkpoint import zip_archive
from viscy_compat.checkpoint.byte_source import ByteSource
from viscy_compat.checkpoint.facts import ZipEntry
from viscy_compat.checkpoint.limits import DEFAULT_LIMITS
from viscy_compat.errors import UnreadableCheckpoint

_ODD_NAMES = ("a//b", "../x", "a/./b", "a/..", "/a", "", ".", "a\\b", "a\nb", "folder/", "é", ".hidden", "a/.b/c..d")


def _archive(names: list[str], method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name in names:
            # zipfile itself would put another name in the place of an odd one
            entry = zipfile.ZipInfo("x")
            entry.filename = name
            archive.writestr(entry, b"abcd", method)
    return file.getvalue()


def _directory_of(data: bytes, place: Path) -> dict[str, ZipEntry] | str:
    place.write_bytes(data)
    try:
        with ByteSource(str(place)) as source:
            return zip_archive.ZipArchive(source, DEFAULT_LIMITS).entries
    except UnreadableCheckpoint as error:
        return f"{error.code} {error.message}"


def _one_by_one(data: bytes, place: Path) -> dict[str, ZipEntry] | str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zip_archive, "_plain_rows", lambda _: None)
        return _directory_of(data, place)


def _is_plain(data: bytes) -> bool:
    return zip_archive._plain_rows(data[data.index(b"PK\x01\x02") : data.index(b"PK\x05\x06")]) is not None


@pytest.mark.filterwarnings("ignore:Duplicate name")
@given(
    names=st.lists(
        st.sampled_from(("archive/data.pkl", "archive/data/7", "archive/data/77", "archive/.data/id", *_ODD_NAMES)),
        min_size=1,
        max_size=6,
    ),
    change=st.none() | st.tuples(st.integers(0, 400), st.integers(0, 255)),
)
@example(names=["archive/data.pkl", "archive/data/7", "archive/data/77"], change=None)
def test_a_directory_is_the_same_unpacked_in_one_go_or_entry_by_entry(
    names: list[str], change: tuple[int, int] | None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    data, place = _archive(names), tmp_path_factory.getbasetemp() / "directory.zip"
    if change is not None:
        start = data.index(b"PK\x01\x02")
        at = start + change[0] % (len(data) - start)
        data = data[:at] + bytes((change[1],)) + data[at + 1 :]
    assert _directory_of(data, place) == _one_by_one(data, place)


def test_names_as_torch_has_them_are_unpacked_in_one_go(tmp_path: Path) -> None:
    names = [
        "a/data.pkl",
        "a/.format_version",
        "a/byteorder",
        *(f"a/data/{number}" for number in range(120)),
        "a/.data/id",
    ]
    data = _archive(names)
    assert _is_plain(data)
    entries = _directory_of(data, tmp_path / "a.zip")
    assert isinstance(entries, dict)
    assert list(entries) == names


@pytest.mark.parametrize("name", [name for name in _ODD_NAMES if name not in (".hidden", "a/.b/c..d", "a\nb")])
def test_an_odd_name_needs_a_second_look(name: str) -> None:
    assert not _is_plain(_archive(["a/data.pkl", name]))


def test_a_packed_entry_needs_a_second_look() -> None:
    assert not _is_plain(_archive(["a/data.pkl"], zipfile.ZIP_DEFLATED))


def test_an_entry_ends_before_the_one_that_lies_behind_it_in_whatever_order_they_are_listed(tmp_path: Path) -> None:
    data = _archive(["archive/data.pkl", "archive/data/0", "archive/data/1"])
    first, end = data.index(b"PK\x01\x02"), data.index(b"PK\x05\x06")
    rows = [b"PK\x01\x02" + row for row in data[first:end].split(b"PK\x01\x02")[1:]]
    turned = data[:first] + rows[1] + rows[2] + rows[0] + data[end:]
    as_it_lies, listed = _directory_of(data, tmp_path / "a"), _directory_of(turned, tmp_path / "b")
    assert list(listed) == ["archive/data/0", "archive/data/1", "archive/data.pkl"]
    assert listed == as_it_lies


def test_an_archive_may_have_no_entries(tmp_path: Path) -> None:
    assert _directory_of(_archive([]), tmp_path / "empty.zip") == {}

"""What `check` does not look at is found by `check --thorough` and by `remap`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.assembly import FLOATS, archive, mapping, pickled, records, storage, tensor
from viscy_compat.cli import main

SIZE = 40_000


def honest() -> bytes:
    """A file that is larger than what is read at once, so that the headers in its middle are not seen."""
    elements = SIZE // 4
    entries = {
        f"l.{index}.weight": tensor((elements,), (1,), of=storage(str(index), FLOATS, elements)) for index in range(9)
    }
    return archive(records(pickled(mapping(entries)), {str(index): b"\1\2\3\4" * elements for index in range(9)}))


def codes(path: Path, capsys: pytest.CaptureFixture[str], *flags: str) -> set[str]:
    main(["check", str(path), "--format", "json", *flags])
    result = json.loads(capsys.readouterr().out)["results"][0]
    return {finding["code"] for finding in result["findings"]}


def with_local_name(content: bytes, name: bytes, other: bytes) -> bytes:
    """Change a name where it first stands: in the local header."""
    return content.replace(name, other, 1)


def test_an_honest_file_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.pt").write_bytes(honest())
    assert codes(tmp_path / "a.pt", capsys, "--thorough") == codes(tmp_path / "a.pt", capsys)


def test_a_local_header_that_lies_in_the_middle_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.pt").write_bytes(with_local_name(honest(), b"archive/data/4", b"archive/data/X"))
    assert "VC410" not in codes(tmp_path / "a.pt", capsys)
    assert codes(tmp_path / "a.pt", capsys, "--thorough") == {"VC410"}


def test_a_flipped_bit_of_a_tensor_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = bytearray(honest())
    content[4 * SIZE] ^= 1
    (tmp_path / "a.pt").write_bytes(content)
    assert "VC414" not in codes(tmp_path / "a.pt", capsys)
    assert codes(tmp_path / "a.pt", capsys, "--thorough") == {"VC414"}


@pytest.mark.parametrize("place", [b"archive/data.pkl", b"archive/data/8"])
def test_headers_that_are_read_along_are_compared_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], place: bytes
) -> None:
    lie = with_local_name(honest(), place, place[:-1] + b"X")
    (tmp_path / "a.pt").write_bytes(lie)
    assert codes(tmp_path / "a.pt", capsys) == {"VC410"}

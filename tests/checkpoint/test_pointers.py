"""What stands in the place of a checkpoint is called by its name, with what leads to the checkpoint; nothing else is."""

from __future__ import annotations

import gzip
import io
import lzma
import plistlib
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from viscy_compat.checkpoint import open_checkpoint
from viscy_compat.errors import UnreadableCheckpoint

DVC = b"outs:\n- md5: 22a1a2931c8370d3aeedd7183606fd7f\n  size: 14445097\n  hash: md5\n  path: model.ckpt\n"
LINK = bytes.fromhex("4c0000000114020000000000c000000000000046") + bytes(56)
ICLOUD = plistlib.dumps({"NSURLNameKey": "a b.ckpt", "NSURLFileSizeKey": 9}, fmt=plistlib.FMT_BINARY)
WEBLOC = plistlib.dumps({"URL": "https://h/x.ckpt"})
SCAN = b"<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title></head></html>"
QUOTA = b"<!DOCTYPE html><html><head><title>Google Drive - Quota exceeded</title></head></html>"
LOGIN = (
    b"<html><head><TITLE lang='en'>Sign in</TITLE></head><form><input type='x'><input type=\"password\"></form></html>"
)


def refused(path: Path, data: bytes) -> UnreadableCheckpoint:
    path.write_bytes(data)
    with pytest.raises(UnreadableCheckpoint) as caught:
        open_checkpoint(str(path))
    assert caught.value.code == "VC406"
    return caught.value


@pytest.mark.parametrize(
    ("name", "data", "what", "advice"),
    [
        ("a.ckpt.dvc", DVC, "a DVC pointer, not the file it stands for", "dvc pull"),
        ("a.ckpt", DVC, "a DVC pointer, not the file it stands for", "dvc pull"),
        (
            ".a b.ckpt.icloud",
            ICLOUD,
            "a placeholder of iCloud: the file is not on this machine",
            "brctl download 'a b.ckpt'",
        ),
        ("a.lnk", LINK, "a Windows shortcut, not the file it leads to", "it leads to"),
        ("a.url", b"[InternetShortcut]\r\nURL=https://h/a.ckpt\r\n", "a shortcut to an address", "it leads to"),
        ("a.desktop", b"[Desktop Entry]\nType=Link\n", "a shortcut of a Linux desktop", "it leads to"),
        ("a.webloc", WEBLOC, "a shortcut of macOS to an address", "it leads to"),
        ("a.ckpt", b"book\0\0\0\0mark" + bytes(40), "an alias of macOS", "it leads to"),
        ("a.ckpt", SCAN, "a web page, not the file behind it ('Google Drive - Virus scan warning')", "gdown"),
        ("a.ckpt", QUOTA, "a web page, not the file behind it ('Google Drive - Quota exceeded')", "tomorrow"),
        ("a.ckpt", LOGIN, "a web page, not the file behind it ('Sign in': it asks to sign in)", "token"),
        ("a.ckpt", b"404: Not Found", "did not give the file ('404: Not Found')", "your access"),
        ("a.ckpt", b"Entry not found", "did not give the file ('Entry not found')", "your access"),
        (
            "a.ckpt",
            b'{"error": "Repo\\u001b not found"}',
            "did not give the file ('Repo\\\\x1b not found')",
            "your access",
        ),
        (
            "a.ckpt",
            b'{"detail": "No credentials", "status": 401}',
            "did not give the file ('No credentials')",
            "your access",
        ),
        ("a.ckpt", b'{"error": {"message": "gone", "code": 404}}', "did not give the file ('gone')", "your access"),
    ],
)
def test_what_leads_to_a_file_is_called_by_its_name(
    tmp_path: Path, name: str, data: bytes, what: str, advice: str
) -> None:
    error = refused(tmp_path / name, data)
    assert what in error.message
    assert advice in error.fix


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b'{"message": "x", "lr": 0.1}', "this is a JSON file"),
        (b'{"error": "x"' + b" " * 5000 + b"}", "this is a JSON file"),
        (b'{"status": 404}', "this is a JSON file"),
        (b'{"error": ', "this is a JSON file"),
        (b"outs: 3\n", "this is a text file, which begins with 'outs: 3'"),
        (b"4040 runs\n", "this is a text file, which begins with '4040 runs'"),
        (b"<html><body>no title</body></html>", "this is a web page, not the file behind it"),
        (b"<html><title></title></html>", "this is a web page, not the file behind it"),
        (b"bplist00" + bytes(40), "no checkpoint format begins with"),
    ],
)
def test_what_only_looks_like_one_is_not(tmp_path: Path, data: bytes, what: str) -> None:
    path = tmp_path / "a.ckpt"
    path.write_bytes(data)
    with pytest.raises(UnreadableCheckpoint) as caught:
        open_checkpoint(str(path))
    assert caught.value.message.startswith(what)


def test_a_link_of_git_annex_to_nothing_is_called_one(tmp_path: Path) -> None:
    link = tmp_path / "a b.ckpt"
    link.symlink_to(".git/annex/objects/Kp/8w/SHA256E-s3--f0.ckpt/SHA256E-s3--f0.ckpt")
    with pytest.raises(UnreadableCheckpoint) as caught:
        open_checkpoint(str(link))
    assert "git-annex link" in caught.value.message
    assert caught.value.fix == f"fetch the file: git annex get '{link}'"


@pytest.mark.parametrize(
    ("name", "start", "whose"),
    [
        ("model.xml", b'<?xml version="1.0"?>\n<net name="m" version="11">', "OpenVINO"),
        ("model.param", b"7767517\n2 1\n", "ncnn"),
    ],
)
def test_numbers_are_those_of_the_network_beside_them(tmp_path: Path, name: str, start: bytes, whose: str) -> None:
    numbers = tmp_path / "model.bin"
    numbers.write_bytes(bytes.fromhex("0ad7233c") * 64)
    (tmp_path / name).write_bytes(b"<other/>")
    with pytest.raises(UnreadableCheckpoint, match="begins with the bytes"):
        open_checkpoint(str(numbers))
    (tmp_path / name).write_bytes(start)
    error = refused(numbers, numbers.read_bytes())
    assert whose in error.message
    assert name in error.message


@pytest.mark.parametrize("name", ["model.tar.gz", "b c.bento", "model.tar.xz", "-x.tgz"])
def test_a_packed_tar_archive_is_unpacked_by_the_line_that_is_printed(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("model.pth"))
    pack = lzma.compress if name.endswith("xz") else gzip.compress
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(pack(inner.getvalue()))
    with pytest.raises(UnreadableCheckpoint, match="a tar archive, packed with") as caught:
        open_checkpoint(name)
    line, _, check = caught.value.fix.partition(": ")[2].rpartition(" && ")
    subprocess.run(["bash", "-c", line], check=True)
    assert check.startswith("viscy-compat check ")
    assert list(tmp_path.glob("*.unpacked/model.pth"))


def test_an_archive_of_torchserve_is_called_one(tmp_path: Path) -> None:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("MAR-INF/MANIFEST.json", "{}")
        archive.writestr("net.pt", b"PK")
    error = refused(tmp_path / "net.mar", held.getvalue())
    assert error.message == "this is a TorchServe archive"
    assert "unzip" in error.fix

"""What is below an address is listed, or one line says why not."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.servers import deaf_port
from viscy_compat.cli import main


@pytest.mark.parametrize(
    "address", ["hf://org/repo/", "hf://../x/", "hf://", "s3://bucket/runs/", "S3://me:hunter2@bucket/runs/"]
)
def test_what_cannot_be_listed_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    hub, s3fs = pytest.importorskip("huggingface_hub"), pytest.importorskip("s3fs")
    hub.HfFileSystem.clear_instance_cache()
    s3fs.S3FileSystem.clear_instance_cache()
    monkeypatch.setenv("VISCY_COMPAT_CACHE", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    with deaf_port() as port:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{port}")
        assert main(["audit", address]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "it cannot be listed" in said
    assert "hunter2" not in said

"""Files behind addresses: few requests of real servers, one line for each way in which one fails, no secrets printed."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, NoReturn

import pytest

from support.assembly import FLOATS, archive, mapping, pickled, records, state, storage, tensor, zipped
from support.servers import NGINX, Answer, deaf_port, give, nginx, requests_in, serving
from viscy_compat.checkpoint.locations import SCHEMES, beside_address, public_name, without_secrets
from viscy_compat.cli import main

pytest.importorskip("aiohttp")
needs_nginx = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
SMALL = zipped(state())


def large(count: int = 900, size: int = 1_600) -> bytes:
    """A torch file with a pickle of about 100 kB."""
    elements = size // 4
    entries = {
        f"encoder.stages.{index}.weight": tensor((elements,), (1,), of=storage(str(index), FLOATS, elements))
        for index in range(count)
    }
    numbers = {str(index): b"\1\2\3\4" * elements for index in range(count)}
    return archive(records(pickled(mapping(entries)), numbers))


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Nginx over a folder with a small file, a large one, a sparse one of 3 GB and an empty one."""
    folder, place = tmp_path_factory.mktemp("web"), tmp_path_factory.mktemp("nginx")
    (folder / "small.ckpt").write_bytes(SMALL)
    (folder / "large.ckpt").write_bytes(large())
    (folder / "empty.ckpt").write_bytes(b"")
    _write_huge(folder / "huge.ckpt")
    with nginx(folder, place) as (address, log):
        yield address, log


def _write_huge(path: Path) -> None:
    """Write a sparse torch file of 3 GB: as `large`, with one storage more before the directory."""
    import struct
    import zlib

    content, hole = large(), 3_000_000_000
    end = content.index(b"PK\x01\x02")
    place = content.rindex(b"PK\x06\x06")
    name = b"archive/data/hole"
    local = struct.pack("<4sHHHHHIIIHH", b"PK\x03\x04", 20, 0x0808, 0, 0, 0, 0, 0, 0, len(name), 0) + name
    crc = 0
    for _ in range(3000):
        crc = zlib.crc32(bytes(1_000_000), crc)
    row = struct.pack(
        "<4sHHHHHHIIIHHHHHII", b"PK\x01\x02", 20, 20, 0x0808, 0, 0, 0, crc, hole, hole, len(name), 0, 0, 0, 0, 0, end
    )
    directory = content[end:place] + row + name
    start, count = end + len(local) + hole, content[end:place].count(b"PK\x01\x02") + 1
    with path.open("wb") as file:
        file.write(content[:end] + local)
        file.seek(start)
        file.write(directory)
        file.write(
            struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 20, 45, 0, 0, count, count, len(directory), start)
            + struct.pack("<4sIQI", b"PK\x06\x07", 0, start + len(directory), 1)
            + struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, count, count, len(directory), start, 0)
        )


def check(capsys: pytest.CaptureFixture[str], address: str, *flags: str) -> dict[str, object]:
    """What `check` says of one address, as JSON."""
    main(["check", address, "--format", "json", *flags])
    result = json.loads(capsys.readouterr().out)["results"][0]
    assert isinstance(result, dict)
    return result


def code_of(result: dict[str, Any]) -> str:
    (finding,) = result["findings"]
    return str(finding["code"])


# --- how much is fetched ----------------------------------------------------------------------------------------------


@needs_nginx
def test_a_file_of_three_gigabytes_takes_at_most_five_requests_and_300_kb(
    web: tuple[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    address, log = web
    result = check(capsys, f"{address}/huge.ckpt?it")
    assert (result["verdict"], result["tensors"]) == ("unknown", 900)
    rows = requests_in(log, address, "/huge.ckpt?it")
    assert {row[0] for row in rows} == {"206"}
    assert 1 < len(rows) <= 5
    assert sum(int(row[1]) for row in rows) <= 300_000


@needs_nginx
def test_weights_of_safetensors_take_four_requests(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from support.layouts import hollow, layout_of

    folder, place = tmp_path / "web", tmp_path / "nginx"
    folder.mkdir()
    place.mkdir()
    layout = layout_of("ContrastiveEncoder", backbone="convnext_tiny", in_channels=2, in_stack_depth=15)
    hollow(folder / "large.safetensors", layout)
    with nginx(folder, place) as (there, log):
        assert check(capsys, f"{there}/large.safetensors")["verdict"] == "compatible"
        rows = requests_in(log, there, "/large.safetensors")
    # the head, the end, the rest of the header, and the values of one tensor: nothing is asked for twice
    assert len(rows) == 4
    assert sum(int(row[1]) for row in rows) <= 300_000


@needs_nginx
def test_a_small_file_takes_one_request(web: tuple[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    address, log = web
    assert check(capsys, f"{address}/small.ckpt?one")["tensors"] == 1
    assert len(requests_in(log, address, "/small.ckpt?one")) == 1


@needs_nginx
@pytest.mark.parametrize("way", ["moved", "twice"])
def test_redirections_are_followed_once(web: tuple[str, Path], capsys: pytest.CaptureFixture[str], way: str) -> None:
    address, log = web
    assert check(capsys, f"{address}/{way}/large.ckpt?{way}")["tensors"] == 900
    assert len(requests_in(log, address, f"/{way}/large.ckpt?{way}")) == 1


# --- inspect and remap ------------------------------------------------------------------------------------------------


@needs_nginx
def test_inspect_and_remap_read_what_lies_behind_an_address(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from support.layouts import hollow
    from viscy_compat.architectures import find
    from viscy_compat.architectures.architecture import complete

    encoder, folder = find("ContrastiveEncoder"), tmp_path / "nginx"
    folder.mkdir()
    old = encoder.generations[0]
    config = complete(encoder, (old.cases or encoder.cases)[0].config)
    hollow(tmp_path / "old.safetensors", old.layout(config))
    with nginx(tmp_path, folder) as (there, _):
        assert main(["inspect", f"{there}/old.safetensors", "--format", "json"]) == 0
        assert json.loads(capsys.readouterr().out)["results"][0]["file"] == f"{there}/old.safetensors"
        stride = ",".join(map(str, config["stem_stride"]))
        words = ["--set", f"stem_stride={stride}", "--set", f"in_stack_depth={config['in_stack_depth']}"]
        for source, out in ((f"{there}/old.safetensors?token=1", "far"), (str(tmp_path / "old.safetensors"), "near")):
            assert main(["remap", source, "-o", str(tmp_path / f"{out}.safetensors"), *words]) == 0, capsys.readouterr()
        assert "token" not in capsys.readouterr().out
        assert main(["remap", f"{there}/old.safetensors", "--in-place"]) == 2
        assert "only read" in capsys.readouterr().err
    far, near = (tmp_path / f"{name}.safetensors" for name in ("far", "near"))
    assert len(far.read_bytes()) > 1_000
    tensors = [path.read_bytes()[8 + int.from_bytes(path.read_bytes()[:8], "little") :] for path in (far, near)]
    assert tensors[0] == tensors[1]


@needs_nginx
def test_shards_are_read_beside_their_index(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from support.assembly import row, safetensors

    folder, place = tmp_path / "web", tmp_path / "nginx"
    folder.mkdir()
    place.mkdir()
    (folder / "1.safetensors").write_bytes(safetensors({"w": row()}))
    index = {"metadata": {}, "weight_map": {"w": "1.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with nginx(folder, place) as (there, _):
        assert check(capsys, f"{there}/model.safetensors.index.json")["tensors"] == 1


# --- each fault is one line -------------------------------------------------------------------------------------------


@needs_nginx
@pytest.mark.parametrize(
    ("path", "code", "said"),
    [
        ("whole/large.ckpt", "VC363", "gives no parts of files"),
        ("nowhere.ckpt", "VC362", "refuses it (404 Not Found)"),
        ("expired/a.ckpt", "VC362", "refuses it (403 Forbidden)"),
        ("gone/a.ckpt", "VC362", "refuses it (410 Gone)"),
        ("private/a.ckpt", "VC362", "refuses it (401 Unauthorized)"),
        ("broken/a.ckpt", "VC361", "the server is busy"),
        ("round/", "VC361", "more than 5 redirections"),
        ("page/a.ckpt", "VC406", "a web page"),
    ],
)
def test_what_a_server_refuses_is_one_line(
    web: tuple[str, Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    code: str,
    said: str,
) -> None:
    monkeypatch.setattr("viscy_compat.checkpoint.transports._PAUSE", 0.0)
    assert code in ("VC361", "VC362", "VC363", "VC406")
    result = check(capsys, f"{web[0]}/{path}")
    assert (result["verdict"], code_of(result)) == ("unreadable", code)
    assert said.lower() in result["findings"][0]["message"].lower()  # type: ignore[index]


@needs_nginx
def test_a_server_without_ranges_may_give_a_small_file_as_a_whole(
    web: tuple[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(capsys, f"{web[0]}/whole/small.ckpt")["tensors"] == 1


def test_nobody_at_the_address_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with deaf_port() as port:
        assert code_of(check(capsys, f"http://127.0.0.1:{port}/a.ckpt")) == "VC361"

    def unknown(host: str, *_: object, **__: object) -> NoReturn:
        raise socket.gaierror(socket.EAI_NONAME, f"{host}: Name or service not known")

    # a resolver that has no network may think for as long as it likes
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert code_of(check(capsys, "http://no-host.invalid/a.ckpt")) == "VC361"


CONTENT = large()
SECRET = "hunter2"


def honest(handler: BaseHTTPRequestHandler, first: int, last: int, number: int) -> None:
    give(handler, CONTENT, first, last)


def changing(handler: BaseHTTPRequestHandler, first: int, last: int, number: int) -> None:
    give(handler, CONTENT, first, last, tag=f'"{number}"')


def refusing_the_old(handler: BaseHTTPRequestHandler, first: int, last: int, number: int) -> None:
    if handler.headers.get("If-Match") in (None, '"new"'):
        give(handler, CONTENT, first, last, tag='"old"')
    else:
        handler.send_response(412)
        handler.send_header("Content-Length", "0")
        handler.end_headers()


def growing(handler: BaseHTTPRequestHandler, first: int, last: int, number: int) -> None:
    give(handler, CONTENT + bytes(number), first, last, tag="")


def elsewhere(handler: BaseHTTPRequestHandler, first: int, last: int, number: int) -> None:
    give(handler, CONTENT, first, last, range=f"bytes 7-{7 + last - first}/{len(CONTENT)}")


def silent_about_the_range(handler: BaseHTTPRequestHandler, first: int, last: int, number: int) -> None:
    give(handler, CONTENT, first, last, range="bytes */*")


def shorter(handler: BaseHTTPRequestHandler, first: int, last: int, number: int) -> None:
    give(handler, CONTENT, first, last, body=CONTENT[first : last - 99], length=last - first + 1)


def shorter_and_says_so(handler: BaseHTTPRequestHandler, first: int, last: int, number: int) -> None:
    give(handler, CONTENT, first, last, body=CONTENT[first : last - 99])


def longer(handler: BaseHTTPRequestHandler, first: int, last: int, number: int) -> None:
    give(handler, CONTENT, first, last, body=CONTENT[first : last + 500])


def packed(handler: BaseHTTPRequestHandler, first: int, last: int, number: int) -> None:
    import gzip

    give(handler, CONTENT, first, last, body=gzip.compress(CONTENT[first : last + 1]), encoding="gzip")


def slow(handler: BaseHTTPRequestHandler, first: int, last: int, number: int) -> None:
    handler.send_response(206)
    handler.send_header("Content-Range", f"bytes {first}-{last}/{len(CONTENT)}")
    handler.send_header("Content-Length", str(last - first + 1))
    handler.end_headers()
    # a minute's worth: whoever waits for it to end is told another fault
    for byte in CONTENT[first : first + 300]:
        try:
            handler.wfile.write(bytes([byte]))
        except OSError:
            return
        time.sleep(0.2)


def beyond_its_own_end(handler: BaseHTTPRequestHandler, first: int, last: int, number: int) -> None:
    give(handler, CONTENT, first, last, range=f"bytes {first}-{last}/{last}")


def backwards(handler: BaseHTTPRequestHandler, first: int, last: int, number: int) -> None:
    give(handler, CONTENT, first, last, range=f"bytes {last}-{first}/{len(CONTENT)}")


def to_another_kind_of_address(handler: BaseHTTPRequestHandler, first: int, last: int, number: int) -> None:
    handler.send_response(302)
    handler.send_header("Location", f"file:///{SECRET}")
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def babbling(handler: BaseHTTPRequestHandler, first: int, last: int, number: int) -> None:
    handler.wfile.write(b"SSH-2.0\r\n" * 9)
    handler.close_connection = True


def mute(handler: BaseHTTPRequestHandler, first: int, last: int, number: int) -> None:
    handler.connection.settimeout(60)
    with suppress(OSError):
        # ends when the other side hangs up
        handler.connection.recv(1)


FAULTS = [
    (changing, "VC402"),
    (refusing_the_old, "VC402"),
    (growing, "VC402"),
    (elsewhere, "VC365"),
    (silent_about_the_range, "VC365"),
    (shorter, "VC361"),
    (shorter_and_says_so, "VC365"),
    (beyond_its_own_end, "VC365"),
    (backwards, "VC365"),
    (to_another_kind_of_address, "VC361"),
    (babbling, "VC361"),
    (longer, "VC365"),
    (packed, "VC365"),
    (slow, "VC364"),
    (mute, "VC364"),
]


@pytest.mark.parametrize(("answer", "code"), FAULTS, ids=[answer.__name__ for answer, _ in FAULTS])
def test_a_server_that_lies_changes_or_waits_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, answer: Answer, code: str
) -> None:
    assert code in ("VC361", "VC364", "VC365", "VC402")
    if answer in (slow, mute):
        monkeypatch.setenv("VISCY_COMPAT_TIMEOUT", "1")
    with serving(answer) as address:
        result = check(capsys, f"{address}/a.ckpt")
    monkeypatch.delenv("VISCY_COMPAT_TIMEOUT", raising=False)
    assert (result["verdict"], code_of(result)) == ("unreadable", code)
    # words for people: no name of a class, and no number that cannot be
    assert not re.search(r"[a-z][A-Z]|-\d", str(result["findings"][0]["message"]).replace("VISCY", ""))  # type: ignore[index]
    with serving(honest) as address:
        assert check(capsys, f"{address}/a.ckpt")["tensors"] == 900


def test_an_address_that_expires_behind_a_redirection_is_asked_for_again(capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[str] = []

    def expiring(handler: BaseHTTPRequestHandler, first: int, last: int, number: int) -> None:
        seen.append(handler.path)
        if handler.path == "/a.ckpt":
            handler.send_response(302)
            handler.send_header("Location", f"/signed-{len(seen)}.ckpt")
            handler.send_header("Content-Length", "0")
            handler.end_headers()
        elif seen.count(handler.path) > 1:
            handler.send_response(403)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
        else:
            give(handler, CONTENT, first, last)

    with serving(expiring) as address:
        assert check(capsys, f"{address}/a.ckpt")["tensors"] == 900
    assert seen.count("/a.ckpt") >= 2


# --- secrets ----------------------------------------------------------------------------------------------------------


@pytest.mark.uncounted
@needs_nginx
@pytest.mark.parametrize("path", ["large.ckpt", "nowhere.ckpt", "whole/large.ckpt", "expired/a.ckpt"])
@pytest.mark.parametrize("command", ["check", "inspect", "audit", "remap"])
def test_no_credential_is_ever_printed(web: tuple[str, Path], tmp_path: Path, command: str, path: str) -> None:
    address = f"{web[0].replace('http://', f'http://me:{SECRET}@')}/{path}?X-Amz-Signature={SECRET}#{SECRET}"
    words = [sys.executable, "-m", "viscy_compat", command, address, "-v", "--output", f"json:{tmp_path}/report.json"]
    done = subprocess.run(
        words, capture_output=True, text=True, env={**os.environ, "VISCY_COMPAT_CACHE": str(tmp_path / "cache")}
    )
    written = [file.read_text() for file in tmp_path.rglob("*") if file.is_file()]
    assert path in done.stdout + done.stderr
    assert not [text for text in (done.stdout, done.stderr, *written) if SECRET in text]


@pytest.mark.parametrize(
    "address", [f"ftp://me:{SECRET}@host/a.ckpt?x={SECRET}", f"HTTPS://me:{SECRET}@127.0.0.1:1/a.ckpt"]
)
@pytest.mark.parametrize(
    "line", ["check {}", "inspect {}", "audit {}", "remap {}", "diff {} nowhere", "check nowhere --against {}"]
)
def test_no_credential_of_an_address_of_any_kind_is_printed(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    line: str,
    address: str,
) -> None:
    monkeypatch.setenv("VISCY_COMPAT_CACHE", str(tmp_path))
    assert main(line.format(address).split()) == 2
    done = capsys.readouterr()
    assert "a.ckpt" in done.out + done.err
    assert SECRET not in done.out + done.err


def test_what_a_server_says_of_a_refusal_is_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    def repeating(handler: BaseHTTPRequestHandler, first: int, last: int, number: int) -> None:
        handler.send_response(403, handler.path)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    with serving(repeating) as address:
        assert main(["check", f"{address}/a.ckpt?{SECRET}"]) == 2
    said = capsys.readouterr().out
    assert "(403 Forbidden)" in said
    assert SECRET not in said


def test_files_that_differ_in_what_is_hidden_alone_are_told_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISCY_COMPAT_CACHE", str(tmp_path))

    def by_number(handler: BaseHTTPRequestHandler, first: int, last: int, number: int) -> None:
        give(handler, SMALL if SECRET in handler.path else CONTENT, first, last)

    with serving(by_number) as address:
        one, other = f"{address}/a.ckpt?id=1", f"{address}/a.ckpt?id={SECRET}"
        for words in (["diff", one, other], ["check", one, "--against", other]):
            assert main(words) == 1
            assert SECRET not in capsys.readouterr().out
        main(["audit", other, one, "--format", "jsonl"])
        rows = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line]
    assert [row["tensors"] for row in rows] == [1, 900]
    assert len({row["file"] for row in rows}) == 2


def test_a_plain_address_is_its_own_behind_one_that_has_a_query_more(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISCY_COMPAT_CACHE", str(tmp_path))

    def by_query(handler: BaseHTTPRequestHandler, first: int, last: int, number: int) -> None:
        give(handler, SMALL if "versionId" in handler.path else CONTENT, first, last)

    with serving(by_query) as address:
        one, plain = f"{address}/b.ckpt?versionId=1", f"{address}/b.ckpt"
        for command in ("check", "inspect", "audit"):
            for words, sizes in (([one, plain], [1, 900]), ([plain, one], [900, 1])):
                main([command, *words, "--format", "jsonl" if command != "inspect" else "json"])
                out = capsys.readouterr().out
                rows = json.loads(out)["results"] if command == "inspect" else map(json.loads, out.splitlines())
                rows = [row for row in rows if "tensors" in row]
                found = [row["tensors"] if isinstance(row["tensors"], int) else len(row["tensors"]) for row in rows]
                assert found == sizes, (command, words)


def test_a_redirection_on_one_host_is_asked_under_the_same_name(capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[tuple[str, bool]] = []

    def private(handler: BaseHTTPRequestHandler, first: int, last: int, number: int) -> None:
        asked.append((handler.path, "Authorization" in handler.headers))
        if handler.path == "/b.ckpt":
            give(handler, CONTENT, first, last)
            return
        handler.send_response(302)
        handler.send_header("Location", "/b.ckpt")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    with serving(private) as address:
        there = address.replace("://", f"://me:{SECRET}@")
        assert check(capsys, f"{there}/a.ckpt")["tensors"] == 900
    assert asked[:2] == [("/a.ckpt", True), ("/b.ckpt", True)]
    assert set(asked[2:]) == {("/b.ckpt", True)}
    assert len(asked) <= 5


def test_shards_are_asked_for_as_their_index_was(capsys: pytest.CaptureFixture[str]) -> None:
    from support.assembly import row, safetensors

    index = json.dumps({"metadata": {}, "weight_map": {"w": "1.safetensors"}}).encode()

    def private(handler: BaseHTTPRequestHandler, first: int, last: int, number: int) -> None:
        if "Authorization" not in handler.headers or not handler.path.endswith("?sig=1"):
            handler.send_error(401)
        else:
            give(handler, index if "index" in handler.path else safetensors({"w": row()}), first, last)

    with serving(private) as address:
        there = address.replace("://", f"://me:{SECRET}@")
        assert check(capsys, f"{there}/model.safetensors.index.json?sig=1")["tensors"] == 1


@pytest.mark.parametrize(
    "address", ["http://a..b/x", f"http://{'a' * 99}/x", "http://[::1", "http://h:port/a", "http://"]
)
def test_what_can_be_no_host_is_one_line(capsys: pytest.CaptureFixture[str], address: str) -> None:
    assert code_of(check(capsys, address)) == "VC361"


def test_names_of_addresses() -> None:
    for scheme in SCHEMES:
        assert without_secrets(f"{scheme}a:b@host/x?y=#z") == f"{scheme}host/x"
        assert without_secrets(f"{scheme.upper()}a:b@host/x?y=#z") == f"{scheme}host/x"
        for secret in ("b/c", "b?c=d", "b#c"):
            assert without_secrets(f"{scheme}a:{secret}@host/x") == f"{scheme}host/x"
    assert without_secrets("https://[::1]:80/a@b") == "https://[::1]:80/a@b"
    assert without_secrets("https://host:80/a@b") == "https://host:80/a@b"
    for path in ("a@b?c#d", "C://me@work/a?b", "./ftp://me@work"):
        assert public_name(path) == path
    assert beside_address("https://host/a/i.json", "b") == "https://host/a/b"


# --- the hub and S3 ---------------------------------------------------------------------------------------------------


def test_a_file_of_the_hub_takes_a_token_to_the_hub_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("huggingface_hub")
    asked: list[tuple[str, str | None]] = []

    def bucket(handler: BaseHTTPRequestHandler, first: int, last: int, number: int) -> None:
        asked.append(("bucket", handler.headers.get("Authorization")))
        give(handler, CONTENT, first, last)

    with serving(bucket) as there:

        def hub(handler: BaseHTTPRequestHandler, first: int, last: int, number: int) -> None:
            asked.append((handler.path, handler.headers.get("Authorization")))
            handler.send_response(302)
            handler.send_header("Location", f"{there}/blob?Signature={SECRET}")
            handler.send_header("Content-Length", "0")
            handler.end_headers()

        with serving(hub) as address:
            monkeypatch.setenv("HF_TOKEN", "hf_" + SECRET)
            template = address + "/{repo_id}/resolve/{revision}/{filename}"
            monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
            result = check(capsys, "hf://org/repo/sub/last.ckpt@v1.2")
    assert (result["file"], result["tensors"]) == ("hf://org/repo/sub/last.ckpt@v1.2", 900)
    assert asked[0] == ("/org/repo/resolve/v1.2/sub/last.ckpt", f"Bearer hf_{SECRET}")
    assert {header for name, header in asked if name == "bucket"} == {None}
    assert len(asked) <= 5
    for other in ("hf://org/repo", "hf://../../a/b", f"hf://me:{SECRET}@a/b/c"):
        result = check(capsys, other)
        assert code_of(result) == "VC362"
        assert SECRET not in str(result)


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """A bucket of moto's server with a large file and an empty one, and credentials for it."""
    pytest.importorskip("s3fs")
    import s3fs

    # file systems are kept by their arguments, and the address of the server is none of them
    s3fs.S3FileSystem.clear_instance_cache()
    server_module = pytest.importorskip("moto.server")
    boto3 = pytest.importorskip("boto3")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1")
    client.create_bucket(Bucket="lab")
    for name, content in (("runs/epoch=10.ckpt", CONTENT), ("runs/epoch=2.ckpt", SMALL), ("empty.ckpt", b"")):
        client.put_object(Bucket="lab", Key=name, Body=content)
    yield client
    server.stop()


def test_an_object_of_s3_is_read_by_ranges(s3: object, capsys: pytest.CaptureFixture[str]) -> None:
    result = check(capsys, "s3://lab/runs/epoch=10.ckpt")
    assert (result["file"], result["tensors"]) == ("s3://lab/runs/epoch=10.ckpt", 900)
    assert code_of(check(capsys, "s3://lab/nowhere.ckpt")) == "VC362"
    assert code_of(check(capsys, "s3://no-such-bucket/a.ckpt")) == "VC362"
    assert code_of(check(capsys, "s3://lab")) == "VC362"
    assert check(capsys, "s3://lab/empty.ckpt")["verdict"] == "unreadable"


def test_a_version_of_an_object_is_the_one_that_is_asked_for(
    s3: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISCY_COMPAT_CACHE", str(tmp_path))
    s3.put_bucket_versioning(Bucket="lab", VersioningConfiguration={"Status": "Enabled"})
    contents = [SMALL, CONTENT]
    old, new = [s3.put_object(Bucket="lab", Key="a#?.ckpt", Body=content)["VersionId"] for content in contents]
    for version, tensors in (("", 900), (f"?versionId={old}", 1), (f"?versionId={new}", 900)):
        result = check(capsys, f"s3://lab/a#?.ckpt{version}")
        assert result["tensors"] == tensors
        assert str(result["file"]).startswith("s3://lab/a#?.ckpt")
    main(["audit", "s3://lab/", "--format", "jsonl"])
    names = [json.loads(line)["file"] for line in capsys.readouterr().out.splitlines() if line]
    assert names[0].startswith("s3://lab/a#?.ckpt")


def test_an_object_that_changes_between_two_requests_is_refused(
    s3: object, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from viscy_compat.checkpoint import transports

    real = transports._S3.piece

    def changing_meanwhile(self: object, start: int, length: int, version: str) -> object:
        if version:
            s3.put_object(Bucket="lab", Key="runs/epoch=10.ckpt", Body=CONTENT + b"x")  # type: ignore[attr-defined]
        return real(self, start, length, version)  # type: ignore[arg-type]

    monkeypatch.setattr(transports._S3, "piece", changing_meanwhile)
    assert code_of(check(capsys, "s3://lab/runs/epoch=10.ckpt")) == "VC402"


def test_an_audit_of_addresses_goes_on_by_their_versions(
    s3: object, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISCY_COMPAT_CACHE", str(tmp_path))

    def audit() -> tuple[list[str], str]:
        main(["audit", "s3://lab/runs/", "--format", "jsonl"])
        done = capsys.readouterr()
        return [json.loads(line)["file"] for line in done.out.splitlines() if line], done.err

    files, said = audit()
    assert files == ["s3://lab/runs/epoch=2.ckpt", "s3://lab/runs/epoch=10.ckpt"]
    assert "known" not in said
    assert "2 known from an earlier run" in audit()[1]
    s3.put_object(Bucket="lab", Key="runs/epoch=2.ckpt", Body=CONTENT)  # type: ignore[attr-defined]
    assert "1 known from an earlier run" in audit()[1]


@pytest.mark.parametrize(
    ("address", "extra"), [("https://host/a", "remote"), ("hf://a/b/c", "hub"), ("s3://a/b", "s3")]
)
def test_without_its_extra_an_address_names_the_line_that_installs_it(
    address: str, extra: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("aiohttp", "fsspec", "huggingface_hub", "s3fs"):
        monkeypatch.setitem(sys.modules, name, None)
    result = check(capsys, address)
    assert code_of(result) == "VC401"
    assert f"pip install 'viscy-compat[{extra}]', or fetch" in result["findings"][0]["fix"]  # type: ignore[index]

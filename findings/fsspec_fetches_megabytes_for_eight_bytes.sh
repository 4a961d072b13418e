#!/bin/sh
# fsspec 2026.9.0 fetches 5 MB over HTTP, and s3fs 2026.9.0 fetches 52 MB from S3, to read the first eight bytes of a file.
#
# Guess that was wrong: a seekable file over byte ranges fetches what is read, and perhaps a few kB beside it, so that looking
# at the header of a checkpoint costs next to nothing.
# Seen: with the default cache each read fetches its bytes and a block more, 5 MiB over HTTP and 50 MiB from S3, also where
# zip:// reads a record of a hundred bytes out of a torch archive. cache_type="none", or cat_file with start and end, fetches
# what was asked for.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet 'fsspec[http]==2026.9.0' s3fs==2026.9.0 aiohttp==3.14.5
cd "$place"
cat > program.py <<'PROGRAM'
import http.server
import io
import threading
import zipfile

import fsspec
from s3fs import S3FileSystem

archive = io.BytesIO()
with zipfile.ZipFile(archive, "w") as writer:
    writer.writestr("best/data.pkl", bytes(100))
    writer.writestr("best/data/0", bytes(64 << 20))
DATA = archive.getvalue()
sizes = []


class Server(http.server.BaseHTTPRequestHandler):
    """Both a web server and as much of S3 as an anonymous read needs."""

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.send_response(200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(DATA)))
        self.end_headers()

    def do_GET(self):
        first, last = (int(number) for number in self.headers["Range"].removeprefix("bytes=").split("-"))
        part = DATA[first : last + 1]
        sizes.append(len(part))
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{first + len(part) - 1}/{len(DATA)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
host = f"http://127.0.0.1:{server.server_port}"


def fetched(read):
    sizes.clear()
    read()
    return sum(sizes)


def first_eight(opened):
    with opened as file:
        assert len(file.read(8)) == 8


bucket = S3FileSystem(anon=True, endpoint_url=host)
web = fsspec.filesystem("http")
found = {
    "http": fetched(lambda: first_eight(fsspec.open(f"{host}/best.ckpt"))),
    "s3": fetched(lambda: first_eight(bucket.open("bucket/best.ckpt"))),
    "zip over http": fetched(lambda: first_eight(fsspec.open(f"zip://best/data.pkl::{host}/best.ckpt"))),
    "http, no cache": fetched(lambda: first_eight(fsspec.open(f"{host}/best.ckpt", cache_type="none"))),
    "http, cat_file": fetched(lambda: web.cat_file(f"{host}/best.ckpt", start=0, end=8)),
}
print(found)
assert found["http"] == (5 << 20) + 8 and found["s3"] == (50 << 20) + 8, found
assert found["zip over http"] > 5 << 20, found
assert found["http, no cache"] == found["http, cat_file"] == 8, found
PROGRAM
"$place/venv/bin/python" program.py

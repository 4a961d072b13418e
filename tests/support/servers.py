"""Real servers on the loopback: nginx, moto's S3, a hub, and one that lies."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import AF_INET, SOCK_STREAM, socket
from threading import Thread

NGINX = shutil.which("nginx") or next((place for place in ("/usr/sbin/nginx",) if Path(place).exists()), None)


def free_port() -> int:
    """Return a port that was free a moment ago; for servers that can be told nothing but a number."""
    with socket(AF_INET, SOCK_STREAM) as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def begins_to_listen(server: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until somebody listens at a port: whether that is before the server has ended."""
    while server.poll() is None:
        with socket(AF_INET, SOCK_STREAM) as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return True
        time.sleep(0.02)
    return False


@contextmanager
def deaf_port() -> Iterator[int]:
    """Hold a port at which nobody listens, so that nobody else can begin to."""
    with socket(AF_INET, SOCK_STREAM) as taken:
        taken.bind(("127.0.0.1", 0))
        yield int(taken.getsockname()[1])


@contextmanager
def nginx(folder: Path, place: Path) -> Iterator[tuple[str, Path]]:
    """Serve a folder with nginx; yields its address, and its log: a line a request with status and bytes."""
    from grp import getgrgid
    from pwd import getpwuid

    # nginx takes the socket over as it would at an upgrade of its own: nobody waits for it, nobody else gets the port
    listening = socket(AF_INET, SOCK_STREAM)
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    # its child may read what this process may
    user = f"user {getpwuid(os.getuid()).pw_name} {getgrgid(os.getgid()).gr_name};" if os.getuid() == 0 else ""
    port, log = int(listening.getsockname()[1]), place / "requests.log"
    temporary = "\n".join(
        f"{kind}_temp_path {place}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (place / "nginx.conf").write_text(f"""
daemon off; worker_processes 1; {user} pid {place}/pid; error_log {place}/errors.log;
events {{}}
http {{
  log_format row '$status $body_bytes_sent $http_range $request_uri';
  access_log {log} row; default_type application/octet-stream; {temporary}
  server {{
    listen 127.0.0.1:{port}; root {folder};
    location /moved/ {{ rewrite ^/moved/(.*)$ /$1 redirect; }}
    location /twice/ {{ rewrite ^/twice/(.*)$ /moved/$1 redirect; }}
    location /round/ {{ return 302 /round/; }}
    location /whole/ {{ alias {folder}/; max_ranges 0; }}
    location /expired/ {{ return 403 "Request has expired"; }}
    location /gone/ {{ return 410; }}
    location /private/ {{ return 401; }}
    location /broken/ {{ return 503; }}
    location /page/ {{ default_type text/html; return 200 "<html>sign in</html>"; }}
  }}
}}
""")
    words = [str(NGINX), "-c", str(place / "nginx.conf"), "-e", str(place / "errors.log"), "-p", str(place)]
    server = subprocess.Popen(
        words,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "NGINX": f"{listening.fileno()};"},
        pass_fds=[listening.fileno()],
    )
    listening.close()
    try:
        yield f"http://127.0.0.1:{port}", log
    finally:
        # asked, so that it ends its child
        server.terminate()
        server.wait()


def requests_in(log: Path, address: str, name: str) -> list[list[str]]:
    """The requests for a file: nginx writes them in their order, and a last one of ours shows that it wrote them all."""
    mark = f"/mark-{os.urandom(8).hex()}"
    connection = HTTPConnection(address.removeprefix("http://"))
    connection.request("GET", mark)
    connection.getresponse().read()
    connection.close()
    rows: list[list[str]] = []
    until = time.monotonic() + 600
    while not any(row[-1] == mark for row in rows):
        assert time.monotonic() < until
        time.sleep(0.01)
        rows = [line.split(" ") for line in log.read_text().splitlines()]
    return [row for row in rows if row[-1].startswith(name)]


Answer = Callable[[BaseHTTPRequestHandler, int, int, int], None]
"""What a server does with a request: the handler, the bytes from and to that are asked for, the number of the request."""


@contextmanager
def serving(answer: Answer) -> Iterator[str]:
    """Run a server that answers each GET by a function; yields its address."""
    count = [0]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            count[0] += 1
            row = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            first, last = (int(row[1]), int(row[2])) if row else (0, 0)
            answer(self, first, last, count[0])

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def give(
    handler: BaseHTTPRequestHandler, content: bytes, first: int, last: int, *, tag: str = '"one"', **more: object
) -> None:
    """Answer as an honest server would, but for `range`, `length`, `body` or `encoding` where they are given."""
    last = min(last, len(content) - 1)
    body = more.get("body", content[first : last + 1])
    assert isinstance(body, bytes)
    handler.send_response(206)
    handler.send_header("Content-Range", str(more.get("range", f"bytes {first}-{last}/{len(content)}")))
    handler.send_header("Content-Length", str(more.get("length", len(body))))
    if tag:
        handler.send_header("ETag", tag)
    if "encoding" in more:
        handler.send_header("Content-Encoding", str(more["encoding"]))
    handler.end_headers()
    handler.wfile.write(body)
    handler.close_connection = "length" in more

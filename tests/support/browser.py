"""Headless Chromium on the loopback: a page is driven through the pipe of its own remote protocol, without a library."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run")
PATIENCE = 600
"""Seconds that any one answer of the browser may take: Pyodide needs some twenty on two busy cores, and more on crowded ones."""


def program() -> str | None:
    """The Chromium of this machine, if it has one."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class _Quiet(SimpleHTTPRequestHandler):
    """A static host as plain as they come; it keeps the list of what was asked for."""

    extensions_map = {  # noqa: RUF012 (its base class declares it so)
        **SimpleHTTPRequestHandler.extensions_map,
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
    }

    def log_message(self, format: str, *args: Any) -> None:
        self.server.asked.append(str(args[0]))  # type: ignore[attr-defined]


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Serve a folder on the loopback: its address, and the request lines as they come in."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    server.asked = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", server.asked  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Browser:
    """One Chromium with one page; a context manager.

    Attributes
    ----------
    said : list[str]
        What the page wrote to its console, exceptions included.
    fetched : list[str]
        Every address that the page and its workers asked for.
    """

    def __init__(self, profile: Path, *, width: int = 1280, height: int = 900) -> None:
        self.said: list[str] = []
        self.fetched: list[str] = []
        self._number, self._loaded = 0, set[str]()
        to_browser, self._to = os.pipe()
        self._from, from_browser = os.pipe()
        # Chromium reads commands from descriptor 3 and writes answers to 4; both pipes are first moved out of the way
        wiring = f'exec 3<&{to_browser} 4>&{from_browser}; exec "$@"'
        words = [str(program()), *OPTIONS, f"--user-data-dir={profile}", f"--window-size={width},{height}"]
        self.process = subprocess.Popen(
            ["bash", "-c", wiring, "bash", *words, "about:blank"],
            pass_fds=(to_browser, from_browser),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._answers = os.fdopen(self._from, "rb", buffering=0)
        self._rest = b""
        self._session = ""
        page = next(row for row in self.ask("Target.getTargets")["targetInfos"] if row["type"] == "page")
        attached = self.ask("Target.attachToTarget", targetId=page["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "DOM"):
            self.ask(f"{domain}.enable")
        self.ask("Page.setLifecycleEventsEnabled", enabled=True)
        self.ask("Target.setAutoAttach", autoAttach=True, waitForDebuggerOnStart=False, flatten=True)

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(timeout=PATIENCE)
        os.close(self._to)
        self._answers.close()

    def ask(self, method: str, *, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """Send one command and return its result; events that come before it are taken note of."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        where = self._session if session is None else session
        if where:
            message["sessionId"] = where
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == message["id"]:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return dict(answer["result"])
            self._note(answer)

    def _next(self) -> dict[str, Any]:
        timer = threading.Timer(PATIENCE, self.process.kill)
        timer.start()
        try:
            while b"\0" not in self._rest:
                part = self._answers.read(1 << 20)
                assert part, "the browser has ended"
                self._rest += part
        finally:
            timer.cancel()
        message, _, self._rest = self._rest.partition(b"\0")
        return dict(json.loads(message))

    def _note(self, event: dict[str, Any]) -> None:
        parameters = event.get("params", {})
        if event.get("method") == "Runtime.consoleAPICalled":
            self.said.append(" ".join(str(row.get("value", row.get("description"))) for row in parameters["args"]))
        elif event.get("method") == "Runtime.exceptionThrown":
            details = parameters["exceptionDetails"]
            self.said.append(str(details.get("exception", {}).get("description", details["text"])))
        elif event.get("method") == "Page.lifecycleEvent" and parameters["name"] == "load":
            self._loaded.add(parameters["loaderId"])
        elif event.get("method") == "Network.requestWillBeSent":
            self.fetched.append(parameters["request"]["url"])
        elif event.get("method") == "Target.attachedToTarget":
            # workers of the page: their console and requests count too
            for domain in ("Runtime", "Network"):
                self._send_only(f"{domain}.enable", parameters["sessionId"])

    def _send_only(self, method: str, session: str) -> None:
        self._number += 1
        message = {"id": self._number, "method": method, "params": {}, "sessionId": session}
        os.write(self._to, json.dumps(message).encode() + b"\0")

    def open(self, address: str) -> None:
        """Go to a page, and wait until it is loaded."""
        loader = self.ask("Page.navigate", url=address)["loaderId"]
        while loader not in self._loaded:
            self._note(self._next())

    def value(self, expression: str) -> Any:
        """Evaluate JavaScript in the page, a promise awaited, and return its JSON value."""
        answer = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, expression: str) -> Any:
        """Wait until JavaScript is true in the page, and return its value."""
        poll = f"""new Promise((resolve, reject) => {{
            const end = performance.now() + {PATIENCE * 900};
            const look = () => {{
                const value = {expression};
                if (value) resolve(value);
                else if (performance.now() > end) reject(new Error("never came true: " + {json.dumps(expression)}));
                else setTimeout(look, 20);
            }};
            look();
        }})"""
        return self.value(poll)

    def choose(self, selector: str, files: Sequence[Path]) -> None:
        """Choose files, or a folder, in a file input, as a person does in the dialogue."""
        root = self.ask("DOM.getDocument")["root"]["nodeId"]
        node = self.ask("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.ask("DOM.setFileInputFiles", nodeId=node, files=[str(file) for file in files])

    def drop(self, selector: str, files: Sequence[Path]) -> None:
        """Drop files and folders on an element, as a person does out of a file manager."""
        box = self.value(
            f"JSON.parse(JSON.stringify(document.querySelector({json.dumps(selector)}).getBoundingClientRect()))"
        )
        where = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
        data = {"items": [], "files": [str(file) for file in files], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.ask("Input.dispatchDragEvent", type=kind, data=data, **where)

    def picture(self, path: Path, *, width: int, height: int = 0) -> None:
        """Write a picture of the whole page at a width."""
        import base64

        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600)
        tall = height or int(self.value("document.documentElement.scrollHeight"))
        clip = {"x": 0, "y": 0, "width": width, "height": tall, "scale": 1}
        shot = self.ask("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

"""What a browser makes of a page: python tools/page_check.py PAGE.html [--width PIXELS] [--text WORDS]

Starts Debian's chromium without a window and talks to it by the DevTools protocol over its own pipe (no package is needed).
Prints one JSON object: seconds until the rows stood there, seconds a filter took, how many rows it left, whether anything is
wider than the window, and what the console said. The network is off.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
PATIENCE = 300
"""Seconds after which scrolling is taken to bring nothing; on a crowded machine an event takes some."""


def browser() -> str | None:
    """Return the path of a browser, or None."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Tab:
    """One page of a browser that runs; a context manager."""

    def __init__(self, width: int, height: int = 900) -> None:
        # the browser may still write to its profile while it ends
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        to_browser, self._out = os.pipe()
        self._in, from_browser = os.pipe()
        # the browser reads descriptor 3 and writes 4
        words = [
            "sh", "-c", f'exec "$0" "$@" 3<&{to_browser} 4>&{from_browser}', str(browser()), "--headless", "--no-sandbox",
            "--disable-gpu", "--remote-debugging-pipe", f"--user-data-dir={self._folder.name}", "about:blank",
        ]  # fmt: skip
        self._process = subprocess.Popen(
            words, pass_fds=(to_browser, from_browser), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(to_browser)
        os.close(from_browser)
        self._file = os.fdopen(self._in, "rb")
        self._count, self._session = 0, ""
        self.said: list[str] = []
        self._loaded: set[str] = set()
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")
        self.ask("Page.setLifecycleEventsEnabled", enabled=True)
        self.ask("Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=0, uploadThroughput=0)
        self.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    def __enter__(self) -> Tab:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._out)
        self._file.close()
        self._folder.cleanup()

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._count:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return dict(answer["result"])

    def _next(self) -> dict[str, Any]:
        """Return the next message; what the console says is kept."""
        parts = []
        while (byte := self._file.read(1)) != b"\0":
            if not byte:
                raise RuntimeError("the browser ended")
            parts.append(byte)
        message: dict[str, Any] = json.loads(b"".join(parts))
        if message.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded"):
            self.said.append(json.dumps(message["params"])[:500])
        if message.get("method") == "Page.lifecycleEvent" and message["params"]["name"] == "load":
            self._loaded.add(message["params"]["loaderId"])
        return message

    def open(self, address: str) -> None:
        """Go to a page, and wait until it is loaded."""
        loader = self.ask("Page.navigate", url=address)["loaderId"]
        while loader not in self._loaded:
            self._next()

    def run(self, expression: str) -> Any:
        """Return the value of an expression of JavaScript in the page."""
        result = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(str(result["exceptionDetails"])[:500])
        return result["result"].get("value")


FILTER = """new Promise(done => {
  const start = performance.now(), field = document.getElementById("text");
  field.value = WORDS;
  field.dispatchEvent(new Event("input", {bubbles: true}));
  requestAnimationFrame(() => setTimeout(() => done((performance.now() - start) / 1000)));
})"""
SORT = """new Promise(done => {
  const start = performance.now();
  document.querySelector("[data-by='5']").click();
  requestAnimationFrame(() => setTimeout(() => done((performance.now() - start) / 1000)));
})"""
END = """new Promise(done => {
  const view = document.getElementById("view"), count = () => document.querySelectorAll("#rows tr").length;
  const before = count(), end = performance.now() + PATIENCE;
  view.scrollTop = view.scrollHeight;
  const look = () => count() > before || performance.now() > end ? done(count()) : setTimeout(look, 20);
  look();
})"""

PRINT = """(() => {
  dispatchEvent(new Event("beforeprint"));
  return [document.querySelectorAll("#rows tr").length, document.getElementById("unprinted").textContent];
})()"""

BROKEN = """[...document.querySelectorAll("#view th, #rows td:not(:nth-child(2))")].flatMap(cell => {
  const walk = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT), broken = [], range = document.createRange();
  for (let node; (node = walk.nextNode());)
    for (const word of node.data.matchAll(/\\S+/g)) {
      range.setStart(node, word.index);
      range.setEnd(node, word.index + word[0].length);
      if (new Set([...range.getClientRects()].map(part => part.top)).size > 1) broken.push(word[0]);
    }
  return broken;
})"""
"""Words that go on in a second line; the name of a file may."""


def look_at(page: Path, *, width: int, text: str) -> dict[str, Any]:
    """Open a page, filter it, and return what was seen."""
    with Tab(width) as tab:
        start = time.monotonic()
        tab.open(page.resolve().as_uri())
        if not tab.run("!!document.querySelector('#rows tr')"):
            raise RuntimeError("no rows once the page is loaded")
        loaded = time.monotonic() - start
        return {
            "loaded": round(loaded, 3),
            "rows": tab.run("document.querySelectorAll('#rows tr').length"),
            "after_scrolling": tab.run(END.replace("PATIENCE", str(1000 * PATIENCE))),
            "printed": tab.run(PRINT),
            "count": tab.run("document.getElementById('count').value"),
            "filtering": round(tab.run(FILTER.replace("WORDS", json.dumps(text))), 3),
            "filtered": tab.run("document.getElementById('count').value"),
            "first": tab.run("document.querySelector('#rows tr')?.innerText ?? ''"),
            "broken": tab.run(BROKEN),
            "sorting": round(tab.run(SORT), 3),
            "wider_than_the_window": tab.run("document.documentElement.scrollWidth > window.innerWidth"),
            "width": tab.run("window.innerWidth"),
            "marker": tab.run("window.marker ?? null"),
            "said": tab.said,
        }


def main() -> int:
    """Look at a page and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path)
    parser.add_argument("--width", type=int, default=1200)
    parser.add_argument("--text", default="")
    arguments = parser.parse_args()
    if browser() is None:
        print(f"no browser here: {', '.join(NAMES)}", file=sys.stderr)
        return 2
    print(json.dumps(look_at(arguments.page, width=arguments.width, text=arguments.text), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What stands in the place of a checkpoint: pointers of data tools, shortcuts, a cloud's placeholders, answers of servers."""

from __future__ import annotations

import os

from viscy_compat.annotations import Any, Final
from viscy_compat.layout import printable, quote_path

_TARGET: Final = "give the file that it leads to"

_SHORTCUTS: Final = (
    (b"L\0\0\0\x01\x14\x02\0\0\0\0\0\xc0\0\0\0\0\0\0F", "a Windows shortcut"),
    (b"[InternetShortcut]", "a shortcut to an address"),
    (b"[Desktop Entry]", "a shortcut of a Linux desktop"),
    (b"book\0\0\0\0mark", "an alias of macOS"),
    (b"!<symlink>", "a link that Cygwin wrote"),
)
"""How each begins ([MS-SHLLINK] 2.1: the size of the header and the class of a shell link)."""

_ANSWERS: Final = (
    b"http/1.",
    b"401:",
    b"403:",
    b"404:",
    b"404 page not found",
    b"429:",
    b"entry not found",
    b"repository not found",
    b"invalid username or password",
    b"not found",
    b"access denied",
    b"forbidden",
    b"unauthorized",
    b"too many requests",
)
"""How servers and hubs begin a refusal that is plain text."""

_WORDS_OF_REFUSALS: Final = ("error", "message", "detail", "title", "msg", "errors")
_OTHER_WORDS: Final = (
    "status",
    "code",
    "documentation_url",
    "type",
    "path",
    "timestamp",
    "success",
    "statusCode",
    "requestId",
)
"""All that a refusal in JSON says: with any other word at its top it may be a configuration."""

_MOST_OF_AN_ANSWER: Final = 4096
_MOST_QUOTED: Final = 60
"""Bytes of a refusal, which is short; letters of one that are quoted, about a line of a terminal with what is said of it."""

_AGAIN: Final = "check the address and your access, fetch it again"
_PAGE_FIX: Final = (
    "open the address in a browser, or download with the link of the file itself (on a hub: /resolve/, not /blob/)"
)


def what_stands_instead(head: bytes, path: str, size: int) -> tuple[str, str] | None:
    """Say what a file is that only leads to another one, or says why there is none, and what to do.

    Parameters
    ----------
    head : bytes
        Its first bytes.
    path : str
        Its name; commands that are offered have it.
    size : int
        Its size: an answer of a server is short.

    Examples
    --------
    >>> what_stands_instead(b'{"error": "Repository not found"}', "a.ckpt", 33)[0]
    "the answer of a server that did not give the file ('Repository not found')"
    >>> what_stands_instead(b"outs:\\n- md5: 22a1a293\\n  path: a.ckpt\\n", "a.ckpt.dvc", 40)
    ('a DVC pointer, not the file it stands for', 'fetch the file: dvc pull a.ckpt.dvc')
    """
    for magic, what in _SHORTCUTS:
        if head.startswith(magic):
            return f"{what}, not the file it leads to", _TARGET
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if head.startswith(b"bplist00") and path.endswith(".icloud"):
        name = os.path.basename(path).removeprefix(".").removesuffix(".icloud")
        fix = f"fetch the file: open it in the Finder, or brctl download {quote_path(name)}"
        return "a placeholder of iCloud: the file is not on this machine", fix
    if text.startswith((b"outs:", b"md5:")) and b"md5: " in text:
        return "a DVC pointer, not the file it stands for", f"fetch the file: dvc pull {quote_path(path)}"
    if b"<!DOCTYPE plist" in text and b"<key>URL</key>" in text:
        return "a shortcut of macOS to an address, not the file it leads to", _TARGET
    if text[:1] == b"<":
        return _page(text)
    if size > _MOST_OF_AN_ANSWER:
        return None
    said = _refusal(text)
    return (f"the answer of a server that did not give the file ({said!a})", _AGAIN) if said else None


def _page(text: bytes) -> tuple[str, str] | None:
    """Quote the title of a web page: what asks to sign in, and what a disc in a cloud says before it gives a file."""
    small = text.lower()
    first = small.find(b"<title")
    last = small.find(b"</title>", first) if first >= 0 else -1
    title = text[first : max(first, last)].decode("utf-8", "replace").partition(">")[2].strip()
    if not title or text.startswith(b"<?xml"):
        return None
    what = f"a web page, not the file behind it ({title[:_MOST_QUOTED]!a})"
    if b'type="password"' in small:
        return f"{what[:-1]}: it asks to sign in)", "sign in, or fetch the file with an access token"
    if title.startswith("Google Drive - Virus scan"):
        return what, "press the button of that page in a browser, or fetch it with gdown, which presses it"
    if title.startswith("Google Drive - Quota"):
        return what, "too many people fetched it: try again tomorrow, or ask its owner for another copy"
    return what, _PAGE_FIX


def _refusal(text: bytes) -> str:
    """Return the words of a server that refused; nothing where a text says anything else."""
    line = text.partition(b"\n")[0].strip()[:_MOST_QUOTED]
    if line.lower().startswith(_ANSWERS):
        return line.decode("utf-8", "replace")
    if text[:1] != b"{":
        return ""
    from json import loads

    try:
        answer: Any = loads(text)
    except (ValueError, RecursionError):
        return ""
    words = [word for word in _WORDS_OF_REFUSALS if word in answer]
    if not words or any(word not in (*_WORDS_OF_REFUSALS, *_OTHER_WORDS) for word in answer):
        return ""
    held = answer[words[0]]
    if isinstance(held, dict):
        held = held.get("message", held)
    return printable(str(held))[:_MOST_QUOTED]


def numbers_of_another_format(path: str) -> str:
    """Say whose numbers a file without a mark holds, by the description of a network beside it; nothing where none is.

    OpenVINO keeps the layers in ``NAME.xml`` and ncnn in ``NAME.param``, each beside the numbers in ``NAME.bin``.
    """
    stem, ending = os.path.splitext(path)
    for other, mark, whose in ((".xml", b"<net ", "an OpenVINO model"), (".param", b"7767517", "an ncnn model")):
        beside = stem + other
        if ending.lower() != ".bin" or not os.path.isfile(beside):
            continue
        try:
            with open(beside, "rb") as file:
                start = file.read(_MOST_OF_AN_ANSWER)
        # a neighbour that nobody may read tells nothing
        except OSError:
            continue
        if mark in start:
            return f"the file of numbers of {whose}, whose layers are in {printable(os.path.basename(beside))}"
    return ""

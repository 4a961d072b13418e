"""The report as SARIF 2.1.0: the finding codes as rules, the findings as results."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from json import dumps
from typing import Any
from urllib.parse import quote

from viscy_compat.findings import CATALOGUE, Code, Report, Result
from viscy_compat.layout import printable
from viscy_compat.report.json import list_pieces
from viscy_compat.report.page import Message, Page, Section, page_of
from viscy_compat.report.runners import spelled_out
from viscy_compat.report.terminal import Style
from viscy_compat.version import __version__

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
KEYS = 20
"""A viewer lists them beside one line; the message has the number of all."""


def pieces(report: Report[Result], style: Style) -> Iterator[str]:
    """Yield the log, with one run, finding by finding."""
    page = page_of(report)
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [_run(page)]}
    # the results stand last in the run, and are none so far
    begin, _, end = dumps(log, indent=2).rpartition("[]")
    yield spelled_out(begin, r"\u0023")
    results = (_result(section, message) for section in page.sections for message in section.messages)
    yield from (spelled_out(piece, r"\u0023") for piece in list_pieces(results, " " * 6))
    yield end


def _run(page: Page) -> dict[str, Any]:
    driver = {
        "name": "viscy-compat",
        "version": __version__,
        "semanticVersion": __version__,
        "rules": [_rule(entry) for entry in CATALOGUE.values()],
    }
    text = printable(" ".join(filter(None, (page.sentence, page.headline))))
    invocation = {
        # a run that could not decide was no successful one, whatever its findings
        "executionSuccessful": page.exit_code != 2,
        "exitCode": page.exit_code,
        "toolExecutionNotifications": [{"level": "error" if page.exit_code else "note", "message": {"text": text}}],
    }
    return {
        "tool": {"driver": driver},
        "automationDetails": {"id": f"{page.title.replace(' ', '/')}/"},
        "invocations": [invocation],
        "columnKind": "unicodeCodePoints",
        "results": [],
    }


def _rule(entry: Code) -> dict[str, Any]:
    return {
        "id": entry.id,
        "shortDescription": {"text": entry.title},
        "fullDescription": {"text": entry.meaning},
        "help": {"text": entry.remedy},
        "defaultConfiguration": {"level": entry.severity},
    }


def _result(section: Section, message: Message) -> dict[str, Any]:
    # what stays the same from run to run; the fix and the places may be put in other words
    parts = "\0".join((section.group, section.title, message.code, message.message, *message.keys))
    fingerprint = sha256(parts.encode("utf-8", "surrogatepass")).hexdigest()
    rule = {"ruleId": message.code, "ruleIndex": list(CATALOGUE).index(message.code)} if message.code else {}
    fix = f" Fix: {message.fix}" if message.fix else ""
    keys = [{"fullyQualifiedName": printable(key), "kind": "member"} for key in message.keys[:KEYS]]
    if section.file:
        # a URI has ASCII alone; surrogates stand for bytes of a name that were no UTF-8
        address = quote(section.file.encode("utf-8", "surrogatepass"), safe="/._-~")
        location: dict[str, Any] = {"physicalLocation": {"artifactLocation": {"uri": address}}}
        location |= {"logicalLocations": keys} if keys else {}
    else:
        location = {"logicalLocations": [{"fullyQualifiedName": printable(section.title), "kind": "type"}, *keys]}
    return {
        **rule,
        "level": message.severity,
        "message": {"text": printable(f"{section.title}: {message.message}{fix}")},
        "locations": [location],
        "partialFingerprints": {"finding/v1": fingerprint},
    }

"""JUnit and SARIF documents have the elements, attributes, order and types that their schemas ask for.

The JUnit rules are those on which the two schemas in use (Jenkins, and the older one of Ant) agree. Which properties a
SARIF object may and must have is read from sarif-om, whose classes were generated from the schema.
"""

from __future__ import annotations

import importlib
import json
import re
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from xml.etree.ElementTree import Element, fromstring

import pytest
from attr import NOTHING

from support.reports import ALL
from viscy_compat.report import render


class Rule(NamedTuple):
    """An element: its attributes with their patterns, and its children in order, as a pattern over their names."""

    attributes: dict[str, str]
    children: str
    text: bool = False


ANY = r"[\s\S]*"
NUMBER = r"\d+"
JUNIT = {
    "testsuites": Rule({}, r"(testsuite )*"),
    "testsuite": Rule(
        {
            "name": r"\s*\S[\s\S]*",
            "package": ANY,
            "id": NUMBER,
            "timestamp": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d",
            "hostname": r"\S+",
            "tests": NUMBER,
            "failures": NUMBER,
            "errors": NUMBER,
            "time": r"\d+(\.\d+)?",
        },
        r"properties (testcase )*system-out system-err ",
    ),
    "properties": Rule({}, r"(property )*"),
    "property": Rule({"name": r"[\s\S]+", "value": ANY}, ""),
    "testcase": Rule({"name": ANY, "classname": ANY, "time": r"\d+(\.\d+)?"}, r"((skipped|error|failure) )?"),
    "failure": Rule({"type": ANY, "message": ANY}, "", text=True),
    "error": Rule({"type": ANY, "message": ANY}, "", text=True),
    "system-out": Rule({}, "", text=True),
    "system-err": Rule({}, "", text=True),
}


def complaints(element: Element) -> list[str]:
    """What is wrong with a JUnit element and everything in it."""
    rule = JUNIT.get(element.tag)
    if rule is None:
        return [f"<{element.tag}> is no element of JUnit"]
    found = [f"<{element.tag}> lacks or adds {set(rule.attributes) ^ set(element.attrib)}"]
    found = found if set(rule.attributes) != set(element.attrib) else []
    found += [f"{name}={value!r}" for name, value in element.items() if not re.fullmatch(rule.attributes[name], value)]
    order = "".join(f"{child.tag} " for child in element)
    found += [] if re.fullmatch(rule.children, order) else [f"<{element.tag}> holds {order}"]
    found += [] if rule.text or not (element.text or "").strip() else [f"<{element.tag}> holds text"]
    return found + [complaint for child in element for complaint in complaints(child)]


@pytest.mark.parametrize("name", ALL)
def test_junit_documents_fit_both_schemas(name: str) -> None:
    root = fromstring(render(ALL[name], "junit"))
    assert root.tag == "testsuites"
    assert complaints(root) == []
    for suite in root:
        cases = suite.findall("testcase")
        assert suite.get("tests") == str(len(cases))
        assert suite.get("failures") == str(sum(case.find("failure") is not None for case in cases))


def test_the_junit_rules_find_what_is_wrong() -> None:
    assert complaints(fromstring("<testsuites><testcase name='a'/></testsuites>")) != []


# Which class of sarif-om an object is, by the property that holds it.
SARIF = {
    "runs": "run",
    "tool": "tool",
    "driver": "tool_component",
    "rules": "reporting_descriptor",
    "defaultConfiguration": "reporting_configuration",
    "shortDescription": "multiformat_message_string",
    "fullDescription": "multiformat_message_string",
    "help": "multiformat_message_string",
    "automationDetails": "run_automation_details",
    "invocations": "invocation",
    "toolExecutionNotifications": "notification",
    "results": "result",
    "message": "message",
    "locations": "location",
    "physicalLocation": "physical_location",
    "artifactLocation": "artifact_location",
    "logicalLocations": "logical_location",
}
TYPES = {"level": {"none", "note", "warning", "error"}, "columnKind": {"utf16CodeUnits", "unicodeCodePoints"}}


def properties(name: str) -> dict[str, bool]:
    """The properties of a SARIF object, and whether they are required."""
    module = importlib.import_module(f"sarif_om._{name}")
    made = getattr(module, "".join(part.capitalize() for part in name.split("_")))
    return {field.metadata["schema_property_name"]: field.default is NOTHING for field in made.__attrs_attrs__}


def objections(name: str, value: dict[str, Any]) -> list[str]:
    """What is wrong with a SARIF object and everything in it."""
    allowed = properties(name)
    found = [f"{name} has no {key}" for key in value if key not in allowed]
    found += [f"{name} lacks {key}" for key, needed in allowed.items() if needed and key not in value]
    found += [f"{key}={value[key]!r}" for key, words in TYPES.items() if key in value and value[key] not in words]
    for key, item in value.items():
        items = item if isinstance(item, list) else [item]
        objects = [one for one in items if isinstance(one, dict) and key in SARIF]
        found += [complaint for one in objects for complaint in objections(SARIF[key], one)]
    return found


def holders(value: object) -> set[str]:
    """Every property that holds objects."""
    if isinstance(value, list):
        return set().union(*map(holders, value))
    if not isinstance(value, dict):
        return set()
    mine = {
        key
        for key, item in value.items()
        if isinstance(item, dict) or (isinstance(item, list) and item and isinstance(item[0], dict))
    }
    return mine.union(*map(holders, value.values()))


@pytest.mark.parametrize("name", ALL)
def test_sarif_documents_have_the_properties_of_the_standard(name: str) -> None:
    log = json.loads(render(ALL[name], "sarif"))
    assert log["version"] == "2.1.0"
    assert objections("sarif_log", log) == []
    assert holders(log) <= {*SARIF, "partialFingerprints"}
    for result in log["runs"][0]["results"]:
        assert isinstance(result["message"]["text"], str)
        for place in result["locations"]:
            address = place.get("physicalLocation", {}).get("artifactLocation", {}).get("uri", "")
            assert address == "" or urlsplit(address).scheme == ""
            assert re.fullmatch(r"[A-Za-z0-9/._~%-]*", address)


def test_the_sarif_rules_find_what_is_wrong() -> None:
    assert objections("result", {"level": "fatal", "mesage": {}}) == [
        "result has no mesage",
        "result lacks message",
        "level='fatal'",
    ]

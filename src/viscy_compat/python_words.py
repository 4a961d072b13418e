"""What a report or an error says to those who typed Python: keywords for flags, calls for whole commands.

Only the way of those who call functions comes here; the words of commands stay what they are.
"""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from viscy_compat.checkpoint.inspection import Inspection
from viscy_compat.errors import UsageError
from viscy_compat.stated import parse_value

if TYPE_CHECKING:
    from viscy_compat.findings import Report, Result

_KEYWORDS: Final = {
    "ask": "config",
    "as": "class_name",
    "beside": "config",
    "class": "target",
    "crc": "every_byte",
    "hint": "hints",
    "law": "laws",
    "o": "out",
    "plot": "path",
    "set": "config",
}
"""Keywords of the public functions, where they are not the flag with underscores."""

_SWITCHES: Final = {
    "allow-recorded",
    "check",
    "crc",
    "follow",
    "force",
    "fresh",
    "in-place",
    "keep-classes",
    "recorded",
    "reverse",
    "thorough",
    "trust-repo",
    "weights-only",
}
"""Flags without a value."""

_REPEATABLE: Final = {"drop", "hint", "law"}
"""Flags that are said once for each value, where a function takes a list."""

_COMMANDS_ALONE: Final = {
    "expect",
    "expect-precision",
    "format",
    "from-ledger",
    "ignore",
    "limit",
    "on",
    "output",
    "prove",
    "references",
    "select",
    "strict",
}
"""Flags of what only commands do."""

_FUNCTIONS: Final = {"audit", "check", "explain", "inspect", "record", "remap", "verify", "zoo"}
_OF_NOTHING: Final = {"record", "verify"}
"""Functions that take everything where nothing is named."""
_OF_ONE_FILE: Final = {"check", "inspect", "remap"}
_WHOLE: Final = tuple(f"viscy-compat {name} " for name in sorted(_OF_ONE_FILE))
_PLACEHOLDER: Final = re.compile(r"[A-Z][A-Z_-]*(\.\w+)?")
"""What stands for a word of the user's in our messages: FILE, OUT.safetensors."""

_ESCAPED: Final = re.compile(r"(?<= )\$'((?:[^'\\]|\\.)*)'(?= |$)")
"""A word as `quote_word` spells it where something in it is not printable."""

_SWITCH: Final = rf"--(?:{'|'.join(sorted(_SWITCHES))})\b"
_TEXT: Final = r"(?:'[^']*'|[^\s'\";]*[^\s'\";,.])"
# behind a command prose may go on: only what is a flag, or looks like a file or a placeholder, belongs to it
_WORDS: Final = rf"(?: (?:{_SWITCH}|(?:-o|--[a-z-]+) {_TEXT}|--[a-z-]+|'[^']*'|[A-Z][\w.-]*|[^\s'\";]*[./]{_TEXT}))*"
_COMMAND: Final = rf"'(?P<quoted>viscy-compat [^']*)'|(?P<bare>viscy-compat [a-z]+{_WORDS})"
# a bracket at the end is the sentence's, but for one that the value itself opens
_OBJECT: Final = r"(?:(?P<setting>\w+)=(?P<value>\([^\s;]*\)|[^\s;]*[^\s;,)])|(?P<word>[A-Z][\w.:-]*))"
_FLAG: Final = rf"(?<!the command's )--(?P<flag>[a-z][a-z-]*)(?: {_OBJECT})?"


def in_python(words: str) -> str:
    """Replace flags by the keywords that stand for them, and commands by calls, where there are such.

    Examples
    --------
    >>> in_python("add --set stem_stride=VALUE, or --state-dict ADDRESS")
    "add config={'stem_stride': ...}, or state_dict=ADDRESS"
    >>> in_python("run 'viscy-compat remap FILE --as CLASS'; --force replaces it")
    'run viscy_compat.remap(FILE, class_name=CLASS); force=True replaces it'
    >>> in_python("viscy-compat explain lists them; viscy-compat gate --static")
    'viscy-compat explain lists them; viscy-compat gate --static'
    >>> in_python(in_python("or --expect IO.safetensors"))  # a page says again what a report says
    "or the command's --expect IO.safetensors"
    """
    if "--" not in words and "viscy-compat " not in words:
        return words
    whole = call_of(words) if words.startswith(_WHOLE) else None
    return whole or re.sub(f"{_COMMAND}|{_FLAG}", _keyword, words).replace("} config={", ", ")


def call_of(command: str) -> str | None:
    """Return the call that does what a command does; None where only a command does.

    Examples
    --------
    >>> call_of("viscy-compat remap 'a b.ckpt' -o new.safetensors --set stem_stride=5,4,4 --set head_pool=VALUE")
    "viscy_compat.remap('a b.ckpt', 'new.safetensors', config={'stem_stride': (5, 4, 4), 'head_pool': ...})"
    >>> call_of("viscy-compat gate --static") is None
    True
    """
    try:
        _, function, *words = shlex.split(_ESCAPED.sub(_unescape, command))
    except ValueError:
        return None
    if function not in _FUNCTIONS:
        return None
    places: list[str] = []
    out: list[str] = []
    keywords: dict[str, Any] = {}
    rest = iter(words)
    for word in rest:
        flag = word.lstrip("-") if word.startswith("-") else ""
        if not flag:
            places.append(_literal(word))
        elif flag in _SWITCHES:
            keywords[_KEYWORDS.get(flag, flag.replace("-", "_"))] = "True"
        elif flag in _COMMANDS_ALONE or (value := next(rest, None)) is None:
            return None
        elif flag == "o":
            out = [_literal(value)]
        else:
            _add(keywords, flag, value)
    whole = function in _OF_NOTHING and not keywords
    # two files are two calls, which a line that is to be pasted cannot say
    if len(places) != 1 if function in _OF_ONE_FILE else not (places or whole):
        return None
    spelled = [f"{name}={_spell_keyword(value)}" for name, value in keywords.items()]
    return f"viscy_compat.{function}({', '.join([*places, *out, *spelled])})"


def _unescape(word: re.Match[str]) -> str:
    """Return a word of bash's ``$'...'``, in which a file's name that is not printable is spelled, in plain quotes."""
    text = re.sub(r"\\(?:x(..)|(.))", lambda part: part[2] or os.fsdecode(bytes.fromhex(part[1])), word[1])
    return shlex.quote(os.fsdecode(os.fsencode(text)))  # bytes of one letter were escaped one by one


def _add(keywords: dict[str, Any], flag: str, value: str) -> None:
    name = _KEYWORDS.get(flag, flag.replace("-", "_"))
    setting, equals, text = value.partition("=")
    if name == "config" and equals:
        keywords.setdefault(name, {})[setting] = _value(text)
    elif flag in _REPEATABLE:
        keywords.setdefault(name, []).append(_literal(value))
    else:
        keywords[name] = _literal(value)


def _spell_keyword(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name!r}: {text}" for name, text in value.items()) + "}"
    return f"[{', '.join(value)}]" if isinstance(value, list) else str(value)


def _literal(word: str) -> str:
    """Return a word as Python spells it; one that only stands for something is left as it is."""
    return word if _PLACEHOLDER.fullmatch(word) else repr(word)


def _value(text: str) -> str:
    if text in ("VALUE", "..."):
        return "..."
    try:
        return repr(parse_value(text))
    except UsageError:
        return repr(text)


def _keyword(match: re.Match[str]) -> str:
    """Return the call that stands for a whole command, or the keyword that stands for a flag."""
    command = match["quoted"] or match["bare"]
    if command:
        return call_of(command) or match[0]
    flag, setting, value, word = match.group("flag", "setting", "value", "word")
    name = _KEYWORDS.get(flag, flag.replace("-", "_"))
    if flag in _COMMANDS_ALONE:
        return f"the command's {match[0]}"
    if flag in _SWITCHES:
        return f"{name}=True{f' {word}' if word else ''}"
    if setting:
        return f"{name}={_spell_keyword({setting: _value(value)}) if name == 'config' else [f'{setting}={value}']}"
    if flag == "config":
        return f"what {word or 'it'} has as config={{...}}"
    if flag in _REPEATABLE and word:
        return f"{name}=[{_literal(word)}]"
    return f"{name}={_literal(word) if word else ''}"


def speak_python(report: Report[Result]) -> None:
    """Let the findings of a report say how to mend things in Python, for those who called a function."""
    report.results = tuple(map(_in_words, report.results))


def _in_words(result: Any) -> Any:
    if hasattr(result, "wording"):  # its findings are made when they are asked for
        return replace(result, wording=in_python)
    if isinstance(result, Inspection):
        if result.error is not None:
            result.error.reword(in_python)
        if result.checkpoint is not None:
            result.checkpoint.findings = _mend_spaces(result.checkpoint.findings)
        return result
    if hasattr(result, "_replace"):
        changes = {"findings": _mend_spaces(result.findings)} if "findings" in result._fields else {}
        if getattr(result, "check", None) is not None:
            changes["check"] = _in_words(result.check)
        return result._replace(**changes)
    if "findings" in getattr(result, "__dataclass_fields__", ()):
        return replace(result, findings=_mend_spaces(result.findings))
    return result


def _mend_spaces(findings: Any) -> tuple[Any, ...]:
    return tuple(finding._replace(fix=in_python(finding.fix)) for finding in findings)

r"""What the runners of continuous integration take for commands when it stands in a log, and how it is kept from that.

GitHub's runner obeys a line that begins with ``::`` after any blanks, Azure's agent and older runners of GitHub's obey
``##vso[`` and ``##[`` anywhere in a line, TeamCity ``##teamcity[``. Names in a file are written by strangers.
"""

from __future__ import annotations

import re

_BEGINS = r"(?m)^((?:\s|\x1b\[[0-9;]*m)*)(?=::)"
"""GitHub's runners read ``::COMMAND::`` at the start of a line, spaces and colours aside."""

_ANYWHERE = r"##(?=(?:[A-Za-z]*)\[)"
"""Those of Azure and TeamCity read ``##NAME[`` wherever it stands."""


def without_commands(text: str, mark: str = r"\x23") -> str:
    r"""Put a word of ours before a line that a runner would obey, and spell the marks of commands out.

    Examples
    --------
    >>> print(without_commands("  ::error::x\na::b\n##vso[task.setvariable variable=x]y\n## heading"))
      named ::error::x
    a::b
    #\x23vso[task.setvariable variable=x]y
    ## heading
    """
    if "::" not in text and "##" not in text:
        return text
    return spelled_out(re.sub(_BEGINS, r"\1named ", text), mark)


def spelled_out(text: str, mark: str = r"\x23") -> str:
    r"""Spell out the second sign of ``##`` where it could begin a command, in the way of the format at hand.

    Examples
    --------
    >>> spelled_out('{"name": "##[error]x"}', r"\u0023")
    '{"name": "#\\u0023[error]x"}'
    """
    return re.sub(_ANYWHERE, lambda match: f"#{mark}", text)

"""Addresses of sets of weights in what is printed for pasting."""

from __future__ import annotations

from viscy_compat.diagnosis.weight_set import SetChoice
from viscy_compat.layout import printable, quote_word


def needed_address(choice: SetChoice) -> str | None:
    """Return the address that a command must state to mean the judged set again; None where it need not."""
    return choice.pick.address if choice.pick and len(choice.sets) > 1 else None


def flag(address: str | None) -> str:
    """Spell an address as an option of a command, with a space in front; empty where there is none.

    Examples
    --------
    >>> flag("state_dict:ema.model."), flag(""), flag("-x"), flag(None)
    (' --state-dict state_dict:ema.model.', " --state-dict ''", ' --state-dict=-x', '')
    """
    if address is None:
        return ""
    return option("state-dict", address)


def option(name: str, text: str) -> str:
    """Spell an option of a command and its value, a name in the file as reports print it, with a space in front.

    Examples
    --------
    >>> option("drop", "head.*"), option("hint", "-a=-b")
    (" --drop 'head.*'", ' --hint=-a=-b')
    """
    return f" --{name}{'=' if text.startswith('-') else ' '}{quote_word(printable(text))}"


def keyword(address: str | None) -> str:
    """Spell an address as an argument of a call, with a comma in front; empty where there is none.

    Examples
    --------
    >>> keyword("ema")
    ", state_dict='ema'"
    """
    return "" if address is None else f", state_dict={address!r}"

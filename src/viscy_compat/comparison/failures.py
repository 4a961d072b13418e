"""How two sides differ, as data, and what comparing one case came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from viscy_compat.architectures.architecture import Case
from viscy_compat.comparison.amounts import Amount
from viscy_compat.workers.answers import Mode

UNDECIDED = "VC631"
"""The code of a case in which a side said too little to compare."""


@dataclass(frozen=True)
class Failure:
    """One way in which the two sides differ in one case.

    Parameters
    ----------
    code : str
        The finding code.
    message : str
        What differs, in a sentence.
    case : Case or None
        The case; None where it is about the class as a whole.
    keys : tuple[str, ...]
        Tensor names, folded.
    mode : {"eval", "train", ""}
        The mode of the forward pass, where it is about one.
    module : str
        The first module whose output differs.
    amounts : tuple[Amount, ...]
        How far each output is from the old one, where that was measured.
    """

    code: str
    message: str
    case: Case | None = None
    keys: tuple[str, ...] = ()
    mode: Mode | str = ""
    module: str = ""
    amounts: tuple[Amount, ...] = ()

    @property
    def sentence(self) -> str:
        """The message, with how much and where it begins."""
        amounts = "; ".join(map(str, self.amounts))
        where = f"they part in {self.module}" if self.module else ""
        return "; ".join(filter(None, [self.message, amounts, where]))

    def to_dict(self) -> dict[str, Any]:
        """Return the failure as the JSON of the contract has it."""
        about = {"case": self.case.name, "config": with_lists(self.case.config)} if self.case else {"config": {}}
        amounts = [amount.to_dict() for amount in self.amounts]
        more = {"keys": list(self.keys), "mode": self.mode, "module": self.module, "amounts": amounts}
        words = {"code": self.code, "message": self.sentence}
        return {**about, **words, **{name: value for name, value in more.items() if value}}


@dataclass(frozen=True)
class Judgement:
    """What comparing one case came to: failures, and the accepted differences that were used."""

    failures: tuple[Failure, ...] = ()
    accepted: tuple[str, ...] = ()


def with_lists(value: Any) -> Any:
    """Return a value as JSON has it: lists where a configuration has tuples."""
    if isinstance(value, list | tuple):
        return [with_lists(item) for item in value]
    return {name: with_lists(item) for name, item in value.items()} if isinstance(value, Mapping) else value

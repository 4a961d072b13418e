"""A worker's answers without its process: for tests that build models themselves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


class InProcess:
    """Answers the requests of a `viscy_compat.outputs.bench.Bench`; classes come from what is installed, or from tests.

    A pass that was asked for before is not run again: its outputs are still kept under its label.
    """

    def __init__(self) -> None:
        from viscy_compat.workers.program.loop import Desk

        self.desk = Desk(1)
        self.passes: dict[str, tuple[str, Any]] = {}
        self.desk.answer({"op": "source", "id": "candidate", "root": "viscy_models"})

    def request(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answer, as JSON has it."""
        if message["op"] != "outputs":
            return self._answer(message)
        # all files of one test hold the same input
        asked = json.dumps({name: value for name, value in message.items() if name != "inputs"})
        label = message["label"]
        if self.passes.get(label, ("", None))[0] != asked:
            self.passes[label] = asked, self._answer(message)
        found: dict[str, Any] = self.passes[label][1]
        return found

    def _answer(self, message: Mapping[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(json.dumps(self.desk.answer(dict(message))))
        assert not answer.get("failed"), answer
        return answer

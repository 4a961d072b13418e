"""What the stage says of a broken law: which one, how, and the command that shows its smallest case."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from viscy_compat.architectures import find
from viscy_compat.exploring import exploration
from viscy_compat.exploring.exploration import BrokenLaw, Exploration
from viscy_compat.findings import Report
from viscy_compat.gating import explore
from viscy_compat.gating.stage import Setting, Workshop
from viscy_compat.workers.candidate import Candidate


def results(*broken: BrokenLaw, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The results of the stage where an exploration came to these."""
    found = Exploration("BetaVae25D", "", {"layout": 3}, {}, broken, (), 0.0)
    monkeypatch.setattr(exploration, "explore", lambda *_, **__: Report("explore", [found]))
    with Workshop(Setting((find("BetaVae25D"),), Candidate(), options={})) as workshop:
        return iter([*explore.run(workshop)])


def test_a_broken_law_names_the_command_that_shows_its_smallest_case(monkeypatch: pytest.MonkeyPatch) -> None:
    law = BrokenLaw("layout", "it", "3 tensors are missing", {}, (), "")
    (result,) = results(law, monkeypatch=monkeypatch)
    (finding,) = result.findings
    assert (finding.code, finding.message, finding.keys) == ("VC510", "layout: 3 tensors are missing", ("layout",))
    assert finding.fix.endswith("viscy-compat explore BetaVae25D --law layout")


def test_laws_that_hold_are_no_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    (result,) = results(monkeypatch=monkeypatch)
    assert not result.findings

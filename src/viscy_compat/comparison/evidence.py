"""The tensors of failing cases, kept in a folder."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from viscy_compat.architectures.architecture import Architecture, Case
from viscy_compat.comparison.failures import Failure
from viscy_compat.errors import OutputRefused

SIDES = ("old", "candidate")

KEPT = {
    "VC501": ("weights", "input", "eval", "train"),
    "VC502": ("initial",),
    "VC503": ("weights", "input", "buffers"),
}

"""What is kept of a case, by the code of its failure."""


@dataclass(frozen=True)
class Evidence:
    """Where the tensors of failing cases are kept, if anywhere."""

    folder: str = ""

    def place(self, name: str, case: Case, side: str) -> str:
        """Return the file for one side of one case; its folder is made.

        Raises
        ------
        OutputRefused
            The folder cannot be made.
        """
        folder = Path(self.folder).absolute() / name / case.name
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            message = f"the folder cannot be made ({error.strerror})"
            raise OutputRefused(message, where=str(folder), fix="choose another --save-evidence") from error
        return str(folder / f"{side}.safetensors")

    def options(self, architecture: Architecture, case: Case, codes: set[str]) -> tuple[dict[str, Any], ...]:
        """Return the options that let both workers keep what failures with these codes are about."""
        keep = sorted({kind for code in codes for kind in KEPT.get(code, ())})
        places = [self.place(architecture.name, case, side) for side in SIDES]
        return tuple({"save": place, "keep": keep} for place in places)

    def note(self, name: str, failures: Iterable[Failure]) -> None:
        """Write the failures beside their tensors."""
        # one file a case, whatever number of codes it failed by
        cases: dict[str, list[Failure]] = {}
        for failure in failures if self.folder else ():
            if failure.case:
                cases.setdefault(failure.case.name, []).append(failure)
        for rows in cases.values():
            if case := rows[0].case:
                path = Path(self.place(name, case, "failures")).with_suffix(".json")
                path.write_text(json.dumps([failure.to_dict() for failure in rows], indent=2) + "\n")

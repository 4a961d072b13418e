"""What an audit remembers of one file: a row of the ledger."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, Final

from viscy_compat.checkpoint.locations import is_address, public_name
from viscy_compat.diagnosis import Diagnosis
from viscy_compat.diagnosis.result import Unreadable
from viscy_compat.findings import EXIT_CODES, Verdict
from viscy_compat.fleet.target import Target
from viscy_compat.named import NamedTuple
from viscy_compat.version import __version__

_MOST_TEXT: Final = 300
"""Characters of a message that are kept: what is more stands in the report of `check`."""


PASSING: Final = frozenset(("VC360", "VC361", "VC362", "VC363", "VC364", "VC365", "VC401", "VC402"))
"""Codes of what may be otherwise in an hour with the same file: its reader was killed, nobody answers, it may not be read, a
package is missing. No ledger takes them for an answer."""


class AuditRow(NamedTuple):
    """The verdict on one file, and what it takes to know later whether it still stands.

    ``needs`` names the arguments that change predictions and that nothing tells; ``foreign`` says what a file is that
    lies beside checkpoints without being one; ``options`` stands for the options of the run, and ``folder`` is where it was
    typed, for a path that begins there.
    """

    file: str
    verdict: Verdict
    size: int = 0
    modified_ns: int = 0
    inode: int = 0
    mark: str = ""
    tool: str = __version__
    options: str = ""
    format: str = ""
    class_name: str = ""
    generation: str = ""
    needs: tuple[str, ...] = ()
    codes: Mapping[str, int] = {}
    tensors: int = 0
    bytes: int = 0
    message: str = ""
    next: str = ""
    foreign: str = ""
    named: bool = False
    folder: str = ""

    @property
    def place(self) -> str:
        """The file, wherever one is: an absolute path, or an address."""
        return self.file if is_address(self.file) else os.path.abspath(os.path.join(self.folder, self.file))

    @property
    def kind(self) -> str:
        """The verdict, or ``foreign`` for what is no checkpoint and is not meant to be one."""
        return "foreign" if self.foreign else self.verdict

    @property
    def exit_code(self) -> int:
        """The exit code that the contract gives to the verdict."""
        return EXIT_CODES[self.verdict]

    @property
    def target(self) -> Target:
        """The file as it was when it was judged."""
        return Target(
            self.place, self.named, size=self.size, modified_ns=self.modified_ns, inode=self.inode, mark=self.mark
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the row as the ledger has it; what says nothing is left out."""
        fields_of_row = {JSON_NAMES.get(name, name): value for name, value in self._asdict().items()}
        always = ("file", "verdict", "size", "mtime_ns", "inode", "tool")
        return {"schema": 1, **{name: value for name, value in fields_of_row.items() if value or name in always}}


JSON_NAMES: Final = {"modified_ns": "mtime_ns", "class_name": "class"}
_FIELDS: Final = {JSON_NAMES.get(name, name): name for name in AuditRow._fields}


def row_of(diagnosis: Diagnosis, target: Target, options: str) -> AuditRow:
    """Return the row of a file that was judged."""
    result, identity = diagnosis.result, diagnosis.result.identity
    codes: dict[str, int] = {}
    for finding in result.findings:
        codes[finding.code] = codes.get(finding.code, 0) + 1
    errors = [finding.message for finding in result.findings if finding.severity == "error"]
    open_arguments = identity.undetermined.items() if identity else ()
    # only reading tells the size and version of what lies behind an address
    if is_address(target.path) and not isinstance(diagnosis, Unreadable):
        facts = diagnosis.checkpoint.files[0]
        target = target._replace(size=facts.size, mark=facts.version)
    return AuditRow(
        file=public_name(target.path),
        verdict=result.verdict,
        size=target.size,
        modified_ns=target.modified_ns,
        inode=target.inode,
        mark=target.mark,
        options=options,
        format=result.format,
        class_name=identity.class_name if identity else "",
        generation=identity.generation if identity else "",
        needs=tuple(name for name, row in open_arguments if row.changes_predictions),
        codes=codes,
        tensors=result.tensors,
        bytes=result.bytes,
        message=errors[0][:_MOST_TEXT] if errors else "",
        next=result.next,
        foreign=_bystander(diagnosis)[:_MOST_TEXT] if not target.named else "",
        named=target.named,
        folder=_folder_of(target.path),
    )


def _folder_of(path: str) -> str:
    return "" if is_address(path) or os.path.isabs(path) else os.getcwd()


def _bystander(diagnosis: Diagnosis) -> str:
    return diagnosis.bystander if isinstance(diagnosis, Unreadable) else ""


def row_of_failure(target: Target, options: str, why: str) -> AuditRow:
    """Return the row of a file whose reader did not come to an answer: a fault of ours, or a machine without memory."""
    return AuditRow(
        file=public_name(target.path),
        verdict="unreadable",
        size=target.size,
        modified_ns=target.modified_ns,
        inode=target.inode,
        mark=target.mark,
        options=options,
        codes={"VC360": 1},
        message=f"the process that read it ended without an answer ({why})"[:_MOST_TEXT],
        named=target.named,
        folder=_folder_of(target.path),
    )


def line_of(row: AuditRow) -> bytes:
    """Return a row as one line of the ledger, in ASCII: file names need not be UTF-8."""
    return json.dumps(row.to_dict(), separators=(",", ":")).encode("ascii") + b"\n"


def row_in(line: bytes) -> AuditRow | None:
    """Return the row that a line of a ledger holds; None where it is no row of this format.

    Examples
    --------
    >>> row_in(line_of(AuditRow("a.ckpt", "compatible", size=3))).size
    3
    >>> row_in(b"{}") is None, row_in(b'{"schema":1,"fi') is None
    (True, True)
    """
    try:
        fields_of_row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if type(fields_of_row) is not dict or fields_of_row.get("schema") != 1:
        return None
    verdict = fields_of_row.get("verdict")
    if not isinstance(verdict, str) or verdict not in EXIT_CODES:
        return None
    fields = {_FIELDS[name]: value for name, value in fields_of_row.items() if name in _FIELDS}
    defaults = AuditRow("", "unknown")
    sound = all(_is_alike(value, getattr(defaults, name)) for name, value in fields.items())
    if not sound or not fields.get("file"):
        return None
    return AuditRow(**{**fields, "needs": tuple(fields.get("needs", ()))})


def _is_alike(value: object, default: object) -> bool:
    if isinstance(default, tuple):
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    return type(value) is type(default)

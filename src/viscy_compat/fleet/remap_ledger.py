"""What an audit found remappable, written file by file into a folder: each whole or absent, and a later run goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Iterator, Sequence
from typing import Any, Final, Literal, get_args

from viscy_compat.checkpoint.locations import is_address, name_of
from viscy_compat.errors import CompatError, OutputRefused, PlanRefused, UsageError
from viscy_compat.findings import Finding, Verdict
from viscy_compat.fleet.in_order import answers_in_order, jobs_for
from viscy_compat.fleet.ledger import MOST_LINE, latest_rows
from viscy_compat.fleet.row import PASSING, AuditRow
from viscy_compat.fleet.target import NO_ANSWER, freshness, probe, target_of
from viscy_compat.named import NamedTuple
from viscy_compat.regular_files import NotOpened, lines_of, open_file, open_to_append
from viscy_compat.rewrite.choosing import RemapRequest
from viscy_compat.rewrite.output import sweep
from viscy_compat.rewrite.remapping import Wish, fulfil
from viscy_compat.version import __version__

RECORD: Final = "viscy-compat-remap.jsonl"
"""The file in the folder that says what was written from what: from it a later run goes on."""

Fortune = Literal["written", "refused", "changed"]
"""``changed``: the file is not the one that the audit saw, so its verdict is not known any more."""


class LedgerRemap(NamedTuple):
    """What became of one file of a ledger; ``size`` and ``modified_ns`` are those of the new file, ``mark`` of its source."""

    file: str
    fortune: Fortune
    out: str = ""
    size: int = 0
    modified_ns: int = 0
    mark: str = ""
    code: str = ""
    message: str = ""
    fix: str = ""

    @property
    def title(self) -> str:
        """The file."""
        return self.file

    @property
    def verdict(self) -> Verdict:
        """The verdict of the contract that fits best."""
        return {"written": "remappable", "refused": "incompatible", "changed": "unreadable"}[self.fortune]  # type: ignore[return-value]

    @property
    def exit_code(self) -> int:
        """0 where it was written, 1 where the remap was refused, 2 where nobody knows."""
        return {"written": 0, "refused": 1, "changed": 2}[self.fortune]

    @property
    def findings(self) -> Sequence[Finding]:
        """Why it was not written; of what was written, what still has to be stated before predictions are known."""
        return [Finding(self.code, self.message, fix=self.fix)] if self.code else []

    def to_dict(self) -> dict[str, Any]:
        """Return the row; what says nothing is left out."""
        return {"schema": 1, **{name: value for name, value in self._asdict().items() if value}}


class RemapTask(NamedTuple):
    """One row of a ledger to remap: where its file goes, what is asked of it, and where the answer is written down."""

    row: AuditRow
    out: str
    request: RemapRequest
    wish: Wish
    record: str


def remap_ledger(
    ledger: str, folder: str, request: RemapRequest, wish: Wish, *, jobs: int | None = 1
) -> Generator[LedgerRemap]:
    """Remap every file that is remappable, in its order; what an earlier run settled is taken from its record.

    Parameters
    ----------
    ledger : str
        Of an audit.
    folder : str
        Where the new files go, in the folders that the old ones lie in below the one that all share.
    request, wish
        What is asked of each file, and how it is written; ``path`` and ``out`` are filled in.
    jobs : int or None, optional
        Processes; one for each processor where it is None.

    Raises
    ------
    UsageError
        Where the ledger is none, or nothing in it is remappable.
    OutputRefused
        Where the folder cannot be made.
    """
    common, count = _shared_folder(ledger)
    if not count:
        raise UsageError("nothing in this ledger is remappable", where=ledger, fix="viscy-compat audit says what is")
    places = set[str]()
    try:
        os.makedirs(folder, exist_ok=True)
        before = _record_of(folder)
        record = os.path.join(folder, RECORD)
        open_to_append(record).close()
        tasks = (
            RemapTask(row, out=_place_for(row.file, common, folder, places), request=request, wish=wish, record=record)
            for row in _remappable_in(ledger)
        )
        yield from answers_in_order(
            ((task, _earlier_answer(task, before)) for task in tasks),
            remap_and_record,
            jobs=jobs_for(jobs, count),
            recall=lambda task: _earlier_answer(task, _record_of(folder)),
            despair=_answer_of_the_dead,
        )
    except OSError as error:
        raise OutputRefused(error.strerror or str(error), where=folder, fix="choose another folder") from error
    except NotOpened as problem:
        raise OutputRefused(
            problem.reason, where=os.path.join(folder, RECORD), fix="choose another folder"
        ) from problem
    finally:
        # a process that did not end when it was asked to was killed, and left what it had in hand
        for place in {os.path.dirname(place) for place in places}:
            sweep(place)


def _remappable_in(ledger: str) -> Iterator[AuditRow]:
    """Yield the rows to remap, each with a path that leads to its file from here."""
    here = os.getcwd()
    for row in latest_rows(ledger):
        if row.verdict == "remappable":
            yield row if row.folder == here else row._replace(file=row.place)


def _shared_folder(ledger: str) -> tuple[str, int]:
    """Return the folder that all remappable files of this machine lie below, and how many are remappable."""
    common, count = "", 0
    for row in _remappable_in(ledger):
        count += 1
        if not is_address(row.file):
            place = os.path.dirname(os.path.abspath(row.file))
            common = os.path.commonpath([common, place]) if common else place
    return common, count


def _place_for(file: str, common: str, folder: str, places: set[str]) -> str:
    """Return where a new file goes: `a.ckpt` and `a.pt` beside each other do not become one."""
    name = name_of(file) if is_address(file) else os.path.relpath(os.path.abspath(file), common)
    stem, place = os.path.splitext(name)[0], ""
    for candidate in (f"{stem}.safetensors", f"{name}.safetensors"):
        place = os.path.join(folder, candidate)
        if place not in places:
            break
    else:
        count = 2
        while place in places:
            place = os.path.join(folder, f"{name}.{count}.safetensors")
            count += 1
    places.add(place)
    return place


def _record_of(folder: str) -> dict[str, LedgerRemap]:
    """Return what an earlier run wrote down, by its marks; half a line of a killed one is passed over."""
    path = os.path.join(folder, RECORD)
    if not os.path.lexists(path):
        return {}
    with open_file(path, "choose another folder", error=OutputRefused) as file:
        rows: dict[str, LedgerRemap] = {}
        for line in lines_of(file, MOST_LINE, path):
            try:
                fields = json.loads(line)
                row = LedgerRemap(**{name: value for name, value in fields.items() if name != "schema"})
            except (ValueError, TypeError, AttributeError, RecursionError):
                continue
            # whatever a line says is held against the kinds of a row of ours: the folder is the user's
            pairs = zip(row, LedgerRemap("", "written"), strict=True)
            is_row = all(type(value) is type(usual) for value, usual in pairs) and row.fortune in get_args(Fortune)
            # a row without a mark says nothing of its file, and must not stand before one that does: what was written stays so
            if is_row and row.mark:
                rows[row.mark] = row
        return rows


def _mark_of(row: AuditRow, request: RemapRequest, wish: Wish) -> str:
    """Return what is the same as long as the source and what is asked of it are."""
    target = row.target if is_address(row.file) else target_of(row.place, named=row.named)
    return f"{freshness(target, __version__, repr((request._replace(path=''), wish._replace(out='')))):016x}"


def _earlier_answer(task: RemapTask, before: dict[str, LedgerRemap]) -> LedgerRemap | None:
    """Return what an earlier run made of the same file, where its output is still what it wrote."""
    earlier = before.get(_mark_of(task.row, task.request, task.wish))
    if earlier is None:
        return None
    # files may be called otherwise where this run is typed
    earlier = earlier._replace(file=task.row.file)
    if earlier.fortune == "refused":
        return earlier
    try:
        status = os.stat(task.out)
    except OSError:
        return None
    is_same = (earlier.size, earlier.modified_ns) == (status.st_size, status.st_mtime_ns)
    return earlier._replace(out=task.out) if is_same else None


def remap_and_record(task: RemapTask) -> LedgerRemap:
    """Remap one file and write down what became of it: who writes the one writes the other, in whichever process."""
    before = _stamp(task.out)
    try:
        answer = _remap(task.row, task.out, task.request, task.wish)
        _write_down(answer, task.record)
    except KeyboardInterrupt:
        # what is in its place already is whole, and a later run would find it in the way
        stamp = _stamp(task.out)
        if stamp and stamp != before:
            # what there is to say of it was said to nobody, and a later run only finds it written
            mark = _mark_of(task.row, task.request, task.wish)
            _write_down(_answer_of_written(task.row, task.out, mark=mark, findings=()), task.record)
        raise
    return answer


def _stamp(path: str) -> tuple[int, int] | None:
    """Return what differs once a file is put in its place; None where there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def _write_down(answer: LedgerRemap, path: str) -> None:
    with open_to_append(path) as record:
        record.write(json.dumps(answer.to_dict()).encode("ascii") + b"\n")


def _answer_of_written(row: AuditRow, out: str, *, mark: str, findings: Sequence[Finding]) -> LedgerRemap:
    status = os.stat(out)
    answer = LedgerRemap(row.file, "written", out=out, size=status.st_size, modified_ns=status.st_mtime_ns, mark=mark)
    unstated = next((finding for finding in findings if finding.code == "VC302"), None)
    if unstated is None:
        return answer
    return answer._replace(code=unstated.code, message=unstated.message, fix=unstated.fix)


def _answer_of_the_dead(task: RemapTask, how: str) -> LedgerRemap:
    """Return the answer for a file that ends the process that remaps it; it is not recorded: a later run tries again."""
    message = f"the process that remapped it ended without an answer ({how})"
    return LedgerRemap(task.row.file, "refused", code="VC360", message=message, fix="--jobs 1 says more")


def _remap(row: AuditRow, out: str, request: RemapRequest, wish: Wish) -> LedgerRemap:
    mark = _mark_of(row, request, wish)
    now = probe(row.target) if is_address(row.file) else target_of(row.place, named=row.named)
    # why an address cannot be read is said by who reads it
    if now not in (row.target, row.target._replace(mark=NO_ANSWER)):
        message, fix = "the file is not the one that the audit saw", "run the audit again"
        if not is_address(row.file) and not os.path.lexists(row.file):
            message = "the file is not there any more"
        return LedgerRemap(row.file, "changed", code="VC402", message=message, fix=fix)
    # the folders of the old files are made anew below the one for the new ones
    os.makedirs(os.path.dirname(out), exist_ok=True)
    try:
        result = fulfil(request._replace(path=row.file), wish._replace(out=out))
    except (PlanRefused, CompatError) as error:
        # a full disc or a file in the way is no fact about the source: the next run tries again
        mark = "" if isinstance(error, OutputRefused) or error.code in PASSING else mark
        return LedgerRemap(row.file, "refused", mark=mark, code=error.code, message=error.message, fix=error.fix)
    if result.written is None:
        finding = next(iter(result.findings), Finding("", "no plan was found"))
        mark = "" if finding.code in PASSING else mark
        return LedgerRemap(row.file, "refused", mark=mark, code=finding.code, message=finding.message, fix=finding.fix)
    return _answer_of_written(row, out, mark=mark, findings=result.findings)

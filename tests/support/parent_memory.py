"""Run an audit over files that nobody reads: python memory_of_a_parent.py COUNT LEDGER. Prints the most memory, in MB.

Synthetic answers stand for the workers', so that what is measured is the parent: list, ledger, order, sum.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path

from viscy_compat.fleet.audit import Audit
from viscy_compat.fleet.engines import SHARD
from viscy_compat.fleet.judging import AuditQuestion
from viscy_compat.fleet.ledger import Ledger
from viscy_compat.fleet.listing import TargetSpool
from viscy_compat.fleet.row import AuditRow, line_of
from viscy_compat.fleet.tally import Tally
from viscy_compat.fleet.target import Target


class Synthetic:
    """An engine that answers at once, with rows as long as real ones."""

    shard, window, falls_together = SHARD, 8, True

    def submit(self, question: AuditQuestion, targets: Sequence[Target]) -> Future[list[bytes]]:
        future: Future[list[bytes]] = Future()
        future.set_result([line_of(_row(target)) for target in targets])
        return future

    def renew(self) -> None:
        """Nothing."""

    def refuse_absence(self) -> None:
        """Nothing."""

    def flush(self) -> None:
        """Nothing."""

    def close(self, *, at_once: bool) -> None:
        """Nothing."""


def _row(target: Target) -> AuditRow:
    return AuditRow(
        target.path,
        "compatible",
        size=target.size,
        modified_ns=target.modified_ns,
        inode=target.inode,
        format="torch-zip",
        class_name="ContrastiveEncoder",
        generation="v0.3",
        needs=("stem_stride",),
        codes={"VC302": 1, "VC103": 1},
        next=f"viscy-compat remap {target.path} -o {target.path}.safetensors --set stem_stride=VALUE",
    )


def main() -> None:
    """Audit twice: the second run takes everything from the ledger."""
    count, place = int(sys.argv[1]), sys.argv[2]
    path = "/data/lab/models/run {}/checkpoints/epoch={}-step={}.ckpt"
    targets = (
        Target(path.format(number % 100, number, 58 * number), False, 342_000_000, number, number)
        for number in range(count)
    )
    with TargetSpool(targets) as spool:
        for _ in range(2):
            tally = Tally()
            with Ledger(place) as ledger:
                audit = Audit(AuditQuestion(), Synthetic(), ledger)
                for row in audit.rows(spool):
                    tally.add(row)
                ledger.sort(audit.places)
                assert sum(1 for _ in audit.read()) == tally.files == count
    # not getrusage, which counts the process that this one was forked from
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    print(round(int(peak) / 1024))


if __name__ == "__main__":
    main()

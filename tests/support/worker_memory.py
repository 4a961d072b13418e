"""Judge every file of a folder in two processes: python worker_memory.py FOLDER. Prints the most memory of each, in kB."""

from __future__ import annotations

import re
import sys
from concurrent.futures import wait
from pathlib import Path

from viscy_compat.fleet.engines import SHARD, Cores
from viscy_compat.fleet.judging import AuditQuestion
from viscy_compat.fleet.target import target_of


def main() -> None:
    """Look at the processes once all is judged, while they wait for more."""
    targets = [target_of(str(path), named=False) for path in Path(sys.argv[1]).glob("*.ckpt")]
    engine = Cores(2)
    wait([engine.submit(AuditQuestion(), targets[at : at + SHARD]) for at in range(0, len(targets), SHARD)])
    for process in engine._pool._processes:
        (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
        print(peak)
    engine.close(at_once=False)


if __name__ == "__main__":
    main()

"""Change the code that decides, one place at a time, and count what the tests notice: python tools/mutation.py [ROOM ...]

mutmut makes the changes in a copy of this clone, and runs the tests of that room which build no model. Prints how many
changes each room's tests noticed and, with --list, those that nobody noticed. --least 85 leaves with exit code 1 where a
room's score is below. --by-hand makes a few changes of another kind, which would cost users most: one that is not noticed
leaves with exit code 1.

Looked at and left, because no result differs: ``strict=`` of a zip over lists made of one another; a CRC that is not handed
on, so that `ZipWriter` computes the same; defaults that every caller states; ``size=PIECE`` left out; a sort that puts
equals in another order of equal worth; a shortcut that is not taken and ends the same (`layout == expected`,
`_worth_improving`, `_attempts` ending at one difference); a helper's argument that is read in another branch alone; the size
of a buffer, or of a window that grows; another spelling of an encoding.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
QUICK = "not torch and not index and not long"


class Room(NamedTuple):
    """What is changed, and the tests that must notice."""

    module: str
    tests: tuple[str, ...]


ROOMS = {
    "wrapper": Room("checkpoint/wrapper.py", ("tests/checkpoint/test_wrapper.py",)),
    "inference": Room("architectures/inference.py", ("tests/architectures/test_inference.py",)),
    "plan": Room("plans/plan.py", ("tests/plans/test_plan.py", "tests/plans/test_plan_file.py")),
    "write": Room("rewrite/write.py", ("tests/rewrite/test_write.py", "tests/rewrite/test_remapping.py")),
    "engine": Room("gating/engine.py", ("tests/gating/test_engine.py",)),
    "judgement": Room("diagnosis/judgement.py", ("tests/diagnosis/test_judgement.py",)),
    "objects": Room("checkpoint/objects_in_front.py", ("tests/checkpoint/test_objects_in_front.py",)),
    "spans": Room("checkpoint/pickle_spans.py", ("tests/checkpoint/test_pickle_spans.py",)),
    "zeros": Room("checkpoint/zeros.py", ("tests/checkpoint/test_zeros.py",)),
    "folders": Room("diagnosis/folders.py", ("tests/diagnosis/test_folders.py",)),
    "listing": Room("fleet/listing.py", ("tests/fleet/test_listing.py",)),
    "ledger": Room("fleet/ledger.py", ("tests/fleet/test_ledger.py",)),
    "remap-ledger": Room("fleet/remap_ledger.py", ("tests/fleet/test_remap_ledger.py",)),
    "hints": Room("matching/hints.py", ("tests/matching/test_hints.py",)),
    "patterns": Room("matching/patterns.py", ("tests/matching/test_patterns.py",)),
}


class HandMutation(NamedTuple):
    """A change that a careless hand might make, and the tests that must notice."""

    what: str
    module: str
    before: str
    after: str
    tests: str


WRITING = "tests/rewrite/test_write.py"
BY_HAND = (
    HandMutation(
        "the matrix shows the best mark of a row",
        module="gating/engine.py",
        before="return max(mine, key=lambda",
        after="return min(mine, key=lambda",
        tests="tests/gating/test_engine.py",
    ),
    HandMutation(
        "checksums are not compared",
        module="checkpoint/tensor_bytes.py",
        before="crc_on_file = storage.crc if self._verifies else None",
        after="crc_on_file = None",
        tests=WRITING,
    ),
    HandMutation(
        "storages that are partly read are not verified",
        module="checkpoint/tensor_bytes.py",
        before="if storage.crc is not None:\n            for _ in",
        after="if False:\n            for _ in",
        tests=WRITING,
    ),
    HandMutation(
        "records are not compared after writing",
        module="rewrite/write.py",
        before="checks += _record_checks(records, new_file, whole_records)",
        after="pass",
        tests=WRITING,
    ),
    HandMutation(
        "the file is not brought to the disc",
        module="rewrite/output.py",
        before="        os.fsync(self._descriptor)\n",
        after="        pass\n",
        tests=WRITING,
    ),
    HandMutation(
        "its name is not brought to the disc",
        module="rewrite/output.py",
        before="os.fsync(folder)",
        after="pass",
        tests=WRITING,
    ),
    HandMutation(
        "a remap counts no casts",
        module="rewrite/remapping.py",
        before='"casts": plan.count(Cast)',
        after='"casts": 0',
        tests="tests/rewrite/test_remapping.py",
    ),
    HandMutation(
        "a check counts no casts",
        module="diagnosis/result.py",
        before='"casts": self.casts',
        after='"casts": 0',
        tests="tests/diagnosis/test_judgement.py",
    ),
    HandMutation(
        "verify does not say how it is kept apart",
        module="report/text_verify.py",
        before='yield from (f"isolation: {line}" for line in dict.fromkeys(isolation))',
        after="yield from ()",
        tests="tests/report/test_text_verify.py",
    ),
    HandMutation(
        "a configuration one folder up is not looked for",
        module="diagnosis/offers.py",
        before="for above in (folder, os.path.join(folder, os.pardir)):",
        after="for above in (folder,):",
        tests="tests/test_config_files.py",
    ),
    HandMutation(
        "an inner wrapper is taken out although it has siblings",
        module="checkpoint/wrapper.py",
        before="return all(name.startswith(inner) for name in names if name.startswith(parent))",
        after="return True",
        tests="tests/checkpoint/test_wrapper.py",
    ),
    HandMutation(
        "a file that would run something is called loadable",
        module="diagnosis/judgement.py",
        before='    if causes.forbid_loading(findings):\n        return "unreadable"',
        after='    if False:\n        return "unreadable"',
        tests="tests/diagnosis/test_judgement.py",
    ),
)

NOTICED = {"killed", "timeout", "caught by type check"}
UNDECIDED = {"skipped", "suspicious", "not checked"}
"""Changes that mutmut could not judge do not count either way."""


def copy_clone(folder: Path) -> None:
    """Copy what git tracks (and what it would) into a folder."""
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, names.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


def configure(folder: Path, room: Room) -> None:
    """Tell mutmut, which reads nothing but pyproject.toml, what to change and what to run."""
    settings = {
        "source_paths": ["src"],
        "only_mutate": [f"src/viscy_compat/{room.module}"],
        "also_copy": sorted(path.name for path in folder.iterdir() if path.name not in ("src", "mutants")),
        "pytest_add_cli_args_test_selection": list(room.tests),
        "pytest_add_cli_args": [
            "-m",
            QUICK,
            "-k",
            "not thousand",
            "-p",
            "no:cacheprovider",
            "--hypothesis-profile=mutation",
        ],
    }
    text = (ROOT / "pyproject.toml").read_text()
    # lists of plain texts are the same in TOML as in JSON
    rows = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
    (folder / "pyproject.toml").write_text("\n".join([text, "[tool.mutmut]", *rows, ""]))


def run_room(folder: Path, room: Room, jobs: int) -> dict[str, str]:
    """Run mutmut on one room; return what became of each change."""
    shutil.rmtree(folder / "mutants", ignore_errors=True)
    configure(folder, room)
    mutmut = str(Path(sys.executable).with_name("mutmut"))
    done = subprocess.run([mutmut, "run", "--max-children", str(jobs)], cwd=folder, capture_output=True, text=True)
    found = subprocess.run([mutmut, "results", "--all", "true"], cwd=folder, capture_output=True, text=True)
    results = dict(re.findall(r"^ +(\S+): (.+)$", found.stdout, re.MULTILINE))
    if done.returncode or not results:
        raise SystemExit(f"mutmut failed on {room.module}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return results


def score(results: dict[str, str]) -> float:
    """Return the share of changes that were noticed, in percent."""
    counted = [result for result in results.values() if result not in UNDECIDED]
    return 100 * sum(result in NOTICED for result in counted) / max(1, len(counted))


def show_survivors(folder: Path, results: dict[str, str]) -> None:
    """Print the changes that nobody noticed."""
    mutmut = str(Path(sys.executable).with_name("mutmut"))
    for name, result in results.items():
        if result not in NOTICED | UNDECIDED:
            shown = subprocess.run([mutmut, "show", name], cwd=folder, capture_output=True, text=True).stdout
            lines = [
                line for line in shown.splitlines() if line.startswith(("-", "+")) and line[:3] not in ("---", "+++")
            ]
            print(f"    {name} ({result})", *(f"        {line}" for line in lines), sep="\n")


def is_noticed(folder: Path, mutation: HandMutation) -> bool:
    """Make one change in the copy, run its tests, and take it back."""
    place = folder / "src" / "viscy_compat" / mutation.module
    text = place.read_text()
    if text.count(mutation.before) != 1:
        raise SystemExit(f"{mutation.module} does not hold {mutation.before!r} once: name its present form in BY_HAND")
    place.write_text(text.replace(mutation.before, mutation.after))
    words = ["-q", "-x", "-m", QUICK, "-p", "no:cacheprovider", mutation.tests]
    environment = {**os.environ, "PYTHONPATH": str(folder / "src")}
    done = subprocess.run([sys.executable, "-m", "pytest", *words], cwd=folder, env=environment, capture_output=True)
    place.write_text(text)
    # 1: a test failed; anything else is no answer
    if done.returncode not in (0, 1):
        raise SystemExit(done.stdout.decode()[-2000:])
    return done.returncode == 1


def run_by_hand(folder: Path) -> bool:
    """Make the changes by hand, one after the other, and say which were noticed; return whether all were."""
    answers = []
    for mutation in BY_HAND:
        answers.append(is_noticed(folder, mutation))
        print(f"{'noticed' if answers[-1] else 'NOT NOTICED':12} {mutation.what} ({mutation.module})", flush=True)
    return all(answers)


def main() -> int:
    """Run the rooms that were asked for, print their scores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rooms", nargs="*", choices=[[], *ROOMS], default=[], metavar="ROOM", help=", ".join(ROOMS))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--least", type=float, default=0.0, metavar="PERCENT")
    parser.add_argument("--list", action="store_true", help="print the changes that nobody noticed")
    parser.add_argument("--by-hand", action="store_true", help="make the changes of another kind, and nothing else")
    options = parser.parse_args()
    below = False
    with tempfile.TemporaryDirectory(prefix="mutation-") as name:
        folder = Path(name)
        copy_clone(folder)
        if options.by_hand:
            return int(not run_by_hand(folder))
        for room in options.rooms or ROOMS:
            results = run_room(folder, ROOMS[room], options.jobs)
            percent = score(results)
            counts = ", ".join(f"{count} {result}" for result, count in Counter(results.values()).most_common())
            print(f"{room:12} {percent:5.1f} % of {len(results)} changes noticed ({counts})", flush=True)
            if options.list:
                show_survivors(folder, results)
            below = below or percent < options.least
    return int(below)


if __name__ == "__main__":
    sys.exit(main())

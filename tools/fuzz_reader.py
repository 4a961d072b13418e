"""Fuzz what reads a stranger's bytes: python tools/fuzz_reader.py [--seconds 600] [--seed N] [--only NAME] [--keep FOLDER]

Takes turns over checkpoints, plans, training configurations, indexes of sharded checkpoints, tables of waivers, values of
--set and answers of workers: damages one at random (flips, cuts, insertions, deletions, other values in its structure), and
reads it. An input that makes our functions call each other in a new way joins those that are damaged further. Anything but
an answer (another exception, more than two seconds, another result the second time) is a finding: the input is kept.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import sys
import tempfile
import time
import traceback
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import CodeType, FrameType
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from hostile.generator import HONEST, HONEST_LIGHTNING, HONEST_SAFETENSORS, HONEST_STREAM, all_cases
from support.assembly import archive, lightning, module, pickled, records, tensor, zipped
from support.mutation import mutated, mutated_json
from viscy_compat.checkpoint import open_checkpoint
from viscy_compat.checkpoint.inspection import inspect_checkpoint
from viscy_compat.checkpoint.limits import with_limits
from viscy_compat.checkpoint.tensor_bytes import TensorReader
from viscy_compat.checkpoint.wrapper import layout_of, views_of
from viscy_compat.config_files import read_config
from viscy_compat.errors import CompatError
from viscy_compat.findings import Report
from viscy_compat.layout import TensorSpec
from viscy_compat.operations import Cast, Drop, Fill, Operation, Rename, Split
from viscy_compat.plans.plan import PlanEnd, identity_rows, plan_of
from viscy_compat.plans.plan_file import dumps, read_plan
from viscy_compat.report import render
from viscy_compat.report.terminal import Style
from viscy_compat.stated import parse_settings, spell
from viscy_compat.waivers import read_waivers
from viscy_compat.workers.answers import Run, read_answer, read_description, read_names

ROOT = Path(__file__).resolve().parents[1]
SLOW = 2.0
_MOST_KEPT = 2_000


class Subject(NamedTuple):
    """What is fuzzed: inputs to begin with, how one is damaged, and how one is read (what it came to, in a word)."""

    inputs: list[bytes]
    damage: Callable[[bytes, list[bytes], random.Random], bytes]
    answer: Callable[[Path], str]
    name: str


# --- checkpoints -------------------------------------------------------------------------------------------------


def corpus() -> list[bytes]:
    """Honest files first, then every small hostile one."""
    honest = [HONEST, HONEST_LIGHTNING, HONEST_STREAM, HONEST_SAFETENSORS, zipped(module({"w": tensor()}))]
    hostile = [case.content for case in all_cases() if len(case.content) < 20_000]
    return honest * 20 + hostile


def damaged(content: bytes, others: list[bytes], dice: random.Random) -> bytes:
    """Return one damaged file; in half of them only the pickle of an otherwise sound archive, or the header, is damaged.

    Its checksums and its length are made right again, so that the damage reaches what is behind them.
    """
    if dice.random() < 0.5 and content.startswith(b"PK\x03\x04"):
        return archive(records(mutated(_pickle_of(content) or pickled(lightning()), others, dice)))
    if dice.random() < 0.7 and content[8:9] == b"{":
        size = int.from_bytes(content[:8], "little")
        header = mutated_json(content[8 : 8 + size], dice)
        return len(header).to_bytes(8, "little") + header + content[8 + size :]
    return mutated(content, others, dice)


def _pickle_of(content: bytes) -> bytes | None:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as held:
            return held.read("archive/data.pkl")
    except (zipfile.BadZipFile, KeyError, NotImplementedError, RuntimeError, EOFError, zlib.error, OSError, ValueError):
        return None


def answer(path: Path) -> str:
    """Read a file in every way there is; return what it came to."""
    try:
        checkpoint = open_checkpoint(str(path))
        result = inspect_checkpoint(checkpoint, every_byte=True)
        for format in ("text", "json"):
            render(Report("inspect", [result]), format, Style(verbose=True))
        _ = [layout_of(checkpoint, view) for view in views_of(checkpoint)]
        with TensorReader(checkpoint) as reader:
            for one in list(checkpoint.tensors.values())[:50]:
                if one.nbytes < 1 << 20:
                    reader.digest(one)
    except CompatError as error:
        return error.code
    return "read"


# --- documents ---------------------------------------------------------------------------------------------------


def damaged_document(content: bytes, others: list[bytes], dice: random.Random) -> bytes:
    """Return a document with other values in its structure, with damaged bytes, or with both."""
    changed = mutated_json(content, dice) if dice.random() < 0.7 else content
    return mutated(changed, others, dice) if changed == content or dice.random() < 0.3 else changed


def damaged_plan(content: bytes, others: list[bytes], dice: random.Random) -> bytes:
    """Return a damaged plan; in two of three only its operations are, which are behind the digests of its layouts."""
    if dice.random() < 0.3:
        return damaged_document(content, others, dice)
    try:
        plan = json.loads(content)
        plan["operations"] = json.loads(mutated_json(json.dumps(plan["operations"]).encode(), dice))
    except (ValueError, TypeError, KeyError, RecursionError):
        return damaged_document(content, others, dice)
    return json.dumps(plan).encode()


def _plans() -> list[bytes]:
    old = {f"a.{place}.w": TensorSpec((2, 3)) for place in range(3)} | {
        "b": TensorSpec((4,)),
        "n": TensorSpec((), "int64"),
    }
    new = {f"c.{place}.w": TensorSpec((2, 3)) for place in range(3)} | {
        "b.0": TensorSpec((2,)),
        "b.1": TensorSpec((2,)),
    }
    rows: list[Operation] = [
        *(Rename(f"a.{place}.w", f"c.{place}.w") for place in range(3)),
        Split("b", ("b.0", "b.1"), 0, (2, 2)),
    ]
    half = {"w": TensorSpec((2,), "float16")}
    plans = [
        plan_of(PlanEnd(old), PlanEnd(old), identity_rows(old)),
        plan_of(PlanEnd(old, "BetaVae25D", "v0.4", {"a": (1, 2)}), PlanEnd(new), [*rows, Drop("n", "counted nothing")]),
        plan_of(PlanEnd(half), PlanEnd({"w": TensorSpec((2,))}), [Cast("w", "w", "float32")]),
        plan_of(PlanEnd({}), PlanEnd({"w": TensorSpec((2,))}), [Fill("w", (2,), "float32", 0.0, "new")]),
    ]
    return [dumps(plan).encode() for plan in plans]


def _read_plan(path: Path) -> str:
    plan = read_plan(str(path))
    path.write_text(dumps(plan), encoding="utf-8")
    if read_plan(str(path)) != plan:
        raise AssertionError("the plan is another one when it is read again")
    return "plan"


CONFIGURATIONS = [
    b"model:\n  class_path: viscy.X\n  init_args:\n    model_config: {in_channels: 1, stem_stride: [5, 4, 4]}\n",
    b"a: &a {init_args: {n: 1}}\nb: [*a, *a]\nc: {<<: *a, class_path: b.C}\n",
    b'{"model": {"class_path": "a.B", "init_args": {"n": 1, "rate": 1e-6, "name": null}}}',
]
INDEXES = [
    b'{"metadata": {"total_size": 24}, "weight_map": {"w": "a.safetensors"}}',
    b'{"weight_map": {"w": "a.safetensors", "v": "b.safetensors"}}',
    b'{"weight_map": {"w": "model.safetensors.index.json"}}',
]
WAIVERS = [b'[accepted.a]\nclass = "BetaVae25D"\ncode = "VC501"\nreason = "why"\nexpires = 2099-01-01\n']
SETTINGS = [b"stem_stride=5,4,4", b"n=[[2, 2], [1, 1]]", b"pretrained=false", b"rate=1e-6", b"opcodes=100", b"n=7,"]


def _read_config(path: Path) -> str:
    rows = read_config(str(path))
    json.dumps([[row.origin, *map(spell, row.arguments.values())] for row in rows])
    return "configuration"


def _read_index(path: Path) -> str:
    """Read an index beside two files, and list the folder, which must not lose the file that the index is."""
    from viscy_compat.diagnosis import check_paths

    index = path.with_name("model.safetensors.index.json")
    index.write_bytes(path.read_bytes())
    for name in ("a", "b"):
        path.with_name(f"{name}.safetensors").write_bytes(HONEST_SAFETENSORS)
    path.unlink()
    results = list(check_paths([str(path.parent)]))
    if str(index) not in {result.title for result in results}:
        raise AssertionError("the index is not in the report of its folder")
    render(Report("check", results), "json", Style())
    return answer(index)


def _read_waivers(path: Path) -> str:
    read_waivers(str(path))
    return "waivers"


def _read_settings(path: Path) -> str:
    text = path.read_bytes().decode("utf-8", "replace")
    with suppress(CompatError):
        with_limits([text])
    return ",".join(map(spell, parse_settings([text]).values())) and "setting"


_SUM = "0" * 64
_PASS = {
    "type": "tuple",
    "outputs": [{"name": "0", "shape": [1, 2], "dtype": "float32", "digest": _SUM, "finite": True}],
    "generator": _SUM,
    "buffers": {"n": _SUM},
}
ANSWERS = [
    {
        "layout": [["w", [2, 3], "float32"]],
        "initial": {"digests": [_SUM], "generator": _SUM, "samples": [[0.5]], "norms": [1.0]},
        "eval": _PASS,
        "train": {"error": {"stage": "forward", "type": "ValueError", "message": "no"}},
        "modules": {"eval": {"calls": [["a", "Linear", _SUM, _SUM]]}},
        "seconds": {"build": 0.1},
    },
    {"file": "a.py", "signature": [["n", "POSITIONAL_OR_KEYWORD", True, 3]]},
    {"names": {"a": None, "b": {"stage": "import", "type": "ImportError", "message": "no"}}},
]


def _read_answers(path: Path) -> str:
    """Read an answer in each of the ways in which answers are read."""
    asked = Run("s", "a:B", {}, (1, 2), ("layout", "initial", "eval"), 0, {"samples": 1, "norms": True})
    try:
        told = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return "no JSON"
    codes = []
    for read in (lambda: read_answer(told, "old", asked), lambda: read_description(told, "old"),
                 lambda: read_names(told, "old", ["a", "b"])):  # fmt: skip
        try:
            repr(read())
            codes.append("read")
        except CompatError as error:
            codes.append(error.code)
    return " ".join(codes)


def subjects() -> list[Subject]:
    """Everything that is fuzzed; checkpoints come first."""
    told = [json.dumps(row).encode() for row in ANSWERS]
    return [
        Subject(corpus(), damaged, answer, "checkpoints"),
        Subject(_plans(), damaged_plan, _read_plan, "plans"),
        Subject(CONFIGURATIONS, damaged_document, _read_config, "configurations"),
        Subject(INDEXES, damaged_document, _read_index, "indexes"),
        Subject(WAIVERS, mutated, _read_waivers, "waivers"),
        Subject(SETTINGS, mutated, _read_settings, "settings"),
        Subject(told, damaged_document, _read_answers, "answers"),
    ]


# --- the run -----------------------------------------------------------------------------------------------------


class Calls:
    """Which function of ours was called by which, over all inputs."""

    def __init__(self) -> None:
        self.seen: set[tuple[CodeType | None, CodeType]] = set()
        self.ours = str(ROOT / "src")

    def watch(self, work: Callable[[], str]) -> tuple[str, bool]:
        """Do something, and return what it returns and whether a call was new."""
        before = len(self.seen)
        sys.settrace(self._called)
        try:
            return work(), len(self.seen) > before
        finally:
            sys.settrace(None)

    def _called(self, frame: FrameType, event: str, value: object) -> None:
        if frame.f_code.co_filename.startswith(self.ours):
            self.seen.add((frame.f_back.f_code if frame.f_back else None, frame.f_code))


def told(subject: Subject, path: Path, content: bytes) -> str:
    """Read one input; return its code or a word, or the traceback of what must not come out."""
    path.write_bytes(content)
    try:
        return subject.answer(path)
    except CompatError as error:
        return error.code or type(error).__name__
    except (Exception, RecursionError):  # noqa: BLE001 (finding them is what this program is for)
        return traceback.format_exc()


def is_slow(subject: Subject, path: Path, content: bytes) -> bool:
    """Whether one input takes more than two seconds of the processor when nothing is watched."""
    started = time.process_time()
    told(subject, path, content)
    return time.process_time() - started > SLOW


def fuzz(listed: list[Subject], seconds: float, seed: int, keep: Path) -> tuple[Counter[str], int]:
    """Fuzz subjects in turn until the time is over; return what the inputs came to, and the number of findings."""
    calls, answers, found = Calls(), Counter[str](), 0
    until = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.ckpt"
        while time.monotonic() < until:
            seed += 1
            dice, subject = random.Random(seed), listed[seed % len(listed)]
            content = subject.damage(dice.choice(subject.inputs), subject.inputs, dice)
            started = time.process_time()
            came_to, is_new = calls.watch(lambda: told(subject, path, content))  # noqa: B023
            slow = time.process_time() - started > SLOW and is_slow(subject, path, content)
            if is_new and len(content) < 20_000 and len(subject.inputs) < _MOST_KEPT:
                subject.inputs.append(content)
            if "\n" in came_to or slow:
                found += 1
                keep.mkdir(exist_ok=True)
                (keep / f"{subject.name}-{seed}").write_bytes(content)
                print(f"{subject.name}, seed {seed}: {'slow' if slow else came_to}", file=sys.stderr)
            answers[f"{subject.name} {'FOUND' if slow or chr(10) in came_to else came_to}"] += 1
    print(f"{len(calls.seen)} calls of one function of ours by another", file=sys.stderr)
    return answers, found


def main() -> int:
    """Fuzz until the time is over; exit code 1 where something was found."""
    listed = subjects()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=[subject.name for subject in listed])
    parser.add_argument("--keep", type=Path, default=Path("fuzz-findings"))
    arguments = parser.parse_args()
    wanted = [subject for subject in listed if arguments.only in (None, subject.name)]
    answers, found = fuzz(wanted, arguments.seconds, arguments.seed, arguments.keep)
    for subject in wanted:
        mine = {key.partition(" ")[2]: count for key, count in sorted(answers.items()) if key.startswith(subject.name)}
        rows = ", ".join(f"{key} {count}" for key, count in mine.items())
        print(f"{subject.name}: {sum(mine.values())} inputs; {rows}")
    print(f"{sum(answers.values())} inputs, {found} findings")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

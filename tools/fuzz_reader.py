"""Fuzz the reader for a while: python tools/fuzz_reader.py [--seconds 600] [--seed N] [--keep FOLDER]

Damages honest and hostile files of every format at random, reads each, shows it in full and digests its tensors. Anything
but an answer (another exception, more than two seconds, a file changed) is a finding: the file is kept, with its seed.
Checksums are made right again in half of the archives, so that the damage reaches the pickle.
"""

from __future__ import annotations

import argparse
import io
import random
import sys
import tempfile
import time
import traceback
import zipfile
import zlib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from hostile.generator import GROUPS, HONEST, HONEST_LIGHTNING, HONEST_SAFETENSORS, HONEST_STREAM
from support.assembly import archive, lightning, module, pickled, records, tensor, zipped
from support.mutation import mutated
from viscy_compat.checkpoint import open_checkpoint
from viscy_compat.checkpoint.inspection import inspected
from viscy_compat.checkpoint.tensor_bytes import TensorReader
from viscy_compat.errors import CompatError
from viscy_compat.findings import Report
from viscy_compat.report import Style, render

SLOW = 2.0


def corpus() -> list[bytes]:
    """Honest files first, then every small hostile one."""
    honest = [HONEST, HONEST_LIGHTNING, HONEST_STREAM, HONEST_SAFETENSORS, zipped(module({"w": tensor()}))]
    hostile = [case.content for group in GROUPS.values() for case in group() if len(case.content) < 20_000]
    return honest * 20 + hostile


def damaged(contents: list[bytes], dice: random.Random) -> bytes:
    """Return one damaged file; in half of them only the pickle of an otherwise sound archive is damaged."""
    content = dice.choice(contents)
    if dice.random() < 0.5 and content.startswith(b"PK\x03\x04"):
        pickle = _pickle_of(content) or pickled(lightning())
        return archive(records(mutated(pickle, contents, dice)))
    return mutated(content, contents, dice)


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
        result = inspected(checkpoint, every_byte=True)
        for format in ("text", "json"):
            render(Report("inspect", [result]), format, Style(verbose=True))
        _ = checkpoint.views, checkpoint.layout
        with TensorReader(checkpoint) as reader:
            for one in list(checkpoint.tensors.values())[:50]:
                if one.nbytes < 1 << 20:
                    reader.digest(one)
    except CompatError as error:
        return error.code
    return "read"


def main() -> int:
    """Fuzz until the time is over; exit code 1 where something was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path("fuzz-findings"))
    arguments = parser.parse_args()
    contents, answers, found = corpus(), {}, 0
    until, seed = time.monotonic() + arguments.seconds, arguments.seed
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.ckpt"
        while time.monotonic() < until:
            seed += 1
            content = damaged(contents, random.Random(seed))
            path.write_bytes(content)
            started = time.process_time()
            try:
                told = answer(path)
            except (Exception, RecursionError):  # noqa: BLE001 (finding them is what this program is for)
                told = traceback.format_exc()
            if "\n" in told or time.process_time() - started > SLOW:
                found += 1
                arguments.keep.mkdir(exist_ok=True)
                (arguments.keep / f"{seed}.ckpt").write_bytes(content)
                print(f"seed {seed}: {told}", file=sys.stderr)
                told = "FOUND"
            answers[told] = answers.get(told, 0) + 1
    print(
        f"{sum(answers.values())} files, {found} findings; "
        + ", ".join(f"{key} {answers[key]}" for key in sorted(answers))
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

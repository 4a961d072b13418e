"""Checkpoints of the real old classes, made once a test run in a process of their own (`tools/old_checkpoint.py`)."""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from support.uncounted import uncounted
from viscy_compat.architectures import find, migrated_names
from viscy_compat.architectures.architecture import Architecture, Generation, Release, complete

ROOT = Path(__file__).resolve().parents[2]


def cache() -> Path:
    """The folder where downloaded wheels stay between test runs."""
    folder = Path(os.environ.get("VISCY_COMPAT_TEST_CACHE", ROOT / ".cache")) / "wheels"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def wheel(version: str) -> Path:
    """The released viscy wheel of a version, downloaded with pip where it is not at hand yet."""
    found = next(iter(cache().glob(f"viscy-{version}-*.whl")), None)
    if found is None:
        options = ["-q", "--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "-d", str(cache())]
        command = [sys.executable, "-m", "pip", "download", *options, f"viscy=={version}"]
        subprocess.run(command, check=True, capture_output=True)
        found = next(iter(cache().glob(f"viscy-{version}-*.whl")))
    return found


def make(version: str, jobs: Iterable[Mapping[str, Any]]) -> None:
    """Write the checkpoints that the jobs describe, with the old classes of one release."""
    listed = [{**job, "out": str(job["out"])} for job in jobs]
    lists = Path(listed[0]["out"]).with_suffix(".jobs.json")
    lists.write_text(json.dumps(listed))
    errors = lists.with_suffix(".errors")
    code = _server().made(str(wheel(version)), str(lists), str(errors))
    said = errors.read_text(errors="replace") if errors.exists() else ""
    lists.unlink()
    errors.unlink(missing_ok=True)
    assert code == 0, said[-2000:]


class _Server:
    """One process a test run that has imported torch, and makes each list of files in a child of its own."""

    def __init__(self) -> None:
        command = [sys.executable, str(ROOT / "tools" / "old_checkpoint.py"), "--serve"]
        # it runs nothing of what is counted, and torch's own lines cost a fifth more where lines are counted at all
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=uncounted())
        atexit.register(self.end)

    def made(self, *words: str) -> int:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(words) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, "the maker of old checkpoints has ended"
        return int(answer)

    def end(self) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


@lru_cache
def _server() -> _Server:
    return _Server()


class OldCheckpoint(NamedTuple):
    """A checkpoint that a real old class wrote: what it is, and how it was saved."""

    path: Path
    class_name: str
    generation: str
    config: dict[str, Any]
    job: dict[str, Any]


FLAVOURS = ("lightning", "ddp", "plain", "module", "safetensors", "compiled", "nested", "legacy")
NAMES = ("last.{}", "epoch=48-step=18130.{}", "ResNet3dEncoder v0.2.{}", "best model (1).{}")


def catalogue(folder: Path) -> dict[str, list[OldCheckpoint]]:
    """List, by release, a checkpoint for the smallest verification cases of each released generation of each class.

    Seven for the first four classes, three for the others. Flavours take turns; every second file has its entries
    shuffled, and names say nothing or lie. The first eight files carry optimizer state, which triples their size.
    """
    listed: dict[str, list[OldCheckpoint]] = {}
    for number, architecture in enumerate(map(find, migrated_names())):
        for generation in architecture.generations:
            released = [release for release in generation.releases if release.wheel]
            for config in _smallest(architecture, generation, 7 if number < 4 else 3) if released else ():
                release = next(release for release in released if release.fits(config))
                wheels = listed.setdefault(release.wheel, [])
                place = sum(map(len, listed.values()))
                wheels.append(_listed(folder, place, architecture.name, generation.name, config, release))
    return listed


def _smallest(architecture: Architecture, generation: Generation, count: int) -> list[dict[str, Any]]:
    """Return the configurations with the fewest weights: what is tested does not depend on their number."""
    cases = [complete(architecture, case.config) for case in generation.cases or architecture.cases]
    buildable = [config for config in cases if not _old_refuses(architecture, generation, config)]
    weights = [sum(spec.elements for spec in generation.layout(config).values()) for config in buildable]
    order = sorted(range(len(buildable)), key=weights.__getitem__)
    return [buildable[place] for place in order[:count]]


def _old_refuses(architecture: Architecture, generation: Generation, config: dict[str, Any]) -> bool:
    rows = [
        row for row in architecture.accepted_differences if not row.generations or generation.name in row.generations
    ]
    return any(row.stage == "build" and row.applies(config) for row in rows)


def _listed(
    folder: Path, place: int, class_name: str, generation: str, config: dict[str, Any], release: Release
) -> OldCheckpoint:
    flavour = FLAVOURS[place % len(FLAVOURS)]
    ending = {"safetensors": "safetensors", "module": "pt", "legacy": "pth"}.get(flavour, "ckpt")
    path = folder / str(place) / NAMES[place % len(NAMES)].format(ending)
    path.parent.mkdir(parents=True)
    job = {
        "class": class_name,
        "config": release.arguments(config),
        "out": str(path),
        "flavour": flavour,
        "seed": place,
        "optimizer": place < 8,
    }
    return OldCheckpoint(path, class_name, generation, config, {**job, "shuffle": place % 2 == 1})


def with_hyper_parameters(folder: Path) -> list[OldCheckpoint]:
    """List three files of release 0.3.4 as Lightning saves them: with true, with wrong and without hyper-parameters."""
    encoder = find("ContrastiveEncoder")
    config = complete(encoder, {"backbone": "convnext_tiny", "in_channels": 1, "in_stack_depth": 10})
    told = {"true": {"in_channels": 1, "stem_stride": [5, 4, 4]}, "wrong": {"in_channels": 3}, "none": {}}
    listed = []
    for name, hyper_parameters in told.items():
        path = folder / f"{name}.ckpt"
        job = {"class": "ContrastiveEncoder", "config": encoder.generations[-1].releases[0].arguments(config)}
        more = {"out": str(path), "flavour": "lightning", "optimizer": False, "hyper_parameters": hyper_parameters}
        listed.append(OldCheckpoint(path, "ContrastiveEncoder", "v0.3", config, {**job, **more}))
    make("0.3.4", [checkpoint.job for checkpoint in listed])
    return listed


def written(folder: Path) -> list[OldCheckpoint]:
    """Write the whole catalogue."""
    listed = catalogue(folder)
    for version, checkpoints in listed.items():
        make(version, [checkpoint.job for checkpoint in checkpoints])
    return [checkpoint for checkpoints in listed.values() for checkpoint in checkpoints]

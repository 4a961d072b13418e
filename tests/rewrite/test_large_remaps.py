"""A remap beyond 4 GiB, to both formats: sizes, places and the last bytes come out right."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from support.assembly import NUMBERS
from support.huge import ELEMENTS, zip64
from viscy_compat.checkpoint import open_checkpoint
from viscy_compat.checkpoint.tensor_bytes import TensorReader
from viscy_compat.layout import TensorSpec
from viscy_compat.operations import Rename
from viscy_compat.plans.plan import PlanEnd, plan_of
from viscy_compat.plans.plan_file import dumps
from viscy_compat.rewrite.remapping import remap

NEEDED = 5 << 30
NAMES = {"big": "large", "last": "tail", "small": "little"}


@pytest.fixture
def roomy(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disc with room for the output; in memory it would stand beside the models of other tests."""
    if shutil.disk_usage(tmp_path).free < 2 * NEEDED:
        pytest.skip("no disc here has room for an output of 4 GiB")
    with TemporaryDirectory(dir=tmp_path) as folder:
        yield Path(folder)


def plan_for(path: Path) -> None:
    specs = {"big": TensorSpec((ELEMENTS,)), "last": TensorSpec((2, 3)), "small": TensorSpec((2, 3))}
    there = {NAMES[name]: spec for name, spec in specs.items()}
    path.write_text(dumps(plan_of(PlanEnd(specs), PlanEnd(there), map(Rename, specs, there))))


@pytest.mark.long
@pytest.mark.parametrize("ending", [".safetensors", ".ckpt"])
def test_more_than_4_gib_come_out_right(roomy: Path, ending: str) -> None:
    source, out = roomy / "old.pt", roomy / f"new{ending}"
    zip64(source)
    plan_for(roomy / "plan.json")
    remap(source, out, plan=roomy / "plan.json")
    found = open_checkpoint(str(out))
    assert set(found.tensors) == set(NAMES.values())
    assert found.tensors["large"].nbytes == 4 * ELEMENTS > 1 << 32
    with TensorReader(found) as reader:
        for name in ("tail", "little"):
            assert b"".join(reader.chunks(found.tensors[name])) == NUMBERS
        *_, end = reader.chunks(found.tensors["large"])
        assert end.endswith(NUMBERS)
        assert not any(end[: -len(NUMBERS)])

"""References are text that comes back as it went in, and nothing that was edited by hand is believed."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from viscy_compat.architectures import class_names, find
from viscy_compat.architectures.architecture import complete
from viscy_compat.errors import SourceUnavailable
from viscy_compat.layout import TensorSpec, differences
from viscy_compat.references import records
from viscy_compat.references.records import RecordedCase, RecordedPass, RecordedRefusal, Reference, TensorRecord

ROOT = Path(__file__).resolve().parents[2] / "legacy_refs"


def row(name: str, *shape: int) -> TensorRecord:
    return TensorRecord(name, shape, "float32", "0123456789ab", 0.5, (1.0, -0.25))


def sample() -> Reference:
    weights = (row("stem.conv.weight", 2, 3), row("stem.conv.bias", 2), row("head.fc.weight", 4, 2))
    passed = RecordedPass("tuple", (row("0", 2, 4),), "aa", "bb")
    case = RecordedCase(
        "one", "0.4.0", {"depth": (1, 2)}, {"depth": (1, 2)}, (2, 3), None, weights, "cc", {"eval": passed}
    )
    refusing = replace(case, name="two", passes={"eval": passed, "train": RecordedRefusal("forward", "ValueError")})
    none = RecordedCase("three", "0.4.0", {}, {}, (2, 3), RecordedRefusal("build", "TypeError"), (), "", {})
    return Reference("Toy", "v1", {"seed": 0}, {"0.4.0": {"a.py": "ff"}}, {"0.4.0": ("depth",)}, (case, refusing, none))


def test_what_is_written_comes_back() -> None:
    text = records.write(sample())
    again = records.parse(text)
    assert records.write(again) == text
    assert again.cases[0].weights == sample().cases[0].weights
    assert again.cases[1].passes == sample().cases[1].passes
    assert again.cases[2].refusal == RecordedRefusal("build", "TypeError")
    assert again.cases[0].layout["head.fc.weight"] == TensorSpec((4, 2))


def test_equal_parts_are_written_once() -> None:
    text = records.write(sample())
    assert text.count('"stem.conv.weight"') == 1
    assert text.count('"head.fc.weight"') == 1


def test_a_tensor_is_a_line() -> None:
    lines = records.write(sample()).splitlines()
    assert [line for line in lines if "stem.conv.bias" in line] == [
        '   ["stem.conv.bias", [2], "float32", "0123456789ab", 0.5, [1.0, -0.25]]'
    ]


def test_one_changed_number_is_one_changed_line() -> None:
    changed = replace(sample().cases[2], input=(9, 9))
    before, after = (
        records.write(reference).splitlines()
        for reference in (sample(), replace(sample(), cases=(*sample().cases[:2], changed)))
    )
    assert len(before) == len(after)
    differing = [line for line, other in zip(before, after, strict=True) if line != other]
    assert len(differing) == 2
    assert '"digest"' in differing[1]


@pytest.mark.parametrize(
    "edit",
    [
        lambda text: text.replace("-0.25", "-0.26", 1),
        lambda text: text.replace('"seed": 0', '"seed": 1', 1),
        lambda text: text + "\n",
        lambda text: text.replace("  ", " ", 1),
        lambda text: text[:-20],
        lambda text: "[]",
        lambda text: "[" * 100_000,
        lambda text: text.replace('"schema": 1', '"schema": 2', 1),
        lambda text: json.dumps({**json.loads(text), "digest": "0" * 64}),
    ],
)
def test_an_edited_reference_is_refused(edit: object) -> None:
    text = edit(records.write(sample()))  # type: ignore[operator]
    with pytest.raises(SourceUnavailable) as raised:
        records.parse(text, "ref.json")
    assert raised.value.code == "VC607"
    assert "\n" not in str(raised.value)
    assert str(raised.value).startswith("ref.json: the reference is damaged or was edited by hand")


def test_a_missing_reference_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailable) as raised:
        records.read("Toy", "v1", root=tmp_path)
    assert raised.value.code == "VC608"
    assert str(raised.value).endswith("viscy-compat record")


def test_storing_twice_changes_nothing(tmp_path: Path) -> None:
    assert records.store(sample(), tmp_path)
    assert not records.store(sample(), tmp_path)
    assert records.list_references(tmp_path) == [("Toy", "v1")]
    assert [path.name for path in (tmp_path / "Toy").iterdir()] == ["v1.json"]
    assert records.read("Toy", "v1", root=tmp_path) == records.parse(records.write(sample()))


def test_the_references_are_found_inside_a_package_and_beside_a_clone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert records.references_root() == ROOT
    for inside in ("site/viscy_compat/legacy_refs", "clone/legacy_refs"):
        (tmp_path / inside).mkdir(parents=True)
    monkeypatch.setattr(records, "__file__", str(tmp_path / "site/viscy_compat/references/records.py"))
    assert records.references_root() == tmp_path / "site/viscy_compat/legacy_refs"
    monkeypatch.setattr(records, "__file__", str(tmp_path / "clone/src/viscy_compat/references/records.py"))
    assert records.references_root() == tmp_path / "clone/legacy_refs"
    shutil.rmtree(tmp_path / "clone/legacy_refs")
    with pytest.raises(SourceUnavailable):
        records.references_root()


# --- the references of this clone --------------------------------------------------------------------------------

STORED = records.list_references(ROOT)
RECORD = "run 'viscy-compat record' and commit what it changes"


def test_every_generation_of_every_class_is_recorded() -> None:
    rows = {(name, row.name) for name in class_names() for row in find(name).reachable_generations}
    assert set(STORED) == rows, RECORD


@pytest.mark.parametrize(("name", "generation"), STORED)
def test_a_stored_reference_is_whole_and_used(name: str, generation: str) -> None:
    reference = records.read(name, generation, root=ROOT)
    architecture = find(name)
    (state,) = [row for row in architecture.generations if row.name == generation]
    labels = {release.wheel or release.revision: release for release in state.releases}
    assert set(reference.sources) == ({generation} if state.is_frozen else set(labels)), RECORD
    for label, blobs in () if state.is_frozen else reference.sources.items():
        assert blobs == dict(labels[label].sources), RECORD
    recorded = [(case.name, _frozen(case.config), case.input) for case in reference.cases]
    cases = list(state.cases or architecture.cases)
    missing = {(case.name, _frozen(case.config), case.input) for case in cases} - set(recorded)
    assert not missing, RECORD
    unused = {key[0] for key in recorded} - {case.name for case in cases} - _examples(name)
    assert not unused, RECORD


@pytest.mark.parametrize(("name", "generation"), STORED)
def test_the_recorded_layouts_are_those_of_the_architecture(name: str, generation: str) -> None:
    architecture = find(name)
    (state,) = [row for row in architecture.generations if row.name == generation]
    compared = 0
    for case in records.read(name, generation, root=ROOT).cases:
        config = complete(architecture, _tuples(case.config))
        refused = [
            row for row in architecture.accepted_differences if row.side == "new-refuses" and row.applies(config)
        ]
        if not case.refusal and not refused:
            assert not differences(case.layout, state.layout(config)), case.name
            compared += 1
    assert compared >= 3


def test_the_references_are_small() -> None:
    sizes = [path.stat().st_size for path in ROOT.rglob("*.json")]
    assert sum(sizes) < 3 << 20
    assert max(len(line) for path in ROOT.rglob("*.json") for line in path.read_text().splitlines()) < 600


def test_reading_a_reference_imports_nothing_heavy() -> None:
    heavy = {"torch", "numpy", "timm", "monai"}
    import subprocess

    code = "import sys; from viscy_compat.references import records; records.list_references(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not heavy & set(done.stdout.split())


def _frozen(config: object) -> str:
    return json.dumps(config, sort_keys=True)


def _tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _tuples(item) for name, item in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _examples(name: str) -> set[str]:
    architecture = find(name)
    published = {row.nickname.lower().replace(" ", "-") for row in architecture.publications}
    return {row.example.name for row in architecture.accepted_differences} | published

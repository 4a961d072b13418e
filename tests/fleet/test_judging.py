"""Files that share a layout share what was inferred from it, and nothing else: rows are those of each file alone."""

from __future__ import annotations

import gc
import json
import os
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from support.assembly import lightning, number, text
from support.files import torch_file_of
from support.layouts import hollow
from viscy_compat.architectures import find, inference, structure
from viscy_compat.architectures.architecture import complete
from viscy_compat.architectures.inference import RecentAnswers
from viscy_compat.checkpoint import safetensors_reader
from viscy_compat.checkpoint.pickle_spans import RecentSpans, Span
from viscy_compat.diagnosis import diagnose
from viscy_compat.fleet import judging
from viscy_compat.fleet.judging import AuditQuestion, judge_target
from viscy_compat.fleet.row import line_of
from viscy_compat.fleet.target import target_of
from viscy_compat.layout import Layout, TensorSpec
from viscy_compat.plans import maker
from viscy_compat.stated import SETTING, Statement

SMALL: Mapping[str, Mapping[str, Any]] = {
    "ContrastiveEncoder": {"backbone": "convnext_tiny", "in_channels": 1, "in_stack_depth": 5},
    "ResNet3dEncoder": {"backbone": "resnet18", "in_channels": 1},
    "BetaVaeMonai": {
        "spatial_dims": 2,
        "in_shape": (1, 32, 32),
        "out_channels": 1,
        "latent_size": 8,
        "channels": (8, 16),
        "strides": (2, 2),
    },
}


def changed(layout: Layout, how: str) -> Layout:
    """A layout, or another that has most of it."""
    names = list(layout)
    odd = names[len(names) // 2]
    if how == "without one":
        return {name: spec for name, spec in layout.items() if name != odd}
    if how == "another shape":
        return {**layout, odd: TensorSpec((*layout[odd].shape, 2))}
    if how == "renamed":
        return {f"part{number}.w": spec for number, spec in enumerate(layout.values())}
    if how == "renamed, another shape":
        return {f"part{number}.w": TensorSpec((7, *spec.shape)) for number, spec in enumerate(layout.values())}
    if how == "half":
        return {name: spec._replace(dtype="float16") for name, spec in layout.items()}
    if how == "reversed":
        return {name: layout[name] for name in reversed(names)}
    if how == "wrapped":
        return {f"model.{name}": spec for name, spec in layout.items()}
    if how == "outside":
        return {"loss.weight": TensorSpec((3,)), **{f"model.{name}": spec for name, spec in layout.items()}}
    if how == "outside, of another shape":
        return {"loss.weight": TensorSpec((4,)), **{f"model.{name}": spec for name, spec in layout.items()}}
    return layout


CHANGES = ("as it is", "as it is", "without one", "another shape", "half", "reversed", "wrapped", "outside")
STATEMENTS = ((), (Statement(SETTING, {"drop_path_rate": 1}),), (Statement(SETTING, {"drop_path_rate": 1.0}),))


def answers(paths: list[Path], statements: tuple[Statement, ...]) -> list[tuple[str, bytes]]:
    """What `check` says of each file, and its row."""
    question = AuditQuestion(statements=statements)
    return [
        (
            json.dumps(diagnose(str(path), statements=statements, alone=False).result.to_dict()),
            line_of(judge_target(question, target_of(str(path), named=True), "")),
        )
        for path in paths
    ]


@pytest.mark.parametrize("seed", range(3))
def test_rows_are_those_of_each_file_alone(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(seed)
    paths = []
    for place in range(14):
        name = chance.choice(list(SMALL))
        architecture = find(name)
        layout = architecture.layout(complete(architecture, SMALL[name]))
        how = chance.choice((*CHANGES, "outside, of another shape", "renamed", "renamed, another shape"))
        paths.append(hollow(tmp_path / f"{place}.safetensors", changed(layout, how)))
    statements = [chance.choice(STATEMENTS) for _ in range(2)]
    shared = [answers(paths, statement) for statement in statements]
    monkeypatch.setattr(inference, "_recent_inferences", RecentAnswers(most=0))
    monkeypatch.setattr(maker, "_recent_plans", RecentAnswers(most=0))
    monkeypatch.setattr(structure, "_recent_names", RecentAnswers(most=0))
    assert shared == [answers(paths, statement) for statement in statements]


def test_pickles_that_share_their_weights_have_the_rows_of_each_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third run of an architecture, a file of it that calls something else, and one that lacks a storage."""
    architecture = find("BetaVaeMonai")
    layout = architecture.layout(complete(architecture, SMALL["BetaVaeMonai"]))
    honest = (b"", b"")
    changes = (honest, honest, honest, (b"_rebuild_tensor_v2\n", b"_rebuild_tensor_v9\n"), (text("9"), text("99")))
    paths = []
    for epoch, change in enumerate(changes):

        def top(state: bytes, epoch: int = epoch, change: tuple[bytes, bytes] = change) -> bytes:
            return lightning(state_dict=state.replace(*change, 1) if change[0] else state, epoch=number(epoch))

        paths.append(torch_file_of(tmp_path / f"epoch={epoch}.ckpt", layout, top))
    found: list[Span | None] = []
    find_span = RecentSpans.find

    def noted(self: RecentSpans, *place: Any) -> Span | None:
        found.append(find_span(self, *place))
        return found[-1]

    monkeypatch.setattr(RecentSpans, "find", noted)
    monkeypatch.setattr(judging, "_spans", RecentSpans())
    question = AuditQuestion()
    rows = [line_of(judge_target(question, target_of(str(path), named=True), "")) for path in paths]
    assert sum(span is not None for span in found) == 1
    verdicts = [json.loads(row)["verdict"] for row in rows]
    assert verdicts == ["remappable", "remappable", "remappable", "unreadable", "incompatible"]
    assert "VC442" in json.loads(rows[4])["codes"]
    for path, row in zip(paths, rows, strict=True):
        monkeypatch.setattr(judging, "_spans", RecentSpans())
        assert line_of(judge_target(question, target_of(str(path), named=True), "")) == row


def test_a_header_that_was_read_is_believed_of_files_of_its_length_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "_headers", RecentAnswers(most=16))
    parsed: list[str] = []
    parse = safetensors_reader.parse_json

    def noted(raw: bytes, path: str, **options: Any) -> Any:
        parsed.append(Path(path).stem)
        return parse(raw, path, **options)

    monkeypatch.setattr(safetensors_reader, "parse_json", noted)
    architecture = find("BetaVaeMonai")
    layout = architecture.layout(complete(architecture, SMALL["BetaVaeMonai"]))
    paths = {name: hollow(tmp_path / f"{name}.safetensors", layout) for name in ("a", "b", "short", "long", "c")}
    os.truncate(paths["short"], paths["short"].stat().st_size - 4)
    os.truncate(paths["long"], paths["long"].stat().st_size + 4)
    rows = {
        name: json.loads(line_of(judge_target(AuditQuestion(), target_of(str(path), named=True), "")))
        for name, path in paths.items()
    }
    assert {name: row["verdict"] for name, row in rows.items() if name in "abc"} == dict.fromkeys("abc", "compatible")
    assert [rows[name]["codes"] for name in ("short", "long")] == [{"VC403": 1}, {"VC451": 1}]
    assert parsed == ["a", "short", "long"]


def test_a_layout_is_inferred_once_for_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    architecture = find("ResNet3dEncoder")
    layout = architecture.layout(complete(architecture, SMALL["ResNet3dEncoder"]))
    paths = [hollow(tmp_path / f"{number}.safetensors", layout) for number in range(3)]
    monkeypatch.setattr(inference, "_recent_inferences", RecentAnswers(most=64))
    asked: list[str] = []
    infer = inference._infer

    def noted(architecture: Any, layout: Layout, stated: Any) -> Any:
        asked.append(architecture.name)
        return infer(architecture, layout, stated)

    monkeypatch.setattr(inference, "_infer", noted)
    assert {diagnose(str(path)).result.verdict for path in paths} == {"compatible"}
    assert asked == ["ResNet3dEncoder"]


def test_a_layout_of_thousands_of_tensors_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    recent = RecentAnswers(most=64)
    monkeypatch.setattr(inference, "_recent_inferences", recent)
    layout = {f"t{number}": TensorSpec((1,)) for number in range(inference.MOST_REMEMBERED + 1)}
    assert inference.infer(find("ResNet3dEncoder"), layout) is None
    assert recent.answer(("ResNet3dEncoder", (*layout.items(),), repr({})), lambda: "not kept") == "not kept"


@pytest.mark.parametrize("was", [True, False])
def test_the_collector_is_as_it_was_after_a_file_that_cannot_be_judged_too(
    was: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is off while a file is judged: what is made for a file is gone with it."""
    seen: list[bool] = []

    def failing(*_: object, **__: object) -> None:
        seen.append(gc.isenabled())
        raise MemoryError

    monkeypatch.setattr(judging, "diagnose", failing)
    enabled = gc.isenabled()
    try:
        gc.enable() if was else gc.disable()
        with pytest.raises(MemoryError):
            judge_target(AuditQuestion(), target_of(str(tmp_path / "a.ckpt"), named=True), "")
        assert (gc.isenabled(), seen) == (was, [False])
    finally:
        gc.enable() if enabled else gc.disable()

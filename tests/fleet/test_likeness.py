"""A copy of a file that was judged has the same row, and whatever differs in what was read is judged itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.assembly import lightning, safetensors, state, zipped
from support.assembly import row as header_row
from support.layouts import hollow
from viscy_compat.architectures import find
from viscy_compat.architectures.architecture import complete
from viscy_compat.fleet import judging
from viscy_compat.fleet.judging import AuditQuestion, judge_shard, judge_target
from viscy_compat.fleet.row import AuditRow, row_in
from viscy_compat.fleet.target import target_of

QUESTION = AuditQuestion()


@pytest.fixture(autouse=True)
def judged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were judged, and not only compared; nothing is remembered from other tests."""
    files: list[str] = []

    def judge(question: AuditQuestion, target: object, options: str) -> AuditRow:
        files.append(Path(target.path).name)  # type: ignore[attr-defined]
        return judge_target(question, target, options)  # type: ignore[arg-type]

    monkeypatch.setattr(judging, "judge_target", judge)
    monkeypatch.setattr(judging, "_likenesses", {})
    return files


def rows_of(*paths: Path, named: bool = False) -> list[AuditRow]:
    lines = judge_shard(QUESTION, [target_of(str(path), named=named) for path in paths])
    return [row for row in map(row_in, lines) if row]


def old_encoder(path: Path) -> Path:
    encoder = find("ContrastiveEncoder")
    old = encoder.generations[0]
    return hollow(path, old.layout(complete(encoder, (old.cases or encoder.cases)[0].config)))


FILES = {
    "old.safetensors": None,
    "lightning.ckpt": zipped(lightning()),
    "plain.pt": zipped(state()),
    "cut.pt": zipped(state())[:-20],
    "weights.safetensors": safetensors({"w": header_row()}),
    "text.bin": b"no checkpoint at all",
}


@pytest.mark.parametrize("name", FILES)
def test_a_copy_has_the_row_that_it_would_have_alone(tmp_path: Path, judged: list[str], name: str) -> None:
    content = FILES[name]
    first = tmp_path / name
    old_encoder(first) if content is None else first.write_bytes(content)
    (tmp_path / "sub folder").mkdir()
    copy = tmp_path / "sub folder" / f"copy's {name}"
    copy.write_bytes(first.read_bytes())
    rows = rows_of(first, copy)
    assert judged == [name]
    assert rows == [judge_target(QUESTION, target_of(str(path), named=False), QUESTION.mark) for path in (first, copy)]


@pytest.mark.parametrize(
    "others", [("b.pt", "a\nb.pt", "c.pt"), ("x-00001-of-00002.pt", "b.pt", "y-00002-of-00002.pt")]
)
def test_a_copy_has_its_own_row_whatever_the_names_are(tmp_path: Path, others: tuple[str, ...]) -> None:
    paths = [tmp_path / name for name in ("\u202ea.pt", *others)]
    for path in paths:
        path.write_bytes(zipped(state()))
    alone = [judge_target(QUESTION, target_of(str(path), named=False), QUESTION.mark) for path in paths]
    assert rows_of(*paths) == alone
    assert len({row.next for row in alone}) == len(paths)


def test_another_byte_of_what_was_read_is_judged(tmp_path: Path, judged: list[str]) -> None:
    content = bytearray(zipped(state()))
    (tmp_path / "a.pt").write_bytes(content)
    content[content.index(b"archive/data.pkl") + 20] ^= 1
    (tmp_path / "b.pt").write_bytes(content)
    one, other = rows_of(tmp_path / "a.pt", tmp_path / "b.pt")
    assert judged == ["a.pt", "b.pt"]
    assert (one.verdict, other.verdict) == ("unknown", "unreadable")


def test_a_configuration_beside_one_of_two_copies_is_seen(tmp_path: Path, judged: list[str]) -> None:
    for folder in ("x/with", "y/without"):
        (tmp_path / folder).mkdir(parents=True)
        old_encoder(tmp_path / folder / "a.safetensors")
    (tmp_path / "x" / "with" / "config.yaml").write_text("model: {}\n")
    rows = rows_of(tmp_path / "x" / "with" / "a.safetensors", tmp_path / "y" / "without" / "a.safetensors")
    assert ["VC308" in row.codes for row in rows] == [True, False]
    assert len(judged) == 2


def test_a_file_that_is_judged_with_others_is_never_taken_for_a_copy(tmp_path: Path, judged: list[str]) -> None:
    for folder, shard in (("x", {"w": header_row()}), ("y", {"w": header_row((3, 2))})):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "1.safetensors").write_bytes(safetensors(shard))
        index = {"metadata": {}, "weight_map": {"w": "1.safetensors"}}
        (tmp_path / folder / "m.safetensors.index.json").write_text(json.dumps(index))
    rows_of(*(tmp_path / folder / "m.safetensors.index.json" for folder in "xy"))
    assert len(judged) == 2


def test_another_question_is_another_memory(tmp_path: Path, judged: list[str]) -> None:
    (tmp_path / "a.pt").write_bytes(zipped(state()))
    target = target_of(str(tmp_path / "a.pt"), named=False)
    for question in (QUESTION, QUESTION._replace(depth="every byte"), QUESTION):
        judge_shard(question, [target])
    assert len(judged) == 2

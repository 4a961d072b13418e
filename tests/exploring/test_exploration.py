"""Each law holds for the real classes and fails on a mutant made for it, shrunk to a case that a person would call minimal."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import viscy_models
from support.architectures import variant
from viscy_compat.architectures import find, migrated_names
from viscy_compat.architectures.architecture import Architecture, Config
from viscy_compat.architectures.outcome import Outcome
from viscy_compat.cli import main
from viscy_compat.exploring.exploration import BrokenLaw, Settings, explore, explore_class
from viscy_compat.exploring.laws import LAWS, Subject
from viscy_compat.layout import Layout
from viscy_compat.old_code.origin import OldClass, Wanted, resolve
from viscy_compat.operations import Fill, Operation
from viscy_compat.report import render
from viscy_compat.waivers import Waiver
from viscy_compat.workers.candidate import Candidate, read_candidate
from viscy_compat.workers.sides import Setup, Sides, sides

pytestmark = pytest.mark.usefixtures("warm")

SMALL = "BetaVaeMonai"
Rule = Callable[[Config, tuple[int, ...]], Outcome]


def law(name: str) -> tuple[Any, ...]:
    return tuple(row for row in LAWS if row.id == name)


def broken(subject: Subject, name: str, examples: int = 60) -> BrokenLaw:
    """Explore one law on a mutant, and return the smallest case."""
    told: list[str] = []
    found = explore_class(subject, Settings(examples, laws=law(name)), progress=told.append).broken
    assert [row.law for row in found] == [name], told
    return found[0]


def with_outcome(architecture: Architecture, change: Callable[[Outcome, tuple[int, ...]], Outcome]) -> Architecture:
    return variant(architecture, outcome=lambda config, fed: change(architecture.outcome(config, fed), fed))


@pytest.mark.uncounted
@pytest.mark.parametrize("name", migrated_names())
def test_the_rules_hold_for_every_class(name: str) -> None:
    report = explore([name], examples=150, laws=["inference", "reconstruction"])
    assert report, [finding.message for finding in report.findings]


def test_a_floor_in_place_of_a_ceil_breaks_the_reconstruction() -> None:
    vae = find(SMALL)

    def floored(rule: Outcome, fed: tuple[int, ...]) -> Outcome:
        if not rule.runs:
            return rule
        shape = rule.outputs["recon_x"]
        sides = tuple(size // 2 * 2 for size in shape[2:])
        return rule._replace(outputs={**rule.outputs, "recon_x": (*shape[:2], *sides)}, losses=())

    mutant = variant(with_outcome(vae, floored), defects=())
    found = broken(Subject(mutant), "reconstruction", 300)
    assert max(found.input[2:]) <= 16


def test_a_layout_with_another_order_breaks_the_inference() -> None:
    encoder = find("ResNet3dEncoder")
    mutant = variant(encoder, candidates=lambda found: iter(()))
    found = broken(Subject(mutant), "inference")
    assert found.config["backbone"] == "resnet10"
    assert found.config["in_channels"] == 1


def test_a_generation_without_its_fills_breaks_the_round_trip(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = find("ContrastiveEncoder")
    first = encoder.generations[0]

    def without_fills(layout: Layout) -> tuple[Operation, ...]:
        assert first.to_today
        return tuple(row for row in first.to_today(layout) if not isinstance(row, Fill))

    mutant = variant(encoder, generations=(first._replace(to_today=without_fills), *encoder.generations[1:]))
    monkeypatch.setattr("viscy_compat.architectures.contrastive_encoder.ARCHITECTURE", mutant)
    drawing = Settings(40, laws=law("round-trip"), shrink=False)
    found = explore_class(Subject(mutant), drawing, progress=lambda line: None).broken
    assert [row.law for row in found] == ["round-trip"]
    assert found[0].message.startswith("v0.2: ")


def row(about: str, *, of: str = SMALL, expired: bool = False) -> Waiver:
    return Waiver("known", of, about, "we mend it in spring", "1.2", expired)


@pytest.fixture
def unable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let inference find nothing: a law that needs no torch is broken."""
    mutant = variant(find(SMALL), candidates=lambda found: iter(()))
    monkeypatch.setattr("viscy_compat.exploring.exploration.find", lambda name: mutant)


@pytest.mark.usefixtures("unable")
@pytest.mark.parametrize(("about", "of"), [("inference", SMALL), ("VC510", "*")])
def test_a_broken_law_that_a_row_accepts_is_told_and_does_not_count(about: str, of: str) -> None:
    report = explore([SMALL], examples=5, laws=["inference"], waivers=[row(about, of=of)])
    assert report
    result = report.results[0].to_dict()
    assert (result["failures"], [told["id"] for told in result["waived"]]) == ([], ["known"])
    text = render(report, "text")
    assert "every other law holds" in text
    assert "waived inference: " in " ".join(text.split())
    assert "we mend it in spring" in text
    assert "waivers: in order" in text


@pytest.mark.usefixtures("unable")
def test_an_expired_row_accepts_nothing_and_is_a_finding() -> None:
    report = explore([SMALL], examples=5, laws=["inference"], waivers=[row("inference", expired=True)])
    assert [finding.code for result in report.results for finding in result.findings] == ["VC510", "VC621"]
    assert report.exit_code == 1
    assert "rows to mend" in render(report, "text")


def test_a_row_that_covers_nothing_is_a_finding_where_its_law_was_looked_at() -> None:
    for about, of, codes in (
        ("inference", SMALL, ["VC622"]),
        ("inference", "UNeXt2", []),
        ("round-trip", SMALL, []),
        ("VC501", "*", []),
        ("inference", "*", []),
        ("VC510", SMALL, []),
    ):
        report = explore([SMALL], examples=5, laws=["inference"], waivers=[row(about, of=of)])
        assert [finding.code for result in report.results for finding in result.findings] == codes, about
        assert report.exit_code == len(codes)


def test_the_command_reads_the_rows_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = tmp_path / "viscy-compat.toml"
    fields = 'law = "inference"\nreason = "why not"\nexpires = 2999-01-01\n'
    rows.write_text(f'[accepted.idle]\nclass = "{SMALL}"\n{fields}')
    words = ["explore", SMALL, "--law", "inference", "--examples", "5", "--waivers", str(rows), "-q"]
    for form in ("text", "json", "markdown", "junit"):
        assert main([*words, "--format", form]) == 1
        assert "why not" in capsys.readouterr().out


@pytest.fixture(scope="module")
def old() -> OldClass:
    return resolve([find(SMALL)], Wanted(wheel="0.4.0"))[SMALL]


@pytest.fixture(scope="module")
def both() -> Iterator[Sides]:
    with sides(Setup(cache=2), Candidate()) as workers:
        yield workers


@pytest.mark.torch
@pytest.mark.index
class TestWithModels:
    """The laws that build: on the real package with a wrong rule, or on a wrong copy of the package."""

    def test_every_law_holds(self, both: Sides, old: OldClass) -> None:
        told: list[str] = []
        found = explore_class(Subject(find(SMALL), old, both), Settings(60), progress=told.append)
        assert found.broken == (), told
        assert set(found.cases) == {row.id for row in LAWS}
        assert found.cases["old-equals-new"] >= 9

    def test_an_off_by_one_in_the_rule_breaks_the_shape_rule(self, both: Sides, old: OldClass) -> None:
        def off(rule: Outcome, fed: tuple[int, ...]) -> Outcome:
            larger = {name: (*shape[:-1], shape[-1] + 1) for name, shape in rule.outputs.items()}
            return rule._replace(outputs=larger)

        found = broken(Subject(with_outcome(find(SMALL), off), old, both), "shape-rule")
        assert "the rule says" in found.message

    def test_a_wrong_layout_rule_breaks_the_layout(self, both: Sides, old: OldClass) -> None:
        right = find(SMALL)
        mutant = variant(right, layout=lambda config: dict(reversed(right.layout(config).items())))
        assert "tensors differ from the rule" in broken(Subject(mutant, old, both), "layout").message

    def test_a_rule_that_forgets_train_mode_breaks_batch_and_mode(self, both: Sides, old: OldClass) -> None:
        mutant = with_outcome(find(SMALL), lambda rule, fed: rule._replace(trains=False))
        assert "does not train" in broken(Subject(mutant, old, both), "batch-and-mode").message

    def test_a_rule_that_calls_a_read_slice_unread_breaks_every_slice(self, both: Sides, old: OldClass) -> None:
        from viscy_compat.architectures.outcome import Loss

        def lossy(rule: Outcome, fed: tuple[int, ...]) -> Outcome:
            return rule._replace(losses=(*rule.losses, Loss("pixels", "the last row", 2, (fed[2] - 1,))))

        assert "never read" in broken(Subject(with_outcome(find(SMALL), lossy), old, both), "every-slice").message

    def test_a_model_that_looks_at_the_whole_batch_breaks_members(
        self, both: Sides, old: OldClass, tmp_path: Path
    ) -> None:
        package = copied(tmp_path, "vae/beta_vae_monai.py", r"self\.model\(x\)", "self.model(x + 0 * x + x.mean(0))")
        with instead(both, package):
            found = broken(Subject(find(SMALL), old, both, package), "members")
            assert "changes with the second one in the batch" in found.message

    def test_height_and_width_swapped_break_every_slice(self, both: Sides, old: OldClass, tmp_path: Path) -> None:
        swapped = "self.model(x.transpose(-1, -2))"
        package = copied(tmp_path, "vae/beta_vae_monai.py", r"self\.model\(x\)", swapped)
        with instead(both, package):
            found = broken(Subject(find(SMALL), old, both, package), "every-slice", 400)
        # which axis is the smallest case depends on what is drawn first: with one of the two, the other is wrong too
        assert re.match(r"axis [23]: the rule says that .+ never read, measured are ", found.message)
        assert (found.config["channels"], found.config["kernel_size"], found.input[:2]) == ((2,), 1, (2, 1))

    def test_a_stride_ignored_breaks_the_shape_rule(self, both: Sides, old: OldClass, tmp_path: Path) -> None:
        ignored = "strides=[1] * len(strides),"
        package = copied(tmp_path, "vae/beta_vae_monai.py", r"strides=strides,", ignored)
        with instead(both, package):
            found = broken(Subject(find(SMALL), old, both, package), "shape-rule", 100)
        assert "the rule says [(2, 1, 6, 6), " in found.message
        assert (found.config["strides"], found.config["num_res_units"], found.input) == ((3,), 0, (2, 1, 4, 4))

    def test_another_number_breaks_old_equals_new_and_the_script_shows_it(
        self, both: Sides, old: OldClass, tmp_path: Path
    ) -> None:
        package = copied(tmp_path, "vae/beta_vae_monai.py", r"self\.model\(x\)", "self.model(x * 1.000001)")
        with instead(both, package):
            found = broken(Subject(find(SMALL), old, both, package), "old-equals-new")
        assert found.message.startswith("VC501")
        script = tmp_path / "shows_it.py"
        script.write_text(found.script)
        done = subprocess.run([sys.executable, script], capture_output=True, text=True)
        assert done.returncode == 1
        assert "LawBroken: VC501" in done.stderr
        assert len(found.script.splitlines()) <= 40


@contextmanager
def instead(both: Sides, package: Candidate) -> Iterator[None]:
    """Let the workers of all tests have another candidate for a while: starting two costs five seconds."""
    both.take(package)
    try:
        yield
    finally:
        both.take(Candidate())


def copied(folder: Path, file: str, pattern: str, replacement: str) -> Candidate:
    """A copy of the migrated package with one edit."""
    assert viscy_models.__file__
    shutil.copytree(Path(viscy_models.__file__).parent, folder / "viscy_models", ignore=shutil.ignore_patterns("*.pyc"))
    path = folder / "viscy_models" / file
    text, count = re.subn(pattern, replacement, path.read_text())
    assert count == 1
    path.write_text(text)
    return read_candidate(str(folder))

"""`check` tells the truth about files that the real old classes wrote, however they were saved."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.old_checkpoints import OldCheckpoint, with_hyper_parameters, written
from viscy_compat.architectures import find, migrated_names
from viscy_compat.diagnosis import CheckResult, check_paths
from viscy_compat.findings import EXIT_CODES

pytestmark = [pytest.mark.torch, pytest.mark.index]


@pytest.fixture(scope="session")
def old_checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[OldCheckpoint]]:
    """The catalogue, written once; the files go away at the end, for they are gigabytes."""
    files = written(tmp_path_factory.mktemp("old"))
    yield files
    for file in files:
        file.path.unlink()


@pytest.fixture(scope="session")
def checked(old_checkpoints: list[OldCheckpoint]) -> list[tuple[OldCheckpoint, CheckResult]]:
    """Every file of the catalogue with the answer of `check`."""
    results = check_paths([str(old.path) for old in old_checkpoints])
    return list(zip(old_checkpoints, results, strict=True))


def tells(result: CheckResult, name: str, value: Any) -> bool:
    """Whether an answer has a value for an argument, or lists it among the candidates, or says that it lists not all."""
    assert result.identity
    if result.identity.config[name] == value:
        return True
    rows = result.identity.undetermined.values()
    named = [row for row in rows if row.name == name or any(name in candidate for candidate in row.candidates)]
    return any(not row.complete or any(candidate.get(name) == value for candidate in row.candidates) for row in named)


def test_the_catalogue_is_large_enough(old_checkpoints: list[OldCheckpoint]) -> None:
    assert len(old_checkpoints) >= 30
    assert {old.class_name for old in old_checkpoints} == set(migrated_names())
    assert {old.job["flavour"] for old in old_checkpoints} >= {"lightning", "ddp", "module", "safetensors", "legacy"}


def test_every_file_is_known_by_class_and_generation(checked: list[tuple[OldCheckpoint, CheckResult]]) -> None:
    wrong = [
        (old.job, result.identity)
        for old, result in checked
        if not result.identity
        or (result.identity.class_name, result.identity.generation) != (old.class_name, old.generation)
    ]
    assert wrong == []


def test_every_argument_is_told_or_said_to_be_open(checked: list[tuple[OldCheckpoint, CheckResult]]) -> None:
    wrong = [
        (old.class_name, name, value, result.identity and result.identity.config[name])
        for old, result in checked
        for name, value in find(old.class_name).spelling(old.config, old.config).items()
        if not tells(result, name, value)
    ]
    assert wrong == []


def stated_in(line: str) -> dict[str, Any]:
    """The arguments in the printed line of Python."""
    (call,) = ast.parse(line).body
    assert isinstance(call, ast.Assign)
    assert isinstance(call.value, ast.Call)
    given = [ast.literal_eval(word.value) for word in call.value.keywords if word.arg == "config"]
    return given[0] if given else {}


def test_no_printed_value_differs_from_what_the_file_was_trained_with(
    checked: list[tuple[OldCheckpoint, CheckResult]],
) -> None:
    asked = 0
    for old, result in checked:
        truth = find(old.class_name).spelling(old.config, old.config)
        pasted = stated_in(result.python)
        wrong = {name: value for name, value in pasted.items() if value is not ... and value != truth[name]}
        assert not wrong, (old.job, result.python)
        asked += ... in pasted.values()
    assert asked >= 20


def test_v02_is_remappable_and_everything_else_is_compatible(checked: list[tuple[OldCheckpoint, CheckResult]]) -> None:
    for old, result in checked:
        expected = "remappable" if old.generation == "v0.2" else "compatible"
        assert result.verdict == expected, (old.job, result.findings)
        assert result.exit_code == EXIT_CODES[result.verdict] == (1 if old.generation == "v0.2" else 0)


def test_v02_lists_both_strides(checked: list[tuple[OldCheckpoint, CheckResult]]) -> None:
    seen = 0
    for old, result in checked:
        if old.generation == "v0.2" and result.identity and "stem_stride" in result.identity.undetermined:
            row = result.identity.undetermined["stem_stride"]
            assert {candidate["stem_stride"] for candidate in row.candidates} == {(2, 2, 2), (5, 4, 4)}
            assert row.changes_predictions
            seen += 1
    assert seen >= 5


def test_the_next_command_of_a_remappable_file_names_it(checked: list[tuple[OldCheckpoint, CheckResult]]) -> None:
    for old, result in checked:
        if result.verdict == "remappable":
            assert result.next.startswith("viscy-compat remap ")
            assert Path(old.path).name.split()[0].strip("'") in result.next
            assert result.plan
            assert sum(result.plan[:4]) > 0


def test_hyper_parameters_confirm_or_contradict_and_the_weights_count(tmp_path: Path) -> None:
    """Files of release 0.3.4: what the file says of itself settles an open argument, and cannot overrule its tensors."""
    files = with_hyper_parameters(tmp_path)
    true, wrong, none = check_paths([str(old.path) for old in files])
    for result in (true, wrong, none):
        assert (result.verdict, result.wrapper["kind"]) == ("compatible", "lightning")
        assert result.identity
        assert (result.identity.class_name, result.identity.generation) == ("ContrastiveEncoder", "v0.3")
        assert result.identity.config["in_channels"] == 1
    assert true.identity
    assert "stem_stride" not in true.identity.undetermined
    assert "VC305" not in [finding.code for finding in true.findings]
    assert "in_channels=3 contradicts the weights" in "".join(
        finding.message for finding in wrong.findings if finding.code == "VC305"
    )
    assert none.identity
    assert "stem_stride" in none.identity.undetermined

"""What every record must be: complete, without contradictions, and with cases that do what they say."""

from __future__ import annotations

import inspect

import pytest

from viscy_compat.architectures import CLASSES, ClassRow, class_names, find
from viscy_compat.architectures.architecture import REQUIRED, Architecture, complete
from viscy_compat.architectures.inference import identify
from viscy_compat.errors import UsageError
from viscy_compat.layout import differences
from viscy_compat.operations import Drop, Fill, sources_of, targets_of

RECORDS = [find(name) for name in class_names()]


def ids(architecture: Architecture) -> str:
    return architecture.name


def test_a_class_that_nobody_knows_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="ContrastiveEncoder"):
        find("ContrastiveDecoder")


@pytest.mark.parametrize("row", CLASSES, ids=lambda row: row.name)
def test_telling_names_are_in_every_layout_of_the_class(row: object) -> None:
    architecture = find(row.name)  # type: ignore[attr-defined]
    for case in architecture.cases:
        config = complete(architecture, case.config)
        if architecture.outcome(config, case.input).builds:
            assert set(row.telling) <= set(architecture.layout(config))  # type: ignore[attr-defined]


@pytest.mark.parametrize("architecture", RECORDS, ids=ids)
def test_there_are_a_dozen_cases_with_names_and_settings_of_their_own(architecture: Architecture) -> None:
    cases = architecture.cases
    assert len(cases) >= 12
    assert len({case.name for case in cases}) == len(cases)
    settings = [(sorted(complete(architecture, case.config).items(), key=str), case.input) for case in cases]
    assert all(setting not in settings[:place] for place, setting in enumerate(settings))


@pytest.mark.parametrize("architecture", RECORDS, ids=ids)
def test_every_case_builds_and_runs_by_the_shape_rule(architecture: Architecture) -> None:
    cases = [*architecture.cases, *(case for generation in architecture.generations for case in generation.cases)]
    for case in cases:
        outcome = architecture.outcome(complete(architecture, case.config), case.input)
        assert outcome.runs, (case.name, outcome.why)
        assert tuple(outcome.outputs) == architecture.outputs


@pytest.mark.parametrize("architecture", RECORDS, ids=ids)
def test_arguments_of_cases_are_arguments_of_the_class(architecture: Architecture) -> None:
    names = {argument.name for argument in architecture.arguments}
    required = {argument.name for argument in architecture.arguments if argument.default is REQUIRED}
    for case in architecture.cases:
        assert required <= set(case.config) <= names


@pytest.mark.parametrize("architecture", RECORDS, ids=ids)
def test_every_accepted_difference_applies_to_its_example(architecture: Architecture) -> None:
    for row in architecture.accepted_differences:
        config = complete(architecture, row.example.config)
        assert row.applies(config)
        if row.side == "new-refuses" and row.stage == "build":
            assert not architecture.outcome(config, row.example.input).builds, row.id
    assert len({row.id for row in architecture.accepted_differences}) == len(architecture.accepted_differences)


@pytest.mark.parametrize("architecture", RECORDS, ids=ids)
def test_cases_outside_the_accepted_differences_need_none(architecture: Architecture) -> None:
    for case in architecture.cases:
        config = complete(architecture, case.config)
        needed = [
            row.id for row in architecture.accepted_differences if row.applies(config) and row.side == "new-refuses"
        ]
        assert not needed, case.name


@pytest.mark.parametrize("architecture", RECORDS, ids=ids)
def test_rows_to_today_account_for_every_tensor(architecture: Architecture) -> None:
    for generation in architecture.generations:
        for case in generation.cases if generation.to_today else ():
            config = complete(architecture, case.config)
            old, today = generation.layout(config), architecture.layout(config)
            rows = generation.to_today(old)  # type: ignore[misc]
            assert sorted(name for row in rows for name in sources_of(row)) == sorted(old)
            assert sorted(name for row in rows for name in targets_of(row)) == sorted(today)
            for row in rows:
                if isinstance(row, Fill):
                    assert (row.shape, row.dtype) == tuple(today[row.target])
                elif not isinstance(row, Drop):
                    assert {old[name] for name in sources_of(row)} == {today[name] for name in targets_of(row)}


@pytest.mark.parametrize("architecture", RECORDS, ids=ids)
def test_published_checkpoints_are_known_with_their_configuration(architecture: Architecture) -> None:
    for published in architecture.publications:
        generation = next(one for one in architecture.generations if one.name == published.generation)
        config = complete(architecture, published.config)
        inference = identify(generation.layout(config), published.config)
        assert inference is not None
        assert (inference.architecture, inference.generation) == (architecture, generation)
        assert not inference.contradictions
        assert {name: inference.config[name] for name in published.config} == dict(published.config)


@pytest.mark.parametrize("architecture", RECORDS, ids=ids)
def test_the_last_generation_has_todays_layout(architecture: Architecture) -> None:
    last = architecture.generations[-1]
    assert last.to_today is None
    for case in architecture.cases[:3]:
        config = complete(architecture, case.config)
        assert not differences(last.layout(config), architecture.layout(config))


@pytest.mark.parametrize("row", CLASSES, ids=lambda row: row.name)
def test_a_class_that_only_upstream_has_says_what_to_install(row: ClassRow) -> None:
    assert bool(find(row.name).install) == row.upstream


@pytest.mark.torch
@pytest.mark.parametrize("architecture", [row for row in RECORDS if not row.install], ids=ids)
def test_arguments_and_defaults_are_those_of_the_migrated_class(architecture: Architecture) -> None:
    import importlib

    module, _, name = architecture.target.rpartition(".")
    parameters = inspect.signature(getattr(importlib.import_module(module), name)).parameters.values()
    named = [one for one in parameters if one.kind is not inspect.Parameter.VAR_KEYWORD]
    here = [argument for argument in architecture.arguments if not argument.keyword]
    assert [one.name for one in named] == [argument.name for argument in here]
    for parameter, argument in zip(named, here, strict=True):
        default = REQUIRED if parameter.default is inspect.Parameter.empty else parameter.default
        assert default == argument.default, parameter.name
    assert architecture.keywords == (len(parameters) != len(named))

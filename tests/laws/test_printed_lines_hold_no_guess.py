"""What `check` prints for pasting holds no value that differs from what the file was built with; ``...`` is allowed."""

from __future__ import annotations

import ast
import shlex
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.configurations import buildable
from support.layouts import hollow
from viscy_compat.architectures import find, migrated_names
from viscy_compat.architectures.architecture import Architecture, Generation
from viscy_compat.diagnosis import CheckResult, diagnose
from viscy_compat.errors import Unbuildable
from viscy_compat.stated import SETTING, Statement, parse_value

CLASSES = [find(name) for name in migrated_names()]
EXAMPLES = 40


def pasted_in_python(result: CheckResult) -> dict[str, Any]:
    """The arguments of the printed line of Python; ``...`` is left out."""
    call = ast.parse(result.python).body[0].value  # type: ignore[attr-defined]
    (config,) = [keyword.value for keyword in call.keywords if keyword.arg == "config"] or [ast.Dict([], [])]
    values = {key.value: ast.literal_eval(value) for key, value in zip(config.keys, config.values, strict=True)}
    return {name: value for name, value in values.items() if value is not ...}


def pasted_in_a_shell(result: CheckResult) -> dict[str, Any]:
    """The settings of the printed command; VALUE is left out."""
    words = shlex.split(result.next)
    pairs = [word.partition("=") for before, word in pairwise(words) if before == "--set"]
    return {name: parse_value(value) for name, _, value in pairs if value != "VALUE"}


def released(architecture: Architecture) -> list[Generation]:
    """The generations that some release wrote; of development versions a file without a head tells too little."""
    return [row for row in architecture.generations if any(release.wheel for release in row.releases)]


def as_built_by(generation: Generation, config: dict[str, Any]) -> dict[str, Any]:
    """The configuration that an older state of the class makes of one: what it fixed is as it had it."""
    if generation.name != "v0.2":
        return config
    release = generation.releases[config["in_channels"] % len(generation.releases)]
    return {**config, "embedding_dim": 3 * config["projection_dim"], **release.constants}


@pytest.mark.parametrize("architecture", CLASSES, ids=migrated_names())
@pytest.mark.parametrize("prefix", ["", "module."])
def test_no_printed_value_differs_from_the_truth(architecture: Architecture, prefix: str, tmp_path: Path) -> None:
    names = [argument.name for argument in architecture.arguments]

    @settings(max_examples=EXAMPLES)
    @given(buildable(architecture), st.sets(st.sampled_from(names)), st.sampled_from(released(architecture)))
    def law(config: dict[str, Any], stated: set[str], generation: Generation) -> None:
        config = as_built_by(generation, config)
        try:
            layout = {prefix + name: spec for name, spec in generation.layout(config).items()}
        except Unbuildable:
            return
        given_ = {name: config[name] for name in stated if name in config}
        statements = (Statement(SETTING, given_),) if given_ else ()
        result = diagnose(str(hollow(tmp_path / "a.safetensors", layout)), statements=statements).result
        assert result.identity is not None
        assert not {"VC304", "VC305"} & {finding.code for finding in result.findings}, (config, given_)
        truth = architecture.spelling(config, config)
        for printed in (pasted_in_python(result), pasted_in_a_shell(result)):
            spelled = architecture.spelling(printed, config)
            assert {name: truth[name] for name in spelled} == spelled

    law()


@pytest.mark.parametrize("architecture", CLASSES, ids=migrated_names())
def test_with_everything_stated_nothing_is_left_open_that_predictions_depend_on(
    architecture: Architecture, tmp_path: Path
) -> None:
    @settings(max_examples=EXAMPLES // 2)
    @given(buildable(architecture))
    def law(config: dict[str, Any]) -> None:
        path = str(hollow(tmp_path / "a.safetensors", architecture.layout(config)))
        result = diagnose(path, statements=(Statement(SETTING, config),)).result
        assert "..." not in result.python
        assert "VALUE" not in result.next
        assert not result.uncertain

    law()

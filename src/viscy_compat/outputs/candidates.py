"""Configurations that weights leave open, as far as the shapes of an input and its outputs leave them open too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product
from typing import Any, Final

from viscy_compat.architectures.architecture import Architecture
from viscy_compat.architectures.inference import Undetermined, infer
from viscy_compat.errors import Unbuildable

MOST_RUN: Final = 12
"""How many configurations are run: each costs a forward pass."""

_MOST_TRIED: Final = 4096
"""How many combinations are held against the shape rule, which takes microseconds for one."""


@dataclass(frozen=True)
class Candidates:
    """What is left to run.

    Parameters
    ----------
    configs : tuple[Mapping[str, Any], ...]
        Complete configurations, the assumed one first if it is among them.
    names : tuple[str, ...]
        The arguments that are open.
    passed_over : int
        How many would have been run but for `MOST_RUN`.
    """

    configs: tuple[Mapping[str, Any], ...]
    names: tuple[str, ...]
    passed_over: int = 0


def find_candidates(
    architecture: Architecture,
    config: Mapping[str, Any],
    undetermined: Mapping[str, Undetermined],
    input_shape: tuple[int, ...],
    shapes: Mapping[str, tuple[int, ...]],
) -> Candidates:
    """Return the configurations that could have given outputs of these shapes.

    Parameters
    ----------
    architecture : Architecture
        The class.
    config : Mapping[str, Any]
        What is known and assumed.
    undetermined : Mapping[str, Undetermined]
        What the weights do not tell.
    input_shape : tuple[int, ...]
        The shape of the input.
    shapes : Mapping[str, tuple[int, ...]]
        Shapes of the outputs that the user has, by name.

    Examples
    --------
    >>> from viscy_compat.architectures import find
    >>> from viscy_compat.architectures.architecture import complete
    >>> from viscy_compat.architectures.inference import infer
    >>> unet = find("Unet2d")
    >>> found = infer(unet, unet.layout(complete(unet, {})))
    >>> rows = {row.name: row for row in found.undetermined}
    >>> tried = find_candidates(unet, found.config, rows, (2, 1, 1, 32, 32), {"output": (2, 1, 1, 32, 32)})
    >>> [(config["residual"], config["task"]) for config in tried.configs]
    [(False, 'seg'), (False, 'reg'), (True, 'seg'), (True, 'reg')]
    """
    rows = [row for row in undetermined.values() if row.changes_predictions]
    names = tuple(dict.fromkeys(name for row in rows for name in (row.name, *(row.candidates or ({},))[0])))
    as_file = _possible(architecture, _combinations(config, rows), config, input_shape, shapes)
    as_input = _possible(architecture, _as_fed(architecture, config, names, input_shape), config, input_shape, shapes)
    found = {repr({name: each[name] for name in names}): each for each in (*as_file, *as_input)}
    # few models have another stride along each axis: such are run where nothing else is possible, or last
    plain = [each for each in found.values() if not _by_axis(each, names)]
    possible = [*plain, *filter(lambda each: _by_axis(each, names), as_file if plain else found.values())]
    if not possible:
        # the rule is right about inputs of the documented rank; some models take others too, and what runs is seen by running it
        is_documented = len(input_shape) == len(architecture.input_shape(config))
        possible = [] if is_documented else list(_of_layout(architecture, _combinations(config, rows), config))
    if not possible:
        return Candidates((config,), names if rows else ())
    configs = tuple(possible[:MOST_RUN])
    return Candidates(configs, names, len(possible) - len(configs))


def _possible(
    architecture: Architecture,
    combinations: Iterable[Mapping[str, Any]],
    config: Mapping[str, Any],
    input_shape: tuple[int, ...],
    shapes: Mapping[str, tuple[int, ...]],
) -> list[Mapping[str, Any]]:
    """Return the combinations that have the layout of the file, and give outputs of these shapes."""
    possible = []
    for combination in _of_layout(architecture, combinations, config):
        outcome = architecture.outcome(combination, input_shape)
        if outcome.runs and all(outcome.outputs.get(name, shape) == shape for name, shape in shapes.items()):
            possible.append(combination)
    return possible


def _of_layout(
    architecture: Architecture, combinations: Iterable[Mapping[str, Any]], config: Mapping[str, Any]
) -> Iterator[Mapping[str, Any]]:
    """Yield the combinations that have the layout of the file."""
    footprint = architecture.footprint(config)
    for combination in islice(combinations, _MOST_TRIED):
        try:
            # candidates of two arguments may exclude each other, and give no model or one of another layout
            has_layout = architecture.footprint(combination) == footprint
        except Unbuildable:
            continue
        if has_layout:
            yield combination


def _as_fed(
    architecture: Architecture, config: Mapping[str, Any], names: Sequence[str], input_shape: tuple[int, ...]
) -> Iterator[Mapping[str, Any]]:
    """Yield what is left open where the input that was fed is what the model was made for."""
    fed = {name: value for name, value in architecture.arguments_of_input(input_shape).items() if name in names}
    known = {name: value for name, value in config.items() if name not in names}
    found = infer(architecture, architecture.layout(config), {**known, **fed}) if fed else None
    if found and not found.contradictions:
        yield from _combinations(found.config, [row for row in found.undetermined if row.changes_predictions])


def _by_axis(config: Mapping[str, Any], names: Sequence[str]) -> bool:
    return any(isinstance(item, tuple) for name in names if isinstance(config[name], tuple) for item in config[name])


def _combinations(config: Mapping[str, Any], rows: list[Undetermined]) -> Iterator[Mapping[str, Any]]:
    """Yield every combination of candidates, the assumed values first, none twice."""
    spellings = set()
    for choice in product(*(row.candidates for row in rows)):
        combination = dict(config)
        for candidate in choice:
            combination.update(candidate)
        # what goes with one argument yields to the row of another that is about it
        combination.update({row.name: candidate[row.name] for row, candidate in zip(rows, choice, strict=True)})
        if repr(combination) not in spellings:
            spellings.add(repr(combination))
            yield combination

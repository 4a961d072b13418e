"""What a configuration does with an input, before anybody trains it: `explore CLASS --ask`. No torch, only shape rules."""

from __future__ import annotations

from itertools import combinations, product

from viscy_compat.annotations import Any, Iterator, Mapping
from viscy_compat.architectures.architecture import (
    REQUIRED,
    Architecture,
    Choice,
    Config,
    Domain,
    Integers,
    TupleOf,
    complete,
)
from viscy_compat.architectures.domains import is_a_value
from viscy_compat.architectures.outcome import Outcome
from viscy_compat.errors import UsageError
from viscy_compat.findings import Finding, html_of, line_of
from viscy_compat.named import NamedTuple

_MOST_NEARBY = 5
_MOST_TRIED = 3000
"""What is near is looked for among neighbours of one argument first; this bounds the work, and five are enough to read."""
_STEPS = (1, 2, 3, 4)
_ROUND = (5, 8, 16, 32, 64, 128)


class Answer(NamedTuple):
    """What comes out of a configuration for an input, and what would be exact instead.

    ``nearby`` holds the changed arguments of exact neighbours, the nearest first; ``input`` among them is another input.
    """

    architecture: Architecture
    config: Mapping[str, Any]
    input: tuple[int, ...]
    outcome: Outcome
    nearby: tuple[Mapping[str, Any], ...] = ()

    @property
    def title(self) -> str:
        """The class."""
        return self.architecture.name

    @property
    def exit_code(self) -> int:
        """0 where the answer is exact, else 1."""
        return 0 if self.outcome.exact else 1

    @property
    def findings(self) -> tuple[Finding, ...]:
        """None: losses are an answer, not a finding."""
        return ()

    def __repr__(self) -> str:
        losses = "; ".join(loss.detail for loss in self.outcome.losses)
        return line_of(self, "exact" if self.outcome.exact else self.outcome.why or losses)

    def _repr_html_(self) -> str:
        return html_of("explore", self)

    def to_dict(self) -> dict[str, Any]:
        """Return the result as the JSON of the contract has it."""
        outcome = self.outcome
        return {
            "class": self.architecture.name,
            "config": dict(self.config),
            "input": list(self.input),
            "builds": outcome.builds,
            "runs": outcome.runs,
            "trains": outcome.trains,
            "outputs": {name: list(shape) for name, shape in outcome.outputs.items()},
            "exact": outcome.exact,
            "losses": [{"kind": loss.kind, "detail": loss.detail} for loss in outcome.losses],
            "why": outcome.why,
            "nearby": [dict(change) for change in self.nearby],
        }


def ask(architecture: Architecture, asked: Config, fed: tuple[int, ...] | None = None) -> Answer:
    """Answer what a configuration does with an input.

    Parameters
    ----------
    architecture : Architecture
        The class.
    asked : Config
        Constructor arguments; defaults stand for the rest.
    fed : tuple[int, ...], optional
        Shape of the input, batch first; by default the one that the configuration is made for, with a batch of two.

    Raises
    ------
    UsageError
        Where an argument is unknown, missing, or has a value that it cannot have.

    Examples
    --------
    >>> from viscy_compat.architectures import find
    >>> answer = ask(find("BetaVae25D"), {"backbone": "convnext_tiny"})
    >>> answer.outcome.outputs["recon_x"], answer.exit_code, dict(answer.nearby[0])
    ((2, 2, 16, 512, 512), 1, {'decoder_stages': 3})
    """
    config = _refuse_foreign_values(architecture, asked)
    shape = architecture.input_shape(config) if fed is None else fed
    outcome = architecture.outcome(config, shape)
    nearby = () if outcome.exact else tuple(_exact_neighbours(architecture, config, fed))
    return Answer(architecture, config, input=shape, outcome=outcome, nearby=nearby)


def outcome_name(architecture: Architecture, config: Config, fed: tuple[int, ...]) -> str:
    """Name the outcome of a case: what a map is coloured by.

    Examples
    --------
    >>> from viscy_compat.architectures import find
    >>> vae = find("BetaVae25D")
    >>> outcome_name(vae, complete(vae, {}), (2, 2, 16, 256, 256))
    'exact'
    """
    rule = architecture.outcome(config, fed)
    if not rule.builds:
        return "does not build"
    if not rule.runs:
        return "does not run"
    kinds = {loss.kind for loss in rule.losses}
    if not kinds:
        return "exact"
    return "rounded" if kinds <= {"rounding", "orientation"} else "lossy"


def _refuse_foreign_values(architecture: Architecture, asked: Config) -> dict[str, Any]:
    known = {argument.name: argument for argument in architecture.arguments}
    unknown = [name for name in asked if name not in known]
    if unknown:
        has = ", ".join(known)
        raise UsageError(f"{architecture.name} has no argument {', '.join(unknown)}", fix=f"its arguments are {has}")
    missing = [name for name, argument in known.items() if argument.default is REQUIRED and name not in asked]
    if missing:
        fix = " ".join(f"--ask {name}=VALUE" for name in missing)
        raise UsageError(f"{architecture.name} needs {', '.join(missing)}", fix=f"add {fix}")
    config = complete(architecture, asked)
    for name, value in architecture.spelling(asked, config).items():
        if not is_a_value(known[name].values(config), value):
            raise UsageError(
                f"{name}={asked[name]!r} is no value that {architecture.name} takes", fix="see its docstring"
            )
    return config


def _exact_neighbours(
    architecture: Architecture, config: Config, fed: tuple[int, ...] | None
) -> Iterator[Mapping[str, Any]]:
    """Yield changes of one or two arguments (or of the input) after which the answer is exact, the nearest first."""
    choices = {name: values for name, values in _neighbours(architecture, config, fed).items() if values}
    found: list[Mapping[str, Any]] = []
    for size in (1, 2):
        changes = [
            dict(zip(names, values, strict=True))
            for names in combinations(choices, size)
            for values in product(*(choices[name] for name in names))
        ]
        changes.sort(key=lambda change: sum(_distance(_before(config, fed, name), change[name]) for name in change))
        for change in changes[:_MOST_TRIED]:
            # one that holds another is no news: the other alone is enough
            if len(found) == _MOST_NEARBY or any(change.items() >= one.items() for one in found):
                continue
            changed = {**config, **{name: value for name, value in change.items() if name != "input"}}
            # where no input was stated, the one that a configuration is made for changes with it
            shape = change.get("input", fed) or architecture.input_shape(changed)
            if architecture.outcome(changed, shape).exact:
                found.append(change)
                yield change


def _neighbours(architecture: Architecture, config: Config, fed: tuple[int, ...] | None) -> dict[str, list[Any]]:
    """Return, for the input and for each argument that has numbers, a few other values, the nearest first."""
    choices: dict[str, list[Any]] = {}
    if fed:
        # another depth, other sides, or a square of them
        inputs = {
            (*fed[:axis], size, *fed[axis + 1 :]) for axis in range(2, len(fed)) for size in _other_sizes(fed[axis])
        }
        inputs |= {(*fed[:-2], size, size) for size in (*_other_sizes(fed[-1]), fed[-1], fed[-2])}
        choices["input"] = sorted(inputs - {fed}, key=lambda other: _distance(fed, other))[:_MOST_INPUTS]
    for argument in architecture.arguments:
        now = config[argument.name]
        # a default of None or () follows from other arguments, which are asked for themselves; a value in another
        # spelling has no neighbours
        derived = now is None or now == () or not is_a_value(argument.values(config), now)
        if argument.effect == "predictions" and not derived and not isinstance(argument.values(config), Choice):
            values = [value for value in _others(argument.values(config), now) if value != now]
            choices[argument.name] = sorted(values, key=lambda value: _distance(now, value))[:_MOST_VALUES]
    return choices


_MOST_INPUTS, _MOST_VALUES = 40, 24
"""Inputs, and values of one argument, that are combined with those of another: pairs of them are what takes the time."""


def _others(domain: Domain, now: Any) -> Iterator[Any]:
    if isinstance(domain, Integers):
        yield from _other_sizes(now)
    elif isinstance(domain, TupleOf) and all(isinstance(item, Integers | Choice) for item in domain.domains):
        sizes = [
            list(item.values) if isinstance(item, Choice) else _other_sizes(size)
            for item, size in zip(domain.domains, now, strict=True)
        ]
        yield from ((*now[:axis], size, *now[axis + 1 :]) for axis in range(len(now)) for size in sizes[axis])
        yield from ((*now[:-2], size, size) for size in (*sizes[-1], now[-1]))


def _other_sizes(now: int) -> list[int]:
    steps = _STEPS if now < 32 else ()
    near = {now + step for step in steps} | {now - step for step in steps}
    rounded = {now // unit * unit for unit in _ROUND} | {-(-now // unit) * unit for unit in _ROUND}
    return sorted(size for size in near | rounded if size > 0 and size != now)


def _before(config: Config, fed: tuple[int, ...] | None, name: str) -> Any:
    return fed if name == "input" else config[name]


def _distance(before: Any, after: Any) -> float:
    """Say how far two values are apart: relative changes, added up; equal changes of both sides count once."""
    if isinstance(before, tuple) or isinstance(after, tuple):
        # a stride of 2 is one of (2, 2)
        before = before if isinstance(before, tuple) else (before,) * len(after)
        after = after if isinstance(after, tuple) else (after,) * len(before)
        return max(map(_distance, before, after)) + 0.1 * sum(map(_distance, before, after))
    return float(abs(after - before) / max(abs(before), 1))

"""What is known about constructor arguments, where each value comes from, and what was found and is not known.

Sources in the order in which they count: ``--set`` (in Python: ``config=``), configurations (of several the last one
first), the file's own hyper-parameters, and what `remap` recorded when it wrote the file. Nothing else is adopted.
"""

from __future__ import annotations

from viscy_compat.annotations import Any, Final, Iterable, Iterator, Mapping
from viscy_compat.architectures import class_names, find, resolve_class
from viscy_compat.architectures.architecture import (
    Architecture,
    Argument,
    Choice,
    Config,
    Domain,
    Floats,
    Integers,
    Repeated,
)
from viscy_compat.architectures.domains import is_a_value
from viscy_compat.checkpoint.facts import Checkpoint
from viscy_compat.checkpoint.pickle_nodes import Unread
from viscy_compat.errors import UsageError
from viscy_compat.layout import printable
from viscy_compat.stated import (
    ARGUMENT,
    ENTRIES,
    FILE,
    OURS,
    SETTING,
    Knowledge,
    Known,
    NotRead,
    Statement,
    parse_value,
    spell,
    statements_in,
)

RECORD: Final = "viscy_compat.config"
"""Where `remap` records the arguments that were known when it wrote a file."""

_MODULES: Final = frozenset(
    ("", "init_args", "model", "model.init_args", "hyper_parameters", "hparams", "hyper_parameters.init_args")
)
"""Places of the arguments of a module that holds the model, and may have taken the model's own arguments."""


def statements_of_file(checkpoint: Checkpoint) -> tuple[Statement, ...]:
    """Return what a file says about itself: its hyper-parameters, then the record that `remap` left in it."""
    nodes = {name: checkpoint.entries.get(name) for name in ENTRIES}
    nodes["hyper_parameters"] = checkpoint.hyper_parameters
    entries = {name: node for name, node in nodes.items() if node is not None}
    if not entries:
        return tuple(_record_of_remap(checkpoint.metadata))
    from viscy_compat.checkpoint.values import value_of

    own = statements_in({name: value_of(node) for name, node in entries.items()}, FILE)
    return (*own, *_record_of_remap(checkpoint.metadata))


def _record_of_remap(metadata: Mapping[str, str]) -> Iterator[Statement]:
    """Yield what `remap` recorded; a record that somebody has damaged says nothing."""
    if RECORD not in metadata:
        return
    from json import loads

    from viscy_compat.stated import plain_arguments

    try:
        arguments = loads(metadata[RECORD])
    except (ValueError, RecursionError):
        return
    if isinstance(arguments, dict):
        yield Statement(OURS, plain_arguments(arguments), metadata.get("viscy_compat.class", ""))


def gather(architecture: Architecture, config: Config, generation: str, rows: Iterable[Statement]) -> Knowledge:
    """Put together what is stated about a class.

    Parameters
    ----------
    architecture : Architecture
        The class.
    config : Config
        A configuration with the layout of the file; domains of arguments depend on it.
    generation : str
        The generation of the file, whose own hyper-parameters are in its terms.
    rows : Iterable[Statement]
        Everything that is stated, the most binding first.

    Raises
    ------
    UsageError
        Where a value of the user's is none that its argument takes.
    """
    collector = _Collected(architecture, config, generation)
    by_origin: dict[str, list[Statement]] = {}
    for row in rows:
        by_origin.setdefault(row.origin, []).append(row)
    silent = [list(same) for origin, same in by_origin.items() if not collector.take(origin, same) and _is_path(origin)]
    paths = [origin for origin in by_origin if _is_path(origin)]
    return Knowledge(
        values=collector.values,
        not_read=tuple(row for row in collector.not_read.values() if row.name not in collector.values),
        overruled=tuple(collector.overruled),
        silent=tuple(row for same in silent for row in same) if len(silent) == len(paths) else (),
        foreign=tuple(collector.foreign),
        named=tuple(row for origin in paths for row in by_origin[origin] if _rank(architecture, row) == _OWN),
    )


def _is_path(origin: str) -> bool:
    return origin not in (SETTING, ARGUMENT, FILE, OURS)


_OWN, _FLAT, _OTHERS = 2, 1, 0
"""How far a statement is about a class: by its name, by where it stands, not at all."""


def _rank(architecture: Architecture, row: Statement) -> int:
    if row.origin in (SETTING, ARGUMENT):
        return _OWN
    class_named_there = resolve_class(row.class_name) if row.class_name else ""
    if class_named_there:
        return _OWN if class_named_there == architecture.name else _OTHERS
    inside = row.place in _MODULES or row.place.endswith(("model_config", "net_config", "generator_config"))
    return _FLAT if inside or not row.class_name else _OTHERS


class _Collected:
    """Takes one source after the other, the most binding first."""

    def __init__(self, architecture: Architecture, config: Config, generation: str) -> None:
        self.architecture, self.config, self.generation = architecture, config, generation
        self.arguments = {argument.name: argument for argument in architecture.arguments}
        self.values: dict[str, Known] = {}
        self.not_read: dict[str, NotRead] = {}
        self.overruled: list[tuple[str, Known]] = []
        self.foreign: list[str] = []

    def take(self, origin: str, rows: list[Statement]) -> bool:
        """Take what a source states; whether any of it is about the class."""
        # those under the name of the class last: the better rank wins
        about = sorted((row for row in rows if _rank(self.architecture, row)), key=self._rank_of)
        values: dict[str, tuple[Known, int]] = {}
        for row in about:
            # only the file speaks the words of its own release; the user and a configuration speak of
            # today
            generation = self.generation if row.origin == FILE else ""
            for name, value in self.architecture.older(row.arguments, generation).items():
                if name in self.arguments:
                    known, rank, before = Known(value, origin, row.place), self._rank_of(row), values.get(name)
                    if before and before[1] >= rank and before[0].value != value:
                        # one file that says two things is no source: neither is taken in silence
                        twice = f"stated twice, at {before[0].place} and at {row.place}, with two values"
                        known = known._replace(value=Unread(twice))
                    values[name] = known, rank
                elif origin in (SETTING, ARGUMENT):
                    self.foreign.append(name)
        for name, (value, _) in values.items():
            self._decide(name, value)
        return bool(values)

    def _rank_of(self, row: Statement) -> int:
        return _rank(self.architecture, row)

    def _decide(self, name: str, known: Known) -> None:
        value = self._read(self.arguments[name], known)
        if isinstance(value, Unread):
            self.not_read.setdefault(name, NotRead(name, known, value.what))
        elif name not in self.values:
            self.values[name] = known._replace(value=value)
        elif self._spelling(name, self.values[name].value) != self._spelling(name, value):
            self.overruled.append((name, known._replace(value=value)))

    def _read(self, argument: Argument, known: Known) -> Any:
        """Return a value in the kind that its argument has; a text may spell another kind of value."""
        value, domain = known.value, argument.values(self.config)
        if isinstance(value, Unread):
            return value
        candidates = [value]
        # --set was parsed already, and a text in quotes there is meant as one
        if isinstance(value, str) and known.origin != SETTING:
            candidates += _parse(value)
        for one in candidates:
            spelling = self._spelling(argument.name, one)
            if known.origin in (SETTING, ARGUMENT):
                _refuse_unknown_word(argument, domain, spelling, known.origin)
            if is_a_value(domain, spelling):
                return one
        if known.origin in (SETTING, ARGUMENT):
            raise _no_value_of(argument, domain, value, known.origin)
        return Unread(f"{_in_short(value)}, which is no value that it takes")

    def _spelling(self, name: str, value: Any) -> Any:
        spelling = self.architecture.spelling({name: value}, self.config)
        return spelling.get(name, value)


_MOST_VALUES = 8
"""Values that an error names: those of every argument that takes words are fewer."""


def _refuse_unknown_word(argument: Argument, domain: Domain, value: Any, origin: str) -> None:
    """Refuse a text that is no value, where a class takes few. Values in capitals are MONAI's, which takes others too."""
    if not isinstance(domain, Choice) or not isinstance(value, str) or value in domain.values:
        return
    words = [word for word in domain.values if isinstance(word, str)]
    # MONAI takes its words in any case, our classes take theirs as they are
    if value.lower() in words:
        message = f"{origin}: {argument.name} has no value {printable(value)}; did you mean {value.lower()}?"
        raise UsageError(message, fix=f"correct the value: {argument.name}={value.lower()}")
    if words and all(map(str.islower, words)):
        raise _no_value_of(argument, domain, value, origin)


def refuse_texts(architecture: Architecture, row: Statement) -> None:
    """Refuse texts that arguments do not take, where there is no configuration yet to hold other values against.

    Raises
    ------
    UsageError
        For the first of them.
    """
    for argument in architecture.arguments:
        value, domain = row.arguments.get(argument.name), argument.domain
        if isinstance(value, str) and not callable(domain):
            _refuse_unknown_word(argument, domain, value, row.origin)
            spelled_values = _parse(value) if row.origin != SETTING else []
            if not any(is_a_value(domain, one) for one in (value, *spelled_values)):
                raise _no_value_of(argument, domain, value, row.origin)


def _no_value_of(argument: Argument, domain: Domain, value: Any, origin: str) -> UsageError:
    message = f"{origin}: {argument.name} takes {takes(domain, argument.default)}, and not {_in_short(value)}"
    return UsageError(message, fix="correct the value")


def _parse(text: str) -> list[Any]:
    try:
        return [parse_value(text)]
    except UsageError:
        return []


def _in_short(value: Any) -> str:
    return printable(spell(value))[:80]


def takes(domain: Domain, default: Any) -> str:
    """Say which values an argument takes.

    Examples
    --------
    >>> takes(Choice((False, True)), False), takes(Integers(1, 3), 1), takes(Choice(("seg", "reg")), "seg")
    ('true or false', 'a whole number', 'reg or seg')
    """
    if isinstance(domain, Choice):
        values = sorted(domain.values, key=lambda value: (value is not None, str(value)))
        if {*map(type, values)} == {bool}:
            return "true or false"
        return " or ".join(spell(value) for value in values[:_MOST_VALUES])
    if isinstance(domain, Integers | Floats):
        return "a whole number" if isinstance(domain, Integers) else "a number"
    count = "" if isinstance(domain, Repeated) else f"{len(domain.domains)} "
    example = f", such as {spell(default)}" if isinstance(default, tuple) and default else ""
    return f"{count}values{example}"


def refuse_foreign(architecture: Architecture, names: Iterable[str]) -> None:
    """Refuse names that a class does not have, with the nearest that it has.

    Raises
    ------
    UsageError
        For the first of `names`.
    """
    for name in names:
        from difflib import get_close_matches

        own = [argument.name for argument in architecture.arguments]
        near = get_close_matches(name, own, n=1)
        fix = f"did you mean {near[0]}?" if near else f"its arguments are {', '.join(own)}"
        raise UsageError(f"{architecture.name} has no argument {printable(name)}", fix=fix)


def is_any_argument(name: str) -> bool:
    """Whether any known class has an argument of that name."""
    return any(name in (argument.name for argument in find(one).arguments) for one in class_names())


def places_of(rows: Iterable[Statement]) -> str:
    """Name what a configuration was searched for: each place with the class that it is for."""
    places = dict.fromkeys(
        f"{row.place or 'the top'}{f' for {printable(row.class_name)}' if row.class_name else ''}" for row in rows
    )
    more = f" and {len(places) - 4} more" if len(places) > 4 else ""
    return ", ".join(list(places)[:4]) + more

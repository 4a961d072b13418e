"""Configurations as they lie in people's folders: YAML and JSON, composed by ``base:``, read without constructing anything.

Tags of Python in a YAML become the inert nodes that a pickle decodes to, so that one reader knows numpy's numbers and
OmegaConf's containers in both. A tag that says nothing about a constructor argument is passed over.
"""

from __future__ import annotations

import os

from viscy_compat.annotations import Any, Final, Mapping
from viscy_compat.checkpoint.byte_source import ByteSource
from viscy_compat.checkpoint.pickle_nodes import Call, Dict, Global, Node
from viscy_compat.checkpoint.values import value_of
from viscy_compat.errors import UnreadableCheckpoint, UsageError, lacking
from viscy_compat.layout import printable
from viscy_compat.named import NamedTuple
from viscy_compat.stated import Statement, statements_in

MOST_BYTES: Final = 1 << 20
"""A training configuration is a few kilobytes; beyond this a file is not read as one."""

_MOST_BASES: Final = 16
"""How deep configurations may build on each other: upstream's go five deep."""

_MOST_FILES: Final = 200
"""Files of one configuration: each of sixteen levels may name several."""


def read_config(path: str) -> tuple[Statement, ...]:
    """Read the constructor arguments that a configuration states.

    LightningCLI and VisCy training configurations, flat ``hparams.yaml``, Hydra's ``_target_``, MONAI's
    ``network_def`` and ``config.json`` are read; ``base:`` (a path or a list, relative to the file that names it) is
    followed, as VisCy's monorepo composes them: dictionaries merge, everything else is replaced.

    Raises
    ------
    UsageError
        Where a file cannot be read, is no YAML mapping, builds on itself, or states nothing at all.
    MissingExtra
        For YAML without PyYAML.
    """
    try:
        document = _compose(path, (), [])
        if not isinstance(document, dict):
            raise UsageError("is no mapping of names to values", where=path, fix=_WHERE_ARGUMENTS_STAND)
        statements = tuple(statements_in(document, path))
    except RecursionError as error:
        # two that are merged may each be nested as deep as their parsers go
        raise UsageError("is nested too deeply", where=path, fix="correct the file") from error
    if not statements:
        raise UsageError("states no constructor arguments", where=path, fix=_WHERE_ARGUMENTS_STAND)
    return statements


_WHERE_ARGUMENTS_STAND: Final = (
    "arguments stand under init_args beside a class_path, under model_config, beside a _target_, or flat under model"
)


def _compose(path: str, above: tuple[str, ...], read: list[str]) -> Any:
    """Return a document merged over those that it builds on."""
    real = os.path.realpath(path)
    read.append(real)
    # of those above only: two files may build on the same third one
    if real in above:
        raise UsageError("builds on itself through base:", where=path, fix="take the circle out of the base: entries")
    if len(above) >= _MOST_BASES or len(read) > _MOST_FILES:
        raise UsageError(
            f"base: goes more than {_MOST_BASES} files deep, or names more than {_MOST_FILES} files",
            where=path,
            fix="give the composed configuration",
        )
    document = _load(path, above)
    if not isinstance(document, dict):
        return document
    document_so_far: dict[str, Any] = {}
    for name in _bases(document.pop("base", None), path):
        # a path in a configuration is meant from where that lies
        part = _compose(os.path.join(os.path.dirname(path), name), (*above, real), read)
        document_so_far = _merge(document_so_far, part) if isinstance(part, dict) else document_so_far
    return _merge(document_so_far, document)


def _bases(value: Any, path: str) -> list[str]:
    names = [value] if isinstance(value, str) else value
    if names is None or isinstance(names, dict):
        return []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UsageError("base: is neither a path nor a list of paths", where=path, fix="correct the base: entry")
    return names


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return two mappings as one: mappings merge key by key, all else is replaced."""
    both = {
        name: _merge(below[name], value) if isinstance(value, dict) and isinstance(below.get(name), dict) else value
        for name, value in above.items()
    }
    return {**below, **both}


def _load(path: str, above: tuple[str, ...]) -> Any:
    data = _read_bytes(path, above)
    # JSON is read without PyYAML, an extra; what begins like it and is none may be YAML in braces
    if path.lower().endswith(".json") or data.lstrip()[:1] == b"{":
        from json import loads

        try:
            return loads(data)
        except (ValueError, RecursionError) as error:
            if path.lower().endswith(".json"):
                reason = printable(str(error))[:120]
                raise UsageError(f"is no JSON: {reason}", where=path, fix="correct the file") from error
    return value_of(_yaml_node(data, path))


def _read_bytes(path: str, above: tuple[str, ...]) -> bytes:
    """Read a configuration whole: a regular file of at most `MOST_BYTES`."""
    fix = f"correct the base: entry of {above[-1]}" if above else "check the path after --config"
    try:
        with ByteSource(path) as source:
            if source.size > MOST_BYTES:
                raise UsageError(
                    f"is larger than {MOST_BYTES} bytes", where=path, fix="give the config.yaml of the training run"
                )
            return source.read(0, source.size)
    except UnreadableCheckpoint as error:
        raise UsageError(error.message, where=path, fix=fix) from error


def _yaml_node(data: bytes, path: str) -> Node:
    """Parse a YAML document to an inert node."""
    try:
        import yaml
    except ImportError as error:
        raise lacking("--config", "PyYAML", "config") from error
    try:
        # The parser in C is twenty times as quick; where PyYAML was built without it, the other one does.
        root = yaml.compose(data, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        return None if root is None else _NodeMaker(yaml).node(root)
    except _TooManyMerged as error:
        what = f"merge keys (<<) bring more than {_MOST_MERGED} entries"
        raise UsageError(what, where=path, fix="write the entries out") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        problem = str(getattr(error, "problem", None) or "it cannot be parsed")
        mark = getattr(error, "problem_mark", None)
        place = f" at line {mark.line + 1}" if mark else ""
        raise UsageError(f"is no YAML: {printable(problem)}{place}", where=path, fix="correct the file") from error


_STANDARD: Final = "tag:yaml.org,2002:"
_PYTHON: Final = "tag:yaml.org,2002:python/"


class _Parts(NamedTuple):
    """What a tag of Python says: the kind (``object/apply``) and the name behind the colon."""

    kind: str
    name: str


_MOST_MERGED: Final = 50_000
"""A chain of merge keys copies each mapping into the next: 200 kB of it took 750 MB."""


class _TooManyMerged(Exception):
    """Merge keys copy more entries than any configuration has."""


class _NodeMaker:
    """Turns the nodes of a YAML into inert ones; an alias becomes the same node again."""

    def __init__(self, yaml: Any) -> None:
        self._yaml = yaml
        self._scalars = yaml.constructor.SafeConstructor()
        self._made: dict[int, Node] = {}
        self._merged = 0

    def node(self, node: Any) -> Node:
        if id(node) not in self._made:
            self._convert(node)
        return self._made[id(node)]

    def _convert(self, node: Any) -> None:
        python = node.tag.removeprefix(_PYTHON) if node.tag.startswith(_PYTHON) else ""
        parts = _Parts(*python.partition(":")[::2])
        if isinstance(node, self._yaml.ScalarNode):
            self._made[id(node)] = self._scalar(node, parts)
        elif isinstance(node, self._yaml.SequenceNode):
            items: list[Node] = []
            call = Call(_global(parts.name), ()) if parts.kind.startswith("object/") else None
            # before its items, one of which may be an alias of it
            self._made[id(node)] = items if call is None else call
            items.extend(map(self.node, node.value))
            if call is not None:
                call.args = tuple(items)
            elif parts.kind == "tuple":
                self._made[id(node)] = tuple(items)
        else:
            self._made[id(node)] = self._mapping(node, parts)

    def _mapping(self, node: Any, parts: _Parts) -> Node:
        dictionary = Dict()
        self._made[id(node)] = dictionary
        dictionary.entries.extend(item for pair in self._yaml_entries(node).items() for item in pair)
        if not parts.kind.startswith("object"):
            return dictionary
        fields = dict(zip(dictionary.entries[::2], dictionary.entries[1::2], strict=True))
        state: Node
        if parts.kind == "object":
            call, state = Call(_global(parts.name), (), "newobj"), dictionary
        else:
            args = fields.get("args")
            call = Call(_global(parts.name), tuple(args) if isinstance(args, (list, tuple)) else ())
            state = fields.get("state")
            items = fields.get("dictitems")
            call.entries = items.entries if type(items) is Dict else None
        call.states = [state]
        return call

    def _yaml_entries(self, node: Any) -> dict[str, Node]:
        """Return the entries of a mapping that have text as keys; merge keys are followed, own entries win."""
        from_merge_keys: dict[str, Node] = {}
        own: dict[str, Node] = {}
        for key, value in node.value:
            if key.tag == f"{_STANDARD}merge":
                parts = value.value if isinstance(value, self._yaml.SequenceNode) else [value]
                # YAML: of several mappings to merge the first one wins
                for part in reversed(parts):
                    mapping = self.node(part)
                    entries = mapping.entries if type(mapping) is Dict else []
                    self._merged += len(entries) // 2
                    if self._merged > _MOST_MERGED:
                        raise _TooManyMerged
                    from_merge_keys.update(zip(entries[::2], entries[1::2], strict=True))
            elif isinstance(key, self._yaml.ScalarNode):
                own[key.value] = self.node(value)
        return {**from_merge_keys, **own}

    def _scalar(self, node: Any, parts: _Parts) -> Node:
        if parts.kind in ("name", "module") or parts.kind.startswith("object"):
            return _global(parts.name)
        kind = node.tag.removeprefix(_PYTHON if parts.kind else _STANDARD)
        try:
            if kind in ("null", "none"):
                return None
            if kind in ("bool", "int", "float", "binary", "bytes"):
                return getattr(self._scalars, f"construct_yaml_{'binary' if kind == 'bytes' else kind}")(node)
        except (ValueError, LookupError, OverflowError, self._yaml.YAMLError):
            # PyYAML takes apart what a tag says is a number, without a look whether it is one
            return str(node.value)
        return str(node.value)


def _global(name: str) -> Global:
    module, _, last = name.rpartition(".")
    return Global(module, last)

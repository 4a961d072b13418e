"""What documents show of a result: what it is in a sentence, what to paste, its settings, sets and tensors.

Everything is taken from the JSON of the contract, so that a document can say nothing that other programs do not read
there; what a command's own part leaves out stands at the end, under its name in the JSON.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from viscy_compat.exhibits import Branch, Exhibitor, Exhibits, Fact, Paste, Table, laid_out
from viscy_compat.findings import Result
from viscy_compat.layout import TensorSpec, spell_count
from viscy_compat.report.remainder import remainder, words_in
from viscy_compat.report.terminal import size
from viscy_compat.report.text_check import container
from viscy_compat.stated import spell, with_tuples

Data = Mapping[str, Any]

PYTHON, SHELL = "load it in Python", "next command"


def contents_of(result: Result, command: str, data: Data) -> Exhibits:
    """Return what a document shows of a result, with nothing of its JSON lost."""
    # results of the gate and of maps say themselves what a document shows
    if isinstance(result, Exhibitor):
        own = result.exhibits()
        return own._replace(facts=own.facts or laid_out(data).facts) if own.maps else own
    if command not in _PARTS:
        return laid_out(data)
    if command in ("audit", "remap_ledger"):
        data = {name: value for name, value in data.items() if name not in _OF_THE_LEDGER}
    own = _PARTS[command](result, data)
    rest = remainder(data, "\n".join(words_in(own)), {_OWN_TITLES.get(table.title, "") for table in own.tables})
    return own._replace(facts=(*own.facts, *rest.facts), tables=(*own.tables, *rest.tables))


def verdict_of(result: Result, command: str, data: Data) -> str:
    """Return the word for how a result went; a list, or an answer, has words of its own."""
    words = {"zoo": "published", "explain": str(data.get("severity", "")), "inspect": "read"}
    if command == "explore" and "maps" in data:
        return "a map"
    if command == "explore" and "exact" in data:
        return answer_verdict(data)
    if command == "remap_ledger":
        return str(data["fortune"])
    if command == "doctor" and "ready" in data:
        return "ready" if data["ready"] else "stopped"
    if command == "diff":
        return "differs" if result.exit_code else "equal"
    if command in words and not result.exit_code:
        return words[command]
    if command == "inspect":
        return "damaged" if data["readable"] else "unreadable"
    return str(data.get("verdict", ""))


def answer_verdict(data: Data) -> str:
    """Say in a few words what a configuration does, as ``--ask`` answers it.

    Examples
    --------
    >>> answer_verdict({"builds": True, "runs": False, "exact": False})
    'builds, but does not run'
    """
    if not data["builds"]:
        return "does not build"
    if not data["runs"]:
        return "builds, but does not run"
    return "exact" if data["exact"] else "runs, but not exactly"


def value_of(value: Any) -> str:
    """Spell a value of a configuration as ``--set`` takes it.

    Examples
    --------
    >>> value_of([5, 4, 4]), value_of(None), value_of("convnext_tiny")
    ('5,4,4', 'none', 'convnext_tiny')
    """
    return spell(with_tuples(value)) if not isinstance(value, Mapping) else _spell_config(value)


def _spell_config(config: Data) -> str:
    return "  ".join(f"{name}={value_of(value)}" for name, value in config.items())


# --- a part for each command -----------------------------------------------------------------------------------------


def _check(result: Result, data: Data) -> Exhibits:
    architecture = data.get("architecture") or {}
    # a file that could not be read has no format, and nothing is said of it here
    weights = (
        container(data["format"], data.get("wrapper") or {}, data["tensors"], data["bytes"])
        if data.get("format")
        else ""
    )
    return Exhibits(
        sentence="; ".join(filter(None, (_identity(architecture), weights))) + ("." if weights else ""),
        pastes=_pastes(data),
        tables=tuple(filter(None, (_configuration(architecture), _open_table(architecture), _sets(data)))),
        facts=_facts({"class": architecture.get("target"), "seen": architecture.get("evidence")}),
        trees=_expected_tensors(architecture),
    )


def _remap(result: Result, data: Data) -> Exhibits:
    architecture, plan = data.get("architecture") or {}, getattr(result, "plan", None)
    place = data.get("written")
    done = f"Written to {place}: {spell_count(data['tensors'], 'tensor')}, {size(data['bytes'])}." if place else ""
    planned = "A total plan exists; nothing was written." if plan is not None else "Nothing was written."
    identity = _identity(architecture)
    rows: tuple[tuple[str], ...] = ()
    if plan is not None:
        from viscy_compat.report.text_remap import change_lines

        rows = tuple((line,) for line in (*plan.prefix_rows, *change_lines(plan)))
    changes = Table("changes", ("change",), rows) if rows else None
    return Exhibits(
        sentence=" ".join(filter(None, (identity and f"{identity}.", done or planned))),
        pastes=_pastes(data),
        tables=tuple(filter(None, (changes, _configuration(architecture), _open_table(architecture)))),
    )


def _inspect(result: Result, data: Data) -> Exhibits:
    tensors = {
        row["name"]: (TensorSpec(tuple(row["shape"]), row["dtype"]), row["bytes"]) for row in data.get("tensors", ())
    }
    wrapper = data.get("wrapper") or {}
    counts = f"{spell_count(len(tensors), 'tensor')}, {size(data.get('bytes', 0))}"
    by = f", saved by {wrapper['kind'].capitalize()} {wrapper['version']}".rstrip() if wrapper.get("version") else ""
    sentence = f"{data['format']}, {size(data['size'])}; {counts}{by}." if "format" in data else "It could not be read."
    return Exhibits(
        sentence=sentence,
        tables=tuple(filter(None, (_sets(data),))),
        trees=(Branch("the tree of tensors", counts, _branches(tensors)),) if tensors else (),
    )


def _explore(result: Result, data: Data) -> Exhibits:
    if "exact" not in data:
        return _hunt(data)
    trains = "" if data["trains"] or not data["runs"] else " A forward pass in train mode fails."
    why = data["why"] or "; ".join(row["detail"] for row in data["losses"])
    shapes = {"input": data["input"], **data["outputs"]}
    nearby = tuple((_spell_config(row),) for row in data["nearby"])
    return Exhibits(
        sentence=f"{answer_verdict(data)}{': ' if why else ''}{why}.{trains}",
        facts=tuple(Fact(name, value_of(shape)) for name, shape in shapes.items()),
        tables=(
            *((Table("exact nearby", ("change",), nearby),) if nearby else ()),
            Table("configuration", ("argument", "value"), tuple(_argument_rows(data["config"]))),
        ),
    )


def _hunt(data: Data) -> Exhibits:
    cases, outcomes = data.get("cases", {}), data.get("outcomes", {})
    pairs = [("cases of each law", cases), ("outcomes", outcomes)]
    tables = [Table(title, ("what", "how many"), tuple(_argument_rows(counts))) for title, counts in pairs if counts]
    return Exhibits(sentence=f"{spell_count(sum(cases.values()), 'case')} tried.", tables=tuple(tables))


def _zoo(result: Result, data: Data) -> Exhibits:
    needs = _spell_config(data["needs"])
    first = "Its names changed: remap it first. " if data["remap"] else ""
    needed = f"It needs {needs}, which its weights do not tell." if needs else "It needs nothing beyond its weights."
    return Exhibits(
        sentence=f"{_identity(data)}; {spell_count(data['tensors'], 'tensor')}, {size(data['bytes'])}. {first}{needed}",
        pastes=(Paste(PYTHON, data["python"]),),
        facts=_facts({"source": data["source"], "file": data["url"], "also said to be": data["contradicted_by"]}),
        tables=(Table("trained with", ("argument", "value"), tuple(_argument_rows(data["config"]))),),
    )


def _explain(result: Result, data: Data) -> Exhibits:
    flags = {"predictions may differ (--strict)": "predictions", "a remap cures it": "remap_cures"}
    return Exhibits(
        sentence=f"{data['title']}.",
        facts=(
            Fact("meaning", data["meaning"]),
            Fact("what to do", data["remedy"]),
            *(Fact(name, "yes" if data[key] else "no") for name, key in flags.items()),
        ),
    )


def _diff(result: Result, data: Data) -> Exhibits:
    same = data["tensors"] - len(data["other_numbers"])
    count = spell_count(data["tensors"], "tensor")
    sides = zip((data["file"], data["other"]), data["formats"], data["prefixes"], strict=True)
    names = (f"{file} ({form}{', below ' * bool(prefix)}{prefix})" for file, form, prefix in sides)
    sentence = f"{' and '.join(names)}: {count} of the same name, shape and dtype, {same} of them the same bytes."
    return Exhibits(sentence=sentence)


def _verify(result: Result, data: Data) -> Exhibits:
    source = data["source"]
    old = {"git": "commit", "wheel": "wheel viscy", "recorded": "the recorded references of"}[source["kind"]]
    proven = ", proven by git blob ids" if source["proven"] and source["blobs"] else ""
    # by exit code
    went = ("equal", f"{spell_count(len(data['failures']), 'difference')}", "undecided")[result.exit_code]
    cases = spell_count(data["configurations"], "case")
    sentence = f"Generation {data['generation']}, {cases} compared with {old} {source['revision']}{proven}: {went}."
    sides = {", ".join(lines) for lines in data.get("isolation", ())}
    isolation = (Fact("isolation of each side", "; ".join(sorted(sides))),) if sides else ()
    return Exhibits(sentence=sentence, facts=isolation, tables=tuple(filter(None, (_conditions(data),))))


def _conditions(data: Data) -> Table | None:
    """List what each side ran on; where references were compared with, the candidate's is the only one."""
    rows = [dict(row) for row in data.get("conditions", ())]
    if not rows:
        return None
    sides = ("old", "candidate")[-len(rows) :]
    cells = tuple((side, *map(str, row.values())) for side, row in zip(sides, rows, strict=True))
    return Table("versions of both sides", ("side", *rows[0]), cells)


def _record(result: Result, data: Data) -> Exhibits:
    change = ("as before", "another than before")[data["changed"]]
    checked = " (only compared, nothing was written)" if result.exit_code else ""
    facts = f"{spell_count(data['configurations'], 'case')}, {size(data['bytes'])}"
    return Exhibits(sentence=f"{facts}, in {data['file']}: {change}{checked}.")


def _audit(result: Result, data: Data) -> Exhibits:
    counts = (spell_count(data["tensors"], "tensor"), size(data["bytes"])) if data.get("tensors") else ()
    weights = ", ".join(filter(None, (data.get("format"), *counts)))
    parts = (" ".join(filter(None, (data.get("class"), data.get("generation")))), weights)
    sentence = "; ".join(filter(None, (*parts, data.get("foreign"))))
    return Exhibits(
        sentence=f"{sentence}." if sentence else "",
        pastes=_pastes(data),
        facts=_facts({"to be stated": ", ".join(data.get("needs", ()))}),
    )


def _remap_ledger(result: Result, data: Data) -> Exhibits:
    if not data.get("out"):
        return Exhibits()
    return Exhibits(sentence=f"Written to {data['out']}, {size(data['size'])}.")


_OF_THE_LEDGER = {"schema", "mtime_ns", "modified_ns", "inode", "mark", "tool", "options", "named", "codes", "folder"}
"""Of a row of an audit: by what it is known again, and codes, which the findings have."""

_OWN_TITLES = {"sets of weights": "sets", "exact nearby": "nearby", "versions of both sides": "conditions"}
"""Tables of ours, by title, that show a whole table of the JSON under another name."""

_PARTS = {
    "audit": _audit,
    "check": _check,
    "remap": _remap,
    "remap_ledger": _remap_ledger,
    "inspect": _inspect,
    "explore": _explore,
    "zoo": _zoo,
    "explain": _explain,
    "diff": _diff,
    "record": _record,
    "verify": _verify,
}


# --- what several commands show --------------------------------------------------------------------------------------


def _identity(architecture: Data) -> str:
    if not architecture.get("class"):
        return ""
    return f"{architecture['class']}, generation {architecture['generation']} (written by {architecture['written_by']})"


def _pastes(data: Data) -> tuple[Paste, ...]:
    pairs = ((PYTHON, data.get("python")), (SHELL, data.get("next")))
    return tuple(Paste(label, code) for label, code in pairs if code)


def _facts(values: Data) -> tuple[Fact, ...]:
    """Return facts; a list gives one for each of its items."""
    pairs = ((name, item) for name, value in values.items() for item in (value if isinstance(value, list) else [value]))
    return tuple(Fact(name, str(item)) for name, item in pairs if item)


def _argument_rows(config: Data) -> Iterator[tuple[str, str]]:
    return ((name, value_of(value)) for name, value in config.items())


_SOURCES = {
    "weights": "the weights",
    "follows": "the weights and what is stated",
    "assumed": "assumed: no prediction depends on it",
    "not known": "not known",
}


def _configuration(architecture: Data) -> Table | None:
    """Return every argument with the source of its value; a value that nobody knows is three dots."""
    config, sources = architecture.get("config"), architecture.get("sources", {})
    if not config:
        return None
    cells = ((name, value_of(value), sources.get(name, "")) for name, value in config.items())
    rows = (
        (name, "..." if source == "not known" else value, _SOURCES.get(source, source)) for name, value, source in cells
    )
    return Table("configuration", ("argument", "value", "from"), tuple(rows))


def _open_table(architecture: Data) -> Table | None:
    open_rows = architecture.get("undetermined")
    if not open_rows:
        return None
    rows = tuple(
        (name, value_of(row.get("assumed")), *_choices(row), row.get("why", "")) for name, row in open_rows.items()
    )
    return Table(
        "what the weights leave open", ("argument", "tried first", "candidates", "changes predictions", "why"), rows
    )


_CANDIDATES = 4
"""So many show what is open; all of them have a table of their own further down."""


def _choices(row: Data) -> tuple[str, str]:
    candidates = [value_of(candidate) for candidate in row.get("candidates", ())]
    more = f"; and {len(candidates) - _CANDIDATES} more" if len(candidates) > _CANDIDATES else ""
    return "; ".join(candidates[:_CANDIDATES]) + more or "-", "yes" if row.get("changes_predictions") else "no"


def _sets(data: Data) -> Table | None:
    """List the sets of weights, where a file holds several."""
    sets = data.get("sets") or ()
    if len(sets) < 2:
        return None
    same = {True: "the same", False: "other", None: "-"}
    rows = tuple(
        (
            row["state_dict"] or "''",
            f"{row['class']} {row['generation']}" if row.get("class") else "of no known class",
            str(row["tensors"]),
            row.get("role", "-"),
            same[row.get("same_layout")],
            same[row.get("same_bytes")],
            f"{'judged' if row['chosen'] else 'also there'}{'; ' if row.get('why') else ''}{row.get('why', '')}",
        )
        for row in sets
    )
    return Table("sets of weights", ("address", "what", "tensors", "role", "layout", "numbers", "judged"), rows)


# --- trees -----------------------------------------------------------------------------------------------------------

_MOST = 2000
"""Rows of a tree on a page; the largest class of ours has a tenth."""


def _expected_tensors(architecture: Data) -> tuple[Branch, ...]:
    """Return the tensors that the class has in this configuration and generation; none for classes of other people."""
    from viscy_compat.architectures import class_names, find

    if architecture.get("class") not in class_names():
        return ()
    entry = find(architecture["class"])
    generation = next((row for row in entry.generations if row.name == architecture["generation"]), None)
    if generation is None:
        return ()
    layout = generation.layout({name: with_tuples(value) for name, value in architecture["config"].items()})
    # classes have float32, and int64 for counters
    tensors = {name: (spec, spec.elements * (8 if spec.dtype == "int64" else 4)) for name, spec in layout.items()}
    counts = f"{spell_count(len(tensors), 'tensor')} of {entry.name} {generation.name} in this configuration"
    return (Branch("the tree of tensors", counts, _branches(tensors)),)


def _branches(tensors: Mapping[str, tuple[TensorSpec, int]]) -> tuple[Branch, ...]:
    """Nest the rows of the folded tree by their depth."""
    from viscy_compat.report.text_inspect import contents
    from viscy_compat.report.tree import rows_of

    stack: list[tuple[int, str, str, list[Branch]]] = [(-1, "", "", [])]
    for row in islice(rows_of(tensors), _MOST):
        _close(stack, row.depth)
        stack.append((row.depth, row.name, contents(row), []))
    _close(stack, 0)
    return tuple(stack[0][3])


def _close(stack: list[tuple[int, str, str, list[Branch]]], depth: int) -> None:
    while stack[-1][0] >= depth:
        _, name, detail, branches = stack.pop()
        stack[-1][3].append(Branch(name, detail, tuple(branches)))

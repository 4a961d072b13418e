"""Measure how the house is built: python tools/house.py [FOLDER ...] [--room ROOM] [--list] [--check]

Counts, in src/viscy_compat or in any other package: names with two meanings, names that stand in many modules, names that
are bare participles, helpers that are used once, comments, import cycles (late imports and those for type checkers
included), constructor calls by position, and how far the tests mirror the modules. --list names every culprit, --room keeps
to the modules of one folder, --check leaves with exit code 1 where one of our goals is missed.
"""

from __future__ import annotations

import argparse
import ast
import io
import itertools
import statistics
import sys
import tokenize
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
OURS = ROOT / "src" / "viscy_compat"

PROTOCOLS = {"main", "render", "pieces", "run", "add_arguments"}
"""Functions that stand in many modules on purpose: what every command and every format has."""

# fmt: off
NOUNS = {
    "anything", "bearing", "bed", "being", "bleed", "breed", "building", "casting", "ceiling", "during",
    "embed", "embedding", "encoding", "ending", "everything", "feed", "finding", "greed", "heading", "hundred",
    "indeed", "king", "listing", "mapping", "meaning", "need", "nothing", "opening", "padding", "pooling",
    "red", "reed", "ring", "sacred", "seed", "setting", "shed", "sling", "something", "speed", "spelling",
    "spring", "string", "thing", "typing", "warning", "wed", "weed", "weighting", "wing",
}
# fmt: on
"""Words that end like participles and are nouns (or terms of the field)."""

# fmt: off
IRREGULAR = {
    "begun", "bought", "broken", "brought", "built", "caught", "chosen", "cut", "dealt", "done", "drawn",
    "driven", "fallen", "fed", "fought", "found", "given", "gone", "got", "gotten", "grown", "had", "heard",
    "held", "hidden", "kept", "known", "laid", "led", "left", "lent", "lost", "made", "meant", "met", "paid",
    "said", "seen", "sent", "shown", "sold", "sought", "spelt", "spent", "stood", "sworn", "taken", "thought",
    "thrown", "told", "torn", "understood", "worn", "woven", "written",
}
# fmt: on
"""Participles that do not end in -ed or -ing."""

MANY_MODULES = 4
MANY_POSITIONALS = 5
SHORT = 3
"""Lines of a body up to which a helper that is used once hides more than it explains."""


class Goal(NamedTuple):
    """What one row of the table may come to at most (or at least)."""

    label: str
    most: float | None = None
    least: float | None = None


GOALS = {
    "two_meanings": Goal("class and type names with two meanings", most=1),
    "many_modules": Goal(f"function names in {MANY_MODULES} or more modules", most=5),
    "participles": Goal("names that are bare participles, %", most=4),
    "used_once": Goal("private helpers that are used once, % of functions", most=15),
    "used_once_short": Goal(f"of these with {SHORT} lines or fewer"),
    "comments": Goal("comments per 100 lines of code", least=4),
    "constants": Goal("numeric constants without a why", most=0),
    "cycles": Goal("modules in import cycles of any kind", most=0),
    "positionals": Goal(f"constructor calls with {MANY_POSITIONALS} or more positional arguments", most=0),
    "untyped": Goal("functions without types", most=0),
    "body_median": Goal("lines of a function body, median"),
    "body_ninth": Goal("lines of a function body, ninth decile"),
    "lines": Goal("lines"),
    "code_lines": Goal("of these with code"),
    "test_names": Goal("test files that bear a module's name, %"),
    "test_lines": Goal("lines of test per line of source"),
}


class Module(NamedTuple):
    """One file of a package."""

    name: str
    path: Path
    text: str
    tree: ast.Module


class Measure(NamedTuple):
    """A number, and what it counts."""

    value: float
    culprits: list[str]


def read_package(folder: Path) -> list[Module]:
    """Every module below a package's folder, with its dotted name."""
    paths = sorted(folder.rglob("*.py"))
    return [Module(_dotted(path, folder), path, path.read_text(), ast.parse(path.read_text())) for path in paths]


def _dotted(path: Path, folder: Path) -> str:
    parts = path.relative_to(folder.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def functions(module: Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function of a module, methods and inner ones included."""
    return (node for node in ast.walk(module.tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def type_names(modules: list[Module]) -> Measure:
    """Names of classes and type aliases (their underscores aside) that are defined in two modules."""
    places = defaultdict(list)
    for module in modules:
        for name in _types(module.tree):
            places[name.lstrip("_")].append(module.name)
    culprits = [f"{name}: {', '.join(where)}" for name, where in sorted(places.items()) if len(where) > 1]
    return Measure(len(culprits), culprits)


def _types(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            yield node.name
    for node in tree.body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        for target in targets:
            if isinstance(target, ast.Name) and target.id.lstrip("_")[:1].isupper() and not target.id.isupper():
                yield target.id


def crowded_names(modules: list[Module]) -> Measure:
    """Names of functions at the top of a module that stand in many modules."""
    places = defaultdict(set)
    for module in modules:
        for node in module.tree.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.lstrip("_") not in PROTOCOLS:
                places[node.name.lstrip("_")].add(module.name)
    crowded = [(name, where) for name, where in places.items() if len(where) >= MANY_MODULES]
    culprits = [f"{name} ({len(where)}): {', '.join(sorted(where))}" for name, where in sorted(crowded)]
    return Measure(len(culprits), culprits)


def is_participle(name: str) -> bool:
    """Whether a name is one word, and that a participle.

    Examples
    --------
    >>> is_participle("told"), is_participle("_listed"), is_participle("tell"), is_participle("seed")
    (True, True, False, False)
    """
    word = name.strip("_").rstrip("0123456789")
    if "_" in word or word != word.lower() or word in NOUNS:
        return False
    return word in IRREGULAR or (len(word) > 3 and word.endswith(("ed", "ing")))


def participles(modules: list[Module]) -> Measure:
    """Names that are bare participles, of all names that a package defines (each once a module)."""
    names = [(module.name, name) for module in modules for name in sorted(set(_defined(module)))]
    bad = [(where, name) for where, name in names if is_participle(name)]
    count = Counter(name for _, name in bad)
    where = defaultdict(list)
    for module_name, name in bad:
        where[name].append(module_name)
    culprits = [f"{name} ({number}): {', '.join(where[name])}" for name, number in count.most_common()]
    return Measure(100 * len(bad) / max(1, len(names)), culprits)


def _defined(module: Module) -> Iterator[str]:
    yield module.name.rpartition(".")[2]
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def used_once(modules: list[Module]) -> tuple[Measure, Measure]:
    """Private functions that are mentioned once besides their definition, all and the short ones (the first in percent)."""
    mentions = Counter(name for module in modules for name in _mentions(module.tree))
    every = [(module, node) for module in modules for node in functions(module)]
    once = [
        (module, node)
        for module, node in every
        if node.name.startswith("_") and not node.name.startswith("__") and mentions[node.name] == 1
    ]
    short = [(module, node) for module, node in once if _body_lines(node) <= SHORT]
    lines = [[f"{module.name}:{node.lineno} {node.name}" for module, node in group] for group in (once, short)]
    return Measure(100 * len(once) / max(1, len(every)), lines[0]), Measure(len(short), lines[1])


def _mentions(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr


def _body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function below its signature and docstring."""
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    return 0 if not body else (node.end_lineno or 0) - body[0].lineno + 1


def line_counts(modules: list[Module]) -> dict[str, Measure]:
    """Lines in all, lines that hold code, comments per 100 of these."""
    comments, code = 0, 0
    for module in modules:
        documented = _docstring_lines(module.tree)
        held: set[int] = set()
        for token in tokenize.generate_tokens(io.StringIO(module.text).readline):
            if token.type == tokenize.COMMENT:
                comments += not token.string.startswith(("# noqa", "# type:", "# pragma", "#!"))
            elif token.type not in _BLANK_TOKENS:
                held.update(range(token.start[0], token.end[0] + 1))
        comments += _constant_docstrings(module.tree)
        code += len(held - documented)
    total = sum(len(module.text.splitlines()) for module in modules)
    return {
        "lines": Measure(total, []),
        "code_lines": Measure(code, []),
        "comments": Measure(100 * comments / max(1, code), []),
    }


_BLANK_TOKENS = {tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def _docstring_lines(tree: ast.Module) -> set[int]:
    return {
        line
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _constant_docstrings(tree: ast.Module) -> int:
    """Texts that follow an assignment: what Sphinx reads as the comment of a constant."""
    bodies = [node.body for node in ast.walk(tree) if isinstance(node, ast.Module | ast.ClassDef)]
    pairs = [pair for body in bodies for pair in itertools.pairwise(body)]
    return sum(isinstance(first, ast.Assign | ast.AnnAssign) and _is_text(second) for first, second in pairs)


def bare_constants(modules: list[Module]) -> Measure:
    """Numbers with a name at the top of a module, and nothing beside them that says why this number."""
    culprits = [
        f"{module.name}:{node.lineno}"
        for module in modules
        for node in _numbers(module)
        if not _explained(node, module)
    ]
    return Measure(len(culprits), culprits)


def _numbers(module: Module) -> Iterator[ast.Assign | ast.AnnAssign]:
    for node in module.tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            leaves = [leaf for leaf in ast.walk(node.value) if isinstance(leaf, ast.expr)]
            plain = all(isinstance(leaf, ast.Constant | ast.BinOp | ast.UnaryOp) for leaf in leaves)
            values = [leaf.value for leaf in leaves if isinstance(leaf, ast.Constant)]
            if plain and values and all(type(value) in (int, float) for value in values):
                yield node


def _explained(node: ast.stmt, module: Module) -> bool:
    """Whether a comment stands above, beside or (as a text) below a constant, or below the block that it belongs to."""
    lines = module.text.splitlines()
    above = lines[node.lineno - 2].lstrip() if node.lineno > 1 else ""
    if above.startswith("#") or "  #" in lines[(node.end_lineno or node.lineno) - 1]:
        return True
    following = module.tree.body[module.tree.body.index(node) + 1 :]
    for after in following:
        if _is_text(after):
            return True
        if not isinstance(after, ast.Assign | ast.AnnAssign):
            return False
    return False


def cycles(modules: list[Module]) -> Measure:
    """Modules that import each other in a circle; imports in functions and under TYPE_CHECKING count too."""
    names = {module.name for module in modules}
    graph = {module.name: set(_imports(module, names)) - {module.name} for module in modules}
    rings = [ring for ring in _components(graph) if len(ring) > 1]
    return Measure(sum(len(ring) for ring in rings), [" <-> ".join(sorted(ring)) for ring in rings])


def _imports(module: Module, names: set[str]) -> Iterator[str]:
    package = module.name if module.path.name == "__init__.py" else module.name.rpartition(".")[0]
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                full = f"{base}.{alias.name}"
                yield full if full in names else base


def _components(graph: dict[str, set[str]]) -> list[set[str]]:
    """The strongly connected parts: a module and all that it reaches and that reach it."""
    reach = {name: _reachable(name, graph) for name in graph}
    rest, parts = set(graph), []
    while rest:
        name = rest.pop()
        ring = {other for other in reach[name] if name in reach.get(other, set())} | {name}
        rest -= ring
        parts.append(ring)
    return parts


def _reachable(start: str, graph: dict[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        name = waiting.pop()
        if name in graph and name not in seen:
            seen.add(name)
            waiting.extend(graph[name])
    return seen


def positional_calls(modules: list[Module]) -> Measure:
    """Calls of classes of the package with many positional arguments (a starred one counts as many)."""
    classes = {node.name for module in modules for node in ast.walk(module.tree) if isinstance(node, ast.ClassDef)}
    culprits = [
        f"{module.name}:{node.lineno} {_callee(node)}"
        for module in modules
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and _callee(node) in classes and len(node.args) >= MANY_POSITIONALS
    ]
    return Measure(len(culprits), culprits)


def _callee(node: ast.Call) -> str:
    if isinstance(node.func, ast.Name):
        return node.func.id
    return node.func.attr if isinstance(node.func, ast.Attribute) else ""


def bodies(modules: list[Module]) -> dict[str, Measure]:
    """How long functions are, and which lack a type."""
    every = [(module, node) for module in modules for node in functions(module)]
    lengths = [_body_lines(node) for _, node in every] or [0]
    untyped = [f"{module.name}:{node.lineno} {node.name}" for module, node in every if not _is_typed(node)]
    return {
        "untyped": Measure(len(untyped), untyped),
        "body_median": Measure(statistics.median(lengths), []),
        "body_ninth": Measure(statistics.quantiles(lengths, n=10)[-1] if len(lengths) > 1 else lengths[0], []),
    }


def _is_typed(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    bare = [argument.arg for argument in arguments if argument.annotation is None]
    return node.returns is not None and not set(bare) - {"self", "cls", "mcs"}


def mirrors(modules: list[Module], tests: Path) -> dict[str, Measure]:
    """How many test files bear the name of what they hold, and how much test there is.

    That is a module or room of ours, of viscy_models or of tools/, or a page of docs/. Laws and hostile files hold over
    many modules at once: they have folders of their own, and are not counted.
    """
    stems = {part for module in modules for part in module.name.split(".")[1:]} | {"house", "readme", "packaging"}
    stems |= {path.stem for folder in ("tools", "src/viscy_models") for path in (ROOT / folder).rglob("*.py")}
    stems |= {path.stem.replace("-", "_") for path in (ROOT / "docs").iterdir()}
    files = [path for path in sorted(tests.rglob("test_*.py")) if path.parent.name not in ("laws", "hostile")]
    strange = [str(path.relative_to(tests)) for path in files if path.stem.removeprefix("test_") not in stems]
    lines = sum(len(path.read_text().splitlines()) for path in tests.rglob("*.py"))
    source = sum(len(module.text.splitlines()) for module in modules)
    share = 100 * (len(files) - len(strange)) / max(1, len(files))
    return {"test_names": Measure(share, strange), "test_lines": Measure(lines / max(1, source), [])}


def measure(modules: list[Module], tests: Path | None = None) -> dict[str, Measure]:
    """Every row of the table."""
    once, short = used_once(modules)
    rows = {
        "two_meanings": type_names(modules),
        "many_modules": crowded_names(modules),
        "participles": participles(modules),
        "used_once": once,
        "used_once_short": short,
        "constants": bare_constants(modules),
        "cycles": cycles(modules),
        "positionals": positional_calls(modules),
        **line_counts(modules),
        **bodies(modules),
    }
    if tests is not None:
        rows |= mirrors(modules, tests)
    return {name: rows[name] for name in GOALS if name in rows}


def missed(rows: dict[str, Measure]) -> list[str]:
    """The rows that are beyond their goal."""
    return [name for name, row in rows.items() if _is_beyond(row.value, GOALS[name])]


def _is_beyond(value: float, goal: Goal) -> bool:
    return (goal.most is not None and value > goal.most) or (goal.least is not None and value < goal.least)


def print_table(columns: dict[str, dict[str, Measure]]) -> None:
    """Print one column a package beside our goals."""
    width = max(len(goal.label) for goal in GOALS.values())
    print(" " * width, "      goal", *(f"{name:>14}" for name in columns))
    for name, goal in GOALS.items():
        bound = f"<= {goal.most:g}" if goal.most is not None else f">= {goal.least:g}" if goal.least is not None else ""
        cells = [f"{rows[name].value:14.4g}" if name in rows else " " * 14 for rows in columns.values()]
        print(f"{goal.label:{width}} {bound:>10}", *cells)


def print_culprits(rows: dict[str, Measure], names: Iterable[str]) -> None:
    """Print what each row counts."""
    for name in names:
        if rows[name].culprits:
            print(f"\n{GOALS[name].label}:")
            print(*(f"  {culprit}" for culprit in rows[name].culprits), sep="\n")


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, default=[OURS], help="folders of packages (default: ours)")
    parser.add_argument("--room", action="append", default=[], help="only modules whose dotted name holds this part")
    parser.add_argument("--list", action="store_true", help="name what each row counts")
    parser.add_argument("--check", action="store_true", help="exit code 1 where a goal is missed")
    return parser.parse_args()


def main() -> int:
    """Measure, print, judge."""
    options = arguments()
    columns = {}
    for folder in options.folders:
        modules = read_package(folder.resolve())
        rooms = [module for module in modules if not options.room or set(options.room) & set(module.name.split("."))]
        tests = ROOT / "tests" if folder.resolve() == OURS and not options.room else None
        columns[folder.resolve().name] = measure(rooms, tests)
    print_table(columns)
    if options.list:
        for rows in columns.values():
            print_culprits(rows, rows)
    beyond = [(name, goal) for name, rows in columns.items() for goal in missed(rows)]
    return int(options.check and bool(beyond))


if __name__ == "__main__":
    sys.exit(main())

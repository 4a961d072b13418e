"""A package read as text: what it exports and how its classes are constructed. Nothing is imported, no torch is needed."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from viscy_compat.errors import WorkerFailed
from viscy_compat.workers.answers import Parameter

_DEEPEST = 20
"""How many re-exports of one name are followed; more are a circle."""

COMPUTED = "..."
"""Stands for a default that only running the code would tell."""

Found = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef | ast.Assign | ast.AnnAssign


class SourceTree:
    """The modules of a package, parsed when they are asked for.

    Parameters
    ----------
    root : str
        The import name of the package.
    folder : Path
        The folder of its files.
    """

    def __init__(self, root: str, folder: Path) -> None:
        self.root, self.folder = root, folder
        self._module = cache(self._parse)

    def find(self, dotted: str) -> Found | None:
        """Return the definition behind ``"package.module:Name"``, through any number of re-exports; None without one."""
        module, _, name = dotted.partition(":")
        for _ in range(_DEEPEST):
            here = self._definitions(module).get(name)
            if not isinstance(here, tuple):
                return here
            module, name = here
        return None

    def classes(self) -> dict[str, ast.ClassDef]:
        """Return the classes that the package, or one of its public packages, exports: by name, those on top first."""
        found: dict[str, ast.ClassDef] = {}
        inits = sorted(self.folder.glob("*/__init__.py"))
        public_packages = [f"{self.root}.{path.parent.name}" for path in inits if not path.parent.name.startswith("_")]
        for module in [self.root, *public_packages]:
            for name in self._exports(module):
                here = self.find(f"{module}:{name}")
                if isinstance(here, ast.ClassDef):
                    found.setdefault(name, here)
        return found

    def signature(self, found: Found) -> tuple[Parameter, ...] | None:
        """Return the constructor of a class, or what a function takes; None where a base class would have to tell."""
        if isinstance(found, ast.ClassDef):
            own = [row for row in found.body if isinstance(row, ast.FunctionDef) and row.name == "__init__"]
            return tuple(_parameters(own[0].args))[1:] if own else None
        return tuple(_parameters(found.args)) if isinstance(found, ast.FunctionDef) else None

    def _exports(self, module: str) -> list[str]:
        """Return what ``__all__`` lists, additions included, else every name without an underscore."""
        tree = self._module(module)
        listed: list[ast.expr] = []
        for row in tree.body if tree else ():
            targets = (
                row.targets if isinstance(row, ast.Assign) else [row.target] if isinstance(row, ast.AugAssign) else []
            )
            if isinstance(row, (ast.Assign, ast.AugAssign)) and isinstance(targets[0], ast.Name):
                listed += [row.value] if targets[0].id == "__all__" else []
        if listed:
            return [name for value in listed for name in _strings(value)]
        return [name for name in self._definitions(module) if not name.startswith("_")]

    def _definitions(self, module: str) -> dict[str, Found | tuple[str, str]]:
        """Return what a module defines, and for what it imports from this package the module and name there."""
        tree = self._module(module)
        found: dict[str, Found | tuple[str, str]] = {}
        for row in tree.body if tree else ():
            if isinstance(row, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                found[row.name] = row
            elif isinstance(row, (ast.Assign, ast.AnnAssign)):
                found.update(dict.fromkeys(_names(row), row))
            elif isinstance(row, ast.ImportFrom):
                package = module if self._file(module).name == "__init__.py" else module.rpartition(".")[0]
                base = package.split(".")[: len(package.split(".")) - row.level + 1] if row.level else []
                source = ".".join([*base, *filter(None, [row.module])])
                # what comes from elsewhere is not this package's to keep
                if source.partition(".")[0] == self.root:
                    found.update({alias.asname or alias.name: (source, alias.name) for alias in row.names})
        return found

    def _file(self, module: str) -> Path:
        parts = module.split(".")[1:]
        package = self.folder.joinpath(*parts, "__init__.py")
        return package if package.is_file() or not parts else self.folder.joinpath(*parts[:-1], f"{parts[-1]}.py")

    def _parse(self, module: str) -> ast.Module | None:
        path = self._file(module)
        try:
            return ast.parse(path.read_bytes(), str(path))
        except OSError:
            return None
        except (SyntaxError, ValueError) as error:
            message = f"{path} cannot be read as Python ({error})"
            raise WorkerFailed(message, where="--candidate", code="VC342") from error


def tree_of(root: str, folder: str) -> SourceTree:
    """Return the source of a package: in a folder, else where this interpreter would import it from.

    Raises
    ------
    WorkerFailed
        There is none.
    """
    if folder:
        return SourceTree(root, Path(folder, *root.split(".")))
    spec = importlib.util.find_spec(root) if "." not in root else None
    places = list(spec.submodule_search_locations or ()) if spec else []
    if not places:
        message = f"there is no package {root} in this environment"
        raise WorkerFailed(message, where="--candidate", fix="name a folder that holds one", code="VC604")
    return SourceTree(root, Path(places[0]))


def _strings(value: ast.expr) -> list[str]:
    rows = value.elts if isinstance(value, (ast.List, ast.Tuple)) else []
    return [row.value for row in rows if isinstance(row, ast.Constant) and isinstance(row.value, str)]


def _names(row: ast.Assign | ast.AnnAssign) -> list[str]:
    targets = row.targets if isinstance(row, ast.Assign) else [row.target]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _parameters(arguments: ast.arguments) -> Iterator[Parameter]:
    """Describe arguments as a worker does, in the order in which they stand."""
    plain = [*arguments.posonlyargs, *arguments.args]
    defaults: list[ast.expr | None] = [*[None] * (len(plain) - len(arguments.defaults)), *arguments.defaults]
    for row, default in zip(plain, defaults, strict=True):
        kind = "POSITIONAL_ONLY" if row in arguments.posonlyargs else "POSITIONAL_OR_KEYWORD"
        yield Parameter(row.arg, kind, default is not None, _value(default))
    if arguments.vararg:
        yield Parameter(arguments.vararg.arg, "VAR_POSITIONAL", False, None)
    for row, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        yield Parameter(row.arg, "KEYWORD_ONLY", default is not None, _value(default))
    if arguments.kwarg:
        yield Parameter(arguments.kwarg.arg, "VAR_KEYWORD", False, None)


def _value(default: ast.expr | None) -> object:
    """Return a default that is written out; `COMPUTED` for any other one."""
    if default is None:
        return None
    try:
        # names and calls are not run here: that is what the other way is for
        return ast.literal_eval(default)
    except ValueError:
        return COMPUTED

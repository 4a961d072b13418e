"""Where classes come from: texts that are imported under their old names, a folder, or what is installed."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
from typing import Any

from .guard import Json


class TextFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Import modules from texts. A package without a file of its own is an empty one."""

    def __init__(self, files: dict[str, str]) -> None:
        self.texts: dict[str, str | None] = {}
        self.paths: dict[str, str] = {}
        self.packages: set[str] = set()
        for path, text in files.items():
            self._add(path, text)

    def _add(self, path: str, text: str) -> None:
        parts = path[: -len(".py")].split("/")
        if parts[-1] == "__init__":
            parts.pop()
            self.packages.add(".".join(parts))
        for end in range(1, len(parts)):
            self.packages.add(".".join(parts[:end]))
            self.texts.setdefault(".".join(parts[:end]), None)
        self.texts[".".join(parts)], self.paths[".".join(parts)] = text, path

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        """Say that a module is one of these texts."""
        if fullname not in self.texts:
            return None
        spec = importlib.machinery.ModuleSpec(fullname, self, is_package=fullname in self.packages)
        spec.origin = f"<{self.paths.get(fullname, fullname)}>"
        return spec

    def create_module(self, spec: Any) -> None:
        """Let Python make an ordinary module."""
        return

    def exec_module(self, module: Any) -> None:
        """Run the text."""
        text = self.texts[module.__name__]
        module.__file__ = module.__spec__.origin
        exec(compile(text or "", module.__file__, "exec", dont_inherit=True), module.__dict__)


class Source:
    """Where classes come from; its modules stay alive when another source takes their names."""

    def __init__(self, request: Json) -> None:
        self.root = request["root"]
        self.finder = TextFinder(request["files"]) if request.get("files") else None
        self.folder = request.get("folder")
        self.modules: dict[str, Any] = {}
        self.displaced: dict[str, Any] = {}
        self.classes: dict[str, Any] = {}

    def __enter__(self) -> None:
        """Give this source the import names that it wants."""
        if self.finder:
            sys.meta_path.insert(0, self.finder)
        if self.folder:
            sys.path.insert(0, self.folder)
        if not self.modules:
            importlib.invalidate_caches()
        if self.folder or self.finder:
            # a package of that name may be there already, as part of the stack
            self.displaced = self._take()
        sys.modules.update(self.modules)

    def __exit__(self, *_: object) -> None:
        self.modules = self._take()
        sys.modules.update(self.displaced)
        if self.finder:
            sys.meta_path.remove(self.finder)
        if self.folder:
            sys.path.remove(self.folder)

    def _take(self) -> dict[str, Any]:
        """Take every module below the root out of those that are imported."""
        # a model is built and called in here, and the stack has thousands of modules: the quick question comes first
        alike = [name for name in sys.modules if name.startswith(self.root)]
        mine = [name for name in alike if name[len(self.root) :][:1] in ("", ".")]
        return {name: sys.modules.pop(name) for name in mine}

    def find(self, dotted: str) -> Any:
        """Import ``"package.module:Name"`` or ``"package.module"``."""
        if dotted not in self.classes:
            module, _, name = dotted.partition(":")
            with self:
                found = importlib.import_module(module)
                for part in filter(None, name.split(".")):
                    found = getattr(found, part)
            self.classes[dotted] = found
        return self.classes[dotted]

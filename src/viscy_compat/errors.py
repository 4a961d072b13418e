"""The one exception root of the toolkit, and its few leaves, each named for the user's problem."""

from __future__ import annotations

from viscy_compat.annotations import Any, Callable, suppress


class CompatError(Exception):
    """Something that the user can act on.

    Parameters
    ----------
    message : str
        What is wrong, in one line, without the place.
    where : str, optional
        The file, key or argument that it is about.
    fix : str, optional
        The next command, or what to do instead.
    code : str, optional
        The finding code, where the catalogue has one (``viscy-compat explain CODE``).

    Examples
    --------
    >>> str(CompatError("no such file", where="old.ckpt", fix="check the path"))
    'old.ckpt: no such file; check the path'
    """

    exit_code = 2

    def __init__(self, message: str, *, where: str = "", fix: str = "", code: str = "") -> None:
        self.message, self.where, self.fix, self.code = message, where, fix, code
        super().__init__(self._line())

    def _line(self) -> str:
        line = f"{self.where}: {self.message}" if self.where else self.message
        return f"{line}; {self.fix}" if self.fix else line

    def reword(self, speak: Callable[[str], str]) -> None:
        """Say what the message says in other words: in the keywords of a call, for those who typed no flags."""
        self.message, self.fix = speak(self.message), speak(self.fix)
        self.args = (self._line(),)


class UnreadableCheckpoint(CompatError):
    """The file is no checkpoint, is damaged or hostile, or lies beyond a limit."""


class UsageError(CompatError):
    """The command line, a configuration or an argument asks for something that cannot be meant."""


class OutputsOfAnother(UsageError):
    """Outputs that the user has cannot be those of this model: it takes no such input, or gives none of them."""


class MissingExtra(CompatError):
    """A command needs packages that the light core does not bring."""


def lacking(what: str, package: str | None, extra: str) -> MissingExtra:
    """Return the error that says which package is not installed, and the line that installs it.

    Examples
    --------
    >>> str(lacking("--config", "yaml", "config"))
    "--config needs yaml, which is not installed; pip install 'viscy-compat[config]'"
    """
    message = f"{what} needs {package or 'a package'}, which is not installed"
    return MissingExtra(message, fix=install_line(extra))


def install_line(*extras: str, upgrade: bool = False) -> str:
    """Return the command that installs extras.

    The index has a ``viscy-models`` for Python 3.12 and newer alone, which is upstream's. Older ones get that of the clone
    which this package was installed from.

    Examples
    --------
    >>> install_line("remote", "s3"), install_line("config", upgrade=True)
    ("pip install 'viscy-compat[remote,s3]'", "pip install --upgrade 'viscy-compat[config]'")
    """
    # lazy, all of it: somebody lacks something, and waits for one line
    import json
    import sys
    from importlib.metadata import PackageNotFoundError, distribution
    from importlib.util import find_spec
    from os.path import isdir
    from shlex import quote
    from urllib.parse import unquote, urlsplit

    names, clone = ",".join(extras), ""
    brings_models = not {"models", "explore"}.isdisjoint(extras)
    if brings_models and sys.version_info < (3, 12) and not find_spec("viscy_models"):
        with suppress(PackageNotFoundError, ValueError):
            # PEP 610: where pip and uv write what was installed from
            record = json.loads(distribution("viscy-compat").read_text("direct_url.json") or "{}")
            origin = urlsplit(record.get("url", ""))
            clone = unquote(origin.path) if origin.scheme == "file" else ""
    command = f"pip install {'--upgrade ' if upgrade else ''}"
    if not clone or not isdir(f"{clone}/src/viscy_models"):
        return f"{command}'viscy-compat[{names}]'"
    return f"{command}{quote(f'{clone}/src/viscy_models')} {quote(f'{clone}[{names}]')}"


class SourceUnavailable(CompatError):
    """The old source could not be had: no clone, no revision, no wheel."""


class WorkerFailed(CompatError):
    """A worker process died, hung, flooded or answered with garbage."""


class Unbuildable(CompatError):
    """A configuration for which the class raises in its constructor."""


class PlanRefused(CompatError):
    """No total plan exists, or a given plan does not fit the file.

    ``leftovers`` holds a pair of tensor name and reason for every tensor that stands in the way.
    """

    exit_code = 1

    def __init__(
        self,
        message: str,
        *,
        where: str = "",
        fix: str = "",
        code: str = "",
        leftovers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self.leftovers = leftovers
        super().__init__(message, where=where, fix=fix, code=code)


class NoPlanFile(PlanRefused):
    """A file that is no plan was given for one: bad input, where a plan that does not fit the checkpoint is a refusal."""

    exit_code = 2


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, or another signal to end, while a report was being made.

    Parameters
    ----------
    report : viscy_compat.findings.Report
        What was known by then (a `viscy_compat.findings.Report`); its ``interrupted`` is true.
    """

    def __init__(self, report: Any) -> None:
        self.report = report
        super().__init__("interrupted")


class OutputRefused(CompatError):
    """The output could not be written as asked; nothing was touched."""

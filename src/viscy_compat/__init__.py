"""viscy-compat: does an old VisCy checkpoint load, how to make it load, and the proof.

The public functions are resolved when they are first used, so importing this package imports nothing heavy.

Examples
--------
>>> import viscy_compat as vc
>>> vc.check("nowhere.ckpt").verdict
'unreadable'
"""

from __future__ import annotations

from viscy_compat.annotations import TYPE_CHECKING, Any
from viscy_compat.version import __version__

if TYPE_CHECKING:
    from viscy_compat.diagnosis import check as check
    from viscy_compat.exploring.exploration import explore as explore
    from viscy_compat.fleet.from_python import audit as audit
    from viscy_compat.loading import load_model as load_model
    from viscy_compat.loading import load_state_dict as load_state_dict
    from viscy_compat.lookup import ask as ask
    from viscy_compat.lookup import explain as explain
    from viscy_compat.lookup import inspect as inspect
    from viscy_compat.lookup import zoo as zoo
    from viscy_compat.proof.equivalence import verify as verify
    from viscy_compat.references.recording import record as record
    from viscy_compat.rewrite.remapping import remap as remap

_PUBLIC = {
    "ask": "viscy_compat.lookup",
    "audit": "viscy_compat.fleet.from_python",
    "check": "viscy_compat.diagnosis",
    "explain": "viscy_compat.lookup",
    "explore": "viscy_compat.exploring.exploration",
    "inspect": "viscy_compat.lookup",
    "load_model": "viscy_compat.loading",
    "load_state_dict": "viscy_compat.loading",
    "record": "viscy_compat.references.recording",
    "remap": "viscy_compat.rewrite.remapping",
    "verify": "viscy_compat.proof.equivalence",
    "zoo": "viscy_compat.lookup",
}

__all__ = [
    "__version__",
    "ask",
    "audit",
    "check",
    "explain",
    "explore",
    "inspect",
    "load_model",
    "load_state_dict",
    "record",
    "remap",
    "verify",
    "zoo",
]


def __getattr__(name: str) -> Any:
    """Import a public function when it is first asked for (PEP 562)."""
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    function = _speaking_python(getattr(import_module(_PUBLIC[name]), name))
    globals()[name] = function
    return function


def _speaking_python(function: Any) -> Any:
    """Return a public function whose errors and findings name keywords where those of the command name flags."""
    from functools import wraps

    from viscy_compat.errors import CompatError
    from viscy_compat.findings import Report

    @wraps(function)
    def call(*arguments: Any, **keywords: Any) -> Any:
        try:
            answer = function(*arguments, **keywords)
        except CompatError as error:
            from viscy_compat.python_words import in_python

            error.reword(in_python)
            raise
        if isinstance(answer, Report) and answer.findings:
            from viscy_compat.python_words import speak_python

            speak_python(answer)
        return answer

    return call


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})

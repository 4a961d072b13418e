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
    from viscy_compat.loading import load_model as load_model
    from viscy_compat.loading import load_state_dict as load_state_dict
    from viscy_compat.proof.equivalence import verify as verify
    from viscy_compat.references.recording import record as record
    from viscy_compat.rewrite.remapping import remap as remap

_PUBLIC = {
    "check": "viscy_compat.diagnosis",
    "explore": "viscy_compat.exploring.exploration",
    "load_model": "viscy_compat.loading",
    "load_state_dict": "viscy_compat.loading",
    "record": "viscy_compat.references.recording",
    "remap": "viscy_compat.rewrite.remapping",
    "verify": "viscy_compat.proof.equivalence",
}

__all__ = ["__version__", "check", "explore", "load_model", "load_state_dict", "record", "remap", "verify"]


def __getattr__(name: str) -> Any:
    """Import a public function when it is first asked for (PEP 562)."""
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})

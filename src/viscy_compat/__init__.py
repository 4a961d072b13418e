"""viscy-compat: does an old VisCy checkpoint load, how to make it load, and the proof.

The public functions are resolved when they are first used, so importing this package imports nothing heavy.
"""

from __future__ import annotations

__version__ = "0.1.0"

"""`viscy-compat` that remembers nothing from one file to the next: python tools/bench/unremembered.py audit FOLDER ...

An audit remembers what it found out about a layout, headers, the spans of pickles that come again, and copies of a file that
it judged. What it costs where no file is like another one is measured with this: worker processes import the program that they
are started by, and so this, too. VISCY_COMPAT_FORGET=copies forgets copies alone: what it costs where many files are of one
architecture, and no two the same.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from viscy_compat.architectures.inference import RecentAnswers
from viscy_compat.checkpoint.pickle_spans import RecentSpans
from viscy_compat.cli import main
from viscy_compat.fleet.likeness import Likeness


def forget(target: type, name: str, instead: Any) -> None:
    """Put another function in the place of one that remembers."""
    setattr(target, name, instead)


forget(Likeness, "remember", lambda *_: None)
if os.environ.get("VISCY_COMPAT_FORGET") != "copies":
    forget(RecentAnswers, "answer", lambda _, question, find: find())
    forget(RecentSpans, "find", lambda *_: None)
    forget(RecentSpans, "keep", lambda *_: None)

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

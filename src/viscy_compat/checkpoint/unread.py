"""What stands for a value that cannot be read exactly."""

from __future__ import annotations

from viscy_compat.named import NamedTuple


class Unread(NamedTuple):
    """Stands for a value that cannot be read exactly; ``what`` says what it is (``"a tensor"``)."""

    what: str

"""``viscy-compat`` and ``python -m viscy_compat``: ready for Ctrl-C before anything of a command is imported."""

import sys

from viscy_compat.annotations import TYPE_CHECKING

if TYPE_CHECKING:
    import signal
else:
    # as in `interrupts`: what `signal` adds to it costs an import more
    import _signal as signal


def main() -> int:
    """Run the command of the process and return its exit code; Ctrl-C while modules are imported is 130 in one line too."""
    # what our parent chose to ignore (nohup, a background job) stays ignored
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)
    from viscy_compat.cli import main as run

    return run()


def _end(_number: int, _frame: object) -> None:
    """End before a command has begun, or when it is over: `Interrupts` has the signal in hand in between."""
    # the next one does nothing: this one is on its way already
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stderr.write("viscy-compat: interrupted\n")
    raise SystemExit(128 + signal.SIGINT)


if __name__ == "__main__":
    sys.exit(main())

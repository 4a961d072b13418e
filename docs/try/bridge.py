"""Run commands of viscy-compat in the worker of the page, as a shell would in the folder of a drop."""

import os
import sys
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO

from viscy_compat import __version__
from viscy_compat.architectures import class_names
from viscy_compat.cli import main


def answer(folder: str, words: list[str]) -> dict[str, object]:
    """Run a command in a folder: its exit code, what it printed on both streams, and the same report as text.

    Parameters
    ----------
    folder : str
        Where the files of the drop are.
    words : list[str]
        What stands after ``viscy-compat``.
    """
    os.chdir(folder)
    out, err = StringIO(), StringIO()
    with tempfile.TemporaryDirectory() as place:
        text = os.path.join(place, "report.txt")
        command, *rest = words
        try:
            with redirect_stdout(out), redirect_stderr(err):
                code = main([command, "--output", f"text:{text}", *rest])
        except SystemExit as ending:  # argparse ends a program that was called wrongly
            code = ending.code
        report = ""
        if os.path.exists(text):
            with open(text, encoding="utf-8") as file:
                report = file.read()
    return {"code": code, "out": out.getvalue(), "errors": err.getvalue(), "text": report}


def about() -> dict[str, object]:
    """What the page says of itself: the versions, and the classes that can be stated."""
    # a first command that reads nothing imports what the first file would wait for
    answer("/", ["check", "--", "/no such file.ckpt"])
    return {"version": __version__, "python": sys.version.split()[0], "classes": list(class_names())}

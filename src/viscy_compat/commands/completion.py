"""A script that completes commands, flags, classes and finding codes in a shell.

bash: viscy-compat completion bash > ~/.local/share/bash-completion/completions/viscy-compat

zsh: viscy-compat completion zsh > a folder of $fpath, as _viscy-compat

fish: viscy-compat completion fish > ~/.config/fish/completions/viscy-compat.fish
"""

from __future__ import annotations

from importlib import import_module

from viscy_compat.annotations import TYPE_CHECKING
from viscy_compat.commands import COMMANDS, declare_arguments
from viscy_compat.completion import SHELLS, CompletionScript, script_for
from viscy_compat.findings import Report
from viscy_compat.report import emit

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

HAS_FINDINGS = False


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of ``completion``."""
    parser.add_argument("shell", metavar="SHELL", choices=SHELLS, help=" or ".join(SHELLS))


def run(arguments: Namespace) -> int:
    """Print the script."""
    from argparse import ArgumentParser

    parser = ArgumentParser(prog="viscy-compat", description="old VisCy checkpoints")
    below = parser.add_subparsers(dest="command")
    # the parser of the whole program is made for this alone: a run builds that of its own command
    for name, summary in COMMANDS.items():
        declare_arguments(below.add_parser(name, help=summary), import_module(f"viscy_compat.commands.{name}"))
    script = CompletionScript(arguments.shell, script_for(arguments.shell, parser))
    return emit(Report("completion", [script]), arguments)

"""Does each checkpoint load into the migrated class? Names the class, its configuration, and the command that fixes it."""

from __future__ import annotations

from os.path import isdir

from viscy_compat.annotations import TYPE_CHECKING, Iterator
from viscy_compat.diagnosis import CheckResult, check_paths
from viscy_compat.errors import UsageError
from viscy_compat.findings import Aside, Selection, selection_of
from viscy_compat.report import emit_each
from viscy_compat.stated import SETTING, Statement, parse_settings

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace, _ArgumentGroup


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of ``check``."""
    parser.add_argument("paths", metavar="FILE", nargs="+", help="checkpoints, or folders that hold some")
    parser.add_argument(
        "--strict",
        action="store_true",
        help="exit 1 where predictions depend on something that is not known, and a finding that is shown says so",
    )
    parser.add_argument(
        "--thorough", action="store_true", help="read every byte: headers of all records, and their checksums"
    )
    parser.add_argument("--against", metavar="FILE", help="the layout asked for is that of this checkpoint")
    add_expectations(parser.add_argument_group("outputs that you have (needs the models extra)"))
    add_statements(parser)


def add_expectations(group: _ArgumentGroup) -> None:
    """Add the arguments about outputs that a user saved; ``remap`` has them too."""
    group.add_argument("--expect", metavar="IO.safetensors", help="compare with an input and outputs that you have")
    group.add_argument(
        "--expect-precision",
        metavar="PRECISION",
        default="",
        help="in which precision they were made: float32, tf32, tf32-all, float16 or bfloat16 (found out by default)",
    )


def add_statements(parser: ArgumentParser) -> None:
    """Add the arguments with which users state what weights cannot tell; ``remap`` has them too."""
    stated = parser.add_argument_group("what the weights cannot tell")
    stated.add_argument("--as", dest="class_name", metavar="CLASS", help="state the class")
    stated.add_argument("--set", metavar="NAME=VALUE", action="append", default=[], help="state a constructor argument")
    stated.add_argument(
        "--config",
        metavar="FILE.yml",
        action="append",
        default=[],
        help="a training configuration; a later one counts more",
    )
    stated.add_argument(
        "--state-dict",
        metavar="ADDRESS",
        help="which set of weights, where a file holds several: PATH of its state dict, or PATH:PREFIX",
    )
    stated.add_argument(
        "--limit", metavar="NAME=VALUE", action="append", default=[], help="raise a limit of the reader"
    )


def statements_of(arguments: Namespace) -> tuple[Statement, ...]:
    """Return what the user states: ``--set`` outweighs configurations, and a later one those before it."""
    configs: list[Statement] = []
    if arguments.config:
        from viscy_compat.config_files import read_config

        # reversed: the first statement counts, and the user means the later file
        configs = [statement for path in reversed(arguments.config) for statement in read_config(path)]
    settings = parse_settings(arguments.set)
    return (Statement(SETTING, settings), *configs) if settings else tuple(configs)


def run(arguments: Namespace) -> int:
    """Check every file; ``--format jsonl`` prints each result as it comes."""
    selection = selection_of(arguments.select, arguments.ignore)
    aside: list[Aside] = []
    if arguments.against is not None:
        results = _against(arguments)
    else:
        results = check_paths(
            arguments.paths,
            class_name=arguments.class_name,
            statements=statements_of(arguments),
            state_dict=arguments.state_dict,
            limits=arguments.limit,
            aside=aside,
            strict=arguments.strict,
            depth="every byte" if arguments.thorough else "verdict",
        )
    # not None: an empty name, of an unset variable, is refused rather than passed over
    if arguments.expect is not None or arguments.expect_precision:
        results = _with_expectation(results, statements_of(arguments), arguments)
    return emit_each("check", (_with(selection, result) for result in results), arguments, aside=aside)


def _against(arguments: Namespace) -> Iterator[CheckResult]:
    if arguments.class_name or arguments.set or arguments.config:
        raise UsageError(
            "--against takes the place of a class and its configuration", fix="leave --as, --set, --config out"
        )
    if not arguments.against:
        raise UsageError("--against names no file", fix="is a variable of the shell unset?")
    from viscy_compat.checkpoint.limits import with_limits
    from viscy_compat.commands.idle_flags import IdleFlags, name_idle
    from viscy_compat.rewrite.against import check_against

    why = "beside --against, which compares names, shapes and dtypes"
    name_idle("check", arguments, [IdleFlags(("--strict", "--thorough"), lambda given: given.against, why)])
    limits = with_limits(arguments.limit)
    return check_against(arguments.paths, arguments.against, state_dict=arguments.state_dict, limits=limits)


def _with(selection: Selection, result: CheckResult) -> CheckResult:
    """Leave out the findings that nobody wants to see; which codes they were is said."""
    shown = tuple(finding for finding in result.findings if selection.keeps(finding.code))
    if len(shown) == len(result.findings):
        return result
    ignored = dict.fromkeys(finding.code for finding in result.findings if not selection.keeps(finding.code))
    return result._replace(findings=shown, ignored=(*ignored,))


def _with_expectation(
    results: Iterator[CheckResult], statements: tuple[Statement, ...], arguments: Namespace
) -> Iterator[CheckResult]:
    """Yield each result with what outputs say of its file."""
    if arguments.expect is None:
        raise UsageError("--expect-precision says how outputs were made", fix="give them: --expect IO.safetensors")
    if not arguments.expect:
        raise UsageError("--expect names no file", fix="is a variable of the shell unset?")
    from viscy_compat.checkpoint.limits import with_limits
    from viscy_compat.checkpoint.locations import public_name
    from viscy_compat.commands.sources import teller
    from viscy_compat.outputs.expectation import Expectation, check_expecting
    from viscy_compat.rewrite.choosing import RemapRequest

    class_name, limits = arguments.class_name or "", with_limits(arguments.limit)
    several = len(arguments.paths) > 1 or isdir(arguments.paths[0])
    with Expectation(
        arguments.expect,
        class_name=class_name,
        precision=arguments.expect_precision,
        tell=teller(arguments, "check"),
    ) as expectation:
        for result in results:
            request = RemapRequest(
                result.file,
                class_name,
                statements=statements,
                state_dict=arguments.state_dict,
                limits=limits,
                against=public_name(arguments.against or ""),
            )
            yield check_expecting(result, request, expectation, among="several" if several else "one")

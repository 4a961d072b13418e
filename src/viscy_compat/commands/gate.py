"""The release-blocking job: everything that must hold before a release, as one command.

Stages that cost seconds come first. A stage that could not run is never a pass. Accepted differences are rows of
viscy-compat.toml or pyproject.toml ([tool.viscy-compat.accepted.ID] with class, code, reason, expires), printed every time.
"""

from __future__ import annotations

from viscy_compat.annotations import TYPE_CHECKING
from viscy_compat.architectures import find, migrated_names
from viscy_compat.commands.idle_flags import WITHOUT_A_CLONE, name_idle
from viscy_compat.commands.sources import OLD, RUNNING, add_sources, options_of, refuse_strange, teller
from viscy_compat.gating.engine import gate
from viscy_compat.gating.stage import Setting, StageKind
from viscy_compat.gating.stages import stages_of
from viscy_compat.references.own_classes import own_references
from viscy_compat.report import emit
from viscy_compat.waivers import read_configuration
from viscy_compat.workers.candidate import read_candidate

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of ``gate``."""
    parser.add_argument("classes", metavar="CLASS", nargs="*", help="classes to judge; all by default")
    parser.add_argument("--static", action="store_true", help="only what takes seconds: names, constructors, layouts")
    parser.add_argument("--numeric", action="store_true", help="only what computes: verify and explore")
    parser.add_argument("--profile", choices=("dev", "ci", "release"), default="ci", help="how much is explored")
    parser.add_argument("--waivers", metavar="FILE.toml", help="where the accepted differences stand")
    parser.add_argument("--references", metavar="FOLDER", help="what you recorded of classes of your own")
    add_sources(parser)


def run(arguments: Namespace) -> int:
    """Run the gate and print its report."""
    # what some stage alone uses is taken whichever stages run: one line of a workflow serves --static and the whole gate
    name_idle("gate", arguments, [WITHOUT_A_CLONE])
    candidate = read_candidate(arguments.candidate)
    configuration = read_configuration(arguments.waivers, near=[*filter(None, [candidate.folder]), "."])
    refuse_strange(configuration.waivers)
    kinds = kinds_of(arguments)
    setting = Setting(
        classes=tuple(find(name) for name in arguments.classes or configuration.classes or migrated_names()),
        candidate=candidate,
        options=options_of(arguments, OLD, ("candidate_python",), RUNNING),
        profile=arguments.profile,
        progress=teller(arguments, "gate"),
        names=configuration.names,
        references=own_references(arguments.references) if arguments.references else (),
        # an interpreter that was named is to import the package, and not be passed over
        reads=kinds == ("static",) and not arguments.candidate_python,
    )
    # only where everything ran can a waiver be called unused
    whole = len(kinds) == 2 and not arguments.classes
    stages = tuple(stage for stage in stages_of(kinds) if not stage.strangers or setting.strangers)
    return emit(gate(setting, stages, configuration.waivers, whole=whole), arguments)


def kinds_of(arguments: Namespace) -> tuple[StageKind, ...]:
    """Return the kinds of stages that are asked for: both, unless one of them is."""
    asked: tuple[StageKind, ...] = (
        *(("static",) if arguments.static else ()),
        *(("numeric",) if arguments.numeric else ()),
    )
    return asked or ("static", "numeric")

"""The map of a class: what comes out over two arguments, coloured by outcome, as a picture or a page."""

from __future__ import annotations

from typing import Any

from viscy_compat.architectures.architecture import Architecture, Config, complete
from viscy_compat.architectures.asking import outcome_name
from viscy_compat.errors import OutputRefused, UsageError, lacking
from viscy_compat.exhibits import Exhibits, Fact, Map
from viscy_compat.findings import Finding, Report, html_of, line_of
from viscy_compat.named import NamedTuple
from viscy_compat.report.drawing import COLORS


def map_of(architecture: Architecture, asked: Config) -> Map:
    """Compute the map of a class.

    Examples
    --------
    >>> from viscy_compat.architectures import find
    >>> drawn = map_of(find("BetaVae25D"), {})
    >>> drawn.outcomes[drawn.rows.index("4")][drawn.columns.index("128")]
    'exact'
    """
    if not architecture.map_axes:
        raise UsageError("this class has no argument about sizes to draw", fix="draw BetaVae25D or ContrastiveEncoder")
    config = complete(architecture, {**architecture.map_start, **asked})
    x, y = architecture.map_axes
    grid = [[y.put(x.put(config, across), up) for across in x.ticks] for up in y.ticks]
    outcomes = tuple(
        tuple(outcome_name(architecture, cell, architecture.input_shape(cell)) for cell in row) for row in grid
    )
    columns, lines = (tuple(map(str, axis.ticks)) for axis in (x, y))
    return Map(architecture.name, Fact(x.name, ""), Fact(y.name, ""), columns, lines, outcomes)


def draw(architecture: Architecture, asked: Config, path: str) -> Shown:
    """Write the map of a class as a picture (``.png``) or as a page (``.html``), and return it as a result.

    Raises
    ------
    UsageError
        Another ending, or a class without sizes.
    MissingExtra
        The picture needs matplotlib.
    OutputRefused
        The file cannot be written.
    """
    drawn = map_of(architecture, asked)
    try:
        if path.endswith(".html"):
            _draw_page(drawn, path)
        elif path.endswith(".png"):
            _draw_picture(drawn, path)
        else:
            raise UsageError(f"--plot {path} is neither .png nor .html", fix="choose one of these endings")
    except OSError as error:
        raise OutputRefused(error.strerror or str(error), where=path, fix="choose another place") from error
    return Shown(drawn, path)


def _draw_page(drawn: Map, path: str) -> None:
    from viscy_compat.report.html import render
    from viscy_compat.report.terminal import Style

    page = render(Report("explore", [Shown(drawn)]), Style(verbose=True))
    with open(path, "w", encoding="utf-8") as file:
        file.write(page)


class Shown(NamedTuple):
    """A map as a result, for the page."""

    map: Map
    path: str = ""
    exit_code: int = 0
    findings: tuple[Finding, ...] = ()

    @property
    def title(self) -> str:
        """The class."""
        return self.map.title

    def __repr__(self) -> str:
        return line_of(self)

    def _repr_html_(self) -> str:
        return html_of("explore", self)

    def to_dict(self) -> dict[str, Any]:
        """Return the class and the file: the map is shown as an exhibit."""
        return {"class": self.map.title, **({"map": self.path} if self.path else {})}

    def exhibits(self) -> Exhibits:
        """Return the map."""
        return Exhibits(maps=(self.map,))


def _draw_picture(drawn: Map, path: str) -> None:
    try:
        from matplotlib.colors import ListedColormap
        from matplotlib.figure import Figure
        from matplotlib.patches import Patch
    except ModuleNotFoundError as error:
        raise lacking("the picture", error.name, "explore") from error
    names = list(COLORS)
    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots()
    cells = [[names.index(name) for name in row] for row in drawn.outcomes]
    axes.imshow(
        cells,
        cmap=ListedColormap(list(COLORS.values())),
        vmin=-0.5,
        vmax=len(names) - 0.5,
        aspect="auto",
        origin="lower",
    )
    every = max(1, len(drawn.columns) // 12)
    axes.set_xticks(range(0, len(drawn.columns), every), drawn.columns[::every])
    axes.set_yticks(range(len(drawn.rows)), drawn.rows)
    axes.set_xlabel(drawn.x.name)
    axes.set_ylabel(drawn.y.name)
    axes.set_title(f"{drawn.title}: what comes out")
    met = {name for row in drawn.outcomes for name in row}
    patches = [Patch(color=color, label=name) for name, color in COLORS.items() if name in met]
    figure.legend(handles=patches, loc="outside right upper", frameon=False)
    figure.savefig(path, dpi=110)

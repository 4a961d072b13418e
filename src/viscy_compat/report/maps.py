"""The map of a class: what comes out over two arguments, coloured by outcome, as a picture or a page."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

from viscy_compat.architectures.architecture import Architecture, Config, complete
from viscy_compat.architectures.asking import outcome_name
from viscy_compat.errors import OutputRefused, UsageError, lacking
from viscy_compat.exhibits import Exhibits, Fact, Map
from viscy_compat.findings import Finding, Report, html_of, line_of
from viscy_compat.named import NamedTuple
from viscy_compat.report.drawing import COLORS, caption
from viscy_compat.stated import spell

_PICTURES = ("png", "svg", "pdf")


def map_of(architecture: Architecture, asked: Config) -> Map:
    """Compute the map of a class; what was asked about is marked in it, where an axis goes through it.

    Examples
    --------
    >>> from viscy_compat.architectures import find
    >>> vae = map_of(find("BetaVae25D"), {"input_spatial_size": (128, 128)})
    >>> vae.outcomes[vae.rows.index("4")][vae.columns.index("128")], vae.columns[vae.point[0]]
    ('exact', '128')
    """
    if not architecture.map_axes:
        raise UsageError("this class has no argument about sizes to draw", fix="draw BetaVae25D or ContrastiveEncoder")
    config = complete(architecture, {**architecture.map_start, **asked})
    x, y = architecture.map_axes
    grid = [[y.put(x.put(config, across), up) for across in x.ticks] for up in y.ticks]
    outcomes = tuple(
        tuple(outcome_name(architecture, cell, architecture.input_shape(cell)) for cell in row) for row in grid
    )
    # an argument that is the same in all four corners hangs on neither axis
    corners = [row[place] for row in (grid[0], grid[-1]) for place in (0, -1)]
    fixed = [name for name in config if all(corner[name] == config[name] for corner in corners)]
    places = ((column, row) for row, column in product(range(len(y.ticks)), range(len(x.ticks))))
    own = (place for place in places if grid[place[1]][place[0]] == config)
    return Map(
        title=architecture.name,
        x=Fact(x.name, ""),
        y=Fact(y.name, ""),
        columns=tuple(map(str, x.ticks)),
        rows=tuple(map(str, y.ticks)),
        outcomes=outcomes,
        fixed=tuple(Fact(name, spell(config[name])) for name in fixed),
        point=next(own, None) if asked.keys() - {*fixed} else None,
    )


def draw(architecture: Architecture, asked: Config, path: str, *, beside: Config | None = None) -> Shown:
    """Write the map of a class as a picture (``.png``, ``.svg``, ``.pdf``) or a page (``.html``), and return it.

    Parameters
    ----------
    architecture : Architecture
        The class.
    asked : Config
        Arguments that the map starts from.
    path : str
        The file.
    beside : Config, optional
        Arguments of a second map beside the first one, where they are others than there.

    Raises
    ------
    UsageError
        Another ending, or a class without sizes.
    MissingExtra
        The picture needs matplotlib.
    OutputRefused
        The file cannot be written.
    """
    ending = path.rpartition(".")[2].lower()
    if ending not in (*_PICTURES, "html"):
        endings = ", ".join(f".{name}" for name in _PICTURES)
        raise UsageError(f"--plot {path} is none of {endings} and .html", fix="choose one of these endings")
    maps = tuple(map_of(architecture, config) for config in (asked, *([{**asked, **beside}] if beside else [])))
    try:
        if ending == "html":
            from viscy_compat.report.html import pieces
            from viscy_compat.report.terminal import Style

            page = "".join(pieces(Report("explore", [Shown(maps)]), Style(verbose=True)))
            with open(path, "w", encoding="utf-8") as file:
                file.write(page)
        else:
            _draw_picture(maps, path, ending)
    except OSError as error:
        raise OutputRefused(error.strerror or str(error), where=path, fix="choose another place") from error
    return Shown(maps, path)


class Shown(NamedTuple):
    """Maps of one class as a result; two are beside each other."""

    maps: tuple[Map, ...]
    path: str = ""
    exit_code: int = 0
    findings: tuple[Finding, ...] = ()

    @property
    def title(self) -> str:
        """The class."""
        return self.maps[0].title

    def __repr__(self) -> str:
        return line_of(self)

    def _repr_html_(self) -> str:
        return html_of("explore", self)

    def to_dict(self) -> dict[str, Any]:
        """Return the class, the file, and what each map is of; the outcomes are shown as exhibits."""
        rows = [
            {
                "x": chart.x.name,
                "y": chart.y.name,
                "fixed": {fact.name: fact.value for fact in chart.fixed},
                "point": [chart.columns[chart.point[0]], chart.rows[chart.point[1]]] if chart.point else None,
            }
            for chart in self.maps
        ]
        return {"class": self.title, **({"map": self.path} if self.path else {}), "maps": rows}

    def exhibits(self) -> Exhibits:
        """Return the maps."""
        x, y = self.maps[0].x.name, self.maps[0].y.name
        sentence = f"What comes out of {self.title} over {x} and {y}, by its shape rules; no model was run."
        return Exhibits(maps=self.maps, sentence=sentence)


def _draw_picture(maps: Sequence[Map], path: str, ending: str) -> None:
    """Draw with matplotlib; the same maps give the same bytes, so that a figure in a repository changes with them alone."""
    try:
        from matplotlib import rc_context
        from matplotlib.colors import ListedColormap
        from matplotlib.figure import Figure
        from matplotlib.patches import Patch
    except ModuleNotFoundError as error:
        raise lacking("the picture", error.name, "explore") from error
    names = list(COLORS)
    figure = Figure(figsize=(7 * len(maps) + 1.5, 4.6), layout="constrained")
    for axes, chart in zip(figure.subplots(1, len(maps), squeeze=False)[0], maps, strict=True):
        cells = [[names.index(name) for name in row] for row in chart.outcomes]
        colors = ListedColormap(list(COLORS.values()))
        axes.pcolormesh(cells, cmap=colors, vmin=-0.5, vmax=len(names) - 0.5, edgecolors="white", linewidth=0.2)
        # a dozen names fit below a picture of this width, and sixteen beside it
        every = max(1, len(chart.columns) // 12)
        axes.set_xticks([place + 0.5 for place in range(0, len(chart.columns), every)], chart.columns[::every])
        some = max(1, len(chart.rows) // 16)
        axes.set_yticks([place + 0.5 for place in range(0, len(chart.rows), some)], chart.rows[::some])
        axes.set(xlabel=chart.x.name, ylabel=chart.y.name)
        axes.set_title(f"{chart.title}: what comes out", fontsize=11)
        if chart.point:
            axes.plot(chart.point[0] + 0.5, chart.point[1] + 0.5, "o", mfc="none", mec="black", mew=1.8, ms=11)
        axes.text(0, -0.17, caption(chart, 95), transform=axes.transAxes, fontsize=7, va="top", wrap=True)
    outcomes_met = {name for chart in maps for row in chart.outcomes for name in row}
    patches = [Patch(color=color, label=name) for name, color in COLORS.items() if name in outcomes_met]
    figure.legend(handles=patches, loc="outside right upper", frameon=False)
    # matplotlib writes the day into both, and makes ids of SVG from random numbers unless it is given a salt
    dates = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
    # type 42 and no outlines: what is written in the picture stays text that can be searched
    with rc_context({"svg.hashsalt": "viscy-compat", "pdf.fonttype": 42, "svg.fonttype": "none"}):
        figure.savefig(path, dpi=150, format=ending, metadata=dates.get(ending))

"""Projection heads that upstream's engine puts in the place of a contrastive encoder's own (``projection=``).

Its ``MLP`` with batch norms holds the same layers below ``backbone``, one place further where it has a dropout: an exact
rename. Any other module has layers that the class lacks; embeddings are the same with all of them.
Source: ``dynaclr.engine.ContrastiveModule`` and ``viscy_models.components.heads.MLP`` in upstream's main at 4b62365c.
"""

from __future__ import annotations

from viscy_compat.annotations import Callable
from viscy_compat.architectures.architecture import Architecture, Config, Generation, freeze, renames
from viscy_compat.architectures.vocabulary import PROJECTION_PLACES, Entries

ACTIVATION = (
    "projections (not embeddings) depend on the activation between the layers of the projection, which is not in the "
    "weights: today's class has ReLU there; upstream's engine also trains with GELU or SiLU (projection=...)"
)
"""What no file of these classes tells."""

_NEEDED = "embeddings do not depend on it, and projections need that module (projection=...)"
CUSTOM = (
    (
        "projection.",
        f"the projection is not the one of the class: another module, as upstream's engine takes any, or none: {_NEEDED}",
    ),
    (
        "projection.backbone.1.running_",
        f"the projection has layer norms where the class has batch norms (upstream's MLP with norm=ln): {_NEEDED}",
    ),
)
_FORMS = {"v0.5-mlp": (0, 1, 3, 4), "v0.5-mlp-dropout": (0, 1, 4, 5)}
"""Where the two linear layers and their norms stand in upstream's Sequential, which a dropout moves by one."""

LAST_LAYERS = tuple(f"projection.backbone.{place}.{part}" for place in (3, 4) for part in ("weight", "bias"))
"""Tensors of either form that have the width of the projection; a batch norm of the one stands where the other has a layer."""


def mlp_generations(
    architecture: Architecture, tensors: Callable[[Config, str, tuple[int, ...]], Entries], today: str = "projection"
) -> tuple[Generation, ...]:
    """Return the layouts of a class whose projection is upstream's ``MLP``.

    Parameters
    ----------
    architecture : Architecture
        The class.
    tensors : Callable[[Config, str, tuple[int, ...]], Entries]
        Its tensors for a configuration, with the name of the projection and the places of its layers.
    today : str, optional
        What the class calls its projection today.
    """
    return tuple(_generation(architecture, name, places, tensors, today) for name, places in _FORMS.items())


def _generation(
    architecture: Architecture,
    name: str,
    places: tuple[int, ...],
    tensors: Callable[[Config, str, tuple[int, ...]], Entries],
    today: str,
) -> Generation:
    pairs = zip(places, PROJECTION_PLACES, strict=True)
    moves = {f"projection.backbone.{before}": f"{today}.{now}" for before, now in pairs}
    return freeze(name, architecture)._replace(
        written_by="upstream's dynaclr from v0.5.0a1 on with projection=MLP" + (", dropout" if places[2] > 3 else ""),
        layout=lambda config: dict(tensors(config, "projection.backbone", places)),
        to_today=lambda layout: renames(layout, moves),
        loses=(ACTIVATION,),
    )

"""The layouts of a fork that renamed attributes: the same tree of modules, other names."""

from __future__ import annotations

import random
from collections.abc import Callable

from viscy_compat.layout import Layout

PARAMETERS = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
"""Names that torch's own layers give; no fork renames them."""
PREFIXES = ("", "net.", "model.", "module.model.", "backbone.encoder.")
WORDS = (
    "head",
    "mlp",
    "trunk",
    "body",
    "proj",
    "level",
    "unit",
    "branch",
    "core",
    "path",
    "mix",
    "gate",
    "neck",
    "tail",
)


def one_to_one(rng: random.Random) -> Callable[[str], str]:
    """Each attribute gets one new name, everywhere; numbers stay."""
    names: dict[str, str] = {}

    def new(part: str) -> str:
        if part.isdigit() or part in PARAMETERS:
            return part
        letter, lap = chr(97 + len(names) % 26), len(names) // 26 or ""
        return names.setdefault(part, f"{rng.choice(WORDS)}{'' if rng.random() < 0.5 else '_'}{letter}{lap}")

    return lambda name: ".".join(map(new, name.split(".")))


def deeper(rng: random.Random) -> Callable[[str], str]:
    """As `one_to_one`, and every third attribute becomes two (`projection` to `head.mlp`)."""
    names: dict[str, str] = {}
    plain = one_to_one(rng)

    def new(part: str) -> str:
        if part.isdigit() or part in PARAMETERS:
            return part
        return names.setdefault(part, plain(part) + (f".{rng.choice(WORDS)}" if rng.random() < 0.33 else ""))

    return lambda name: ".".join(map(new, name.split(".")))


def two_words(rng: random.Random) -> Callable[[str], str]:
    """The renaming of the issue: `projection` to `head.mlp`, `encoder` to `trunk`; others stay."""
    table = {"projection": "head.mlp", "encoder": "trunk", "decoder": "up", "stem": "patches", "model": "vae"}
    return lambda name: ".".join(table.get(part, part) for part in name.split("."))


def by_path(rng: random.Random) -> Callable[[str], str]:
    """Each module gets a name of its own, which says nothing."""
    names: dict[tuple[str, ...], str] = {}

    def new(name: str) -> str:
        *path, last = name.split(".")
        ways = [tuple(path[: end + 1]) for end in range(len(path))]
        return ".".join([*(names.setdefault(way, f"m{len(names)}x{rng.randrange(99)}") for way in ways), last])

    return new


STYLES = {"two words": two_words, "one to one": one_to_one, "deeper": deeper, "by path": by_path}


def renamed(layout: Layout, style: str, prefix: str, order: str, seed: int) -> dict[str, str]:
    """Return the true name of each new name, in the order of the file.

    The order is that of registration (``registered``), alphabetical as safetensors has it (``sorted``), or none.
    """
    rng = random.Random(seed)
    new = STYLES[style](rng)
    truth = {prefix + new(name): name for name in layout}
    assert len(truth) == len(layout), "two tensors under one name"
    names = list(truth)
    names = sorted(names) if order == "sorted" else rng.sample(names, len(names)) if order == "shuffled" else names
    return {name: truth[name] for name in names}

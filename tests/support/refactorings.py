"""Refactorings whose truth is known: what a fork could have done to a model, and which tensor is which afterwards.

Each family takes the layout of a model (the target) and gives the layout of a file (the source), the true pairs, and
what decides them. A family writes the file's names over the target's tensors in place: the order of the file stays
that of registration, unless the family is about order.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

from viscy_compat.layout import Layout, TensorSpec
from viscy_compat.matching.pairs import Matching

Decides = Literal["names", "structure", "order", "outputs only", "nothing"]


class Refactoring(NamedTuple):
    """A file and a target whose true pairs are known.

    ``truth`` maps target names to source names; target tensors that the file lacks are absent. ``extra`` are source
    tensors that the target has no place for.
    """

    family: str
    source: Layout
    target: Layout
    truth: dict[str, str]
    decides: Decides
    extra: frozenset[str] = frozenset()


Grade = Literal["correct", "WRONG", "refused"]


def graded(matching: Matching, case: Refactoring) -> Grade:
    """Grade an answer: any false pair is WRONG, all pairs true is correct, the rest is refused."""
    pairs = {pair.target: pair.source for pair in matching.matches}
    if any(case.truth.get(target) != source for target, source in pairs.items()):
        return "WRONG"
    turned = {pair.target for pair in matching.matches if pair.change == "transpose"}
    for target in pairs:
        if len(case.target[target].shape) == 2 and (target in turned) != transposed(case, target):
            return "WRONG"
    return "correct" if pairs.keys() == case.truth.keys() else "refused"


def transposed(case: Refactoring, target: str) -> bool:
    return case.family == "transposed linear" and _is_linear(target, case.target[target])


def refactorings(target: Layout, seed: int = 0) -> Iterator[Refactoring]:
    """Give every family that applies to a layout."""
    for name, family in FAMILIES.items():
        case = family(target, random.Random(f"{seed} {name}"))
        if case is not None:
            yield case._replace(family=name)


def renamed(target: Layout, rename: Callable[[str], str], decides: Decides, family: str = "") -> Refactoring | None:
    """Write other names over a layout; None where nothing changed or two names fell together."""
    truth = {name: rename(name) for name in target}
    if len(set(truth.values())) != len(truth) or all(old == new for new, old in truth.items()):
        return None
    return Refactoring(family, {truth[name]: spec for name, spec in target.items()}, dict(target), truth, decides)


def reordered(case: Refactoring, names: list[str], decides: Decides) -> Refactoring:
    return case._replace(source={name: case.source[name] for name in names}, decides=decides)


def identity(target: Layout, rng: random.Random) -> Refactoring:
    return Refactoring("", dict(target), dict(target), {name: name for name in target}, "names")


def shuffled(target: Layout, rng: random.Random) -> Refactoring:
    names = list(target)
    rng.shuffle(names)
    return reordered(identity(target, rng), names, "names")


def alphabetical(target: Layout, rng: random.Random) -> Refactoring:
    return reordered(identity(target, rng), sorted(target), "names")


def prefixed(target: Layout, rng: random.Random) -> Refactoring | None:
    return renamed(target, lambda name: f"model.{name}", "names")


def wrapped(target: Layout, rng: random.Random) -> Refactoring | None:
    case = renamed(target, lambda name: f"module.model._orig_mod.{name}", "names")
    assert case is not None
    strangers = {"module.criterion.weight": TensorSpec((7, 13)), "module.epochs": TensorSpec((), "int64")}
    return case._replace(source=strangers | case.source, extra=frozenset(strangers))


def renamed_attributes(target: Layout, rng: random.Random) -> Refactoring | None:
    """A third of the attribute names, each renamed alike everywhere."""
    words = _inner_words(target)
    chosen = set(rng.sample(words, k=max(1, len(words) // 3))) if words else set()
    return renamed(
        target, lambda name: _map_parts(name, lambda part: f"my{part}er" if part in chosen else part), "structure"
    )


def renamed_opaquely(target: Layout, rng: random.Random) -> Refactoring | None:
    """A third of the attribute names, each replaced by a word of no resemblance, numbers kept where they were."""
    words = _inner_words(target)
    chosen = rng.sample(words, k=max(1, len(words) // 3)) if words else []
    fresh = {word: _opaque(rng) + "".join(filter(str.isdigit, word)) for word in chosen}
    return renamed(target, lambda name: _map_parts(name, lambda part: fresh.get(part, part)), "structure")


def renamed_leaves(target: Layout, rng: random.Random) -> Refactoring | None:
    """Gamma and beta for what norm layers call weight and bias."""
    vectors = {name for name, spec in target.items() if len(spec.shape) == 1}
    norms = {name.rpartition(".")[0] for name in vectors if name.endswith(".weight")}
    leaf = {"weight": "gamma", "bias": "beta"}

    def rename(name: str) -> str:
        layer, _, last = name.rpartition(".")
        return f"{layer}.{leaf.get(last, last)}" if layer in norms else name

    return renamed(target, rename, "names")


def reindexed(target: Layout, rng: random.Random) -> Refactoring | None:
    """`stages.0` becomes `stages_1`: another sign, and counting starts at one."""

    def rename(name: str) -> str:
        parts: list[str] = []
        for part in name.split("."):
            if part.isdigit() and parts and not parts[-1][-1].isdigit():
                parts[-1] += f"_{int(part) + 1}"
            else:
                parts.append(part)
        return ".".join(parts)

    return renamed(target, rename, "names")


def flattened(target: Layout, rng: random.Random) -> Refactoring | None:
    """Two numbers in a row become one: nested Sequentials are flattened, in order."""
    pairs: dict[str, dict[tuple[str, str], int]] = {}

    def rename(name: str) -> str:
        parts = name.split(".")
        for place in range(len(parts) - 1):
            if parts[place].isdigit() and parts[place + 1].isdigit():
                known = pairs.setdefault(".".join(parts[:place]), {})
                index = known.setdefault((parts[place], parts[place + 1]), len(known))
                return ".".join([*parts[:place], str(index), *parts[place + 2 :]])
        return name

    return renamed(target, rename, "structure")


def nested(target: Layout, rng: random.Random) -> Refactoring | None:
    """Numbered layers are grouped by two."""

    def rename(name: str) -> str:
        parts = name.split(".")
        for place, part in enumerate(parts):
            if part.isdigit():
                return ".".join([*parts[:place], str(int(part) // 2), str(int(part) % 2), *parts[place + 1 :]])
        return name

    return renamed(target, rename, "structure")


def dissolved(target: Layout, rng: random.Random) -> Refactoring | None:
    """One inner module is flattened away: its members get its name as a prefix with an underscore."""
    words = [word for word in _inner_words(target) if not word.isdigit()]
    word = rng.choice(words) if words else ""

    def rename(name: str) -> str:
        parts = name.split(".")
        if word in parts[:-2]:
            place = parts.index(word)
            return ".".join([*parts[:place], f"{word}_{parts[place + 1]}", *parts[place + 2 :]])
        return name

    return renamed(target, rename, "structure")


def reversed_numbering(target: Layout, rng: random.Random) -> Refactoring | None:
    """Every numbered container counts backwards; the order of registration stays."""
    sizes: dict[str, int] = {}
    for name in target:
        parts = name.split(".")
        for place, part in enumerate(parts):
            if part.isdigit():
                path = ".".join(parts[:place])
                sizes[path] = max(sizes.get(path, 0), int(part))

    def rename(name: str) -> str:
        parts = name.split(".")
        turned = [
            str(sizes[".".join(parts[:place])] - int(part)) if part.isdigit() else part
            for place, part in enumerate(parts)
        ]
        return ".".join(turned)

    return renamed(target, rename, "outputs only")


def crossed(target: Layout, rng: random.Random) -> Refactoring | None:
    """Siblings of equal shape exchange their names everywhere; the order of registration stays."""
    exchange = dict(_twins(target))

    def rename(name: str) -> str:
        parts = name.split(".")
        return ".".join(exchange.get(".".join(parts[: end + 1]), part) for end, part in enumerate(parts))

    return renamed(target, rename, "outputs only")


def registered_otherwise(target: Layout, rng: random.Random) -> Refactoring | None:
    """Siblings of equal shape are registered in another order; names stay."""
    case = crossed(target, rng)
    if case is None:
        return None
    names = [case.truth[name] for name in target]
    return identity(target, rng)._replace(source={name: target[name] for name in names}, decides="outputs only")


def opaque(target: Layout, rng: random.Random) -> Refactoring | None:
    names = {name: _opaque(rng) + _opaque(rng) for name in target}
    return renamed(target, names.__getitem__, "order" if _has_twins(target) else "structure")


def opaque_numbered(target: Layout, rng: random.Random) -> Refactoring | None:
    """Opaque names that count the tensors of the file, which was shuffled before."""
    order = list(target)
    rng.shuffle(order)
    names = {name: f"p{index}" for index, name in enumerate(order)}
    case = renamed(target, names.__getitem__, "outputs only" if _has_twins(target) else "structure")
    return case and reordered(case, [names[name] for name in order], case.decides)


def opaque_shuffled(target: Layout, rng: random.Random) -> Refactoring | None:
    case = opaque(target, rng)
    assert case is not None
    names = list(case.source)
    rng.shuffle(names)
    return reordered(case, names, "outputs only" if _has_twins(target) else "structure")


def opaque_parts(target: Layout, rng: random.Random) -> Refactoring | None:
    """Every part of every name becomes an opaque word, alike everywhere."""
    fresh: dict[str, str] = {}
    return renamed(
        target, lambda name: _map_parts(name, lambda part: fresh.setdefault(part, _opaque(rng)), last=True), "order"
    )


def transposed_linear(target: Layout, rng: random.Random) -> Refactoring | None:
    turned = {
        name: spec._replace(shape=spec.shape[::-1]) if _is_linear(name, spec) else spec for name, spec in target.items()
    }
    if turned == target:
        return None
    square = any(_is_linear(name, spec) and spec.shape[0] == spec.shape[1] for name, spec in target.items())
    return identity(target, rng)._replace(source=turned, decides="outputs only" if square else "structure")


def without_counters(target: Layout, rng: random.Random) -> Refactoring | None:
    kept = {name: spec for name, spec in target.items() if not name.endswith("num_batches_tracked")}
    if len(kept) == len(target):
        return None
    return Refactoring(
        "", {f"net.{n}": s for n, s in kept.items()}, dict(target), {n: f"net.{n}" for n in kept}, "names"
    )


def with_counters(target: Layout, rng: random.Random) -> Refactoring | None:
    case = without_counters(target, rng)
    if case is None:
        return None
    source = {f"net.{name}": spec for name, spec in target.items()}
    kept = {name: spec for name, spec in target.items() if not name.endswith("num_batches_tracked")}
    extra = frozenset(source) - frozenset(case.truth.values())
    return Refactoring("", source, kept, case.truth, "names", extra)


def extra_head(target: Layout, rng: random.Random) -> Refactoring | None:
    """A second copy of the last layer, under another name, before the model's own."""
    layer = list(target)[-1].rpartition(".")[0]
    if not layer:
        return None
    case = identity(target, rng)
    copies = {f"aux.{name}": spec for name, spec in target.items() if name.startswith(f"{layer}.")}
    return case._replace(source=copies | case.source, extra=frozenset(copies))


def extra_head_renamed(target: Layout, rng: random.Random) -> Refactoring | None:
    """The same, where the model's own layer was renamed as well: nothing says which of the two it is."""
    layer = list(target)[-1].rpartition(".")[0]
    case = renamed(
        target, lambda name: name.replace(f"{layer}.", "first.") if name.startswith(f"{layer}.") else name, "names"
    )
    if case is None or not layer:
        return None
    copies = {f"second.{n.rpartition('.')[2]}": s for n, s in target.items() if n.rpartition(".")[0] == layer}
    return case._replace(source=case.source | copies, extra=frozenset(copies), decides="outputs only")


def half(target: Layout, rng: random.Random) -> Refactoring:
    case = identity(target, rng)
    cast = {n: s._replace(dtype="bfloat16") if s.dtype == "float32" else s for n, s in target.items()}
    return case._replace(source=cast)


def renamed_shuffled(target: Layout, rng: random.Random) -> Refactoring | None:
    case = prefixed(target, rng)
    assert case is not None
    names = list(case.source)
    rng.shuffle(names)
    return reordered(case, names, "names")


def renamed_sorted(target: Layout, rng: random.Random) -> Refactoring | None:
    case = renamed_attributes(target, rng)
    return case and reordered(case, sorted(case.source), case.decides)


FAMILIES: dict[str, Callable[[Layout, random.Random], Refactoring | None]] = {
    "identity": identity,
    "shuffled": shuffled,
    "alphabetical": alphabetical,
    "prefix": prefixed,
    "prefix, shuffled": renamed_shuffled,
    "nested wrappers and strangers": wrapped,
    "renamed attributes": renamed_attributes,
    "renamed attributes, sorted": renamed_sorted,
    "attributes renamed opaquely": renamed_opaquely,
    "renamed leaves": renamed_leaves,
    "reindexed": reindexed,
    "flattened Sequential": flattened,
    "nested Sequential": nested,
    "dissolved module": dissolved,
    "reversed numbering": reversed_numbering,
    "crossed siblings": crossed,
    "siblings registered otherwise": registered_otherwise,
    "opaque": opaque,
    "opaque, shuffled": opaque_shuffled,
    "opaque, numbered after a shuffle": opaque_numbered,
    "every part opaque": opaque_parts,
    "transposed linear": transposed_linear,
    "missing counters": without_counters,
    "extra counters": with_counters,
    "extra head": extra_head,
    "extra head, both renamed": extra_head_renamed,
    "half precision": half,
}


def _is_linear(name: str, spec: TensorSpec) -> bool:
    return len(spec.shape) == 2 and name.endswith(".weight") and spec.dtype == "float32"


def _inner_words(target: Layout) -> list[str]:
    """List the words that name modules, in order of appearance."""
    return list(dict.fromkeys(part for name in target for part in name.split(".")[:-1] if not part.isdigit()))


def _map_parts(name: str, change: Callable[[str], str], *, last: bool = False) -> str:
    parts = name.split(".")
    inner = parts if last else parts[:-1]
    return ".".join([*map(change, inner), *parts[len(inner) :]])


def _opaque(rng: random.Random) -> str:
    return "".join(rng.choice("bcdfghjklmnpqrstvwxz") for _ in range(6))


def _has_twins(target: Layout) -> bool:
    shapes = [spec for name, spec in target.items() if not name.endswith("num_batches_tracked")]
    return len(set(shapes)) < len(shapes)


def _twins(target: Layout) -> Iterator[tuple[str, str]]:
    """Pair siblings that look the same inside, and give each the other's name."""
    inside: dict[str, dict[str, list[tuple[str, TensorSpec]]]] = {}
    for name, spec in target.items():
        parts = name.split(".")
        for end in range(len(parts)):
            parent = ".".join(parts[:end])
            inside.setdefault(parent, {}).setdefault(parts[end], []).append((".".join(parts[end + 1 :]), spec))
    for parent, members in inside.items():
        alike: dict[str, list[str]] = {}
        for member, content in members.items():
            alike.setdefault(repr(sorted(content)), []).append(member)
        for twins in alike.values():
            for one, other in zip(twins[::2], twins[1::2], strict=False):
                base = f"{parent}." if parent else ""
                yield base + one, other
                yield base + other, one

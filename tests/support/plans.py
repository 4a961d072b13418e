"""Random total plans, as hypothesis strategies: every kind of operation over small layouts."""

from __future__ import annotations

from hypothesis import strategies as st

from viscy_compat.layout import Layout, TensorSpec
from viscy_compat.operations import Cast, Concat, Drop, Fill, Operation, Rename, Reshape, Split, Transpose
from viscy_compat.plans.plan import Plan, PlanEnd, plan_of

PARTS = st.sampled_from(
    ["stem", "stages", "blocks", "weight", "bias", "a{b}", "x y", "\u2603", "0", "1", "2", "3", "10"]
)
NAMES = st.lists(PARTS, min_size=1, max_size=4).map(".".join)
SHAPES = st.lists(st.integers(1, 4), max_size=3).map(tuple)
KINDS = ("rename", "drop", "fill", "cast", "reshape", "transpose", "split", "concat")


@st.composite
def plans(draw: st.DrawFn, kinds: tuple[str, ...] = KINDS) -> Plan:
    """Draw a total plan with a few operations of the given kinds."""
    chosen = draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=12))
    sources = iter(draw(st.lists(NAMES, min_size=2 * len(chosen), max_size=2 * len(chosen), unique=True)))
    targets = iter(draw(st.lists(NAMES, min_size=2 * len(chosen), max_size=2 * len(chosen), unique=True)))
    source: Layout = {}
    target: Layout = {}
    rows: list[Operation] = []
    for kind in chosen:
        shape = draw(SHAPES)
        rows.append(_operation(kind, shape, next(sources), next(sources), next(targets), next(targets), source, target))
    places = draw(st.permutations(list(target)))
    return plan_of(
        PlanEnd(source, class_name="Old", generation="v1", prefix="model."),
        PlanEnd(
            {name: target[name] for name in places}, class_name="New", config={"size": (1, 2), "deep": {"a": None}}
        ),
        draw(st.permutations(rows)),
        loses=("the order of things",),
    )


def _operation(
    kind: str, shape: tuple[int, ...], s1: str, s2: str, t1: str, t2: str, source: Layout, target: Layout
) -> Operation:
    spec = TensorSpec(shape)
    if kind == "fill":
        target[t1] = spec
        return Fill(t1, shape, "float32", 0.1, "it is neutral")
    source[s1] = TensorSpec(shape, "float16") if kind == "cast" else spec
    if kind == "drop":
        return Drop(s1, "nobody reads it")
    target[t1] = spec
    if kind == "rename":
        return Rename(s1, t1)
    if kind == "cast":
        return Cast(s1, t1)
    if kind == "reshape":
        target[t1] = TensorSpec((spec.elements,))
        return Reshape(s1, t1, (spec.elements,))
    if kind == "transpose":
        target[t1] = TensorSpec(shape[::-1])
        return Transpose(s1, t1, tuple(reversed(range(len(shape)))))
    return _cut_or_join(kind, shape, s1, s2, t1, t2, source, target)


def _cut_or_join(
    kind: str, shape: tuple[int, ...], s1: str, s2: str, t1: str, t2: str, source: Layout, target: Layout
) -> Operation:
    axis = len(shape)
    part, whole = TensorSpec((*shape, 2)), TensorSpec((*shape, 5))
    if kind == "split":
        source[s1], target[t1], target[t2] = whole, part, TensorSpec((*shape, 3))
        return Split(s1, (t1, t2), axis, (2, 3))
    source[s1], source[s2], target[t1] = part, TensorSpec((*shape, 3)), whole
    return Concat((s1, s2), t1, axis)

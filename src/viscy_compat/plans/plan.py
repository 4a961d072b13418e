"""A plan: what happens to every tensor on the way from one layout to another, total and checked.

A plan names each source tensor and each target tensor exactly once, or it does not exist: `plan_of` raises
`PlanRefused`, which lists every leftover with its reason. Names in a plan are those of the class, without wrapper
prefixes; source tensors outside the wrapper keep their raw keys, and are dropped with a reason.
"""

from __future__ import annotations

from viscy_compat.annotations import TYPE_CHECKING, Any, Iterable
from viscy_compat.checkpoint.facts import View
from viscy_compat.checkpoint.wrapper import is_recognised
from viscy_compat.errors import PlanRefused
from viscy_compat.layout import Layout, TensorSpec, differences, fold, printable
from viscy_compat.named import NamedTuple, records_of
from viscy_compat.operations import (
    Cast,
    Concat,
    Drop,
    Fill,
    Operation,
    Rename,
    Reshape,
    Split,
    Transpose,
    casts_exactly,
    sources_of,
    targets_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping


class PlanEnd(NamedTuple):
    """One end of a plan.

    Parameters
    ----------
    layout : Layout
        The tensors, in order.
    class_name : str
        The class (``"ContrastiveEncoder"``); empty where the layout is that of another file.
    generation : str
        Which state of the class (``"v0.2"``); empty where it is not known.
    config : Mapping[str, Any]
        What is known of the constructor arguments of the migrated class.
    prefix : str
        Prefix that the names had, or shall get (``"module."``).
    lacks : str
        What every name has in front that the file's names lack (``"model."``).
    inner : tuple[str, ...]
        Wrappers that stood further in (``"encoder._orig_mod."``).
    state_dict : str or None
        Address of the set of weights that the plan was made for, where the file held several.
    """

    layout: Layout
    class_name: str = ""
    generation: str = ""
    config: Mapping[str, Any] = {}
    prefix: str = ""
    lacks: str = ""
    inner: tuple[str, ...] = ()
    state_dict: str | None = None


class Plan(NamedTuple):
    """A total plan; made by `plan_of` and `plan_without_changes` alone.

    ``operations`` stand in the order of the target layout, drops last. ``loses`` says in sentences what the target
    does not do as the source did.
    """

    source: PlanEnd
    target: PlanEnd
    operations: tuple[Operation, ...]
    loses: tuple[str, ...] = ()

    @property
    def changes(self) -> tuple[Operation, ...]:
        """Every operation but those that leave a tensor as it is, name included."""
        return tuple([row for row in self.operations if type(row) is not Rename or row.source != row.target])

    @property
    def prefix_rows(self) -> tuple[str, ...]:
        """What happens to all names at once, beyond the usual wrappers: prefixes off or on, wrappers out; a row each.

        Examples
        --------
        >>> side = PlanEnd({"w": TensorSpec((2,))}, prefix="net.", inner=("a._fsdp_wrapped_module.",))
        >>> plan_of(side, side, [Rename("w", "w")]).prefix_rows
        ('net.* -> *', 'a._fsdp_wrapped_module.* -> a.*')
        """
        source = self.source
        if is_recognised(View(source.prefix, {}, inner=source.inner, lacks=source.lacks)):
            return ()
        front = (f"{source.prefix}* -> {source.lacks}*",) if source.prefix or source.lacks else ()
        parents = [path[:-1].rpartition(".")[0] for path in fold(source.inner)]
        inner = zip(fold(source.inner), (f"{parent}." if parent else "" for parent in parents), strict=True)
        return (*front, *(f"{path}* -> {parent}*" for path, parent in inner))

    def count(self, kind: type) -> int:
        """Count the changes of one kind of operation.

        Examples
        --------
        >>> side = PlanEnd({"w": TensorSpec((2,))})
        >>> plan_of(side, side, [Rename("w", "w")]).count(Rename)
        0
        """
        return sum(isinstance(row, kind) for row in self.changes)


def plan_of(source: PlanEnd, target: PlanEnd, operations: Iterable[Operation], *, loses: Iterable[str] = ()) -> Plan:
    """Make a plan, or say why there is none.

    Parameters
    ----------
    source, target : PlanEnd
        Where it starts and where it ends.
    operations : Iterable[Operation]
        Rows in any order.
    loses : Iterable[str], optional
        What the target does not do as the source did.

    Raises
    ------
    PlanRefused
        Where a tensor of either side is not named exactly once, or an operation does not give what the target needs.

    Examples
    --------
    >>> here, there = PlanEnd({"a": TensorSpec((2,))}), PlanEnd({"b": TensorSpec((2,))})
    >>> plan_of(here, there, [Rename("a", "b")]).operations
    (Rename(source='a', target='b'),)
    >>> plan_of(here, there, [])
    Traceback (most recent call last):
    viscy_compat.errors.PlanRefused: no total plan: a (source): no operation takes it; b (target): no operation gives it
    """
    # 0 and 0.0 are the same value, so that equal plans are written alike
    same = (row._replace(value=float(row.value)) if isinstance(row, Fill) else row for row in operations)
    rows = _in_order(same, source.layout, target.layout)
    leftovers = leftovers_of(rows, source.layout, target.layout)
    if leftovers:
        raise PlanRefused(f"no total plan: {list_leftovers(leftovers)}", leftovers=leftovers)
    return Plan(source, target=target, operations=rows, loses=tuple(loses))


def plan_without_changes(source: PlanEnd, target: PlanEnd, *, loses: Iterable[str] = ()) -> Plan:
    """Return the plan between two ends of one layout that leaves each tensor as it is: total, since each is named once.

    Examples
    --------
    >>> end = PlanEnd({"w": TensorSpec((2,)), "b": TensorSpec((3,))})
    >>> plan_without_changes(end, end) == plan_of(end, end, identity_rows(end.layout))
    True
    >>> plan_without_changes(end, PlanEnd({"w": TensorSpec((2,))}))
    Traceback (most recent call last):
    ValueError: the two ends have different layouts
    """
    if source.layout != target.layout:
        raise ValueError("the two ends have different layouts")
    return Plan(source, target=target, operations=identity_rows(target.layout), loses=tuple(loses))


def leftovers_of(rows: Iterable[Operation], source: Layout, target: Layout) -> tuple[tuple[str, str], ...]:
    """Return every tensor that keeps rows from being a total plan, with the reason; empty where they are one.

    Examples
    --------
    >>> leftovers_of([Rename("a", "a")], {"a": TensorSpec((2,))}, {"a": TensorSpec((3,))})
    (('a', '(2,) float32 does not fit (3,) float32'),)
    """
    rows = tuple(rows)
    leftovers = [
        *_miscounts([name for row in rows for name in sources_of(row)], source, "source", "takes"),
        *_miscounts([name for row in rows for name in targets_of(row)], target, "target", "gives"),
    ]
    for row in rows:
        # that a source is missing was said already
        if any(name not in source for name in sources_of(row)):
            continue
        result = result_of(row, source)
        if isinstance(result, str):
            leftovers.append(((sources_of(row) or targets_of(row))[0], result))
            continue
        unlike = [(name, spec) for name, spec in result.items() if name in target and target[name] != spec]
        leftovers += [(name, f"{spec} does not fit {target[name]}") for name, spec in unlike]
    return tuple(leftovers)


def list_leftovers(leftovers: Iterable[tuple[str, str]]) -> str:
    """Return leftovers as one line, grouped by reason, names folded and escaped.

    Examples
    --------
    >>> list_leftovers([("a.0", "lost"), ("a.1", "lost")])
    'a.{0..1}: lost'
    """
    groups: dict[str, list[str]] = {}
    for name, reason in leftovers:
        groups.setdefault(reason, []).append(name)
    lines = []
    for reason, names in groups.items():
        side, _, rest = reason.partition("|")
        names_in_short = printable(", ".join(fold(dict.fromkeys(names))))
        # a reason that a plan file states may hold a bar of its own
        has_side = side in ("source", "target")
        lines.append(f"{names_in_short} ({side}): {rest}" if has_side else f"{names_in_short}: {reason}")
    return "; ".join(lines)


def identity_rows(layout: Layout) -> tuple[Operation, ...]:
    """Return the rows that leave every tensor as it is.

    Examples
    --------
    >>> identity_rows({"w": TensorSpec((2,))})
    (Rename(source='w', target='w'),)
    """
    return tuple(records_of(Rename, layout, layout))


def with_casts(rows: Iterable[Operation], source: Layout, target: Layout) -> tuple[Operation, ...]:
    """Turn renames of floats of 16 and 8 bits into casts where the target is float32, and of counters where it is int64.

    Examples
    --------
    >>> with_casts([Rename("w", "w")], {"w": TensorSpec((2,), "float16")}, {"w": TensorSpec((2,))})
    (Cast(source='w', target='w', dtype='float32'),)
    """
    rows_with_casts: list[Operation] = []
    for row in rows:
        # what one of the layouts lacks is a leftover, which `plan_of` tells
        if isinstance(row, Rename) and row.source in source and row.target in target:
            spec, dtype = source[row.source], target[row.target].dtype
            casts = casts_exactly(spec.dtype, dtype, spec.shape)
            rows_with_casts.append(Cast(row.source, row.target, dtype) if casts else row)
        else:
            rows_with_casts.append(row)
    return tuple(rows_with_casts)


def result_of(row: Operation, source: Layout) -> dict[str, TensorSpec] | str:
    """Return the tensors that an operation gives for a source layout, or the reason why it cannot.

    Examples
    --------
    >>> result_of(Transpose("w", "v", (1, 0)), {"w": TensorSpec((2, 3))})
    {'v': TensorSpec(shape=(3, 2), dtype='float32')}
    >>> result_of(Cast("w", "w"), {"w": TensorSpec((2,), "float64")})
    'float64 cannot be cast to float32 without loss'
    """
    if isinstance(row, Fill):
        # not-a-number and the infinities
        if row.value - row.value != 0:
            return f"{row.value} is no value to fill with"
        if row.dtype == "float32":
            return {row.target: TensorSpec(row.shape, row.dtype)}
        if row.dtype not in ("int64", "int32", "uint8", "bool"):
            return f"{row.dtype} cannot be filled"
        if row.value != int(row.value):
            return f"{row.value} is no {row.dtype}"
        return {row.target: TensorSpec(row.shape, row.dtype)}
    specs = [source[name] for name in sources_of(row)]
    if isinstance(row, Drop):
        return {}
    if isinstance(row, Concat):
        return _result_of_concat(row, specs)
    return _results_of_split(row, specs[0]) if isinstance(row, Split) else _result_of_one(row, specs[0])


def inverse_of(plan: Plan) -> Plan:
    """Return the plan that leads back.

    A fill is undone by a drop that demands the filled value; a drop of that kind by a fill. Other drops, and casts,
    have no inverse.

    Raises
    ------
    PlanRefused
        Where an operation has no inverse: each is listed with the reason.

    Examples
    --------
    >>> there = plan_of(PlanEnd({"a": TensorSpec((2, 3))}), PlanEnd({"b": TensorSpec((6,))}), [Reshape("a", "b", (6,))])
    >>> inverse_of(there).operations
    (Reshape(source='b', target='a', shape=(2, 3)),)
    >>> inverse_of(inverse_of(there)) == there
    True
    """
    reasons = []
    for row in plan.operations:
        if isinstance(row, Drop) and row.holding is None:
            reasons.append((row.source, f"it was dropped ({row.reason}), and its numbers are gone"))
        if isinstance(row, Cast):
            # its numbers are all there; what a training wrote since need not be any that the narrow type has
            reasons.append(
                (row.target, f"it was cast to {row.dtype}, and casting back could round what was written since")
            )
    if reasons:
        raise PlanRefused(f"the plan cannot be reversed: {list_leftovers(reasons)}", leftovers=tuple(reasons))
    rows = [_inverse(row, plan.source.layout) for row in plan.operations]
    return plan_of(plan.target, plan.source, rows, loses=plan.loses)


def require_fit(plan: Plan, layout: Layout) -> None:
    """Make sure that a plan was made for a layout; the order of the tensors does not matter.

    Raises
    ------
    PlanRefused
        Listing every tensor in which they differ.

    Examples
    --------
    >>> side = PlanEnd({"w": TensorSpec((2,))})
    >>> require_fit(plan_of(side, side, [Rename("w", "w")]), {"v": TensorSpec((2,))})
    Traceback (most recent call last):
    viscy_compat.errors.PlanRefused: the plan was made for another layout: w: not in the file; v: not in the plan
    """
    differing = differences(layout, plan.source.layout)
    misfits = (
        *((name, "not in the file") for name in differing.missing),
        *((name, "not in the plan") for name in differing.unexpected),
        *((pair.name, f"{pair.found} in the file, {pair.expected} in the plan") for pair in differing.reshaped),
        *((pair.name, f"{pair.found} in the file, {pair.expected} in the plan") for pair in differing.retyped),
    )
    if misfits:
        raise PlanRefused(f"the plan was made for another layout: {list_leftovers(misfits)}", leftovers=misfits)


def layout_digest(layout: Layout) -> str:
    """Return the SHA-256 of a layout's names, shapes and dtypes, whatever their order.

    Examples
    --------
    >>> a, b = TensorSpec((2,)), TensorSpec((3,))
    >>> layout_digest({"a": a, "b": b}) == layout_digest({"b": b, "a": a}) != layout_digest({"a": a})
    True
    """
    import hashlib

    # sorted: the same layout in another order is the same layout
    lines = sorted(f"{name!a} {spec.dtype} {spec.shape}\n" for name, spec in layout.items())
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogatepass")).hexdigest()


def _in_order(rows: Iterable[Operation], source: Layout, target: Layout) -> tuple[Operation, ...]:
    """Order rows by their first target, then drops by their source, so that equal plans have equal rows."""
    places = {name: place for place, name in enumerate(target)}
    drops = {name: len(target) + place for place, name in enumerate(source)}
    last = len(places) + len(drops)

    def place_of(row: Operation) -> int:
        if isinstance(row, Drop):
            return drops.get(row.source, last)
        # a split gives several: it stands where its first one does
        return min((places.get(name, last) for name in targets_of(row)), default=last)

    return tuple(sorted(rows, key=place_of))


def _miscounts(names: list[str], layout: Layout, side: str, verb: str) -> Iterable[tuple[str, str]]:
    counts = dict.fromkeys(layout, 0)
    for name in names:
        if name not in counts:
            yield name, f"{side}|there is no such tensor"
        counts[name] = counts.get(name, 0) + 1
    for name in layout:
        if not counts[name]:
            yield name, f"{side}|no operation {verb} it"
        elif counts[name] > 1:
            yield name, f"{side}|{counts[name]} operations name it"


def _result_of_one(row: Rename | Cast | Reshape | Transpose, spec: TensorSpec) -> dict[str, TensorSpec] | str:
    """Return what becomes of one tensor that stays one, or the reason why it cannot."""
    if isinstance(row, Cast):
        if not casts_exactly(spec.dtype, row.dtype, spec.shape):
            return f"{spec.dtype} cannot be cast to {row.dtype} without loss"
        return {row.target: TensorSpec(spec.shape, row.dtype)}
    if isinstance(row, Reshape):
        spec_after = TensorSpec(row.shape, spec.dtype)
        # -1 is "work it out" to torch: a plan states every size
        if min(row.shape, default=1) < 0 or spec_after.elements != spec.elements:
            return f"{spec} cannot be reshaped to {row.shape}"
        return {row.target: spec_after}
    if isinstance(row, Transpose):
        if sorted(row.axes) != list(range(len(spec.shape))):
            return f"{row.axes} does not permute the axes of {spec}"
        return {row.target: TensorSpec(tuple(spec.shape[axis] for axis in row.axes), spec.dtype)}
    return {row.target: spec}


def _results_of_split(row: Split, spec: TensorSpec) -> dict[str, TensorSpec] | str:
    fits = 0 <= row.axis < len(spec.shape) and len(row.sizes) == len(row.targets) and min(row.sizes, default=-1) >= 0
    if not fits or sum(row.sizes) != spec.shape[row.axis]:
        return f"{spec} cannot be split into {row.sizes} along axis {row.axis}"
    return {
        name: TensorSpec(_resize(spec.shape, row.axis, size), spec.dtype)
        for name, size in zip(row.targets, row.sizes, strict=True)
    }


def _result_of_concat(row: Concat, specs: list[TensorSpec]) -> dict[str, TensorSpec] | str:
    first = specs[0]
    # all sizes but those along the axis must agree: with the axis at 0 they can be compared as a set
    rest = {_resize(spec.shape, row.axis, 0) if 0 <= row.axis < len(spec.shape) else None for spec in specs}
    if None in rest or len(rest) != 1 or len({spec.dtype for spec in specs}) != 1:
        return f"{' and '.join(map(str, specs))} cannot be joined along axis {row.axis}"
    length = sum(spec.shape[row.axis] for spec in specs)
    return {row.target: TensorSpec(_resize(first.shape, row.axis, length), first.dtype)}


def _resize(shape: tuple[int, ...], axis: int, size: int) -> tuple[int, ...]:
    return (*shape[:axis], size, *shape[axis + 1 :])


def _inverse(row: Operation, source: Layout) -> Operation:
    if isinstance(row, Rename):
        return Rename(row.target, row.source)
    if isinstance(row, Fill):
        # the value goes along, so that what was trained since is not thrown away unseen
        return Drop(row.target, row.reason, row.value)
    if isinstance(row, Drop) and row.holding is not None:
        spec = source[row.source]
        return Fill(row.source, shape=spec.shape, dtype=spec.dtype, value=row.holding, reason=row.reason)
    if isinstance(row, Reshape):
        return Reshape(row.target, row.source, source[row.source].shape)
    if isinstance(row, Transpose):
        return Transpose(row.target, row.source, tuple(row.axes.index(axis) for axis in range(len(row.axes))))
    if isinstance(row, Split):
        return Concat(row.targets, row.source, row.axis)
    if isinstance(row, Concat):
        sizes = tuple(source[name].shape[row.axis] for name in row.sources)
        return Split(row.target, targets=row.sources, axis=row.axis, sizes=sizes)
    raise TypeError(f"no inverse of {row!r}")

"""What is around the weights: wrapper prefixes, in any nesting and position."""

from __future__ import annotations

from viscy_compat.annotations import Iterable, Mapping
from viscy_compat.checkpoint.facts import Checkpoint, View
from viscy_compat.layout import Layout

_PREFIXES = ("model.", "module.", "_orig_mod.")
"""Lightning's attribute for the network, DistributedDataParallel's, torch.compile's."""

_FRAMEWORKS = frozenset(
    {"_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module", "_orig_mod", "module"}
)
"""Modules that frameworks put around others: FSDP, activation checkpointing, Lightning's strategies, compile, DDP."""

_INNER = ("module", "_orig_mod")
_NESTING = 8
"""Wrappers around wrappers: Lightning, DDP, compile and FSDP in turn make four."""
_COMPARISONS = 2_000_000
"""Names compared with wrappers at most: those of a hostile file could hold one each."""


def views_of(checkpoint: Checkpoint) -> tuple[View, ...]:
    """Return every way to take wrapper prefixes off, the default one (`Wrapper.prefix`) first.

    A class may itself have a child called ``model`` (BetaVaeMonai has), so a prefix is certain only once the rest is
    recognised: try the views in turn.

    Examples
    --------
    >>> from viscy_compat.checkpoint.facts import Wrapper
    >>> keys = dict.fromkeys(["model.module.w", "model.module.b"])
    >>> wrapper = Wrapper("plain", "model.module.")
    >>> checkpoint = Checkpoint(path="a.pt", format="torch-zip", files=(), tensors=keys, wrapper=wrapper)
    >>> [(view.prefix, view.inner) for view in views_of(checkpoint)]
    [('model.module.', ()), ('', ('model.module.',)), ('', ()), ('model.', ())]
    """
    if checkpoint.views is None:
        raw, usual = list(checkpoint.tensors), checkpoint.wrapper.prefix
        prefixes = [usual, *(prefix for prefix in common_prefixes(raw) if prefix != usual)]
        checkpoint.views = tuple(view for prefix in prefixes for view in _views_below(raw, prefix))
    return checkpoint.views


def layout_of(checkpoint: Checkpoint, view: View) -> Layout:
    """Return the ordered layout of one view, which is computed once: it is asked for at every step of a judgement."""
    known = checkpoint.layouts.get(id(view))
    if known is None:
        tensors = checkpoint.tensors
        known = view, {name: tensors[key].spec for name, key in view.keys.items()}
        checkpoint.layouts[id(view)] = known
    return known[1]


def names_without_wrappers(keys: Iterable[str]) -> dict[str, str]:
    """Return raw keys by their names without the wrappers of frameworks, wherever in a name they stand.

    Where two names would become one, all are left as they are.

    Examples
    --------
    >>> names_without_wrappers(["net._fsdp_wrapped_module.encoder._checkpoint_wrapped_module.w"])
    {'net.encoder.w': 'net._fsdp_wrapped_module.encoder._checkpoint_wrapped_module.w'}
    """
    raw = list(keys)
    text = "\n".join(raw)
    # one look at all of them: most files have none, and each name is a call otherwise
    if "module." not in text and "_orig_mod." not in text:
        return dict(zip(raw, raw, strict=True))
    names = {}
    for key in raw:
        *parents, last = key.split(".") if "module." in key or "_orig_mod." in key else [key]
        names[".".join([*(part for part in parents if part not in _FRAMEWORKS), last])] = key
    return names if len(names) == len(raw) else {key: key for key in raw}


def view_below(
    names: Mapping[str, str], prefix: str, *, lacks: str = "", witness: str = "", raw: Iterable[str] = ()
) -> View:
    """Return the view of the names below a prefix, with the wrappers of frameworks taken out.

    Parameters
    ----------
    names : Mapping[str, str]
        Raw keys by their names without wrappers (`names_without_wrappers`), of those that may be in the view.
    prefix : str
        What the names begin with, wrappers taken out.
    lacks : str, optional
        What every name of the view gets in front.
    witness : str, optional
        A name that is certainly in the view: what has not the wrappers in front that it has, is outside.
    raw : Iterable[str], optional
        All raw keys; those that are not in the view are outside of it.

    Examples
    --------
    >>> view = view_below(names_without_wrappers(["_forward_module.net.w", "other"]), "net.", raw=["other"])
    >>> view.prefix, view.keys, view.outside
    ('_forward_module.net.', {'w': '_forward_module.net.w'}, ('other',))
    """
    least = _raw_prefix([names[witness]], prefix) if witness else ""
    within = ((name, key) for name, key in names.items() if name.startswith(prefix) and key.startswith(least))
    keys = {name[len(prefix) :]: key for name, key in within}
    in_view = set(keys.values())
    front = _raw_prefix(list(keys.values()), prefix)
    inner: dict[str, None] = {}
    for name, key in keys.items():
        parts = key[len(front) :].split(".") if key[len(front) :] != name else []
        for place, part in enumerate(parts[:-1], 1):
            if part in _FRAMEWORKS:
                inner[".".join(parts[:place]) + "."] = None
    outside = tuple(key for key in raw if key not in in_view)
    names_to_keys = {lacks + name: key for name, key in keys.items()}
    return View(front, keys=names_to_keys, outside=outside, inner=tuple(inner), lacks=lacks)


def is_recognised(view: View) -> bool:
    """Say whether all that was taken off are the wrappers of the contract: `model.`, `module.`, `_orig_mod.`.

    Examples
    --------
    >>> is_recognised(View("model._orig_mod.", {})), is_recognised(View("net.", {}))
    (True, False)
    """
    parts = {part for path in view.inner for part in path.split(".")} & _FRAMEWORKS
    is_usual = {f"{part}." for part in view.prefix.split(".")[:-1]} <= {*_PREFIXES}
    return is_usual and parts <= {*_INNER} and not view.lacks


def _raw_prefix(keys: list[str], prefix: str) -> str:
    """Return the longest beginning that all keys share and that is a prefix once wrappers are taken out."""
    first = keys[0].split(".") if keys else []
    # a part may be empty: who puts `prefix + "."` in front of each name may have had none
    best, sought = "", prefix.removesuffix(".").split(".") if prefix else []
    for depth in range(len(first)):
        parts = [part for part in first[:depth] if part not in _FRAMEWORKS or part in sought]
        front = "".join(f"{part}." for part in first[:depth])
        if parts == sought and all(key.startswith(front) for key in keys):
            best = front
    return best


def default_prefix(keys: Iterable[str], kind: str) -> str:
    """Return the prefix to take off first: every ``module.`` and ``_orig_mod.``, and Lightning's one ``model.``.

    Examples
    --------
    >>> default_prefix(["model._orig_mod.model.w"], "lightning")
    'model._orig_mod.'
    """
    best = ""
    for prefix in common_prefixes(list(keys)):
        if prefix.split(".").count("model") <= (kind == "lightning"):
            best = prefix
    return best


def common_prefixes(keys: list[str]) -> list[str]:
    """Return the wrapper prefixes that hold most keys, shortest (empty) first.

    Examples
    --------
    >>> common_prefixes(["module.model.w", "module.model.b", "n_averaged"])
    ['', 'module.', 'module.model.']
    """
    prefixes, text = [""], "\n".join(["", *keys])
    # One text with a name on each line is searched in a tenth of the time that a look at each name takes.
    is_one_a_line = text.count("\n") == len(keys)
    while len(prefixes) <= _NESTING:
        longer = [prefixes[-1] + part for part in _PREFIXES]
        counts = [
            text.count(f"\n{prefix}") if is_one_a_line else sum(key.startswith(prefix) for key in keys)
            for prefix in longer
        ]
        if 2 * max(counts) <= len(keys):
            break
        prefixes.append(longer[counts.index(max(counts))])
    return prefixes


def _views_below(raw: list[str], prefix: str) -> list[View]:
    """Return the view of a prefix; where wrappers sit further in, the view without them comes first."""
    keys = (
        {key[len(prefix) :]: key for key in raw if key.startswith(prefix)}
        if prefix
        else dict(zip(raw, raw, strict=True))
    )
    outside = tuple(key for key in raw if not key.startswith(prefix)) if len(keys) < len(raw) else ()
    plain = View(prefix, keys, outside)
    inner = _inner_wrappers(list(keys))
    if not inner:
        return [plain]
    # the innermost first: what stands in front of it is still what its path says
    innermost_first = sorted(inner, key=len, reverse=True)
    names = {}
    for name, key in keys.items():
        bare = name
        for path in innermost_first:
            if bare.startswith(path):
                bare = path[:-1].rpartition(".")[0] + "." + bare[len(path) :]
        names[bare] = key
    return [View(prefix, names, outside, inner), plain] if len(names) == len(keys) else [plain]


def _inner_wrappers(names: list[str]) -> tuple[str, ...]:
    """Return ``parent.module.`` and ``parent._orig_mod.`` where the parent has no other child."""
    text = "\n".join(names)
    if ".module." not in text and "._orig_mod." not in text:
        return ()
    candidates = [name for name in names if ".module." in name or "._orig_mod." in name]
    paths: dict[str, None] = {}
    for name in candidates:
        parts = name.split(".")
        for place, part in enumerate(parts[1:-1], 1):
            if part in _INNER:
                paths[".".join(parts[: place + 1]) + "."] = None
    if len(paths) * len(names) > _COMPARISONS:
        return ()
    return tuple(path for path in paths if _is_only_child(path, names))


def _is_only_child(inner: str, names: list[str]) -> bool:
    parent = inner[:-1].rpartition(".")[0] + "."
    return all(name.startswith(inner) for name in names if name.startswith(parent))

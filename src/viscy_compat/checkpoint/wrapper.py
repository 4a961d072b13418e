"""What is around the weights: wrapper prefixes, in any nesting and position."""

from __future__ import annotations

from collections.abc import Iterable

from viscy_compat.checkpoint.facts import View, Wrapper

_PREFIXES = ("model.", "module.", "_orig_mod.")
_INNER = ("module", "_orig_mod")
_NESTING = 8
_COMPARISONS = 2_000_000


def views_of(keys: Iterable[str], wrapper: Wrapper) -> tuple[View, ...]:
    """Return every way to take wrapper prefixes off, the default one (`Wrapper.prefix`) first.

    Examples
    --------
    >>> views = views_of(["model.module.w", "model.module.b"], Wrapper("plain", "model.module."))
    >>> [(view.prefix, view.inner) for view in views]
    [('model.module.', ()), ('', ('model.module.',)), ('', ()), ('model.', ())]
    """
    raw = list(keys)
    prefixes = [wrapper.prefix, *(prefix for prefix in common_prefixes(raw) if prefix != wrapper.prefix)]
    return tuple(view for prefix in prefixes for view in _views_below(raw, prefix))


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
    prefixes = [""]
    while len(prefixes) <= _NESTING:
        longer = [prefixes[-1] + part for part in _PREFIXES]
        counted = [(sum(key.startswith(prefix) for key in keys), prefix) for prefix in longer]
        count, prefix = max(counted, key=lambda pair: pair[0])
        if 2 * count <= len(keys):
            break
        prefixes.append(prefix)
    return prefixes


def _views_below(raw: list[str], prefix: str) -> list[View]:
    """Return the view of a prefix; where wrappers sit further in, the view without them comes first."""
    keys = {key[len(prefix) :]: key for key in raw if key.startswith(prefix)}
    outside = tuple(key for key in raw if not key.startswith(prefix))
    plain = View(prefix, keys, outside)
    inner = _inner_wrappers(list(keys))
    if not inner:
        return [plain]
    innermost_first = sorted(inner, key=len, reverse=True)
    unwrapped = {_without(name, innermost_first): key for name, key in keys.items()}
    return [View(prefix, unwrapped, outside, inner), plain] if len(unwrapped) == len(keys) else [plain]


def _inner_wrappers(names: list[str]) -> tuple[str, ...]:
    """Return ``parent.module.`` and ``parent._orig_mod.`` where the parent has no other child."""
    marked = [name for name in names if ".module." in name or "._orig_mod." in name]
    found: dict[str, None] = {}
    for name in marked:
        parts = name.split(".")
        for place, part in enumerate(parts[1:-1], 1):
            if part in _INNER:
                found[".".join(parts[: place + 1]) + "."] = None
    if len(found) * len(names) > _COMPARISONS:
        return ()
    return tuple(inner for inner in found if _is_only_child(inner, names))


def _is_only_child(inner: str, names: list[str]) -> bool:
    parent = inner.rpartition(".")[0].rpartition(".")[0] + "."
    return all(name.startswith(inner) for name in names if name.startswith(parent))


def _without(name: str, innermost_first: list[str]) -> str:
    for path in innermost_first:
        if name.startswith(path):
            parent = path[:-1].rpartition(".")[0] + "."
            name = parent + name[len(path) :]
    return name

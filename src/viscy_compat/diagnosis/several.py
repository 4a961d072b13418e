"""Files that hold several sets of weights, or one behind an unusual prefix: found, listed and compared.

Imported only where a file is not simply one state dict of a known class.
"""

from __future__ import annotations

from viscy_compat.annotations import Iterable, Iterator
from viscy_compat.architectures import find
from viscy_compat.architectures.inference import Inference, infer
from viscy_compat.architectures.places import Place, first_name, places_of
from viscy_compat.checkpoint.address import Address, select_set
from viscy_compat.checkpoint.facts import Checkpoint, StoredTensor, View, WeightsFacts
from viscy_compat.checkpoint.wrapper import layout_of, names_without_wrappers, view_below
from viscy_compat.diagnosis.weight_set import SetChoice, WeightSet, plausible_views, whole_set
from viscy_compat.errors import UnreadableCheckpoint
from viscy_compat.layout import Layout

_FEW = 8
"""Tensors of no known class below one name that are a set of weights, and not what a loss keeps."""

_MOST_SITES = 16
"""State dicts of one file that are looked into, a pass over all names each; what holds more is a row of snapshots."""


def choose_among(checkpoint: Checkpoint, class_name: str = "") -> SetChoice:
    """Find the sets of a file, and choose the one that is meant; see `viscy_compat.diagnosis.sets.choose_set`."""
    here = sets_in(checkpoint, class_name)
    if checkpoint.base is not None:
        here = _beside(here, sets_in(select_set(checkpoint, checkpoint.site), class_name))
    elsewhere = tuple(_elsewhere(checkpoint, class_name, here))
    everything = (*here, *elsewhere)
    if not checkpoint.decided:
        candidates = [row for row in everything if row.inference or row.likely]
        pick = candidates[0] if len(candidates) == 1 and candidates[0].inference else None
        return SetChoice(pick, "it is the only set of a known class in this file" if pick else "", everything)
    exact = [row for row in here if checkpoint.base is not None and row.address == checkpoint.address]
    within = exact or here
    if checkpoint.base is not None and not exact:
        # of a part that was asked for: what is wholly in it; and at the top what no prefix stands in front of
        inside = [row for row in here if all(key in checkpoint.tensors for key in row.view.keys.values())]
        within = [row for row in inside if checkpoint.base != "" or not row.view.prefix]
    pick, why = _within(within)
    return SetChoice(pick, _why(checkpoint) if pick and not why and len(everything) > 1 else why, everything)


def _beside(here: list[WeightSet], whole: list[WeightSet]) -> list[WeightSet]:
    """Return the sets of a whole state dict; those that were looked at for themselves stand in for their equals."""
    taken = {key for row in here for key in row.view.keys.values()}
    others = [row for row in whole if not taken.intersection(row.view.keys.values())]
    if not others and len(here) == 1:
        return [here[0]._replace(address=here[0].checkpoint.site)]
    site = here[0].checkpoint.site
    return _told_apart([*(row._replace(address=str(Address(site, row.view.prefix))) for row in here), *others])


def _told_apart(rows: list[WeightSet]) -> list[WeightSet]:
    """Name a copy by the first name of its class where another one stands at the same place without it."""
    bare = {row.view.prefix for row in rows if row.view.lacks}
    return [
        row._replace(address=f"{row.address}{next(iter(row.view.keys)).partition('.')[0]}.")
        if row.view.prefix in bare and row.inference and not row.view.lacks and ":" in row.address
        else row
        for row in rows
    ]


def _within(sets: list[WeightSet]) -> tuple[WeightSet | None, str]:
    candidates = [row for row in sets if row.inference]
    if len(sets) == 1:
        return sets[0], ""
    if len(candidates) == 1 and not any(row.likely for row in sets):
        return candidates[0], "it is the only set of a known class in this state dict"
    if (
        candidates
        and not any(row.likely for row in sets)
        and all(is_copy(row, candidates[0]) for row in candidates[1:])
    ):
        return candidates[0], "the sets of a known class in this state dict are the same bytes"
    return None, ""


def is_copy(row: WeightSet, other: WeightSet) -> bool:
    """Say whether two sets are the same bytes, as far as that can be seen without reading them."""
    return row.layout == other.layout and bool(same_bytes(row, other))


def _why(checkpoint: Checkpoint) -> str:
    if checkpoint.stated:
        return "it was stated"
    if checkpoint.wrapper.kind == "lightning":
        return "Lightning loads this one"
    if checkpoint.site == "state_dict":
        return "loaders take 'state_dict' where nothing else is asked for"
    return "loaders take the top of the file where nothing else is asked for" if not checkpoint.site else ""


def sets_in(checkpoint: Checkpoint, class_name: str = "") -> list[WeightSet]:
    """Return the sets of one state dict: those of a known class, then what else stands there in number.

    A state dict in which nothing is known is one set.
    """
    whole = whole_set(checkpoint, class_name)
    if whole is not None and not whole.view.outside:
        return [whole]
    names = names_without_wrappers(checkpoint.tensors)
    places = places_of(names, class_name)
    sets = list(_known_sets(checkpoint, names, places))
    # a few tensors outside of a whole set are a loss or a metric, no second set
    if whole is not None and len(sets) < 2 and len(whole.view.outside) < _FEW:
        return [whole]
    if not sets:
        return [whole or _stranger(checkpoint, likely=bool(places))]
    rest = list(_unknown_sets(checkpoint, sets))
    if len(sets) == 1 and not rest:
        # the only set of a state dict has all that stands beside it outside of its view
        (row,) = sets
        in_view = set(row.view.keys.values())
        outside = tuple(key for key in checkpoint.tensors if key not in in_view)
        view = row.view._replace(outside=outside)
        return [row._replace(checkpoint=checkpoint, view=view, address=checkpoint.address)]
    return [*sets, *rest]


def _stranger(checkpoint: Checkpoint, *, likely: bool) -> WeightSet:
    """Return a state dict in which nothing is known, as one set."""
    view = plausible_views(checkpoint)[0]
    if checkpoint.base and not view.prefix.startswith(checkpoint.base):
        view = view_below({key: key for key in checkpoint.tensors}, checkpoint.base)
    return WeightSet(checkpoint, view=view, inference=None, address=checkpoint.address, likely=likely)


def views_to_try(checkpoint: Checkpoint, class_name: str) -> list[View]:
    """Return the views in which something near a known class may be seen, the usual ones first."""
    usual = plausible_views(checkpoint)
    names = names_without_wrappers(checkpoint.tensors)
    places = _plausible_places(checkpoint, names, places_of(names, class_name))[:_FEW]
    views = [_view_at(place, names, raw=checkpoint.tensors) for place in places]
    if checkpoint.base:
        views.append(view_below(names, checkpoint.base, raw=checkpoint.tensors))
    key_lists = [tuple(view.keys) for view in usual]
    return [*usual, *(view for view in views if view.keys and tuple(view.keys) not in key_lists)]


def _known_sets(checkpoint: Checkpoint, names: dict[str, str], found: list[Place]) -> Iterator[WeightSet]:
    """Yield the sets of known classes below any prefix, in the order of the file; none takes a tensor of another."""
    pairs: list[tuple[View, Inference]] = []
    places = _plausible_places(checkpoint, names, found)
    for place in (*places, *places):  # once more, for what a set that was found later stood in the way of
        view = _view_at(place, _without_the_other_copy(place, names))
        inference = _infer(place, layout_of(checkpoint, view), pairs, checkpoint) if view.keys else None
        if inference:
            pairs.append((view, inference))
            used = set(view.keys.values())
            names = {name: key for name, key in names.items() if key not in used}
    pairs.extend(_dotless(checkpoint, pairs, list(names.values())))
    if len(pairs) > 1:
        first = {key: place for place, key in enumerate(checkpoint.tensors)}
        # in the order of the file, so that what is called first is what was written first
        pairs.sort(key=lambda pair: min(first[key] for key in pair[0].keys.values()))
    yield from _told_apart([_set_of(checkpoint, view, inference) for view, inference in pairs])


def _without_the_other_copy(place: Place, names: dict[str, str]) -> dict[str, str]:
    """Return names without those of a copy that stands at the same place with, or without, the class's first name."""
    first = place.lacks or first_name(place.known)
    telling = place.known.telling[0]
    other = place.prefix + (telling if place.lacks else telling[len(first) :])
    if not first or other not in names:
        return names
    inner = place.prefix + first
    return {name: key for name, key in names.items() if name.startswith(inner) != bool(place.lacks)}


def _plausible_places(checkpoint: Checkpoint, names: dict[str, str], found: list[Place]) -> list[Place]:
    """Return the places to try, of those of all names; what a LightningModule holds always stands below an attribute of it."""
    # names that seem to lack their first name have it where it is the end of what stands in front of them
    places = [place for place in found if not (place.lacks and f".{place.prefix}".endswith(f".{place.lacks}"))]
    if checkpoint.wrapper.kind != "lightning":
        return places
    below = [place for place in found if place.prefix or _view_at(place, names).prefix]
    return [place for place in below if place in places or place.prefix == place.lacks] or places


def _view_at(place: Place, names: dict[str, str], raw: Iterable[str] = ()) -> View:
    """Return the view of a place; empty where its witness belongs to another set."""
    if place.witness not in names:
        return View(place.prefix, {})
    return view_below(names, place.prefix, lacks=place.lacks, witness=place.witness, raw=raw)


def _infer(
    place: Place, layout: Layout, pairs: list[tuple[View, Inference]], checkpoint: Checkpoint
) -> Inference | None:
    """Infer what stands at a place; what has the layout of a set that is known already is the same."""
    for view, inference in pairs:
        if inference.architecture.name == place.known.name and layout_of(checkpoint, view) == layout:
            return inference
    return infer(find(place.known.name), layout)


def _set_of(checkpoint: Checkpoint, view: View, inference: Inference | None) -> WeightSet:
    """Return a set by itself: a checkpoint that holds no other tensors."""
    alone = checkpoint.below(view.prefix)
    alone.tensors = {key: checkpoint.tensors[key] for key in view.keys.values()}
    alone.unreadable = tuple(tensor for tensor in alone.unreadable if tensor.key.startswith(view.prefix))
    return WeightSet(alone, view=view, inference=inference, address=str(Address(checkpoint.site, view.prefix)))


def _dotless(
    checkpoint: Checkpoint, pairs: list[tuple[View, Inference]], rest: list[str]
) -> Iterator[tuple[View, Inference]]:
    """Yield copies whose names have lost their dots, as the averages of Stable Diffusion's trainer (``model_ema``)."""
    originals = pairs
    # a part of the state dict was asked for: what it is a copy of may stand beside it
    if not pairs and len(checkpoint.tensors) < len(checkpoint.beside):
        whole = checkpoint.below(None)
        names = names_without_wrappers(whole.tensors)
        beside = _known_sets(whole, names, places_of(names))
        originals = [(row.view, row.inference) for row in beside if row.inference]
    groups: dict[str, list[str]] = {}
    # most files have no known set, and so no copy of one
    for key in rest if originals else ():
        groups.setdefault(key.partition(".")[0] + ".", []).append(key)
    for prefix, keys in groups.items():
        for view, inference in originals if len(keys) > 1 else ():
            flat = {name.replace(".", ""): name for name in view.keys}
            names_found = {flat[key[len(prefix) :]]: key for key in keys if key[len(prefix) :] in flat}
            copy = View(prefix, {name: names_found[name] for name in view.keys if name in names_found})
            same = infer(inference.architecture, layout_of(checkpoint, copy)) if names_found else None
            if same:
                yield copy, same
                break


def _unknown_sets(checkpoint: Checkpoint, sets: list[WeightSet]) -> Iterator[WeightSet]:
    """Yield what no known class has: what has the telling names of one, then what is too much for a loss."""
    used = {key for row in sets for key in row.view.keys.values()}
    names = names_without_wrappers(key for key in checkpoint.tensors if key not in used)
    for place in _plausible_places(checkpoint, names, places_of(names)):
        view = _view_at(place, names)
        if view.keys and not used.intersection(view.keys.values()):
            used.update(view.keys.values())
            yield _set_of(checkpoint, view, None)._replace(likely=True)
    groups: dict[str, list[str]] = {}
    for key in checkpoint.tensors:
        if key not in used and "." in key:
            groups.setdefault(key.partition(".")[0] + ".", []).append(key)
    endings = [tuple(f".{name.removeprefix(other.view.lacks)}" for name in other.view.keys) for other in sets]
    for prefix, keys in groups.items():
        if len(keys) >= _FEW:
            row = _set_of(checkpoint, View(prefix, {key[len(prefix) :]: key for key in keys}), None)
            # a known class in another form, perhaps, where they share a quarter of its names; not one name: ends such as
            # `norm.weight` stand in most models
            likely = any(4 * sum(key.endswith(ends) for key in keys) >= len(ends) for ends in endings)
            yield row._replace(likely=likely)


def _elsewhere(checkpoint: Checkpoint, class_name: str, here: list[WeightSet]) -> Iterator[WeightSet]:
    """Yield the sets of the other state dicts; one that holds single numbers only is none."""
    # every state dict is read and looked through: a hostile file could hold thousands
    for site in [site for site in checkpoint.sites if site.path != checkpoint.site][:_MOST_SITES]:
        try:
            other = select_set(checkpoint, site.path)
        except UnreadableCheckpoint:
            continue
        if not any(tensor.spec.elements > 1 for tensor in other.tensors.values()):
            continue
        views = [view for view in plausible_views(other) if not view.outside]
        pairs = ((view, row) for view in views for row in here if row.layout == layout_of(other, view))
        view, row = next(pairs, (None, None))
        # with the layout of a set that is known already it is that class again: nothing is inferred anew
        if view is not None and row is not None:
            yield WeightSet(other, view=view, inference=row.inference, address=other.address)
        else:
            yield from sets_in(other, class_name)


def same_bytes(one: WeightSet, other: WeightSet) -> bool | None:
    """Say whether two sets of one layout are the same bytes, as far as storages and stored CRC-32s tell; else None."""
    pairs = (
        list(zip(_in_name_order(one), _in_name_order(other), strict=True))
        if len(one.view.keys) == len(other.view.keys)
        else []
    )
    answers = {_same(mine, theirs) for mine, theirs in pairs}
    if False in answers or not pairs:
        return False
    return None if None in answers else True


def _in_name_order(row: WeightSet) -> list[StoredTensor]:
    return [row.checkpoint.tensors[row.view.keys[name]] for name in sorted(row.view.keys)]


def _same(mine: StoredTensor, theirs: StoredTensor) -> bool | None:
    here = (mine.offset, mine.stride, mine.spec)
    there = (theirs.offset, theirs.stride, theirs.spec)
    if mine.spec.shape != theirs.spec.shape or mine.spec.dtype != theirs.spec.dtype:
        return False
    if here == there and mine.storage is theirs.storage:
        return True
    whole = mine.storage.nbytes == theirs.storage.nbytes == mine.nbytes and mine.stride == theirs.stride
    if not whole or mine.storage.crc is None or theirs.storage.crc is None:
        return None
    return mine.storage.crc == theirs.storage.crc


def in_no_set(checkpoint: Checkpoint, choice: SetChoice) -> tuple[str, ...]:
    """Name the tensors of a state dict that belong to none of its sets; none where there is one set, or one was asked for."""
    here = [row for row in choice.sets if row.checkpoint.site == checkpoint.site]
    if checkpoint.stated or len(here) < 2:
        return ()
    taken = {key for row in here for key in row.view.keys.values()}
    return tuple(key for key in checkpoint.beside if key not in taken)


def facts_of_several(choice: SetChoice) -> tuple[WeightsFacts, ...]:
    """Return what a report says about each set of a file, the judged one first."""
    pick = choice.pick or (choice.sets[0] if choice.sets else None)
    in_order = [*filter(None, [choice.pick]), *(row for row in choice.sets if row is not choice.pick)]
    return tuple(_facts(row, pick, choice) for row in in_order)


def _facts(row: WeightSet, pick: WeightSet | None, choice: SetChoice) -> WeightsFacts:
    is_pick = row is choice.pick
    alike = pick is not None and row is not pick and row.layout == pick.layout
    return WeightsFacts(
        row.address,
        class_name=row.inference.architecture.name if row.inference else "",
        generation=row.inference.generation.name if row.inference else "",
        tensors=len(row.view.keys),
        role=role_of(row.checkpoint),
        chosen=is_pick,
        why=choice.why if is_pick else "",
        same_layout=None if row is pick else alike,
        same_bytes=same_bytes(pick, row) if alike and pick else None,
        bytes=sum(row.checkpoint.tensors[key].nbytes for key in row.view.keys.values()),
    )


def role_of(checkpoint: Checkpoint) -> str:
    """Return which of the two states of an averaging callback (Lightning's, mmengine's) a state dict is; empty for others."""
    if checkpoint.site.startswith("callbacks.") and checkpoint.site.endswith(".average_model_state"):
        return "averaged"  # of `StochasticWeightAveraging`
    top = {site.path for site in checkpoint.sites}
    if {"state_dict", "ema_state_dict"} <= top and "message_hub" in checkpoint.entries:
        # mmengine 0.10.7: the hook exchanges the two while it saves, so that `ema_state_dict` is no average
        return {"state_dict": "averaged", "ema_state_dict": "in training"}.get(checkpoint.site, "")
    if checkpoint.wrapper.kind != "lightning" or not {"state_dict", "current_model_state"} <= top:
        return ""
    return "averaged" if checkpoint.site == "state_dict" else "in training"

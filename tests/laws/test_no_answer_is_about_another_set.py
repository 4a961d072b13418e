"""A file is drawn with one to three sets of weights, wrapped and nested at random, and something else beside them. The
truth is known: whatever is judged, written or loaded is the set that was meant, and nothing is judged that nobody meant.

Every set holds one number in all its elements, so that the bytes of an answer tell which set they are of.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pytest
from hypothesis import assume, event, given
from hypothesis import strategies as st

from support.assembly import lightning, mapping, storage, tensor, text, zipped
from support.layouts import layout_of
from viscy_compat.checkpoint import open_checkpoint
from viscy_compat.checkpoint.tensor_bytes import TensorReader
from viscy_compat.diagnosis import CheckResult, diagnose
from viscy_compat.layout import Layout
from viscy_compat.rewrite.remapping import remap

TOPS = ["net", "backbone", "student", "teacher", "ema", "generator", "online_model", "encoder_q", "0", "unet_model"]
INNER = ["model", "module", "_orig_mod", "_forward_module", "_fsdp_wrapped_module", "net", "1"]
SITES = ["state_dict", "state_dict_ema", "current_model_state", "model", "ema", "model_state_dict", "checkpoint.ema"]
EXTRAS = ["loss.weight", "n_averaged", "metric.total", "criterion.buffers.0"]


class Truth(NamedTuple):
    """One set: where it is, what it is, and the number that all its elements have."""

    site: str
    prefix: str
    config: dict[str, Any]
    lacks: bool
    number: int

    @property
    def layout(self) -> Layout:
        names = dict(layout_of("BetaVaeMonai", **self.config))
        return {name.removeprefix("model."): spec for name, spec in names.items()} if self.lacks else names


class Drawn(NamedTuple):
    """A file, and the truth about it."""

    sets: tuple[Truth, ...]
    extras: tuple[str, ...]
    by_lightning: bool

    def write(self, path: Path) -> None:
        data: dict[str, bytes] = {}
        places: dict[str, dict[str, bytes]] = {}
        for row in self.sets:
            entries = places.setdefault(row.site, {})
            for name, spec in row.layout.items():
                entries[row.prefix + name] = tensor(
                    spec.shape, packed(spec.shape), of=stored(data, row.number, spec.elements)
                )
            if row is self.sets[0]:
                entries.update({name: tensor((2,), (1,), of=stored(data, 99, 2)) for name in self.extras})
        path.write_bytes(zipped(self._root(places), data))

    def _root(self, places: dict[str, dict[str, bytes]]) -> bytes:
        if list(places) == [""]:
            return mapping(places[""])
        tree: dict[str, bytes] = {}
        for site, entries in places.items():
            first, _, rest = site.partition(".")
            tree[first] = mapping({rest: mapping(entries)}) if rest else mapping(entries)
        return lightning(**tree) if self.by_lightning else mapping({"note": text("best"), **tree})


def packed(shape: tuple[int, ...]) -> tuple[int, ...]:
    strides = [1]
    for size in shape[:0:-1]:
        strides.insert(0, strides[0] * size)
    return tuple(strides[: len(shape)])


def stored(data: dict[str, bytes], number: int, elements: int) -> bytes:
    key = str(len(data))
    data[key] = bytes((number, 0, 128, 63)) * elements
    return storage(key, elements=elements)


def configs() -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(
        lambda channels, latent: {
            "spatial_dims": 2,
            "in_shape": (1, 16, 16),
            "out_channels": 1,
            "latent_size": latent,
            "channels": channels,
            "strides": (2,) * len(channels),
        },
        st.sampled_from([(2, 4), (3, 5), (2, 3, 4)]),
        st.integers(2, 4),
    )


def prefixes() -> st.SearchStrategy[str]:
    inner = st.lists(st.sampled_from(INNER), max_size=2)
    return st.builds(
        lambda top, rest: "".join(f"{part}." for part in (*top, *rest)),
        st.lists(st.sampled_from(TOPS), max_size=1),
        inner,
    )


@st.composite
def files(draw: st.DrawFn) -> Drawn:
    count = draw(st.integers(1, 3))
    first = draw(configs())
    shared = draw(st.sampled_from(["", "state_dict"]))
    sets: list[Truth] = []
    for number in range(1, count + 1):
        config = first if draw(st.booleans()) else draw(configs())
        apart = number > 1 and shared and draw(st.booleans())
        site = draw(st.sampled_from(SITES[1:])) if apart else shared
        sets.append(Truth(site, draw(prefixes()), config, draw(st.integers(0, 4)) == 0, number))
    extras = tuple(draw(st.lists(st.sampled_from(EXTRAS), max_size=2, unique=True)))
    drawn = Drawn(tuple(sets), extras, bool(shared) and draw(st.booleans()))
    assume(is_clear(drawn))
    return drawn


def is_clear(drawn: Drawn) -> bool:
    """Whether the truth can be known: no set stands within the names of another, nor an extra entry among its names."""
    for row in drawn.sets:
        beside = [other for other in drawn.sets if other is not row and other.site == row.site]
        if any(other.prefix.startswith(row.prefix) or row.prefix.startswith(other.prefix) for other in beside):
            return False
        if row is drawn.sets[0] and not row.prefix and drawn.extras:
            return False
        if row.lacks and "model" in row.prefix.split("."):
            return False  # then the names do not lack it
        if drawn.by_lightning and row.site in ("state_dict", "current_model_state") and not row.prefix:
            return False
    return True


def judged(path: Path, address: str | None = None) -> CheckResult:
    return diagnose(str(path), state_dict=address).result


def truth_of(drawn: Drawn, address: str) -> Truth:
    """The set that an address means."""
    site, colon, prefix = address.partition(":")
    rows = [row for row in drawn.sets if row.site == site]
    (row,) = [row for row in rows if row.prefix == prefix] if colon else rows
    return row


def numbers_in(path: Path) -> set[int]:
    """The numbers of the sets that the tensors of a file hold, as loaders take them."""
    checkpoint = open_checkpoint(str(path))
    with TensorReader(checkpoint) as reader:
        return {next(iter(reader.chunks(each)))[0] for each in checkpoint.tensors.values() if each.spec.elements}


def expect_right(result: CheckResult, row: Truth) -> None:
    assert result.identity
    assert result.identity.class_name == "BetaVaeMonai"
    for name in ("channels", "latent_size", "spatial_dims", "out_channels"):
        assert result.identity.config[name] == row.config[name], name
    assert result.tensors >= len(row.layout)


@given(files())
def test_each_set_is_recognised_for_itself_and_none_is_judged_that_nobody_meant(drawn: Drawn) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.ckpt"
        drawn.write(path)
        result = judged(path)
        assert len(result.sets) == len(drawn.sets)
        assert sorted(truth_of(drawn, row.address).number for row in result.sets) == [row.number for row in drawn.sets]
        if result.state_dict is None:
            event("asked")
            assert (result.verdict, result.exit_code) == ("unknown", 2)
            assert len(drawn.sets) > 1
        else:
            event("judged")
            assert result.state_dict is not None
            row = truth_of(drawn, result.state_dict)
            assert len([each for each in drawn.sets if each.site == row.site]) == 1
            assert row.site in ("state_dict", "") or len(drawn.sets) == 1
            expect_right(result, row)
        for listed in result.sets:
            stated = judged(path, listed.address)
            assert stated.state_dict == listed.address
            expect_right(stated, truth_of(drawn, listed.address))


@given(files(), st.sampled_from([".safetensors", ".ckpt"]), st.data())
def test_what_is_written_is_the_set_that_was_meant(drawn: Drawn, ending: str, data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        path, out = Path(folder) / "a.ckpt", Path(folder) / f"new{ending}"
        drawn.write(path)
        listed = [row.address for row in judged(path).sets]
        address = data.draw(st.sampled_from([None, *listed]))
        report = remap(path, out, state_dict=address)
        (result,) = report.results
        if not out.exists():
            event("asked")
            assert address is None
            assert (result.verdict, report.exit_code) == ("unknown", 2)
            return
        event("written")
        assert result.state_dict is not None
        row = truth_of(drawn, result.state_dict)
        assert address in (None, result.state_dict)
        assert numbers_in(out) == {row.number}
        again = judged(out)
        assert again.verdict == "compatible"
        expect_right(again, row)


@pytest.mark.parametrize("lacks", [False, True])
def test_the_drawn_files_are_what_they_say(lacks: bool, tmp_path: Path) -> None:
    config = {
        "spatial_dims": 2,
        "in_shape": (1, 16, 16),
        "out_channels": 1,
        "latent_size": 2,
        "channels": (2, 4),
        "strides": (2, 2),
    }
    Drawn((Truth("", "net.", config, lacks, 7),), (), False).write(tmp_path / "a.ckpt")
    found = open_checkpoint(str(tmp_path / "a.ckpt"))
    assert {key.split(".")[1] == "model" for key in found.tensors} == {not lacks}
    assert numbers_in(tmp_path / "a.ckpt") == {7}

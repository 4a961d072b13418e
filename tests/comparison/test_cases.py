"""Two layouts, however different, come apart into names, shapes, dtypes and order; nothing is left unsaid."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from viscy_compat.comparison.layouts import layout_failures
from viscy_compat.layout import Layout, TensorSpec

SPECS = st.builds(TensorSpec, st.tuples(st.integers(1, 3)), st.sampled_from(["float32", "int64"]))
LAYOUTS = st.dictionaries(st.sampled_from(["a", "b.0", "b.1", "c.weight", "c.bias", "d"]), SPECS)


def expected_codes(old: Layout, new: Layout) -> set[str]:
    common = [name for name in old if name in new]
    return {
        *(["VC111"] if set(old) != set(new) else []),
        *(["VC211"] if any(old[name].shape != new[name].shape for name in common) else []),
        *(["VC212"] if any(old[name].dtype != new[name].dtype for name in common) else []),
        *(["VC112"] if common != [name for name in new if name in old] else []),
    }


@given(LAYOUTS, LAYOUTS)
def test_every_kind_of_difference_has_its_failure(old: Layout, new: Layout) -> None:
    assert {failure.code for failure in layout_failures(old, new, None)} == expected_codes(old, new)


def test_names_that_all_changed_are_names_that_changed() -> None:
    old = {f"model.{place}": TensorSpec((place,)) for place in range(20)}
    new = {f"net.{place}": TensorSpec((place,)) for place in range(20)}
    (failure,) = layout_failures(old, new, None)
    assert failure.code == "VC111"
    assert failure.keys == ("model.{0..19}", "net.{0..19}")

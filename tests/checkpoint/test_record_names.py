"""Names that one reader tells apart and another does not are two names for one record, and refused."""

from __future__ import annotations

import pytest

from viscy_compat.checkpoint.record_names import likeness_of, refuse_near_names, two_alike
from viscy_compat.errors import UnreadableCheckpoint


@pytest.mark.parametrize(
    ("name", "likeness"),
    [
        ("a/data.pkl", "a/data.pkl"),
        ("A/Data.PKL", "a/data.pkl"),
        ("a/data.pkl. .", "a/data.pkl"),
        ("a/é", "a/\u00e9"),
        ("a/e\u0301", "a/\u00e9"),
        ("a/\uff44ata", "a/data"),
        ("Straße", "strasse"),
    ],
)
def test_what_is_left_of_a_name(name: str, likeness: str) -> None:
    assert likeness_of(name) == likeness


@pytest.mark.parametrize(
    ("names", "pair"),
    [
        ([], None),
        (["a/data/0", "a/data/1"], None),
        (["a/data/0", "a/DATA/0"], ("a/data/0", "a/DATA/0")),
        (["x", "a/version", "a/version."], ("a/version", "a/version.")),
        (["a/version ", "a/version"], ("a/version ", "a/version")),
        (["é", "e\u0301"], ("é", "e\u0301")),
        (["é", "è", "a ", "b."], None),
        # the same name twice is another matter
        (["a", "a"], None),
    ],
)
def test_two_names_for_one_record_are_found(names: list[str], pair: tuple[str, str] | None) -> None:
    assert two_alike(names) == pair


@pytest.mark.parametrize("near", ["DATA.pkl", "Version", "byteorder.", ".data/serialization_ID", "constants.pkl "])
def test_a_name_that_torch_takes_for_one_of_its_records_is_refused(near: str) -> None:
    with pytest.raises(UnreadableCheckpoint) as caught:
        refuse_near_names("a.pt", "archive/", ["archive/data.pkl", f"archive/{near}"])
    assert caught.value.code == "VC490"
    assert caught.value.where.startswith("a.pt")


@pytest.mark.parametrize("name", ["data.pkl", "version", "data/DATA.pkl", "other.txt", "code/Version"])
def test_its_own_records_storages_and_strangers_stay(name: str) -> None:
    refuse_near_names("a.pt", "archive/", ["archive/byteorder", f"archive/{name}"])

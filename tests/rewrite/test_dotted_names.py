"""Entries whose names hold dots: no set of weights is taken for another, listed as another, or left in its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.assembly import mapping, tensor, zipped
from viscy_compat.checkpoint import open_checkpoint
from viscy_compat.cli import main

ONE, OTHER = {"w": tensor()}, {"v": tensor(), "u": tensor()}
FILES = {
    "the dotted one first": mapping({"a.b": mapping(ONE), "a": mapping({"b": mapping(OTHER)})}),
    "the dotted one last": mapping({"a": mapping({"b": mapping(OTHER)}), "a.b": mapping(ONE)}),
    "no other": mapping({"a.b": mapping(ONE), "a": mapping({"c": mapping(OTHER)})}),
}


def saved(folder: Path, name: str) -> str:
    (folder / "a.pt").write_bytes(zipped(FILES[name]))
    return str(folder / "a.pt")


@pytest.mark.parametrize("name", FILES)
def test_every_set_has_an_address_of_its_own(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = saved(tmp_path, name)
    assert main(["check", path]) == 2
    assert "VC445: 2 state dicts" in capsys.readouterr().out
    sites = [site.path for site in open_checkpoint(path, undecided="read").sites]
    assert sites == (["a.b", "a.c"] if name == "no other" else ["a.b", "a.b#2"])
    assert [[*open_checkpoint(path, state_dict=site).tensors] for site in sites] == [[*ONE], [*OTHER]]


@pytest.mark.parametrize("name", FILES)
def test_a_set_that_is_taken_out_leaves_the_others_out(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path, name)
    for site in [site.path for site in open_checkpoint(path, undecided="read").sites]:
        names = ONE if site == "a.b" else OTHER
        (tmp_path / "there.pt").write_bytes(zipped(mapping(names)))
        words = ["--against", str(tmp_path / "there.pt"), "--state-dict", site, "--sets", "chosen", "--force"]
        assert main(["remap", path, *words, "-o", str(tmp_path / "out.pt")]) == 0
        found = open_checkpoint(str(tmp_path / "out.pt"))
        assert (len(found.sites), [*found.tensors]) == (1, [*names])

"""Words that are printed for pasting: a shell reads each as the text that it stands for."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from viscy_compat.layout import quote_path, quote_word

NAMES = st.binary(min_size=1, max_size=12).filter(lambda name: b"\0" not in name).map(os.fsdecode)
"""What a file can be called: any bytes but a zero, as Python spells them."""
ODD = ["-x.ckpt", "--set", "=x", "a\nb.ckpt", "it's", 'a "b" `c` $d !e', "\x1b[31mé", "\u202ex", "a\\tb", "\udcff"]


def read_by_bash(words: list[str]) -> list[bytes]:
    script = f"printf '%s\\0' {' '.join(words)}"
    return subprocess.run(["bash", "-c", script], stdout=subprocess.PIPE, check=True).stdout.split(b"\0")[:-1]


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@settings(max_examples=25, deadline=None)
@given(st.lists(NAMES, min_size=1, max_size=20))
def test_bash_reads_any_name_as_it_is(names: list[str]) -> None:
    names += ODD
    assert read_by_bash(list(map(quote_word, names))) == list(map(os.fsencode, names))


@given(NAMES)
def test_no_path_is_taken_for_an_option_and_each_stays_the_same_file(name: str) -> None:
    spelled = quote_path(name)
    assert spelled[0] not in "-="
    assert spelled == quote_word(name) or (name[0] in "-=" and spelled == quote_word(f"./{name}"))
    assert spelled.isprintable()

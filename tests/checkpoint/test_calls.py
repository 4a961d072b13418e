"""A file that is no checkpoint is named with what unpickling it would call; what calls nothing is left alone."""

from __future__ import annotations

import collections
import pickle
from pathlib import Path

import pytest

from hostile.generator import MARKER
from support.assembly import Record, archive, call, list_of, mapping, name, pickled, text, zipped
from viscy_compat.checkpoint import open_checkpoint
from viscy_compat.errors import UnreadableCheckpoint

MARK = text(f"touch {MARKER}")
SYSTEM = call(name("os", "system"), MARK)
NUMPY = b"\x93NUMPY\x01\x00\x08\x00" + b"{'a': 1}"


def complaint(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(UnreadableCheckpoint) as caught:
        open_checkpoint(str(path))
    return str(caught.value)


HOSTILE = {
    "a pickle": pickled(SYSTEM),
    "a pickle of protocol 0": b"cos\nsystem\n(S'touch x'\ntR.",
    "a pickle of protocol 4": b"\x80\x04" + text("os") + text("system") + b"\x93" + MARK + b"\x85R.",
    "a broken pickle": pickled(SYSTEM)[:-1] + b"\xff",
    "a second pickle": pickled(b"N") + pickled(SYSTEM),
    "within": pickled(mapping({"a": list_of(SYSTEM)})),
    "a zip of pickles": archive([Record("a/b.pkl", pickled(b"N")), Record("a/c.pkl", pickled(SYSTEM))]),
    "a torch file without weights": zipped(SYSTEM),
    "several roots": archive([Record("a/data.pkl", pickled(SYSTEM)), Record("b/data.pkl", pickled(b"N"))]),
    "an array of objects": NUMPY + pickled(SYSTEM),
    "arrays of objects": archive([Record("a.npy", NUMPY + pickled(SYSTEM))]),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_the_call_is_named(tmp_path: Path, kind: str) -> None:
    assert ", and unpickling it would call os.system" in complaint(tmp_path / "a.bin", HOSTILE[kind])


HONEST = {
    "a pickle of data": pickle.dumps({"a": [1, 2.5, "b"], "c": collections.OrderedDict(d=1)}),
    "a text that begins like an import": b"cat\nhello\nworld (and more) to Read.\n",
    "a table": b"cos,sin\n1,2\n(3)\nR\n",
    "a zip of texts": archive([Record("a.txt", b"cos\nsystem\n")]),
    "a torch file of numbers": zipped(mapping({"a": text("b")})),
    "an array": NUMPY + bytes(64),
    "a picture": b"\x89PNG\r\n\x1a\n" + bytes(64),
}


@pytest.mark.parametrize("kind", HONEST)
def test_nothing_is_named_where_nothing_would_be_called(tmp_path: Path, kind: str) -> None:
    assert "unpickling it" not in complaint(tmp_path / "a.bin", HONEST[kind])


def test_a_class_is_said_to_be_imported(tmp_path: Path) -> None:
    said = complaint(tmp_path / "a.pkl", pickled(call(name("sklearn.svm._classes", "SVC"))))
    assert "would import sklearn.svm._classes.SVC" in said


def test_five_calls_are_counted(tmp_path: Path) -> None:
    calls = [call(name("os", f"call{place}")) for place in range(6)]
    assert "os.call0, os.call1, os.call2, os.call3 and 2 more;" in complaint(tmp_path / "a", pickled(list_of(*calls)))

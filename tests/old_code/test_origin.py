"""A source is proven where the files that can be imported are exactly the recorded ones, and not otherwise."""

from __future__ import annotations

import pytest

from viscy_compat.architectures import find
from viscy_compat.architectures.architecture import Generation, Release
from viscy_compat.old_code.origin import OldClass, old_class
from viscy_compat.old_code.tree import OldTree, blob_id

MODEL = "from viscy.unet.parts import Part\n\nclass Model(Part): ...\n"
FILES = {"viscy/model.py": MODEL, "viscy/unet/parts.py": "class Part: ...\n", "viscy/aside.py": "raise OSError\n"}
STATE = find("BetaVaeMonai").generations[-1]
RELEASE = STATE.releases[-1]._replace(
    sources={path: blob_id(FILES[path].encode()) for path in ("viscy/model.py", "viscy/unet/parts.py")}
)
GENERATION: Generation = STATE._replace(module="viscy.model", qualname="Model", releases=(RELEASE,))


def taken(files: dict[str, str], release: Release = RELEASE) -> OldClass:
    contents = {path: text.encode() for path, text in files.items()}
    return old_class(GENERATION, release, OldTree("git", "VisCy", "0" * 40, "fe7a5da^", contents))


def test_the_recorded_files_and_no_others_are_proven() -> None:
    old = taken(FILES)
    assert (old.proven, old.strange) == (True, ())
    assert set(old.source.files) == set(RELEASE.sources)


@pytest.mark.parametrize("path", ["viscy/__init__.py", "viscy/unet/__init__.py"])
def test_an_empty_init_file_is_as_good_as_none(path: str) -> None:
    assert taken({**FILES, path: ""}).proven
    recorded = RELEASE._replace(sources={**RELEASE.sources, path: blob_id(b"x = 1\n")})
    assert taken({**FILES, path: ""}, recorded).strange == (path,)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("viscy/__init__.py", "import torch; torch.relu = torch.sigmoid\n"),
        ("viscy/unet/__init__.py", "\n"),
        # a module where the recorded text only names a class: Python would ask for it where the class is missing
        ("viscy/unet/parts/Part.py", "class Part: ...\n"),
    ],
)
def test_a_file_that_is_there_besides_is_not_proven_and_named(path: str, text: str) -> None:
    old = taken({**FILES, path: text})
    assert (old.proven, old.strange) == (False, (path,))


def test_a_package_stands_before_a_module_of_its_name_as_in_python() -> None:
    other = "viscy/unet/parts/__init__.py"
    old = taken({**FILES, other: "class Part: ...\n"})
    assert (old.proven, old.strange) == (False, (other, "viscy/unet/parts.py"))
    assert "viscy/unet/parts.py" not in old.source.files


def test_a_changed_file_is_not_proven() -> None:
    assert taken({**FILES, "viscy/unet/parts.py": "class Part:\n    more = 1\n"}).strange == ("viscy/unet/parts.py",)


def test_a_recorded_file_that_nothing_imports_any_more_is_missed() -> None:
    assert taken({**FILES, "viscy/model.py": "class Model: ...\n"}).strange == ("viscy/model.py", "viscy/unet/parts.py")

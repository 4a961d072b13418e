"""A source is proven where the files that can be imported are exactly the recorded ones, and not otherwise."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from support.old_history import git
from viscy_compat.architectures import find
from viscy_compat.architectures.architecture import Generation, Release
from viscy_compat.errors import SourceUnavailable
from viscy_compat.old_code.git import from_git
from viscy_compat.old_code.origin import OldClass, old_class
from viscy_compat.old_code.tree import LARGEST_FILE, OldTree, blob_id
from viscy_compat.old_code.wheel import from_wheel

MODEL = "from viscy.unet.parts import Part\n\nclass Model(Part): ...\n"
FILES = {"viscy/model.py": MODEL, "viscy/unet/parts.py": "class Part: ...\n", "viscy/aside.py": "raise OSError\n"}
STATE = find("BetaVaeMonai").generations[-1]
RELEASE = STATE.releases[-1]._replace(
    sources={path: blob_id(FILES[path].encode()) for path in ("viscy/model.py", "viscy/unet/parts.py")}
)
GENERATION: Generation = STATE._replace(module="viscy.model", qualname="Model", releases=(RELEASE,))


def taken(files: dict[str, str], release: Release = RELEASE) -> OldClass:
    contents = {path: text.encode() for path, text in files.items()}
    return taken_from(OldTree("git", "VisCy", "0" * 40, "fe7a5da^", contents), release)


def taken_from(tree: OldTree, release: Release = RELEASE) -> OldClass:
    return old_class(GENERATION, release, tree)


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


# --- what Python imports and is no text --------------------------------------------------------------------------

SHADOWS = [
    "viscy/model.so",
    "viscy/model.cpython-312-x86_64-linux-gnu.so",
    "viscy/unet/parts.pyd",
    "viscy/__init__.abi3.so",
    "viscy/__init__.pyc",
    "viscy/unet/parts/__init__.pyc",
    "viscy/unet/parts/Part.pyc",
    "viscy/unet/__pycache__/parts.cpython-312.pyc",
]
HARMLESS = ["viscy/model.pyc", "viscy/aside.so", "viscy/unet/parts.md", "viscy/unet/other.so", "viscy/parts.so"]
"""Python takes the source before byte code beside it; the others are nothing that the class asks for."""


def committed(folder: Path, *more: tuple[str, str]) -> OldTree:
    """A history with the files, and with entries that are given as mode and path."""
    for path, text in FILES.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    blob = git(folder, "rev-parse", ":viscy/aside.py").strip()
    for mode, path in more:
        git(folder, "update-index", "--add", "--cacheinfo", f"{mode},{'1' * 40 if mode == '160000' else blob},{path}")
    git(folder, "commit", "-qm", "all")
    return from_git(folder, "HEAD")


def wheel_of(folder: Path, *more: tuple[str, str]) -> OldTree:
    path = folder / "viscy-0.4.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in (*FILES.items(), *more):
            archive.writestr(name, text)
    return from_wheel(str(path))


@pytest.mark.parametrize("path", SHADOWS)
def test_what_python_would_take_for_a_module_is_not_proven_and_named(tmp_path: Path, path: str) -> None:
    for tree in (committed(tmp_path, ("100644", path)), wheel_of(tmp_path, (path, "x"))):
        old = taken_from(tree)
        assert (old.proven, old.strange) == (False, (path,))


@pytest.mark.parametrize("mode", ["120000", "160000"])
@pytest.mark.parametrize("path", ["viscy/unet/parts", "viscy/__init__.py", "viscy/unet/parts/__init__.py"])
def test_a_link_or_a_submodule_in_the_place_of_a_module_is_not_proven(tmp_path: Path, mode: str, path: str) -> None:
    assert taken_from(committed(tmp_path, (mode, path))).strange == (path,)


def test_compiled_files_and_links_that_no_import_reaches_change_nothing(tmp_path: Path) -> None:
    history = committed(tmp_path, *(("100644", path) for path in HARMLESS), ("120000", "viscy/unet/docs"))
    assert history.unread
    assert taken_from(history).proven
    assert taken_from(wheel_of(tmp_path, *((path, "x") for path in HARMLESS))).proven


def test_a_wheel_has_files_beside_its_package_that_are_installed_into_it(tmp_path: Path) -> None:
    for name in ("viscy-0.4.0.data/purelib/viscy/__init__.py", "viscy-0.4.0.data/platlib/viscy//model.py"):
        assert taken_from(wheel_of(tmp_path, (name, "x = 1\n"))).strange == (name.replace("//", "/").split("lib/")[1],)
    assert taken_from(wheel_of(tmp_path, ("viscy-0.4.0.data/scripts/viscy/__init__.py", "x = 1\n"))).proven


def test_a_file_of_a_wheel_that_is_too_large_to_be_read_is_refused_and_not_left_out(tmp_path: Path) -> None:
    tree = wheel_of(tmp_path, ("viscy/__init__.py", "#" * (LARGEST_FILE + 1)))
    with pytest.raises(SourceUnavailable, match=r"viscy/__init__.py is larger than 2 MB"):
        taken_from(tree)
    assert not taken_from(wheel_of(tmp_path, ("viscy/__init__.py", "#" * LARGEST_FILE))).proven


def test_a_mark_or_a_declared_encoding_is_part_of_python_source() -> None:
    for text in (b"\xef\xbb\xbfx = 1\n", "# coding: latin-1\nx = '\xe9'\n".encode("latin-1")):
        contents = {**{path: other.encode() for path, other in FILES.items()}, "viscy/__init__.py": text}
        old = taken_from(OldTree("git", "VisCy", "0" * 40, "fe7a5da^", contents))
        assert old.strange == ("viscy/__init__.py",)

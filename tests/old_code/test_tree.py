"""The old source comes out of any kind of clone and out of the wheel alike, and every refusal is one line."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from pathlib import Path

import pytest

from support.old_checkpoints import cache
from support.old_history import RELEASES, git
from viscy_compat.errors import CompatError, MissingExtra, SourceUnavailable, UsageError
from viscy_compat.old_code.git import from_git
from viscy_compat.old_code.tree import OldTree, blob_id
from viscy_compat.old_code.wheel import cache_folder, from_wheel

pytestmark = pytest.mark.index

CONTRASTIVE, VAE = "viscy.representation.contrastive", "viscy.representation.vae"
# measured in the real history: the files at fe7a5da^
RECORDED = {
    "viscy/representation/contrastive.py": "1b08e089a26cba3b2eaea9a4bb2768b43ae55c68",
    "viscy/representation/vae.py": "f34c2828d565814b93eb8c1d1296efa9ab88c98f",
    "viscy/unet/networks/unext2.py": "c2403fc9bd5a5517311bc19391c75eecc0c365d9",
}


def refusal(kind: type[CompatError], repo: Path | str, rev: str = "fe7a5da^", module: str = CONTRASTIVE) -> str:
    """The one line that reading a class from a clone ends with."""
    with pytest.raises(kind) as raised:
        from_git(repo, rev).source(module)
    line = str(raised.value)
    assert "\n" not in line
    assert raised.value.exit_code == 2
    return line


# --- what can be read --------------------------------------------------------------------------------------------


def test_the_wheel_holds_the_recorded_blobs() -> None:
    tree = from_wheel("0.4.0")
    found = {**tree.source(CONTRASTIVE).blobs, **tree.source(VAE).blobs}
    assert {path: found[path] for path in RECORDED} == RECORDED


@pytest.mark.parametrize("release", RELEASES)
def test_a_clone_and_the_wheel_give_the_same_files(assembled: Path, release: str) -> None:
    ours, theirs = from_git(assembled, f"v{release}"), from_wheel(release)
    assert ours.source(CONTRASTIVE) == theirs.source(CONTRASTIVE)
    assert len(ours.source(CONTRASTIVE).files) >= 3


def test_the_default_revision_is_the_parent_of_the_move(assembled: Path) -> None:
    tree = from_git(assembled)
    assert tree.revision == git(assembled, "rev-parse", "v0.4.0").strip()
    assert tree.title == f"git revision fe7a5da^ ({tree.revision[:12]}) of {assembled}"


def test_a_bare_clone_can_be_read_even_without_a_config(assembled: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare.git"
    git(tmp_path, "clone", "-q", "--bare", str(assembled), str(bare))
    whole = from_git(bare).source(VAE)
    (bare / "config").unlink()
    assert from_git(bare).source(VAE) == whole == from_wheel("0.4.0").source(VAE)


def test_a_linked_worktree_can_be_read(assembled: Path, tmp_path: Path) -> None:
    clone, linked = tmp_path / "clone", tmp_path / "linked"
    git(tmp_path, "clone", "-q", str(assembled), str(clone))
    git(clone, "worktree", "add", "-q", "--detach", str(linked), "v0.2.1")
    assert from_git(linked).source(VAE) == from_wheel("0.4.0").source(VAE)


def test_a_shallow_clone_that_has_the_revision_can_be_read(assembled: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", "--depth", "2", f"file://{assembled}", "shallow")
    assert from_git(tmp_path / "shallow").source(VAE) == from_wheel("0.4.0").source(VAE)


def partial(assembled: Path, folder: Path) -> Path:
    git(folder, "clone", "-q", "--filter=blob:none", "--no-checkout", f"file://{assembled}", "partial")
    return folder / "partial"


def test_a_partial_clone_with_the_contents_can_be_read(assembled: Path, tmp_path: Path) -> None:
    clone = partial(assembled, tmp_path)
    git(clone, "archive", "-o", "old.tar", "fe7a5da^", "viscy")
    assert from_git(clone).source(VAE) == from_wheel("0.4.0").source(VAE)


def test_only_what_a_class_imports_is_handed_on(assembled: Path) -> None:
    paths = set(from_git(assembled).source(CONTRASTIVE).files)
    assert paths >= {"viscy/representation/contrastive.py", "viscy/unet/networks/unext2.py"}
    assert not {path for path in paths if "engine" in path or "vae" in path}


def test_relative_imports_and_packages_are_followed() -> None:
    contents = {
        "viscy/a/__init__.py": b"from .b import thing",
        "viscy/a/b.py": b"from ..c import d\nimport viscy.e.f",
        "viscy/c/d.py": b"",
        "viscy/e/f.py": b"",
        "viscy/g.py": b"",
    }
    found = set(OldTree("wheel", "w", "1", "1", contents).source("viscy.a").files)
    assert found == set(contents) - {"viscy/g.py"}


def test_blob_ids_are_those_of_git(assembled: Path) -> None:
    content = (assembled / "applications" / "__init__.py").read_bytes()
    assert blob_id(content) == git(assembled, "hash-object", "applications/__init__.py").strip()


# --- what is refused ---------------------------------------------------------------------------------------------


def test_no_such_folder_is_refused(tmp_path: Path) -> None:
    assert refusal(SourceUnavailable, tmp_path / "nowhere").endswith("name a VisCy clone with --repo")


def test_a_folder_that_is_no_repository_is_refused_even_inside_one(assembled: Path, tmp_path: Path) -> None:
    assert "is no git repository" in refusal(SourceUnavailable, tmp_path)
    assert "is no git repository" in refusal(SourceUnavailable, assembled / "applications")


def test_a_missing_revision_is_refused_with_the_command_that_brings_it(assembled: Path) -> None:
    line = refusal(SourceUnavailable, assembled, "v9.9.9")
    assert line == f"{assembled}: there is no commit v9.9.9; 'git -C {assembled} fetch --tags', or name another --rev"


def test_a_shallow_clone_without_the_revision_is_told_to_unshallow(assembled: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{assembled}", "shallow")
    assert refusal(SourceUnavailable, tmp_path / "shallow").endswith("shallow fetch --unshallow'")


def test_a_missing_path_is_refused_with_the_nearest_ones(assembled: Path) -> None:
    line = refusal(SourceUnavailable, assembled, "fe7a5da")
    assert "fe7a5da has no viscy/representation/contrastive.py" in line
    assert "applications/representation/contrastive.py" in line
    assert "vae.py" not in refusal(SourceUnavailable, assembled, "v0.3.4", VAE).partition(";")[2]


def test_a_partial_clone_without_the_contents_is_refused(assembled: Path, tmp_path: Path) -> None:
    line = refusal(SourceUnavailable, partial(assembled, tmp_path))
    assert "partial clone: the content of viscy/representation/contrastive.py is missing" in line
    assert "archive -o old.tar fe7a5da^ viscy" in line


def test_missing_trees_are_refused(assembled: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    shutil.copytree(assembled, clone)
    tree = git(clone, "rev-parse", "v0.4.0^{tree}:viscy").strip()
    damaged = clone / ".git" / "objects" / tree[:2] / tree[2:]
    damaged.chmod(stat.S_IWRITE | stat.S_IREAD)
    damaged.write_bytes(b"not an object")
    assert "objects of fe7a5da^ are missing or damaged" in refusal(SourceUnavailable, clone)


def test_a_damaged_blob_is_refused(assembled: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    shutil.copytree(assembled, clone)
    blob = RECORDED["viscy/representation/contrastive.py"]
    damaged = clone / ".git" / "objects" / blob[:2] / blob[2:]
    damaged.chmod(stat.S_IWRITE | stat.S_IREAD)
    damaged.write_bytes(
        (clone / ".git" / "objects" / RECORDED["viscy/representation/vae.py"][:2])
        .joinpath(RECORDED["viscy/representation/vae.py"][2:])
        .read_bytes()
    )
    assert "the content of viscy/representation/contrastive.py is missing" in refusal(SourceUnavailable, clone)


@pytest.mark.parametrize("rev", ["--help", "-c", "", "HEAD:viscy", "v0.2.1..v0.4.0", "a\nb", "\x1b[31m"])
def test_what_is_no_revision_of_one_commit_is_refused(assembled: Path, rev: str) -> None:
    refusal(UsageError, assembled, rev)


def test_a_blob_is_no_commit(assembled: Path) -> None:
    refusal(SourceUnavailable, assembled, RECORDED["viscy/representation/vae.py"])


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="files have no owner here")
def test_a_clone_of_another_user_is_refused_until_it_is_trusted(
    assembled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone = tmp_path / "clone"
    shutil.copytree(assembled, clone)
    if os.geteuid() == 0:
        for path in (clone, *clone.rglob("*")):
            os.chown(path, 12345, 12345)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
    line = refusal(SourceUnavailable, clone)
    assert line.endswith("belongs to another user; if you trust it, add --trust-repo")
    assert from_git(clone, trust=True).source(VAE) == from_wheel("0.4.0").source(VAE)


def test_git_that_is_not_installed_is_one_line(
    assembled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "git is not installed" in refusal(SourceUnavailable, assembled)


# --- hostile clones ----------------------------------------------------------------------------------------------


def test_the_callers_git_variables_change_nothing(
    assembled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, "init", "-q", "other")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other" / ".git"))
    monkeypatch.setenv("GIT_OBJECT_DIRECTORY", str(tmp_path))
    assert from_git(assembled).source(VAE) == from_wheel("0.4.0").source(VAE)


def test_replaced_objects_and_grafts_change_nothing(assembled: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    shutil.copytree(assembled, clone)
    commits = {tag: git(clone, "rev-parse", tag).strip() for tag in ("v0.2.1", "fe7a5da")}
    git(clone, "replace", RECORDED["viscy/representation/vae.py"], RECORDED["viscy/unet/networks/unext2.py"])
    (clone / ".git" / "info").mkdir(exist_ok=True)
    (clone / ".git" / "info" / "grafts").write_text(f"{commits['fe7a5da']} {commits['v0.2.1']}\n")
    assert git(clone, "rev-parse", "fe7a5da^").strip() == commits["v0.2.1"]
    assert from_git(clone).source(VAE) == from_wheel("0.4.0").source(VAE)


def test_nothing_that_a_clone_configures_is_run(assembled: Path, tmp_path: Path) -> None:
    clone, marker = partial(assembled, tmp_path), tmp_path / "marker"
    command = tmp_path / "command"
    command.write_text(f"#!/bin/sh\ntouch {marker}\n")
    command.chmod(0o755)
    for key in ("core.fsmonitor", "core.pager", "core.editor", "core.sshCommand", "core.gitProxy", "diff.external"):
        git(clone, "config", key, str(command))
    git(clone, "config", "remote.origin.url", f"ext::{command}")
    git(clone, "config", "protocol.ext.allow", "always")
    git(clone, "config", "core.hooksPath", str(tmp_path))
    refusal(SourceUnavailable, clone)
    assert not marker.exists()
    # the same clone, read the ordinary way, fetches the missing blob by running the command
    with pytest.raises(AssertionError):
        git(clone, "cat-file", "-p", RECORDED["viscy/representation/vae.py"])
    assert marker.exists()


# --- wheels ------------------------------------------------------------------------------------------------------


def wheel_refusal(kind: type[CompatError], release: str) -> str:
    with pytest.raises(kind) as raised:
        from_wheel(release)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_without_an_index_one_line_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISCY_COMPAT_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    line = wheel_refusal(SourceUnavailable, "0.4.0")
    assert line.startswith("viscy==0.4.0: no package index within reach; name a VisCy clone with --repo")
    assert list((tmp_path / "wheels").iterdir()) == []


def test_a_release_that_never_was_is_refused() -> None:
    assert "no such release" in wheel_refusal(SourceUnavailable, "0.0.77")


@pytest.mark.parametrize("release", ["", "latest", "-r", "0.4.0; x", "../0.4.0", "0.4.0*"])
def test_what_is_no_version_is_refused(release: str) -> None:
    assert "is no version" in wheel_refusal(UsageError, release)


def test_a_damaged_wheel_is_refused(tmp_path: Path) -> None:
    whole = next(cache().glob("viscy-0.4.0-*.whl")).read_bytes()
    (tmp_path / "viscy-0.4.0-py3-none-any.whl").write_bytes(whole[:1000])
    assert "is no readable wheel" in wheel_refusal(SourceUnavailable, str(tmp_path / "viscy-0.4.0-py3-none-any.whl"))


def test_an_interpreter_without_pip_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$0: No module named pip" >&2\nexit 1\n')
    python.chmod(0o755)
    monkeypatch.setenv("VISCY_COMPAT_CACHE", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(python))
    assert "viscy-compat[gate]" in wheel_refusal(MissingExtra, "0.4.0")


def test_a_cache_that_cannot_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("VISCY_COMPAT_CACHE", str(tmp_path / "file"))
    assert "the cache cannot be written" in wheel_refusal(SourceUnavailable, "0.4.0")


def test_the_cache_follows_the_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VISCY_COMPAT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    monkeypatch.setattr(sys, "platform", "linux")
    assert cache_folder() == Path("/somewhere/viscy-compat")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache_folder().parts[-3:] == ("Library", "Caches", "viscy-compat")

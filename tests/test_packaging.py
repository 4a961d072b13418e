"""Two distributions: each file belongs to one of them, nothing heavy is required, and both work where nothing else is."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Sequence
from email.parser import HeaderParser
from hashlib import sha256
from pathlib import Path

import pytest
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

from build import MODELS, built, complaint_about, empty, installed, pip, tried  # noqa: E402

pytestmark = pytest.mark.index

PROBE = """
import sys, viscy_compat
from viscy_compat import cli
assert cli.main(["--version"]) == 0
heavy = {"torch", "numpy", "timm", "monai", "git", "deepdiff", "yaml", "hypothesis"} & set(sys.modules)
assert not heavy, heavy
import importlib.util
assert importlib.util.find_spec("torch") is None
assert importlib.util.find_spec("viscy_models") is None
"""

UPSTREAM = ("0.1.0a0", "0.1.0", "0.0.0", "0.1.0a0.post3.dev0")
"""A release of upstream's, those to come, and what its monorepo builds without tags and between them."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The built sdist and wheel of the tools."""
    return built(tmp_path_factory.mktemp("packaging") / "dist")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The built sdist and wheel of the models."""
    return built(tmp_path_factory.mktemp("packaging") / "models", MODELS)


@pytest.fixture(scope="module")
def python(files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an empty environment into which the wheel of the tools was installed."""
    return installed([wheel(files)], tmp_path_factory.mktemp("wheel") / "empty")


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel as upstream makes them: its name, files of ours with other contents, and files that we do not have."""
    contents = {"viscy_models/__init__.py": "from importlib.metadata import version\nversion('viscy-models')\n"}
    contents["viscy_models/unet/fcmae.py"] = "upstream = 1\n"
    contents["viscy_models/unet/unet3d.py"] = "class Unet3d: ...\n"
    contents["viscy_models/components/stems.py"] = "upstream = 2\n"
    return written_wheel(tmp_path_factory.mktemp("theirs"), contents)


def written_wheel(folder: Path, contents: dict[str, str], version: str = "0.1.0a0") -> Path:
    """Write a wheel of viscy-models."""
    info = f"viscy_models-{version}.dist-info"
    contents = {
        **contents,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: viscy-models\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in (*contents, f"{info}/RECORD"))
    path = folder / f"viscy_models-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in {**contents, f"{info}/RECORD": record}.items():
            archive.writestr(name, text)
    return path


def wheel(files: Sequence[Path]) -> Path:
    return next(file for file in files if file.suffix == ".whl")


def in_wheel(file: Path) -> dict[str, str]:
    """The digest of each module that a wheel holds."""
    with zipfile.ZipFile(file) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
        return {name: sha256(archive.read(name)).hexdigest() for name in names}


def in_environment(python: Path, package: str) -> dict[str, str]:
    """The digest of each file of a package in an environment."""
    (site,) = [*python.parents[1].glob("lib/python*/site-packages"), *python.parents[1].glob("Lib/site-packages")]
    found = [path for path in (site / package).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return {path.relative_to(site).as_posix(): sha256(path.read_bytes()).hexdigest() for path in found}


def metadata(file: Path) -> list[tuple[str, str]]:
    with zipfile.ZipFile(file) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return list(HeaderParser().parsestr(archive.read(name).decode()).items())


def run(python: Path, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([python, *words], cwd=cwd, capture_output=True, text=True)


# --- what is in them -------------------------------------------------------------------------------------------------


def test_the_files_may_be_published(files: list[Path], models: list[Path]) -> None:
    assert complaint_about(files, None) == complaint_about(models, None) == ""
    assert complaint_about(files, "v99.0") != ""
    command = [sys.executable, "-m", "twine", "check", "--strict", *map(str, [*files, *models])]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_distribution_holds_one_package_whole(files: list[Path], models: list[Path]) -> None:
    sources = {path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src").rglob("*.py")}
    mine, migrated = in_wheel(wheel(files)), in_wheel(wheel(models))
    assert {name for name in mine if name.endswith(".py")} == {n for n in sources if n.startswith("viscy_compat/")}
    assert {name for name in migrated if name.endswith(".py")} == {n for n in sources if n.startswith("viscy_models/")}
    assert {name.partition("/")[0] for name in mine} == {"viscy_compat"}
    assert {name.partition("/")[0] for name in migrated} == {"viscy_models"}
    assert {"viscy_compat/py.typed", "viscy_compat/legacy_refs/README.md"} <= set(mine)
    assert "viscy_models/py.typed" in migrated


def test_the_tools_require_nothing_and_their_models_a_viscy_models(files: list[Path]) -> None:
    required = [value for name, value in metadata(wheel(files)) if name == "Requires-Dist"]
    assert [row for row in required if "extra ==" not in row] == []
    assert "viscy-models; extra == 'models'" in required


def test_every_version_of_upstream_s_is_newer_than_ours(models: list[Path]) -> None:
    ours = dict(metadata(wheel(models)))
    assert ours["Name"] == "viscy-models"
    assert all(Version(ours["Version"]) < Version(version) for version in UPSTREAM)


# --- beside upstream's -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["tools", "upstream's"])
def test_the_tools_leave_upstream_s_package_alone(first: str, files: list[Path], theirs: Path, tmp_path: Path) -> None:
    python = empty(tmp_path / "empty")
    order = [wheel(files), theirs] if first == "tools" else [theirs, wheel(files)]
    for file in order:
        pip(python, "install", "--no-deps", file)
    assert in_environment(python, "viscy_models") == in_wheel(theirs)
    assert in_environment(python, "viscy_compat") == in_wheel(wheel(files))
    pip(python, "uninstall", "-y", "viscy-compat")
    assert in_environment(python, "viscy_models") == in_wheel(theirs)
    assert in_environment(python, "viscy_compat") == {}


def test_one_viscy_models_takes_the_place_of_the_other_and_never_mixes(
    files: list[Path], models: list[Path], theirs: Path, tmp_path: Path
) -> None:
    python = empty(tmp_path / "empty")
    pip(python, "install", "--no-deps", wheel(files), wheel(models))
    # whoever asks for the newest gets upstream's; ours comes back only by name
    for file in (theirs, wheel(models), theirs):
        pip(python, "install", "--no-deps", file)
        assert in_environment(python, "viscy_models") == in_wheel(file)
    pip(python, "uninstall", "-y", "viscy-models")
    assert in_environment(python, "viscy_models") == {}
    assert in_environment(python, "viscy_compat") == in_wheel(wheel(files))


# --- where nothing else is -------------------------------------------------------------------------------------------


def test_the_wheel_works_in_an_empty_environment_without_torch(python: Path, tmp_path: Path) -> None:
    done = run(python, "-c", PROBE, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("words", "extra"),
    [
        ("check sample.safetensors --config run.yml", "config"),
        ("verify BetaVaeMonai --recorded", "models"),
        ("gate BetaVaeMonai", "models"),
        ("record BetaVaeMonai --to refs", "models"),
        ("explore BetaVaeMonai", "explore"),
        ("explore BetaVaeMonai --plot map.png", "explore"),
    ],
)
def test_a_command_that_lacks_its_extra_prints_the_line_that_installs_it(
    words: str, extra: str, python: Path, tmp_path: Path
) -> None:
    from viscy_compat.architectures import find
    from viscy_compat.architectures.architecture import complete
    from viscy_compat.gating.check import hollow

    architecture = find("BetaVaeMonai")
    layout = architecture.layout(complete(architecture, architecture.cases[0].config))
    hollow(str(tmp_path / "sample.safetensors"), layout)
    (tmp_path / "run.yml").write_text("model: {}\n")
    done = run(python, "-m", "viscy_compat", *words.split(), cwd=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert f"pip install 'viscy-compat[{extra}]'" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.torch
def test_the_wheels_know_a_checkpoint_and_pass_the_static_gate(
    files: list[Path], models: list[Path], tmp_path: Path
) -> None:
    tried(installed([wheel(files), wheel(models)], tmp_path / "empty"), tmp_path)


@pytest.mark.torch
def test_the_sdists_know_a_checkpoint_and_pass_the_static_gate(
    files: list[Path], models: list[Path], tmp_path: Path
) -> None:
    sdists = [next(file for file in both if file.name.endswith(".tar.gz")) for both in (files, models)]
    tried(installed(sdists, tmp_path / "empty"), tmp_path)

"""The workflows: valid, pinned, least privileged, and nothing is published past the gate."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
SCRIPTS = Path(sys.executable).parent
sys.path.insert(0, str(ROOT / "tools"))

from dev import JOBS  # noqa: E402
from require_success import unsuccessful  # noqa: E402


class Step(NamedTuple):
    """One step and where it stands."""

    file: str
    job: str
    words: dict[str, Any]


def read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return document


def jobs() -> dict[str, dict[str, dict[str, Any]]]:
    """Every job of every workflow, by file."""
    return {path.name: read(path)["jobs"] for path in WORKFLOWS}


def steps() -> Iterator[Step]:
    """Every step of the workflows and of the composite action."""
    for file, listed in jobs().items():
        for name, job in listed.items():
            yield from (Step(file, name, step) for step in job.get("steps", ()))
    yield from (Step("action.yml", "", step) for step in read(ROOT / "action.yml")["runs"]["steps"])


def passes(*words: str) -> None:
    done = subprocess.run([SCRIPTS / words[0], *words[1:]], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_zizmor_finds_nothing() -> None:
    passes("zizmor", "--offline", "--no-progress", ".")


def test_the_workflows_fit_their_schemas() -> None:
    files = [str(path) for path in WORKFLOWS]
    passes("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *files)
    passes("check-jsonschema", "--builtin-schema", "vendor.github-actions", "action.yml")


@pytest.mark.skipif(not shutil.which("actionlint"), reason="actionlint is not on this machine")
def test_actionlint_finds_nothing() -> None:
    subprocess.run(["actionlint", *map(str, WORKFLOWS)], cwd=ROOT, check=True)


def test_every_action_is_pinned_by_a_commit_with_its_version_beside_it() -> None:
    for path in (*WORKFLOWS, ROOT / "action.yml"):
        for line in path.read_text(encoding="utf-8").splitlines():
            if "uses:" in line and "uses: ./" not in line:
                assert re.search(r"uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line), line


def test_one_action_is_pinned_by_one_commit() -> None:
    used = {step.words["uses"] for step in steps() if "uses" in step.words}
    names = [use.partition("@")[0] for use in used]
    assert len(names) == len(set(names))


def test_nothing_continues_on_error_and_everything_ends() -> None:
    for listed in jobs().values():
        for job in listed.values():
            assert "continue-on-error" not in job
            assert "uses" in job or 0 < job["timeout-minutes"] <= 60
    assert [step for step in steps() if "continue-on-error" in step.words] == []


def test_a_workflow_may_do_nothing_and_a_job_what_it_needs() -> None:
    for path in WORKFLOWS:
        document = read(path)
        assert document["permissions"] == {}
        for name, job in document["jobs"].items():
            allowed = {"id-token": "write"} if name == "publish" else {"contents": "read"}
            assert job["permissions"] == allowed, name


def test_every_command_is_a_job_of_dev() -> None:
    for step in steps():
        if "run" in step.words:
            words = shlex.split(step.words["run"].replace("$GITHUB_ACTION_PATH/", ""))
            assert words[:2] == ["python", "tools/dev.py"], step
            assert words[2] in JOBS, step


def test_no_expression_stands_in_a_command() -> None:
    assert [step for step in steps() if "${{" in step.words.get("run", "")] == []


def test_no_step_hides_a_failure() -> None:
    for step in steps():
        assert not re.search(r"\|\||;|\bset \+e|\bexit 0|\btrue\b", step.words.get("run", "")), step
        assert step.words.get("if") in (None, "always()")
        assert step.words.get("if") is None or "upload-artifact" in step.words["uses"]


# --- the graph -----------------------------------------------------------------------------------------------------


def ancestors(listed: dict[str, dict[str, Any]], job: str) -> set[str]:
    """Every job that must have succeeded before this one starts."""
    needs = listed[job].get("needs", [])
    direct = {needs} if isinstance(needs, str) else set(needs)
    return direct.union(*(ancestors(listed, name) for name in direct))


def publishing() -> list[tuple[str, str]]:
    """Every job that could publish: it holds an identity token, an environment, or the publishing action."""
    return [
        (file, name)
        for file, listed in jobs().items()
        for name, job in listed.items()
        if "environment" in job
        or "id-token" in job.get("permissions", {})
        or any("publish" in step.get("uses", "") for step in job.get("steps", ()))
    ]


def test_publish_cannot_be_reached_without_compat_and_build() -> None:
    assert publishing() == [("release.yml", "publish")]
    listed = jobs()["release.yml"]
    assert set(listed["publish"]["needs"]) == {"compat", "build"}
    assert ancestors(listed, "build") == {"compat"}
    assert listed["compat"]["uses"] == "./.github/workflows/compat.yml"
    # a condition could start a job although one that it needs has failed
    assert [name for name, job in listed.items() if "if" in job] == []


def test_a_release_starts_at_a_tag_only() -> None:
    # YAML reads the word "on" as true
    assert read(ROOT / ".github/workflows/release.yml")[True] == {"push": {"tags": ["v*"]}}


def test_the_gate_always_runs_and_needs_every_other_job() -> None:
    listed = jobs()["compat.yml"]
    assert listed["gate"]["if"] == "always()"
    assert set(listed["gate"]["needs"]) == set(listed) - {"gate"}
    assert listed["gate"]["steps"][-1]["env"] == {"NEEDS": "${{ toJSON(needs) }}"}


def test_compat_runs_on_pull_requests_every_night_and_when_called() -> None:
    assert {"pull_request", "schedule", "workflow_call"} <= set(read(ROOT / ".github/workflows/compat.yml")[True])


def test_the_matrix_is_the_issue_s() -> None:
    listed = jobs()["compat.yml"]
    assert listed["static"]["strategy"]["matrix"]["os"] == ["ubuntu-latest", "macos-latest", "windows-latest"]
    assert listed["numeric"]["strategy"]["matrix"]["stack"] == ["lowest", "newest"]


# --- the last job ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("result", ["failure", "cancelled", "skipped", "", None])
def test_only_success_counts_as_success(result: str | None) -> None:
    needs = {"static": {"result": "success"}, "numeric": {"result": result}}
    assert unsuccessful(json.dumps(needs)) == [f"numeric: {result}"]


@pytest.mark.parametrize("needs", ["", "{}", "[]", "null", '{"a": "success"}', '{"a": {}}'])
def test_nothing_is_no_success(needs: str) -> None:
    assert unsuccessful(needs) != []


def test_the_last_job_s_command_gives_the_exit_code() -> None:
    command = [sys.executable, str(ROOT / "tools" / "dev.py"), "require-success"]
    for result, code in (("success", 0), ("failure", 1)):
        environment = {**os.environ, "NEEDS": json.dumps({"static": {"result": result}})}
        assert subprocess.run(command, env=environment, capture_output=True).returncode == code


# --- the hook --------------------------------------------------------------------------------------------------------


def test_the_pre_commit_hook_runs_check_on_checkpoints_and_nothing_else() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    assert [(hook["id"], hook["entry"], hook["language"]) for hook in hooks] == [
        ("viscy-compat-check", "viscy-compat check", "python")
    ]
    pattern = hooks[0]["files"]
    assert all(re.search(pattern, name) for name in ("a.ckpt", "b/epoch=1.pt", "c.pth", "d.safetensors"))
    assert not any(re.search(pattern, name) for name in ("ckpt.py", "a.ckpt.md", "x.yml"))


# --- the action ------------------------------------------------------------------------------------------------------


def words_of_action(folder: Path, **inputs: str) -> list[str]:
    """What the action's step starts, with these inputs and the defaults of the others."""
    document = read(ROOT / "action.yml")
    (step,) = document["runs"]["steps"]
    (folder / "tools").mkdir(exist_ok=True)
    (folder / "tools" / "dev.py").write_text("import json, sys; print(json.dumps(sys.argv[1:]))")
    given = {name: inputs.get(name, row["default"]) for name, row in document["inputs"].items()}
    named = {key: re.fullmatch(r"\$\{\{ inputs\.(\w+) \}\}", value) for key, value in step["env"].items()}
    environment = {key: given[found[1]] for key, found in named.items() if found}
    assert set(environment) == set(step["env"])
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-e", "-c", step["run"]],
        env={"PATH": path, "GITHUB_ACTION_PATH": str(folder), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    words: list[str] = json.loads(done.stdout)
    return words


def test_the_action_runs_the_gate_with_the_python_on_the_path(tmp_path: Path) -> None:
    words = words_of_action(tmp_path)
    assert words[:3] == ["gate", "--format", "github"]
    assert words[3:7] == ["--candidate", "viscy_models", "--profile", "ci"]
    assert words[7] == "--candidate-python"
    assert Path(words[8]).name == "python"
    assert words[9:] == []


def test_the_action_passes_its_inputs_on_whole(tmp_path: Path) -> None:
    formats = "html:gate.html sarif:gate.sarif"
    words = words_of_action(tmp_path, repo="a clone", rev="$(touch x)", python="/p y", formats=formats)
    assert words[7:] == [
        *("--candidate-python", "/p y", "--repo", "a clone", "--rev", "$(touch x)"),
        *("--output", "html:gate.html", "--output", "sarif:gate.sarif"),
    ]

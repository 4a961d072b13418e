"""The workflows: valid, pinned, least privileged, and nothing is published past the gate."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import venv
from argparse import ArgumentParser
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from support.mutants import Edit, changed, like_upstream

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
SCRIPTS = Path(sys.executable).parent
sys.path.insert(0, str(ROOT / "tools"))

from dev import JOBS  # noqa: E402
from judge import PROGRAM, candidate_python, requirements, words_for  # noqa: E402
from require_success import unsuccessful  # noqa: E402


class Step(NamedTuple):
    """One step and where it stands."""

    file: str
    job: str
    words: dict[str, Any]


def read(path: Path) -> dict[Any, Any]:
    document: dict[Any, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
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
            words = shlex.split(step.words["run"].replace("$GITHUB_ACTION_PATH/", "").replace(".viscy-compat/", ""))
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


def hooks() -> dict[str, dict[str, Any]]:
    rows = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    return {row["id"]: row for row in rows}


def test_the_hooks_run_what_needs_no_torch_and_nothing_else() -> None:
    told = {name: (hook["entry"], hook["language"]) for name, hook in hooks().items()}
    assert told == {
        "viscy-compat-check": ("viscy-compat check", "python"),
        "viscy-compat-gate": ("viscy-compat gate --static --quiet", "python"),
    }


def test_check_is_asked_about_checkpoints_only() -> None:
    pattern = hooks()["viscy-compat-check"]["files"]
    assert all(re.search(pattern, name) for name in ("a.ckpt", "b/epoch=1.pt", "c.pth", "d.safetensors"))
    assert not any(re.search(pattern, name) for name in ("ckpt.py", "a.ckpt.md", "x.yml"))
    assert hooks()["viscy-compat-gate"]["pass_filenames"] is False


# --- the action ------------------------------------------------------------------------------------------------------


def words_of_action(folder: Path, **inputs: str) -> list[str]:
    """What the action's step starts, with these inputs and the defaults of the others."""
    document = read(ROOT / "action.yml")
    (step,) = document["runs"]["steps"]
    (folder / "tools").mkdir(exist_ok=True)
    (folder / "tools" / "dev.py").write_text("import json, sys; print(json.dumps(sys.argv[1:]))")
    given = {name: inputs.get(name, row["default"]) for name, row in document["inputs"].items()}
    named = {key: re.fullmatch(r"\$\{\{ inputs\.([\w-]+) \}\}", value) for key, value in step["env"].items()}
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


def test_the_action_judges_what_lies_in_src_with_the_python_that_has_it(tmp_path: Path) -> None:
    words = words_of_action(tmp_path)
    assert words == ["judge", "--format", "github", "--candidate", "src", "--profile", "ci"]


def test_the_action_passes_its_inputs_on_whole(tmp_path: Path) -> None:
    formats = "html:gate.html sarif:gate.sarif"
    words = words_of_action(
        tmp_path,
        repo="a clone",
        rev="$(touch x)",
        python="/p y",
        formats=formats,
        half="static",
        project="a b",
        references="my refs",
    )
    assert words[7:] == [
        *("--static", "--candidate-python", "/p y", "--legacy-python", "/p y", "--project", "a b"),
        *("--repo", "a clone", "--rev", "$(touch x)", "--references", "my refs"),
        *("--output", "html:gate.html", "--output", "sarif:gate.sarif"),
    ]


# --- adopting it -----------------------------------------------------------------------------------------------------


def documented(language: str) -> list[str]:
    """The blocks of docs/gate.md in a language, word for word."""
    text = (ROOT / "docs" / "gate.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def adopted() -> dict[str, dict[str, Any]]:
    """The workflows of docs/gate.md, by the way in which they use the gate: as an action, or as a workflow."""
    found = [yaml.safe_load(block) for block in documented("yaml")]
    whole = [document for document in found if isinstance(document, dict) and "jobs" in document]
    return {"workflow" if "uses" in document["jobs"]["compat"] else "action": document for document in whole}


@pytest.mark.parametrize("way", ["action", "workflow"])
def test_what_the_docs_show_fits_the_schema_of_workflows(way: str, tmp_path: Path) -> None:
    path = tmp_path / "workflow.yml"
    path.write_text(next(block for block in documented("yaml") if yaml.safe_load(block) == adopted()[way]))
    passes("check-jsonschema", "--builtin-schema", "vendor.github-workflows", str(path))


@pytest.mark.parametrize("way", ["action", "workflow"])
def test_zizmor_finds_nothing_in_what_the_docs_show(way: str, tmp_path: Path) -> None:
    block = next(block for block in documented("yaml") if yaml.safe_load(block) == adopted()[way])
    folder = tmp_path / ".github" / "workflows"
    folder.mkdir(parents=True)
    (folder / "workflow.yml").write_text(block.replace("OWNER", "owner").replace("COMMIT", "0" * 40))
    passes("zizmor", "--offline", "--no-progress", str(folder))


def test_the_docs_pin_what_this_repository_pins() -> None:
    own = {step.words["uses"] for step in steps() if "uses" in step.words}
    for job in adopted()["action"]["jobs"].values():
        others = [step["uses"] for step in job["steps"] if "uses" in step and "OWNER" not in step["uses"]]
        assert others
        assert own.issuperset(others)


def test_the_uv_form_uses_the_action_with_inputs_that_it_has_where_the_package_is() -> None:
    job = adopted()["action"]["jobs"]["compat"]
    (step,) = [step for step in job["steps"] if step.get("uses", "").startswith("OWNER/viscy-compat@")]
    assert set(step["with"]) <= set(read(ROOT / "action.yml")["inputs"])
    (sync,) = [step for step in job["steps"] if step.get("run", "").startswith("uv sync")]
    assert sync["working-directory"] == step["with"]["working-directory"]
    assert job["steps"].index(sync) < job["steps"].index(step)


def test_nothing_is_published_past_the_gate_of_the_docs() -> None:
    listed = adopted()["action"]["jobs"]
    assert ancestors(listed, "publish") == {"compat"}
    assert [job.get("if", "") for job in listed.values()] == ["", "github.ref_type == 'tag'"]
    assert not any("continue-on-error" in job for job in listed.values())


def test_the_workflow_to_call_takes_what_the_docs_give_and_runs_the_tools_out_of_their_own_checkout() -> None:
    called = adopted()["workflow"]["jobs"]["compat"]
    assert called["uses"] == "OWNER/viscy-compat/.github/workflows/judge.yml@COMMIT"
    document = read(ROOT / ".github/workflows/judge.yml")
    assert set(document[True]) == {"workflow_call"}
    inputs = document[True]["workflow_call"]["inputs"]
    assert {name for name, row in inputs.items() if row.get("required")} <= set(called["with"]) <= set(inputs)
    assert document["jobs"]["gate"]["needs"] == ["static"]
    for job in document["jobs"].values():
        (tools,) = [step["with"] for step in job["steps"] if "repository" in step.get("with", {})]
        assert (tools["repository"], tools["ref"]) == ("${{ inputs.tools }}", "${{ inputs.tools-ref }}")
        commands = [step["run"] for step in job["steps"] if "run" in step]
        assert all(command.startswith(f"python {tools['path']}/tools/dev.py judge ") for command in commands)


def test_the_hooks_of_the_docs_are_there_and_get_arguments_that_the_gate_takes() -> None:
    listed = [rows for block in documented("yaml") if isinstance(rows := yaml.safe_load(block), list)]
    ((row,),) = [rows for rows in listed if "hooks" in rows[0]]
    assert {hook["id"] for hook in row["hooks"]} == set(hooks())
    for hook in row["hooks"]:
        _, command, *words = shlex.split(hooks()[hook["id"]]["entry"]) + list(hook.get("args", []))
        parser = ArgumentParser(allow_abbrev=False)
        parser.add_argument("--quiet", action="store_true")
        import_module(f"viscy_compat.commands.{command}").add_arguments(parser)
        parser.parse_args([*words, *(["a.ckpt"] if command == "check" else [])])


# --- judging elsewhere -----------------------------------------------------------------------------------------------


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A monorepo with a package arranged like upstream's, and no index within reach."""
    package = tmp_path / "clone" / "packages" / "viscy-models"
    like_upstream(package / "src")
    (tmp_path / "clone" / ".git").mkdir()
    monkeypatch.setenv("RUNNER_TOOL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    return package


def judged(folder: Path, python: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the job with a Python that has nothing."""
    command = [python, str(ROOT / "tools" / "judge.py"), "--static", "--candidate", "src", *words]
    path = f"{Path(python).parent}{os.pathsep}{os.defpath}"
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env={**os.environ, "PATH": path})


def test_the_static_half_runs_with_nothing_installed_and_out_of_reach_of_any_index(
    elsewhere: Path, tmp_path: Path
) -> None:
    venv.create(tmp_path / "bare")
    python = str(tmp_path / "bare" / PROGRAM)
    done = judged(elsewhere, python)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "layouts left out" in done.stdout
    assert judged(elsewhere, python, "--output", "json:gate.json").returncode == 0
    assert (elsewhere / "gate.json").is_file()
    assert len(list((tmp_path / "cache" / "viscy-compat-tools").iterdir())) == 1
    changed(elsewhere / "src", Edit("contrastive/resnet3d.py", "in_channels: int = 1,", "in_channels: int = 2,"))
    done = judged(elsewhere, python)
    assert (done.returncode, "in_channels" in done.stdout) == (1, True)


def test_the_python_that_has_the_package_is_found(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(elsewhere)
    above = elsewhere.parents[1] / ".venv" / PROGRAM
    above.parent.mkdir(parents=True)
    above.touch()
    assert candidate_python(None) == str(above)
    mine = elsewhere / ".venv" / PROGRAM
    mine.parent.mkdir(parents=True)
    mine.touch()
    assert candidate_python(None) == candidate_python(elsewhere) == str(mine)


def test_both_sides_run_with_the_python_of_the_package_unless_others_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert words_for(sys.executable, []) == ["--candidate-python", sys.executable, "--legacy-python", sys.executable]
    assert words_for("p", ["--candidate-python=q"]) == ["--candidate-python=q", "--legacy-python", "p"]
    assert words_for("no-python-at-all", ["--static"]) == ["--static"]


def test_the_gate_s_own_requirements_are_few_and_small() -> None:
    names = {re.split(r"[<>=]", row)[0] for row in requirements()}
    assert names == {"deepdiff", "pip", "hypothesis"}

"""What outputs tell, on numbers made up for it: the worker is a script."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from support.scripted import NOISE, OURS, SHAPE, Scripted, add, draw, inquire, noise, rounded, scale
from viscy_compat.agreement import Agreement
from viscy_compat.architectures import find
from viscy_compat.architectures.architecture import complete
from viscy_compat.architectures.inference import infer
from viscy_compat.diagnosis import Identity
from viscy_compat.errors import PlanRefused, UsageError
from viscy_compat.outputs.verdict import findings_about

EPS = {"kind": "eps", "type": "LayerNorm", "from": 1e-6, "to": 1e-5, "modules": 18}
GELU = {"kind": "gelu"}


def judged(folder: Path, worker: Scripted, **options: Any) -> Agreement:
    return inquire(folder, worker, **options).judge(lambda line: None)


def beside_alteration(size: float) -> Any:
    """A model whose eps moves its outputs by so much."""

    def outputs(request: Any) -> Any:
        change = request["alteration"]
        return {"output": add(OURS, draw("eps", size))} if change and change["kind"] == "eps" else rounded(request)

    return outputs


@pytest.mark.parametrize("precision", NOISE)
def test_each_precision_is_found_by_the_size_and_the_pattern_of_its_noise(tmp_path: Path, precision: str) -> None:
    worker = Scripted(rounded, {"output": add(OURS, noise(precision, like=0.6))})
    found = judged(tmp_path, worker)
    assert not found.refusal
    assert found.precision.name == precision
    assert found.precision.ratio == pytest.approx(1, rel=0.05)
    assert found.precision.likeness == pytest.approx(0.6, abs=0.06)
    assert found.passes <= 5


def test_the_same_bytes_need_no_emulation(tmp_path: Path) -> None:
    found = judged(tmp_path, Scripted(rounded, {"output": OURS}))
    assert (found.precision.name, found.passes, found.resolution) == ("bytes", 1, 0.0)


def test_what_no_precision_explains_is_refused_with_figure_and_bound(tmp_path: Path) -> None:
    found = judged(tmp_path, Scripted(rounded, {"output": add(OURS, draw("wrong", 0.05))}))
    assert found.code == "VC350"
    assert "bfloat16 explains 0.008, and this is 6.25 of it (bound 1.5)" in found.refusal
    assert [row.code for row in findings_about(found)] == ["VC350"]


def test_noise_of_the_right_size_and_of_another_pattern_is_refused(tmp_path: Path) -> None:
    found = judged(tmp_path, Scripted(rounded, {"output": add(OURS, draw("wrong", 5e-4))}))
    assert found.code == "VC350"
    assert "explains the size, and its pattern is another one" in found.refusal


@pytest.mark.parametrize("size", [2e-5, 1e-4])
def test_outputs_too_near_for_a_coarse_precision_and_too_far_for_a_fine_one_are_refused(
    tmp_path: Path, size: float
) -> None:
    """An error of a migration that is smaller than noise: outputs of a GPU's TF32 are never so near."""
    expected = {"output": add(OURS, draw("wrong", size))}
    found = judged(tmp_path, Scripted(rounded, expected))
    assert found.code == "VC350"
    assert "at least 0.3 of it away from what the CPU gives" in found.refusal
    # whoever knows that only a part of the model was computed in it may say so
    assert not judged(tmp_path, Scripted(rounded, expected), metadata={"precision": "tf32"}).refusal


def test_a_stated_precision_is_the_only_one_that_is_tried(tmp_path: Path) -> None:
    expected = {"output": add(OURS, noise("float16", like=0.6))}
    worker = Scripted(rounded, expected)
    found = judged(tmp_path, worker, metadata={"precision": "16-mixed"})
    assert (found.precision.name, found.precision.stated, found.refusal) == ("float16", True, "")
    assert [row["precision"] for row in worker.requests] == ["", "float16"]
    other = judged(tmp_path, Scripted(rounded, expected), metadata={"precision": "float32"})
    assert other.code == "VC350"
    assert "float32, as stated, explains" in other.refusal


@pytest.mark.parametrize(
    ("size", "answer"), [(1e-2, "excluded"), (2e-3, "excluded"), (2e-5, "undecided"), (0, "no effect")]
)
def test_an_alteration_is_excluded_as_far_as_the_noise_lets_it(tmp_path: Path, size: float, answer: str) -> None:
    worker = Scripted(beside_alteration(size), {"output": add(OURS, noise("tf32", like=0.6))}, [EPS])
    found = judged(tmp_path, worker)
    (row,) = found.alterations
    assert (row.answer, found.refusal) == (answer, "")
    assert row.what == "eps of 18 LayerNorm: 1e-05 instead of 1e-06"
    codes = [finding.code for finding in findings_about(found)]
    assert codes == ([] if answer == "excluded" else ["VC352"])


def test_outputs_of_an_alteration_within_the_noise_are_refused_by_projection(tmp_path: Path) -> None:
    expected = add(OURS, noise("tf32", like=0.9), draw("eps", 4e-4))
    found = judged(tmp_path, Scripted(beside_alteration(4e-4), {"output": expected}, [EPS, GELU]))
    assert found.code == "VC351"
    assert "eps of 18 LayerNorm" in found.refusal
    right = judged(
        tmp_path, Scripted(beside_alteration(4e-4), {"output": add(OURS, noise("tf32", like=0.9))}, [EPS, GELU])
    )
    assert not right.refusal


def test_a_refusal_names_the_alteration_that_would_explain_it(tmp_path: Path) -> None:
    found = judged(tmp_path, Scripted(beside_alteration(0.1), {"output": add(OURS, draw("eps", 0.1))}, [EPS]))
    assert found.code == "VC350"
    assert "they go the way of eps of 18 LayerNorm" in found.refusal


def test_a_sample_of_layers_says_nothing_about_the_others(tmp_path: Path) -> None:
    changes = [{"kind": "channels", "at": "a", "of": 9}, {"kind": "bias", "at": "a", "of": 1}]

    def outputs(request: Any) -> Any:
        return {"output": draw("far away")} if request["alteration"] else rounded(request)

    found = judged(tmp_path, Scripted(outputs, {"output": add(OURS, noise("tf32", like=0.6))}, changes))
    assert [(row.answer, row.why) for row in found.alterations] == [
        ("excluded", ""),
        ("excluded", ""),
        ("undecided", "not tried"),
    ]
    assert "8 layers" in found.undecided[0].what


def inner(wrong: str = "") -> Any:
    """A model with two modules before its output; from one of them on everything is another model's."""

    def outputs(request: Any) -> Any:
        precision = request["precision"]
        rows = {}
        for name in ("output", "modules/a", "modules/b"):
            base = draw(name) if name != "output" else OURS
            rows[name] = add(base, noise(precision)) if precision else base
        return rows

    return outputs


def test_the_module_is_named_where_the_difference_begins(tmp_path: Path) -> None:
    told = noise("tf32", like=0.6)
    expected = {
        "output": add(OURS, draw("wrong", 0.4)),
        "modules/a": add(draw("modules/a"), told),
        "modules/b": add(draw("modules/b"), told, draw("wrong", 0.004)),
    }
    found = judged(tmp_path, Scripted(inner(), expected))
    assert (found.code, found.begins, found.extra) == ("VC350", "b", ())
    assert "the difference begins in b" in found.refusal


def drawing(request: Any) -> Any:
    return {**rounded(request), "z": draw(f"z {request['seed']}"), "mean": draw("mean")}


def test_what_depends_on_random_numbers_is_left_out_unless_it_came_alike(tmp_path: Path) -> None:
    names = {"output": OURS, "mean": draw("mean")}
    other = judged(tmp_path, Scripted(drawing, {**names, "z": draw("z of a GPU")}, draws=True))
    assert {row.name: bool(row.left_out) for row in other.outputs} == {"output": False, "mean": False, "z": True}
    assert [(row.code, row.keys[0].partition(":")[0]) for row in findings_about(other)] == [("VC353", "z")]
    alike = judged(tmp_path, Scripted(drawing, {**names, "z": draw("z 0")}, draws=True))
    assert not any(row.left_out for row in alike.outputs)
    seeded = judged(tmp_path, Scripted(drawing, {**names, "z": draw("z 3")}, draws=True), metadata={"seed": "3"})
    assert not any(row.left_out for row in seeded.outputs)


def test_what_was_made_on_the_cpu_with_a_stated_seed_must_come_alike(tmp_path: Path) -> None:
    worker = Scripted(drawing, {"output": OURS, "z": draw("another")}, draws=True)
    found = judged(tmp_path, worker, metadata={"seed": "0", "device": "cpu"})
    assert found.code == "VC350"
    assert found.refusal.startswith("z differs")


def test_a_file_with_nothing_but_random_outputs_is_refused_in_words(tmp_path: Path) -> None:
    worker = Scripted(lambda request: {"z": draw(f"z {request['seed']}")}, {"output": draw("another")}, draws=True)
    with pytest.raises(UsageError, match="output depend on random numbers"):
        judged(tmp_path, worker)


def test_missing_and_extra_outputs_are_said(tmp_path: Path) -> None:
    worker = Scripted(lambda request: {"0": OURS, "1": draw("mask")}, {"output": OURS, "loss": draw("loss")})
    found = judged(tmp_path, worker)
    assert (found.missing, found.extra) == (("1",), ("loss",))
    assert [row.code for row in findings_about(found)] == ["VC353"]


def test_a_file_without_an_output_of_the_class_is_refused_with_the_names(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no output of Unet2d is in it; name them output"):
        judged(tmp_path, Scripted(rounded, {"prediction": OURS}))


def unet(**settings: Any) -> Identity:
    """What the weights of a Unet2d tell: residual and task stay open."""
    architecture = find("Unet2d")
    found = infer(architecture, architecture.layout(complete(architecture, {})))
    assert found is not None
    open_rows = {row.name: row for row in found.undetermined}
    return Identity("Unet2d", architecture.target, "v0.1", "", {**found.config, **settings}, open_rows, ())


def by_settings(request: Any) -> Any:
    """A model whose residual path changes everything, and whose task changes nothing but where it is residual."""
    config = request["config"]
    base = draw("residual") if config["residual"] else OURS
    return {"output": add(base, noise(request["precision"])) if request["precision"] else base}


def test_what_the_weights_leave_open_is_settled_where_the_others_are_excluded(tmp_path: Path) -> None:
    worker = Scripted(by_settings, {"output": add(draw("residual"), noise("float16", like=0.6))})
    identity = unet()
    found = judged(tmp_path, worker, identity=identity, config=identity.config)
    assert not found.refusal
    assert found.settled == {"residual": True}
    assert dict(found.left_open) == {"task": ("seg", "reg")}
    assert sorted(row.answer for row in found.candidates) == ["excluded", "excluded", "fits", "no effect"]


def test_values_that_rounding_hides_stay_open(tmp_path: Path) -> None:
    def near(request: Any) -> Any:
        moved = draw("task", 1e-5) if request["config"]["task"] == "reg" else scale(0, OURS)
        return {"output": add(rounded(request)["output"], moved)}

    identity = unet()
    expected = {"output": add(OURS, noise("tf32", like=0.6))}
    found = judged(tmp_path, Scripted(near, expected), identity=identity, config=identity.config)
    assert set(found.left_open) >= {"task"}
    assert not found.refusal


def test_a_model_that_does_not_run_is_a_refusal(tmp_path: Path) -> None:
    def broken(request: Any) -> Any:
        raise ValueError("shapes do not fit")

    found = judged(tmp_path, Scripted(broken, {"output": OURS}))
    assert found.refusal == "the proof failed: ValueError: shapes do not fit"


@pytest.mark.parametrize("config", [{}, {"in_channels": 3}, {"num_blocks": 6}])
def test_an_input_that_the_class_does_not_take_is_refused_in_the_words_of_its_rule(
    tmp_path: Path, config: dict[str, int]
) -> None:
    def broken(request: Any) -> Any:
        raise ValueError("Given groups=1, weight of size [16, 1, 3, 3]")

    rule = find("Unet2d").refusal(complete(find("Unet2d"), config), SHAPE)
    inquiry = inquire(tmp_path, Scripted(broken, {"output": OURS}), config=config)
    assert bool(rule) == bool(config)
    if not rule:
        assert (
            inquiry.judge(print).refusal == "the proof failed: ValueError: Given groups=1, weight of size [16, 1, 3, 3]"
        )
        assert not inquiry.holds()
        return
    with pytest.raises(UsageError, match=rule) as caught:
        inquiry.judge(print)
    assert "Given groups" not in str(caught.value)
    assert "; save an input that the model takes, such as 2x" in str(caught.value)
    with pytest.raises(UsageError, match=rule):
        inquiry.holds()


def test_an_input_without_numbers_is_refused(tmp_path: Path) -> None:
    class Infinite(Scripted):
        def request(self, message: Any) -> Any:
            answer = super().request(message)
            return {**answer, "finite": False} if message["op"] == "outputs" else answer

    with pytest.raises(UsageError, match="input holds NaN or infinity; save an input of numbers"):
        judged(tmp_path, Infinite(rounded, {"output": OURS}))


def test_the_price_is_said_where_it_takes_long(tmp_path: Path) -> None:
    class Slow(Scripted):
        def request(self, message: Any) -> Any:
            answer = super().request(message)
            return {**answer, "seconds": 2.0} if message["op"] == "outputs" else answer

    lines: list[str] = []
    inquire(tmp_path, Slow(rounded, {"output": OURS}, [GELU])).judge(lines.append)
    assert lines == ["up to 5 forward passes of 2.0 s each: about 10 s"]
    inquire(tmp_path, Scripted(rounded, {"output": OURS}, [GELU])).judge(lines.append)
    assert len(lines) == 1


def test_one_of_many_plans_holds_or_not(tmp_path: Path) -> None:
    assert inquire(tmp_path, Scripted(rounded, {"output": OURS})).holds()
    assert inquire(tmp_path, Scripted(rounded, {"output": add(OURS, noise("tf32", like=0.6))})).holds()
    assert not inquire(tmp_path, Scripted(rounded, {"output": add(OURS, draw("wrong", 0.1))})).holds()
    hopeless = Scripted(rounded, {"output": draw("nothing alike")})
    assert not inquire(tmp_path, hopeless).holds()
    assert len(hopeless.requests) == 1


@pytest.mark.parametrize("difference", [0.0, 1e-7])
def test_a_new_file_must_give_what_the_plan_gave_to_the_last_bit(tmp_path: Path, difference: float) -> None:
    def outputs(request: Any) -> Any:
        moved = difference if request["label"] == "new file" else 0.0
        return {"output": add(rounded(request)["output"], draw("file", moved))}

    inquiry = inquire(tmp_path, Scripted(outputs, {"output": add(OURS, noise("tf32", like=0.6))}, [EPS, GELU]))
    agreement = inquiry.judge(lambda line: None)
    assert not agreement.refusal
    if not difference:
        inquiry.refuse_others(agreement, inquiry.best)
        return
    with pytest.raises(PlanRefused, match="does not give what the plan gives"):
        inquiry.refuse_others(agreement, inquiry.best)

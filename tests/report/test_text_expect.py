"""What a person reads about outputs: precision with figure and bound, what is settled, what is not excluded."""

from __future__ import annotations

from viscy_compat.agreement import Agreement, Alternative, OutputAgreement, Precision
from viscy_compat.report.terminal import Style
from viscy_compat.report.text_expect import agreement_lines

FOUND = Agreement(
    "io.safetensors",
    Precision("tf32", ratio=0.93, bound=1.5, noise=6e-4, others=("tf32-all",)),
    distance=5.6e-4,
    outputs=(
        OutputAgreement("mean", largest=1e-3, scale=2.0, distance=5e-4),
        OutputAgreement("logvar", equal=True),
        OutputAgreement("z", left_out="random"),
    ),
    settled={"head_pool": True},
    left_open={"task": ("seg", "reg")},
    alterations=(
        Alternative("eps", "excluded", coefficient=0.01, spread=0.02, size=1e-3),
        Alternative("GELU", "undecided", coefficient=0.3, spread=0.4, size=1e-5),
        Alternative("bias", "no effect"),
        Alternative("channels", "undecided", why="not tried"),
    ),
    made={"device": "cuda", "seed": "0"},
)


def lines(agreement: Agreement) -> list[str]:
    return [" ".join(line.split()) for line in agreement_lines(agreement, Style(width=300))]


def test_an_agreement_says_how_well_and_what_it_leaves_open() -> None:
    assert lines(FOUND) == [
        "expect io.safetensors",
        "made on device cuda, seed 0",
        (
            "made in convolutions in TF32, as torch's defaults on a GPU give it: 0.93 of the rounding that explains (0.0006; "
            "bound 1.5); tf32-all would explain it too"
        ),
        "output mean: largest difference 0.001 (values up to 2), relative L2 0.0005",
        "output logvar: equal, byte for byte",
        "output z: not compared: random",
        "settled head_pool=true, by these outputs",
        "open task=seg or reg: these outputs do not tell them apart",
        "excluded eps",
        "not excl. GELU (coefficient 0.3, give or take 0.4; it moves outputs by 1e-05)",
        "not excl. bias (it does not move these outputs)",
        "not excl. channels",
        "not excl. whatever else moves these outputs by less than 0.0009 (relative L2)",
    ]


def test_what_was_found_in_halves_may_have_been_a_model_of_halves_and_what_was_stated_is_not_asked() -> None:
    halves = Precision("float16", ratio=1.0, bound=1.5, noise=1e-3)
    figures = "1.00 of the rounding that explains (0.001; bound 1.5)"
    autocast, model = (
        "float16, as autocast (16-mixed) gives it",
        "a model of float16, as model.half() (16-true) makes it",
    )
    assert f"made in {autocast}, or {model}: {figures}" in lines(FOUND._replace(precision=halves))
    stated = FOUND._replace(precision=halves._replace(stated=True))
    assert f"made in {autocast}: {figures}, as stated" in lines(stated)


def test_nothing_is_called_proven() -> None:
    for agreement in (FOUND, FOUND._replace(precision=Precision("bytes")), FOUND._replace(refusal="no", code="VC350")):
        assert not any("prove" in line for line in lines(agreement))


def test_a_refusal_has_no_precision() -> None:
    assert not any(line.startswith("made in") for line in lines(FOUND._replace(refusal="no", code="VC350")))

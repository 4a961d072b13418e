"""Reports to render: honest ones, and ones that hold what a hostile checkpoint could have named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from viscy_compat.exhibits import Exhibits, Fact, Map, Table
from viscy_compat.findings import Finding, Report

HOSTILE = (
    "<script>alert(1)</script>",
    "</title><img src=x onerror=alert(1)>",
    "::error::injected",
    "a%0A::error::x",
    "line\n::error::x\r\n##[error]y",
    "\x1b[31mred\x00\u202e",
    "`code` ``more`` |pipe| \\|",
    "[link](javascript:x) ![i](h) *bold* _em_ ~~s~~ <b>",
    "@someone #1 https://example.com www.example.com",
    "]]> & &amp; ' \"",
    "\ud800 \ufffe \U0001f600",
    "# heading\n- item\n```\nfence",
    "$math$ ~tilde~",
    "",
    " ",
)


class Fake(NamedTuple):
    """A result that is what a test says."""

    title: str
    exit_code: int = 0
    findings: Sequence[Finding] = ()
    data: dict[str, Any] = {}  # noqa: RUF012 (never written to)

    def to_dict(self) -> dict[str, Any]:
        return {**self.data, "findings": [finding.to_dict() for finding in self.findings]}


class Shown(NamedTuple):
    """A result that chooses what it shows."""

    title: str
    shown: Exhibits
    exit_code: int = 0
    findings: Sequence[Finding] = ()

    def to_dict(self) -> dict[str, Any]:
        return {"class": self.title, "findings": []}

    def exhibits(self) -> Exhibits:
        return self.shown


SIZES = Map(
    "BetaVae25D",
    Fact("input size", "pixels"),
    Fact("stride", ""),
    ("32", "64", "96", "128"),
    ("2", "4"),
    (("does not build", "exact", "rounded", "exact"), ("does not build", "lossy", "lossy", "odd one")),
)


def mixed() -> Report[Any]:
    """A report with a result of every kind."""
    stem = Finding("VC201", "shape (32, 1, 5, 4, 4), not (32, 2, 5, 4, 4)", ("model.stem.conv.weight",), "look it up")
    many = Finding("VC101", "40 tensors are missing", tuple(f"stages.{i}.gamma" for i in range(40)))
    check = {"file": "runs/epoch=48 step=1.ckpt", "verdict": "incompatible", "tensors": 194}
    verify = {
        "class": "BetaVae25D",
        "source": {"kind": "git", "revision": "fe7a5da^"},
        "failures": [
            {"config": {"latent_dim": 250}, "code": "VC501", "message": "bytes differ", "module": "encoder.0"}
        ],
    }
    results = (
        Fake("runs/epoch=48 step=1.ckpt", 1, (stem, many, Finding("VC302", "stem_stride is not told")), check),
        Fake("BetaVae25D v0.4", 1, (), verify),
        Fake("BetaVaeMonai v0.4", 2, (), {"class": "BetaVaeMonai"}),
        Fake("ResNet3dEncoder v0.4", 0, (Finding("VC103", "prefix 'model.'"),), {"class": "ResNet3dEncoder"}),
        Shown("maps", Exhibits(maps=(SIZES,))),
    )
    marks = Table(
        "classes", ("class", "keys", "numbers"), (("BetaVae25D", "holds", "findings"), ("X", "undecided", "-"))
    )
    return Report("gate", results, headline="source: wheel 0.4.0", exhibits=Exhibits(tables=(marks,)))


def hostile(words: str) -> Report[Any]:
    """A report that has the same words in every place that a file or a class can fill."""
    finding = Finding("VC201", words, (words, f"{words}.weight"), words)
    data = {"file": words, "verdict": words, "stage": words, words: words, "rows": [{words: words, "module": words}]}
    shown = Exhibits(
        (Fact(words, words),),
        (Table(words, (words, "b"), ((words, words),)),),
        (Map(words, Fact(words, words), Fact(words, words), (words,), (words,), ((words,),)),),
    )
    results = (Fake(words, 1, (finding,), data), Fake(words, 2, (), data), Shown(words, shown))
    return Report("check", results, headline=words, exhibits=shown)


def clean() -> Report[Any]:
    """A report in which everything holds."""
    return Report("gate", [Fake("ContrastiveEncoder v0.3", data={"class": "ContrastiveEncoder"})])


def empty() -> Report[Any]:
    """A report about nothing, which is no pass by itself."""
    return Report("check", [], exit_code=2)


ALL = {
    "mixed": mixed(),
    "clean": clean(),
    "empty": empty(),
    **{f"hostile{number}": hostile(words) for number, words in enumerate(HOSTILE)},
}

"""A model card says what is known of a remapped file, and nothing that only its owner can say."""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path

import pytest
import yaml

import viscy_compat as vc
from support.layouts import hollow
from viscy_compat.architectures import find
from viscy_compat.architectures.architecture import complete
from viscy_compat.cli import main
from viscy_compat.errors import OutputRefused, UsageError


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A file of an older generation."""
    encoder = find("ContrastiveEncoder")
    generation = encoder.generations[0]
    case = (generation.cases or encoder.cases)[0]
    return hollow(tmp_path / "old.safetensors", generation.layout(complete(encoder, case.config)))


def test_a_card_has_front_matter_provenance_and_digests(old: Path, tmp_path: Path) -> None:
    new, card = tmp_path / "new.safetensors", tmp_path / "card.md"
    assert main(["remap", str(old), "-o", str(new), "--card", str(card), "-q"]) == 0
    text = card.read_text()
    front = yaml.safe_load(text.split("---")[1])
    assert front == {"library_name": "viscy-models", "tags": ["viscy", "ContrastiveEncoder", "safetensors"]}
    for file in (old, new):
        assert sha256(file.read_bytes()).hexdigest() in text
    assert "`viscy_models.contrastive.ContrastiveEncoder` (v0.3): 194 tensors" in text
    assert "| `stem_stride` | `...` | not known |" in text
    assert "`projection.2.weight -> projection.3.weight`" in text
    assert "v0.2 returns projections of length 1" in text
    code = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(code) == 1
    compile(code[0], "card", "exec")


def test_the_digest_of_a_source_that_is_replaced_is_the_old_one(old: Path, tmp_path: Path) -> None:
    before, card = sha256(old.read_bytes()).hexdigest(), tmp_path / "card.md"
    assert main(["remap", str(old), "--in-place", "--card", str(card), "-q"]) == 0
    assert before in card.read_text()
    assert sha256(old.read_bytes()).hexdigest() in card.read_text()


def test_a_card_is_refused_before_anything_is_written(
    old: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "card.md").write_text("mine")
    new = tmp_path / "new.safetensors"
    for words in (["-o", str(new), "--card", str(tmp_path / "card.md")], ["--card", str(tmp_path / "x.md")]):
        assert main(["remap", str(old), *words]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
    assert not new.exists()
    assert (tmp_path / "card.md").read_text() == "mine"
    assert main(["remap", str(old), "-o", str(new), "--card", str(tmp_path / "card.md"), "--force", "-q"]) == 0
    assert (tmp_path / "card.md").read_text().startswith("---\n")


def test_a_card_is_a_keyword_in_python_too(old: Path, tmp_path: Path) -> None:
    new, card = tmp_path / "new.safetensors", tmp_path / "card.md"
    (result,) = vc.remap(old, new, card=card).results
    assert result.files == {"card": str(card)}
    assert sha256(new.read_bytes()).hexdigest() in card.read_text()
    with pytest.raises(OutputRefused):
        vc.remap(old, new, card=card)
    with pytest.raises(UsageError, match="card= is about a new file"):
        vc.remap(old, card=tmp_path / "x.md")

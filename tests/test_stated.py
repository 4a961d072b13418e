"""What users state is read exactly, and what cannot be meant gets one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from viscy_compat.errors import UsageError
from viscy_compat.stated import parse_settings, read_config

CONTRASTIVE = """
seed_everything: 42
model:
  class_path: viscy.representation.engine.ContrastiveModule
  init_args:
    encoder:
      class_path: viscy.representation.contrastive.ContrastiveEncoder
      init_args:
        backbone: convnext_tiny
        in_channels: 2
        stem_stride: [5, 4, 4]
    lr: 0.00002
"""

VSUNET = """
model:
  class_path: viscy.translation.engine.VSUNet
  init_args:
    architecture: UNeXt2
    model_config: {in_channels: 1, in_stack_depth: 5, head_pool: true}
"""


def test_nested_encoder_arguments_are_found_under_their_class(tmp_path: Path) -> None:
    path = tmp_path / "config.yml"
    path.write_text(CONTRASTIVE)
    outer, inner = read_config(str(path))
    assert (outer.class_name, dict(outer.arguments)) == ("ContrastiveModule", {"lr": 2e-05})
    assert inner.class_name == "ContrastiveEncoder"
    assert inner.arguments == {"backbone": "convnext_tiny", "in_channels": 2, "stem_stride": (5, 4, 4)}


def test_a_model_config_is_found(tmp_path: Path) -> None:
    path = tmp_path / "config.yml"
    path.write_text(VSUNET)
    assert read_config(str(path))[1].arguments == {"in_channels": 1, "in_stack_depth": 5, "head_pool": True}


def test_shared_aliases_are_walked_once(tmp_path: Path) -> None:
    rows = ["a0: &a0 {class_path: x.Y, init_args: {n: 1}}"]
    rows += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    path = tmp_path / "bomb.yml"
    path.write_text("\n".join(rows))
    assert [statement.arguments for statement in read_config(str(path))] == [{"n": 1}]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1, 2", "is no YAML"),
        ("just words", "states no constructor arguments"),
        ("!!python/object/apply:os.mkdir [x]", "is no YAML"),
    ],
)
def test_what_is_no_configuration_gets_one_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "config.yml"
    path.write_text(text)
    with pytest.raises(UsageError, match=said) as refused:
        read_config(str(path))
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "x").exists()


def test_a_missing_configuration_is_named() -> None:
    with pytest.raises(UsageError, match=r"nowhere\.yml: No such file"):
        read_config("nowhere.yml")


@pytest.mark.parametrize("setting", ["stem_stride", "=3", "a b=3", "--x=1"])
def test_a_setting_without_name_or_value_is_refused(setting: str) -> None:
    with pytest.raises(UsageError, match="is not NAME=VALUE"):
        parse_settings([setting])


def test_a_name_stated_twice_with_two_values_is_refused() -> None:
    assert parse_settings(["a=1", "a=1"]) == {"a": 1}
    with pytest.raises(UsageError, match="states a twice, as 1 and 2"):
        parse_settings(["a=1", "a=2"])

"""Configurations as people have them are read exactly, composed as upstream composes them, and never executed."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from viscy_compat.checkpoint.pickle_nodes import Unread
from viscy_compat.config_files import read_config
from viscy_compat.diagnosis.offers import beside
from viscy_compat.errors import UsageError

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
    _, outer, inner = read_config(str(path))
    assert (outer.class_name, dict(outer.arguments)) == ("viscy.representation.engine.ContrastiveModule", {"lr": 2e-05})
    assert inner.class_name == "viscy.representation.contrastive.ContrastiveEncoder"
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
    assert [row.arguments for row in read_config(str(path)) if "n" in row.arguments] == [{"n": 1}]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1, 2", "is no YAML"),
        ("just words", "is no mapping"),
        ("seed: {a: 1}", "states no constructor arguments"),
        ("!!python/object/apply:os.mkdir [x]", "is no mapping"),
        ("base: 3", "neither a path nor a list"),
    ],
)
def test_what_is_no_configuration_gets_one_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "config.yml"
    path.write_text(text)
    with pytest.raises(UsageError, match=said) as refused:
        read_config(str(path))
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "x").exists()


def test_what_a_tag_calls_a_number_or_arguments_need_not_be_any(tmp_path: Path) -> None:
    path = tmp_path / "config.yml"
    words: tuple[str, ...] = ("!!int ''", "!!int '-'", "!!int '0x'", "!!float '_'", f"!!float '1{':59' * 900}.5'")
    words += ("!!python/object/new:numpy.dtype {args: 5}", "!!python/object/new:a.b {args: {a: 1}, state: 4}")
    for word in words:
        path.write_text(f"model: {{in_channels: {word}, out_channels: !!int '2'}}")
        (row,) = read_config(str(path))
        assert dict(row.arguments)["out_channels"] == 2
        assert not isinstance(dict(row.arguments)["in_channels"], int)


@pytest.mark.parametrize("levels", [300, 500, 900, 940, 980, 5_000])
def test_two_deep_documents_are_merged_or_refused_in_one_line(tmp_path: Path, levels: int) -> None:
    (tmp_path / "below.json").write_text('{"a":' * levels + "1" + "}" * levels)
    path = tmp_path / "config.json"
    path.write_text('{"base": "below.json", "b": 1, ' + ('{"a":' * levels).removeprefix("{") + "2" + "}" * levels)
    try:
        assert read_config(str(path))
    except UsageError as refused:
        # how deep the parser and the merge go depends on Python
        assert re.search("nested too deeply|maximum recursion depth", str(refused))  # noqa: PT017 (either is right)


def test_a_missing_configuration_is_named() -> None:
    with pytest.raises(UsageError, match=r"nowhere\.yml: No such file"):
        read_config("nowhere.yml")


def model(**arguments: Any) -> str:
    inner = ", ".join(f"{name}: {value}" for name, value in arguments.items())
    return f"model: {{init_args: {{architecture: UNeXt2, model_config: {{{inner}}}}}}}\n"


def config_of(path: Path) -> dict[str, Any]:
    """What a configuration states for the model."""
    (found,) = (row.arguments for row in read_config(str(path)) if row.place == "model.init_args.model_config")
    return dict(found)


def test_base_is_followed_from_the_file_that_names_it_and_later_files_win(tmp_path: Path) -> None:
    (tmp_path / "recipes" / "deep").mkdir(parents=True)
    (tmp_path / "recipes" / "deep" / "first.yml").write_text(model(in_channels=1, head_pool="true", dims="[1, 2]"))
    (tmp_path / "recipes" / "second.yml").write_text("base: deep/first.yml\n" + model(in_channels=2, dims="[3]"))
    (tmp_path / "run").mkdir()
    leaf = tmp_path / "run" / "predict.yml"
    leaf.write_text("base:\n  - ../recipes/deep/first.yml\n  - ../recipes/second.yml\n" + model(out_channels=5))
    assert config_of(leaf) == {"in_channels": 2, "head_pool": True, "dims": (3,), "out_channels": 5}
    leaf.write_text("base: ../recipes/deep/first.yml\n_anchor: &a {head_pool: false}\n" + model(**{"<<": "*a"}))
    assert config_of(leaf)["head_pool"] is False


def test_a_circle_of_bases_is_refused_and_a_diamond_is_not(tmp_path: Path) -> None:
    for name, bases in {"a": "b.yml", "b": "c.yml", "c": "a.yml"}.items():
        (tmp_path / f"{name}.yml").write_text(f"base: {bases}\n" + model(n=1))
    with pytest.raises(UsageError, match="builds on itself"):
        read_config(str(tmp_path / "a.yml"))
    (tmp_path / "c.yml").write_text(model(n=3))
    (tmp_path / "d.yml").write_text("base: [b.yml, c.yml]\n" + model(m=4))
    assert config_of(tmp_path / "d.yml") == {"n": 3, "m": 4}


def test_bases_without_end_and_missing_ones_are_refused(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"{number}.yml").write_text(f"base: {number + 1}.yml\n" + model(n=number))
    with pytest.raises(UsageError, match="16 files deep"):
        read_config(str(tmp_path / "0.yml"))
    with pytest.raises(UsageError, match=r"correct the base: entry of .*19\.yml"):
        read_config(str(tmp_path / "19.yml"))


@pytest.mark.parametrize("kind", ["fifo", "folder", "large"])
def test_what_is_no_small_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "config.yml"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.write_bytes(b"#" * (1 << 20) + b"\n")
    with pytest.raises(UsageError, match=r"config\.yml"):
        read_config(str(path))


def test_tags_are_read_where_they_are_numbers_and_passed_over_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "hparams.yaml"
    path.write_text(
        """
strides: !!python/tuple [2, 2]
loss: !!python/object:torch.nn.MSELoss {reduction: mean}
optimizer: !!python/name:torch.optim.Adam
made: !!python/object/apply:os.mkdir [made]
use_sigmoid: !!python/object/apply:numpy._core.multiarray.scalar
- &dtype !!python/object/apply:numpy.dtype
  args: [b1, false, true]
  state: !!python/tuple [3, '|', null, null, null, -1, -1, 0]
- !!binary |
  AQ==
latent_size: !!python/object/apply:numpy.core.multiarray.scalar
- !!python/object/apply:numpy.dtype
  args: [i8, false, true]
  state: !!python/tuple [3, '<', null, null, null, -1, -1, 0]
- !!binary |
  CAAAAAAAAAA=
"""
    )
    (row,) = read_config(str(path))
    values = dict(row.arguments)
    assert {name: values[name] for name in ("strides", "use_sigmoid", "latent_size")} == {
        "strides": (2, 2),
        "use_sigmoid": True,
        "latent_size": 8,
    }
    assert isinstance(values["optimizer"], Unread)
    assert isinstance(values["made"], Unread)
    assert not Path("made").exists()


def test_json_hydra_and_monai_forms_are_read(tmp_path: Path) -> None:
    json = tmp_path / "config.json"
    json.write_text('{"architecture": "UNeXt2", "head_pool": true, "stem_kernel_size": [5, 4, 4]}')
    (row,) = read_config(str(json))
    assert (row.class_name, row.arguments["stem_kernel_size"]) == ("UNeXt2", (5, 4, 4))
    bundle = tmp_path / "inference.json"
    bundle.write_text(
        '{"network_def": {"_target_": "viscy_models.vae.BetaVaeMonai", "in_shape": "@shape", "act": null}}'
    )
    (row,) = (row for row in read_config(str(bundle)) if row.class_name)
    assert row.arguments == {"in_shape": Unread("the expression @shape"), "act": None}
    json.write_text("{")
    with pytest.raises(UsageError, match="is no JSON"):
        read_config(str(json))


@pytest.mark.parametrize("name", ["config.yaml", "hparams.yaml", "config.json", ".hydra/config.yaml"])
def test_a_configuration_is_seen_beside_the_file_and_beside_its_folder(tmp_path: Path, name: str) -> None:
    for folder in ("", "checkpoints/"):
        place = tmp_path / (folder or "above") / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    (tmp_path / "above" / "checkpoints").mkdir()
    assert list(beside(str(tmp_path / "checkpoints" / "last.ckpt"))) == [str(tmp_path / "checkpoints" / name)]
    assert list(beside(str(tmp_path / "above" / "checkpoints" / "last.ckpt"))) == [str(tmp_path / "above" / name)]
    assert list(beside(str(tmp_path / "last.ckpt"))) == []


def test_a_chain_of_merge_keys_is_bounded_and_a_short_one_is_followed(tmp_path: Path) -> None:
    """Each mapping takes over all that came before it: a square of entries."""
    path = tmp_path / "a.yml"
    chain = [f"k{i}: &a{i} {{<<: {f'*a{i - 1}' if i else '{}'}, z{i}: 1}}" for i in range(3_000)]
    path.write_text("\n".join(chain))
    with pytest.raises(UsageError, match="merge keys"):
        read_config(str(path))
    path.write_text("\n".join([*chain[:20], "model: {init_args: {<<: *a19, latent_size: 8}}"]))
    (statement,) = read_config(str(path))
    assert statement.arguments["latent_size"] == 8
    assert "z0" in statement.arguments

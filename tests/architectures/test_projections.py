"""Files whose projection upstream's engine replaced: the exact rename, and what depends on what no file tells."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.layouts import hollow
from viscy_compat import check, remap
from viscy_compat.architectures import find
from viscy_compat.architectures.architecture import complete
from viscy_compat.checkpoint import open_checkpoint
from viscy_compat.layout import Layout, TensorSpec
from viscy_compat.operations import Rename

CONFIG = {"backbone": "convnext_tiny", "in_channels": 1, "in_stack_depth": 5}
WHOLE: Layout = find("ContrastiveEncoder").layout(complete(find("ContrastiveEncoder"), CONFIG))
TRUNK = {name: spec for name, spec in WHOLE.items() if not name.startswith("projection.")}
NORM = ("weight", "bias", "running_mean", "running_var")


def head(places: tuple[int, ...], *, norms: tuple[str, ...] = NORM, width: int = 768) -> Layout:
    """A projection of two layers with norms, at these places below ``backbone``."""
    first, norm, second, last = places
    found: Layout = {}
    for place, shape in ((first, (width, width)), (norm, (width,)), (second, (128, width)), (last, (128,))):
        parts = norms if place in (norm, last) else ("weight", "bias")
        for part in parts:
            found[f"projection.backbone.{place}.{part}"] = TensorSpec(shape if part == "weight" else shape[:1])
        if place in (norm, last) and "running_mean" in norms:
            found[f"projection.backbone.{place}.num_batches_tracked"] = TensorSpec((), "int64")
    return found


@pytest.mark.parametrize("places", [(0, 1, 3, 4), (0, 1, 4, 5)])
def test_the_mlp_of_upstream_is_an_exact_rename(tmp_path: Path, places: tuple[int, ...]) -> None:
    path = hollow(tmp_path / "mlp.safetensors", {**TRUNK, **head(places)})
    (result,) = check(str(path)).results
    assert result.verdict == "remappable"
    plan = remap(path).results[0].plan
    assert plan is not None
    moved = {row.source: row.target for row in plan.operations if isinstance(row, Rename) and row.source != row.target}
    *_, second, last = places
    assert moved[f"projection.backbone.{second}.weight"] == "projection.3.weight"
    assert moved[f"projection.backbone.{last}.running_var"] == "projection.4.running_var"
    assert set(moved.values()) == set(WHOLE) - set(TRUNK)
    assert any("activation" in finding.message for finding in result.findings)


@pytest.mark.parametrize("places", [(0, 1, 3, 4), (0, 1, 4, 5)])
@pytest.mark.parametrize("backbone", ["resnet18", "resnet50"])
def test_the_mlp_of_upstream_is_an_exact_rename_in_three_dimensions_too(
    tmp_path: Path, backbone: str, places: tuple[int, ...]
) -> None:
    width = {"resnet18": 512, "resnet50": 2048}[backbone]
    encoder = find("ResNet3dEncoder")
    whole = encoder.layout(complete(encoder, {"backbone": backbone, "embedding_dim": width}))
    trunk = {name: spec for name, spec in whole.items() if not name.startswith("projection.")}
    path = hollow(tmp_path / "mlp.safetensors", {**trunk, **head(places, width=width)})
    (result,) = check(str(path)).results
    assert result.identity is not None
    assert (result.verdict, result.identity.class_name) == ("remappable", "ResNet3dEncoder")
    plan = remap(path).results[0].plan
    assert plan is not None
    renames = {row.source: row.target for row in plan.operations if isinstance(row, Rename)}
    assert len(renames) == len(plan.operations)
    assert set(renames.values()) == set(whole)
    assert renames[f"projection.backbone.{places[2]}.bias"] == "projection.3.bias"


def test_every_file_of_the_class_says_that_projections_depend_on_the_activation(tmp_path: Path) -> None:
    (result,) = check(str(hollow(tmp_path / "plain.safetensors", WHOLE))).results
    (finding,) = [row for row in result.findings if row.code == "VC380"]
    assert (finding.severity, result.exit_code) == ("warning", 0)
    assert "projections (not embeddings)" in finding.message


@pytest.mark.parametrize(
    ("projection", "what"),
    [
        ({"projection.weight": TensorSpec((128, 768)), "projection.bias": TensorSpec((128,))}, "another module"),
        ({}, "another module"),
        # Sequential(Linear, LayerNorm, GELU, Linear): names of today's layout, and less of them
        (
            {
                name: spec
                for name, spec in WHOLE.items()
                if name.startswith("projection.")
                and not name.startswith(("projection.1.run", "projection.1.num", "projection.4."))
            },
            "another module",
        ),
        (head((0, 1, 3, 4), norms=("weight", "bias")), "layer norms"),
    ],
)
def test_another_module_in_its_place_is_said_to_leave_embeddings_alone(
    tmp_path: Path, projection: Layout, what: str
) -> None:
    (result,) = check(str(hollow(tmp_path / "other.safetensors", {**TRUNK, **projection}))).results
    assert result.verdict == "incompatible"
    (finding,) = [row for row in result.findings if row.code == "VC307"]
    assert what in finding.message
    assert "embeddings do not depend on it" in finding.message


def test_one_missing_tensor_of_the_projection_is_no_other_module(tmp_path: Path) -> None:
    lacking = {name: spec for name, spec in WHOLE.items() if name != "projection.3.bias"}
    (result,) = check(str(hollow(tmp_path / "lacking.safetensors", lacking))).results
    assert "VC307" not in {row.code for row in result.findings}


@pytest.mark.parametrize("places", [(0, 1, 3, 4), (0, 1, 4, 5)])
def test_the_way_back_is_to_the_form_that_the_record_names(tmp_path: Path, places: tuple[int, ...]) -> None:
    """Without a record any file of today's layout could have come from either form."""
    there, back = tmp_path / "there.safetensors", tmp_path / "back.safetensors"
    remap(hollow(tmp_path / "mlp.safetensors", {**TRUNK, **head(places)}), there, config={"stem_stride": (5, 4, 4)})
    remap(there, back, reverse=True, config={"stem_stride": (5, 4, 4)})
    assert {*open_checkpoint(str(back)).tensors} == {*TRUNK, *head(places)}

"""Files of several models, as upstream's modules save them: each part by its own name, and what they say of themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

import viscy_compat as vc
from support.layouts import hollow, layout_of
from viscy_compat.architectures import find
from viscy_compat.checkpoint import open_checkpoint
from viscy_compat.cli import main
from viscy_compat.diagnosis.class_paths import MOVED
from viscy_compat.errors import MissingExtra
from viscy_compat.layout import Layout, TensorSpec
from viscy_compat.stated import FILE, statements_in

VIT = dict(find("UNetViT3D").cases[0].config)
GENERATOR = layout_of("UNetViT3D", **VIT)
DISCRIMINATOR = {
    f"discriminators.{scale}.{layer}.weight": TensorSpec((8, 8, 3, 3, 3)) for scale in (0, 1) for layer in range(5)
}


def below(**parts: Layout) -> Layout:
    """Several layouts in one, each below its name."""
    return {f"{part}.{name}": spec for part, layout in parts.items() for name, spec in layout.items()}


@pytest.fixture
def gan(tmp_path: Path) -> Path:
    parts = below(generator=GENERATOR, generator_ema=GENERATOR, discriminator=DISCRIMINATOR)
    return hollow(tmp_path / "gan.safetensors", parts)


def test_each_part_of_a_gan_is_listed_by_its_name_class_and_size(gan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["check", str(gan)])
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    for part in ("generator", "generator_ema"):
        assert any(f":{part}.: UNetViT3D v0.5, {len(GENERATOR)} tensors, 208.3 kB" in line for line in lines), part
    assert any(":discriminator.: of no known class, 10 tensors, 69.1 kB" in line for line in lines)


def test_one_part_becomes_a_checkpoint_of_its_own(gan: Path, tmp_path: Path) -> None:
    out = tmp_path / "generator.safetensors"
    main(["remap", str(gan), "--state-dict", "generator_ema.", "-o", str(out), "-q"])
    tensors = open_checkpoint(str(out)).tensors
    assert {name: tensor.spec for name, tensor in tensors.items()} == dict(GENERATOR)
    (result,) = vc.check(str(out)).results
    assert result.identity is not None
    assert (result.verdict, result.identity.class_name) == ("compatible", "UNetViT3D")


def test_joint_encoders_and_a_classifier_are_told_apart(tmp_path: Path) -> None:
    encoder = layout_of("ContrastiveEncoder", backbone="convnext_tiny", in_channels=1, in_stack_depth=5)
    joint = hollow(tmp_path / "joint.safetensors", below(source_encoder=encoder, target_encoder=encoder))
    (result,) = vc.check(str(joint)).results
    assert [row.address for row in result.sets] == [":source_encoder.", ":target_encoder."]
    head = {"classifier.weight": TensorSpec((3, 768)), "classifier.bias": TensorSpec((3,))}
    (result,) = vc.check(str(hollow(tmp_path / "classifier.safetensors", {**below(encoder=encoder), **head}))).results
    (outside,) = [finding for finding in result.findings if finding.code == "VC106"]
    assert "2 tensors (9228 bytes) stand outside 'encoder.'" in outside.message


@pytest.mark.parametrize("averages", [{"ema": GENERATOR}, {}])
def test_what_belongs_to_no_set_is_listed_with_its_size(tmp_path: Path, averages: dict[str, Layout]) -> None:
    head = {"0.weight": TensorSpec((4, 8)), "0.bias": TensorSpec((4,))}
    loose = {**below(head=head), "centre": TensorSpec((1, 4))}
    parts = {**below(model=GENERATOR, **averages, discriminator=DISCRIMINATOR), **loose}
    (result,) = vc.check(str(hollow(tmp_path / "a.safetensors", parts))).results
    (rest,) = [finding for finding in result.findings if finding.code == "VC106"]
    assert rest.message.startswith("3 tensors (160 bytes) belong to none of these sets of weights")
    assert set(rest.keys) == {*loose}
    (result,) = vc.check(str(tmp_path / "a.safetensors"), state_dict=":model.").results
    assert "VC106" not in [finding.code for finding in result.findings]


@pytest.mark.torch
def test_a_part_of_a_module_takes_no_optimizer_along_that_counts_all_of_it(tmp_path: Path) -> None:
    """A GAN has two, and neither is about the averages; `remap` keeps them where it keeps the whole module."""
    torch = pytest.importorskip("torch")
    spec = layout_of("Unet2d", num_blocks=2)
    tensors = {name: torch.zeros(row.shape, dtype=getattr(torch, row.dtype)) for name, row in spec.items()}
    names = [name for name in spec if not name.endswith(("_mean", "_var", "_tracked"))]
    groups = [{"params": [*range(len(names))], "lr": 1e-3}]
    optimizer = {"state": {0: {"exp_avg": tensors[names[0]]}}, "param_groups": groups}
    state = {f"{part}.{name}": tensor.clone() for part in ("generator", "ema") for name, tensor in tensors.items()}
    path = tmp_path / "gan.ckpt"
    held = {"pytorch-lightning_version": "2.5.0", "state_dict": state, "optimizer_states": [optimizer, optimizer]}
    torch.save(held, path)
    stated = {"residual": False, "task": "reg"}
    (result,) = vc.remap(str(path), str(tmp_path / "part.ckpt"), state_dict="ema.", config=stated).results
    assert result.left_behind == ("optimizer_states",)
    assert sorted(torch.load(tmp_path / "part.ckpt")) == ["pytorch-lightning_version", "state_dict"]
    whole = {**held, "state_dict": {f"model.{name}": tensor for name, tensor in tensors.items()}}
    torch.save(whole, path)
    vc.remap(str(path), str(tmp_path / "whole.ckpt"), config=stated)
    assert "optimizer_states" in torch.load(tmp_path / "whole.ckpt")


def test_a_stranger_is_listed_by_its_parts_with_their_sizes(tmp_path: Path) -> None:
    layers = {f"backbone.layer.{index}.weight": TensorSpec((64, 64)) for index in range(12)}
    (result,) = vc.check(
        str(hollow(tmp_path / "a.safetensors", {**layers, "head.weight": TensorSpec((2, 64))}))
    ).results
    (finding,) = result.findings
    assert "backbone.* 12 tensors, 0.2 MB; head.* 1 tensor, 512 bytes" in finding.message


@pytest.mark.parametrize(
    ("saved", "class_name"),
    [
        ({"architecture": "UNetViT3D", "model_config": {"num_heads": 2}, "lr": 1e-4}, "UNetViT3D"),
        ({"architecture": "FNet3D", "model_config": {"num_heads": 2}}, "FNet3D"),
        ({"net_config": {"num_heads": 2}, "transport_config": {"path_type": "Linear"}}, ""),
        (
            {
                "architecture": "UNetViT3D",
                "generator_config": {"num_heads": 2},
                "discriminator_config": {"in_channels": 2},
            },
            "UNetViT3D",
        ),
        ({"encoder": {"class_path": "a.ContrastiveEncoder", "init_args": {"num_heads": 2}}}, "a.ContrastiveEncoder"),
    ],
)
def test_what_upstreams_modules_save_is_read(saved: dict[str, object], class_name: str) -> None:
    rows = [row for row in statements_in({"hyper_parameters": saved}, FILE) if "num_heads" in row.arguments]
    assert [(row.class_name, dict(row.arguments)) for row in rows] == [(class_name, {"num_heads": 2})]


def test_every_module_of_old_viscy_has_a_successor_in_one_of_three_packages() -> None:
    assert {path.partition(".")[0] for path in MOVED.values()} == {"cytoland", "dynacell", "dynaclr"}
    assert (MOVED["VSUNet"], MOVED["ContrastiveModule"], MOVED["DynacellGAN"]) == (
        "cytoland.engine",
        "dynaclr.engine",
        "dynacell.engine",
    )


@pytest.mark.torch
@pytest.mark.parametrize("name", ["Unet3d", "UNetViT3D"])
def test_a_model_of_upstream_asks_for_upstreams_package(tmp_path: Path, name: str) -> None:
    config = dict(find(name).cases[2].config)
    path = hollow(tmp_path / "a.safetensors", layout_of(name, **config))
    with pytest.raises(MissingExtra, match=r"pip install 'viscy-models.* @ git\+https://github.com/mehta-lab/VisCy#"):
        vc.load_model(str(path), config=config)

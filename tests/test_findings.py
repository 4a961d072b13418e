"""Every code of the catalogue fires on something minimal, and stays silent on its near miss.

The codes of the reader have files and honest twins of their own (``hostile/generator.py``). What only two workers can
show is a whole test elsewhere, which is named here and must speak of the code and of the case without it.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, cast
from unittest import mock

import pytest

from hostile.generator import HONEST, HONEST_SAFETENSORS, all_cases
from support import assembly
from support.assembly import (
    FLOATS,
    LONGS,
    call,
    lightning,
    mapping,
    number,
    ordered,
    storage,
    tensor,
    text,
    zipped,
)
from support.folders import Block, Entry, distributed
from support.layouts import hollow, layout_of
from support.packages import installed
from support.scripted import OURS, Numbers, Scripted, add, draw, inquire, noise, rounded
from viscy_compat.architectures import find
from viscy_compat.architectures.architecture import Case, complete
from viscy_compat.checkpoint import open_checkpoint
from viscy_compat.checkpoint.byte_source import ByteSource
from viscy_compat.comparison.cases import compare
from viscy_compat.comparison.layouts import layout_failures
from viscy_compat.comparison.signatures import signature_failures
from viscy_compat.config_files import read_config
from viscy_compat.diagnosis import check_paths, diagnose
from viscy_compat.diagnosis.difference import diff
from viscy_compat.errors import CompatError, MissingExtra
from viscy_compat.exploring.exploration import BrokenLaw, Exploration
from viscy_compat.findings import CATALOGUE, Report
from viscy_compat.gating import interface
from viscy_compat.gating import verify as verify_stage
from viscy_compat.gating.check import complaint_about
from viscy_compat.gating.engine import gate
from viscy_compat.gating.stage import Setting, Stage, StageResult, Workshop
from viscy_compat.layout import Layout, TensorSpec
from viscy_compat.old_code import cases as old_cases
from viscy_compat.old_code import origin
from viscy_compat.old_code.git import from_git
from viscy_compat.old_code.origin import Wanted, resolve
from viscy_compat.old_code.tree import OldTree
from viscy_compat.outputs.verdict import findings_about
from viscy_compat.readiness import examine
from viscy_compat.references import records
from viscy_compat.references.agreement import compare_recorded
from viscy_compat.references.records import RecordedCase, RecordedPass, Reference, TensorRecord
from viscy_compat.rewrite.against import check_against
from viscy_compat.rewrite.remapping import remap
from viscy_compat.stated import Statement
from viscy_compat.waivers import Waiver, judge_waivers
from viscy_compat.workers.answers import Initial, Mode, Parameter, Pass, Raised, WorkerAnswer, WorkerOutput
from viscy_compat.workers.candidate import Candidate
from viscy_compat.workers.worker import Worker, WorkerLimits

Codes = set[str]
Scene = Callable[[Path], Codes]

FLAT = find("BetaVaeMonai").cases[0]
MONAI = dict(FLAT.config)
SMALL = dict(layout_of("BetaVaeMonai", **MONAI))
STEM = {"backbone": "convnext_tiny", "in_channels": 2, "in_stack_depth": 15}
CONTRASTIVE = dict(layout_of("ContrastiveEncoder", **STEM))
FIRST = next(iter(SMALL))
FEWER = {name: spec for name, spec in SMALL.items() if name != FIRST}
NORMED = dict(layout_of("Unet2d", num_blocks=1, num_filters=(2, 3)))


def counted_in(dtype: str) -> Layout:
    return {name: TensorSpec(spec.shape, dtype) if name.endswith("tracked") else spec for name, spec in NORMED.items()}


UNCOUNTED = {name: spec for name, spec in NORMED.items() if not name.endswith("num_batches_tracked")}


def refused(scene: Callable[[], object]) -> Codes:
    """The code of the error that ends a scene, if one does."""
    try:
        scene()
    except CompatError as error:
        return {error.code}
    return set()


# --- files: keys, shapes, architecture ------------------------------------------------------------------------------


def checked(path: Path, layout: Layout, *stated: tuple[str, Any]) -> Codes:
    """The codes of `check` on a file with this layout."""
    statements = (Statement("--set", dict(stated)),) if stated else ()
    result = diagnose(str(hollow(path / "a.safetensors", layout)), statements=statements).result
    return {finding.code for finding in result.findings}


def configured(path: Path, arguments: str, **stated: Any) -> Codes:
    """The codes of `check` on an encoder beside a configuration with these arguments."""
    config = path / "run.yml"
    config.write_text(f"encoder: {{class_path: a.ContrastiveEncoder, init_args: {{{arguments}}}}}")
    rows = (Statement("--set", stated), *read_config(str(config))) if stated else read_config(str(config))
    result = diagnose(str(hollow(path / "a.safetensors", CONTRASTIVE)), statements=rows).result
    return {finding.code for finding in result.findings}


def beside_another(path: Path, name: str, value: Any) -> Codes:
    """The codes of `check` on an encoder in a folder, with a statement that may be about other files."""
    hollow(path / "a.safetensors", CONTRASTIVE)
    (result,) = check_paths([str(path)], statements=(Statement("--set", {name: value}),))
    return {finding.code for finding in result.findings}


def under(prefix: str, layout: Layout) -> Layout:
    return {prefix + name: spec for name, spec in layout.items()}


def with_first(spec: TensorSpec) -> Layout:
    return {**SMALL, FIRST: spec}


def parted(**parts: TensorSpec) -> Layout:
    """The layout with other tensors in place of the first one."""
    module = FIRST.rpartition(".")[0]
    rest = {name: spec for name, spec in SMALL.items() if name != FIRST}
    return {**{f"{module}.{name}": spec for name, spec in parts.items()}, **rest}


def older(name: str, config: dict[str, Any]) -> Layout:
    """The layout of the oldest generation."""
    architecture = find(name)
    return architecture.generations[0].layout(complete(architecture, config))


def trained(path: Path, **hyper_parameters: bytes) -> Codes:
    """The codes of `check` on a Lightning file with these hyper-parameters."""
    entries, data = stored(under("model.", SMALL))
    root = lightning(state_dict=mapping(entries), hyper_parameters=mapping(hyper_parameters))
    return pickled_codes(path, root, data)


def packed_again(path: Path, method: int) -> Codes:
    """The codes of `check` on a file whose records a zip program wrote with this method: 0 stores, 8 compresses."""
    entries, data = stored(under("model.", SMALL))
    records = assembly.records(assembly.pickled(lightning(state_dict=mapping(entries))), data)
    packed = assembly.archive([record._replace(method=method) for record in records])
    (path / "a.ckpt").write_bytes(packed)
    return {finding.code for finding in diagnose(str(path / "a.ckpt")).result.findings}


def stored(layout: Layout) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """The tensors of a layout in a pickle, by name, and their bytes (all zero), by storage."""
    entries, data = {}, {}
    for place, (name, spec) in enumerate(layout.items()):
        stride = [1]
        for size in spec.shape[:0:-1]:
            stride.insert(0, stride[0] * size)
        counts = spec.dtype == "int64"
        held = storage(str(place), LONGS if counts else FLOATS, elements=spec.elements)
        entries[name] = tensor(spec.shape, tuple(stride[: len(spec.shape)]), of=held)
        data[str(place)] = bytes((8 if counts else 4) * spec.elements)
    return entries, data


def pickled_codes(path: Path, root: bytes, data: dict[str, bytes]) -> Codes:
    (path / "a.ckpt").write_bytes(zipped(root, data))
    return {finding.code for finding in diagnose(str(path / "a.ckpt")).result.findings}


def uncounted(path: Path, version: int) -> Codes:
    """The codes of a state dict without its counters, whose modules are said to have a version."""
    entries, data = stored(UNCOUNTED)
    modules = {name.rpartition(".")[0]: mapping({"version": number(version)}) for name in UNCOUNTED}
    return pickled_codes(path, ordered(entries, _metadata=mapping(modules)), data)


def among_tensors(path: Path, **more: bytes) -> Codes:
    entries, data = stored(SMALL)
    return pickled_codes(path, mapping({**entries, **more}), data)


def written(path: Path, *, keep_classes: bool = False, **hyper_parameters: bytes) -> Codes:
    """The codes of `remap` to another torch file."""
    trained(path, **hyper_parameters)
    return {finding.code for finding in remap(path / "a.ckpt", path / "b.ckpt", keep_classes=keep_classes).findings}


def dropped(path: Path, name: str, layout: Layout, *, again: bool = False) -> Codes:
    """The codes of `remap` with a drop; those of `check` on what it wrote with `again`."""
    source = hollow(path / "a.safetensors", layout)
    codes = {finding.code for finding in remap(source, path / "b.safetensors", drop=[name]).findings}
    return {finding.code for finding in diagnose(str(path / "b.safetensors")).result.findings} if again else codes


GATED = {**under("module.", SMALL), "module.gate.weight": TensorSpec((3, 3))}
COUNTED = {**under("module.", SMALL), "n_averaged": TensorSpec((), "int64")}
SLOPE = FIRST.rpartition(".")[0]


A_SPACE = call(assembly.name("types", "SimpleNamespace"))
A_PATH = call(assembly.name("pathlib", "PurePosixPath"), text("a"))
A_SET = call(assembly.name("builtins", "set"), b"]")


def beside(path: Path, name: str) -> Codes:
    (path / name).write_text("model: {}\n")
    return checked(path, CONTRASTIVE)


SLICE = {"backbone": "convnextv2_atto", "out_stack_depth": 1}
FILES: dict[str, tuple[Scene, Scene]] = {
    "VC101": (
        lambda path: checked(path, {name: spec for name, spec in SMALL.items() if name != FIRST}),
        lambda path: checked(path, SMALL),
    ),
    "VC102": (
        lambda path: checked(path, {**SMALL, "model.extra.weight": TensorSpec((3,))}),
        lambda path: checked(path, {**under("module.", SMALL), "extra.weight": TensorSpec((3,))}),
    ),
    "VC103": (lambda path: checked(path, under("module.", SMALL)), lambda path: checked(path, SMALL)),
    "VC104": (
        lambda path: checked(path, dict(reversed(SMALL.items()))),
        lambda path: checked(path, under("module.", SMALL)),
    ),
    "VC105": (
        lambda path: checked(
            path, older("ContrastiveEncoder", {**STEM, "embedding_dim": 384, "stem_stride": (5, 4, 4)})
        ),
        lambda path: checked(path, layout_of("ContrastiveEncoder", **STEM, embedding_dim=384)),
    ),
    "VC106": (
        lambda path: checked(path, {**under("module.", SMALL), "n_averaged": TensorSpec((), "int64")}),
        lambda path: checked(path, under("module.", SMALL)),
    ),
    "VC107": (
        lambda path: checked(path, older("UNeXt2", SLICE)),
        lambda path: checked(path, older("UNeXt2", {**SLICE, "out_stack_depth": 5})),
    ),
    "VC108": (lambda path: checked(path, UNCOUNTED), lambda path: checked(path, NORMED)),
    "VC109": (lambda path: uncounted(path, 2), lambda path: uncounted(path, 1)),
    "VC110": (lambda path: among_tensors(path, epoch=number(3)), among_tensors),
    "VC113": (
        lambda path: checked(path, {**under("module.", SMALL), FIRST: SMALL[FIRST]}),
        lambda path: checked(path, {**under("module.", SMALL), "n_averaged": TensorSpec((), "int64")}),
    ),
    "VC114": (
        lambda path: checked(path, {name.replace("encode", "down"): spec for name, spec in SMALL.items()}),
        lambda path: checked(path, {name.replace("encode", "down"): spec for name, spec in FEWER.items()}),
    ),
    "VC120": (
        lambda path: checked(path, parted(weight_orig=SMALL[FIRST], weight_mask=SMALL[FIRST])),
        lambda path: checked(path, parted(weight_orig=SMALL[FIRST], weight_mask=TensorSpec((3,)))),
    ),
    "VC121": (
        lambda path: checked(
            path, {**SMALL, "a.lora_A.weight": TensorSpec((2, 4)), "a.lora_B.weight": TensorSpec((4, 2))}
        ),
        lambda path: checked(path, {**SMALL, "a.lora.weight": TensorSpec((2, 4))}),
    ),
    "VC122": (
        lambda path: checked(path, {**SMALL, "a.scale": TensorSpec(()), "a.zero_point": TensorSpec((), "int64")}),
        lambda path: checked(path, {**SMALL, "a.scale": TensorSpec(())}),
    ),
    "VC123": (
        lambda path: checked(path, {**SMALL, f"{SLOPE}.act.weight": TensorSpec((1,))}),
        lambda path: checked(path, {**SMALL, f"{SLOPE}.norm.weight": TensorSpec((1,))}),
    ),
    "VC124": (
        lambda path: dropped(path, "gate.weight", GATED),
        lambda path: dropped(path, "n_averaged", COUNTED),
    ),
    "VC125": (
        lambda path: dropped(path, "gate.weight", GATED, again=True),
        lambda path: dropped(path, "n_averaged", COUNTED, again=True),
    ),
    "VC201": (
        lambda path: checked(path, with_first(TensorSpec((*SMALL[FIRST].shape[:-1], 7)))),
        lambda path: checked(path, layout_of("BetaVaeMonai", **{**MONAI, "kernel_size": (3, 7)})),
    ),
    "VC202": (
        lambda path: checked(path, with_first(TensorSpec(SMALL[FIRST].shape, "float16"))),
        lambda path: checked(path, with_first(TensorSpec(SMALL[FIRST].shape, "float64"))),
    ),
    "VC203": (
        lambda path: checked(path, with_first(TensorSpec(SMALL[FIRST].shape, "float64"))),
        lambda path: checked(path, with_first(TensorSpec(SMALL[FIRST].shape, "bfloat16"))),
    ),
    "VC381": (
        lambda path: checked(path, counted_in("float32")),
        lambda path: checked(path, counted_in("int64")),
    ),
    "VC301": (
        lambda path: checked(path, {f"{name}.renamed": spec for name, spec in SMALL.items()}),
        lambda path: checked(path, under("model.", SMALL)),
    ),
    "VC320": (
        lambda path: checked(path, {**under("model.", SMALL), **under("ema.model.", SMALL)}),
        lambda path: checked(path, {**under("model.", SMALL), **under("ema.", {"decay": SMALL[FIRST]})}),
    ),
    "VC321": (
        lambda path: checked(path, {name.removeprefix("model."): spec for name, spec in SMALL.items()}),
        lambda path: checked(path, under("model._orig_mod.", SMALL)),
    ),
    "VC302": (
        lambda path: checked(path, CONTRASTIVE),
        lambda path: checked(path, CONTRASTIVE, ("stem_stride", (5, 4, 4))),
    ),
    "VC303": (
        lambda path: checked(path, CONTRASTIVE),
        lambda path: checked(path, layout_of("ResNet3dEncoder", backbone="resnet10")),
    ),
    "VC304": (
        lambda path: checked(path, CONTRASTIVE, ("in_channels", 3)),
        lambda path: checked(path, CONTRASTIVE, ("in_channels", 2)),
    ),
    "VC305": (
        lambda path: trained(path, latent_size=b"K\x09"),
        lambda path: trained(path, latent_size=b"K\x08"),
    ),
    "VC306": (
        lambda path: trained(path, _class_path=text("viscy.representation.engine.BetaVaeModule")),
        lambda path: trained(path, _class_path=text("dynaclr.engine.BetaVaeModule")),
    ),
    "VC307": (
        lambda path: checked(path, {**SMALL, "model.encode.encode_0.adn.A.beta": TensorSpec((1,))}),
        lambda path: checked(path, {**SMALL, "model.encode.encode_0.beta": TensorSpec((1,))}),
    ),
    "VC308": (lambda path: beside(path, "config.yaml"), lambda path: beside(path, "config.toml")),
    "VC380": (
        lambda path: checked(
            path, layout_of("ContrastiveEncoder", backbone="convnext_tiny", in_channels=1, in_stack_depth=5)
        ),
        lambda path: checked(path, layout_of("Unet2d", num_blocks=1)),
    ),
    "VC330": (lambda path: written(path, x=A_SPACE), lambda path: written(path, x=A_PATH)),
    "VC331": (lambda path: written(path, x=A_PATH), lambda path: written(path, x=A_SET)),
    "VC332": (
        lambda path: written(path, x=A_PATH, keep_classes=True),
        lambda path: written(path, x=A_SET, keep_classes=True),
    ),
    "VC333": (lambda path: trained(path, x=A_PATH), lambda path: trained(path, x=A_SET)),
    "VC334": (lambda path: packed_again(path, 8), lambda path: packed_again(path, 0)),
    "VC309": (
        lambda path: configured(path, "stem_stride: '${model.stride}'"),
        lambda path: configured(path, "stem_stride: [5, 4, 4], loss: '${loss}'"),
    ),
    "VC310": (
        lambda path: beside_another(path, "head_pool", True),
        lambda path: beside_another(path, "in_channels", 2),
    ),
    "VC313": (
        lambda path: configured(path, "backbone: convnext_tiny"),
        lambda path: configured(path, "stem_stride: [5, 4, 4]"),
    ),
    "VC314": (
        lambda path: checked(path, layout_of("UNeXt2", **dict(find("UNeXt2").publications[0].config))),
        lambda path: checked(path, layout_of("UNeXt2", in_channels=3, out_channels=3)),
    ),
    "VC315": (
        lambda path: configured(path, "stem_stride: [5, 4, 4]", stem_stride=(2, 4, 4)),
        lambda path: configured(path, "stem_stride: [2, 4, 4]", stem_stride=(2, 4, 4)),
    ),
}

# --- files: what the generator leaves out -----------------------------------------------------------------------------


def opened(path: Path, **options: Any) -> Codes:
    return refused(lambda: open_checkpoint(str(path), **options))


def honest(path: Path) -> Path:
    (path / "a.ckpt").write_bytes(HONEST)
    return path / "a.ckpt"


def read_again(path: Path, more: bytes) -> Codes:
    """Read a file to which something is added meanwhile."""
    with ByteSource(str(honest(path))) as source:
        if more:
            (path / "a.ckpt").write_bytes(HONEST + more)
        return refused(source.verify_unchanged)


def sharded(path: Path, weights: object) -> Codes:
    (path / "1.safetensors").write_bytes(HONEST_SAFETENSORS)
    index = path / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weights}))
    return opened(index)


def emptied(path: Path, *, sums: bool, filled: bool) -> Codes:
    """The codes of `check` on a torch file whose only storage has no CRC-32 of its own, or has one; of zeros or not."""
    numbers = assembly.NUMBERS if filled else bytes(24)
    rows = assembly.records(assembly.pickled(assembly.state()), {"0": numbers})
    rows = [row if sums or row.data != numbers else row._replace(crc=0) for row in rows]
    (path / "a.ckpt").write_bytes(assembly.archive(rows))
    return {finding.code for finding in diagnose(str(path / "a.ckpt")).result.findings}


def in_parts(path: Path, more: dict[str, bytes], said: tuple[int, ...] = (2,)) -> Codes:
    """The codes of reading a folder of torch.distributed.checkpoint in which something else is said about a part."""
    block = Block((0,), (2,), (1.0, 2.0), more=more)
    return opened(distributed(path / "d", {"state_dict.w": Entry(said, (block,))}))


def saved_by_deepspeed(path: Path, beside: str) -> Codes:
    (path / "mp_rank_00_model_states.pt").write_bytes(HONEST)
    (path / beside).write_bytes(HONEST)
    return opened(path)


def one_rank(path: Path, offset: int) -> Codes:
    """The codes of reading one file of torch's Hugging Face writer, whose tensor begins there in the whole one."""
    info = json.dumps({"w": {"saved_offsets": [offset, 0]}})
    header = {"__metadata__": {"DCP_SHARDING_INFO": info}, "w": assembly.row()}
    (path / "a.safetensors").write_bytes(assembly.safetensors(header))
    return opened(path / "a.safetensors")


def behind_objects(path: Path, *objects: bytes) -> Codes:
    """The codes of a safetensors file in front of whose tensors stand what torch.save writes of these objects."""
    (path / "a.safetensors").write_bytes(b"".join(zipped(held, {}) for held in objects) + HONEST_SAFETENSORS)
    return {finding.code for finding in diagnose(str(path / "a.safetensors")).result.findings}


def one_shard(path: Path, numbers: str) -> Codes:
    file = path / f"model-{numbers}.safetensors"
    file.write_bytes(HONEST_SAFETENSORS)
    return {finding.code for finding in diagnose(str(file)).result.findings}


WHOLE = {"w": "1.safetensors"}
READING: dict[str, tuple[Scene, Scene]] = {
    "VC370": (lambda path: behind_objects(path, number(3)), behind_objects),
    "VC401": (lambda path: opened(path / "nothing.ckpt"), lambda path: opened(honest(path))),
    "VC402": (lambda path: read_again(path, b"x"), lambda path: read_again(path, b"")),
    "VC446": (
        lambda path: opened(honest(path), state_dict="ema"),
        lambda path: opened(honest(path), state_dict=""),
    ),
    "VC460": (lambda path: sharded(path, ["w"]), lambda path: sharded(path, WHOLE)),
    "VC461": (lambda path: sharded(path, {"w": "../1.safetensors"}), lambda path: sharded(path, WHOLE)),
    "VC462": (lambda path: sharded(path, {"w": "2.safetensors"}), lambda path: sharded(path, WHOLE)),
    "VC465": (
        lambda path: emptied(path, sums=False, filled=False),
        lambda path: emptied(path, sums=False, filled=True),
    ),
    "VC466": (
        lambda path: emptied(path, sums=True, filled=False),
        lambda path: emptied(path, sums=True, filled=True),
    ),
    "VC470": (
        lambda path: in_parts(path, {"transform_descriptors": b"](Ne"}),
        lambda path: in_parts(path, {"transform_descriptors": b"N"}),
    ),
    "VC471": (lambda path: in_parts(path, {}, said=(3,)), lambda path: in_parts(path, {}, said=(2,))),
    "VC472": (
        lambda path: saved_by_deepspeed(path, "zero_pp_rank_0_mp_rank_00_model_states.pt"),
        lambda path: saved_by_deepspeed(path, "zero_pp_rank_0_mp_rank_00_optim_states.pt"),
    ),
    "VC473": (lambda path: one_rank(path, 3), lambda path: one_rank(path, 0)),
    "VC474": (lambda path: one_shard(path, "00001-of-00002"), lambda path: one_shard(path, "00001-of-00001")),
    "VC463": (lambda path: sharded(path, {**WHOLE, "v": "1.safetensors"}), lambda path: sharded(path, WHOLE)),
}

# --- outputs that a user saved ----------------------------------------------------------------------------------------

EPS = {"kind": "eps", "type": "LayerNorm", "from": 1e-6, "to": 1e-5, "modules": 2}


def expecting(path: Path, *extra: str, moved: Numbers, altered: float = 1.0) -> Codes:
    """The codes of outputs that were moved so, beside a model whose outputs an alteration moves so far."""

    def outputs(request: Any) -> Any:
        return {"output": add(OURS, draw("eps", altered))} if request["alteration"] else rounded(request)

    worker = Scripted(outputs, {"output": add(OURS, moved), **dict.fromkeys(extra, OURS)}, [EPS])
    agreement = inquire(path, worker).judge(lambda line: None)
    return {finding.code for finding in findings_about(agreement)}


TF32 = noise("tf32", like=0.9)
OUTPUTS: dict[str, tuple[Scene, Scene]] = {
    "VC350": (
        lambda path: expecting(path, moved=draw("wrong", 0.1)),
        lambda path: expecting(path, moved=noise("bfloat16", like=0.6)),
    ),
    "VC351": (
        lambda path: expecting(path, moved=add(TF32, draw("eps", 3e-4)), altered=3e-4),
        lambda path: expecting(path, moved=TF32, altered=3e-4),
    ),
    "VC352": (
        lambda path: expecting(path, moved=TF32, altered=1e-6),
        lambda path: expecting(path, moved=TF32, altered=1e-2),
    ),
    "VC353": (lambda path: expecting(path, "loss", moved=TF32), lambda path: expecting(path, moved=TF32)),
}

# --- two answers ----------------------------------------------------------------------------------------------------

SPECS = {"a": TensorSpec((2,)), "b": TensorSpec((3,))}
CASE = Case("one", {}, (1, 2))
OUTPUT = WorkerOutput("output", (1, 2), "float32", "d", samples=(1.0,), norm=1.0)
PASS = Pass("Tensor", (OUTPUT,), "g", {"mean": "m"})
ANSWER = WorkerAnswer(SPECS, Initial(("x", "y"), "g", ((0.5,), (0.5,))), {"eval": PASS, "train": PASS})
MODES: tuple[Mode, Mode] = ("eval", "train")
RECORDED = RecordedCase(
    "one",
    "0.4.0",
    {},
    {},
    (1, 2),
    None,
    tuple(TensorRecord(name, spec.shape, spec.dtype, "x", 0.5, (0.5,)) for name, spec in SPECS.items()),
    "g",
    dict.fromkeys(
        MODES, RecordedPass("Tensor", (TensorRecord("output", (1, 2), "float32", "e", 1.0, (1.0,)),), "g", "")
    ),
)


def laid_out(new: Layout) -> Scene:
    return lambda _: {failure.code for failure in layout_failures(SPECS, new, None)}


def passing(old: Pass | Raised = PASS, new: Pass | Raised = PASS) -> Scene:
    """The codes of two answers whose passes in train mode are these."""
    ours, theirs = (replace(ANSWER, passes={"eval": PASS, "train": told}) for told in (old, new))
    return lambda _: {failure.code for failure in compare(ours, theirs, CASE).failures}


def returning(*outputs: WorkerOutput, kind: str = "Tensor") -> Pass:
    return replace(PASS, outputs=outputs, type=kind)


def initially(*digests: str) -> Scene:
    other = replace(ANSWER, initial=replace(cast("Initial", ANSWER.initial), digests=digests))
    return lambda _: {failure.code for failure in compare(ANSWER, other, CASE).failures}


def recorded(sample: float) -> Scene:
    other = replace(ANSWER, passes=dict.fromkeys(MODES, returning(replace(OUTPUT, samples=(sample,)))))
    return lambda _: {failure.code for failure in compare_recorded(RECORDED, other, CASE).failures}


def calling(*more: Parameter, width: int = 4) -> Scene:
    def parameter(value: int) -> Parameter:
        return Parameter("width", "POSITIONAL_OR_KEYWORD", True, value)

    return lambda _: {failure.code for failure in signature_failures([parameter(4)], [parameter(width), *more])}


def explored(*broken: BrokenLaw) -> Scene:
    result = Exploration("BetaVae25D", "", {"rule": 3}, {}, broken, (), 0.0)
    return lambda _: {finding.code for finding in result.findings}


def never_run(*modes: Mode, new: Layout = SPECS) -> Scene:
    """The codes where the old class raises in these modes and the candidate, which has another layout, runs."""
    raised = Raised("forward", "TypeError", "no")
    old = replace(ANSWER, passes={mode: raised if mode in modes else PASS for mode in MODES})
    other = replace(ANSWER, layout=new, initial=Initial(tuple("x" * len(new)), "g"))
    return lambda _: {failure.code for failure in compare(old, other, CASE).failures}


def reread(path: Path, raised: str, module: str) -> Codes:
    """Import a candidate whose import raises this about a module."""
    error = {"stage": "import", "type": raised, "message": f"No module named '{module}'"}
    worker = SimpleNamespace(
        source=lambda *_, **__: None,
        request=lambda _: {"error": error},
        side="candidate",
        python="python",
        conditions=SimpleNamespace(python="3.12"),
    )
    return refused(lambda: Candidate().prepare(cast("Worker", worker)))


VALUE_ERROR = Raised("forward", "ValueError", "no")
NUMBERS: dict[str, tuple[Scene, Scene]] = {
    "VC111": (laid_out({"a": SPECS["a"], "c": SPECS["b"]}), laid_out({"b": SPECS["b"], "a": SPECS["a"]})),
    "VC112": (laid_out(dict(reversed(SPECS.items()))), laid_out({**SPECS, "a": TensorSpec((9,))})),
    "VC211": (laid_out({**SPECS, "a": TensorSpec((9,))}), laid_out({**SPECS, "a": TensorSpec((2,), "int64")})),
    "VC212": (laid_out({**SPECS, "a": TensorSpec((2,), "int64")}), laid_out({**SPECS, "a": TensorSpec((9,))})),
    "VC311": (calling(width=8), calling(Parameter("depth", "POSITIONAL_OR_KEYWORD", True, 1))),
    "VC340": (never_run(*MODES, new={**SPECS, "c": SPECS["a"]}), never_run("train", new={**SPECS, "c": SPECS["a"]})),
    "VC354": (passing(new=replace(PASS, unrepeatable="max_pool3d")), passing()),
    "VC501": (passing(new=returning(replace(OUTPUT, digest="e"))), passing(new=replace(PASS, generator="h"))),
    "VC502": (initially("x", "z"), initially("x", "y")),
    "VC503": (passing(new=replace(PASS, buffers={"mean": "n"})), passing(new=returning(replace(OUTPUT, digest="e")))),
    "VC504": (
        passing(VALUE_ERROR, Raised("forward", "TypeError", "no")),
        passing(VALUE_ERROR, replace(VALUE_ERROR, message="told otherwise")),
    ),
    "VC505": (passing(*[returning(replace(OUTPUT, finite=False))] * 2), passing()),
    "VC506": (recorded(1.001), recorded(1.00001)),
    "VC507": (
        passing(new=returning(replace(OUTPUT, name="out"))),
        passing(returning(OUTPUT, kind="SimpleNamespace"), returning(OUTPUT, kind="OutputNamespace")),
    ),
    "VC631": (passing(returning(), returning()), passing()),
    "VC510": (explored(BrokenLaw("rule", "it", "says otherwise", {}, (), "")), explored()),
}

# --- history, workers, the gate -------------------------------------------------------------------------------------


def cloned(path: Path, module: str = "viscy.a", rev: str = "HEAD") -> Codes:
    """Read a module from a clone with one commit, which has ``viscy.a``."""
    (path / "viscy").mkdir()
    (path / "viscy" / "a.py").write_text("A = 1\n")
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    for words in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "one"]):
        subprocess.run(["git", "-C", str(path), *words], check=True, capture_output=True)
    return refused(lambda: from_git(path, rev).source(module))


def answering(path: Path, words: str) -> Codes:
    """Start a worker whose interpreter says these words and ends."""
    python = path / "python"
    mark = """read -r question; mark=${question##*'"mark": "'}; mark=${mark%%'"'*}"""
    python.write_text(f"#!/bin/sh\n{mark}\necho '{words}' | sed s/MARK/$mark/\n")
    python.chmod(0o755)

    with Worker("old", python=str(python), limits=WorkerLimits(start=20)) as worker:
        return refused(lambda: worker.conditions)


STARTED = {**dict.fromkeys(("python", "torch", "timm", "monai", "cpu"), "1"), "threads": 1, "isolation": []}


def imported(file: Path, asked: Path) -> Codes:
    """Name a folder where the worker imports this file."""
    told = {"file": str(file), "module": "viscy_models", "signature": []}
    worker = SimpleNamespace(source=lambda *_, **__: None, request=lambda _: told, side="candidate", python="python")
    return refused(lambda: Candidate(folder=str(asked)).prepare(cast("Worker", worker)))


def from_wheel(blobs: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Codes:
    """Resolve a class from a wheel whose files have these blob ids."""
    architecture = find("BetaVae25D")
    release = architecture.generations[-1].releases[-1]
    tree = made_up_tree("wheel", blobs)
    monkeypatch.setattr(origin, "from_wheel", lambda _: tree)
    return refused(lambda: resolve([architecture], Wanted(wheel=release.wheel)))


def made_up_tree(kind: Literal["git", "wheel"], blobs: dict[str, str]) -> OldTree:
    """A tree in which the module of a class imports all recorded files, and these blob ids are told instead of its own."""
    generation = find("BetaVae25D").generations[-1]
    release = generation.releases[-1]
    imports = "".join(f"import {path[:-3].replace('/', '.')}\n" for path in sorted({*release.sources, *blobs}))
    contents = {path: imports.encode() for path in (*release.sources, *blobs)}
    tree = OldTree(kind, "viscy.whl", release.wheel, release.wheel, contents)
    tree.__dict__["blobs"] = {**release.sources, **blobs}
    return tree


def noted(blobs: dict[str, str]) -> Codes:
    """The notes about a class out of a clone whose files have these blob ids besides the recorded ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(origin, "from_git", lambda *_, **__: made_up_tree("git", blobs))
        old = resolve([find("BetaVae25D")], Wanted(repo="a clone"))["BetaVae25D"]
    assert old.proven == (not old.strange)
    return {finding.code for finding in old_cases.unproven(old, find("BetaVae25D"))}


def unproven(path: Path) -> Codes:
    with pytest.MonkeyPatch.context() as patch:
        return from_wheel({"viscy/representation/vae.py": "0" * 40}, patch)


def proven(path: Path) -> Codes:
    with pytest.MonkeyPatch.context() as patch:
        return from_wheel({}, patch)


def referenced(path: Path, generation: str = "v1", edit: str = "") -> Codes:
    """Read a reference of generation ``v1``."""
    told = Reference("Toy", "v1", {"seed": 0}, {"0.4.0": {"a.py": "ff"}}, {"0.4.0": ()}, (RECORDED,))
    records.store(told, path)
    (file,) = path.rglob("*.json")
    file.write_text(file.read_text().replace('"seed": 0', f'"seed": {edit or 0}'))
    return refused(lambda: records.read("Toy", generation, root=path))


def gated(*names: str) -> Codes:
    """A gate over two classes whose only stage speaks of these."""

    def run(workshop: Workshop) -> Iterator[StageResult]:
        yield from (StageResult("made-up", name) for name in names)

    setting = Setting((find("ResNet3dEncoder"), find("BetaVaeMonai")), Candidate())
    report = gate(setting, [Stage("made-up", "static", "makes up", run)])
    return {finding.code for finding in report.findings}


def waived(used: Iterable[str] | None, *, expired: bool = False) -> Scene:
    row = Waiver("row", "*", "VC501", "because", date(2030, 1, 1), expired=expired)
    return lambda _: {finding.code for finding in judge_waivers([row], used)}


def sample(path: Path, layout: Layout) -> Codes:
    """The gate's complaint about a file that should be of the first case of BetaVaeMonai."""
    architecture = find("BetaVaeMonai")
    file = str(hollow(path / "a.safetensors", layout))
    return {finding.code for finding in complaint_about(file, architecture, architecture.generations[-1], FLAT)}


def exporting(path: Path, name: str) -> Codes:
    """Look at a package that exports one class of this name, as text."""
    (path / "viscy_models").mkdir()
    (path / "viscy_models" / "__init__.py").write_text(f"class {name}:\n    pass\n")

    def lacking(_: object) -> object:
        raise MissingExtra("no torch")

    setting = Setting((), Candidate(folder=str(path)), reads=True, names=())
    workshop = type("Bare", (), {"setting": setting, "worker": property(lacking)})()
    return {finding.code for result in interface.run(cast("Workshop", workshop)) for finding in result.findings}


def doctored(code: str = "", cache: str = "cache", **packages: str) -> Scene:
    """Ask the doctor about `verify`, which needs version 2.10 of a package here."""

    def scene(path: Path) -> Codes:
        (path / "file").touch()
        packaged = {name.replace("_", "-"): version for name, version in packages.items()}
        with installed(path, packaged, code=code), mock.patch.dict(os.environ, VISCY_COMPAT_CACHE=str(path / cache)):
            return {finding.code for finding in examine(("verify",), ("verify",)).findings}

    return scene


DOCTOR: dict[str, tuple[Scene, Scene]] = {
    "VC395": (doctored(), doctored(broken_thing="2.10")),
    "VC396": (doctored(broken_thing="2.9"), doctored(broken_thing="2.11")),
    "VC397": (doctored("raise OSError('no libgomp')", broken_thing="2.10"), doctored("x = 1", broken_thing="2.10")),
    "VC398": (doctored(cache="file/cache", broken_thing="2.10"), doctored(broken_thing="2.10")),
}

HISTORY: dict[str, tuple[Scene, Scene]] = {
    "VC601": (lambda path: refused(lambda: from_git(path / "no-clone")), cloned),
    "VC602": (lambda path: cloned(path, "viscy.b"), cloned),
    "VC603": (
        lambda path: answering(path, "garbage"),
        lambda path: answering(path, json.dumps({**STARTED, "mark": "MARK"})),
    ),
    "VC604": (
        lambda path: imported(path / "other" / "viscy_models" / "__init__.py", path / "asked"),
        lambda path: imported(path / "asked" / "viscy_models" / "__init__.py", path / "asked"),
    ),
    "VC341": (lambda path: exporting(path, "Unknown"), lambda path: exporting(path, "BetaVae25D")),
    "VC342": (
        lambda path: reread(path, "ModuleNotFoundError", "timm"),
        lambda path: reread(path, "ModuleNotFoundError", "viscy_models"),
    ),
    "VC606": (unproven, proven),
    "VC607": (lambda path: referenced(path, edit="1"), referenced),
    "VC608": (lambda path: referenced(path, "v2"), referenced),
    "VC630": (
        lambda _: noted({"viscy/representation/__init__.py": "0" * 40}),
        lambda _: noted({"viscy/representation/__init__.py": origin.EMPTY}),
    ),
    "VC620": (lambda _: gated("ResNet3dEncoder"), lambda _: gated("ResNet3dEncoder", "BetaVaeMonai")),
    "VC621": (waived(["row"], expired=True), waived(["row"])),
    "VC622": (waived([]), waived(None)),
    "VC623": (lambda path: sample(path, {**SMALL, "x": TensorSpec((1,))}), lambda path: sample(path, SMALL)),
}


def promising(path: Path, error: dict[str, str] | None) -> Codes:
    """The gate's stage on public names, where the worker says this of every name."""

    def request(asked: dict[str, Any]) -> dict[str, Any]:
        described: dict[str, Any] = {"file": "", "module": "", "signature": []}
        return {"names": dict.fromkeys(asked["names"], error)} if asked["op"] == "names" else described

    conditions = SimpleNamespace(python="3.12")
    worker = SimpleNamespace(request=request, side="candidate", python="python", conditions=conditions)
    workshop = SimpleNamespace(setting=Setting((), Candidate()), worker=worker)
    return {finding.code for result in interface.run(cast("Workshop", workshop)) for finding in result.findings}


def fallen_back(exit_code: int) -> Codes:
    """The gate's stage on bytes, where `verify` ends with this code and no class differs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            verify_stage, "verify", lambda *_, **__: Report("verify", [], headline="by samples", exit_code=exit_code)
        )
        workshop = SimpleNamespace(setting=Setting((), Candidate()), pair=None)
        results = list(verify_stage.run(cast("Workshop", workshop)))
    return {finding.code for result in results for finding in result.findings}


HISTORY |= {
    "VC312": (
        lambda path: promising(path, {"stage": "import", "type": "ImportError", "message": "no"}),
        lambda path: promising(path, None),
    ),
    "VC605": (lambda _: fallen_back(2), lambda _: fallen_back(0)),
}

# --- two files ------------------------------------------------------------------------------------------------------

TWO = {"stem.weight": TensorSpec((2, 3)), "head.weight": TensorSpec((4,))}


def compared(
    here: dict[str, TensorSpec], there: dict[str, TensorSpec], *, numbers: bytes = b""
) -> Callable[[Path], Codes]:
    """What `diff` finds in two files of these layouts, zeros but for the last bytes of the second."""

    def codes(path: Path) -> Codes:
        files = [path / "a.safetensors", path / "b.safetensors"]
        for file, layout in zip(files, (here, there), strict=True):
            hollow(file, layout)
        whole = files[1].read_bytes()
        files[1].write_bytes(whole[: len(whole) - len(numbers)] + numbers)
        return {finding.code for finding in diff(*files).findings}

    return codes


def against(here: dict[str, TensorSpec]) -> Callable[[Path], Codes]:
    """What `check --against` finds in a file of this layout, where `TWO` is wanted."""

    def codes(path: Path) -> Codes:
        hollow(path / "a.safetensors", here)
        hollow(path / "b.safetensors", TWO)
        results = check_against([str(path / "a.safetensors")], str(path / "b.safetensors"))
        return {finding.code for result in results for finding in result.findings}

    return codes


OTHERS = {"trunk.weight": TWO["stem.weight"], "top.weight": TWO["head.weight"]}
FILES |= {
    "VC390": (compared(TWO, {"stem.weight": TWO["stem.weight"]}), compared(TWO, dict(reversed(TWO.items())))),
    "VC391": (compared(TWO, {**TWO, "head.weight": TensorSpec((2, 2))}), compared(TWO, TWO)),
    "VC392": (compared(TWO, TWO, numbers=b"\x01"), compared(TWO, TWO, numbers=b"\x00")),
    "VC393": (against(OTHERS), against(TWO)),
}

# --- the law --------------------------------------------------------------------------------------------------------

PAIRS = {**FILES, **READING, **OUTPUTS, **NUMBERS, **HISTORY, **DOCTOR}
WHOLE_TESTS = {
    "VC360": ("fleet/test_audit.py", "test_a_file_that_ends_its_process_is_named_and_the_others_are_judged"),
    **dict.fromkeys(
        ("VC361", "VC364", "VC365"),
        ("checkpoint/test_remote.py", "test_a_server_that_lies_changes_or_waits_is_one_line"),
    ),
    **dict.fromkeys(("VC362", "VC363"), ("checkpoint/test_remote.py", "test_what_a_server_refuses_is_one_line")),
    "VC609": ("proof/test_equivalence.py", "test_the_change_of_generation_is_found_between_the_commits"),
    "VC624": ("gating/test_gate_mutants.py", "test_a_plan_that_is_refused_is_stopped"),
}
"""What only real workers and old code show; each test has the case without it too."""


@pytest.mark.parametrize("code", PAIRS)
def test_a_code_fires_on_something_minimal(code: str, tmp_path: Path) -> None:
    assert code in PAIRS[code][0](tmp_path)


@pytest.mark.parametrize("code", PAIRS)
def test_a_code_stays_silent_on_its_near_miss(code: str, tmp_path: Path) -> None:
    assert code not in PAIRS[code][1](tmp_path)


@pytest.mark.parametrize("code", WHOLE_TESTS)
def test_what_needs_real_workers_has_a_test_that_speaks_of_it(code: str) -> None:
    file, name = WHOLE_TESTS[code]
    tree = ast.parse((Path(__file__).parent / file).read_text())
    (body,) = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name)
    assert f"'{code}'" in ast.unparse(body)


def test_no_code_is_without_its_pair() -> None:
    hostile = {case.code for case in all_cases()} - {""}
    assert not hostile & set(PAIRS)
    assert {*hostile, *PAIRS, *WHOLE_TESTS} == set(CATALOGUE)

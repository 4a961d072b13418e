"""Make checkpoints with the real old classes of a released wheel, saved as people saved them.

    python tools/old_checkpoint.py WHEEL.whl JOBS.json
    python tools/old_checkpoint.py --serve       many of them: a line [WHEEL, JOBS, ERRORS] in, a line with its exit code out

JOBS.json is a list of objects: "class" (ContrastiveEncoder ...), "config" (arguments of the old constructor), "out"
(the file to write), "flavour" (one of FLAVOURS, "lightning" by default), "seed", "optimizer" (true: with AdamW
moments), "averaged" (true: three steps of SGD with Lightning's averages of the weights), "hyper_parameters" (an
object, stored as Lightning does), "shuffle" (true: entries in another order), "half" (true: float16 weights) and "io"
(the shape of an input: what the saved model makes of it in eval mode is written to OUT.io.safetensors). The old code
runs in this process, which is why this is a tool and not part of the package; pretrained downloads are switched off.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import tempfile
import traceback
import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any, NoReturn

import torch

FLAVOURS = ("lightning", "plain", "nested", "ddp", "compiled", "safetensors", "module", "legacy")

MODULES = {
    "ContrastiveEncoder": "viscy.representation.contrastive",
    "ResNet3dEncoder": "viscy.representation.contrastive",
    "BetaVae25D": "viscy.representation.vae",
    "BetaVaeMonai": "viscy.representation.vae",
    "UNeXt2": "viscy.unet.networks.unext2",
    "FullyConvolutionalMAE": "viscy.unet.networks.fcmae",
    "Unet2d": "viscy.unet.networks.Unet2D",
    "Unet25d": "viscy.unet.networks.Unet25D",
}


def old_class(name: str) -> type[torch.nn.Module]:
    """Import an old class from the wheel that is first on the path, with downloads of weights switched off."""
    import timm
    from monai.networks.nets.resnet import ResNetFeatures

    timm.create_model = without_download(timm.create_model)
    ResNetFeatures.__init__ = without_download(ResNetFeatures.__init__)  # type: ignore[method-assign]
    found: type[torch.nn.Module] = getattr(importlib.import_module(MODULES[name]), name)
    return found


def batches(rows: torch.Tensor) -> torch.utils.data.DataLoader[torch.Tensor]:
    """Return a loader of the rows of a tensor, which is a dataset in all but its type."""
    dataset: Any = rows
    return torch.utils.data.DataLoader(dataset)


def without_download(call: Any) -> Any:
    """Wrap a callable so that ``pretrained`` is always False."""

    def called(*words: Any, **options: Any) -> Any:
        return call(*words, **{**options, "pretrained": False})

    return called


def built(job: dict[str, Any]) -> torch.nn.Module:
    """Build the old model of a job, with statistics that look trained."""
    torch.manual_seed(job.get("seed", 0))
    model = old_class(job["class"])(**_with_tuples(job["config"])).eval()
    for name, buffer in model.named_buffers():
        if name.endswith("num_batches_tracked"):
            buffer.fill_(1000)
        elif name.endswith(("running_mean", "running_var")):
            buffer.copy_(torch.rand_like(buffer) + 0.5)
    return model.half() if job.get("half") else model


def _with_tuples(value: Any) -> Any:
    """Turn JSON into arguments: lists into tuples, but for {"list": [...]}, which stands for a list."""
    if isinstance(value, dict) and list(value) == ["list"]:
        return list(_with_tuples(value["list"]))
    if isinstance(value, dict):
        return {name: _with_tuples(item) for name, item in value.items()}
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value


def loss_of(model: torch.nn.Module) -> torch.Tensor:
    """Return a scalar that every parameter has a gradient of, so that one step gives moments to all."""
    return torch.stack([parameter.float().square().mean() for parameter in model.parameters()]).sum()


def stepped_optimizer(model: torch.nn.Module) -> torch.optim.Optimizer:
    """Return an AdamW that has taken one step."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    loss_of(model).backward()
    optimizer.step()
    return optimizer


def save_lightning(model: torch.nn.Module, job: dict[str, Any]) -> None:
    """Train one step as a LightningModule that holds the model as ``self.model``, and save through the Trainer."""
    import logging

    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.callbacks import ModelCheckpoint

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    class ContrastiveModule(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = model
            if job.get("hyper_parameters"):
                self.save_hyperparameters(job["hyper_parameters"])

        def training_step(self, batch: torch.Tensor) -> torch.Tensor:
            return loss_of(self.model)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            if job.get("averaged"):
                return torch.optim.SGD(self.model.parameters(), lr=10.0)
            return torch.optim.AdamW(self.model.parameters(), lr=1e-4)

    if job.get("averaged"):
        save_averaged(ContrastiveModule(), job)
        return
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = Trainer(
            accelerator="cpu",
            max_steps=1,
            callbacks=[ModelCheckpoint(dirpath=folder, save_top_k=0)],
            default_root_dir=folder,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(ContrastiveModule(), batches(torch.zeros(1, 1)))
        trainer.save_checkpoint(job["out"], weights_only=not job.get("optimizer", True))


def save_averaged(module: Any, job: dict[str, Any]) -> None:
    """Train three steps with averages of the weights, and save while training: only then are both in the file."""
    from lightning.pytorch import Callback, Trainer
    from lightning.pytorch.callbacks import EMAWeightAveraging

    class Saver(Callback):
        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            trainer.save_checkpoint(job["out"])

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = Trainer(
            accelerator="cpu",
            max_steps=3,
            callbacks=[EMAWeightAveraging(decay=0.5), Saver()],
            default_root_dir=folder,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(module, batches(torch.zeros(4, 1)))


def save(model: torch.nn.Module, job: dict[str, Any]) -> None:
    """Save a model in the flavour of its job."""
    flavour, out = job.get("flavour", "lightning"), job["out"]
    state = model.state_dict()
    if job.get("shuffle"):
        order = torch.randperm(len(state), generator=torch.Generator().manual_seed(1)).tolist()
        state = OrderedDict((name, state[name]) for name in (list(state)[place] for place in order))
    if flavour == "lightning":
        save_lightning(model, job)
    elif flavour == "safetensors":
        from safetensors.torch import save_file

        save_file(state, out)
    elif flavour == "nested":
        moments = stepped_optimizer(model).state_dict() if job.get("optimizer", True) else {}
        torch.save({"epoch": 3, "model_state_dict": state, "optimizer_state_dict": moments}, out)
    elif flavour == "module":
        torch.save(model, out)
    elif flavour == "legacy":
        torch.save(state, out, _use_new_zipfile_serialization=False)
    else:
        prefix = {"plain": "", "ddp": "module.", "compiled": "_orig_mod."}[flavour]
        torch.save(OrderedDict((prefix + name, tensor) for name, tensor in state.items()), out)


def write_io(model: torch.nn.Module, job: dict[str, Any]) -> None:
    """Write an input and what the model makes of it, under the names of the outputs."""
    from safetensors.torch import save_file

    image = torch.rand(job["io"], generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    with torch.inference_mode():
        answer = model.eval()(image)
    named = (
        dict(zip(("embedding", "projection"), answer, strict=True)) if isinstance(answer, tuple) else dict(vars(answer))
    )
    save_file({"input": image, **named}, f"{job['out']}.io.safetensors")


def make(wheel: str, jobs: str) -> None:
    """Unpack the wheel, make every file of the list."""
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder, [name for name in archive.namelist() if name.endswith(".py")])
        sys.path.insert(0, folder)
        for job in json.loads(Path(jobs).read_text()):
            model = built(job)
            save(model, job)
            if job.get("io"):
                write_io(model, job)


def serve() -> None:
    """Make what each line asks for in a child of its own, which finds torch and the others imported: that is most of it."""
    for name in ("timm", "monai.networks.nets.resnet", "lightning.pytorch", "safetensors.torch"):
        importlib.import_module(name)
    for line in sys.stdin:
        child = os.fork()
        if not child:
            _end_as_child(*json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _end_as_child(wheel: str, jobs: str, errors: str) -> NoReturn:
    code = 1
    with open(errors, "w") as file:
        # what old code prints is no answer of ours
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
        try:
            make(wheel, jobs)
            code = 0
        except BaseException:  # noqa: BLE001 (a child ends here, and its parent reads why)
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)


def main() -> int:
    """Make one list of files, or serve."""
    torch.set_num_threads(1)
    if sys.argv[1:] == ["--serve"]:
        serve()
    else:
        make(*sys.argv[1:])
    return 0


if __name__ == "__main__":
    sys.exit(main())

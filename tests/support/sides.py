"""The old classes and the migrated ones, each in one worker process for the whole test run."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.old_checkpoints import wheel
from viscy_compat.workers.worker import Worker

SRC = Path(__file__).resolve().parents[2] / "src"

OLD_MODULES = {
    "ContrastiveEncoder": "viscy.representation.contrastive",
    "ResNet3dEncoder": "viscy.representation.contrastive",
    "BetaVae25D": "viscy.representation.vae",
    "BetaVaeMonai": "viscy.representation.vae",
    "VaeUpStage": "viscy.representation.vae",
    "VaeEncoder": "viscy.representation.vae",
    "VaeDecoder": "viscy.representation.vae",
    "projection_mlp": "viscy.representation.contrastive",
    "StemDepthtoChannels": "viscy.unet.networks.unext2",
    "UNeXt2Stem": "viscy.unet.networks.unext2",
    "PixelToVoxelHead": "viscy.unet.networks.unext2",
    "UnsqueezeHead": "viscy.unet.networks.unext2",
    "icnr_init": "viscy.unet.networks.unext2",
    "UNeXt2": "viscy.unet.networks.unext2",
    "FullyConvolutionalMAE": "viscy.unet.networks.fcmae",
    "Unet2d": "viscy.unet.networks.Unet2D",
    "Unet25d": "viscy.unet.networks.Unet25D",
}
NEW_MODULES = {
    "ContrastiveEncoder": "viscy_models.contrastive",
    "ResNet3dEncoder": "viscy_models.contrastive",
    "BetaVae25D": "viscy_models.vae",
    "BetaVaeMonai": "viscy_models.vae",
    "VaeUpStage": "viscy_models.vae.beta_vae_25d",
    "VaeEncoder": "viscy_models.vae.beta_vae_25d",
    "VaeDecoder": "viscy_models.vae.beta_vae_25d",
    "projection_mlp": "viscy_models.contrastive.encoder",
    "StemDepthtoChannels": "viscy_models._components.stems",
    "UNeXt2Stem": "viscy_models._components.stems",
    "PixelToVoxelHead": "viscy_models._components.heads",
    "UnsqueezeHead": "viscy_models._components.heads",
    "icnr_init": "viscy_models._components.blocks",
    "UNeXt2": "viscy_models.unet",
    "FullyConvolutionalMAE": "viscy_models.unet",
    "Unet2d": "viscy_models.unet",
    "Unet25d": "viscy_models.unet",
}

Answer = dict[str, Any]


def old_texts(version: str) -> dict[str, bytes]:
    """The model files of a released wheel, by path."""
    rooms = ("viscy/representation/contrastive.py", "viscy/representation/vae.py", "viscy/unet/networks/")
    with zipfile.ZipFile(wheel(version)) as archive:
        names = [name for name in archive.namelist() if name.startswith(rooms) and name.endswith(".py")]
        return {name: archive.read(name) for name in names}


def blob_id(content: bytes) -> str:
    """The id that git gives to a file of this content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass(frozen=True)
class Sides:
    """A worker with the old classes of viscy 0.4.0 (and of 0.2.1), and one with the migrated classes."""

    old: Worker
    new: Worker

    def run(self, name: str, config: Mapping[str, Any], **request: Any) -> tuple[Answer, Answer]:
        """Build one class on both sides at once, with the same request."""
        return self.run_each(name, config, request, request)

    def run_each(
        self, name: str, config: Mapping[str, Any], old: Mapping[str, Any], new: Mapping[str, Any]
    ) -> tuple[Answer, Answer]:
        """Build one class on both sides at once, each with a request of its own."""
        common = {"op": "run", "config": dict(config), "seed": 7}
        self.old.send({**common, "source": "0.4.0", "class": f"{OLD_MODULES[name]}:{name}", **old})
        self.new.send({**common, "source": "new", "class": f"{NEW_MODULES[name]}:{name}", **new})
        return self.old.receive(), self.new.receive()

    def signatures(self, name: str) -> tuple[list[Any], list[Any]]:
        """The parameters of a class on both sides, as the worker tells them."""
        asked = {"op": "class", "source": "0.4.0", "class": f"{OLD_MODULES[name]}:{name}"}
        answer = (
            self.old.request(asked),
            self.new.request({**asked, "source": "new", "class": f"{NEW_MODULES[name]}:{name}"}),
        )
        return answer[0]["signature"], answer[1]["signature"]


@contextmanager
def both_sides(src: Path = SRC) -> Iterator[Sides]:
    """Start both workers; they import the stack at the same time."""
    with Worker("old", cache=2) as old, Worker("candidate", cache=2) as new:
        for version in ("0.4.0", "0.2.1"):
            texts = {path: content.decode() for path, content in old_texts(version).items()}
            old.source(version, root="viscy", files=texts, pretrained=False)
        new.source("new", root="viscy_models", folder=str(src))
        yield Sides(old, new)

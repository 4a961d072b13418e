"""Stage ``interface``: the public names of the package can be imported, and old calls of the constructors still work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from viscy_compat.architectures.architecture import REQUIRED, Architecture, Signature
from viscy_compat.findings import CATALOGUE, Finding
from viscy_compat.gating.stage import Setting, StageResult, Workshop
from viscy_compat.proof.answers import Parameter, read_names
from viscy_compat.proof.candidate import PACKAGE
from viscy_compat.proof.comparison import signature_failures
from viscy_compat.proof.workers import Worker

NAME = "interface"

PROMISED = (
    "viscy_models.contrastive.encoder:projection_mlp",
    "viscy_models.vae.beta_vae_25d:VaeUpStage",
    "viscy_models.vae.beta_vae_25d:VaeEncoder",
    "viscy_models.vae.beta_vae_25d:VaeDecoder",
    "viscy_models._components.stems:StemDepthtoChannels",
    "viscy_models._components.stems:UNeXt2Stem",
    "viscy_models._components.heads:PixelToVoxelHead",
    "viscy_models._components.heads:UnsqueezeHead",
    "viscy_models._components.blocks:icnr_init",
)
"""Names besides the classes that other packages import. A class itself is promised in its module and at the top."""


def judged(workshop: Workshop) -> Iterator[StageResult]:
    """Yield a result for each class, and one for the other names."""
    setting, worker = workshop.setting, workshop.worker
    for architecture in setting.classes:
        missing = list(_missing(setting, worker, _names_of(architecture)))
        changed = [] if missing else list(_changed(setting, worker, architecture))
        yield StageResult(NAME, architecture.name, (*missing, *changed))
    yield StageResult(NAME, "", tuple(_missing(setting, worker, PROMISED)), details={"names": list(PROMISED)})


def parameters(signature: Signature) -> tuple[Parameter, ...]:
    """Return a recorded constructor as a worker would describe it.

    Examples
    --------
    >>> [str(row) for row in parameters(Signature((("width", REQUIRED), ("depth", 3)), keywords=True))]
    ['width', 'depth=3', 'kwargs']
    """
    rows = [
        Parameter(name, "POSITIONAL_OR_KEYWORD", default is not REQUIRED, None if default is REQUIRED else default)
        for name, default in signature.arguments
    ]
    return (*rows, *([Parameter("kwargs", "VAR_KEYWORD", False, None)] if signature.keywords else []))


def _names_of(architecture: Architecture) -> tuple[str, str]:
    module, _, name = architecture.target.rpartition(".")
    return f"{PACKAGE}:{name}", f"{module}:{name}"


def _missing(setting: Setting, worker: Worker, names: Sequence[str]) -> Iterator[Finding]:
    mine = {name: setting.candidate.name + name.removeprefix(PACKAGE) for name in names}
    asked = list(mine.values())
    answer = read_names(worker.request({"op": "names", "source": "candidate", "names": asked}), "candidate", asked)
    for name, error in answer.items():
        if error:
            message = f"{name.replace(':', '.')} cannot be imported ({error.type}: {error.message})"
            yield Finding("VC312", message, (name,), CATALOGUE["VC312"].remedy)


def _changed(setting: Setting, worker: Worker, architecture: Architecture) -> Iterator[Finding]:
    described = setting.candidate.describe(worker, architecture)
    old = parameters(architecture.generations[-1].releases[-1].signature)
    for failure in signature_failures(old, described.signature):
        yield Finding(failure.code, failure.message, failure.keys, CATALOGUE[failure.code].remedy)

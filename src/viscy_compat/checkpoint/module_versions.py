"""What torch notes beside the tensors of a state dict: the version of each module that wrote into it.

``Module.state_dict`` returns an ``OrderedDict`` with an attribute ``_metadata``: the path of each module to
``{"version": number}``. It travels in torch files (not in safetensors) and decides what ``load_state_dict`` forgives: a
batch norm of version 2 insists on its batch counter, one without a version gets a counter of 0.
"""

from __future__ import annotations

from viscy_compat.annotations import Iterable, Mapping
from viscy_compat.checkpoint.facts import Checkpoint
from viscy_compat.checkpoint.pickle_nodes import Call, mapping_of

COUNTED_SINCE = 2
"""The version of batch norms that have a counter (torch 0.4.1 to 2.15)."""


def module_versions(checkpoint: Checkpoint) -> Mapping[str, int]:
    """Return the version of each module that the state dict names; empty where it names none.

    Examples
    --------
    >>> module_versions(Checkpoint(path="a.pt", format="torch-zip", files=(), tensors={}))
    {}
    """
    state = checkpoint.state_node
    versions: dict[str, int] = {}
    for attributes in (state.states or ()) if type(state) is Call else ():
        metadata = (mapping_of(attributes) or {}).get("_metadata")
        for path, facts in (mapping_of(metadata) or {}).items():
            version = (mapping_of(facts) or {}).get("version")
            if type(version) is int:
                versions[path] = version
    return versions


def insists_on_counters(checkpoint: Checkpoint, modules: Iterable[tuple[str, ...]]) -> bool:
    """Whether torch refuses a state dict in which these modules, each under any of its paths, lack their counters.

    A pickled module is loaded as it is, with whatever version of torch: it insists.
    """
    if checkpoint.wrapper.kind == "module":
        return True
    versions = module_versions(checkpoint)
    return any(versions.get(path, 0) >= COUNTED_SINCE for paths in modules for path in paths)

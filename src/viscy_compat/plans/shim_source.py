"""A plan as Python: a file that a person can read, that needs torch alone, and that is as strict as the plan."""

from __future__ import annotations

from viscy_compat.annotations import Iterator
from viscy_compat.layout import Layout, printable
from viscy_compat.operations import Cast, Concat, Drop, Fill, Operation, Rename, Reshape, Split, Transpose
from viscy_compat.plans.maker import OUTSIDE
from viscy_compat.plans.plan import Plan
from viscy_compat.plans.plan_file import plan_id
from viscy_compat.version import __version__

_HEAD = '''"""{title}

{example}

Or once, so that every later load_state_dict takes both layouts:

    accept_older_layout(model)
{loses}
Written by viscy-compat {version} from plan {plan}; needs torch and nothing else. It accounts for every tensor of both
layouts, or raises ValueError. Entries that are no tensors (an epoch, extra state), and tensors that stood outside the
model, are left out.
"""

from __future__ import annotations

import torch

PREFIX = {prefix}
LACKS = {lacks}
INNER = {inner}
ONE_OF_SEVERAL = {several}
WRAPPERS = ("model.", "module.", "_orig_mod.")


def remap_state_dict(state_dict, prefix=None):
    """Return a state dict of today's layout; one that has it already is returned as it is, but for the prefix.

    ``prefix`` is what stands in front of every name; where it is None, the prefix of the file that this was made for
    and the usual wrappers are recognised.
    """
    if prefix is None:
        prefix = _prefix_of(state_dict)
    old = _taken_out(state_dict, prefix)
    if _facts(old) == TARGET:
        return old
    _compare(_facts(old), SOURCE, "the state dict")
    new = _rebuild(old)
    if old:
        raise ValueError("not used: " + ", ".join(sorted(old)))
    _compare(_facts(new), TARGET, "the result")
    return {{name: new[name] for name in TARGET}}


def accept_older_layout(module):
    """Let ``module.load_state_dict`` take the older layout too; ``remove()`` of what is returned undoes it."""
    return module.register_load_state_dict_pre_hook(_before_loading)


def _before_loading(module, state_dict, prefix, *_):
    mine = {{name: tensor for name, tensor in state_dict.items() if name.startswith(prefix)}}
    new = remap_state_dict(mine, prefix)
    for name in mine:
        del state_dict[name]
    state_dict.update({{prefix + name: tensor for name, tensor in new.items()}})


def _prefix_of(state_dict):
    prefixes = [PREFIX] if ONE_OF_SEVERAL else ["", PREFIX]
    for prefix in prefixes:
        names = _names(state_dict, prefix)
        if set(names) in (set(SOURCE), set(TARGET)):
            return prefix
        raw = names.values()
        prefixes += [prefix + part for part in WRAPPERS if raw and all(name.startswith(prefix + part) for name in raw)]
    return PREFIX if any(name.startswith(PREFIX) for name in state_dict) else ""


def _names(state_dict, prefix):
    """Return the names in the file, by those that the class has."""
    raw = [name for name, entry in state_dict.items() if isinstance(entry, torch.Tensor) and name not in OUTSIDE]
    if ONE_OF_SEVERAL:
        raw = [name for name in raw if name.startswith(prefix) and (prefix or _bare(name, prefix) in SOURCE)]
    names = {{}}
    for name in raw:
        if names.setdefault(_bare(name, prefix), name) != name:
            raise ValueError("two tensors are called " + _bare(name, prefix))
    return names


def _bare(name, prefix):
    name = name[len(prefix) :] if name.startswith(prefix) else name
    for wrapper in sorted(INNER, key=len, reverse=True):
        if name.startswith(wrapper):
            name = wrapper[:-1].rpartition(".")[0] + "." + name[len(wrapper) :]
    return name if name.startswith(LACKS) else LACKS + name


def _taken_out(state_dict, prefix):
    return {{bare: state_dict[name] for bare, name in _names(state_dict, prefix).items()}}


def _facts(tensors):
    return {{name: (str(tensor.dtype).replace("torch.", ""), tuple(tensor.shape)) for name, tensor in tensors.items()}}


def _compare(found, expected, what):
    wrong = [f"{{name}} is missing" for name in expected if name not in found]
    wrong += [f"{{name}} is not expected" for name in found if name not in expected]
    wrong += [
        f"{{name}} is {{found[name]}}, not {{expected[name]}}"
        for name in expected
        if name in found and found[name] != expected[name]
    ]
    if wrong:
        raise ValueError(what + " does not have the layout that this file was made for: " + "; ".join(wrong))


def _rebuild(old):
    """Take every tensor out of `old`, and return those of today."""
    new = {{}}
    for name in KEPT:
        new[name] = old.pop(name)
'''

_HELD = '''

def _drop(old, name, value):
    """Take out a tensor that was filled in once; refuse where it was trained since."""
    if not bool((old.pop(name) == value).all()):
        raise ValueError(name + " no longer holds the value that was filled in: dropping it would lose numbers")
'''

_COUNTED = '''

def _count(number):
    """Return a batch counter as an integer; refuse one that is not whole."""
    if not bool(torch.isfinite(number) & (number == number.round())):
        raise ValueError(f"a batch counter is {number.item()}, which is no whole number")
    return number.to(torch.int64)
'''


def shim_source(plan: Plan, *, module: str = "shim", site: str = "state_dict", safetensors: bool = False) -> str:
    """Return the text of a Python file that does what a plan says.

    Parameters
    ----------
    plan : Plan
        The plan.
    module : str, optional
        The name that the file's own example imports.
    site : str, optional
        Where in the checkpoint of the example the state dict is; empty for the top.
    safetensors : bool, optional
        Whether the checkpoint of the example is a safetensors file.

    Examples
    --------
    >>> from viscy_compat.layout import TensorSpec
    >>> from viscy_compat.plans.plan import PlanEnd, plan_of
    >>> text = shim_source(plan_of(PlanEnd({"a": TensorSpec((2,))}), PlanEnd({"b": TensorSpec((2,))}), [Rename("a", "b")]))
    >>> '    new["b"] = old.pop("a")' in text.splitlines()
    True
    """
    losses = "".join(f"\n* {_prose(line)}" for line in plan.loses)
    head = _HEAD.format(
        title=_title(plan),
        example=_example(module, site, safetensors),
        loses=f"\nWhat the new model does not do as the old one did:\n{losses}\n" if losses else "",
        version=__version__,
        plan=plan_id(plan),
        prefix=_literal(plan.source.prefix),
        lacks=_literal(plan.source.lacks),
        inner="(" + "".join(f"{_literal(item)}, " for item in plan.source.inner).rstrip() + ")",
        several=plan.source.state_dict is not None,
    )
    outside = [row.source for row in plan.operations if isinstance(row, Drop) and row.reason == OUTSIDE]
    rows = [row for row in plan.changes if not (isinstance(row, Drop) and row.reason == OUTSIDE)]
    statements = [f"    {line}" for row in rows for line in _statement(row)]
    count_function = _COUNTED if any(isinstance(row, Cast) and row.dtype == "int64" for row in plan.operations) else ""
    drop_function = _HELD if any(isinstance(row, Drop) and row.holding is not None for row in plan.operations) else ""
    unchanged = [row.source for row in plan.operations if row not in set(plan.changes) and isinstance(row, Rename)]
    body = "\n".join([*statements, "    return new"])
    source = {name: spec for name, spec in plan.source.layout.items() if name not in outside}
    lists = f"KEPT = (\n{_literals(unchanged)})\n\nOUTSIDE = (\n{_literals(outside)})"
    tables = f"\n\n{lists}\n\n{_spec_table('SOURCE', source)}\n{_spec_table('TARGET', plan.target.layout)}"
    return f"{head}{body}\n{drop_function}{count_function}{tables}"


def _title(plan: Plan) -> str:
    source, target = plan.source, plan.target
    if source.class_name and source.generation and source.generation != target.generation:
        names = (source.class_name, source.generation, target.generation)
        return "Load {} checkpoints of {} into the class of {}.".format(*map(_prose, names))
    return "Load checkpoints of another layout."


def _example(module: str, site: str, safetensors: bool) -> str:
    """Return the lines of Python that read a checkpoint like the one that the plan was made for."""
    parts = site.split(".") if site else []
    place = "".join(f'["{part}"]' if part.isidentifier() else f"[{_prose(ascii(part))}]" for part in parts)
    lines_before = (
        ["from safetensors.torch import load_file", "", 'state_dict = load_file("old.safetensors")']
        if safetensors
        else ["import torch", "", f'state_dict = torch.load("old.ckpt", map_location="cpu", weights_only=True){place}']
    )
    lines = [*lines_before[:1], f"from {module} import remap_state_dict", *lines_before[1:]]
    return "\n".join(f"    {line}".rstrip() for line in [*lines, "model.load_state_dict(remap_state_dict(state_dict))"])


def _statement(row: Operation) -> Iterator[str]:
    """Yield the lines of `_rebuild` for one operation."""
    if isinstance(row, Fill):
        value = row.value if row.dtype == "float32" else bool(row.value) if row.dtype == "bool" else int(row.value)
        yield f"# {_prose(row.reason)}"
        yield f"new[{_literal(row.target)}] = torch.full({row.shape}, {value!r}, dtype=torch.{row.dtype})"
    elif isinstance(row, Drop):
        yield f"# {_prose(row.reason)}"
        yield (
            f"old.pop({_literal(row.source)})"
            if row.holding is None
            else f"_drop(old, {_literal(row.source)}, {row.holding!r})"
        )
    elif isinstance(row, Split):
        names = ", ".join(f"new[{_literal(name)}]" for name in row.targets)
        yield f"({names},) = old.pop({_literal(row.source)}).split({list(row.sizes)}, {row.axis})"
    elif isinstance(row, Concat):
        parts = ", ".join(f"old.pop({_literal(name)})" for name in row.sources)
        yield f"new[{_literal(row.target)}] = torch.cat([{parts}], {row.axis})"
    elif isinstance(row, Cast) and row.dtype == "int64":
        yield f"new[{_literal(row.target)}] = _count(old.pop({_literal(row.source)}))"
    else:
        yield f"new[{_literal(row.target)}] = old.pop({_literal(row.source)}){_change(row)}"


def _change(row: Rename | Cast | Reshape | Transpose) -> str:
    if isinstance(row, Cast):
        return f".to(torch.{row.dtype})"
    if isinstance(row, Reshape):
        return f".reshape({row.shape})"
    return f".permute({row.axes}).contiguous()" if isinstance(row, Transpose) else ""


def _spec_table(name: str, layout: Layout) -> str:
    rows = "".join(f"    {_literal(key)}: ({_literal(spec.dtype)}, {spec.shape}),\n" for key, spec in layout.items())
    return f"{name} = {{\n{rows}}}\n"


def _literals(names: list[str]) -> str:
    return "".join(f"    {_literal(name)},\n" for name in names)


def _literal(text: str) -> str:
    """Return a Python literal in ASCII."""
    # names come from the file: a quote in one must not end the literal
    plain = text.isascii() and text.isprintable() and '"' not in text and "\\" not in text
    return f'"{text}"' if plain else ascii(text)


def _prose(text: str) -> str:
    """Return text that can end neither a docstring nor a comment, whoever wrote it."""
    return " ".join(printable(text).split()).replace("\\", "/").replace('"', "'")

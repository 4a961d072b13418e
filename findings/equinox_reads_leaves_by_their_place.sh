#!/bin/sh
# equinox 0.13.8: tree_deserialise_leaves reads arrays by their place in the class, and does not look whether the file has ended.
#
# Guess that was wrong: a file belongs to the fields that it was written from, so a class whose fields stand in another order is
# refused, or read by name; so is one that has fewer fields.
# Seen: no name is in the file. Two fields of one shape that have changed places change their numbers; a class that has lost its
# last layer takes the file of the longer one. Only a shape or a dtype that differs, or a file that is too short, is refused.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet uv==0.13.9
"$place/venv/bin/uv" pip install --quiet --python "$place/venv/bin/python" equinox==0.13.8 jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6
cd "$place"
cat > program.py <<'PROGRAM'
import equinox as eqx
import jax
import jax.numpy as jnp


class Old(eqx.Module):
    scale: jax.Array
    shift: jax.Array


class Moved(eqx.Module):
    shift: jax.Array
    scale: jax.Array


class Shorter(eqx.Module):
    scale: jax.Array


class Longer(eqx.Module):
    scale: jax.Array
    shift: jax.Array
    more: jax.Array


eqx.tree_serialise_leaves("old.eqx", Old(scale=jnp.full(2, 1.0), shift=jnp.full(2, 2.0)))


def answer(kind, **shapes):
    like = kind(**{name: jnp.zeros(shapes.get(name, 2)) for name in kind.__dataclass_fields__})
    try:
        read = eqx.tree_deserialise_leaves("old.eqx", like)
    except (RuntimeError, EOFError, ValueError) as error:
        return type(error).__name__
    return {name: float(getattr(read, name)[0]) for name in sorted(kind.__dataclass_fields__)}


found = [answer(Old), answer(Moved), answer(Shorter), answer(Old, shift=3), answer(Longer)]
print(found)
true = {"scale": 1.0, "shift": 2.0}
assert found[:3] == [true, {"scale": 2.0, "shift": 1.0}, {"scale": 1.0}], found
assert "Error" in found[3] and "Error" in found[4], found
PROGRAM
"$place/venv/bin/python" program.py

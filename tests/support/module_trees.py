"""Random module trees, and what a refactoring may do to one, with every tensor's identity kept."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import NamedTuple

from support.refactorings import Refactoring
from viscy_compat.layout import Layout, TensorSpec

SHAPES = ((4,), (4,), (4,), (6,), (4, 4), (4, 6), (6, 4), (4, 4, 3), (8, 4, 3), (1,), (4, 1))
WORDS = (
    "conv",
    "norm",
    "fc",
    "attn",
    "a",
    "b",
    "stem",
    "head",
    "layers",
    "norm1",
    "norm2",
    "fc1",
    "fc2",
    "q",
    "k",
    "v",
)
FRESH = ("zeta", "eta", "theta", "iota", "kappa", "omicron", "rho", "sigma", "tau", "upsilon", "phi", "psi", "omega")
LEAVES = ("weight", "bias", "gamma", "scale", "token")


class Tensor:
    """One tensor of a tree; ``identity`` survives every refactoring."""

    def __init__(self, identity: int, shape: tuple[int, ...]) -> None:
        self.identity, self.shape = identity, shape

    def copy(self) -> Tensor:
        return Tensor(self.identity, self.shape)


class Module:
    """One module of a tree: named members in the order of registration."""

    def __init__(self) -> None:
        self.members: list[tuple[str, Module | Tensor]] = []

    def modules(self) -> list[Module]:
        inner = [member for _, member in self.members if isinstance(member, Module)]
        return [self, *(module for member in inner for module in member.modules())]

    def tensors(self) -> list[tuple[str, Tensor]]:
        found: list[tuple[str, Tensor]] = []
        # state_dict() lists what a module holds itself before what its children hold.
        for name, member in sorted(self.members, key=lambda item: isinstance(item[1], Module)):
            if isinstance(member, Tensor):
                found.append((name, member))
            else:
                found.extend((f"{name}.{inner}", tensor) for inner, tensor in member.tensors())
        return found

    def copy(self) -> Module:
        another = Module()
        another.members = [(name, member.copy()) for name, member in self.members]
        return another

    def names(self) -> list[str]:
        return [name for name, _ in self.members]


class Tale(NamedTuple):
    """A refactoring and what was done, for the reader of a failure."""

    case: Refactoring
    steps: list[str]


def grow_tree(rng: random.Random) -> Module:
    """Grow a random tree; now and then a block is repeated under numbers, as real models do."""
    counter, depth = iter(range(10**6)), rng.choice((1, 1, 2, 2, 3))
    root = _branch(rng, depth, counter)
    while not any(isinstance(member, Module) for _, member in root.members):
        root = _branch(rng, depth, counter)
    return root


def _branch(rng: random.Random, depth: int, counter: Iterator[int]) -> Module:
    module = Module()
    for _ in range(rng.randint(1, 2 if depth > 2 else 4)):
        name = _unused(module, rng, WORDS)
        if depth > 0 and rng.random() < 0.25:
            module.members.append((name, _repeated(rng, depth, counter)))
        elif depth > 0 and rng.random() < 0.6:
            module.members.append((name, _branch(rng, depth - 1, counter)))
        else:
            module.members.append((name, _layer(rng, counter)))
    return module


def _layer(rng: random.Random, counter: Iterator[int]) -> Module:
    layer = Module()
    for name in sorted(rng.sample(LEAVES, rng.randint(1, 3)), key=LEAVES.index):
        layer.members.append((name, Tensor(next(counter), rng.choice(SHAPES))))
    return layer


def _repeated(rng: random.Random, depth: int, counter: Iterator[int]) -> Module:
    block, container = _branch(rng, depth - 1, counter), Module()
    for index in range(rng.randint(2, 4)):
        another = block.copy()
        for _, tensor in another.tensors():
            tensor.identity = next(counter)
        container.members.append((str(index), another))
    return container


def _unused(module: Module, rng: random.Random, words: tuple[str, ...]) -> str:
    free = [word for word in words if word not in module.names()]
    return rng.choice(free) if free else f"{rng.choice(words)}_{rng.randint(100, 999)}"


def refactor(seed: int) -> Tale:
    """Tell one tale: a target, some honest or dishonest steps, and the file that comes out."""
    rng = random.Random(seed)
    target_tree = grow_tree(rng)
    tree, steps = target_tree.copy(), []
    # Crossed names and another order of registration cancel out: together they give the layout of an honest file.
    lying = rng.random() < 0.5
    # A file that lost a layer and gained an equal one looks as if the one had become the other, and one of two layers
    # that exchanged their names, if the other is lost, like itself.
    uneven = add_equal if lying or rng.random() < 0.6 else lose_one
    allowed = [*HONEST, uneven, *(LYING if lying else REORDERING)]
    for _ in range(rng.randint(0, 6)):
        step = rng.choice(allowed)
        if step(tree, rng):
            steps.append(step.__name__)
    names = [name for name, _ in tree.tensors()]
    if not lying and rng.random() < 0.3:
        steps.append("order lost")
        rng.shuffle(names) if rng.random() < 0.5 else names.sort()
    return Tale(_case(target_tree, tree, names), steps)


def _case(target_tree: Module, tree: Module, names: list[str]) -> Refactoring:
    held = dict(tree.tensors())
    source: Layout = {name: TensorSpec(held[name].shape) for name in names}
    where = {tensor.identity: name for name, tensor in held.items()}
    target: Layout = {name: TensorSpec(tensor.shape) for name, tensor in target_tree.tensors()}
    truth = {name: where[tensor.identity] for name, tensor in target_tree.tensors() if tensor.identity in where}
    return Refactoring("tale", source, target, truth, "nothing", frozenset(source) - frozenset(truth.values()))


def rename_one(tree: Module, rng: random.Random) -> bool:
    module = rng.choice(tree.modules())
    place = rng.randrange(len(module.members))
    module.members[place] = (_unused(module, rng, FRESH), module.members[place][1])
    return True


def rename_everywhere(tree: Module, rng: random.Random) -> bool:
    old = rng.choice([name for module in tree.modules() for name in module.names()])
    new = rng.choice(FRESH)
    if not old or old.isdigit() or any(new in module.names() for module in tree.modules()):
        return False
    for module in tree.modules():
        module.members = [(new if name == old else name, member) for name, member in module.members]
    return True


def rename_all(tree: Module, rng: random.Random) -> bool:
    """Every name becomes one that says nothing, the leaves' too."""
    count = 0
    for module in tree.modules():
        for place, (_, member) in enumerate(module.members):
            module.members[place] = (f"{rng.choice(FRESH)}{'xyz'[count % 3]}q{_letters(count)}", member)
            count += 1
    return True


def _strangers(module: Module) -> set[str]:
    """Name the members that the target does not have at all: a name that passes to one of them leaves no trace."""
    return {
        name
        for name, member in module.members
        if isinstance(member, Module) and all(tensor.identity < 0 for _, tensor in member.tensors())
    }


def _letters(number: int) -> str:
    return "".join("abcdefghij"[int(digit)] for digit in str(number))


def wrap(tree: Module, rng: random.Random) -> bool:
    inner = Module()
    inner.members, tree.members = tree.members, []
    tree.members.append((_unused(tree, rng, FRESH), inner))
    return True


def nest(tree: Module, rng: random.Random) -> bool:
    """Some neighbours move into a new module in their place."""
    module = rng.choice(tree.modules())
    start = rng.randrange(len(module.members))
    end = rng.randint(start + 1, len(module.members))
    inner = Module()
    inner.members = module.members[start:end]
    module.members[start:end] = []
    module.members.insert(start, (_unused(module, rng, FRESH), inner))
    return True


def flatten(tree: Module, rng: random.Random) -> bool:
    """A module's members take its place, under their own names where they are free."""
    module = rng.choice(tree.modules())
    inner = [(place, name, member) for place, (name, member) in enumerate(module.members) if isinstance(member, Module)]
    inner = [item for item in inner if item[1] not in _strangers(module)]
    if not inner:
        return False
    place, name, member = rng.choice(inner)
    others = {other for other in module.names() if other != name}
    free = not others & set(member.names()) and rng.random() < 0.5
    joint = rng.choice(["_", ""])
    lifted = [(own if free else f"{name}{joint}{own}", content) for own, content in member.members]
    if others & {own for own, _ in lifted}:
        return False
    module.members[place : place + 1] = lifted
    return True


def move(tree: Module, rng: random.Random) -> bool:
    """A module moves below another parent, at the end of its members."""
    modules = tree.modules()
    parent, new = rng.choice(modules), rng.choice(modules)
    inner = [(name, member) for name, member in parent.members if isinstance(member, Module)]
    if len(parent.members) < 2 or not inner:
        return False
    name, member = rng.choice(inner)
    if new in member.modules() or new is parent:
        return False
    parent.members.remove((name, member))
    new.members.append((name if name not in new.names() and rng.random() < 0.5 else _unused(new, rng, FRESH), member))
    return True


def shift_numbers(tree: Module, rng: random.Random) -> bool:
    return _renumber(tree, rng, lambda index, size: index + 1)


def count_by_two(tree: Module, rng: random.Random) -> bool:
    return _renumber(tree, rng, lambda index, size: 2 * index)


def _renumber(tree: Module, rng: random.Random, rule: Callable[[int, int], int]) -> bool:
    numbered = [
        module for module in tree.modules() if len(module.members) > 1 and all(map(str.isdigit, module.names()))
    ]
    if not numbered:
        return False
    module = rng.choice(numbered)
    size = len(module.members)
    module.members = [(str(rule(int(name), size)), member) for name, member in module.members]
    return len(set(module.names())) == size


def add_equal(tree: Module, rng: random.Random) -> bool:
    """A layer that the target lacks, of the shapes of one that it has."""
    modules = tree.modules()
    layer = rng.choice(modules[1:]).copy() if len(modules) > 1 else Module()
    if not layer.tensors():
        return False
    for count, (_, tensor) in enumerate(layer.tensors()):
        tensor.identity = -1000 - rng.randrange(10**6) - count
    parent = rng.choice(modules)
    parent.members.insert(rng.randint(0, len(parent.members)), (_unused(parent, rng, FRESH), layer))
    return True


def lose_one(tree: Module, rng: random.Random) -> bool:
    """A layer of the target is not in the file at all."""
    module = rng.choice(tree.modules())
    if len(module.members) < 2:
        return False
    module.members.pop(rng.randrange(len(module.members)))
    return True


def exchange_names(tree: Module, rng: random.Random) -> bool:
    module = rng.choice(tree.modules())
    if len(module.members) < 2 or _strangers(module):
        return False
    one, other = rng.sample(range(len(module.members)), 2)
    (name, member), (second, content) = module.members[one], module.members[other]
    module.members[one], module.members[other] = (second, member), (name, content)
    return True


def rotate_names(tree: Module, rng: random.Random) -> bool:
    module = rng.choice([module for module in tree.modules() if not _strangers(module)] or [Module()])
    names = module.names()
    module.members = [(name, member) for name, (_, member) in zip(names[1:] + names[:1], module.members, strict=True)]
    return len(names) > 1


def hand_down_names(tree: Module, rng: random.Random) -> bool:
    """Each sibling takes the next one's name, and the last a new one."""
    honest = [module for module in tree.modules() if not _strangers(module)]
    if not honest:
        return False
    module = rng.choice(honest)
    names = [*module.names()[1:], _unused(module, rng, FRESH)]
    module.members = [(name, member) for name, (_, member) in zip(names, module.members, strict=True)]
    return True


def count_backwards(tree: Module, rng: random.Random) -> bool:
    return _renumber(tree, rng, lambda index, size: size - 1 - index)


def register_otherwise(tree: Module, rng: random.Random) -> bool:
    rng.shuffle(rng.choice(tree.modules()).members)
    return True


HONEST = (rename_one, rename_everywhere, rename_all, wrap, nest, flatten, shift_numbers, count_by_two)
LYING = (exchange_names, rotate_names, hand_down_names, count_backwards)
REORDERING = (register_otherwise, move)

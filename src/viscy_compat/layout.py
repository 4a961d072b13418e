"""The vocabulary that every room shares: tensor specs, layouts, their differences, and folded keys.

A *layout* is what a state dict looks like without its numbers: the ordered names, shapes and dtypes of its tensors.
"""

from __future__ import annotations

from viscy_compat.annotations import Iterable, Mapping
from viscy_compat.named import NamedTuple


class TensorSpec(NamedTuple):
    """The shape and dtype of one tensor; the dtype under torch's name, without ``torch.``.

    Examples
    --------
    >>> TensorSpec((32, 2, 5, 4, 4)).elements
    5120
    >>> str(TensorSpec((), "int64"))
    '() int64'
    """

    shape: tuple[int, ...]
    dtype: str = "float32"

    @property
    def elements(self) -> int:
        """How many elements the tensor has."""
        count = 1
        for size in self.shape:
            count *= size
        return count

    def __str__(self) -> str:
        return f"{self.shape} {self.dtype}"


Layout = dict[str, TensorSpec]
"""Tensor names in the order of ``state_dict()``, with their specs."""


def packed_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the strides of a tensor whose elements lie packed in row-major order.

    Examples
    --------
    >>> packed_strides((2, 3, 4))
    (12, 4, 1)
    """
    strides, step = [], 1
    for size in shape[:0:-1]:
        strides.append(step)
        step *= size or 1
    return (step, *strides[::-1]) if shape else ()


class Mismatch(NamedTuple):
    """One tensor that two layouts describe differently."""

    name: str
    found: TensorSpec
    expected: TensorSpec


class Differences(NamedTuple):
    """How a found layout differs from an expected one; falsy where they agree, order included."""

    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    reshaped: tuple[Mismatch, ...] = ()
    retyped: tuple[Mismatch, ...] = ()
    reordered: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return any(self)

    @property
    def names(self) -> tuple[str, ...]:
        """Every tensor name that takes part in a difference."""
        names = (mismatch.name for mismatch in (*self.reshaped, *self.retyped))
        return (*self.missing, *self.unexpected, *names, *self.reordered)


def differences(found: Mapping[str, TensorSpec], expected: Mapping[str, TensorSpec]) -> Differences:
    """Compare two layouts: names, shapes, dtypes, and the order of the names that both have.

    Parameters
    ----------
    found, expected : Mapping[str, TensorSpec]
        Ordered layouts.

    Returns
    -------
    Differences
        ``reordered`` lists the common names that stand at another place, in the found order.

    Examples
    --------
    >>> old = {"a": TensorSpec((2,)), "b": TensorSpec((3,))}
    >>> new = {"a": TensorSpec((4,)), "c": TensorSpec((3,))}
    >>> found = differences(old, new)
    >>> found.missing, found.unexpected, found.reshaped[0].name
    (('c',), ('b',), 'a')
    >>> bool(differences(old, old)), differences({"b": old["b"], "a": old["a"]}, old).reordered
    (False, ('b', 'a'))
    """
    here = [name for name in found if name in expected]
    there = [name for name in expected if name in found]
    pairs = [Mismatch(name, found[name], expected[name]) for name in there]
    return Differences(
        missing=tuple(name for name in expected if name not in found),
        unexpected=tuple(name for name in found if name not in expected),
        reshaped=tuple(pair for pair in pairs if pair.found.shape != pair.expected.shape),
        retyped=tuple(pair for pair in pairs if pair.found.dtype != pair.expected.dtype),
        reordered=tuple(mine for mine, theirs in zip(here, there, strict=True) if mine != theirs),
    )


def fold(names: Iterable[str]) -> list[str]:
    """Fold numbered names into patterns, in the order of their first members.

    Each pattern stands for exactly the names that went in: a group is folded only over full products of indices, so
    that `unfold` gives the same set back. Names that hold braces are left as they are.

    Examples
    --------
    >>> fold(f"stages.{s}.blocks.{b}.gamma" for s in range(2) for b in range(3))
    ['stages.{0..1}.blocks.{0..2}.gamma']
    >>> fold(["a.0.w", "a.1.w", "a.3.w", "a.0.b", "c"])
    ['a.{0,1,3}.w', 'a.0.b', 'c']
    """
    groups: dict[tuple[str, ...], list[tuple[int, ...]]] = {}
    for name in names:
        parts = name.split(".") if "{" not in name else []
        numbers = [part for part in parts if _is_index(part)]
        # names come from strangers: one with braces, the mark or very many indices is left as it is
        if not numbers or len(numbers) > _MOST_INDICES or _INDEX in parts:
            groups.setdefault((name,), []).append(())
            continue
        template = tuple(_INDEX if _is_index(part) else part for part in parts)
        groups.setdefault(template, []).append(tuple(map(int, numbers)))
    return [
        ".".join(_choice_text(next(choices)) if part == _INDEX else part for part in template)
        for template, indices in groups.items()
        for choices in map(iter, _boxes(indices))
    ]


_PATTERNS_IN_A_LINE = 4
"""A fifth pattern of names in a sentence is not read; whoever wants them all has them in the keys of the finding."""


def in_short(names: Iterable[str]) -> str:
    """Name tensors or modules in a sentence: the first few patterns, escaped.

    Examples
    --------
    >>> in_short(["a.0", "a.1", "b"]), in_short("abcde")
    ('a.{0..1}, b', 'a, b, c, d, ...')
    """
    patterns = fold(names)
    more = ", ..." if len(patterns) > _PATTERNS_IN_A_LINE else ""
    return printable(", ".join(patterns[:_PATTERNS_IN_A_LINE])) + more


def unfold(pattern: str) -> list[str]:
    """List the names that a folded pattern stands for.

    Examples
    --------
    >>> unfold("a.{0..1}.{0,2}.w")
    ['a.0.0.w', 'a.0.2.w', 'a.1.0.w', 'a.1.2.w']
    """
    head, brace, rest = pattern.partition("{")
    if not brace:
        return [pattern]
    choice, _, tail = rest.partition("}")
    first, dots, last = choice.partition("..")
    indices = map(str, range(int(first), int(last) + 1)) if dots else choice.split(",")
    return [f"{head}{index}{end}" for index in indices for end in unfold(tail)]


def printable(text: str) -> str:
    r"""Escape what a terminal would act on: control characters, bidi marks, newlines, lone surrogates.

    Examples
    --------
    >>> printable("a\x1b[31mb\n")
    'a\\x1b[31mb\\n'
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def spell_count(count: int, noun: str, one: str = "", many: str = "") -> str:
    """Spell how many of something there are, and the verb that goes with one and with many.

    Examples
    --------
    >>> spell_count(1, "case"), spell_count(2, "class"), spell_count(3, "entry")
    ('1 case', '2 classes', '3 entries')
    >>> spell_count(1, "tensor", "is", "are"), spell_count(0, "tensor", "is", "are")
    ('1 tensor is', '0 tensors are')
    """
    plural = f"{noun}es" if noun.endswith("s") else f"{noun[:-1]}ies" if noun.endswith("ry") else f"{noun}s"
    verb = one if count == 1 else many
    return f"{count} {noun if count == 1 else plural}{' ' * bool(verb)}{verb}"


def is_batch_counter(name: str, spec: TensorSpec) -> bool:
    """Whether a tensor is the batch counter of a batch norm, which nothing reads where momentum is a number.

    Examples
    --------
    >>> is_batch_counter("bn1.num_batches_tracked", TensorSpec((), "int64")), is_batch_counter("n", TensorSpec(()))
    (True, False)
    """
    return name.rpartition(".")[2] == "num_batches_tracked" and not spec.shape and spec.dtype == "int64"


_INDEX = "\0"
"""Stands for an index in a template; a name that has it already is left as it is."""

_MOST_INDICES = 12
"""Indices of one name that are folded: the deepest class has four."""


def _is_index(part: str) -> bool:
    return part.isascii() and part.isdigit() and len(part) < 10 and (part == "0" or part[0] != "0")


def _boxes(members: list[tuple[int, ...]]) -> list[tuple[tuple[int, ...], ...]]:
    """Cover index tuples by disjoint full products, first by the last index, then merging outwards."""
    depth = len(members[0])
    boxes: list[tuple[tuple[int, ...], ...]] = [tuple((index,) for index in member) for member in members]
    for axis in reversed(range(depth)):
        groups: dict[tuple[tuple[int, ...], ...], list[int]] = {}
        for box in boxes:
            groups.setdefault(box[:axis] + box[axis + 1 :], []).extend(box[axis])
        boxes = [(*rest[:axis], tuple(sorted(set(values))), *rest[axis:]) for rest, values in groups.items()]
    return boxes


def _choice_text(indices: tuple[int, ...]) -> str:
    if len(indices) == 1:
        return str(indices[0])
    if indices[-1] - indices[0] == len(indices) - 1:
        return f"{{{indices[0]}..{indices[-1]}}}"
    return "{" + ",".join(map(str, indices)) + "}"


def quote_path(path: str) -> str:
    """Spell a path as a shell takes it: no command takes it for an option, and zsh not for the name of a program.

    Examples
    --------
    >>> quote_path("my model.ckpt"), quote_path("epoch=48-step=18130.ckpt"), quote_path("-x.ckpt")
    ("'my model.ckpt'", 'epoch=48-step=18130.ckpt', './-x.ckpt')
    """
    return quote_word(f"./{path}" if path.startswith(("-", "=")) else path)


def quote_word(text: str) -> str:
    r"""Spell one word as a shell takes it; what a terminal would act on is escaped as bash, zsh and ksh read it.

    Examples
    --------
    >>> quote_word("head.weight"), quote_word("it's"), quote_word("")
    ('head.weight', '\'it\'"\'"\'s\'', "''")
    >>> print(quote_word("a\tb\udcff.ckpt"))
    $'a\x09b\xff.ckpt'
    """
    if text and set(text) <= _UNQUOTED:
        return text
    if text.isprintable():
        from shlex import quote

        return quote(text)
    return "$'" + "".join(f"\\{char}" if char in "'\\" else _hexadecimal(char) for char in text) + "'"


def _hexadecimal(char: str) -> str:
    """Escape a letter byte by byte, where it is not printable: shells do not agree on what ``\\u`` means in every locale."""
    if char.isprintable():
        return char
    is_byte = "\udc80" <= char <= "\udcff"  # how Python keeps a byte of a file's name that is no UTF-8
    return "".join(f"\\x{byte:02x}" for byte in char.encode("utf-8", "surrogateescape" if is_byte else "surrogatepass"))


_UNQUOTED = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./=+,:@%")
"""What `shlex.quote` leaves as it is; it is not imported for that."""

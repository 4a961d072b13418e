"""An inert pickle interpreter: opcodes to the nodes of `viscy_compat.checkpoint.pickle_nodes`. Calls and imports nothing.

Protocols 0 to 5. What an unpickler would call becomes a `Call`, what it would import a `Global`. The machine accepts no
more than an unpickler would: an operand of the wrong kind, an empty stack or an unknown memo index is an error.
"""

from __future__ import annotations

import struct
from itertools import repeat
from operator import length_hint

from viscy_compat.annotations import TYPE_CHECKING, Callable, Final, NoReturn
from viscy_compat.checkpoint.limits import Limits, beyond
from viscy_compat.checkpoint.pickle_nodes import Call, CallKind, Dict, Global, Items, Node, Persistent
from viscy_compat.errors import UnreadableCheckpoint
from viscy_compat.named import NamedTuple

if TYPE_CHECKING:
    from viscy_compat.checkpoint.pickle_spans import RecentSpans, Span

_SPAN: Final = 1_000
"""Bytes from which a span is worth a comparison: ten tensors."""


class DecodedPickle(NamedTuple):
    """One decoded pickle.

    ``end`` is the offset after its ``STOP``; ``globals`` and ``persistents`` are in order of appearance; ``dropped``
    holds the calls that were popped off the stack; ``computed`` says whether a call's function is itself computed.
    """

    root: Node
    end: int
    protocol: int
    globals: tuple[Global, ...]
    persistents: tuple[Persistent, ...]
    dropped: tuple[Node, ...]
    computed: bool


class EndOfData(Exception):
    """The data ends before the pickle does; the caller may have more of it."""


class BrokenPickle(Exception):
    """What is wrong, without the place; `decode` adds that."""


def decode(
    data: bytes,
    limits: Limits,
    *,
    start: int = 0,
    where: str = "pickle",
    whole: int = 0,
    spans: RecentSpans | None = None,
) -> DecodedPickle:
    r"""Decode one pickle.

    Parameters
    ----------
    data : bytes
        Holds the pickle; bytes after its ``STOP`` are not looked at.
    limits : Limits
        Opcodes, memo, depth, string, integer.
    start : int, optional
        Where the pickle starts.
    where : str, optional
        What error messages call the data.
    whole : int, optional
        Bytes that there are in all, where `data` is the first part of them.
    spans : RecentSpans or None, optional
        What of other pickles may be taken over where it stands in this one too.

    Raises
    ------
    EndOfData
        The data ends within the pickle.
    UnreadableCheckpoint
        VC420 for what no pickler writes, VC404 beyond a limit.

    Examples
    --------
    >>> from viscy_compat.checkpoint.limits import DEFAULT_LIMITS
    >>> decode(b"cos\nsystem\n(S'echo'\ntR.", DEFAULT_LIMITS).root.function
    Global('os', 'system')
    """
    machine = _Machine(data, start, limits, spans)
    try:
        root = machine.interpret()
    except _StoredIntoSpan:
        return decode(data, limits, start=start, where=where, whole=whole, spans=None)
    except (IndexError, KeyError) as error:
        if machine.lacks_operand():
            raise EndOfData from error
        what = "it takes more off the stack than is there"
        absent = f"memo entry {error.args[0]} does not exist"
        raise _broken_pickle(where, machine, absent if type(error) is KeyError else what) from error
    except UnicodeDecodeError as error:
        raise _broken_pickle(where, machine, "a text is not UTF-8") from error
    except BrokenPickle as error:
        raise _broken_pickle(where, machine, str(error)) from error
    except _BeyondLimit as error:
        name, enough = error.args
        enough = max(enough, whole) if name in ("opcodes", "depth") else enough
        raise beyond(limits, name, enough, f"the pickle needs {_NEEDS[name]}", where=where) from error
    return machine.result(root)


def names_until_it_fails(data: bytes, limits: Limits, *, start: int = 0) -> DecodedPickle:
    r"""Decode as much of one pickle as can be: the names that were imported by then, whatever follows.

    Parameters
    ----------
    data : bytes
        Any bytes.
    limits : Limits
        Where to give up.
    start : int, optional
        Where the pickle starts.

    Returns
    -------
    DecodedPickle
        ``root`` is None and ``end`` 0 where the pickle did not come to its end.

    Examples
    --------
    >>> from viscy_compat.checkpoint.limits import DEFAULT_LIMITS
    >>> [name.use for name in names_until_it_fails(b"cos\nsystem\n(S'echo'\ntR\xff", DEFAULT_LIMITS).globals]
    ['called']
    """
    machine = _Machine(data, start, limits)
    try:
        return machine.result(machine.interpret())
    except (_BeyondLimit, EndOfData, IndexError, KeyError, BrokenPickle, UnicodeDecodeError):
        return machine.result(None)._replace(end=0)


def begins_to_act(data: bytes, limits: Limits) -> bool | None:
    r"""Say whether an unpickler would import a name before it fails, or return torch's magic number.

    Parameters
    ----------
    data : bytes
        The first part of a file of another format.
    limits : Limits
        More steps than these count as acting.

    Returns
    -------
    bool or None
        None where the data ends before that can be told.

    Examples
    --------
    >>> from viscy_compat.checkpoint.limits import DEFAULT_LIMITS
    >>> [begins_to_act(data, DEFAULT_LIMITS) for data in (b"N.", b"V", b"cos\nsystem\n\0")]
    [False, None, True]
    """
    machine = _Machine(data, 0, limits)
    short = False
    try:
        root = machine.interpret()
        if type(root) is int and root == TORCH_MAGIC:
            return True
    except _BeyondLimit:
        return True
    except (EndOfData, IndexError, KeyError) as error:
        short = type(error) is EndOfData or machine.lacks_operand()
    except (BrokenPickle, UnicodeDecodeError):
        pass
    if any(part.isidentifier() for name in machine.globals.values() for part in name.module.split(".")):
        return True
    return None if short else False


TORCH_MAGIC: Final = 0x1950A86A20F9469CFC6C
"""What the first pickle of a torch stream holds."""


class _BeyondLimit(Exception):
    """The name of the limit, and a value that is enough."""


class _StoredIntoSpan(Exception):
    """A pickle stores something into a node that it shares with others."""


_NEEDS: Final = {
    "opcodes": "more steps",
    "memo": "more memo entries",
    "depth": "more open marks",
    "string": "a longer string",
    "integer": "a longer integer",
    "pickle_bytes": "more bytes",
}


def _broken_pickle(where: str, machine: _Machine, why: str) -> UnreadableCheckpoint:
    return UnreadableCheckpoint(
        f"broken pickle at byte {machine.at}: {why}",
        where=where,
        fix="fetch the file again; no pickler writes this",
        code="VC420",
    )


_U8: Final = struct.Struct("<B").unpack_from
_U16: Final = struct.Struct("<H").unpack_from
_I32: Final = struct.Struct("<i").unpack_from
_U32: Final = struct.Struct("<I").unpack_from
_U64: Final = struct.Struct("<Q").unpack_from
_F64: Final = struct.Struct(">d").unpack_from
"""Big-endian, as BINFLOAT alone among the opcodes is."""


class _KeyedMemo(dict[int, Node]):
    """A memo whose entries were not put one after the other; else a list holds them, in a third of the memory."""

    __slots__ = ()

    def append(self, value: Node) -> None:
        self[len(self)] = value


class _Machine:
    """The state of one run: data, position, stack, the stacks below open marks, and the memo."""

    __slots__ = (
        "at",
        "below",
        "computed",
        "data",
        "dropped",
        "globals",
        "limits",
        "memo",
        "op",
        "persistents",
        "protocol",
        "shared",
        "size",
        "skipped",
        "spans",
        "stack",
        "starts",
    )

    def __init__(self, data: bytes, start: int, limits: Limits, spans: RecentSpans | None = None) -> None:
        # Operands that the data lacks read as zeros, so that running out of data is noticed in one place.
        self.data, self.size = data + bytes(16), len(data)
        self.at, self.limits = start, limits
        self.stack: list[Node] = []
        self.below: list[list[Node]] = []
        self.memo: list[Node] | _KeyedMemo = []
        self.globals: dict[tuple[str, str], Global] = {}
        self.persistents: list[Persistent] = []
        self.dropped: list[Node] = []
        self.computed = False
        self.protocol = 0
        self.op = 0
        self.spans = spans
        # where the entries of a dictionary begin, and the persistent ids before them, by the number of marks below
        self.starts: dict[int, tuple[int, int]] = {}
        self.shared: list[Span] = []
        self.skipped = 0

    def result(self, root: Node) -> DecodedPickle:
        return DecodedPickle(
            root=root,
            end=self.at,
            protocol=self.protocol,
            globals=tuple(self.globals.values()),
            persistents=tuple(self.persistents),
            dropped=tuple(self.dropped),
            computed=self.computed,
        )

    def interpret(self) -> Node:
        """Interpret opcodes until ``STOP``.

        The opcodes that make up a state dict are handled in the loop: 20,000 tensors are 750,000 opcodes, and a call for each
        doubles the time. They stand in two halves, most frequent first, since the right one is looked for from the top. The
        others go through a table of methods.
        """
        data, stack, below, spans = self.data, self.stack, self.below, self.spans
        string, depth, end = self.limits.string, self.limits.depth, self.size
        at, op, memo = self.at, 0, self.memo if spans is None else self.keyed_memo()
        steps = repeat(None, self.limits.opcodes)
        try:
            for _ in steps:
                op = data[at]
                at += 1
                if op > 0x5F:
                    if op == 0x72:  # LONG_BINPUT
                        index = _U32(data, at)[0]
                        if index == len(memo):
                            memo.append(stack[-1])
                        else:
                            memo = self.put(index, stack[-1])
                        at += 4
                    elif op == 0x68:  # BINGET
                        stack.append(memo[data[at]])
                        at += 1
                    elif op == 0x74:  # TUPLE
                        items = tuple(stack)
                        stack = below.pop()
                        stack.append(items)
                    elif op == 0x85:  # TUPLE1
                        stack[-1] = (stack[-1],)
                    elif op == 0x71:  # BINPUT
                        if data[at] == len(memo):
                            memo.append(stack[-1])
                        else:
                            memo = self.put(data[at], stack[-1])
                        at += 1
                    elif op == 0x89:  # NEWFALSE
                        stack.append(False)
                    elif op == 0x6A:  # LONG_BINGET
                        stack.append(memo[_U32(data, at)[0]])
                        at += 4
                    elif op == 0x86:  # TUPLE2
                        last = stack.pop()
                        stack[-1] = (stack[-1], last)
                    elif op == 0x87:  # TUPLE3
                        last = stack.pop()
                        middle = stack.pop()
                        stack[-1] = (stack[-1], middle, last)
                    else:
                        self.at, self.stack = at, stack
                        _HANDLERS.get(op, _Machine.unknown)(self)
                        at, stack, memo = self.at, self.stack, self.memo
                elif op == 0x4B:  # BININT1
                    stack.append(data[at])
                    at += 1
                elif op == 0x28:  # MARK
                    if spans is not None and data[at] != 0x28 and stack and type(stack[-1]) in _FILLED:
                        self.at, self.stack = at, stack
                        if self.repeat_span(spans):
                            at = self.at
                            continue
                    below.append(stack)
                    stack = []
                    if len(below) > depth:
                        raise _BeyondLimit("depth", data.count(b"("))
                elif op == 0x52:  # REDUCE
                    args = stack.pop()
                    function = stack[-1]
                    if type(function) is not Global or type(args) is not tuple:
                        self.check_call(function, args)
                    else:
                        function.use = "called"
                    stack[-1] = Call(function, args)
                elif op == 0x58:  # BINUNICODE
                    size = _U32(data, at)[0]
                    at += 4 + size
                    if size > string or at > end:
                        self.refuse_length(size)
                    stack.append(str(data[at - size : at], "utf-8", "surrogatepass"))
                elif op == 0x29:  # EMPTY_TUPLE
                    stack.append(())
                elif op == 0x51:  # BINPERSID
                    stack[-1] = persistent = Persistent(stack[-1])
                    self.persistents.append(persistent)
                elif op == 0x4D:  # BININT2
                    stack.append(_U16(data, at)[0])
                    at += 2
                elif op == 0x4A:  # BININT
                    stack.append(_I32(data, at)[0])
                    at += 4
                elif op == 0x2E:  # STOP
                    if self.skipped > length_hint(steps):
                        break
                    self.stack = stack
                    return self.stop(at)
                else:
                    self.at, self.stack = at, stack
                    _HANDLERS.get(op, _Machine.unknown)(self)
                    at, stack, memo = self.at, self.stack, self.memo
        except IndexError as error:
            if op in _GETS:
                raise KeyError(data[at] if op == 0x68 else _U32(data, at)[0]) from error
            raise
        finally:
            self.at, self.op = max(at, self.at), op
        raise _BeyondLimit("opcodes", self.size)

    def repeat_span(self, spans: RecentSpans) -> bool:
        """Do at once what the opcodes up to ``SETITEMS`` do, where they were decoded before; else note where they begin."""
        memo = self.keyed_memo()
        span = spans.find(self.data, self.at, memo, self.limits)
        # what a pickle holds twice is two things to an unpickler
        if span is None or span in self.shared or len(self.below) + span.depth > self.limits.depth:
            self.starts[len(self.below)] = self.at, len(self.persistents)
            return False
        for name in span.names:
            self.intern(*name)
        for name in span.calls:
            self.intern(*name).use = "called"
        memo.update(span.puts)
        for index, name in span.imports.items():
            memo[index] = self.intern(*name)
        self.persistents += span.persistents
        self.fill(list(span.entries))
        self.shared.append(span)
        self.starts.clear()
        self.skipped += span.opcodes
        self.at += len(span.data)
        return True

    def refuse_shared(self, target: Node) -> None:
        """Refuse to store into a node that other pickles have too."""
        if any(span.holds(target) for span in self.shared):
            raise _StoredIntoSpan

    def lacks_operand(self) -> bool:
        """Say whether the opcode that failed is one whose operand the data does not hold."""
        return self.at + _OPERANDS.get(self.op, 0) > self.size

    def unknown(self) -> None:
        if self.at > self.size:
            raise EndOfData
        raise BrokenPickle(f"0x{self.data[self.at - 1]:02x} is no opcode")

    def refuse_length(self, size: int) -> NoReturn:
        if size > self.limits.string:
            raise _BeyondLimit("string", size)
        raise EndOfData

    def check_call(self, function: Node, args: Node) -> None:
        """Accept what an unpickler could call besides a global: the result of a call, or a persistent id."""
        if type(args) is not tuple:
            raise BrokenPickle("the arguments of a call are no tuple")
        if type(function) is Global:
            function.use = "called"
        elif type(function) is Call:
            self.computed = True
        elif type(function) is not Persistent:
            raise BrokenPickle("it calls what is no function")

    def stop(self, end: int) -> Node:
        """Return the only value that is left, if that is how it ends."""
        self.at = end
        if end > self.size:
            raise EndOfData
        if self.below:
            raise BrokenPickle("it stops within a mark")
        if len(self.memo) > self.limits.memo:
            raise _BeyondLimit("memo", len(self.memo))
        if len(self.stack) != 1:
            raise BrokenPickle(f"it stops with {len(self.stack)} values on the stack")
        return self.stack[0]

    # Operands -----------------------------------------------------------------------------------------------------

    def take(self, length: int, *, limit: int) -> bytes:
        """Return the next bytes, whose number the file chose."""
        if length > limit:
            raise _BeyondLimit("string" if limit == self.limits.string else "integer", length)
        start = self.at
        self.at = start + length
        if self.at > self.size:
            raise EndOfData
        return self.data[start : self.at]

    def take_counted(self, read: _Unpack, width: int) -> bytes:
        """Return bytes that stand after their own number."""
        length = int(read(self.data, self.at)[0])
        self.at += width
        if length < 0:
            raise BrokenPickle("a length is negative")
        return self.take(length, limit=self.limits.string)

    def line(self) -> bytes:
        end = self.data.find(b"\n", self.at, self.size)
        if end < 0:
            raise EndOfData
        text = self.take(end - self.at, limit=self.limits.string)
        self.at += 1
        return text

    def number(self, read: _Unpack, width: int) -> int:
        value = int(read(self.data, self.at)[0])
        self.at += width
        return value

    def pop_to_mark(self) -> list[Node]:
        """Return the values above the topmost mark, and take both off."""
        items = self.stack
        self.stack = self.below.pop()
        return items

    # Values -------------------------------------------------------------------------------------------------------

    def none(self) -> None:
        self.stack.append(None)

    def true(self) -> None:
        self.stack.append(True)

    def decimal_int(self) -> None:
        text = self.line()
        if text in (b"00", b"01"):
            self.stack.append(text == b"01")
        else:
            self.stack.append(self.parsed_int(text))

    def decimal_long(self) -> None:
        self.stack.append(self.parsed_int(self.line().removesuffix(b"L")))

    def parsed_int(self, text: bytes) -> int:
        if len(text) > self.limits.integer:
            # the header of a safetensors file whose length begins with ``p`` or ``I`` is long, and no number at all
            if text.translate(None, _OF_NUMBERS):
                raise BrokenPickle("a number is not decimal")
            raise _BeyondLimit("integer", len(text))
        try:
            return int(text) if len(text) < _DIGITS else _long_int(text)
        except ValueError as error:
            raise BrokenPickle("a number is not decimal") from error

    def decimal_float(self) -> None:
        try:
            self.stack.append(float(self.line()))
        except ValueError as error:
            raise BrokenPickle("a number is not decimal") from error

    def binary_float(self) -> None:
        self.stack.append(_F64(self.data, self.at)[0])
        self.at += 8

    def long1(self) -> None:
        length = self.number(_U8, 1)
        self.stack.append(int.from_bytes(self.take(length, limit=255), "little", signed=True))

    def long4(self) -> None:
        length = self.number(_I32, 4)
        if length < 0:
            raise BrokenPickle("a length is negative")
        self.stack.append(int.from_bytes(self.take(length, limit=self.limits.integer), "little", signed=True))

    def quoted_string(self) -> None:
        text = self.line().strip()
        if len(text) < 2 or text[:1] not in (b"'", b'"') or text[-1:] != text[:1]:
            raise BrokenPickle("a string has no quotes")
        # those of a Python 2 string literal: the pickle module of Python 3 undoes them by this function too
        from codecs import escape_decode

        try:
            self.push_string(escape_decode(text[1:-1])[0])
        except ValueError as error:
            raise BrokenPickle("a string has a broken escape") from error

    def binary_string(self) -> None:
        self.push_string(self.take_counted(_I32, 4))

    def short_binary_string(self) -> None:
        self.push_string(self.take_counted(_U8, 1))

    def push_string(self, raw: bytes) -> None:
        """Push a string of Python 2: torch reads it as UTF-8; where it is not, it stays bytes."""
        try:
            self.stack.append(str(raw, "utf-8"))
        except UnicodeDecodeError:
            self.stack.append(raw)

    def unicode_line(self) -> None:
        try:
            self.stack.append(str(self.line(), "raw-unicode-escape"))
        except UnicodeDecodeError as error:
            raise BrokenPickle("a text has a broken escape") from error

    def short_unicode(self) -> None:
        self.stack.append(str(self.take_counted(_U8, 1), "utf-8", "surrogatepass"))

    def unicode8(self) -> None:
        self.stack.append(str(self.take_counted(_U64, 8), "utf-8", "surrogatepass"))

    def bytes4(self) -> None:
        self.stack.append(self.take_counted(_U32, 4))

    def bytes1(self) -> None:
        self.stack.append(self.take_counted(_U8, 1))

    def bytes8(self) -> None:
        self.stack.append(self.take_counted(_U64, 8))

    def bytearray8(self) -> None:
        self.stack.append(Items("bytearray", [self.take_counted(_U64, 8)]))

    # Containers ---------------------------------------------------------------------------------------------------

    def empty_list(self) -> None:
        self.stack.append([])

    def marked_list(self) -> None:
        items = self.pop_to_mark()
        self.stack.append(items)

    def append(self) -> None:
        value = self.stack.pop()
        self.extend([value])

    def appends(self) -> None:
        self.extend(self.pop_to_mark())

    def extend(self, items: list[Node]) -> None:
        target = self.stack[-1]
        if self.shared:
            self.refuse_shared(target)
        if type(target) is list:
            target.extend(items)
        elif type(target) is Call:
            target.items = items if target.items is None else _extend(target.items, items)
        else:
            raise BrokenPickle("it appends to what is no list")

    def empty_dict(self) -> None:
        self.stack.append(Dict())

    def marked_dict(self) -> None:
        entries = self.pop_to_mark()
        self.stack.append(Dict(_pairs_only(entries)))

    def set_item(self) -> None:
        value = self.stack.pop()
        self.fill([self.stack.pop(), value])

    def set_items(self) -> None:
        entries = _pairs_only(self.pop_to_mark())
        if self.starts and self.spans is not None:
            self.keep_span(self.spans, entries)
        self.fill(entries)

    def keep_span(self, spans: RecentSpans, entries: list[Node]) -> None:
        start, persistents = self.starts.pop(len(self.below), (self.at, 0))
        if self.at - start < _SPAN:
            return
        data, memo = self.data[start : self.at], self.keyed_memo()
        span = spans.keep(data, memo, entries, self.persistents[persistents:], self.limits)
        self.shared += [span] if span is not None else []
        # no byte is looked at twice: what this one lies in is no span
        self.starts.clear()

    def fill(self, entries: list[Node]) -> None:
        target = self.stack[-1]
        if self.shared:
            self.refuse_shared(target)
        if type(target) is Dict:
            target.entries.extend(entries)
        elif type(target) is Call:
            target.entries = entries if target.entries is None else _extend(target.entries, entries)
        else:
            raise BrokenPickle("it stores into what is no dictionary")

    def empty_set(self) -> None:
        self.stack.append(Items("set", []))

    def add_items(self) -> None:
        items = self.pop_to_mark()
        target = self.stack[-1]
        if self.shared:
            self.refuse_shared(target)
        if type(target) is Items and target.kind == "set":
            target.items.extend(items)
        elif type(target) is Call:
            target.items = items if target.items is None else _extend(target.items, items)
        else:
            raise BrokenPickle("it adds to what is no set")

    def frozen_set(self) -> None:
        items = self.pop_to_mark()
        self.stack.append(Items("frozenset", items))

    # Stack and memo -----------------------------------------------------------------------------------------------

    def pop(self) -> None:
        if self.stack:
            self.drop(self.stack.pop())
        else:
            self.pop_to_mark()

    def pop_mark(self) -> None:
        for node in self.pop_to_mark():
            self.drop(node)

    def drop(self, node: Node) -> None:
        if type(node) is Call:
            self.dropped.append(node)

    def duplicate(self) -> None:
        self.stack.append(self.stack[-1])

    def get_line(self) -> None:
        index = self.parsed_int(self.line())
        self.stack.append(self.keyed_memo()[index])

    def put_line(self) -> None:
        index = self.parsed_int(self.line())
        if index < 0:
            raise BrokenPickle("a memo index is negative")
        self.put(index, self.stack[-1])

    def memoize(self) -> None:
        self.memo.append(self.stack[-1])

    def put(self, index: int, value: Node) -> list[Node] | _KeyedMemo:
        """Put a value into the memo, and return that: picklers count up, which is all that a list can hold."""
        if index == len(self.memo):
            self.memo.append(value)
        else:
            self.keyed_memo()[index] = value
        return self.memo

    def keyed_memo(self) -> _KeyedMemo:
        """Return the memo as a dictionary, which it is from then on."""
        if type(self.memo) is not _KeyedMemo:
            self.memo = _KeyedMemo(enumerate(self.memo))
        return self.memo

    # Names, calls and ids -----------------------------------------------------------------------------------------

    def intern(self, module: str, name: str) -> Global:
        node = self.globals.get((module, name))
        if node is None:
            node = self.globals[module, name] = Global(module, name)
        return node

    def global_line(self) -> None:
        module, name = self.line(), self.line()
        self.stack.append(self.intern(str(module, "utf-8"), str(name, "utf-8")))

    def stack_global(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if type(name) is not str or type(module) is not str:
            raise BrokenPickle("the name of a global is no text")
        self.stack.append(self.intern(module, name))

    def inst(self) -> None:
        module, name = self.line(), self.line()
        function = self.intern(str(module, "utf-8"), str(name, "utf-8"))
        function.use = "called"
        args = tuple(self.pop_to_mark())
        self.stack.append(Call(function, args, "inst"))

    def obj(self) -> None:
        operands = self.pop_to_mark()
        function = operands.pop(0)
        self.call(function, tuple(operands), "obj")

    def new_object(self) -> None:
        args, function = self.stack.pop(), self.stack.pop()
        self.call(function, args, "newobj")

    def new_object_ex(self) -> None:
        kwargs, args, function = self.stack.pop(), self.stack.pop(), self.stack.pop()
        if type(kwargs) is not Dict:
            raise BrokenPickle("the named arguments of a call are no dictionary")
        self.call(function, args, "newobj_ex")
        self.stack[-1].kwargs = kwargs

    def call(self, function: Node, args: Node, kind: CallKind) -> None:
        use = function.use if type(function) is Global else "called"
        self.check_call(function, args)
        if kind != "obj" and use == "named":
            function.use = "newobj"
        self.stack.append(Call(function, args, kind))

    def build(self) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        if self.shared:
            self.refuse_shared(target)
        if type(target) is not Call:
            raise BrokenPickle("it sets the state of what is no object")
        target.states = [state] if target.states is None else _extend(target.states, [state])

    def persistent_line(self) -> None:
        self.push_persistent(str(self.line(), "utf-8"))

    def push_persistent(self, identity: Node) -> None:
        persistent = Persistent(identity)
        self.persistents.append(persistent)
        self.stack.append(persistent)

    # Framing ------------------------------------------------------------------------------------------------------

    def proto(self) -> None:
        self.protocol = self.number(_U8, 1)
        if self.protocol > 5 and self.at <= self.size:
            raise BrokenPickle(f"protocol {self.protocol} does not exist")

    def frame(self) -> None:
        length = self.number(_U64, 8)
        if length > self.limits.pickle_bytes:
            raise _BeyondLimit("pickle_bytes", length)
        if self.at + length > self.size:
            raise EndOfData

    def extension(self) -> None:
        raise BrokenPickle("it uses the registry of extension codes, which no checkpoint can rely on")

    def buffer(self) -> None:
        raise BrokenPickle("it refers to buffers outside of the pickle")


_OF_NUMBERS: Final = b"0123456789+-_ \t\n\r\f\v"
"""Bytes of which ``int`` makes a number."""

_DIGITS: Final = 4_000
"""Digits that Python turns into an integer at once, whatever it was told (``sys.set_int_max_str_digits``)."""


def _long_int(text: bytes) -> int:
    """Return an integer of more digits than Python turns at once.

    Examples
    --------
    >>> _long_int(b"-" + b"1" * 5000) == -(10**5000 - 1) // 9
    True
    """
    digits = text.removeprefix(b"-")
    if not digits.isdigit():
        raise ValueError
    value = 0
    for place in range(0, len(digits), _DIGITS):
        part = digits[place : place + _DIGITS]
        value = value * 10 ** len(part) + int(part)
    return -value if text[:1] == b"-" else value


_Unpack = Callable[..., tuple[int, ...]]


def _extend(items: list[Node], more: list[Node]) -> list[Node]:
    items.extend(more)
    return items


def _pairs_only(entries: list[Node]) -> list[Node]:
    if len(entries) % 2:
        raise BrokenPickle("a key has no value")
    return entries


_FILLED: Final = (Dict, Call)
"""What ``SETITEMS`` stores into."""

_GETS: Final = (0x68, 0x6A)
"""BINGET and LONG_BINGET."""

_OPERANDS: Final = {0x71: 1, 0x68: 1, 0x72: 4, 0x6A: 4}
"""BINPUT, BINGET and their long forms, with the bytes of their operand."""

_HANDLERS: Final[dict[int, Callable[[_Machine], None]]] = {
    0x30: _Machine.pop,
    0x31: _Machine.pop_mark,
    0x32: _Machine.duplicate,
    0x42: _Machine.bytes4,
    0x43: _Machine.bytes1,
    0x46: _Machine.decimal_float,
    0x47: _Machine.binary_float,
    0x49: _Machine.decimal_int,
    0x4C: _Machine.decimal_long,
    0x4E: _Machine.none,
    0x50: _Machine.persistent_line,
    0x53: _Machine.quoted_string,
    0x54: _Machine.binary_string,
    0x55: _Machine.short_binary_string,
    0x56: _Machine.unicode_line,
    0x5D: _Machine.empty_list,
    0x61: _Machine.append,
    0x62: _Machine.build,
    0x63: _Machine.global_line,
    0x64: _Machine.marked_dict,
    0x65: _Machine.appends,
    0x67: _Machine.get_line,
    0x69: _Machine.inst,
    0x6C: _Machine.marked_list,
    0x6F: _Machine.obj,
    0x70: _Machine.put_line,
    0x73: _Machine.set_item,
    0x75: _Machine.set_items,
    0x7D: _Machine.empty_dict,
    0x80: _Machine.proto,
    0x81: _Machine.new_object,
    0x82: _Machine.extension,
    0x83: _Machine.extension,
    0x84: _Machine.extension,
    0x88: _Machine.true,
    0x8A: _Machine.long1,
    0x8B: _Machine.long4,
    0x8C: _Machine.short_unicode,
    0x8D: _Machine.unicode8,
    0x8E: _Machine.bytes8,
    0x8F: _Machine.empty_set,
    0x90: _Machine.add_items,
    0x91: _Machine.frozen_set,
    0x92: _Machine.new_object_ex,
    0x93: _Machine.stack_global,
    0x94: _Machine.memoize,
    0x95: _Machine.frame,
    0x96: _Machine.bytearray8,
    0x97: _Machine.buffer,
    0x98: _Machine.buffer,
}

"""Hostile and broken files, each with the code that it must get and an honest twin that must stay readable.

Payloads are harmless: where something would run, it would make a marker file. The groups are those of
``design/hostile-inputs.md``.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

from support.assembly import (
    FLAGS,
    FLOATS,
    MACHINE,
    MAGIC,
    NUMBERS,
    ORDERED,
    End,
    Record,
    archive,
    built,
    call,
    changed,
    get,
    lightning,
    list_of,
    mapping,
    module,
    name,
    number,
    numbers,
    pickled,
    put,
    records,
    row,
    safetensors,
    state,
    storage,
    stream,
    tensor,
    text,
    tuple_of,
    zipped,
)

MARKER = "viscy-compat-hostile-marker"


class Hostile(NamedTuple):
    """One file: what it must get, and its twin.

    ``code`` is that of the error that stops the reading, or, where `found` is True, of a finding about a file that is
    readable; an empty one says that the file is harmless here (whatever others make of it).
    """

    name: str
    code: str
    content: bytes
    twin: bytes
    found: bool = False
    ending: str = ".ckpt"


HONEST = zipped(state())
HONEST_LIGHTNING = zipped(lightning())
HONEST_STREAM = stream(state())
HONEST_SAFETENSORS = safetensors({"w": row()})


def execution() -> Iterator[Hostile]:
    """Names that would run when the file is loaded the ordinary way."""
    mark = text(f"touch {MARKER}")
    python = text(f"open({MARKER!r}, 'w')")
    harmless = call(name("argparse", "Namespace"))
    calls = {
        "os.system": call(name("os", "system"), mark),
        "posix.system": call(name("posix", "system"), mark),
        "nt.system": call(name("nt", "system"), mark),
        "os.mkdir": call(name("os", "mkdir"), text(MARKER)),
        "eval": call(name("builtins", "eval"), python),
        "exec": call(name("builtins", "exec"), python),
        "eval of Python 2": call(name("__builtin__", "eval"), python),
        "open": call(name("builtins", "open"), text(MARKER), text("w")),
        "compile": call(name("builtins", "compile"), python, text("a"), text("exec")),
        "__import__": call(name("builtins", "__import__"), text("antigravity")),
        "import_module": call(name("importlib", "import_module"), text("antigravity")),
        "Popen": call(name("subprocess", "Popen"), list_of(text("touch"), text(MARKER))),
        "check_output": call(name("subprocess", "check_output"), list_of(text("touch"), text(MARKER))),
        "runpy": call(name("runpy", "run_path"), text(MARKER)),
        "pickle.loads": call(name("pickle", "loads"), b"C\x02N."),
        "torch.load": call(name("torch.serialization", "load"), text(MARKER)),
        "torch.hub.load": call(name("torch.hub", "load"), text("a/b"), text("c")),
        "numpy runstring": call(name("numpy.testing._private.utils", "runstring"), python, b"}"),
        "timeit": call(name("timeit", "timeit"), python),
        "pty.spawn": call(name("pty", "spawn"), text("sh")),
        "shutil.rmtree": call(name("shutil", "rmtree"), text(MARKER)),
        "ctypes": call(name("ctypes", "CDLL"), text(MARKER)),
        "attrgetter": call(name("operator", "attrgetter"), text("system")),
        "load_from_bytes": call(name("torch.storage", "_load_from_bytes"), b"C\x02N."),
        "INST": b"(" + mark + b"ios\nsystem\n",
        "OBJ": b"(" + name("os", "system") + mark + b"o",
        "STACK_GLOBAL": text("os") + text("system") + b"\x93" + tuple_of(mark) + b"R",
        "dotted name": text("torch") + text("serialization.os.system") + b"\x93" + tuple_of(mark) + b"R",
        "dotted class": text("torch.utils") + text("subprocess.Popen") + b"\x93" + tuple_of(mark) + b"R",
        "name twice": text("os") + text("system") + b"\x93" + b"\x94" + tuple_of(mark) + b"R",
    }
    for kind, node in calls.items():
        yield Hostile(f"{kind} at the top", "VC430", zipped(lightning(x=node)), zipped(lightning(x=harmless)), True)
    system = calls["os.system"]
    getter = call(name("builtins", "getattr"), name("os", "path"), text("join"))
    partial = call(name("functools", "partial"), name("os", "system"), mark)
    bound = zipped(lightning(x=getter))
    yield Hostile("computed function", "VC430", zipped(lightning(x=call(getter, mark))), bound, True)
    yield Hostile("computed partial", "VC430", zipped(lightning(x=call(partial))), zipped(lightning(x=partial)), True)
    yield Hostile("computed twice", "VC430", zipped(lightning(x=call(call(partial)))), bound, True)
    yield Hostile("NEWOBJ of a result", "VC430", zipped(lightning(x=partial + b")\x81")), bound, True)
    places = {
        "in hyper-parameters": lightning(hyper_parameters=mapping({"lr": system})),
        "in optimizer state": lightning(optimizer_states=list_of(mapping({"state": system}))),
        "as a key": mapping({"state_dict": state()})[:-1] + system + b"Nu",
        "popped": system + b"0" + state(),
        "popped with a mark": b"(" + system + b"1" + state(),
        "in a set": lightning(x=b"\x8f(" + system + b"\x90"),
        "in a state": lightning(x=built(name("argparse", "Namespace"), mapping({"x": system}))),
        "in metadata of a state dict": ORDERED + b"(" + text("w") + tensor() + b"u" + mapping({"x": system}) + b"b",
        "in hooks of a tensor": state(a=tensor(extra=(b"N",)).replace(ORDERED, system)),
        "in a callback": lightning(callbacks=mapping({"a": mapping({"b": list_of(system)})})),
    }
    for place, root in places.items():
        yield Hostile(f"os.system {place}", "VC430", zipped(root), HONEST_LIGHTNING, True)
    for kind, node in (("os.system", system), ("unknown", call(name("their.package", "tensor"), b"N"))):
        yield Hostile(f"{kind} as a tensor", "VC443", zipped(state(a=node)), zipped(state(a=tensor())), True)
    yield Hostile("a class as a tensor", "VC443", zipped(state(a=built(name("a", "B"), b"}"))), HONEST, True)
    odd = storage(kind=name("os", "system"))
    yield Hostile("os.system as a storage class", "VC441", zipped(state(a=tensor(of=odd))), HONEST, True)
    yield Hostile("os.system as a dtype", "VC441", zipped(state(a=v3(name("os", "system")))), v3_honest(), True)
    yield Hostile(
        "os.system in the machine's facts", "VC430", stream(state(), machine=pickled(system)), HONEST_STREAM, True
    )
    yield Hostile("os.system as the magic number", "VC406", stream(state(), magic=pickled(system)), HONEST_STREAM)
    yield Hostile("os.system as the protocol", "VC416", stream(state(), protocol=pickled(system)), HONEST_STREAM)
    yield Hostile("os.system as the keys", "VC416", stream(state(), keys=pickled(system)), HONEST_STREAM)
    yield Hostile("os.system as the whole file", "VC444", zipped(system), HONEST)
    yield Hostile("a class of a package", "VC431", zipped(lightning(x=built(name("a.b", "C"), b"}"))), HONEST, True)
    yield Hostile("a class called", "VC431", zipped(lightning(x=call(name("a.b", "C")))), HONEST, True)
    yield Hostile("a class named", "VC431", zipped(lightning(x=name("a.b", "c"))), HONEST, True)
    yield Hostile(
        "a second pickle after the end", "VC420", archive(records(pickled(state()) + pickled(system))), HONEST
    )
    for code in (b"\x82\x01", b"\x83\x01\x00", b"\x84\x01\x00\x00\x00"):
        yield Hostile(f"extension {code[0]:x}", "VC420", zipped(lightning(x=code)), HONEST_LIGHTNING)


def v3(dtype: bytes, elements: int = 24) -> bytes:
    held = storage(kind=name("torch.storage", "UntypedStorage"), elements=elements)
    function = name("torch._utils", "_rebuild_tensor_v3")
    return call(function, held, number(0), numbers(2, 3), numbers(3, 1), b"\x89", ORDERED, dtype)


def v3_honest() -> bytes:
    return zipped(mapping({"a": v3(name("torch", "uint32"))}))


def doubled(levels: int, close: bytes = b"\x86") -> bytes:
    """A tuple of twice the one before, 2 ** levels leaves."""
    return number(1) + b"".join(put(1000 + level) + get(1000 + level) + close for level in range(levels))


def bombs() -> Iterator[Hostile]:
    """Little bytes that ask for much time or memory."""
    many = doubled(60)
    few = doubled(3)
    places: dict[str, Callable[[bytes], bytes]] = {
        "in hyper-parameters": lambda node: lightning(hyper_parameters=mapping({"a": node})),
        "as hyper-parameters": lambda node: lightning(hyper_parameters=node),
        "as a key": lambda node: lightning(hyper_parameters=b"}(" + node + b"Nu"),
        "as a key of the state dict": lambda node: b"}(" + text("w") + tensor() + node + b"Nu",
        "as two keys": lambda node: lightning(x=b"}(" + node + b"N" + get(1001) + b"Nu"),
        "in a set": lambda node: lightning(x=b"\x8f(" + node + b"\x90"),
        "in a frozenset": lambda node: lightning(x=b"(" + node + b"\x91"),
        "at the top": lambda node: lightning(x=node),
        "in optimizer state": lambda node: lightning(optimizer_states=list_of(mapping({"state": node}))),
        "in callbacks": lambda node: lightning(callbacks=mapping({"dirpath": node})),
        "in the state dict": lambda node: state(extra=node),
        "as call arguments": lambda node: lightning(x=call(name("argparse", "Namespace"), node)),
        "as a metadata state": lambda node: ORDERED + b"(" + text("w") + tensor() + b"u" + mapping({"a": node}) + b"b",
    }
    for place, make in places.items():
        code = "VC447" if place == "as a key of the state dict" else ""
        yield Hostile(f"2^60 leaves {place}", code, zipped(make(many)), zipped(make(few)), bool(code))
    shape = tensor().replace(numbers(2, 3), many)
    yield Hostile("2^60 leaves as a shape", "VC440", zipped(state(a=shape)), HONEST, True)
    yield Hostile("2^60 leaves as a storage key", "VC440", zipped(state(a=tensor(of=key_of(many)))), HONEST, True)
    yield Hostile("memo index 2^31", "", zipped(put_far(2**31 - 1)), zipped(put_far(7)))
    yield Hostile(
        "opcodes",
        "VC404",
        zipped(lightning(x=b"](" + b"N" * 1_600_000 + b"e")),
        zipped(lightning(x=b"](" + b"N" * 10 + b"e")),
    )
    yield Hostile("dictionaries", "VC404", zipped(lightning(x=b"](" + b"}" * 1_600_000 + b"e")), HONEST)
    yield Hostile("many dictionaries", "", zipped(lightning(x=b"](" + b"}" * 1_400_000 + b"e")), HONEST)
    yield Hostile("many memos", "VC404", zipped(lightning(x=b"](" + b"}\x94" * 700_000 + b"e")), HONEST)
    yield Hostile("marks", "VC404", zipped(b"(" * 20_000 + b"t" * 20_000), HONEST)
    yield Hostile("deep tuples", "", zipped(lightning(x=b"N" + b"\x85" * 400_000)), HONEST)
    yield Hostile("deep lists", "", zipped(lightning(x=b"]" * 9_000 + b"a" * 8_999)), HONEST)
    yield Hostile("deep calls", "", zipped(lightning(x=b"N" + deep_calls(100_000))), HONEST)
    yield Hostile(
        "deep lists in parameters", "", zipped(lightning(hyper_parameters=b"]" * 9_000 + b"a" * 8_999)), HONEST
    )
    yield Hostile(
        "text of 2^62 bytes",
        "VC404",
        zipped(b"\x8d" + struct.pack("<Q", 2**62) + b"a"),
        zipped(lightning(x=b"\x8d" + struct.pack("<Q", 1) + b"a")),
    )
    yield Hostile(
        "bytes of 2^62 bytes",
        "VC404",
        zipped(b"\x8e" + struct.pack("<Q", 2**62)),
        zipped(lightning(x=b"\x8e" + struct.pack("<Q", 1) + b"a")),
    )
    yield Hostile(
        "bytearray of 2^62 bytes",
        "VC404",
        zipped(b"\x96" + struct.pack("<Q", 2**62)),
        zipped(lightning(x=b"\x96" + struct.pack("<Q", 1) + b"a")),
    )
    yield Hostile(
        "frame of 2^62 bytes",
        "VC404",
        zipped(b"\x95" + struct.pack("<Q", 2**62)),
        zipped(lightning(x=b"\x95" + struct.pack("<Q", 1) + b"N")),
    )
    yield Hostile(
        "integer of 2^30 bytes",
        "VC404",
        zipped(b"\x8b" + struct.pack("<i", 2**30)),
        zipped(lightning(x=b"\x8b" + struct.pack("<i", 1) + b"a")),
    )
    yield Hostile(
        "integer of 100,000 digits",
        "VC404",
        zipped(lightning(x=b"I" + b"9" * 100_000 + b"\n")),
        zipped(lightning(x=b"I9\n")),
    )
    yield Hostile(
        "long of 100,000 digits",
        "VC404",
        zipped(lightning(x=b"L" + b"9" * 100_000 + b"L\n")),
        zipped(lightning(x=b"L9L\n")),
    )
    yield Hostile(
        "integer of 8,000 bits",
        "",
        zipped(lightning(hyper_parameters=mapping({"a": b"\x8b" + struct.pack("<i", 1000) + b"\x7f" * 1000}))),
        HONEST,
    )
    yield Hostile("name of 5 MB", "VC404", zipped(lightning(x=b"c" + b"a" * 5_000_000 + b"\nb\n")), HONEST)
    yield Hostile(
        "bytearray(2^40)", "", zipped(lightning(x=call(name("builtins", "bytearray"), number(2**40)))), HONEST
    )
    yield Hostile(
        "list(range(2^40))",
        "",
        zipped(lightning(x=call(name("builtins", "list"), call(name("builtins", "range"), number(2**40))))),
        HONEST,
    )
    yield Hostile(
        "an expanded tensor",
        "VC404",
        zipped(state(a=tensor((2**40, 2**20), (0, 0)))),
        zipped(state(a=tensor((4, 4), (0, 0)))),
        True,
    )
    yield Hostile(
        "a tensor of 10,000 dimensions",
        "VC404",
        zipped(state(a=tensor((1,) * 10_000, (1,) * 10_000))),
        zipped(state(a=tensor((1,) * 10, (1,) * 10))),
        True,
    )
    yield Hostile("a list in itself", "", zipped(lightning(x=b"]" + put(5) + get(5) + b"a")), HONEST)
    yield Hostile(
        "a dictionary in itself",
        "",
        zipped(lightning(hyper_parameters=b"}" + put(5) + text("a") + get(5) + b"s")),
        HONEST,
    )
    yield Hostile(
        "a state dict in itself",
        "",
        zipped(b"}" + put(5) + b"(" + text("w") + tensor() + text("state_dict") + get(5) + b"u"),
        HONEST,
    )
    yield Hostile("a module in itself", "VC420", zipped(endless_module()), zipped(module({"w": tensor()})))
    yield Hostile("a module in two places 2^60 times", "VC404", zipped(doubled_module(60)), zipped(doubled_module(3)))
    yield Hostile("deep modules", "VC404", zipped(deep_modules(20_000)), zipped(deep_modules(20)))
    yield Hostile("many tensors", "VC404", zipped(tied(70_000)), zipped(tied(700)))
    yield Hostile("a key of 3 MB", "VC404", zipped(mapping({"a" * 3_000_000: tensor()})), HONEST)
    yield Hostile("a key of a million dots", "VC404", zipped(mapping({"." * 1_000_000: tensor()})), HONEST)
    far = {
        "a.0.w": tensor(),
        "a.999999999.w": tensor(),
        "a.0123.w": tensor(),
        f"{'9' * 4000}.w": tensor(),
        "": tensor(),
    }
    yield Hostile("indices far apart", "", zipped(mapping(far)), HONEST)
    dotted = {".".join(["1"] * 1000 + [f"{index}"]): tensor() for index in range(400)}
    yield Hostile("names of a thousand indices", "", zipped(mapping(dotted)), HONEST)
    yield Hostile("many objects with one state", "", zipped(shared_state(30_000)), HONEST)
    yield Hostile("many dictionaries of one list", "", zipped(shared_list(30_000)), HONEST)
    grows = changed(lambda rows: [rows[0]._replace(method=8, nbytes=2**31), *rows[1:]])
    yield Hostile("a deflated pickle that states 2^31 bytes", "VC413", grows, packed(b""))
    yield Hostile("a deflated pickle that grows", "VC404", packed(b"N" * 30_000_000), packed(b""))
    yield Hostile("a deflated pickle beyond the limit", "VC404", packed(noise(30_000_000)), packed(noise(3_000)))
    yield Hostile(
        "a directory of 2^40 bytes",
        "VC410",
        changed(lambda rows: rows, End(size=2**40, classic=(4, 0xFFFFFFFF, 0xFFFFFFFF))),
        HONEST,
    )
    yield Hostile(
        "2^40 entries",
        "VC404",
        changed(lambda rows: rows, End(count=2**40, classic=(0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF))),
        HONEST,
    )
    yield Hostile(
        "a header of 2^62 bytes", "VC407", safetensors({}, length=2**62), HONEST_SAFETENSORS, ending=".safetensors"
    )
    yield Hostile(
        "a header of 20 MB",
        "VC404",
        safetensors({}, raw=b"{" + b" " * 20_000_000 + b"}"),
        HONEST_SAFETENSORS,
        ending=".safetensors",
    )
    for kind, entry in (("numbers", b"0"), ("objects", b"{}")):
        many = b"{" + b",".join(b'"%x":' % place + entry for place in range(410_000)) + b"}"
        yield Hostile(
            f"a header of 410,000 {kind}",
            "VC404",
            safetensors({}, raw=many),
            safetensors({}, raw=json.dumps({"w": row()}).encode().ljust(len(many))),
            ending=".safetensors",
        )
    yield Hostile(
        "a header nested 100,000 times",
        "VC450",
        safetensors({}, raw=b'{"a":' * 100_000),
        HONEST_SAFETENSORS,
        ending=".safetensors",
    )
    yield Hostile(
        "a header nested in lists",
        "VC450",
        safetensors({}, raw=b'{"a":' + b"[" * 100_000),
        HONEST_SAFETENSORS,
        ending=".safetensors",
    )
    yield Hostile(
        "a number of 100,000 digits",
        "VC450",
        safetensors({}, raw=b'{"w":' + b"9" * 100_000 + b"}"),
        HONEST_SAFETENSORS,
        ending=".safetensors",
    )


def key_of(node: bytes) -> bytes:
    return tuple_of(text("storage"), FLOATS, node, text("cpu"), number(6)) + b"Q"


def put_far(index: int) -> bytes:
    return lightning(x=text("a") + put(index) + b"0" + get(index))


def deep_calls(levels: int) -> bytes:
    return (b"\x85" + put(9) + b"0" + name("a", "B") + get(9) + b"R") * levels


def endless_module() -> bytes:
    entries = {"_parameters": mapping({"w": tensor()}), "_buffers": b"}", "_modules": b"}" + text("a") + get(5) + b"s"}
    return name("a", "M") + b")\x81" + put(5) + mapping(entries) + b"b"


def doubled_module(levels: int) -> bytes:
    root = module({"w": tensor()}) + put(2000)
    for level in range(levels):
        root = root + b"0" + module({}, {"a": get(2000 + level), "b": get(2000 + level)}) + put(2001 + level)
    return root


def deep_modules(levels: int) -> bytes:
    parts = [module({"w": tensor()}) + put(2000)]
    for level in range(levels):
        state_of = mapping({"_parameters": b"}", "_modules": mapping({"a": get(2000 + level)})})
        parts.append(b"0" + built(name("a", "M"), state_of) + put(2001 + level))
    return b"".join(parts)


def tied(count: int) -> bytes:
    entries = b"".join(text(f"w{index}") + get(5) for index in range(count))
    return b"}(" + text("w") + tensor() + put(5) + entries + b"u"


def shared_state(count: int) -> bytes:
    big = b"}" + put(5) + b"(" + b"".join(text(f"{index}") + b"N" for index in range(30_000)) + b"u"
    makers = b"".join(text(f"{index}") + name("a", "B") + b")\x81" + get(5) + b"b" for index in range(count))
    return lightning(x=mapping({"big": big})[:-1] + makers + b"u")


def shared_list(count: int) -> bytes:
    pairs = b"]" + put(5) + b"(" + (b"]" + put(6) + b"(" + text("a") + b"Ne") + get(6) * 20_000 + b"e"
    makers = b"".join(
        text(f"{index}") + name("collections", "OrderedDict") + get(5) + b"\x85R" for index in range(count)
    )
    return lightning(x=mapping({"big": pairs})[:-1] + makers + b"u")


def noise(count: int) -> bytes:
    """A text that packs well, but not too well."""
    return b"".join(struct.pack("<I", index * 2654435761 % 2**32) + bytes(300) for index in range(count // 304))


def packed(padding: bytes) -> bytes:
    held = b"B" + struct.pack("<I", len(padding)) + padding if len(padding) < 4_000_000 else padding
    return archive([Record("archive/data.pkl", pickled(lightning(x=held)), method=8), *records(b"")[1:]])


def streams() -> Iterator[Hostile]:
    """Pickles that no pickler writes."""
    honest = lightning(x=b"N")
    broken = {
        "nothing": b"",
        "no stop": b"\x80\x02" + honest,
        "unknown opcode": b"\x80\x02\xff.",
        "zero opcode": b"\x80\x02\x00.",
        "protocol 9": pickled(honest, 9),
        "stop at once": b"\x80\x02.",
        "two values": pickled(honest + b"N"),
        "stop in a mark": pickled(honest + b"("),
        "tuple without a mark": pickled(b"t"),
        "pop of nothing": pickled(b"0"),
        "append to nothing": pickled(b"a"),
        "append to a number": pickled(b"K\x01K\x01a"),
        "appends to a text": pickled(text("a") + b"(Ne"),
        "set item of a list": pickled(b"]NNs"),
        "set items of a tuple": pickled(b")(NNu"),
        "odd items": pickled(b"}(NNNu"),
        "odd dictionary": pickled(b"(Nd"),
        "add items to a list": pickled(b"](N\x90"),
        "add items to a frozenset": pickled(b"(\x91(N\x90"),
        "unknown memo": pickled(b"h\x09"),
        "unknown far memo": pickled(get(10**9)),
        "memo by a word": pickled(b"gabc\n"),
        "put of nothing": pickled(b"q\x00"),
        "negative put": pickled(b"Np-1\n"),
        "duplicate of nothing": pickled(b"2"),
        "reduce of a number": pickled(b"K\x01)R"),
        "reduce with a list": pickled(name("a", "b") + b"]R"),
        "reduce of a text": pickled(text("os.system") + b")R"),
        "new object of nothing": pickled(b")\x81"),
        "new object with a list": pickled(name("a", "B") + b"]\x81"),
        "new object with odd names": pickled(name("a", "B") + b")N\x92"),
        "object of nothing": pickled(b"(o"),
        "build of a dictionary": pickled(b"}}b"),
        "build of a name": pickled(name("a", "b") + b"}b"),
        "build of nothing": pickled(b"}b"),
        "name of a number": pickled(b"K\x01K\x02\x93"),
        "name not UTF-8": pickled(b"c\xff\n\xff\n"),
        "name without an end": b"\x80\x02cos",
        "text not UTF-8": pickled(b"X\x02\x00\x00\x00\xff\xff"),
        "text beyond the end": b"\x80\x02X\xff\x00\x00\x00a.",
        "short text beyond the end": b"\x80\x04\x8c\xffa.",
        "negative length": pickled(b"T\xff\xff\xff\xff"),
        "negative long": pickled(b"\x8b\xff\xff\xff\xff"),
        "integer of letters": pickled(b"Iabc\n"),
        "long of letters": pickled(b"LabcL\n"),
        "float of letters": pickled(b"Fabc\n"),
        "string without quotes": pickled(b"Sabc\n"),
        "string with one quote": pickled(b"S'abc\n"),
        "string with a broken escape": pickled(b"S'\\x4'\n"),
        "unicode with a broken escape": pickled(b"V\\u12\n"),
        "frame beyond the end": b"\x80\x04\x95\xff\x00\x00\x00\x00\x00\x00\x00N.",
        "buffer": pickled(b"\x97"),
        "read-only buffer": pickled(b"\x98"),
        "persistent id of nothing": pickled(b"Q"),
    }
    for kind, pickle in broken.items():
        yield Hostile(f"pickle: {kind}", "VC420", archive(records(pickle)), zipped(honest))
    cut = {
        "magic": HONEST_STREAM[:9],
        "protocol": MAGIC + b"\x80\x02M",
        "facts": MAGIC + pickled(b"M\xe9\x03") + MACHINE[:9],
        "object": HONEST_STREAM[:150],
        "keys": HONEST_STREAM[: -len(NUMBERS) - 12],
        "size": HONEST_STREAM[: -len(NUMBERS) - 4],
        "storage": HONEST_STREAM[:-4],
    }
    for part, content in cut.items():
        yield Hostile(f"stream cut in its {part}", "VC403", content, HONEST_STREAM)
    lies = {
        "another protocol": stream(state(), protocol=pickled(number(1002))),
        "keys that are no list": stream(state(), keys=pickled(text("0"))),
        "keys that are numbers": stream(state(), keys=pickled(list_of(number(0)))),
        "a key twice": stream(state(), keys=pickled(list_of(text("0"), text("0")))),
        "a key of nothing": stream(state(), keys=pickled(list_of(text("1"), text("0")))),
        "another number of elements": stream(state(), elements=5),
        "a negative number of elements": stream(state(), elements=-1),
        "2^62 elements": stream(state(), elements=2**62),
    }
    for kind, content in lies.items():
        yield Hostile(f"stream: {kind}", "VC416", content, HONEST_STREAM)
    far = tuple_of(text("v"), number(5), number(2))
    near = tuple_of(text("v"), number(4), number(2))
    yield Hostile("stream: view beyond its storage", "VC440", viewing(far), viewing(near), True)
    yield Hostile("stream: view of letters", "VC440", viewing(text("a")), viewing(near), True)
    yield Hostile("stream: no storage", "VC442", stream(state(), keys=pickled(b"]")), HONEST_STREAM, True)
    yield Hostile("a bare pickle", "VC406", pickled(state()), HONEST)


def viewing(part: bytes) -> bytes:
    view = tensor((2,), (1,), of=storage("0", FLOATS, 6, part))
    return stream(mapping({"w": tensor(), "v": view}))


def zips() -> Iterator[Hostile]:
    """Archives that two readers would understand differently."""

    def at(index: int, **lie: Any) -> Callable[[list[Record]], list[Record]]:
        return lambda rows: [row._replace(**lie) if place == index else row for place, row in enumerate(rows)]

    def also(*more: Record) -> Callable[[list[Record]], list[Record]]:
        return lambda rows: [*rows, *more]

    extra = b"FB" + struct.pack("<H", 20) + b"Z" * 20
    aligned = changed(at(2, local_extra=extra))
    second = Record("archive/data.pkl", pickled(mapping({"v": tensor()})))
    size = len(pickled(state()))
    wide = struct.pack("<HHQQ", 1, 16, 24, 24)
    zip64 = changed(at(2, size=0xFFFFFFFF, nbytes=0xFFFFFFFF, central_extra=wide))
    lies: dict[str, tuple[str, bytes]] = {
        "two pickles": ("VC411", changed(also(second))),
        "two storages of one name": ("VC411", changed(also(Record("archive/data/0", bytes(24))))),
        "two roots": ("VC415", changed(also(Record("other/data.pkl", pickled(state()))))),
        "a file outside of the root": ("VC415", changed(also(Record("readme", b"")))),
        "the pickle deeper": ("VC406", changed(at(0, name="archive/deep/data.pkl"))),
        "one header for two entries": ("VC412", changed(at(2, header=0))),
        "overlapping entries": ("VC412", changed(at(0, size=size + 40, nbytes=size + 40))),
        "an entry into the directory": ("VC412", changed(at(3, size=99, nbytes=99))),
        "extra that pushes data": ("VC412", pushed()),
        "a header beyond the file": ("VC412", changed(at(3, header=10**6))),
        "another local name": ("VC410", changed(at(2, local_name=b"archive/data/1"))),
        "a longer local name": ("VC410", changed(at(2, local_name=b"archive/data/0x"))),
        "another local method": ("VC410", changed(at(2, local_method=8))),
        "other local flags": ("VC410", changed(at(2, local_flags=0))),
        "other local sizes": ("VC410", changed(at(2, local_sizes=(0, 20, 20)))),
        "another local crc": ("VC410", changed(at(2, local_sizes=(1, 24, 24)))),
        "a header elsewhere": ("VC412", changed(at(2, header=1))),
        "no local header": (
            "VC410",
            HONEST.replace(b"PK\x03\x04", b"PK\x03\x05").replace(b"PK\x03\x05", b"PK\x03\x04", 1),
        ),
        "an entry on another disk": ("VC410", changed(at(2, disk=1))),
        "an absolute name": ("VC410", changed(also(Record("/etc/passwd", b"")))),
        "a name that climbs": ("VC410", changed(also(Record("archive/../../x", b"")))),
        "a name with a backslash": ("VC410", changed(also(Record("archive\\x", b"")))),
        "a name with a zero": ("VC410", changed(also(Record("archive/a\0b", b"")))),
        "a name that is not UTF-8": ("VC410", changed(at(2, central_name=b"archive/data/\xff"))),
        "an empty name": ("VC410", changed(also(Record("", b"")))),
        "two slashes in a name": ("VC410", changed(also(Record("archive//data/0", b"")))),
        "a folder called dot": ("VC410", changed(also(Record("archive/./byteorder", b"big")))),
        "two names that differ in case": (
            "VC411",
            changed(also(Record("archive/data/A", b""), Record("archive/data/a", b""))),
        ),
        "the pickle in capitals beside it": ("VC411", changed(also(Record("archive/DATA.PKL", b"N.")))),
        "the pickle beside it, with a dot": ("VC411", changed(also(Record("archive/data.pkl.", b"N.")))),
        "wide letters": ("VC411", changed(also(Record("archive/\uff44ata.pkl", b"N.")))),
        "a record nearly called constants": ("VC490", changed(also(Record("archive/Constants.pkl", b"N.")))),
        "a record nearly called serialization_id": (
            "VC490",
            changed(also(Record("archive/.Data/serialization_id", b"1"))),
        ),
        "a folder nearly called data": ("VC490", changed(also(Record("archive/Data/9", b"")))),
        "encrypted": ("VC413", changed(at(2, flags=FLAGS | 1))),
        "strongly encrypted": ("VC413", changed(at(2, flags=FLAGS | 0x41))),
        "a patch": ("VC413", changed(at(2, flags=FLAGS | 0x20))),
        "an encrypted directory": ("VC413", changed(at(2, flags=FLAGS | 0x2000))),
        "bzip2": ("VC413", changed(at(2, method=12))),
        "stored with two sizes": ("VC413", changed(at(2, nbytes=25))),
        "deflated with a lying size": ("VC414", changed(at(0, method=8, nbytes=size - 1))),
        "deflated garbage": ("VC414", garbage()),
        "wrong crc of the pickle": ("VC414", changed(at(0, crc=1))),
        "wrong crc of the byte order": ("VC414", changed(at(1, crc=1))),
        "crc 0 of the pickle alone": ("VC414", changed(at(0, crc=0))),
        "a strange byte order": ("VC410", changed(at(1, data=b"middle"))),
        "a long byte order": ("VC404", changed(at(1, data=b"little" * 2000))),
        "more entries than there are": ("VC410", changed(at(9), End(count=1, classic=(5, 0, 0)))),
        "fewer entries than there are": ("VC410", changed(at(9), End(count=-1))),
        "a directory that starts later": ("VC410", changed(at(9), End(start=1))),
        "a directory that is shorter": ("VC410", changed(at(9), End(size=-1))),
        "classic and zip64 disagree": ("VC410", changed(at(9), End(classic=(3, 0xFFFFFFFF, 0xFFFFFFFF)))),
        "a locator that leads elsewhere": ("VC410", changed(at(9), End(place=8))),
        "bytes after the end": ("VC410", changed(at(9), End(after=b"\0"))),
        "a comment that holds an end": ("VC410", changed(at(9), End(comment=b"PK\x05\x06" + bytes(18) + b"x"))),
        "several discs": ("VC410", changed(at(9), End(zip64=False, disk=1))),
        "no directory": ("VC403", HONEST[:200]),
        "cut before the end record": ("VC403", HONEST[:-22]),
        "cut in the end record": ("VC403", HONEST[:-1]),
        "only a local header": ("VC403", HONEST[:64]),
        "an empty archive with a head": ("VC406", b"PK\x05\x06" + bytes(18)),
    }
    twins = {
        "extra that pushes data": aligned,
        "other local sizes": changed(at(2, local_sizes=(zlib.crc32(NUMBERS), 24, 24))),
        "classic and zip64 disagree": zip64,
        "several discs": changed(at(9), End(zip64=False)),
        "a comment that holds an end": changed(at(9), End(comment=b"hello")),
        "deflated with a lying size": changed(at(0, method=8)),
        "two names that differ in case": changed(also(Record("archive/data/A", b""), Record("archive/data/b", b""))),
        "a record nearly called constants": changed(also(Record("archive/.data/serialization_id", b"1"))),
        "a folder nearly called data": changed(also(Record("archive/metadata/9", b""))),
    }
    for kind, (code, content) in lies.items():
        yield Hostile(f"zip: {kind}", code, content, twins.get(kind, HONEST))


def pushed() -> bytes:
    """An extra field that is longer in the header than in the file: data would begin within the next entry."""
    content = bytearray(HONEST)
    place = content.index(b"archive/data/0") - 2
    content[place : place + 2] = struct.pack("<H", 40)
    return bytes(content)


def garbage() -> bytes:
    rows = records(pickled(state()))
    rows[0] = rows[0]._replace(data=b"\x07" * 90, nbytes=95, size=90)
    content = bytearray(archive(rows))
    for mark, place in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        where = content.index(mark) + place
        content[where : where + 2] = struct.pack("<H", 8)
    return bytes(content)


def tensors() -> Iterator[Hostile]:
    """Tensors that say other things than their bytes."""
    half = name("torch", "HalfStorage")
    untyped = name("torch.storage", "UntypedStorage")
    function = name("torch._utils", "_rebuild_tensor_v2")
    lies: dict[str, tuple[str, bytes]] = {
        "a shape beyond the storage": ("VC440", tensor((3, 3))),
        "an offset beyond the storage": ("VC440", tensor(offset=1)),
        "a stride beyond the storage": ("VC440", tensor(stride=(4, 1))),
        "2^63 elements": ("VC440", tensor((2**63, 1), (1, 1))),
        "a size of 9,000 digits": ("VC440", tensor((1 << 30_000, 1), (0, 1))),
        "a stride of 9,000 digits": ("VC440", tensor((1, 6), (1 << 30_000, 1))),
        "an offset of 9,000 digits": ("VC440", tensor(offset=1 << 30_000)),
        "a storage of 9,000 digits": ("VC440", tensor(of=storage(elements=1 << 30_000))),
        "a stride of 2^62": ("VC440", tensor(stride=(2**62, 1))),
        "sizes that overflow": ("VC440", tensor((2**32, 2**32), (2**32, 1))),
        "a negative size": ("VC440", tensor((-2, 3))),
        "a negative stride": ("VC440", tensor(stride=(-3, 1), offset=3)),
        "a negative offset": ("VC440", tensor(offset=-1)),
        "fewer strides than sizes": ("VC440", tensor(stride=(1,))),
        "a boolean size": ("VC440", tensor().replace(numbers(2, 3), tuple_of(b"\x88", number(3)))),
        "a fractional size": ("VC440", tensor().replace(numbers(2, 3), tuple_of(b"G" + bytes(8), number(3)))),
        "a text as a shape": ("VC440", tensor().replace(numbers(2, 3), text("ab"))),
        "a text as an offset": (
            "VC440",
            call(function, storage(), text("0"), numbers(2), numbers(1), b"\x89", ORDERED),
        ),
        "too few arguments": ("VC440", call(function, storage())),
        "too many arguments": ("VC440", tensor(extra=(b"N", b"N"))),
        "no arguments": ("VC440", call(function)),
        "a number as a storage": ("VC440", tensor(of=number(1))),
        "a storage that states fewer elements": ("VC440", tensor(of=storage(elements=5))),
        "a storage that states more elements": ("VC440", tensor((1,), (1,), of=storage(elements=7))),
        "a storage of two types": ("VC440", tensor((1,), (1,), of=storage(kind=half, elements=12))),
        "a storage without a key": (
            "VC440",
            tensor(of=tuple_of(text("storage"), FLOATS, number(0), text("cpu"), number(6)) + b"Q"),
        ),
        "a persistent id of another program": ("VC440", tensor(of=text("storage") + b"Q")),
        "a storage that is not there": ("VC442", tensor(of=storage("7"))),
        "a storage by a path": ("VC442", tensor(of=storage("../version"))),
        "a storage of an unknown class": ("VC441", tensor(of=storage(kind=name("torch", "OddStorage")))),
        "a quantised storage": ("VC441", tensor((1,), (1,), of=storage("1", name("torch", "QInt8Storage"), 4))),
        "an unknown dtype": ("VC441", v3(name("torch", "float3_odd"), 24).replace(FLOATS, untyped)),
        "conjugated": ("VC441", tensor(extra=(mapping({"conj": b"\x88"}),))),
        "negated": ("VC441", tensor(extra=(mapping({"neg": b"\x88"}),))),
        "metadata of letters": ("VC441", tensor(extra=(text("a"),))),
        "a quantised tensor": ("VC441", call(name("torch._utils", "_rebuild_qtensor"), storage())),
        "a sparse tensor": ("VC441", call(name("torch._utils", "_rebuild_sparse_tensor"), number(0), numbers(1))),
        "a nested tensor": ("VC441", call(name("torch._utils", "_rebuild_nested_tensor"), tensor())),
        "a meta tensor": ("VC441", call(name("torch._utils", "_rebuild_meta_tensor_no_storage"), number(0))),
        "a tensor subclass": ("VC441", subclass("their.package", "Odd")),
        "a numpy array": ("VC441", call(name("numpy.core.multiarray", "_reconstruct"), name("numpy", "ndarray"))),
        "a parameter without a tensor": (
            "VC440",
            call(name("torch._utils", "_rebuild_parameter"), number(1), b"\x88", ORDERED),
        ),
        "a parameter of a parameter": ("VC440", parameter(parameter(tensor()))),
        "a bare storage": ("VC441", storage()),
    }
    twins = {
        "conjugated": zipped(state(a=tensor(extra=(mapping({"conj": b"\x89"}),)))),
        "a tensor subclass": zipped(state(a=subclass("torch.nn.parameter", "Parameter"))),
        "a parameter of a parameter": zipped(state(a=parameter(tensor()))),
    }
    for kind, (code, node) in lies.items():
        content = zipped(state(a=node), {"0": NUMBERS, "1": bytes(4)})
        yield Hostile(f"tensor: {kind}", code, content, twins.get(kind, zipped(state(a=tensor()))), True)
    one = tensor((1,), (1,))
    true = one.replace(numbers(1), tuple_of(b"\x88"))
    # what is known of the first may not be taken for the second, although True equals 1
    lie, twin = zipped(state(a=one, b=true)), zipped(state(a=one, b=one))
    yield Hostile("tensor: a boolean size after a size of 1", "VC440", lie, twin, True)
    yield Hostile("nothing", "VC444", zipped(b"N"), HONEST)
    yield Hostile("an empty state dict", "VC444", zipped(mapping({"state_dict": b"}"})), HONEST)
    yield Hostile(
        "a state dict of numbers", "VC444", zipped(mapping({"state_dict": mapping({"a": number(1)})})), HONEST
    )
    yield Hostile("one tensor", "VC444", zipped(tensor()), HONEST)
    yield Hostile("a list of tensors", "VC444", zipped(list_of(tensor())), HONEST)
    yield Hostile("a module without parameters", "VC444", zipped(module({})), zipped(module({"w": tensor()})))
    for kind, node in (("an offset", tensor((1, 3), offset=3)), ("a stride", tensor((2, 3), (2, 1)))):
        yield Hostile(
            f"stream: {kind} that leaves numbers out", "VC491", stream(mapping({"a": node})), HONEST_STREAM, True
        )
    yield Hostile("stream: bytes after its end", "VC492", HONEST_STREAM + b"\0", HONEST_STREAM, True)
    slack = zipped(mapping({"a": tensor((1, 3))}))
    yield Hostile("stream: a slice", "VC491", stream(mapping({"a": tensor((1, 3))})), slack, True)
    two = mapping({"a": mapping({"w": tensor()}), "b": mapping({"w": tensor()})})
    yield Hostile("two state dicts", "VC445", zipped(two), zipped(mapping({"a": mapping({"w": tensor()})})))
    yield Hostile("an average beside", "VC448", zipped(mapping({"state_dict": state(), "ema": state()})), HONEST, True)
    numbered = b"}(" + text("w") + tensor() + number(1) + tensor() + b"u"
    yield Hostile("a number as a key", "VC447", zipped(numbered), HONEST, True)


def parameter(node: bytes) -> bytes:
    return call(name("torch._utils", "_rebuild_parameter"), node, b"\x88", ORDERED)


def subclass(package: str, kind: str) -> bytes:
    function = name("torch._utils", "_rebuild_tensor_v2")
    args = tuple_of(storage(), number(0), numbers(2, 3), numbers(3, 1), b"\x89", ORDERED)
    return call(name("torch._tensor", "_rebuild_from_type_v2"), function, name(package, kind), args, b"}")


def headers() -> Iterator[Hostile]:
    """Headers of safetensors files that say other things than the file."""
    two = {"a": row((3,), 0, 12), "b": row((3,), 12, 24)}
    honest = safetensors(two)
    twice = b'{"w":%s,"w":%s}' % ((json.dumps(row()).encode(),) * 2)
    lies: dict[str, tuple[str, bytes]] = {
        "no JSON": ("VC450", safetensors({}, raw=b"{nonsense}")),
        "JSON cut": ("VC450", safetensors({}, raw=b'{"w":')),
        "a space before the brace": ("VC450", safetensors({}, raw=b" " + json.dumps({"w": row()}).encode())),
        "a newline before the brace": ("VC450", safetensors({}, raw=b"\n" + json.dumps({"w": row()}).encode())),
        "not UTF-8": ("VC450", safetensors({}, raw=b'{"\xff":1}')),
        "a name twice": ("VC450", safetensors({}, raw=twice)),
        "a field twice": (
            "VC450",
            safetensors({}, raw=b'{"w":{"dtype":"F32","dtype":"F32","shape":[6],"data_offsets":[0,24]}}'),
        ),
        "NaN": ("VC450", safetensors({}, raw=b'{"w":NaN}')),
        "a list as an entry": ("VC450", safetensors({"w": []})),
        "no dtype": ("VC450", safetensors({"w": {"shape": [6], "data_offsets": [0, 24]}})),
        "an unknown field": ("VC450", safetensors({"w": row(odd=1)})),
        "three offsets": ("VC450", safetensors({"w": {**row(), "data_offsets": [0, 12, 24]}})),
        "a fractional size": ("VC450", safetensors({"w": {**row(), "shape": [6.0]}})),
        "a boolean size": ("VC450", safetensors({"w": {**row(), "shape": [True]}})),
        "a size of 4,000 digits": ("VC450", safetensors({"w": {**row(), "shape": [10**4000, 10**4000, 0]}})),
        "a size of 9,000 digits": (
            "VC450",
            safetensors({}, raw=json.dumps({"w": row()}).replace("[2", "[" + "2" * 9000).encode()),
        ),
        "offsets of 4,000 digits": ("VC450", safetensors({"w": row(begin=10**4000, end=10**4000 + 24)})),
        "a negative size": ("VC450", safetensors({"w": {**row(), "shape": [-6]}})),
        "a negative offset": ("VC450", safetensors({"w": row(begin=-4)})),
        "metadata of numbers": ("VC450", safetensors({"__metadata__": {"a": 1}, "w": row()})),
        "metadata of letters": ("VC450", safetensors({"__metadata__": "a", "w": row()})),
        "a shape that needs more": ("VC451", safetensors({"w": row((3, 3))})),
        "a shape that needs less": ("VC451", safetensors({"w": row((1, 3))})),
        "a shape that overflows": ("VC451", safetensors({"w": row((2**40, 2**40))})),
        "overlapping tensors": ("VC451", safetensors({"a": row(), "b": row()})),
        "a hole": ("VC451", safetensors({"a": row((2,), 0, 8), "b": row((3,), 12, 24)})),
        "a hole at the start": ("VC451", safetensors({"a": row((5,), 4, 24)})),
        "bytes after the tensors": ("VC451", safetensors({"w": row()}, NUMBERS + b"\0")),
        "a range that ends before it begins": ("VC451", safetensors({"w": row((), 24, 20)})),
        "cut tensors": ("VC403", safetensors({"w": row()}, NUMBERS[:-1])),
        "cut header": ("VC403", safetensors({"w": row()})[:40]),
        "an unknown dtype": ("VC452", safetensors({"w": row(dtype="F5")})),
        "4-bit floats": ("VC452", safetensors({"w": row((48,), dtype="F4")})),
        "65 dimensions": ("VC404", safetensors({"w": row((2, 3, *[1] * 63))})),
        "no tensors": ("VC444", safetensors({}, b"")),
        "only metadata": ("VC444", safetensors({"__metadata__": {}}, b"")),
    }
    for kind, (code, content) in lies.items():
        yield Hostile(f"safetensors: {kind}", code, content, honest, code == "VC452", ".safetensors")


def two_formats() -> Iterator[Hostile]:
    """Files that are safetensors to one reader, and another format to the next."""
    runs = call(name("os", "system"), text(f"touch {MARKER}")) + b"."
    yield both("a pickle", b"\n0" + runs)
    yield both("a pickle that never ends", b"\n0" + runs[:-1])
    yield both("a torch stream", b"\n0" + MAGIC[2:] + HONEST_STREAM[len(MAGIC) :])
    yield both("an archive at its end", HONEST)
    padded = stream(state(), machine=pickled(mapping({"x": text("a" * 600)})))
    yield Hostile("a stream and a tar", "VC464", a_tar_too(padded), padded)
    header = json.dumps({"w": row()}).encode().ljust(600)
    yield Hostile(
        "safetensors and a tar",
        "VC464",
        a_tar_too(safetensors({}, raw=header)),
        safetensors({}, raw=header),
        ending=".safetensors",
    )
    yield both("an archive with a comment at its end", changed(lambda rows: rows, End(comment=b"hello")))


def a_tar_too(block: bytes) -> bytes:
    """The same bytes but for the field that holds the sum of a tar's first block."""
    whole = block[:148] + b" " * 8 + block[156:512]
    return block[:148] + b"%06o\0 " % sum(whole) + block[156:]


def both(kind: str, data: bytes) -> Hostile:
    """Safetensors whose header an unpickler takes for one line of text, 0x56 being the opcode, and its end for more."""
    header = {"w": row((len(data),), 0, len(data), "U8")}
    content, twin = (safetensors({}, held, raw=json.dumps(header).encode().ljust(0x156)) for held in (data, data[::-1]))
    return Hostile(f"safetensors and {kind}", "VC464", content, twin, ending=".safetensors")


def foreigners() -> Iterator[Hostile]:
    """Files that are something else."""
    script = [Record("m/data.pkl", pickled(b"N")), Record("m/constants.pkl", b""), Record("m/code/a.py", b"")]
    kinds = {
        "a web page": b"<!DOCTYPE html><html><body>Sign in</body></html>",
        "a web page with a mark": b"\xef\xbb\xbf\n<html>",
        "XML": b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
        "a git-LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        "a git-annex pointer": b"/annex/objects/SHA256E-s1--0.ckpt\n",
        "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(64),
        "ONNX": b"\x08\x08\x12\x07pytorch\x1a\x052.1.0:",
        "TorchScript": archive(script),
        "torch.export": archive([Record("m/archive_format", b"pt2"), Record("m/models/model.json", b"{}")]),
        "Keras": archive([Record("config.json", b"{}"), Record("model.weights.h5", b"")]),
        "npz": archive([Record("a.npy", b"\x93NUMPY")]),
        "npy": b"\x93NUMPY\x01\x00" + bytes(64),
        "a zip of checkpoints": archive([Record("a/b.ckpt", HONEST)]),
        "another zip": archive([Record("a.txt", b"a")]),
        "tar": b"a.txt".ljust(100, b"\0") + b"0000644\0" + bytes(149) + b"ustar\0" + bytes(250),
        "gzip": b"\x1f\x8b\x08" + bytes(40),
        "bzip2": b"BZh91AY" + bytes(40),
        "xz": b"\xfd7zXZ\x00" + bytes(40),
        "zstandard": b"(\xb5/\xfd" + bytes(40),
        "7-Zip": b"7z\xbc\xaf'\x1c" + bytes(40),
        "PNG": b"\x89PNG\r\n\x1a\n" + bytes(40),
        "TIFF": b"II*\x00" + bytes(40),
        "JPEG": b"\xff\xd8\xff\xe0" + bytes(40),
        "PDF": b"%PDF-1.7",
        "GGUF": b"GGUF\x03" + bytes(40),
        "a program": b"\x7fELF" + bytes(40),
        "JSON": b'{"epoch": 3}',
        "text": b"epoch 3, loss 0.2\n",
        "YAML": b"model:\n  class_path: viscy\n",
        "zeros": bytes(4096),
    }
    for kind, content in kinds.items():
        yield Hostile(f"foreign: {kind}", "VC406", content, HONEST)
    yield Hostile("foreign: empty", "VC405", b"", HONEST)
    yield Hostile("foreign: noise", "VC407", bytes(range(200, 256)) * 4, HONEST)
    yield Hostile("foreign: one byte", "VC407", b"\x80", HONEST)


GROUPS: dict[str, Callable[[], Iterator[Hostile]]] = {
    "execution": execution,
    "bombs": bombs,
    "streams": streams,
    "zips": zips,
    "tensors": tensors,
    "headers": headers,
    "two formats": two_formats,
    "foreigners": foreigners,
}


@cache
def cases_of(group: str) -> tuple[Hostile, ...]:
    """The files of a group, made once in a process: the bombs have 60 MB."""
    return tuple(GROUPS[group]())


def all_cases() -> list[Hostile]:
    """The files of every group."""
    return [case for group in GROUPS for case in cases_of(group)]

"""The inert machine understands what pickle writes, and answers whatever bytes it is given."""

from __future__ import annotations

import io
import pickle
import zlib
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from viscy_compat.checkpoint.limits import DEFAULT_LIMITS
from viscy_compat.checkpoint.pickle_machine import DecodedPickle, EndOfData, decode
from viscy_compat.checkpoint.pickle_nodes import ABSENT, Call, Dict, Global, Items, Persistent, children, walk
from viscy_compat.errors import UnreadableCheckpoint

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(max_size=300)
    | st.binary(max_size=8).map(bytearray)
)
HASHABLE = st.integers() | st.text() | st.binary(max_size=5) | st.tuples(st.integers(), st.text())
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.lists(inner, max_size=5).map(tuple)
        | st.dictionaries(HASHABLE, inner, max_size=5)
        | st.sets(HASHABLE, max_size=4)
        | st.frozensets(HASHABLE, max_size=4)
    ),
    max_leaves=20,
)


def value_of(node: Any) -> Any:
    """The Python value that a graph of harmless nodes stands for."""
    kind = type(node)
    if kind in (list, tuple):
        return kind(map(value_of, node))
    if kind is Dict:
        entries = list(map(value_of, node.entries))
        return dict(zip(entries[::2], entries[1::2], strict=True))
    if kind is Items:
        return bytearray(node.items[0]) if node.kind == "bytearray" else MAKERS[node.kind](map(value_of, node.items))
    if kind is Call:
        return MAKERS[node.function.name](*map(value_of, node.args))
    return node


def encoded(text: str = "", encoding: str = "latin1") -> bytes:
    return text.encode(encoding)


MAKERS: dict[str, Any] = {
    "set": set,
    "frozenset": frozenset,
    "bytearray": bytearray,
    "bytes": bytes,
    "encode": encoded,
}


def decoded(data: bytes) -> DecodedPickle:
    return decode(data, DEFAULT_LIMITS)


@pytest.mark.uncounted
@pytest.mark.parametrize("protocol", range(6))
@given(value=VALUES)
@settings(max_examples=60)
def test_decodes_what_pickle_writes(protocol: int, value: Any) -> None:
    data = pickle.dumps(value, protocol)
    result = decoded(data)
    found = value_of(result.root)
    assert found == value
    assert type(found) is type(value)
    assert result.end == len(data)
    assert result.protocol == (protocol if protocol > 1 else 0)


class Example:
    """An object with everything that a pickle can store about one."""

    def __init__(self, *args: Any) -> None:
        self.args = args

    def __reduce__(self) -> Any:
        return Example, (1, "a"), {"x": 2}, iter([3, 4]), iter([("k", 5)])


def test_an_object_keeps_call_state_items_and_entries_apart() -> None:
    node = decoded(pickle.dumps(Example(), 2)).root
    assert (node.kind, node.function.path, node.args) == ("reduce", f"{__name__}.Example", (1, "a"))
    assert node.items == [3, 4]
    assert node.entries == ["k", 5]
    assert node.state.entries == ["x", 2]
    assert node.function.use == "called"


def test_an_object_made_with_new_is_told_apart() -> None:
    node = decoded(pickle.dumps(Plain(), 2)).root
    assert (node.kind, node.function.use, node.kwargs) == ("newobj", "newobj", ABSENT)


class Plain:
    """Pickled with NEWOBJ."""

    def __init__(self) -> None:
        self.a = 1


def test_shared_and_endless_structures_stay_shared_and_endless() -> None:
    shared = [1]
    loop: list[Any] = [shared, shared]
    loop.append(loop)
    root = decoded(pickle.dumps(loop)).root
    assert root[0] is root[1]
    assert root[2] is root
    assert len(list(walk(root))) == 2


def test_names_are_interned_and_listed_once() -> None:
    result = decoded(pickle.dumps([Plain, Plain, Example], 0))
    assert [name.name for name in result.globals] == ["Plain", "Example"]
    assert result.root[0] is result.root[1]
    assert {name.use for name in result.globals} == {"named"}


def test_persistent_ids_stay_ids() -> None:
    class Pickler(pickle.Pickler):
        def persistent_id(self, value: Any) -> Any:
            return ("storage", 1) if value == "here" else None

    buffer = io.BytesIO()
    Pickler(buffer, 2).dump(["here", "there"])
    result = decoded(buffer.getvalue())
    assert type(result.root[0]) is Persistent
    assert result.root[0].id == ("storage", 1)
    assert result.persistents == (result.root[0],)
    assert list(children(result.root[0])) == [("storage", 1)]


def test_what_is_called_and_thrown_away_is_kept_aside() -> None:
    result = decoded(b"cos\nsystem\n(S'a'\ntR0N.")
    assert result.root is None
    assert [node.function.path for node in result.dropped] == ["os.system"]


class Stub:
    """Takes everything that an unpickler can do to an object, and does nothing."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Stub:
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __call__(self, *args: Any, **kwargs: Any) -> Stub:
        return Stub()

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass

    def append(self, value: Any) -> None:
        pass

    def extend(self, values: Any) -> None:
        pass

    def add(self, value: Any) -> None:
        pass


ORDERS = {
    "counted up": b"(K\x05q\x00K\x06q\x01K\x07r\x02\x00\x00\x00h\x00j\x01\x00\x00\x00h\x02t.",
    "with a gap": b"(K\x05q\x00K\x06q\x09h\x09h\x00K\x07r\x00\x01\x00\x00j\x00\x01\x00\x00h\x09t.",
    "from one": b"(K\x05q\x01K\x06q\x00K\x07q\x02h\x00h\x01h\x02t.",
    "one of them twice": b"(K\x05q\x00K\x06q\x00K\x07q\x01h\x00h\x01t.",
    "counted by the reader": b"\x80\x04(K\x05\x94K\x06\x94h\x01h\x00t.",
    "counted by the reader behind a gap": b"\x80\x04(K\x05q\x07K\x06\x94h\x01h\x07t.",
    "in decimals": b"(K\x05p0\nK\x06p1\ng0\ng1\nK\x07q\x02h\x02h\x01t.",
}


@pytest.mark.parametrize("order", ORDERS)
def test_a_memo_holds_what_was_put_there_in_whatever_order(order: str) -> None:
    assert decode(ORDERS[order], DEFAULT_LIMITS).root == pickle.loads(ORDERS[order])


@pytest.mark.parametrize("gap", [b"", b"q\x20"])
@pytest.mark.parametrize("get", [b"h\x02", b"j\x02\x00\x00\x00", b"g2\n"])
def test_an_entry_that_was_never_put_does_not_exist(gap: bytes, get: bytes) -> None:
    with pytest.raises(UnreadableCheckpoint, match="memo entry 2 does not exist"):
        decode(b"K\x05q\x00q\x01" + gap + get + b".", DEFAULT_LIMITS)


def test_no_entry_is_counted_from_the_end() -> None:
    with pytest.raises(UnreadableCheckpoint, match="memo entry -1 does not exist"):
        decode(b"K\x05q\x00g-1\n.", DEFAULT_LIMITS)


class Unpickler(pickle._Unpickler):
    """Python's own unpickler, kept from importing anything. (The one in C allocates memory by memo index.)"""

    def find_class(self, module: str, name: str) -> Any:
        return Stub

    def persistent_load(self, identity: Any) -> Any:
        return Stub()

    def get_extension(self, code: int) -> None:
        raise pickle.UnpicklingError


MATERIAL = [pickle.dumps([{"a": (1, 2.5)}, Example(), Plain(), {"b", b"c"}], protocol) for protocol in range(6)]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A pickle with a few bytes changed, taken out or put in."""
    data = bytearray(draw(st.sampled_from(MATERIAL)))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(data) - 1))
        data[place : place + draw(st.integers(0, 2))] = draw(st.binary(max_size=3))
    return bytes(data) or b"."


def refusal(data: bytes) -> tuple[str, str]:
    """Code and message of what the machine says to bytes; empty where it reads them."""
    try:
        decoded(data)
    except EndOfData:
        return "end", "the data ends"
    except UnreadableCheckpoint as error:
        return error.code, str(error)
    return "", ""


@pytest.mark.uncounted
@given(data=st.binary(max_size=60) | mutated())
@example(b"")
@example(b"(((ttt.")
@example(b"\x80\x05\x95\xff\xff\xff\xff\xff\xff\xff\xff.")
@settings(max_examples=1500)
def test_any_bytes_are_answered(data: bytes) -> None:
    code, _ = refusal(data)
    assert code in ("", "end", "VC404", "VC420")
    if not code:
        result = decoded(data)
        assert 0 < result.end <= len(data)
        assert sum(1 for _ in walk(result.root)) <= 2 * len(data) + 1


def python_reads(data: bytes) -> bool:
    try:
        Unpickler(io.BytesIO(data), encoding="bytes").load()
    except Exception:  # noqa: BLE001 (an unpickler raises anything)
        return False
    return True


@pytest.mark.uncounted
@given(data=mutated())
@settings(max_examples=1500)
def test_what_the_ordinary_unpickler_reads_is_read(data: bytes) -> None:
    if python_reads(data):
        _, message = refusal(data)
        assert not message or any(text in message for text in STRICTER), data


# Python's own unpickler in Python lets these pass; the one in C, which everybody uses, or every pickler does not.
STRICTER = (
    "what is no object",
    "is no list",
    "is no dictionary",
    "is no set",
    "no function",
    "are no tuple",
    "values on the stack",
    "within a mark",
    "a text is not UTF-8",
    "a key has no value",
    "are no dictionary",
    "buffers outside",
    # a frame may be longer than the data for the one in Python
    "the limit of pickle_bytes",
    "the data ends",
)


@given(data=st.binary(max_size=200))
@settings(max_examples=100)
def test_a_pickle_in_a_window_that_is_too_small_asks_for_more(data: bytes) -> None:
    whole = pickle.dumps([data, zlib.crc32(data), {"a": data.hex()}], 2)
    for size in range(len(whole)):
        with pytest.raises(EndOfData):
            decoded(whole[:size])


def test_a_window_may_end_within_any_operand() -> None:
    for whole in MATERIAL:
        for size in range(len(whole)):
            with pytest.raises(EndOfData):
                decoded(whole[:size])


def test_globals_are_never_confused_with_each_other() -> None:
    assert Global("a.b", "c").path == Global("a", "b.c").path
    assert decoded(b"ca.b\nc\nca\nb.c\n\x86.").globals[0].module == "a.b"

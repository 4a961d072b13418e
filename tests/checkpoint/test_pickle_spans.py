"""What stands in pickle after pickle is decoded once, and no pickle can tell."""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from itertools import zip_longest
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from viscy_compat.checkpoint.limits import DEFAULT_LIMITS
from viscy_compat.checkpoint.pickle_machine import DecodedPickle, EndOfData, decode
from viscy_compat.checkpoint.pickle_nodes import Call, Dict, Global, Node, Persistent, children, entries_of, mapping_of
from viscy_compat.checkpoint.pickle_spans import RecentSpans, Span, _is_same
from viscy_compat.errors import UnreadableCheckpoint


class Tensor:
    """Pickled as torch pickles a tensor: a call of a name, with a persistent id and hooks."""

    def __init__(self, key: str, size: int) -> None:
        self.key, self.size = key, size

    def __reduce__(self) -> Any:
        return rebuild, (Storage(self.key), 0, (self.size, 3, 3, 3), (9 * self.size, 9, 3, 1), False, OrderedDict())


class Storage:
    """Written as a persistent id."""

    def __init__(self, key: str) -> None:
        self.key = key


def rebuild(*args: Any) -> Any:
    """Stands for the function of torch; never called."""
    raise AssertionError(args)


class Pickler(pickle.Pickler):
    """Writes storages as torch does."""

    def persistent_id(self, obj: Any) -> Any:
        return ("storage", bytes, obj.key, "cpu", 9) if isinstance(obj, Storage) else None


def written(value: Any) -> bytes:
    buffer = io.BytesIO()
    Pickler(buffer, 2).dump(value)
    return buffer.getvalue()


def checkpoint(epoch: Any, *, tensors: int = 30, after: Any = None) -> bytes:
    """A checkpoint of a run: a number that differs, weights and optimizer state that do not, and something behind."""
    weights = OrderedDict((f"encoder.{index}.weight", Tensor(str(index), index)) for index in range(tensors))
    moments = {
        index: {"step": 7, "exp_avg": Tensor(f"m{index}", index), "exp_avg_sq": Tensor(f"v{index}", index)}
        for index in range(tensors)
    }
    groups = [{"lr": 1e-3, "params": list(range(tensors))}]
    return written(
        {
            "epoch": epoch,
            "state_dict": weights,
            "optimizer_states": [{"state": moments, "param_groups": groups}],
            "x": after,
        }
    )


def taught(*pickles: bytes) -> RecentSpans:
    """Spans out of pickles that were decoded."""
    spans = RecentSpans()
    for data in pickles:
        decode(data, DEFAULT_LIMITS, spans=spans)
    return spans


def answer(data: bytes, spans: RecentSpans | None) -> DecodedPickle | str:
    try:
        return decode(data, DEFAULT_LIMITS, spans=spans)
    except EndOfData:
        return "the data ends"
    except UnreadableCheckpoint as error:
        return str(error)


def assert_alike(one: DecodedPickle, other: DecodedPickle) -> None:
    """The same graph, shared and nested in the same places, and the same of everything else."""
    assert [(name.module, name.name, name.use) for name in one.globals] == [
        (name.module, name.name, name.use) for name in other.globals
    ]
    for field in ("end", "protocol", "computed"):
        assert getattr(one, field) == getattr(other, field)
    here: dict[int, Node] = {}
    there: dict[int, Node] = {}
    pairs = [
        (one.root, other.root),
        *zip_longest(one.persistents, other.persistents),
        *zip_longest(one.dropped, other.dropped),
    ]
    while pairs:
        left, right = pairs.pop()
        assert type(left) is type(right)
        if type(left) is Global:
            assert left.path == right.path
        elif type(left) in (list, tuple, Dict, Call, Persistent) and left != ():
            assert (id(left) in here) == (id(right) in there)
            if id(left) in here:
                assert here[id(left)] is right
                assert there[id(right)] is left
                continue
            here[id(left)], there[id(right)] = right, left
            pairs += zip_longest(children(left), children(right), fillvalue="nothing")
        elif type(left) not in (Dict, Call, Persistent):
            assert left == right


def state_dict(result: DecodedPickle) -> list[Node]:
    top = mapping_of(result.root)
    assert top is not None
    entries = entries_of(top["state_dict"])
    assert entries
    return entries


def moments_of(result: DecodedPickle) -> list[Node]:
    top = mapping_of(result.root)
    assert top is not None
    state = mapping_of(top["optimizer_states"][0])
    assert state is not None
    return list(state["state"].entries)


def test_weights_and_optimizer_state_of_a_run_are_decoded_twice_and_then_taken_over() -> None:
    spans = taught(checkpoint(1))
    second, third, fourth = (decode(checkpoint(epoch), DEFAULT_LIMITS, spans=spans) for epoch in (2, 300, 4.5))
    assert state_dict(second) == state_dict(third) == state_dict(fourth)
    assert all(one is other for one, other in zip(moments_of(second), moments_of(fourth), strict=True))
    for epoch, result in ((300, third), (4.5, fourth)):
        top = mapping_of(result.root)
        assert top is not None
        assert top["epoch"] == epoch
        assert_alike(result, decode(checkpoint(epoch), DEFAULT_LIMITS, spans=None))


def test_a_file_alone_is_decoded_as_ever() -> None:
    spans = RecentSpans()
    one, other = (decode(checkpoint(1, tensors=count), DEFAULT_LIMITS, spans=spans) for count in (20, 30))
    assert all(left is not right for left, right in zip(state_dict(one)[1::2], state_dict(other)[1::2], strict=False))


def test_spans_of_several_architectures_are_told_apart() -> None:
    """Their first tensors are the same bytes, which spans are looked up by."""
    counts = (20, 25, 30)
    spans = taught(*(checkpoint(epoch, tensors=count) for epoch in (1, 2) for count in counts))
    for count in counts:
        data = checkpoint(3, tensors=count)
        result = decode(data, DEFAULT_LIMITS, spans=spans)
        assert len(state_dict(result)) == 2 * count
        assert_alike(result, decode(data, DEFAULT_LIMITS, spans=None))
        assert state_dict(decode(data, DEFAULT_LIMITS, spans=spans))[1] is state_dict(result)[1]


def test_what_a_span_calls_is_what_its_own_pickle_names() -> None:
    """The bytes of the optimizer state are the same, and call what the memo holds: here another function."""
    honest = checkpoint(1)
    hostile = honest.replace(b"ctests.checkpoint.test_pickle_spans\nrebuild\n", b"cos\nsystem\n")
    assert len(hostile) < len(honest)
    spans = taught(honest, honest, honest)
    result = decode(hostile, DEFAULT_LIMITS, spans=spans)
    assert {name.path: name.use for name in result.globals}["os.system"] == "called"
    assert {entry.function.path for entry in state_dict(result)[1::2]} == {"os.system"}
    assert {entry.entries[3].function.path for entry in moments_of(result)[1::2]} == {"os.system"}
    assert_alike(result, decode(hostile, DEFAULT_LIMITS, spans=None))


def test_a_text_that_a_span_reads_from_the_memo_decides() -> None:
    honest = checkpoint(1)
    other = honest.replace(b"\x03\0\0\0cpu", b"\x03\0\0\0gpu")
    spans = taught(honest, honest)
    result = decode(other, DEFAULT_LIMITS, spans=spans)
    assert {persistent.id[3] for persistent in result.persistents} == {"gpu"}
    assert_alike(result, decode(other, DEFAULT_LIMITS, spans=None))


def stored_into(data: bytes, kind: type, opcodes: bytes) -> bytes:
    """A checkpoint, and something that is stored into the first node of a kind within its optimizer state."""
    for index in range(300, 400):
        got = data[:-1] + b"j" + index.to_bytes(4, "little")
        node = decode(got + b"\x86.", DEFAULT_LIMITS, spans=None).root[1]
        if type(node) is kind:
            return got + opcodes + b"\x86."
    raise AssertionError


@pytest.mark.parametrize("kind", [Call, Dict])
@pytest.mark.parametrize("opcodes", [b"}b", b"(Va\nNu", b"Va\nNs", b"Na", b"(NNe", b"(N\x90"])
def test_what_is_stored_into_a_node_is_stored_into_no_other_pickle(kind: type, opcodes: bytes) -> None:
    honest = checkpoint(1)
    spans = taught(honest, honest)
    before = decode(honest, DEFAULT_LIMITS, spans=spans)
    hostile = stored_into(honest, kind, opcodes)
    result, alone = answer(hostile, spans), answer(hostile, None)
    if isinstance(result, str) or isinstance(alone, str):
        # nothing is appended to a dictionary, nor set
        assert kind is Dict
        assert result == alone
    else:
        assert_alike(result, alone)
    assert_alike(before, decode(honest, DEFAULT_LIMITS, spans=None))
    assert_alike(decode(honest, DEFAULT_LIMITS, spans=spans), before)


def test_the_pickle_that_a_span_came_from_may_not_change_it_either() -> None:
    honest = checkpoint(1)
    spans = taught(honest)
    hostile = stored_into(honest, Call, b"}b")
    assert_alike(decode(hostile, DEFAULT_LIMITS, spans=spans), decode(hostile, DEFAULT_LIMITS, spans=None))
    assert_alike(decode(honest, DEFAULT_LIMITS, spans=spans), decode(honest, DEFAULT_LIMITS, spans=None))


def entry(place: int, value: bytes) -> bytes:
    return b"X\x04\0\0\0k%03d" % place + value


def test_a_name_that_is_only_mentioned_is_imported_by_each_pickle() -> None:
    entries = b"".join(entry(place, b"ctorch\nfloat%03d\n" % place) for place in range(60))
    data = b"\x80\x02}(" + entries + b"u."
    result = decode(data, DEFAULT_LIMITS, spans=taught(data, data))
    assert [name.name for name in result.globals] == [f"float{place:03}" for place in range(60)]
    assert_alike(result, decode(data, DEFAULT_LIMITS, spans=None))


def test_what_a_span_reads_and_then_overwrites_is_not_what_it_read() -> None:
    """Memo entry 1 is got, and then put: what is there afterwards says nothing of what another pickle has there before."""
    span = (
        entry(0, b"h\x01")
        + entry(1, b"X\x05\0\0\0laterq\x01")
        + b"".join(entry(place, b"K\x01") for place in range(2, 110))
        + b"u"
    )
    pickles = {text: b"V%s\nq\x01}(" % text + span + b"\x86." for text in (b"before", b"later")}
    spans = taught(pickles[b"before"], pickles[b"before"])
    for text, data in pickles.items():
        result = decode(data, DEFAULT_LIMITS, spans=spans)
        assert result.root[1].entries[1] == text.decode()


def test_what_calls_return_may_be_called_in_a_span() -> None:
    entries = b"".join(entry(place, b"cfunctools\npartial\n)R)R") for place in range(60))
    data = b"}(" + entries + b"u."
    result = decode(data, DEFAULT_LIMITS, spans=taught(data, data))
    assert result.computed
    assert_alike(result, decode(data, DEFAULT_LIMITS, spans=None))


def test_a_mark_that_another_opcode_closes_begins_no_span() -> None:
    """A tuple above a dictionary, and then a dictionary whose first key is a tuple."""
    numbers = b"".join(b"K%c" % (place % 251) for place in range(700))
    data = b"(}(" + numbers + b"t}((K\x01K\x02tK\x03ut."
    spans = taught(data, data)
    for each in (data, data.replace(b"K\x03u", b"K\x04u")):
        assert_alike(decode(each, DEFAULT_LIMITS, spans=spans), decode(each, DEFAULT_LIMITS, spans=None))


class Noted(RecentSpans):
    """Counts the bytes that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.size = 0

    def keep(self, data: bytes, *rest: Any) -> Span | None:
        self.size += len(data)
        return super().keep(data, *rest)


@pytest.mark.parametrize("inner", [b"N", b"]", b"]}(" + b"".join(entry(place, b"N") for place in range(120)) + b"ua"])
def test_no_byte_of_nested_dictionaries_is_looked_at_twice(inner: bytes) -> None:
    """Ten thousand levels of four bytes are no more work than ten thousand entries."""
    data = b"}(K\x01" * 2_000 + inner + b"u" * 2_000 + b"."
    spans = Noted()
    for times in range(1, 5):
        decode(data, DEFAULT_LIMITS, spans=spans)
        assert 0 < spans.size <= times * len(data)


def spans_of(count: int, size: int, *, head: bytes = b"") -> list[bytes]:
    """Different spans of some size that begin with the same bytes, or with different ones."""
    return [
        b"X%b%b" % ((len(head) + 6 + size).to_bytes(4, "little"), head + b"%06d" % place + b"a" * size) + b"Nu"
        for place in range(count)
    ]


def kept(spans: RecentSpans, data: bytes) -> bool:
    return spans.find(data, 0, {}, DEFAULT_LIMITS) is not None


def keep_all(spans: RecentSpans, each: list[bytes], times: int = 2) -> None:
    for data in times * each:
        spans.keep(data, {}, ["key", None], [], DEFAULT_LIMITS)


def test_what_is_kept_has_bounds() -> None:
    """One span, all of them, those that begin alike, and hashes of those that came once."""
    spans = RecentSpans()
    large, largest = spans_of(1, 90_000)[0], spans_of(1, 100_000)[0]
    keep_all(spans, [large, largest])
    assert (kept(spans, large), kept(spans, largest)) == (True, False)
    many = spans_of(20, 90_000)
    for data in many:
        keep_all(spans, [data])
    assert 1 <= sum(kept(spans, data) for data in many) <= 5
    assert kept(spans, many[-1])
    spans = RecentSpans()
    alike = spans_of(20, 1_000, head=b"b" * 64)
    keep_all(spans, alike)
    assert [kept(spans, data) for data in alike] == 12 * [False] + 8 * [True]
    spans = RecentSpans()
    first, *others = spans_of(1_001, 1_000)
    for data in (first, *others, first):
        keep_all(spans, [data], times=1)
    assert not kept(spans, first)


def test_what_a_pickle_holds_twice_is_two_things() -> None:
    """Two dictionaries of the same bytes: each puts what it makes into the same places of the memo."""
    head = b"ctests\nmake\nq\x000"
    span = b"".join(b"X\x03\0\0\0k%02dq\x01h\0(h\x01K\x05tR" % number for number in range(90)) + b"u"
    data = head + b"(" + 4 * (b"}(" + span) + b"t."
    assert len(span) > 1_000
    spans = RecentSpans()
    for _ in range(3):
        assert_alike(decode(data, DEFAULT_LIMITS, spans=spans), decode(data, DEFAULT_LIMITS, spans=None))


def test_the_limit_of_opcodes_counts_those_of_spans() -> None:
    data = checkpoint(1)
    least = 0
    for bit in reversed(range(16)):
        try:
            decode(data, DEFAULT_LIMITS._replace(opcodes=least + (1 << bit)), spans=None)
        except UnreadableCheckpoint:
            least += 1 << bit
    for opcodes, whole in ((least, False), (least + 1, True)):
        limits = DEFAULT_LIMITS._replace(opcodes=opcodes)
        spans = RecentSpans()
        for _ in range(2):
            # with a stop at its end, a pickle that is refused is kept all the same
            if whole:
                decode(data, limits, spans=spans)
            else:
                with pytest.raises(UnreadableCheckpoint, match="limit of opcodes"):
                    decode(data, limits, spans=spans)
        if whole:
            decode(data, limits, spans=spans)
        else:
            with pytest.raises(UnreadableCheckpoint, match="limit of opcodes"):
                decode(data, limits, spans=spans)


def test_other_limits_hold_for_what_was_decoded_under_others() -> None:
    data = checkpoint(1)
    spans = taught(data, data)
    # longer than what stands before the weights, shorter than what they are made by
    with pytest.raises(UnreadableCheckpoint, match="the limit of string is 20"):
        decode(data, DEFAULT_LIMITS._replace(string=20), spans=spans)


def test_marks_within_a_span_count_as_open() -> None:
    data = checkpoint(1)
    for depth in range(1, 9):
        limits = DEFAULT_LIMITS._replace(depth=depth)
        deeper = b"(" + data[2:-1] + b"1N."
        spans = RecentSpans()
        for each in (data, data, deeper, deeper, data):
            outcomes: list[int | str] = []
            for known in (spans, None):
                try:
                    outcomes.append(decode(each, limits, spans=known).end)
                except UnreadableCheckpoint as error:
                    outcomes.append(str(error))
            assert outcomes[0] == outcomes[1]


HONEST = checkpoint(1, after={"seen": (1, 2)})


@st.composite
def changed(draw: st.DrawFn) -> bytes:
    """A checkpoint with a few bytes changed, taken out or put in, in the head more often than elsewhere."""
    data = bytearray(HONEST)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, 300) | st.integers(0, len(data) - 1) | st.integers(len(data) - 120, len(data) - 1))
        data[place : place + draw(st.integers(0, 3))] = draw(
            st.binary(max_size=3) | st.sampled_from([b"}b", b"0", b"2", b"h\x05"])
        )
    return bytes(data)


@given(data=changed())
@example(data=HONEST)
@settings(max_examples=500)
def test_whatever_a_pickle_holds_it_reads_the_same_with_spans_of_others(data: bytes) -> None:
    result, alone = answer(data, taught(HONEST, HONEST)), answer(data, None)
    if isinstance(result, str) or isinstance(alone, str):
        assert result == alone
    else:
        assert_alike(result, alone)


def test_a_name_is_the_same_as_its_equal_and_as_no_text() -> None:
    one, text = Global("torch", "FloatStorage"), "torch.FloatStorage"
    assert _is_same(one, Global("torch", "FloatStorage"))
    assert _is_same(text, "torch.FloatStorage")
    others: list[Node] = [text, Global("torch", "LongStorage"), Global("torch.cuda", "FloatStorage"), 3]
    assert [_is_same(one, other) for other in others] == [False] * 4
    assert [_is_same(other, one) for other in others] == [False] * 4

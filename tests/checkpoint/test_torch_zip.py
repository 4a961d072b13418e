"""What torch.load(weights_only=True) reads, this reads too: the same names, shapes, dtypes, strides and bytes."""

from __future__ import annotations

import collections
import copy
import io
import itertools
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from viscy_compat.checkpoint import Checkpoint, open_checkpoint
from viscy_compat.checkpoint.tensor_bytes import TensorReader
from viscy_compat.errors import UnreadableCheckpoint

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

TYPED = [
    "float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool", "complex64",
    "complex128",
]  # fmt: skip
# These have no storage class of their own: torch writes them as bytes with a dtype beside them.
UNTYPED = [
    "uint16", "uint32", "uint64", "complex32", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz",
    "float8_e8m0fnu", "float4_e2m1fn_x2",
]  # fmt: skip


def filled(shape: tuple[int, ...], dtype: str) -> Any:
    """A tensor of distinct bytes."""
    itemsize = getattr(torch, dtype).itemsize
    count = itemsize * int(torch.tensor(shape).prod())
    raw = torch.arange(count, dtype=torch.int64).mul_(37).remainder_(2 if dtype == "bool" else 251).to(torch.uint8)
    return raw.view(getattr(torch, dtype)).reshape(shape) if count else torch.zeros(shape, dtype=getattr(torch, dtype))


def of_dtypes(*dtypes: str) -> dict[str, Any]:
    return {dtype: filled((3, 4), dtype) for dtype in dtypes}


def strides() -> dict[str, Any]:
    base = filled((6, 5, 4), "float32")
    long = filled((4, 3), "complex128")
    return {
        "transposed": base.transpose(0, 2),
        "sliced": base[1:4, ::2, 1:3],
        "offset": base.flatten()[7:],
        "expanded": filled((3, 1), "int16").expand(3, 5),
        "expanded whole": filled((1,), "float64").expand(2, 3),
        "unfolded": filled((10,), "float32").unfold(0, 4, 2),
        "wide": long.t(),
        "one element": base[2:3, 1:2, 3:4],
        "half": filled((5, 6), "float16")[:, ::3],
        "byte": filled((5, 6), "uint8").t(),
    }


def shapes() -> dict[str, Any]:
    deep = filled((1, 2, 1, 2, 1, 2), "float32")
    return {"0-d": torch.tensor(2.5), "empty": torch.zeros(0), "empty 2": torch.zeros(3, 0, 2), "deep": deep}


def shared() -> dict[str, Any]:
    weight = filled((4, 4), "float32")
    flat = filled((8,), "float32")
    return {"tied.a": weight, "tied.b": weight, "view.head": flat[:3], "view.tail": flat[3:], "same": weight.view(16)}


def grads() -> dict[str, Any]:
    return {"p": torch.nn.Parameter(filled((2, 2), "float32")), "q": filled((2,), "float32").requires_grad_()}


def ordered() -> Any:
    state = collections.OrderedDict((f"z.{index}", filled((2, index + 1), "float32")) for index in range(5))
    vars(state)["_metadata"] = {"": {"version": 1}}
    return state


def big_module() -> Any:
    block = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3), torch.nn.GELU())
    return torch.nn.Sequential(*[copy.deepcopy(block) for _ in range(60)]).state_dict()


CONTENTS: dict[str, Callable[[], Any]] = {
    "typed": lambda: of_dtypes(*TYPED),
    "untyped": lambda: of_dtypes(*UNTYPED),
    "strides": strides,
    "shapes": shapes,
    "shared": shared,
    "grads": grads,
    "ordered": ordered,
    "module": big_module,
    "odd keys": lambda: {"": filled((1,), "float32"), "a b\n\x1b[31m": filled((2,), "int8"), "ключ.0": torch.zeros(1)},
}


def zipped(protocol: int) -> Callable[[Any], bytes]:
    return lambda content: saved(content, pickle_protocol=protocol)


def streamed(protocol: int) -> Callable[[Any], bytes]:
    return lambda content: saved(content, pickle_protocol=protocol, _use_new_zipfile_serialization=False)


def saved(content: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


def without_crcs(content: Any) -> bytes:
    torch.serialization.set_crc32_options(False)
    try:
        return saved(content)
    finally:
        torch.serialization.set_crc32_options(True)


def rezipped(content: Any, method: int) -> bytes:
    """The same archive packed again by another program, as downloads through some services are."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(saved(content))) as old, zipfile.ZipFile(buffer, "w", method) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    return buffer.getvalue()


def big_endian(content: Any) -> bytes:
    """The archive with the other byte order stated: torch swaps the bytes of every element."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(saved(content))) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            new.writestr(name, b"big" if name.endswith("/byteorder") else old.read(name))
    return buffer.getvalue()


MODES: dict[str, Callable[[Any], bytes]] = {
    **{f"zip {protocol}": zipped(protocol) for protocol in (2, 3, 4, 5)},
    **{f"stream {protocol}": streamed(protocol) for protocol in (2, 3, 4, 5)},
    "no crc": without_crcs,
    "rezipped": lambda content: rezipped(content, zipfile.ZIP_STORED),
    "deflated": lambda content: rezipped(content, zipfile.ZIP_DEFLATED),
    "big endian": big_endian,
}

# torch.load(weights_only=True) knows the opcodes of protocols 2 and 3 only (torch 2.15).
ORDINARY = ("zip 4", "zip 5", "stream 4", "stream 5")


def packed_bytes(tensor: Any) -> bytes:
    """The elements in row-major order, picked one by one out of the bytes of torch's storage."""
    raw, size = bytes(tensor.untyped_storage()), tensor.element_size()
    axes = [range(count) for count in tensor.shape]
    places = (
        tensor.storage_offset() + sum(index * step for index, step in zip(indices, tensor.stride(), strict=True))
        for indices in itertools.product(*axes)
    )
    return b"".join(raw[place * size : place * size + size] for place in places)


def same(checkpoint: Checkpoint, state: Mapping[str, Any]) -> None:
    """Compare a checkpoint with what torch read: facts, then bytes."""
    assert list(checkpoint.tensors) == list(state)
    assert not checkpoint.unreadable
    with TensorReader(checkpoint) as reader:
        for key, tensor in checkpoint.tensors.items():
            expected = state[key]
            assert tensor.spec.shape == tuple(expected.shape), key
            assert f"torch.{tensor.spec.dtype}" == str(expected.dtype), key
            assert tensor.stride == expected.stride(), key
            assert tensor.offset == expected.storage_offset(), key
            assert tensor.requires_grad == expected.requires_grad, key
            assert b"".join(reader.chunks(tensor, size=64)) == packed_bytes(expected), key
            reader.verify(tensor.storage)


# What torch itself gets wrong (2.15): each is shown to be so still, and what is read here is what was saved.
EXCEPTIONS = {
    ("stream", "untyped"): "torch.load raises: it asks UntypedStorage for a dtype",
    (
        "big endian",
        "untyped",
    ): "torch.load swaps the bytes of typed storages only, and gives other values without a word",
}


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("mode", MODES)
def test_reads_what_torch_reads(tmp_path: Path, mode: str, content: str) -> None:
    if (mode.rstrip(" 2345"), content) in EXCEPTIONS:
        pytest.skip("an exception, which has a test of its own")
    path = tmp_path / "a.ckpt"
    path.write_bytes(MODES[mode](CONTENTS[content]()))
    state = torch.load(path, weights_only=mode not in ORDINARY)
    same(open_checkpoint(str(path)), state)


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_stream_of_untyped_storages_is_read_though_torch_cannot(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "a.ckpt"
    path.write_bytes(streamed(protocol)(of_dtypes(*UNTYPED)))
    with pytest.raises(AttributeError, match="dtype"):
        torch.load(path, weights_only=True)
    same(open_checkpoint(str(path)), of_dtypes(*UNTYPED))


def test_untyped_storages_are_swapped_though_torch_does_not(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    path.write_bytes(big_endian({"a": filled((3,), "uint16")}))
    saved_bytes = packed_bytes(filled((3,), "uint16"))
    assert packed_bytes(torch.load(path, weights_only=True)["a"]) == saved_bytes
    checkpoint = open_checkpoint(str(path))
    with TensorReader(checkpoint) as reader:
        swapped = b"".join(reader.chunks(checkpoint.tensors["a"]))
    assert swapped == b"".join(saved_bytes[place : place + 2][::-1] for place in range(0, 6, 2))


def conjugated() -> Any:
    return filled((2, 3), "complex64").conj()


def negated() -> Any:
    return torch._neg_view(filled((2, 3), "float32"))


class Tagged(torch.Tensor):  # type: ignore[misc, name-defined]
    """A subclass that torch has been told to trust."""


# What torch.load(weights_only=True) reads and this does not: the code, and why.
UNREAD: dict[str, tuple[str, Callable[[], Any], str]] = {
    "sparse": ("VC441", lambda: {"a": torch.eye(3).to_sparse()}, "indices and values are two tensors"),
    "sparse rows": ("VC441", lambda: {"a": torch.eye(3).to_sparse_csr()}, "three tensors"),
    "quantised": (
        "VC441",
        lambda: {"a": torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)},
        "scaled integers",
    ),
    "meta": ("VC441", lambda: {"a": torch.ones(3, device="meta")}, "no values"),
    "conjugated": ("VC441", lambda: {"a": conjugated()}, "the bytes are not the values"),
    "negated": ("VC441", lambda: {"a": negated()}, "the bytes are not the values"),
    "subclass": ("VC441", lambda: {"a": torch.ones(3).as_subclass(Tagged)}, "a subclass may mean other values"),
    "one tensor": ("VC444", lambda: torch.ones(3), "a tensor without a name is no state dict"),
    "a list": ("VC444", lambda: [torch.ones(3)], "tensors without names are no state dict"),
    "numbers": ("VC444", lambda: {"epoch": 3}, "there is no tensor in it"),
    "numbered": ("VC444", lambda: {0: torch.ones(3)}, "a key that is no text is no name"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", UNREAD)
def test_what_torch_reads_and_this_does_not_is_named(tmp_path: Path, kind: str) -> None:
    code, make, _ = UNREAD[kind]
    path = tmp_path / "a.ckpt"
    path.write_bytes(saved(make()))
    with torch.serialization.safe_globals([Tagged]):
        torch.load(path, weights_only=True)
    try:
        checkpoint = open_checkpoint(str(path))
    except UnreadableCheckpoint as error:
        codes = [error.code]
    else:
        assert not checkpoint.tensors
        codes = [tensor.code for tensor in checkpoint.unreadable]
    assert codes == [code]


@pytest.mark.parametrize("version", [b"3\n", b"2", b"10\n", b"3.5", None, b"", b"x", b"0", b"-1", b"00"])
def test_an_archive_is_read_where_torch_reads_the_version_that_it_states(tmp_path: Path, version: bytes | None) -> None:
    path = tmp_path / "a.ckpt"
    torch.save({"a": torch.ones(3)}, path)
    with zipfile.ZipFile(path) as whole:
        records = {name: whole.read(name) for name in whole.namelist()}
    with zipfile.ZipFile(path, "w") as changed:
        for name, content in records.items():
            if not name.endswith("/version"):
                changed.writestr(name, content)
            elif version is not None:
                changed.writestr(name, version)
    if version is not None and version[:1].isdigit() and version.strip(b"0"):
        same(open_checkpoint(str(path)), torch.load(path, weights_only=True))
        return
    with pytest.raises(RuntimeError, match="version"):
        torch.load(path, weights_only=True)
    with pytest.raises(UnreadableCheckpoint, match="torch reads no such one") as caught:
        open_checkpoint(str(path))
    assert caught.value.code == "VC410"


@pytest.mark.parametrize("zipped", [True, False])
def test_protocol_0_is_said_to_be_beyond_torch_itself(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "a.ckpt"
    torch.save({"a": torch.ones(3)}, path, pickle_protocol=0, _use_new_zipfile_serialization=zipped)
    with pytest.raises(AssertionError, match="saved_id must be a tuple"):
        torch.load(path, weights_only=False)
    with pytest.raises(UnreadableCheckpoint, match=r"torch\.load cannot read it either") as caught:
        open_checkpoint(str(path))
    assert caught.value.code == "VC441"
    torch.save({"a": torch.ones(3)}, path, pickle_protocol=1, _use_new_zipfile_serialization=zipped)
    assert list(open_checkpoint(str(path)).tensors) == ["a"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("kind", "advice"),
    [("sparse", "v.to_dense()"), ("quantised", "v.dequantize()"), ("negated", "v.resolve_conj().resolve_neg()")],
)
def test_the_advice_for_a_tensor_that_cannot_be_read_gives_one_that_can(tmp_path: Path, kind: str, advice: str) -> None:
    state = UNREAD[kind][1]()
    path = tmp_path / "a.ckpt"
    path.write_bytes(saved(state))
    (finding,) = open_checkpoint(str(path)).findings
    assert (finding.code, advice in finding.fix) == ("VC441", True)
    plain = {"to_dense": torch.Tensor.to_dense, "dequantize": torch.Tensor.dequantize}
    call = next((plain[name] for name in plain if name in advice), lambda v: v.resolve_conj().resolve_neg())
    path.write_bytes(saved({name: call(v) for name, v in state.items()}))
    same(open_checkpoint(str(path)), {name: call(v) for name, v in state.items()})


@st.composite
def views(draw: st.DrawFn) -> Any:
    """A tensor of any dtype that looks into its storage in any way that torch allows."""
    dtype = draw(st.sampled_from([*TYPED, *UNTYPED]))
    shape = draw(st.lists(st.integers(0, 4), max_size=4))
    stride = [draw(st.integers(0, 7)) for _ in shape]
    offset = draw(st.integers(0, 5))
    needed = offset + 1 + sum((size - 1) * step for size, step in zip(shape, stride, strict=True) if size)
    storage = filled((needed + draw(st.integers(0, 3)),), dtype)
    return storage.as_strided(shape, stride, offset)


@pytest.mark.filterwarnings("ignore")
@given(tensors=st.lists(views(), min_size=1, max_size=4), stream=st.booleans(), protocol=st.sampled_from([2, 3]))
@settings(max_examples=150)
def test_any_view_of_any_storage_is_read_as_torch_reads_it(
    tmp_path_factory: pytest.TempPathFactory, tensors: list[Any], stream: bool, protocol: int
) -> None:
    path = tmp_path_factory.mktemp("views") / "a.ckpt"
    state = {f"layer.{index}": tensor for index, tensor in enumerate(tensors)}
    untyped = any(str(tensor.dtype).removeprefix("torch.") in UNTYPED for tensor in tensors)
    options = {} if untyped or not stream else {"_use_new_zipfile_serialization": False}
    path.write_bytes(saved(state, pickle_protocol=protocol, **options))
    same(open_checkpoint(str(path)), torch.load(path, weights_only=True))
